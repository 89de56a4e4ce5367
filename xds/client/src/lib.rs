//! How a node talks to istiod: delta-xDS session, ADS stream, CA client.
//!
//! [`ads::run`] keeps one discovery stream open for ever and hands every push to a [`Sink`]; [`CaClient`] turns an
//! identity into a certificate chain. What is decided without I/O is in [`session`] and [`backoff`].

pub mod ads;
pub mod backoff;
mod ca;
mod channel;
mod codec;
mod csr;
mod demand;
mod endpoint;
mod error;
mod node;
pub mod session;
mod tls;

pub use ads::{AdsEvent, Following, Sink, Termination};
pub use ca::{CaClient, Issued};
pub use demand::{Asked, Demand, Questions, demand};
pub use endpoint::{Credential, Endpoint, TrustAnchor};
pub use error::{AdsError, CaError, ChannelError, Report};
pub use node::Node;
pub use session::{Held, Refusal, ResourceUpdate, TypeUrl, Update};
pub use xds_proto::local;
