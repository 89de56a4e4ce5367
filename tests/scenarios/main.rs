//! The promises of the mesh, each in a lab of its own.

use std::process::ExitCode;

mod lab;

fn main() -> ExitCode {
    tests::lab::main(&tests::trials![
        lab::pods_reach_each_other_on_two_nodes_and_on_one,
        lab::a_capture_sees_plain_text_on_the_wire,
        lab::every_manner_of_server_is_what_it_says,
        lab::ipv6_pods_reach_each_other,
    ])
}
