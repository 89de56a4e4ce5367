use super::*;
use crate::tree::Entry;

/// The program that runs these tests: it asks for a dynamic linker and libraries.
fn shared() -> Vec<u8> {
    std::fs::read("/proc/self/exe").unwrap()
}

fn here() -> Platform {
    Platform::of_debian(if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }).unwrap()
}

/// A tree with a program, and beside it whatever the program asks for but these.
fn tree(program: Vec<u8>, without: &str) -> Tree {
    let needs = Needs::of(&program).unwrap();
    let mut tree = Tree::default();
    let libraries = needs.libraries.iter().map(|library| format!("usr/lib/{library}"));
    for path in needs.interpreter.into_iter().chain(libraries).filter(|path| !path.contains(without)) {
        tree.add(&path, Entry::file("a library", 0o644, "libc6")).unwrap();
    }
    tree.merge_usr("us").unwrap();
    tree.add("usr/bin/program", Entry::file(program, 0o755, "us")).unwrap();
    tree
}

fn check(tree: &Tree, linkage: Linkage) -> Result<(), ElfError> {
    check_program("usr/bin/program", tree, linkage, here())
}

#[test]
fn a_program_whose_libraries_are_all_there_is_taken() {
    let tree = tree(shared(), "none of them");
    assert_eq!(check(&tree, Linkage::Shared), Ok(()));
    assert_eq!(check_libraries(&tree), Ok(()));
}

#[test]
fn a_library_that_is_missing_is_named_with_who_asks_for_it() {
    let without_linker = tree(shared(), "ld-linux");
    assert!(matches!(check(&without_linker, Linkage::Shared), Err(ElfError::Library { .. })));
    let tree = tree(shared(), "libc.so.6");
    let want = ElfError::Library { path: "usr/bin/program".to_owned(), library: "libc.so.6".to_owned() };
    assert_eq!(check(&tree, Linkage::Shared), Err(want));
    assert!(matches!(check_libraries(&tree), Err(ElfError::Library { .. })));
}

#[test]
fn a_program_for_nodes_asks_them_for_nothing() {
    let refused = check(&tree(shared(), "none of them"), Linkage::Static).unwrap_err();
    assert!(matches!(refused, ElfError::Shared { .. }), "{refused:?}");
    assert!(refused.to_string().contains("crt-static"), "{refused}");
}

#[test]
fn a_program_of_another_machine_or_none_at_all_is_refused() {
    let other = if here().debian == "amd64" { "arm64" } else { "amd64" };
    let tree = tree(shared(), "none of them");
    let other = Platform::of_debian(other).unwrap();
    let refused = check_program("usr/bin/program", &tree, Linkage::Shared, other).unwrap_err();
    assert!(matches!(refused, ElfError::Machine { .. }), "{refused:?}");
    let mut script = Tree::default();
    script.add("usr/bin/program", Entry::file("#!/bin/sh", 0o755, "us")).unwrap();
    assert!(matches!(check(&script, Linkage::Shared), Err(ElfError::NoProgram { .. })));
    assert!(matches!(check(&Tree::default(), Linkage::Shared), Err(ElfError::NoProgram { .. })));
}
