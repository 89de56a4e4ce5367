use super::*;

#[test]
fn the_settings_of_istio_cni_mean_what_they_meant() {
    for (native, forced, want) in [
        (None, None, Wish::Iptables(None)),
        (Some(""), Some(""), Wish::Iptables(None)),
        (Some("false"), Some("legacy"), Wish::Iptables(Some(Variant::Legacy))),
        (Some("true"), Some("legacy"), Wish::Nftables),
        (Some("1"), None, Wish::Nftables),
    ] {
        assert_eq!(parsed(native, forced), (want, 0), "{native:?} {forced:?}");
    }
}

#[test]
fn auto_leaves_the_choice_unless_an_iptables_is_named() {
    assert_eq!(parsed(Some("auto"), None), (Wish::Auto, 0));
    assert_eq!(parsed(Some("auto"), Some("nft")), (Wish::Iptables(Some(Variant::Nft)), 0));
}

#[test]
fn what_is_neither_is_refused() {
    assert_eq!(parsed(Some("maybe"), Some("ipchains")).1, 2);
}

fn parsed(native: Option<&str>, iptables: Option<&str>) -> (Wish, usize) {
    let mut errors = Errors(Vec::new());
    let text = |given: Option<&str>| given.map(str::to_owned);
    let raw = RawBackend { native_nftables: text(native), iptables: text(iptables) };
    let wish = wish(&mut errors, &raw);
    (wish, errors.0.len())
}
