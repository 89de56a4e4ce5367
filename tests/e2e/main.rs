//! What holds on a real API server, under a real container runtime, and on a whole Kubernetes: `make e2e` brings them and
//! runs this. The logs of a trial that fails are kept in `target/e2e-logs`.

use std::process::ExitCode;

mod agent;
mod check;
mod cluster;
mod figures;
mod images;
mod install;
mod installer;
mod pods;
mod runtime;
mod server;
mod sources;
mod takeover;

use tests::lab::{Builder, Lab, Pod};

fn main() -> ExitCode {
    tests::lab::main(&tests::trials![
        cluster::a_daemon_set_runs_on_every_node_as_its_account,
        cluster::logs_programs_and_ports_of_a_pod_are_reached_through_the_api_server,
        cluster::a_service_is_found_by_name_and_served_by_pods_of_every_node,
        cluster::mesh::a_pod_calls_another_node_s_through_the_mesh_that_the_charts_installed,
        cluster::mesh::the_tool_installs_a_mesh_again_without_a_change_and_takes_it_away,
        cluster::mesh::charts_that_are_uninstalled_leave_nodes_and_pods_as_they_were,
        check::a_cluster_without_istiod_is_told_what_is_missing_and_one_that_has_it_may_be_installed,
        check::each_thing_in_the_way_is_found_by_its_check,
        check::somebody_with_few_rights_is_told_which_are_missing_and_what_is_not_known,
        check::a_pod_of_the_agent_s_image_tells_what_a_node_is_like_and_is_gone_afterwards,
        pods::a_namespace_s_label_enrolls_the_pods_it_has_and_those_that_come,
        pods::a_pod_s_own_label_decides_over_its_namespace_s,
        pods::a_namespace_that_loses_its_label_loses_its_pods_to_plain_text,
        pods::a_successor_of_the_same_name_is_annotated_for_itself,
        pods::a_status_that_another_hand_removes_is_written_again,
        pods::a_deleted_namespace_leaves_nothing_of_its_pods,
        pods::an_excluded_namespace_is_never_enrolled_whatever_its_labels,
        pods::without_a_proxy_a_selected_pod_waits_and_is_told_why,
        sources::a_job_that_has_ended_leaves_the_mesh,
        sources::a_pod_on_the_host_s_network_is_never_annotated,
        sources::an_outage_in_the_middle_of_an_enrollment_only_delays_what_is_written,
        server::an_agent_that_restarts_while_the_server_is_away_serves_its_pods,
        server::an_outage_changes_nothing_for_pods_and_what_it_missed_is_made_up_for,
        server::a_token_that_is_refused_is_replaced_by_the_one_the_kubelet_wrote,
        server::a_right_that_is_missing_is_told_by_its_name_and_used_once_granted,
        runtime::a_selected_pod_comes_up_enrolled_and_is_forgotten_when_it_ends,
        runtime::while_the_agent_is_away_a_selected_sandbox_says_why_it_waits_and_others_start_and_end,
        runtime::lists_of_older_versions_of_cni_are_served_as_well,
        agent::pods_of_a_node_without_an_agent_are_served_on,
        agent::a_pod_that_leaves_the_mesh_and_returns_under_load_fails_no_new_connection,
        agent::a_captured_pod_talks_to_the_api_server_as_itself,
        agent::native_nftables_carry_a_pod_as_iptables_do,
        agent::both_families_of_a_pod_are_carried,
        agent::a_runtime_of_cni_1_1_is_told_how_the_agent_is_and_collects_garbage,
        installer::a_second_installation_has_nothing_to_change,
        installer::a_changed_value_is_a_plan_of_one_field_and_what_is_no_longer_wanted_goes,
        installer::fields_of_others_are_conflicts_that_name_both_until_they_are_forced,
        installer::missing_rights_are_named_all_at_once_and_nothing_is_changed,
        installer::what_cannot_be_installed_is_refused_with_what_to_do,
        installer::what_is_not_ready_in_time_is_told_with_its_reason,
        installer::what_helm_installed_is_taken_over_whole_and_put_back,
        installer::uninstalling_waits_until_no_pod_is_captured_and_leaves_nothing,
        installer::an_upgrade_goes_node_by_node_and_stops_at_the_one_that_fails,
        install::uninstalled_the_node_and_its_pods_are_as_they_were,
        install::an_agent_without_rights_uninstalls_all_the_same,
        install::a_conflist_that_nobody_can_read_makes_the_agent_unready_until_it_can_be_read,
        install::a_neighbor_that_writes_its_conflist_anew_does_not_take_us_out,
        figures::a_full_node_is_enrolled_and_proved_again_without_a_refused_connection,
        images::the_charts_proxy_and_agent_carry_pods_out_of_their_images,
        images::nftables_and_old_iptables_of_the_agents_image_carry_pods_as_well,
        takeover::istio_cni_alone_enrolls_pods_in_this_harness,
        takeover::a_node_of_istio_cni_becomes_ours_under_traffic_and_goes_back,
        runtime::a_running_sandbox_is_enrolled_and_withdrawn_by_its_namespace_s_label,
    ])
}

/// A lab of one node on a real API server.
fn one_node() -> Builder {
    Lab::new().one_node().kubernetes()
}

/// A pod of this namespace that is enrolled.
fn enrolled(lab: &Lab, namespace: &str, name: &str) -> Pod {
    let pod = lab.pod(name).in_namespace(namespace).create();
    pod.wait_enrolled();
    pod
}

/// The source and the destination of one HTTP request, which must be served through the tunnel and nowhere else.
#[track_caller]
fn assert_tunnelled(client: &Pod, server: &Pod) {
    let before = tunnelled(server);
    let answer = client.curl(&[&format!("http://{}/", server.at(8080))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    tests::lab::eventually(format_args!("{} is served over mTLS", server.name()), || {
        let now = tunnelled(server);
        if now > before { Ok(()) } else { Err(format!("{now} connections with mutual TLS")) }
    });
}

/// Connections that were opened to a pod with mutual TLS, as its node's proxy counts them.
fn tunnelled(server: &Pod) -> f64 {
    let workload = server.name().to_owned();
    let labels = [
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
        ("destination_workload", workload.as_str()),
    ];
    server.node().proxy().metrics().sum("istio_tcp_connections_opened_total", &labels)
}

/// As [`assert_tunnelled`], in plain text.
#[track_caller]
fn assert_plain(client: &Pod, server: &Pod) {
    let before = tunnelled(server);
    let answer = client.curl(&[&format!("http://{}/", server.at(8080))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(tunnelled(server).to_bits(), before.to_bits(), "the request went through the tunnel");
}
