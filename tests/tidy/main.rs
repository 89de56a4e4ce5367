//! Rules of the house that need logic: dependency arrows, sizes, module docs, generated code.

mod generated;

use std::path::{Path, PathBuf};

/// The workspace's top folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}
