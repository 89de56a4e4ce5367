use super::*;

#[test]
fn a_record_is_read_as_it_was_written() {
    let dir = std::env::temp_dir().join(format!("adit-backend-{}", std::process::id()));
    let path = dir.join(FILE);
    let record =
        Record { backend: "nftables".to_owned(), why: "it works".to_owned(), wish: "auto".to_owned() };
    write(&path, &record).unwrap();
    assert_eq!(read(&path), Some(record));
    fs::write(&path, "{").unwrap();
    assert_eq!(read(&path), None);
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(read(&path), None);
}

#[test]
fn every_wish_is_written_in_words_of_its_own() {
    let wishes = [
        Wish::Auto,
        Wish::Nftables,
        Wish::Iptables(None),
        Wish::Iptables(Some(Variant::Legacy)),
        Wish::Iptables(Some(Variant::Nft)),
    ];
    let words: std::collections::BTreeSet<_> = wishes.into_iter().map(written).collect();
    assert_eq!(words.len(), wishes.len());
}
