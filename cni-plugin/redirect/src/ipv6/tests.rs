use super::*;

#[test]
fn interfaces_decide_and_not_what_holds_for_those_to_come() {
    for (interfaces, want) in [
        (vec![("all", false), ("default", false), ("lo", true), ("eth0", true)], Ipv6::None),
        (vec![("all", true), ("default", true), ("lo", false), ("eth0", true)], Ipv6::Works),
        (vec![("all", false), ("lo", true), ("eth0", false)], Ipv6::NotOnLoopback),
        (vec![], Ipv6::None),
    ] {
        let given = interfaces.iter().map(|(name, refuses)| ((*name).to_owned(), *refuses));
        assert_eq!(judge(given), want, "{interfaces:?}");
    }
}

#[test]
fn an_address_of_the_link_or_of_the_machine_reaches_nobody() {
    assert!(!is_reachable("00000000000000000000000000000001 01 80 10 80       lo"));
    assert!(!is_reachable("fe800000000000000000000000000001 02 40 20 80     eth0"));
    assert!(is_reachable("fd000088000000000000000000000002 02 40 00 82     eth0"));
    assert!(!is_reachable("cut short"));
}
