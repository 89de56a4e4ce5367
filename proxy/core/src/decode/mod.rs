//! What the control plane sends, as values: whole or refused. The only place that knows the wire types.
//!
//! Every field is named, never skipped, so that a field which appears in the wire types has to be dealt with here.

mod common;
mod error;
mod policy;
mod service;
mod workload;

use prost::Message as _;
use xds_proto::istio::workload::{Address, address::Type};

use crate::world::Change;

pub use error::{DecodeError, Malformed};
pub use policy::{Refused, authorization};

/// Reads a resource of the Address type.
///
/// # Errors
/// When any part of it cannot be read. The caller refuses the resource, and what is known of it stays.
pub fn address(name: &str, bytes: &[u8]) -> Result<Change, DecodeError> {
    let within = |(field, why)| DecodeError::new(name, field, why);
    let Address { r#type } =
        Address::decode(bytes).map_err(|error| within(("address".into(), Malformed::Bytes(error))))?;
    match r#type {
        Some(Type::Workload(wire)) => {
            workload::decode(wire).map(Box::new).map(Change::Workload).map_err(within)
        }
        Some(Type::Service(wire)) => service::decode(wire).map(Box::new).map(Change::Service).map_err(within),
        None => Err(within(("type".into(), Malformed::Missing))),
    }
}

#[cfg(test)]
mod tests;
