//! Requests of the lab to its API server, and the paths of the objects it knows.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use kube::config::AuthInfo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{ApiServer, pki};
use crate::lab::cluster::Key;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Creates.
    Create,
    /// Replaces.
    Replace,
    /// Server-side apply: creates or changes.
    Apply,
    /// A merge patch.
    Merge,
    /// Deletes.
    Delete,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// The server answered with an error.
    #[error("{code} {reason}: {message}")]
    Status {
        /// As in HTTP.
        code: u16,
        /// One word.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// There was no answer.
    #[error("no answer: {0}")]
    Connection(String),
}

impl ApiServer {
    /// Asks it something as the administrator.
    ///
    /// # Errors
    /// As the server answered, or that it did not.
    pub fn request(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<Value, Refused> {
        let (method, kind) = match verb {
            Verb::Get => ("GET", "application/json"),
            Verb::Create => ("POST", "application/json"),
            Verb::Replace => ("PUT", "application/json"),
            Verb::Apply => ("PATCH", "application/apply-patch+yaml"),
            Verb::Merge => ("PATCH", "application/merge-patch+json"),
            Verb::Delete => ("DELETE", "application/json"),
        };
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body).expect("a request");
        let client = self.client.clone();
        // On the runtime's own threads: callers may be in the namespace of a pod.
        let asked = self.runtime.spawn(async move { client.request_text(request).await });
        match self.runtime.block_on(asked).expect("a request that ends") {
            // Some answers are a word, no JSON.
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::String(text))),
            Err(kube::Error::Api(status)) => Err(Refused::Status {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
            }),
            Err(other) => Err(Refused::Connection(chain(&other))),
        }
    }

    /// Creates an object or makes it as it is given; answers it as it is stored.
    ///
    /// # Errors
    /// As [`ApiServer::request`].
    pub(in crate::lab) fn put(&self, key: &Key, mut object: Value) -> Result<Value, Refused> {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("uid");
        }
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        self.request(Verb::Apply, &format!("{}?fieldManager=lab&force=true", path(key)), Some(&object))
    }

    /// Applies a merge patch, to the status when it holds one.
    ///
    /// # Errors
    /// As [`ApiServer::request`].
    pub(in crate::lab) fn merge(&self, key: &Key, patch: &Value) -> Result<Value, Refused> {
        let sub = if patch.get("status").is_some() { "/status" } else { "" };
        self.request(Verb::Merge, &format!("{}{sub}", path(key)), Some(patch))
    }

    /// Says that an object is to go: a pod learns of it before it is gone.
    ///
    /// # Errors
    /// As [`ApiServer::request`].
    pub(in crate::lab) fn begin_removal(&self, key: &Key) -> Result<(), Refused> {
        self.request(Verb::Delete, &path(key), None).map(drop)
    }

    /// Deletes an object without a grace period; one that is gone already is fine.
    ///
    /// # Errors
    /// As [`ApiServer::request`].
    pub(in crate::lab) fn remove(&self, key: &Key) -> Result<(), Refused> {
        match self.request(Verb::Delete, &format!("{}?gracePeriodSeconds=0", path(key)), None) {
            Ok(_) if key.kind == "Namespace" => self.finalize(key),
            Ok(_) | Err(Refused::Status { code: 404, .. }) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// What the namespace controller does last: there is none in a lab.
    fn finalize(&self, key: &Key) -> Result<(), Refused> {
        let mut namespace = self.request(Verb::Get, &path(key), None)?;
        namespace["spec"]["finalizers"] = json!([]);
        self.request(Verb::Replace, &format!("{}/finalize", path(key)), Some(&namespace)).map(drop)
    }
}

/// A client that trusts the root in `home` and shows `token`.
pub(super) fn client(home: &Path, address: SocketAddr, token: &str) -> kube::Client {
    let url = format!("https://{address}").parse().expect("a URL");
    let mut config = kube::Config::new(url);
    let root = fs::read(pki::root(home)).expect("the API server's root");
    let root = CertificateDer::from_pem_slice(&root).expect("a root in PEM");
    config.root_cert = Some(vec![root.to_vec()]);
    config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
    kube::Client::try_from(config).expect("a client of the API server")
}

/// Where an object is.
fn path(key: &Key) -> String {
    let (group, plural) = resource(&key.kind);
    let inside =
        if key.namespace.is_empty() { String::new() } else { format!("/namespaces/{}", key.namespace) };
    format!("{group}{inside}/{plural}/{}", key.name)
}

/// The group and version that a kind is served under, and its plural.
pub(super) fn resource(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "Pod" => ("/api/v1", "pods"),
        "Namespace" => ("/api/v1", "namespaces"),
        "Node" => ("/api/v1", "nodes"),
        "ServiceAccount" => ("/api/v1", "serviceaccounts"),
        "ConfigMap" => ("/api/v1", "configmaps"),
        "DaemonSet" => ("/apis/apps/v1", "daemonsets"),
        "ClusterRole" => ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
        "ClusterRoleBinding" => ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
        other => panic!("the lab has no path for objects of kind {other}"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
