use super::*;
use crate::netns::tests::TempDir;

fn in_cluster(dir: &TempDir) -> Kubernetes {
    Kubernetes {
        server: Server::InCluster {
            url: "https://10.96.0.1:443".parse().unwrap(),
            token: dir.path().join("token"),
            ca: dir.path().join("ca.crt"),
        },
        skip_tls_verify: false,
        pod_namespace: "istio-system".to_owned(),
        pod_name: None,
    }
}

#[test]
fn pauses_grow_up_to_a_limit_and_begin_anew() {
    let mut pace = Pace::new();
    let mut most = SHORTEST;
    for _ in 0..20 {
        let pause = pace.pause();
        assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        most = (most * 2).min(LONGEST);
    }
    pace.reset();
    assert!(pace.pause() <= SHORTEST);
}

#[tokio::test]
async fn a_client_that_cannot_say_who_it_is_is_refused() {
    let dir = TempDir::new();
    assert!(matches!(client(&in_cluster(&dir)).await, Err(ClientError::Prepare { .. })));
    std::fs::write(dir.path().join("token"), "t").unwrap();
    assert!(matches!(client(&in_cluster(&dir)).await, Err(ClientError::Prepare { .. })), "no ca.crt");
    let unverified = Kubernetes { skip_tls_verify: true, ..in_cluster(&dir) };
    assert!(client(&unverified).await.is_ok());
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_named() {
    let dir = TempDir::new();
    let path = dir.path().join("config");
    let settings = Kubernetes { server: Server::Kubeconfig(path.clone()), ..in_cluster(&dir) };
    let Err(error) = client(&settings).await else { panic!("a client without a server") };
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                contexts: [{name: c, context: {cluster: k, user: u}}]\n\
                clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: t}}]\n";
    std::fs::write(&path, text).unwrap();
    assert!(client(&settings).await.is_ok());
}
