//! Wire types of the control plane: discovery, workloads, authorization, certificates.
//!
//! Generated from the `.proto` files beside this folder and checked in; `make gen` writes them anew. Modules follow the
//! protobuf packages: [`istio::workload`], [`istio::security`], [`istio::v1::auth`], [`envoy::service::discovery::v3`].
//! [`local`] is written by hand: the same resources as people write them.

#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated code keeps its generator's style"
)]
mod generated {
    include!("gen/mod.rs");
}

pub mod local;

pub use generated::{envoy, google, istio};

/// Type URL of [`istio::workload::Address`] resources.
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";

/// Type URL of [`istio::security::Authorization`] resources.
pub const AUTHORIZATION_TYPE: &str = "type.googleapis.com/istio.security.Authorization";
