use std::io::Write;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use parking_lot::Mutex;

use super::*;
use crate::output::{Format, Output};

/// What was written, to be read afterwards.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn context() -> (Context, Paper) {
    let paper = Paper::default();
    let output = Output::to(Format::Table, Box::new(paper.clone()), Box::new(Paper::default()), None);
    let globals = Cli::parse_from(["adit", "version"]).globals;
    (Context::new(globals, output), paper)
}

#[test]
fn every_shell_learns_every_command() {
    for shell in Shell::value_variants() {
        let (context, paper) = context();
        assert_eq!(completions(&CompletionsArgs { shell: *shell }, &context), Exit::Done);
        let script = String::from_utf8(paper.0.lock().clone()).unwrap();
        for command in Cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
    }
}

#[test]
fn every_command_has_a_manual_page_with_the_exit_codes_in_the_first() {
    let dir = std::env::temp_dir().join(format!("adit-man-{}", std::process::id())).join("man1");
    let (context, _) = context();
    assert_eq!(man(&ManArgs { dir: dir.clone() }, &context).unwrap(), Exit::Done);
    for command in Cli::command().get_subcommands() {
        assert!(dir.join(format!("adit-{}.1", command.get_name())).is_file(), "{}", command.get_name());
    }
    let page = fs::read_to_string(dir.join("adit.1")).unwrap();
    fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    assert!(page.contains("Exit codes"), "{page}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (context, _) = context();
    let Err(Error::Write { folder, .. }) = man(&ManArgs { dir: PathBuf::from("/proc/no") }, &context) else {
        panic!("it was written")
    };
    assert_eq!(folder, PathBuf::from("/proc/no"));
}
