use super::*;

fn pod(containers: &str) -> Pod {
    let text = format!(
        "metadata: {{name: web}}\nspec:\n{containers}\nstatus: {{podIPs: [{{ip: 10.0.0.5}}, {{ip: 'fd00::5'}}]}}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

#[track_caller]
fn check(containers: &str, want: &[&str]) {
    let targets: Vec<String> =
        pod(containers).probes().into_iter().map(|(ip, port)| format!("{ip} {port}")).collect();
    assert_eq!(targets, want, "{containers}");
}

#[test]
fn every_kind_of_probe_and_hook_counts_at_every_address_of_the_pod() {
    check(
        "  containers:
  - name: a
    ports: [{name: http, containerPort: 8080}, {containerPort: 7000}]
    livenessProbe: {httpGet: {port: http, path: /live}, periodSeconds: 3}
    readinessProbe: {tcpSocket: {port: 8081}}
    startupProbe: {grpc: {port: 8082, service: s}}
    lifecycle: {postStart: {httpGet: {port: 8083}}, preStop: {tcpSocket: {port: '8084'}}}
  - name: b
    livenessProbe: {exec: {command: [a]}}
    lifecycle: {preStop: {sleep: {seconds: 3}}}",
        &[
            "10.0.0.5 8080",
            "10.0.0.5 8081",
            "10.0.0.5 8082",
            "10.0.0.5 8083",
            "10.0.0.5 8084",
            "fd00::5 8080",
            "fd00::5 8081",
            "fd00::5 8082",
            "fd00::5 8083",
            "fd00::5 8084",
        ],
    );
}

#[test]
fn of_init_containers_only_those_that_stay_are_probed() {
    check(
        "  initContainers:
  - {name: once, startupProbe: {tcpSocket: {port: 1}}}
  - {name: stays, restartPolicy: Always, startupProbe: {tcpSocket: {port: 2}}}
  containers: ~",
        &["10.0.0.5 2", "fd00::5 2"],
    );
}

#[test]
fn a_probe_of_another_host_is_not_ours() {
    check("  containers: [{name: a, livenessProbe: {httpGet: {port: 80, host: 127.0.0.1}}}]", &[]);
    check("  containers: [{name: a, livenessProbe: {httpGet: {port: 80, host: example.com}}}]", &[]);
    check(
        "  containers: [{name: a, livenessProbe: {httpGet: {port: 80, host: 'fd00::5'}}}]",
        &["fd00::5 80"],
    );
    check(
        "  containers: [{name: a, livenessProbe: {httpGet: {port: 80, host: ''}}}]",
        &["10.0.0.5 80", "fd00::5 80"],
    );
}

#[test]
fn a_port_name_is_that_of_the_same_container() {
    let text = "  containers:
  - {name: a, ports: [{name: http, containerPort: 80}]}
  - {name: b, readinessProbe: {httpGet: {port: http}}}";
    check(text, &[]);
    let said: Vec<String> = pod(text).unusable_ports().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "container \"b\": readinessProbe names port \"http\", which is neither a port number nor a port of the \
             container"
        ]
    );
}

#[test]
fn ports_that_are_none_are_left_out_and_told() {
    for port in ["0", "65536", "-1", "''", "'0'", "'99999'", "nope"] {
        let text = format!("  containers: [{{name: a, livenessProbe: {{tcpSocket: {{port: {port}}}}}}}]");
        check(&text, &[]);
        assert_eq!(pod(&text).unusable_ports().len(), 1, "{port}");
    }
}

#[test]
fn a_pod_without_addresses_in_its_status_is_probed_at_those_of_its_interfaces() {
    let pod: Pod = serde_saphyr::from_str(
        "metadata: {name: web}\nspec: {containers: [{name: a, livenessProbe: {tcpSocket: {port: 80}}}]}",
    )
    .unwrap();
    assert_eq!(pod.probes(), BTreeSet::new());
    let ip: IpAddr = "10.0.0.9".parse().unwrap();
    assert_eq!(pod.probes_at(&[ip]), BTreeSet::from([(ip, 80)]));
}
