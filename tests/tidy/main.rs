//! Rules of the house that no compiler holds: arrows between crates, file sizes, first lines, generated code.

use std::path::{Path, PathBuf};

mod arrows;
mod files;
mod generated;

/// The workspace's root folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_path_buf()
}

/// The folders that the root manifest lists as members.
fn members() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let list = manifest.split_once("members = [").expect("a member list").1;
    let list = list.split_once(']').expect("the list ends").0;
    list.split(',').map(|m| m.trim().trim_matches('"').to_owned()).filter(|m| !m.is_empty()).collect()
}

/// Every `.rs` file of the members, generated code left out.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = members().iter().map(|m| root().join(m)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                if !path.ends_with("src/gen") && !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 20, "the walk found only {} files", found.len());
    found
}

/// A path as a person would name it in this workspace.
fn named(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
