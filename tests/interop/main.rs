//! Envoy, with a static configuration, in the places that it takes in a mesh: client, server and waypoint of HBONE.

use std::process::ExitCode;

mod config;
mod envoy;

fn main() -> ExitCode {
    tests::lab::main(&tests::trials![
        envoy::a_client_that_is_envoy_is_served_and_obeys_policy,
        envoy::a_server_that_is_envoy_ends_our_tunnels,
        envoy::a_waypoint_that_is_envoy_decides_on_http_and_passes_on,
        envoy::a_tunnel_from_envoy_carries_much_and_keeps_its_endings,
    ])
}
