use super::*;

fn uid(name: &str) -> PodUid {
    PodUid(name.to_owned())
}

fn set(list: &[&str]) -> BTreeSet<Target> {
    list.iter()
        .map(|text| {
            let address: std::net::SocketAddr = text.parse().unwrap();
            (address.ip(), address.port())
        })
        .collect()
}

#[test]
fn what_pods_declare_is_summed() {
    let mut claims = Claims::default();
    assert_eq!(claims.set(uid("a"), set(&["10.0.0.1:80", "10.0.0.1:81"])), vec![]);
    assert_eq!(claims.set(uid("b"), set(&["10.0.0.2:80"])), vec![]);
    assert_eq!(claims.set(uid("none"), set(&[])), vec![]);
    assert_eq!(claims.targets(), set(&["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80"]));
    claims.set(uid("a"), set(&["10.0.0.1:82"]));
    assert_eq!(claims.targets(), set(&["10.0.0.1:82", "10.0.0.2:80"]));
    claims.withdraw(&uid("b"));
    claims.withdraw(&uid("unknown"));
    assert_eq!(claims.targets(), set(&["10.0.0.1:82"]));
    assert_eq!(claims.pods(), 2);
}

#[test]
fn an_address_is_its_newest_pod_s() {
    let mut claims = Claims::default();
    claims.set(uid("old"), set(&["10.0.0.1:80"]));
    let taken = claims.set(uid("new"), set(&["10.0.0.1:90"]));
    assert_eq!(taken, vec![("10.0.0.1".parse().unwrap(), uid("old"))]);
    assert_eq!(claims.targets(), set(&["10.0.0.1:90"]));
    assert_eq!(claims.set(uid("old"), set(&["10.0.0.1:81"])), vec![], "saying it again takes nothing back");
    assert_eq!(claims.targets(), set(&["10.0.0.1:90"]));
}

#[test]
fn a_late_end_of_the_older_pod_takes_nothing_from_the_newer() {
    let mut claims = Claims::default();
    claims.set(uid("old"), set(&["10.0.0.1:80"]));
    claims.set(uid("new"), set(&["10.0.0.1:80"]));
    claims.withdraw(&uid("old"));
    assert_eq!(claims.targets(), set(&["10.0.0.1:80"]));
    claims.withdraw(&uid("new"));
    assert_eq!(claims.targets(), set(&[]));
    assert!(claims.claimants.is_empty());
}

#[test]
fn when_the_newer_goes_first_the_older_has_its_own_again() {
    let mut claims = Claims::default();
    claims.set(uid("old"), set(&["10.0.0.1:80"]));
    claims.set(uid("new"), set(&["10.0.0.1:90"]));
    claims.withdraw(&uid("new"));
    assert_eq!(claims.targets(), set(&["10.0.0.1:80"]));
}

#[test]
fn a_pod_that_moves_frees_its_old_address() {
    let mut claims = Claims::default();
    claims.set(uid("a"), set(&["10.0.0.1:80"]));
    claims.set(uid("a"), set(&["10.0.0.2:80"]));
    assert_eq!(claims.set(uid("b"), set(&["10.0.0.1:80"])), vec![]);
    assert_eq!(claims.targets(), set(&["10.0.0.1:80", "10.0.0.2:80"]));
}

#[test]
fn saying_the_same_again_is_no_news() {
    let pods = BTreeMap::from([(uid("a"), set(&["10.0.0.1:80"])), (uid("b"), set(&["10.0.0.2:80"]))]);
    let mut claims = Claims::default();
    assert_eq!(claims.replace(pods.clone()), Some(vec![]));
    assert_eq!(claims.replace(pods), None);
    let pods = BTreeMap::from([(uid("c"), set(&["10.0.0.2:81"])), (uid("b"), set(&["10.0.0.2:80"]))]);
    let taken = ("10.0.0.2".parse().unwrap(), uid("c"), uid("b"));
    assert_eq!(claims.replace(pods), Some(vec![taken]));
    assert_eq!(claims.targets(), set(&["10.0.0.2:81"]), "a pod that is not said any more is gone");
}
