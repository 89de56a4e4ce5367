use super::*;

#[test]
fn addresses_are_read_whatever_comes_after_them() {
    let table =
        "set istio-inpod-probes-v4 {\n type ipv4_addr\n elements = { 10.0.0.1 comment \"a\", 10.0.0.2 }\n }";
    let want: BTreeSet<IpAddr> = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap()).into();
    assert_eq!(nft_addresses(table), want);
    let saved = "create istio-inpod-probes-v4 hash:ip family inet\nadd istio-inpod-probes-v4 10.0.0.1 comment \"a\"\n\
                 add istio-inpod-probes-v4 10.0.0.2\n";
    assert_eq!(ipset_addresses(saved), want);
}

#[test]
fn jumps_to_a_chain_are_counted_where_it_is() {
    assert_eq!(chained("*nat\n-A POSTROUTING -j MASQUERADE\n"), None);
    assert_eq!(chained("*nat\n:ISTIO_POSTRT - [0:0]\n"), Some(0));
    assert_eq!(
        chained("*nat\n:ISTIO_POSTRT - [0:0]\n-A POSTROUTING -j ISTIO_POSTRT\n-A POSTROUTING -j X\n"),
        Some(1)
    );
}
