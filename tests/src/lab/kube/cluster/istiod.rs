//! Istio's own control plane in a cluster: what istioctl renders for the ambient profile, with an image of istiod built here.

use std::process::Stdio;

use super::Cluster;
use crate::lab::kube::tool;
use crate::lab::process::Program;

impl Cluster {
    /// Installs istiod with its CRDs, and waits until it serves. The node's part is somebody else's.
    #[track_caller]
    pub fn install_istiod(&self) {
        self.load(&tool("pilot-image.tar"));
        self.apply(NAMESPACE);
        self.apply(&manifests());
        self.rolled_out(SYSTEM, "deployment/istiod");
    }
}

/// istioctl's manifests, which it carries itself.
#[track_caller]
fn manifests() -> String {
    let program = Program::new(tool("istioctl")).args(["manifest", "generate", "--set", "profile=ambient"]);
    let program = SETTINGS.iter().fold(program, |program, setting| program.args(["--set", setting]));
    let mut command = program.command();
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start istioctl: {e}"));
    assert!(output.status.success(), "istioctl: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("manifests in UTF-8")
}

const SYSTEM: &str = "istio-system";
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}";
const SETTINGS: [&str; 6] = [
    "components.ztunnel.enabled=false",
    "components.cni.enabled=false",
    "values.pilot.image=adit.test/pilot:1",
    // One is enough, and it shares its system with much else.
    "values.pilot.autoscaleEnabled=false",
    "values.pilot.resources.requests.cpu=50m",
    "values.pilot.resources.requests.memory=128Mi",
];
