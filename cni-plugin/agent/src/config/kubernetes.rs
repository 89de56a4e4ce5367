//! How the API server is reached, as the pod's environment or a kubeconfig tells it.

use std::path::PathBuf;

use http::Uri;

use super::{Errors, Key};

/// The settings as given; the names are those that Kubernetes and Istio's chart use.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[group(id = "kubernetes")]
pub struct Raw {
    /// File that tells how to reach the API server; without one it is reached as from any pod
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// Host of the API server; Kubernetes sets it in every pod
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", value_name = "HOST")]
    pub kubernetes_service_host: Option<String>,
    /// Port of the API server; Kubernetes sets it in every pod
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", value_name = "PORT")]
    pub kubernetes_service_port: Option<String>,
    /// How the API server is spoken to, `https` or `http` [default: https]
    #[arg(long, env = "KUBERNETES_SERVICE_PROTOCOL", value_name = "PROTOCOL")]
    pub kubernetes_service_protocol: Option<String>,
    /// Directory with the service account's token and ca.crt [default: /var/run/secrets/kubernetes.io/serviceaccount]
    #[arg(long, env = "SERVICE_ACCOUNT_DIR", value_name = "DIR")]
    pub service_account_dir: Option<String>,
    /// Certificates that vouch for the API server [default: ca.crt of the service account]
    #[arg(long, env = "KUBE_CA_FILE", value_name = "FILE")]
    pub kube_ca_file: Option<String>,
    /// Take any certificate of the API server [default: false]
    #[arg(long, env = "SKIP_TLS_VERIFY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub skip_tls_verify: Option<String>,
    /// Namespace of the agent's own pod; required with Kubernetes
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub pod_namespace: Option<String>,
    /// Name of the agent's own pod
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
}

/// The settings as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    pub server: Server,
    pub skip_tls_verify: bool,
    /// Where the agent itself runs.
    pub pod_namespace: String,
    pub pod_name: Option<String>,
}

/// Where the API server is and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    Kubeconfig(PathBuf),
    /// As the agent's service account, whose files are read again when they change.
    InCluster {
        url: Uri,
        token: PathBuf,
        ca: PathBuf,
    },
}

impl Raw {
    /// Whether anything tells where an API server is.
    pub(super) fn names_a_server(&self) -> bool {
        let named = [&self.kubeconfig, &self.kubernetes_service_host];
        named.into_iter().any(|setting| given(setting.as_ref()).is_some())
    }

    pub(super) fn check(&self, errors: &mut Errors) -> Kubernetes {
        let pod_namespace =
            errors.required(self.pod_namespace.clone(), POD_NAMESPACE, "it tells the agent's own pods");
        Kubernetes {
            server: given(self.kubeconfig.as_ref())
                .map_or_else(|| self.in_cluster(errors), |file| Server::Kubeconfig(file.into())),
            skip_tls_verify: errors.flag(self.skip_tls_verify.clone(), SKIP_TLS_VERIFY, false),
            pod_namespace,
            pod_name: given(self.pod_name.as_ref()).cloned(),
        }
    }

    fn in_cluster(&self, errors: &mut Errors) -> Server {
        let dir = given(self.service_account_dir.as_ref()).map_or(SERVICE_ACCOUNT, String::as_str);
        let dir = PathBuf::from(dir);
        let ca = given(self.kube_ca_file.as_ref()).map_or_else(|| dir.join("ca.crt"), PathBuf::from);
        Server::InCluster { url: self.url(errors), token: dir.join("token"), ca }
    }

    fn url(&self, errors: &mut Errors) -> Uri {
        let host = self.kubernetes_service_host.as_deref().unwrap_or_default();
        let port = errors.required(self.kubernetes_service_port.clone(), PORT, "KUBERNETES_SERVICE_HOST is");
        let protocol = given(self.kubernetes_service_protocol.as_ref()).map_or("https", String::as_str);
        if !matches!(protocol, "https" | "http") {
            errors.malformed(PROTOCOL, protocol.to_owned(), "https or http");
            return Uri::default();
        }
        if port.is_empty() {
            return Uri::default();
        }
        if port.parse::<u16>().is_err() {
            errors.malformed(PORT, port, "a port");
            return Uri::default();
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = if bare.contains(':') { format!("[{bare}]") } else { host.to_owned() };
        format!("{protocol}://{host}:{port}").parse().unwrap_or_else(|_| {
            errors.malformed(HOST, host, "a host name or an address");
            Uri::default()
        })
    }
}

/// An empty setting of these names nothing, as an absent one.
fn given(value: Option<&String>) -> Option<&String> {
    value.filter(|text| !text.is_empty())
}

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const HOST: Key = ("kubernetes-service-host", "KUBERNETES_SERVICE_HOST");
const PORT: Key = ("kubernetes-service-port", "KUBERNETES_SERVICE_PORT");
const PROTOCOL: Key = ("kubernetes-service-protocol", "KUBERNETES_SERVICE_PROTOCOL");
const POD_NAMESPACE: Key = ("pod-namespace", "POD_NAMESPACE");
const SKIP_TLS_VERIFY: Key = ("skip-tls-verify", "SKIP_TLS_VERIFY");

#[cfg(test)]
mod tests;
