//! Where most stories begin: a lab whose namespace `default` is in the mesh, and pods in it and beside it.

use std::net::SocketAddr;

use super::{Lab, Pod};

/// A lab on two nodes whose namespace `default` is in the mesh.
#[track_caller]
pub fn meshed() -> Lab {
    let lab = Lab::new().start();
    lab.enroll_namespace("default");
    lab
}

/// A pod that is in the mesh.
#[track_caller]
pub fn captured(lab: &Lab, name: &str, node: &str) -> Pod {
    let pod = lab.pod(name).on(node).create();
    pod.wait_enrolled();
    pod
}

/// A pod that stays out of the mesh, known to every proxy.
#[track_caller]
pub fn uncaptured(lab: &Lab, name: &str, node: &str) -> Pod {
    let pod = lab.pod(name).on(node).label("istio.io/dataplane-mode", "none").create();
    pod.wait_known("TCP");
    pod
}

/// `http://<address>/<path>` for curl.
#[must_use]
pub fn url(at: SocketAddr, path: &str) -> String {
    format!("http://{at}{path}")
}
