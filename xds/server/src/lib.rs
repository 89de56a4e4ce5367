//! The standalone control plane: Kubernetes objects in, the xDS and the certificates that istiod serves out.
//!
//! [`objects`] reads and holds what Kubernetes would hold, [`status`] lays over it what node agents say (pure),
//! [`translate`] turns it into resources (pure), [`session`] decides what one stream is sent (pure), [`ca`] signs, and
//! [`Control`] puts them behind one gRPC address.

pub mod ca;
pub mod control;
pub mod follow;
pub mod objects;
pub mod session;
pub mod status;
pub mod tls;
pub mod translate;

mod ads;
mod journal;
mod serve;
mod sign;

pub use ca::{Ca, CaError, CaOptions};
pub use control::{Access, Control, Nack};
pub use objects::{Kind, Object, Objects};
pub use tls::ServerTls;
pub use translate::MeshConfig;
