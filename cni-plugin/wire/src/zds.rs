//! ZDS: how the agent tells a proxy which pods to serve. One protobuf message a packet, answered one by one.

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use prost::Message;

use crate::pb::istio::workload::zds::{
    Ack, AddWorkload, DelWorkload, KeepWorkload, SnapshotSent, Version, WorkloadInfo as PbInfo,
    WorkloadRequest, WorkloadResponse, ZdsHello, workload_request, workload_response,
};
use crate::seqpacket::{Connection, Packet, SocketError};

/// Both sides of the protocol in the field read into buffers of this size; we never send a packet this long.
pub const DATAGRAM_LIMIT: usize = 1024;

/// What an agent reads: other proxies do not shorten the text of a refusal.
pub const ANSWER_LIMIT: usize = 16 * 1024;

/// The pod's UID in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(pub String);

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of the pod behind a UID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadInfo {
    /// The pod's name.
    pub name: String,
    /// Its namespace in Kubernetes.
    pub namespace: String,
    /// Its service account, without the namespace.
    pub service_account: String,
}

/// Agent to proxy. `N` is the descriptor of the pod's network namespace: owned when received, borrowed when sent.
#[derive(Debug)]
pub enum Request<N = OwnedFd> {
    /// Serve this pod.
    Add {
        /// Which pod.
        uid: PodUid,
        /// Its names.
        info: WorkloadInfo,
        /// Its network namespace.
        netns: N,
    },
    /// The pod lives, but its namespace is not at hand: leave its proxy alone.
    Keep {
        /// Which pod.
        uid: PodUid,
    },
    /// Stop serving this pod.
    Delete {
        /// Which pod.
        uid: PodUid,
    },
    /// Every pod of the node was named since the connection began.
    SnapshotSent,
}

/// Proxy to agent, one for each request, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The request is carried out; for an Add, the listeners are bound.
    Done,
    /// It is not, and why.
    Failed(String),
}

/// Why a ZDS packet was not understood or did not travel.
#[derive(Debug, thiserror::Error)]
pub enum ZdsError {
    /// The packet is longer than the receiver reads.
    #[error("the message is longer than {limit} bytes")]
    Truncated {
        /// The limit in bytes.
        limit: usize,
    },
    /// More than one descriptor came with the packet; all are closed.
    #[error("more than one descriptor came with the message")]
    TooManyDescriptors,
    /// An Add came without the pod's network namespace.
    #[error("an add must carry the pod's network namespace, but no descriptor came with it")]
    MissingDescriptor,
    /// A descriptor came with a message that carries none; it is closed.
    #[error("{message} carries no descriptor, but one came with it")]
    UnexpectedDescriptor {
        /// Which message.
        message: &'static str,
    },
    /// The bytes are no protobuf message of the kind that is due.
    #[error("the message cannot be decoded")]
    Undecodable(#[source] prost::DecodeError),
    /// The message decodes, but says nothing this version knows.
    #[error("the message has no payload of a known kind")]
    NoPayload,
    /// A field that must be there is not.
    #[error("the message lacks {0}")]
    MissingField(&'static str),
    /// The message to send would not fit the receiver's buffer.
    #[error("the message has {len} bytes, and the receiver reads fewer than {limit}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Socket(SocketError),
}

impl From<SocketError> for ZdsError {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Truncated { limit } => Self::Truncated { limit },
            SocketError::DescriptorsTruncated { .. } => Self::TooManyDescriptors,
            SocketError::Closed => Self::Closed,
            error @ (SocketError::Connect { .. }
            | SocketError::Listen { .. }
            | SocketError::Io { .. }
            | SocketError::TimedOut { .. }) => Self::Socket(error),
        }
    }
}

impl<N: AsFd> Request<N> {
    /// The packet's bytes.
    ///
    /// # Errors
    ///
    /// [`ZdsError::TooLong`] when the names do not fit.
    pub fn encode(&self) -> Result<Vec<u8>, ZdsError> {
        let payload = match self {
            Self::Add { uid, info, netns: _ } => workload_request::Payload::Add(AddWorkload {
                uid: uid.0.clone(),
                workload_info: Some(PbInfo {
                    name: info.name.clone(),
                    namespace: info.namespace.clone(),
                    service_account: info.service_account.clone(),
                }),
            }),
            Self::Keep { uid } => workload_request::Payload::Keep(KeepWorkload { uid: uid.0.clone() }),
            Self::Delete { uid } => workload_request::Payload::Del(DelWorkload { uid: uid.0.clone() }),
            Self::SnapshotSent => workload_request::Payload::SnapshotSent(SnapshotSent {}),
        };
        let bytes = WorkloadRequest { payload: Some(payload) }.encode_to_vec();
        if bytes.len() >= DATAGRAM_LIMIT {
            return Err(ZdsError::TooLong { len: bytes.len(), limit: DATAGRAM_LIMIT });
        }
        Ok(bytes)
    }

    /// The descriptor to send beside the bytes.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Add { netns, .. } => Some(netns.as_fd()),
            Self::Keep { .. } | Self::Delete { .. } | Self::SnapshotSent => None,
        }
    }
}

impl Request {
    /// Understands a received packet.
    ///
    /// # Errors
    ///
    /// See [`ZdsError`]; whatever came with the packet is closed.
    pub fn decode(packet: Packet) -> Result<Self, ZdsError> {
        let Packet { bytes, fds } = packet;
        let mut fds = fds.into_iter();
        let netns = fds.next();
        if fds.next().is_some() {
            return Err(ZdsError::TooManyDescriptors);
        }
        let WorkloadRequest { payload } =
            WorkloadRequest::decode(bytes.as_slice()).map_err(ZdsError::Undecodable)?;
        match payload.ok_or(ZdsError::NoPayload)? {
            workload_request::Payload::Add(AddWorkload { uid, workload_info }) => {
                let netns = netns.ok_or(ZdsError::MissingDescriptor)?;
                let PbInfo { name, namespace, service_account } =
                    workload_info.ok_or(ZdsError::MissingField("workload_info"))?;
                let info = WorkloadInfo { name, namespace, service_account };
                Ok(Self::Add { uid: pod_uid(uid)?, info, netns })
            }
            workload_request::Payload::Keep(KeepWorkload { uid }) => {
                without(netns, "keep")?;
                Ok(Self::Keep { uid: pod_uid(uid)? })
            }
            workload_request::Payload::Del(DelWorkload { uid }) => {
                without(netns, "delete")?;
                Ok(Self::Delete { uid: pod_uid(uid)? })
            }
            workload_request::Payload::SnapshotSent(SnapshotSent {}) => {
                without(netns, "snapshot sent")?;
                Ok(Self::SnapshotSent)
            }
        }
    }
}

impl Answer {
    /// The packet's bytes. A reason that does not fit is cut at a character boundary.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let error = match self {
            Self::Done => String::new(),
            // An empty reason would read as success.
            Self::Failed(why) if why.is_empty() => "failed without a reason".to_owned(),
            Self::Failed(why) => cut(why, DATAGRAM_LIMIT - 1 - ACK_FRAMING).to_owned(),
        };
        WorkloadResponse { payload: Some(workload_response::Payload::Ack(Ack { error })) }.encode_to_vec()
    }

    /// Understands a received packet.
    ///
    /// # Errors
    ///
    /// See [`ZdsError`]; whatever came with the packet is closed.
    pub fn decode(packet: Packet) -> Result<Self, ZdsError> {
        let Packet { bytes, fds } = packet;
        if !fds.is_empty() {
            return Err(ZdsError::UnexpectedDescriptor { message: "an answer" });
        }
        let WorkloadResponse { payload } =
            WorkloadResponse::decode(bytes.as_slice()).map_err(ZdsError::Undecodable)?;
        let workload_response::Payload::Ack(Ack { error }) = payload.ok_or(ZdsError::NoPayload)?;
        Ok(if error.is_empty() { Self::Done } else { Self::Failed(error) })
    }
}

/// The proxy's first packet.
#[must_use]
pub fn encode_hello() -> Vec<u8> {
    ZdsHello { version: Version::V1.into() }.encode_to_vec()
}

/// The version number in a proxy's first packet; 1 is the only one there is. Others are worth a log line, no more.
///
/// # Errors
///
/// [`ZdsError::Undecodable`], or [`ZdsError::UnexpectedDescriptor`].
pub fn decode_hello(packet: Packet) -> Result<i32, ZdsError> {
    let Packet { bytes, fds } = packet;
    if !fds.is_empty() {
        return Err(ZdsError::UnexpectedDescriptor { message: "a hello" });
    }
    let ZdsHello { version } = ZdsHello::decode(bytes.as_slice()).map_err(ZdsError::Undecodable)?;
    Ok(version)
}

/// Sends a proxy's hello.
///
/// # Errors
///
/// As [`Connection::send`].
pub async fn send_hello(connection: &Connection) -> Result<(), ZdsError> {
    Ok(connection.send(&encode_hello(), None).await?)
}

/// Receives a proxy's hello and its version.
///
/// # Errors
///
/// As [`Connection::recv`] and [`decode_hello`].
pub async fn receive_hello(connection: &Connection) -> Result<i32, ZdsError> {
    decode_hello(connection.recv().await?)
}

/// Sends a request with its descriptor.
///
/// # Errors
///
/// As [`Request::encode`] and [`Connection::send`].
pub async fn send_request<N: AsFd>(connection: &Connection, request: &Request<N>) -> Result<(), ZdsError> {
    Ok(connection.send(&request.encode()?, request.descriptor()).await?)
}

/// Receives a request with its descriptor.
///
/// # Errors
///
/// As [`Connection::recv`] and [`Request::decode`].
pub async fn receive_request(connection: &Connection) -> Result<Request, ZdsError> {
    Request::decode(connection.recv().await?)
}

/// Sends an answer.
///
/// # Errors
///
/// As [`Connection::send`].
pub async fn send_answer(connection: &Connection, answer: &Answer) -> Result<(), ZdsError> {
    Ok(connection.send(&answer.encode(), None).await?)
}

/// Receives an answer.
///
/// # Errors
///
/// As [`Connection::recv`] and [`Answer::decode`].
pub async fn receive_answer(connection: &Connection) -> Result<Answer, ZdsError> {
    Answer::decode(connection.recv().await?)
}

fn pod_uid(uid: String) -> Result<PodUid, ZdsError> {
    if uid.is_empty() { Err(ZdsError::MissingField("uid")) } else { Ok(PodUid(uid)) }
}

fn without(netns: Option<OwnedFd>, message: &'static str) -> Result<(), ZdsError> {
    if netns.is_some() { Err(ZdsError::UnexpectedDescriptor { message }) } else { Ok(()) }
}

/// The longest beginning of `text` of at most `limit` bytes that ends between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    (0..=limit.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Tags and lengths around the text of an Ack: two of each, lengths of up to two bytes.
const ACK_FRAMING: usize = 6;
