//! Who is refused when descriptors run short.

use super::*;

fn pod(name: &str) -> PodInfo {
    PodInfo { name: name.into(), namespace: "ns".into(), service_account: "sa".into() }
}

/// Takes as much as it gets, one by one.
fn greedily(holder: &Arc<Holder>) -> Vec<Share> {
    std::iter::from_fn(|| holder.take(2).ok()).take(10_000).collect()
}

#[test]
fn the_pod_with_the_most_is_refused_and_others_go_on() {
    let all = Descriptors::new(2_000, 90);
    let (greedy, modest) = (all.holder(pod("greedy")), all.holder(pod("modest")));
    let taken = greedily(&greedy);
    assert_eq!(taken.len() * 2, 1_800 - RESERVE - 2 * PER_POD);
    let some: Vec<_> = (0..50).map(|_| modest.take(2)).collect();
    assert!(some.iter().all(Result::is_ok), "the modest one is refused: {some:?}");
    let refusal = greedy.take(2).expect_err("the greedy one gets more");
    assert!(refusal.to_string().contains("open files"), "{refusal}");
}

#[test]
fn what_ends_is_given_back() {
    let all = Descriptors::new(1_000, 90);
    let holder = all.holder(pod("a"));
    let taken = greedily(&holder);
    assert!(holder.take(1).is_err());
    drop(taken);
    assert_eq!(all.open.load(Ordering::Relaxed), 0, "a refusal keeps something");
    assert_eq!(greedily(&holder).len() * 2, 900 - RESERVE - PER_POD);
}

#[test]
fn a_pod_that_left_is_not_the_greediest() {
    let all = Descriptors::new(1_000, 90);
    let gone = all.holder(pod("gone"));
    let taken = greedily(&gone);
    drop((gone, taken));
    let next = all.holder(pod("next"));
    assert_eq!(all.holders.lock().len(), 1);
    assert!(next.take(2).is_ok());
}
