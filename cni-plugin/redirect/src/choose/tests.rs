use super::*;

const NFT: Kind = Kind::Iptables(Variant::Nft);
const LEGACY: Kind = Kind::Iptables(Variant::Legacy);
const PLAIN: Kind = Kind::Iptables(Variant::Plain);

#[test]
fn what_the_operator_names_is_tried_alone() {
    let evidence = Evidence { legacy_rules: true, deployed: Some(LEGACY) };
    assert_eq!(kinds(Wish::Nftables, Some(LEGACY), evidence), [Kind::Nftables]);
    assert_eq!(kinds(Wish::Iptables(Some(Variant::Nft)), Some(LEGACY), evidence), [NFT]);
}

#[test]
fn a_choice_that_was_made_stays_whatever_the_node_shows_later() {
    let evidence = Evidence { legacy_rules: true, deployed: Some(LEGACY) };
    assert_eq!(kinds(Wish::Iptables(None), Some(NFT), evidence), [NFT, LEGACY, PLAIN]);
    assert_eq!(kinds(Wish::Auto, Some(NFT), evidence), [NFT, LEGACY, Kind::Nftables, PLAIN]);
}

#[test]
fn without_a_record_an_earlier_deployment_decides() {
    let evidence = Evidence { legacy_rules: false, deployed: Some(LEGACY) };
    assert_eq!(kinds(Wish::Auto, None, evidence), [LEGACY, Kind::Nftables, NFT, PLAIN]);
    let evidence = Evidence { legacy_rules: false, deployed: Some(Kind::Nftables) };
    assert_eq!(kinds(Wish::Auto, None, evidence), [Kind::Nftables, NFT, LEGACY, PLAIN]);
}

#[test]
fn iptables_follows_the_rules_of_the_node_and_native_nftables_need_not() {
    let evidence = Evidence { legacy_rules: true, deployed: None };
    assert_eq!(kinds(Wish::Iptables(None), None, evidence), [LEGACY, NFT, PLAIN]);
    assert_eq!(kinds(Wish::Auto, None, evidence), [Kind::Nftables, NFT, LEGACY, PLAIN]);
    assert_eq!(kinds(Wish::Iptables(None), None, Evidence::default()), [NFT, LEGACY, PLAIN]);
}

#[test]
fn native_nftables_are_not_taken_where_iptables_is_asked_for() {
    let evidence = Evidence { legacy_rules: false, deployed: Some(Kind::Nftables) };
    assert_eq!(kinds(Wish::Iptables(None), Some(Kind::Nftables), evidence), [NFT, LEGACY, PLAIN]);
}

#[test]
fn every_backend_is_named_as_it_is_read() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("ipchains".parse::<Kind>().is_err());
}

fn kinds(wish: Wish, recorded: Option<Kind>, evidence: Evidence) -> Vec<Kind> {
    order(wish, recorded, evidence).into_iter().map(|(kind, _)| kind).collect()
}
