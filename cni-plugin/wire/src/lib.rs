//! What plugin, agent and proxy say to each other on one node: ZDS, plugin events and the packets that carry them.

pub mod attachments;
pub mod cache;
pub mod canary;
pub mod event;
pub mod paths;
pub mod seqpacket;
pub mod zds;

/// Generated from `proto/zds.proto`; only `zds` sees these types.
#[expect(unreachable_pub, unnameable_types, reason = "generated code")]
mod pb {
    include!("gen/mod.rs");
}
