//! What other people's tools make of us. It needs istioctl and Prometheus: `make tools` runs it, `cargo test` does not.

use std::process::ExitCode;

mod alerts;
mod istioctl;
mod profiles;
mod prometheus;
mod telling;

fn main() -> ExitCode {
    tests::lab::main(&tests::trials![
        alerts::promtool_finds_each_alert_firing_where_it_must_and_silent_elsewhere,
        alerts::a_server_evaluates_every_alert_and_panel_over_a_node,
        istioctl::every_table_shows_what_the_proxy_knows,
        istioctl::every_part_is_there_as_json_and_yaml,
        istioctl::adit_inspect_shows_the_same_tables_of_the_same_dump,
        profiles::pprof_reads_cpu_and_heap,
        prometheus::promtool_finds_no_mistake_that_ztunnel_does_not_make,
        prometheus::a_server_scrapes_us_with_the_tutorials_relabelling,
    ])
}
