//! Why a resource is refused: which resource, which field, what is wrong with it.

use std::borrow::Cow;

use crate::Str;

/// A resource that does not read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {field}: {why}")]
pub struct DecodeError {
    /// The resource's name.
    pub resource: Str,
    /// The field, as the wire type calls it.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    #[source]
    pub why: Malformed,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not the wire form of the message.
    #[error("malformed protobuf: {0}")]
    Bytes(prost::DecodeError),
    /// Required, and not there.
    #[error("missing")]
    Missing,
    /// A number that the enum does not have.
    #[error("unknown value {0}")]
    Enum(i32),
    /// A value that is known and not supported.
    #[error("unsupported value {0}")]
    Unsupported(&'static str),
    /// Above 65535.
    #[error("{0} is not a port")]
    Port(u32),
    /// Neither 4 nor 16 bytes.
    #[error("an address of {0} bytes")]
    AddressLength(usize),
    /// Longer than the address.
    #[error("a prefix of {0} bits")]
    PrefixLength(u32),
    /// Not `<namespace>/<hostname>`.
    #[error("{0:?} is not <namespace>/<hostname>")]
    Key(String),
    /// A part of an identity or of a name with a slash in it would read as another one.
    #[error("{0:?} holds a slash")]
    Slash(String),
}

impl DecodeError {
    pub(super) fn new(resource: &str, field: Cow<'static, str>, why: Malformed) -> Self {
        Self { resource: resource.into(), field, why }
    }
}

/// A field and what is wrong with it, before the resource's name is put to it.
pub(super) type Fault = (Cow<'static, str>, Malformed);
