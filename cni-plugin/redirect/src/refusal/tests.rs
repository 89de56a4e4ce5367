use super::*;

#[test]
fn a_second_refusal_replaces_the_first() {
    let saved = "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*filter\n:OUTPUT ACCEPT [0:0]\n:ADIT_REFUSAL - [0:0]\n\
                 -A OUTPUT -j ADIT_REFUSAL\n-A OUTPUT -d 10.0.0.0/8 -j ACCEPT\nCOMMIT\n";
    let payload = iptables_restore(saved);
    assert!(
        payload.starts_with(
            "*filter\n:ADIT_REFUSAL - [0:0]\n-D OUTPUT -j ADIT_REFUSAL\n-I OUTPUT -j ADIT_REFUSAL\n"
        ),
        "{payload}"
    );
    let want = "*filter\n-D OUTPUT -j ADIT_REFUSAL\n-F ADIT_REFUSAL\n-X ADIT_REFUSAL\nCOMMIT\n";
    assert_eq!(iptables_remove(saved).as_deref(), Some(want));
}

#[test]
fn where_nothing_is_refused_there_is_nothing_to_take_away() {
    assert_eq!(iptables_remove("*filter\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"), None);
    assert_eq!(iptables_remove(""), None);
}
