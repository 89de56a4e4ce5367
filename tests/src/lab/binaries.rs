//! Where the programs of a lab are.

use std::path::PathBuf;
use std::{env, fs};

/// The path of one of our binaries: in `ADIT_BIN_DIR`, else beside the running program.
#[track_caller]
pub fn find(name: &str) -> PathBuf {
    let tried = candidates(name);
    tried.iter().find(|path| path.is_file()).cloned().unwrap_or_else(|| {
        panic!("no binary {name}: build it (cargo build --bins) or set ADIT_BIN_DIR; tried {tried:?}")
    })
}

/// The proxy of a node: `ADIT_LAB_PROXY_<NODE>` names another implementation.
#[track_caller]
pub fn proxy_of(node: &str) -> PathBuf {
    match env::var_os(override_of(node)) {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "{} names {}, which is no file", override_of(node), path.display());
            path
        }
        None => find("adit-proxy"),
    }
}

/// Whether a node's proxy is ours.
pub fn is_ours(node: &str) -> bool {
    env::var_os(override_of(node)).is_none()
}

/// A line that says which proxies the suite runs.
pub fn describe() -> String {
    let proxies = ["a", "b"].map(|node| {
        let path = env::var_os(override_of(node)).map(PathBuf::from);
        let path = path.or_else(|| candidates("adit-proxy").into_iter().find(|p| p.is_file()));
        format!(
            "node {node}: {}",
            path.map_or_else(|| "no adit-proxy built".into(), |p| p.display().to_string())
        )
    });
    format!("proxies: {}", proxies.join(", "))
}

fn override_of(node: &str) -> String {
    format!("ADIT_LAB_PROXY_{}", node.to_uppercase())
}

fn candidates(name: &str) -> Vec<PathBuf> {
    if let Some(folder) = env::var_os("ADIT_BIN_DIR") {
        return vec![PathBuf::from(folder).join(name)];
    }
    let program = env::current_exe().and_then(fs::canonicalize).unwrap_or_default();
    // A test runs from target/<profile>/deps, a binary from target/<profile>.
    program.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect()
}
