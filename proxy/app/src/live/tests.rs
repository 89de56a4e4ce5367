//! What waits for the world, and for how long.

use proxy_core::world::Strictness;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_connection_of_a_pod_that_is_never_announced_is_given_up_after_five_seconds() {
    let live = Live::new(
        NodeContext {
            node_name: "n1".into(),
            network: "".into(),
            cluster_domain: "cluster.local".into(),
            own_ports: proxy_core::decide::guard::OwnPorts::default(),
            loopback_tunnels: true,
            on_demand: false,
            unknown_policy: Strictness::default(),
        },
        Resolver::default(),
    );
    let pod = PodInfo { name: "a".into(), namespace: "ns".into(), service_account: "a".into() };
    let asking = live.local_workload(&pod);
    tokio::pin!(asking);
    let early = timeout(Duration::from_millis(4_900), asking.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    let late = timeout(Duration::from_millis(200), asking).await.expect("it has ended");
    assert_eq!(late.expect_err("nobody announced it"), UnknownWorkload(pod.clone()));
}
