use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_lists_every_exit_code_with_its_meaning() {
    for exit in Exit::ALL {
        let line = format!("\n  {}  {}", exit.code(), exit.meaning());
        assert!(EXIT_CODES.contains(&line), "{line}");
    }
    assert_eq!(EXIT_CODES.lines().count(), 1 + Exit::ALL.len());
}

#[test]
fn common_flags_may_stand_before_and_after_the_command() {
    for line in [["adit", "-i", "mesh", "version"], ["adit", "version", "-i", "mesh"]] {
        let cli = Cli::try_parse_from(line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        assert_eq!(cli.globals.istio_namespace, "mesh", "{line:?}");
    }
}
