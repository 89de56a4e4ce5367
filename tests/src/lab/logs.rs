//! A lab's logs: what this process itself says, and the ends of all of them for the report of a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::isolate::HOME;
use super::process::tail;

/// Sends what the lab's own process logs, the control plane above all, to a file beside the others.
pub fn record() {
    let file = fs::File::create(Path::new(HOME).join("control-plane.log")).expect("a log file");
    let level = std::env::var("ADIT_LAB_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Arc::new(file));
    log.try_init().expect("no other subscriber in this process");
}

/// Prints the last lines of every log under the lab's folder.
pub fn print(lines: usize) {
    for path in found(Path::new(HOME)) {
        let text = fs::read(&path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        let name = path.strip_prefix(HOME).unwrap_or(&path).display();
        eprintln!("--- {name} ({} lines)\n{}", text.lines().count(), tail(&text, lines));
    }
}

/// Keeps every log of a trial that failed in the folder that `ADIT_LAB_LOGS` names, for whoever reads the report.
pub fn keep(trial: &str) {
    let Some(folder) = std::env::var_os("ADIT_LAB_LOGS").map(PathBuf::from) else { return };
    let folder = folder.join(trial);
    let _ = fs::remove_dir_all(&folder);
    for path in found(Path::new(HOME)) {
        let kept = folder.join(path.strip_prefix(HOME).unwrap_or(&path));
        let made = kept.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(why) = made.and_then(|()| fs::copy(&path, &kept).map(drop)) {
            eprintln!("keep {}: {why}", kept.display());
        }
    }
    eprintln!("every log is in {}", folder.display());
}

fn found(folder: &Path) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    let mut entries: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        // Links in the roots of containers lead in circles.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            logs.extend(found(&path));
        } else if path.extension().is_some_and(|e| e == "log") {
            logs.push(path);
        }
    }
    logs
}
