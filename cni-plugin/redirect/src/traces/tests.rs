use super::*;

#[test]
fn only_our_tables_and_chains_count_as_ours() {
    let traces = traces(&[(INET, "istio-ambient-nat", ""), (INET, "firewalld", ""), (IPV4, "nat", "DOCKER")]);
    assert_eq!(traces.native(), ["istio-ambient-nat"]);
    assert!(traces.in_use(Engine::NfTables, Family::V4));
    assert!(!traces.maybe_ours(Engine::NfTables, Family::V4));
    assert!(!traces.in_use(Engine::NfTables, Family::V6));
}

#[test]
fn chains_of_iptables_nft_are_found_in_their_family() {
    let traces = traces(&[(IPV6, "nat", "ISTIO_OUTPUT")]);
    assert!(traces.maybe_ours(Engine::NfTables, Family::V6));
    assert!(!traces.maybe_ours(Engine::NfTables, Family::V4));
    assert!(!traces.maybe_ours(Engine::Legacy, Family::V6));
}

#[test]
fn legacy_tables_may_hold_anything() {
    let legacy = BTreeMap::from([(Family::V4, BTreeSet::from(["nat".to_owned()]))]);
    let traces = Traces { names: BTreeSet::new(), legacy };
    assert!(traces.maybe_ours(Engine::Legacy, Family::V4));
    assert!(!traces.maybe_ours(Engine::Legacy, Family::V6));
}

fn traces(names: &[(u8, &str, &str)]) -> Traces {
    let name = |(family, table, chain): &(u8, &str, &str)| Name {
        family: *family,
        table: (*table).to_owned(),
        chain: (*chain).to_owned(),
    };
    Traces { names: names.iter().map(name).collect(), legacy: BTreeMap::new() }
}
