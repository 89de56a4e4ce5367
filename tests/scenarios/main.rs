//! The promises of the mesh, each in a lab of its own.

use std::process::ExitCode;

mod capture;
mod dns;
mod drain;
mod endings;
mod enroll;
mod hostile;
mod identity;
mod inbound;
mod inputs;
mod install;
mod lab;
mod pains;
mod policy;
mod probes;
mod process;
mod readers;
mod routes;
mod sequences;
mod settings;
mod standalone;
mod telemetry;
mod why;
mod xds;
mod zds;

use tests::lab::usual::{captured, meshed, uncaptured, url};
use tests::lab::{Families, Lab, Trial};

fn main() -> ExitCode {
    tests::lab::main(TRIALS)
}

/// Every promise, in the order in which they are tried.
const TRIALS: &[Trial] = {
    &tests::trials![
        lab::pods_reach_each_other_on_two_nodes_and_on_one,
        lab::a_capture_sees_plain_text_on_the_wire,
        lab::every_manner_of_server_is_what_it_says,
        lab::ipv6_pods_reach_each_other,
        capture::every_pair_of_pods_talks_and_captured_pairs_over_hbone,
        capture::a_pod_is_told_whether_it_is_captured,
        capture::a_page_crosses_between_nodes_only_inside_the_tunnel,
        capture::a_service_spreads_over_its_pods_on_both_nodes,
        capture::the_pods_of_a_service_are_replaced_without_a_failed_connection,
        capture::a_blocked_tunnel_port_is_told_as_such,
        capture::an_unknown_address_of_the_mesh_is_refused_where_that_is_asked_for,
        capture::the_application_sees_the_address_of_the_client,
        capture::many_bytes_and_many_connections_arrive_whole,
        capture::an_unknown_destination_passes_through,
        capture::our_own_ports_are_not_a_destination,
        capture::a_workload_outside_the_cluster_serves_behind_a_service,
        capture::datagrams_are_left_alone,
        capture::ipv6_pods_talk_over_hbone,
        capture::ipv6_alone_is_enough,
        endings::a_half_closed_connection_carries_the_other_half,
        endings::a_reset_by_the_server_is_a_reset_at_the_client,
        endings::a_reset_by_the_client_is_a_reset_at_the_server,
        endings::a_refused_connection_is_reset_not_closed,
        endings::a_tunnel_to_nobody_is_answered_with_503,
        enroll::a_new_pod_starts_only_once_its_proxy_listens,
        enroll::enrolling_a_running_pod_keeps_its_connections_and_captures_new_ones,
        enroll::withdrawing_a_pod_leaves_no_rule_behind,
        enroll::a_deleted_pod_is_forgotten_and_its_neighbors_go_on,
        enroll::a_successor_of_the_same_name_is_another_workload,
        enroll::a_restarted_agent_finds_its_pods,
        enroll::while_the_agent_is_away_selected_pods_wait_and_others_start,
        enroll::however_the_agent_is_away_its_own_pod_and_unselected_ones_start_and_the_rest_once_it_is_back,
        enroll::a_proxy_that_crashed_comes_back_to_its_pods,
        install::an_uninstall_leaves_the_node_as_it_was_and_its_pods_outside_the_mesh,
        install::an_agent_that_ends_for_another_leaves_the_plugin_and_pods_in_the_mesh,
        install::another_writer_of_the_chain_is_named_and_loses_in_the_end,
        install::a_file_of_its_own_keeps_the_plugin_first_while_another_rewrites_the_chain,
        pains::after_a_reboot_pods_are_measured_and_not_taken_at_their_annotation_s_word,
        pains::bad_pods_keep_no_node_from_serving_the_others_through_restarts,
        pains::connections_live_through_every_enrollment_and_withdrawal,
        policy::a_denied_client_is_reset_and_others_are_served,
        policy::an_allow_policy_admits_only_whom_it_names,
        policy::strict_refuses_plaintext_and_admits_the_mesh,
        policy::a_changed_policy_cuts_an_open_connection,
        policy::a_policy_of_the_namespace_cuts_open_connections,
        policy::a_policy_that_begins_to_select_a_pod_cuts_its_open_connections,
        policy::a_refusal_is_told_with_what_came_closest,
        policy::a_dry_run_policy_only_tells,
        policy::a_dry_run_says_what_would_become_of_the_connection,
        policy::a_port_may_be_exempt_from_strict,
        policy::a_lifted_policy_lets_traffic_pass_again,
        inbound::an_application_behind_a_proxy_tunnel_gets_its_header_over_loopback,
        inbound::an_application_behind_a_proxy_tunnel_may_listen_at_the_pod_s_address,
        inbound::a_captured_waypoint_takes_what_it_fronts,
        inbound::a_captured_waypoint_with_a_share_takes_it,
        inbound::a_stream_for_a_service_by_name_lands_at_the_pod_s_own_port,
        inbound::a_stream_that_is_refused_is_told_why_by_its_status,
        inbound::the_proxy_s_metrics_are_scraped_through_its_own_tunnel_and_policy,
        inbound::a_client_of_another_network_is_known_by_what_it_says_of_itself,
        inbound::what_answers_is_not_described_where_that_is_switched_off,
        inbound::doors::no_call_to_the_proxy_s_own_ports_gets_through_or_loops,
        inbound::socks5::an_application_that_asks_by_socks5_is_carried_like_any_other,
        inbound::socks5::what_is_no_socks5_is_refused_by_its_code,
        inbound::socks5::the_socks5_port_leads_to_no_port_of_the_proxy,
        inbound::dedicated::a_dedicated_proxy_carries_and_guards_its_one_workload,
        inbound::dedicated::a_taken_port_is_an_error_of_the_start,
        dns::a_pod_finds_services_under_every_name_and_the_rest_where_it_always_was,
        dns::whatever_the_mesh_does_not_answer_passes_as_it_is,
        dns::a_long_answer_is_truncated_and_then_whole_over_tcp,
        dns::a_pod_whose_dns_port_is_taken_resolves_without_the_mesh_and_alone,
        dns::without_the_proxy_a_pod_resolves_as_it_would_outside_the_mesh,
        dns::a_pod_may_keep_its_dns_to_itself,
        dns::a_query_under_way_is_answered_while_another_proxy_takes_over,
        dns::a_workload_known_by_name_is_resolved_for_the_connection,
        dns::a_client_that_stalls_in_the_middle_of_a_query_is_let_go,
        dns::both_families_are_answered_where_pods_have_them,
        dns::ipv6_alone_is_enough_to_resolve,
        drain::an_ending_proxy_keeps_connections_to_the_deadline_and_its_successor_takes_new_ones,
        drain::an_ending_proxy_without_connections_ends_at_once,
        drain::a_rolling_update_of_both_nodes_refuses_no_new_connection,
        drain::a_deleted_pod_ends_its_connections_at_both_ends_at_once,
        hostile::garbage_on_every_port_is_nobody_elses_concern,
        hostile::strangers_who_stall_are_cut_and_delay_nobody,
        hostile::a_peer_without_its_papers_is_refused,
        hostile::a_request_that_is_no_tunnel_is_a_bad_request,
        hostile::a_flood_of_frames_ends_only_the_tunnel_it_comes_on,
        hostile::a_pod_that_takes_all_descriptors_starves_nobody,
        hostile::clients_that_never_close_do_not_keep_their_sockets,
        hostile::a_pod_deleted_under_load_leaves_no_sockets,
        identity::a_revoked_client_is_refused_at_the_destination_until_its_list_goes,
        identity::a_revoked_server_is_refused_at_the_source_until_its_list_goes,
        identity::a_list_that_names_a_client_ends_its_open_tunnel,
        identity::a_list_that_names_a_server_ends_its_open_tunnel,
        identity::a_list_that_is_corrupt_at_the_start_is_enforced_once_it_is_repaired,
        identity::a_list_that_is_corrupt_at_the_start_refuses_every_peer_where_that_is_asked_for,
        identity::a_peer_of_another_trust_domain_is_refused,
        identity::certificates_are_fetched_for_the_nodes_own_pods_and_kept_until_the_last_of_them_goes,
        identity::a_root_rotation_drops_no_connection_and_refuses_no_new_one,
        identity::without_the_authority_certificates_serve_on_and_are_renewed_when_it_is_back,
        inputs::a_malformed_variable_ends_the_proxy_with_its_name,
        inputs::an_unusable_root_is_told_by_its_name,
        inputs::an_unusable_token_is_told_by_its_file,
        inputs::a_missing_setting_ends_the_agent_with_its_name,
        sequences::every_sequence_of_endings_is_as_without_the_mesh,
        standalone::pods_on_two_nodes_talk_over_hbone_by_what_the_agents_wrote,
        standalone::a_withdrawn_pod_is_reached_in_plain_text,
        standalone::a_policy_file_refuses_a_client_until_it_is_removed,
        standalone::a_broken_file_changes_nothing_for_traffic,
        standalone::without_the_control_plane_traffic_goes_on,
        telemetry::a_denied_request_leaves_two_lines_inbound_first,
        telemetry::both_reporters_count_a_connection_once,
        telemetry::the_dump_shows_what_istioctl_reads,
        telemetry::both_reporters_give_every_pair_the_same_known_labels,
        telemetry::a_failure_is_counted_once_and_told_once_whatever_its_reason,
        telemetry::a_connection_is_told_when_it_opens_and_when_it_ends_field_by_field,
        telemetry::the_process_tells_what_it_uses_and_whom_it_serves,
        telemetry::admin_answers_as_ztunnel_does,
        telemetry::metrics_come_packed_to_who_asks,
        telemetry::profiles_tell_of_cpu_and_heap_once_they_are_asked_for,
        readers::every_value_of_the_dump_has_the_type_that_its_readers_decode,
        telemetry::readers_that_never_read_hold_up_neither_other_readers_nor_traffic,
        why::what_is_said_of_policies_is_what_a_connection_meets,
        why::what_is_said_of_routes_is_what_a_connection_meets,
        why::a_waypoint_is_said_to_be_taken_as_it_is,
        why::a_query_that_cannot_be_answered_is_told_by_its_parameter,
        why::the_tool_tells_the_story_and_ends_with_its_verdict,
        xds::a_proxy_without_a_control_plane_serves_what_was_written_by_hand,
        xds::what_is_written_by_hand_wrongly_ends_the_proxy_with_its_field,
        xds::on_demand_a_proxy_knows_what_was_needed_and_no_more,
        xds::on_demand_an_unknown_address_passes_through,
        xds::a_proxy_that_starts_without_its_control_plane_serves_from_its_snapshot,
        xds::what_kubernetes_cannot_say_is_followed_like_everything_else,
        zds::an_accepted_pod_listens_and_a_withdrawn_one_does_not,
        zds::a_pod_announced_in_another_namespace_moves_there,
        zds::a_new_snapshot_stops_only_what_it_does_not_name,
        zds::a_message_out_of_order_ends_the_connection_and_no_pod,
        zds::a_message_that_cannot_be_read_is_refused_for_what_is_wrong_with_it,
        zds::a_namespace_that_is_no_pods_is_refused,
        zds::a_pod_whose_port_is_taken_fails_alone_and_starts_once_it_is_free,
        zds::a_pending_pod_that_is_withdrawn_is_forgotten,
        zds::two_proxies_share_a_pod_s_ports_unless_that_is_switched_off,
        zds::readiness_goes_and_comes_with_the_agent,
        process::the_command_line_is_that_of_ztunnel,
        process::every_variable_of_the_chart_is_taken,
        process::the_probe_is_answered_as_kubelets_read_it,
        process::metrics_name_the_format_they_come_in,
        process::log_levels_change_while_it_runs,
        process::told_to_quit_it_drains_first,
        process::an_end_does_not_wait_for_who_does_not_answer,
        routes::a_passthrough_service_is_left_alone_but_for_its_waypoint,
        routes::a_prefix_stands_for_its_service_where_no_address_does,
        routes::a_service_that_a_client_may_not_see_is_unknown_to_it,
        routes::locality_and_health_decide_who_serves,
        routes::a_recycled_address_never_meets_the_tunnel_of_who_had_it,
        routes::hostnames::a_workload_known_by_a_hostname_is_resolved_when_a_connection_is_made,
        routes::waypoints::a_service_waypoint_is_the_next_hop_however_it_is_named,
        routes::waypoints::a_workload_waypoint_serves_who_dials_the_pod_itself,
        routes::waypoints::weighted_waypoints_take_their_shares,
        routes::waypoints::a_waypoint_comes_and_goes_without_a_failed_connection,
        routes::waypoints::a_waypoint_goes_straight_to_what_it_fronts,
        routes::waypoints::an_unknown_waypoint_is_never_passed_by,
        routes::networks::another_network_is_reached_by_a_tunnel_inside_a_tunnel,
        routes::networks::endings_cross_both_tunnels_as_they_are,
        routes::networks::the_peer_behind_the_gateway_is_told_whence_and_for_what,
        routes::networks::traffic_fails_over_to_another_network_and_back,
        routes::networks::a_gateway_that_is_no_way_is_told_and_resets_the_client,
        routes::networks::an_unknown_gateway_is_never_passed_by,
        probes::declared_probes_pass_under_strict_and_deny_all_and_no_other_port_does,
        probes::traffic_that_the_node_masquerades_is_no_probe,
        probes::probes_pass_on_while_the_agent_restarts,
        settings::data_is_carried_by_as_many_threads_as_were_asked_for,
        settings::the_soft_limit_of_open_files_is_raised_to_the_hard_one,
        settings::an_interrupt_drains_and_a_second_one_ends_at_once,
        settings::a_port_of_the_node_that_is_taken_ends_the_start,
        settings::sockets_of_traffic_are_marked_kept_alive_and_send_at_once,
        settings::the_application_sees_its_own_pod_when_original_sources_are_off,
    ]
};

/// As [`meshed`], with these variables in every proxy's environment.
fn meshed_proxies(env: &[(&str, &str)]) -> Lab {
    let lab = env.iter().fold(Lab::new(), |lab, (key, value)| lab.proxy_env(key, value)).start();
    lab.enroll_namespace("default");
    lab
}

/// As [`meshed`], with pods of these families.
fn meshed_with(families: Families) -> Lab {
    let lab = Lab::new().families(families).start();
    lab.enroll_namespace("default");
    lab
}
