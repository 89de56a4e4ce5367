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

    /// The namespace of istiod and of the node components.
    #[must_use]
    pub fn istio_namespace(&self) -> &str {
        &self.globals.istio_namespace
    }
}
