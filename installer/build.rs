//! Embeds the charts: a table of every file below `charts/`, so that the tool installs what its own version is made for.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let charts = fs::canonicalize(
        Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../charts"),
    )?;
    println!("cargo::rerun-if-changed={}", charts.display());
    let mut files = Vec::new();
    collect(&charts, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&charts)?.display().to_string();
        writeln!(table, "    ({name:?}, include_str!({:?})),", file.display().to_string())?;
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("charts.rs"), table)?;
    Ok(())
}

/// What Helm reads of a chart; dashboards, packages and the like stay out.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| ["yaml", "tpl", "txt", "json"].iter().any(|known| end == *known))
        {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}
