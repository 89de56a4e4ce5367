//! Reads discovery responses within bounds: a message of the permitted size must not decode into many times its bytes.

use prost::Message;
use prost::bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

/// Protobuf for the discovery stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeltaCodec;

impl Codec for DeltaCodec {
    type Encode = DeltaDiscoveryRequest;
    type Decode = DeltaDiscoveryResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for DeltaCodec {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn encode(&mut self, item: DeltaDiscoveryRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|e| Status::internal(e.to_string()))
    }
}

impl Decoder for DeltaCodec {
    type Item = DeltaDiscoveryResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        decode(bytes, &FIELDS).map(Some)
    }
}

/// How many fields a message may have.
struct Fields {
    /// Of the response itself: about the number of resources and removals.
    response: usize,
    /// Of all its nested messages together.
    nested: usize,
}

fn decode(bytes: Bytes, limits: &Fields) -> Result<DeltaDiscoveryResponse, Status> {
    let mut nested = 0_usize;
    let fields = count(&bytes, |tag, resource| {
        if tag == RESOURCES {
            nested = nested.saturating_add(count(resource, |_, _| ()));
        }
    });
    if fields > limits.response || nested > limits.nested {
        return Err(Status::out_of_range("the response has more resources than are taken"));
    }
    DeltaDiscoveryResponse::decode(bytes).map_err(|e| Status::internal(e.to_string()))
}

/// Counts the fields of a message up to where it is damaged, showing each length-delimited one with its tag.
fn count(mut bytes: &[u8], mut each: impl FnMut(u32, &[u8])) -> usize {
    let mut fields = 0_usize;
    while let Some((tag, body, rest)) = split_field(bytes) {
        each(tag, body);
        bytes = rest;
        fields += 1;
    }
    fields
}

/// Takes the first field off: its tag, its body if it is length-delimited, and what follows.
fn split_field(mut bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (tag, wire_type) = decode_key(&mut bytes).ok()?;
    let length = match wire_type {
        WireType::Varint => {
            decode_varint(&mut bytes).ok()?;
            0
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(&mut bytes).ok()?).ok()?,
        // A group is unknown to us and skipped by the decoder; what is in it is counted with the rest.
        WireType::StartGroup | WireType::EndGroup => 0,
    };
    let (body, rest) = bytes.split_at_checked(length)?;
    let body = if wire_type == WireType::LengthDelimited { body } else { &[] };
    Some((tag, body, rest))
}

/// Tag of the response's resources.
const RESOURCES: u32 = 2;
/// Twice the resources that a session keeps, and eight fields for each.
const FIELDS: Fields = Fields { response: 2_000_000, nested: 16_000_000 };

#[cfg(test)]
mod tests;
