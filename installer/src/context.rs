//! What every command is given: the flags that all have in common, the output, and the way to the cluster.

use crate::cli::Globals;
use crate::cluster::{self, Cluster};
use crate::output::Output;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// Flags that all commands have.
    pub globals: Globals,
    /// The one way to say something.
    pub output: Output,
}

impl Context {
    /// A context; nothing is asked of a cluster yet.
    #[must_use]
    pub const fn new(globals: Globals, output: Output) -> Self {
        Self { globals, output }
    }

    /// The cluster that the flags and the kubeconfig name. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no usable kubeconfig, or it has no such context.
    pub async fn cluster(&self) -> Result<Cluster, cluster::Error> {
        Cluster::connect(self.globals.kubeconfig.as_deref(), self.globals.context.as_deref()).await
    }

    /// As [`Context::cluster`]; that of a kind cluster by this name, where one is named and no context is.
    ///
    /// # Errors
    /// As [`Context::cluster`].
    pub async fn cluster_or_kind(&self, kind: Option<&str>) -> Result<Cluster, cluster::Error> {
        // Images in one cluster and objects in another are nobody's wish.
        let of_kind = kind.map(|name| format!("kind-{name}"));
        let context = self.globals.context.as_deref().or(of_kind.as_deref());
        Cluster::connect(self.globals.kubeconfig.as_deref(), context).await
    }

    /// The namespace of istiod and of the node components.
    #[must_use]
    pub fn istio_namespace(&self) -> &str {
        &self.globals.istio_namespace
    }
}
