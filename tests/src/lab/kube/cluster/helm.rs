//! Releases of charts, by the SDK of the real Helm.

use std::env;
use std::path::Path;

use serde_json::{Value, json};

use super::Cluster;
use crate::lab::process::Program;

impl Cluster {
    /// As `helm install --wait --create-namespace`; panics with what Helm said when the release does not come up.
    #[track_caller]
    pub fn install(&self, namespace: &str, release: &str, chart: &Path, values: &Value) {
        let named = json!({
            "create_namespace": true, "wait": "watcher", "timeout": super::PATIENCE.as_secs(),
        });
        self.helm(namespace, "install", &json!([chart, release, values]), &named)
            .unwrap_or_else(|why| panic!("helm install {release}: {why}"));
    }

    /// As `helm uninstall --wait`.
    #[track_caller]
    pub fn uninstall(&self, namespace: &str, release: &str) {
        let named = json!({ "wait": "watcher", "timeout": super::PATIENCE.as_secs() });
        self.helm(namespace, "uninstall", &json!([release]), &named)
            .unwrap_or_else(|why| panic!("helm uninstall {release}: {why}"));
    }

    /// Calls a method of the SDK's `Config`.
    ///
    /// # Errors
    /// What Helm said.
    pub fn helm(
        &self,
        namespace: &str,
        action: &str,
        positional: &Value,
        named: &Value,
    ) -> Result<Value, String> {
        let sdk = env::var(SDK).map_err(|_| format!("{SDK} is not set: run `make e2e`"))?;
        let asked = json!({
            "kubeconfig": self.kubeconfig(), "namespace": namespace,
            "action": action, "positional": positional, "named": named,
        });
        let python = Program::new("python3").args(["-B", "-c", include_str!("helm.py")]);
        let ran = self.run(python.env("PYTHONPATH", sdk), &asked.to_string());
        if ran.exit == 0 {
            Ok(serde_json::from_str(&ran.stdout).unwrap_or(Value::Null))
        } else {
            Err(format!("{}{}", ran.stdout, ran.stderr))
        }
    }
}

/// Where `make e2e` has put the SDK.
const SDK: &str = "ADIT_E2E_HELM";
