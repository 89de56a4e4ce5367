//! What waits for the world, and for how long.

use proxy_core::world::Strictness;

use super::*;

fn live(on_demand: bool) -> Live {
    Live::new(
        NodeContext {
            node_name: "n1".into(),
            network: "".into(),
            cluster_domain: "cluster.local".into(),
            own_ports: proxy_core::decide::guard::OwnPorts::default(),
            loopback_tunnels: true,
            on_demand,
            unknown_policy: Strictness::default(),
            mesh_addresses: proxy_core::world::MeshAddresses::default(),
        },
        Resolver::default(),
    )
}

#[tokio::test(start_paused = true)]
async fn what_the_control_plane_is_silent_about_is_not_taken_for_unknown() {
    let (demand, questions) = xds_client::demand();
    let live = live(true).asking(demand);
    let ask = |_: &World| -> Step<()> { Step::Need(Lookup::Address("/10.0.0.9".into())) };
    let silent = live.decide(None, ask).await;
    assert_eq!(silent, Err(Undecided::Unanswered("/10.0.0.9".into())));
    // Also when it cannot even be asked, for too many questions or for its end.
    drop(questions);
    assert_eq!(live.decide(None, ask).await, Err(Undecided::Unanswered("/10.0.0.9".into())));
}

#[tokio::test]
async fn a_decision_that_never_has_enough_is_given_up() {
    let need = |_: &World| -> Step<()> { Step::Need(Lookup::Hostname("10.0.0.9".into())) };
    assert_eq!(live(false).decide(None, need).await, Err(Undecided::Lookups));
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_a_pod_that_is_never_announced_is_given_up_after_five_seconds() {
    let live = live(false);
    let pod = PodInfo { name: "a".into(), namespace: "ns".into(), service_account: "a".into() };
    let asking = live.local_workload(&pod);
    tokio::pin!(asking);
    let early = timeout(Duration::from_millis(4_900), asking.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    let late = timeout(Duration::from_millis(200), asking).await.expect("it has ended");
    assert_eq!(late.expect_err("nobody announced it"), UnknownWorkload(pod.clone()));
}
