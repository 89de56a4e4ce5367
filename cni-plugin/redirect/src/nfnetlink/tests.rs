use super::*;

#[test]
fn tables_and_chains_are_read_from_the_kernels_messages() {
    let table = message(of_nf_tables(NEW_TABLE), 2, INET, 0, &attribute(TABLE_NAME, "istio-ambient-nat"));
    let named = [attribute(CHAIN_TABLE, "nat"), attribute(2, "ignored"), attribute(CHAIN_NAME, "OUTPUT")];
    let chain = message(of_nf_tables(NEW_CHAIN), 2, IPV4, 0, &named.concat());
    let done = message(DONE, 2, 0, 0, &[]);
    let name = |family, table: &str, chain: &str| {
        Answer::Name(Name { family, table: table.to_owned(), chain: chain.to_owned() })
    };
    assert_eq!(
        answers(&[table, chain, done].concat()),
        [name(INET, "istio-ambient-nat", ""), name(IPV4, "nat", "OUTPUT"), Answer::Done]
    );
}

#[test]
fn a_dump_that_was_disturbed_is_told_from_one_that_is_whole() {
    assert_eq!(answers(&message(DONE, INTERRUPTED, 0, 0, &[])), [Answer::Interrupted, Answer::Done]);
}

#[test]
fn what_is_cut_short_is_passed_over() {
    let whole = message(of_nf_tables(NEW_CHAIN), 2, IPV4, 0, &attribute(CHAIN_TABLE, "nat"));
    for length in 0..whole.len() {
        assert_eq!(answers(whole.get(..length).unwrap()), []);
    }
    assert_eq!(answers(&message(of_nf_tables(NEW_CHAIN), 2, IPV4, 0, &[3, 0, 0])), []);
}
