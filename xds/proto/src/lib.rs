//! Wire types of the control plane: discovery, workloads, authorization, certificates.
//!
//! Generated from the `.proto` files beside this folder and checked in; `make gen` writes them anew. Modules follow the
//! protobuf packages: [`istio::workload`], [`istio::security`], [`istio::v1::auth`], [`envoy::service::discovery::v3`].

include!("gen/mod.rs");

/// Type URL of [`istio::workload::Address`] resources.
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";

/// Type URL of [`istio::security::Authorization`] resources.
pub const AUTHORIZATION_TYPE: &str = "type.googleapis.com/istio.security.Authorization";
