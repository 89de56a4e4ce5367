//! What the plugin tells the agent: JSON packets, one call a connection, the pod's network namespace beside an Add.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::seqpacket::{BlockingConnection, Connection, Packet, SocketError};
use crate::zds::cut;

/// The only version of this protocol. A packet of another version is refused by name.
pub const VERSION: u32 = 1;

/// The longest packet either side reads, in bytes.
pub const DATAGRAM_LIMIT: usize = 64 * 1024;

/// A container sandbox begins: may it start?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPod {
    /// The pod's name.
    pub name: String,
    /// Its namespace in Kubernetes.
    pub namespace: String,
    /// Its UID, when the runtime tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The sandbox's container id.
    pub container_id: String,
    /// Where the runtime keeps the network namespace, on the host. For records only: the descriptor is authoritative.
    pub netns_path: String,
    /// The addresses that earlier plugins gave the pod; empty when the plugin stands alone.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
}

/// A container sandbox is being taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelPod {
    /// The pod's name; empty when the runtime no longer tells it.
    pub name: String,
    /// Its namespace in Kubernetes; empty when the runtime no longer tells it.
    pub namespace: String,
    /// The sandbox's container id.
    pub container_id: String,
}

/// Is this sandbox still as it was left?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPod {
    /// The pod's name.
    pub name: String,
    /// Its namespace in Kubernetes.
    pub namespace: String,
    /// Its UID, when the runtime tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The sandbox's container id.
    pub container_id: String,
    /// Where the runtime keeps the network namespace, on the host.
    pub netns_path: String,
}

/// Every sandbox that still exists; what the agent remembers of others may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// Container ids, in the runtime's order.
    pub container_ids: Vec<String>,
}

/// What the plugin said on its stderr, for the agent's log: on many nodes nobody reads the runtime's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The runtime's command: `ADD`, ...
    pub command: String,
    /// `namespace/name`, or empty.
    pub pod: String,
    /// The sandbox's container id, or empty.
    pub container_id: String,
    /// In their order.
    pub lines: Vec<Line>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How much it weighs.
    pub level: Level,
    /// What it says.
    pub message: String,
}

/// The weight of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// What may need a person.
    Warn,
    /// What failed.
    Error,
}

/// Plugin to agent. `N` is the descriptor of the pod's network namespace: owned when received, borrowed when sent.
#[derive(Debug)]
pub enum Event<N = OwnedFd> {
    /// Answered by `Enrolled`, `NotSelected` or `Failed`.
    Add {
        /// Which pod.
        pod: AddPod,
        /// Its network namespace.
        netns: N,
    },
    /// Answered by `Done` or `Failed`.
    Delete(DelPod),
    /// Answered by `Enrolled`, `NotSelected` or `Failed`.
    Check(CheckPod),
    /// Answered by `Done` or `Failed`.
    Collect(Collect),
    /// Answered by `Done` when the agent can serve an Add, by `Limited` when it can but no proxy is there to carry traffic,
    /// `Failed` otherwise.
    Status,
    /// Not answered: a plugin must not wait for its log.
    Say(Said),
}

/// Agent to plugin, once for each event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The pod's traffic goes through a proxy that is ready for it.
    Enrolled,
    /// The pod is not in the mesh; it starts as it is.
    NotSelected,
    /// What was asked is done.
    Done,
    /// It is, and yet pods of the mesh reach nobody.
    Limited {
        /// For the person who reads the node's condition.
        message: String,
    },
    /// It is not, and why.
    Failed {
        /// For the person who reads the pod's events.
        message: String,
        /// Whether the runtime may succeed by calling again.
        retry: bool,
    },
}

/// Why an event or outcome was not understood or did not travel.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The bytes are no message of the kind that is due.
    #[error("the message cannot be decoded")]
    Undecodable(#[source] serde_json::Error),
    /// The message cannot be written as JSON.
    #[error("the message cannot be encoded")]
    Unencodable(#[source] serde_json::Error),
    /// Plugin and agent are of different releases.
    #[error("the message has version {got}, and version {VERSION} is spoken here: plugin and agent differ")]
    UnsupportedVersion {
        /// The other side's version.
        got: u32,
    },
    /// An Add came without the pod's network namespace.
    #[error("an add must carry the pod's network namespace, but no descriptor came with it")]
    MissingDescriptor,
    /// A descriptor came with a message that carries none; it is closed.
    #[error("only an add carries a descriptor, but one came with another message")]
    UnexpectedDescriptor,
    /// More than one descriptor came with the packet; all are closed.
    #[error("more than one descriptor came with the message")]
    TooManyDescriptors,
    /// The message to send is longer than the other side reads.
    #[error("the message has {len} bytes, and the other side reads at most {DATAGRAM_LIMIT}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The connection failed.
    #[error(transparent)]
    Socket(SocketError),
}

impl From<SocketError> for EventError {
    fn from(error: SocketError) -> Self {
        if matches!(error, SocketError::DescriptorsTruncated { .. }) {
            return Self::TooManyDescriptors;
        }
        Self::Socket(error)
    }
}

impl<N: AsFd> Event<N> {
    /// The packet's bytes.
    ///
    /// # Errors
    ///
    /// [`EventError::TooLong`] when the other side would not read it whole.
    pub fn encode(&self) -> Result<Vec<u8>, EventError> {
        let body = match self {
            Self::Add { pod, netns: _ } => Body::Add(pod.clone()),
            Self::Delete(pod) => Body::Delete(pod.clone()),
            Self::Check(pod) => Body::Check(pod.clone()),
            Self::Collect(collect) => Body::Collect(collect.clone()),
            Self::Status => Body::Status,
            Self::Say(said) => Body::Say(said.clone()),
        };
        encode(body)
    }

    /// The descriptor to send beside the bytes.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Add { netns, .. } => Some(netns.as_fd()),
            Self::Delete(_) | Self::Check(_) | Self::Collect(_) | Self::Status | Self::Say(_) => None,
        }
    }
}

impl Event {
    /// Understands a received packet.
    ///
    /// # Errors
    ///
    /// See [`EventError`]; whatever came with the packet is closed.
    pub fn decode(packet: Packet) -> Result<Self, EventError> {
        let Packet { bytes, fds } = packet;
        let mut fds = fds.into_iter();
        let netns = fds.next();
        if fds.next().is_some() {
            return Err(EventError::TooManyDescriptors);
        }
        let body: Body = decode(&bytes)?;
        if let Body::Add(pod) = body {
            return Ok(Self::Add { pod, netns: netns.ok_or(EventError::MissingDescriptor)? });
        }
        if netns.is_some() {
            return Err(EventError::UnexpectedDescriptor);
        }
        match body {
            Body::Add(_) => Err(EventError::MissingDescriptor),
            Body::Delete(pod) => Ok(Self::Delete(pod)),
            Body::Check(pod) => Ok(Self::Check(pod)),
            Body::Collect(collect) => Ok(Self::Collect(collect)),
            Body::Status => Ok(Self::Status),
            Body::Say(said) => Ok(Self::Say(said)),
        }
    }
}

impl Outcome {
    /// The packet's bytes. A message that does not fit is cut at a character boundary.
    ///
    /// # Errors
    ///
    /// [`EventError::Unencodable`], which no outcome can cause today.
    pub fn encode(&self) -> Result<Vec<u8>, EventError> {
        let outcome = match self {
            Self::Failed { message, retry } => {
                Self::Failed { message: cut(message, MESSAGE_LIMIT).to_owned(), retry: *retry }
            }
            Self::Limited { message } => Self::Limited { message: cut(message, MESSAGE_LIMIT).to_owned() },
            Self::Enrolled | Self::NotSelected | Self::Done => self.clone(),
        };
        encode(outcome)
    }

    /// Understands a received packet.
    ///
    /// # Errors
    ///
    /// See [`EventError`]; whatever came with the packet is closed.
    pub fn decode(packet: Packet) -> Result<Self, EventError> {
        if !packet.fds.is_empty() {
            return Err(EventError::UnexpectedDescriptor);
        }
        decode(&packet.bytes)
    }
}

/// Receives one event: the agent's side.
///
/// # Errors
///
/// As [`Connection::recv`] and [`Event::decode`].
pub async fn receive(connection: &Connection) -> Result<Event, EventError> {
    Event::decode(connection.recv().await?)
}

/// Answers one event: the agent's side.
///
/// # Errors
///
/// As [`Outcome::encode`] and [`Connection::send`].
pub async fn answer(connection: &Connection, outcome: &Outcome) -> Result<(), EventError> {
    Ok(connection.send(&outcome.encode()?, None).await?)
}

/// Tells one event and waits for its outcome: the plugin's side.
///
/// # Errors
///
/// As [`BlockingConnection::send`], [`BlockingConnection::recv`], [`Event::encode`] and [`Outcome::decode`].
pub fn ask<N: AsFd>(connection: &BlockingConnection, event: &Event<N>) -> Result<Outcome, EventError> {
    connection.send(&event.encode()?, event.descriptor())?;
    Outcome::decode(connection.recv()?)
}

/// Tells one event that is not answered: the plugin's side.
///
/// # Errors
///
/// As [`BlockingConnection::send`] and [`Event::encode`].
pub fn tell<N: AsFd>(connection: &BlockingConnection, event: &Event<N>) -> Result<(), EventError> {
    Ok(connection.send(&event.encode()?, event.descriptor())?)
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Body {
    Add(AddPod),
    Delete(DelPod),
    Check(CheckPod),
    Collect(Collect),
    Status,
    Say(Said),
}

fn encode(body: impl Serialize) -> Result<Vec<u8>, EventError> {
    let bytes = serde_json::to_vec(&Envelope { version: VERSION, body }).map_err(EventError::Unencodable)?;
    if bytes.len() > DATAGRAM_LIMIT {
        return Err(EventError::TooLong { len: bytes.len() });
    }
    Ok(bytes)
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, EventError> {
    // The version is read by itself: another version's body need not look like ours.
    let Versioned { version: got } = serde_json::from_slice(bytes).map_err(EventError::Undecodable)?;
    if got != VERSION {
        return Err(EventError::UnsupportedVersion { got });
    }
    let Envelope { version: _, body } = serde_json::from_slice(bytes).map_err(EventError::Undecodable)?;
    Ok(body)
}

/// JSON spends up to six bytes on one byte of text.
const MESSAGE_LIMIT: usize = DATAGRAM_LIMIT / 8;
