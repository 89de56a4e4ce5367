use super::*;

const EXAMPLE: &str = r#"{"Netns":"/var/run/netns/cni-1","PodName":"a","PodNamespace":"b","IPs":[
    {"Interface":0,"Address":{"IP":"10.0.0.5","Mask":"////AA=="},"Gateway":"10.0.0.1"},
    {"Interface":null,"Address":{"IP":"::ffff:10.0.0.6","Mask":null},"Gateway":""}]}"#;

#[test]
fn a_call_is_read_whatever_the_case_of_its_keys() {
    let want = Called {
        name: "a".to_owned(),
        namespace: "b".to_owned(),
        netns: "/var/run/netns/cni-1".to_owned(),
        ips: vec!["10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap()],
    };
    assert_eq!(Called::parse(EXAMPLE.as_bytes()).as_ref(), Ok(&want));
    let shouted = EXAMPLE.replace("PodName\"", "PODNAME\"").replace("\"Address\"", "\"aDDress\"");
    assert_eq!(Called::parse(shouted.as_bytes()).as_ref(), Ok(&want));
    let alone = r#"{"netns":"/n","podName":"a","podNamespace":"b","IPs":null,"New":{"x":[1]}}"#;
    assert_eq!(Called::parse(alone.as_bytes()).unwrap().ips, Vec::<std::net::IpAddr>::new());
}

#[test]
fn a_call_that_makes_no_sense_is_refused_for_what_is_wrong_with_it() {
    for (body, want) in [
        ("", "the body is no JSON"),
        ("7", "the body is no event"),
        ("{}", "PodName is empty"),
        (r#"{"PodName":"a","PodNamespace":"b"}"#, "Netns is empty"),
        (
            r#"{"PodName":"a","PodNamespace":"b","Netns":"/n","IPs":[{"Address":{"IP":"x"}}]}"#,
            "IPs holds \"x\"",
        ),
        (r#"{"PodName":7}"#, "the body is no event"),
    ] {
        let told = Called::parse(body.as_bytes()).unwrap_err();
        assert!(told.starts_with(want), "{body}: {told}");
    }
}

#[test]
fn lines_of_the_plugin_s_log_are_kept_in_order_and_others_left_out() {
    let body = serde_json::json!([
        r#"{"level":"info","time":"2026-01-02T03:04:05.6Z","msg":"first","pod":"a/b"}"#,
        "no json",
        r#"{"level":"loud","msg":"lost"}"#,
        r#"{"level":"error","time":"t","msg":"second"}"#,
    ]);
    let lines = Logged::parse(body.to_string().as_bytes());
    let told: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert!(told[0].contains("first") && told[0].contains(r#"{\"pod\":\"a/b\"}"#), "{told:?}");
    assert!(told[1].contains("second"), "{told:?}");
    assert_eq!(Logged::parse(b"{}"), []);
}

#[test]
fn a_path_of_the_host_is_looked_for_where_the_host_can_be_seen() {
    let told = |path: &str| {
        let found = candidates(Path::new(path), Path::new("/host/proc"));
        found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        told("/var/run/netns/c1"),
        [
            "/var/run/netns/c1",
            "/run/netns/c1",
            "/host/proc/1/root/var/run/netns/c1",
            "/host/proc/1/root/run/netns/c1",
        ]
    );
    assert_eq!(told("/proc/77/ns/net"), ["/host/proc/77/ns/net"]);
}

#[test]
fn a_path_that_leads_elsewhere_is_not_followed() {
    for path in ["netns/c1", "/var/run/../../etc/passwd", ""] {
        let error = open(Path::new(path), Path::new("/proc")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
    }
}
