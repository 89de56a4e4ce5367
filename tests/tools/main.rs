//! What other people's tools make of us. It needs istioctl and Prometheus: `make tools` runs it, `cargo test` does not.

use std::process::ExitCode;

mod istioctl;
mod profiles;
mod prometheus;
mod telling;

fn main() -> ExitCode {
    tests::lab::main(&tests::trials![
        istioctl::every_table_shows_what_the_proxy_knows,
        istioctl::every_part_is_there_as_json_and_yaml,
        profiles::pprof_reads_cpu_and_heap,
        prometheus::promtool_finds_no_mistake_that_ztunnel_does_not_make,
        prometheus::a_server_scrapes_us_with_the_tutorials_relabelling,
    ])
}
