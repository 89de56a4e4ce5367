use super::*;

const PRINTED: &str = "table inet firewalld {\n\tchain a {\n\t}\n}\ntable inet istio-ambient-nat {\n\tchain output {\n\
\t\ttype nat hook output priority -100; policy accept;\n\t\tjump istio-output\n\t}\n}\n";

#[test]
fn only_our_tables_are_read() {
    let tables = tables(PRINTED);
    assert_eq!(tables.keys().copied().collect::<Vec<_>>(), ["istio-ambient-nat"]);
    assert!(!tables.get("istio-ambient-nat").unwrap().contains("chain a"));
}

#[test]
fn what_differs_is_named_by_its_table() {
    let wanted = tables(PRINTED);
    assert_eq!(compare(&wanted, &wanted), []);
    let tampered = tables(&PRINTED.replace("jump istio-output", "accept"));
    assert_eq!(compare(&wanted, &tampered), [Finding::TableDiffers(Table::Nat)]);
    assert_eq!(compare(&wanted, &Tables::new()), [Finding::TableMissing(Table::Nat)]);
    assert_eq!(compare(&Tables::new(), &wanted), [Finding::TableStray(Table::Nat)]);
}
