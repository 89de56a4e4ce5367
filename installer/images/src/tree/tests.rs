use super::*;

fn tree(entries: &[(&str, Entry)]) -> Tree {
    let mut tree = Tree::default();
    for (path, entry) in entries {
        tree.add(path, entry.clone()).unwrap();
    }
    tree
}

fn file(text: &str) -> Entry {
    Entry::file(text, 0o644, "a package")
}

fn listed(tar: &[u8]) -> Vec<(String, u32, u64, u64)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let path = entry.path().unwrap().display().to_string();
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        (path, header.mode().unwrap(), header.uid().unwrap() + header.gid().unwrap(), header.mtime().unwrap())
    });
    entries.collect()
}

#[test]
fn the_order_of_adding_does_not_show_in_the_bytes() {
    let entries = [
        ("etc/hosts", file("hosts")),
        ("usr/bin/tool", Entry::file("tool", 0o755, "another")),
        ("usr/bin/alias", Entry::link("tool", "another")),
        ("tmp", Entry::folder(0o1777, "base")),
    ];
    let mut reversed = entries.clone();
    reversed.reverse();
    assert_eq!(tree(&entries).tar().unwrap(), tree(&reversed).tar().unwrap());
}

#[test]
fn entries_are_sorted_owned_by_root_and_of_no_time_with_their_folders_first() {
    let tar = tree(&[("usr/bin/tool", file("t")), ("tmp", Entry::folder(0o1777, "base"))]).tar().unwrap();
    let want = [("tmp/", 0o1777), ("usr/", 0o755), ("usr/bin/", 0o755), ("usr/bin/tool", 0o644)];
    assert_eq!(listed(&tar), want.map(|(path, mode)| (path.to_owned(), mode, 0, 0)));
}

#[test]
fn old_places_of_programs_and_libraries_lead_into_usr() {
    let mut tree = tree(&[
        ("./lib/x86_64-linux-gnu/libc.so.6", file("libc")),
        ("lib64/ld.so", Entry::link("/lib/x86_64-linux-gnu/ld.so.2", "libc6")),
        ("usr/lib/x86_64-linux-gnu/ld.so.2", file("loader")),
        ("bin", Entry::folder(0o755, "base-files")),
    ]);
    tree.merge_usr("us").unwrap();
    let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_owned()).collect();
    let want = [
        "bin",
        "lib",
        "lib64",
        "usr/bin",
        "usr/lib/x86_64-linux-gnu/ld.so.2",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib64/ld.so",
    ];
    assert_eq!(paths, want);
    assert_eq!(tree.resolve("/lib64/ld.so").unwrap().kind, Kind::File(b"loader".to_vec()));
}

#[test]
fn links_of_a_distribution_that_has_merged_them_itself_are_the_same() {
    let entries = [("bin", Entry::link("usr/bin", "base-files")), ("bin/sh", file("sh"))];
    let mut tree = tree(&entries);
    tree.merge_usr("us").unwrap();
    assert_eq!(tree.resolve("bin/sh"), tree.resolve("usr/bin/sh"));
}

#[test]
fn two_packages_with_one_path_are_told_apart_unless_they_agree() {
    let mut tree = tree(&[("etc/services", file("ours"))]);
    tree.add("/etc/services", file("ours")).unwrap();
    let other = Entry::file("theirs", 0o644, "netbase");
    let refused = tree.add("etc/services", other).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "etc/services is in a package and, as something else, in netbase: take one of them out of the image"
    );
}

#[test]
fn a_path_that_leads_out_of_the_image_is_refused() {
    let refused = Tree::default().add("usr/../../etc/shadow", file("")).unwrap_err();
    let path = "usr/../../etc/shadow".to_owned();
    assert_eq!(refused, TreeError::Outside { path, from: "a package".to_owned() });
}

#[test]
fn links_that_lead_in_a_circle_lead_nowhere() {
    let tree = tree(&[("a", Entry::link("b", "x")), ("b", Entry::link("/a", "x"))]);
    assert_eq!(tree.resolve("a"), None);
    assert_eq!(tree.resolve("nothing/here"), None);
}

#[test]
fn no_file_of_an_image_changes_who_runs_it() {
    assert_eq!(Entry::file("su", 0o4755, "x").mode, 0o755);
    assert_eq!(Entry::folder(0o2775, "x").mode, 0o775);
}
