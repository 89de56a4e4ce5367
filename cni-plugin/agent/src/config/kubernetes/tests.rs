use super::*;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn in_a_pod() -> Raw {
    Raw {
        kubernetes_service_host: text("10.96.0.1"),
        kubernetes_service_port: text("443"),
        pod_namespace: text("istio-system"),
        ..Raw::default()
    }
}

fn check(raw: &Raw) -> (Kubernetes, Vec<String>) {
    let mut errors = Errors(Vec::new());
    let kubernetes = raw.check(&mut errors);
    (kubernetes, errors.0.iter().map(ToString::to_string).collect())
}

#[test]
fn a_pod_finds_its_api_server_by_its_environment() {
    let (kubernetes, errors) = check(&in_a_pod());
    assert_eq!(errors, [""; 0]);
    let dir = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
    let want = Server::InCluster {
        url: "https://10.96.0.1:443".parse().unwrap(),
        token: dir.join("token"),
        ca: dir.join("ca.crt"),
    };
    assert_eq!(kubernetes.server, want);
    assert_eq!((kubernetes.skip_tls_verify, kubernetes.pod_name), (false, None));
}

#[test]
fn everything_about_the_api_server_can_be_said() {
    let raw = Raw {
        kubernetes_service_host: text("fd00::1"),
        kubernetes_service_port: text("6443"),
        kubernetes_service_protocol: text("http"),
        service_account_dir: text("/sa"),
        kube_ca_file: text("/ca.pem"),
        skip_tls_verify: text("true"),
        pod_name: text("istio-cni-node-x"),
        ..in_a_pod()
    };
    let (kubernetes, errors) = check(&raw);
    assert_eq!(errors, [""; 0]);
    let want = Server::InCluster {
        url: "http://[fd00::1]:6443".parse().unwrap(),
        token: "/sa/token".into(),
        ca: "/ca.pem".into(),
    };
    assert_eq!(kubernetes.server, want);
    assert!(kubernetes.skip_tls_verify);
    assert_eq!(kubernetes.pod_name.as_deref(), Some("istio-cni-node-x"));
}

#[test]
fn a_kubeconfig_comes_first() {
    let (kubernetes, errors) = check(&Raw { kubeconfig: text("/kube"), ..in_a_pod() });
    assert_eq!(errors, [""; 0]);
    assert_eq!(kubernetes.server, Server::Kubeconfig("/kube".into()));
    let (kubernetes, _) = check(&Raw { kubeconfig: text(""), ..in_a_pod() });
    assert!(matches!(kubernetes.server, Server::InCluster { .. }));
}

#[test]
fn what_is_missing_or_malformed_about_the_api_server_is_named() {
    let raw = Raw {
        kubernetes_service_port: None,
        pod_namespace: text(""),
        skip_tls_verify: text("maybe"),
        ..in_a_pod()
    };
    let (_, errors) = check(&raw);
    for (error, want) in
        errors.iter().zip(["(POD_NAMESPACE)", "(KUBERNETES_SERVICE_PORT)", "(SKIP_TLS_VERIFY)"])
    {
        assert!(error.contains(want), "{want} in {error}");
    }
    assert_eq!(errors.len(), 3, "{errors:#?}");
    for (raw, want) in [
        (Raw { kubernetes_service_port: text("https"), ..in_a_pod() }, "KUBERNETES_SERVICE_PORT"),
        (Raw { kubernetes_service_protocol: text("ftp"), ..in_a_pod() }, "KUBERNETES_SERVICE_PROTOCOL"),
        (Raw { kubernetes_service_host: text("a b"), ..in_a_pod() }, "KUBERNETES_SERVICE_HOST"),
    ] {
        let (_, errors) = check(&raw);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors.iter().all(|error| error.contains(want)), "{want} in {errors:#?}");
    }
}
