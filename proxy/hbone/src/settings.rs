//! What an operator can set about tunnels, with the values that the mesh's other proxies use.

use std::time::Duration;

/// How HTTP/2 connections and their pool behave. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a peer may send on one stream before the application has taken it.
    pub stream_window: u32,
    /// What a peer may send on all streams of a connection before the applications have taken it.
    pub connection_window: u32,
    /// The largest frame that a peer may send; held to what RFC 9113 allows, 16,384 to 16,777,215.
    pub frame_size: u32,
    /// What may wait for the peer's window or for the socket, of one stream.
    pub send_buffer: u32,
    /// Streams that a client may have open at once on one connection to us.
    pub max_streams: u32,
    /// Headers of one request from a client, decoded and counted as RFC 9113, section 6.5.2, does.
    pub header_bytes: u32,
    /// Streams that we open at once on one connection; fewer when the peer allows fewer.
    pub pool_max_streams: u16,
    /// Connections without a stream that a pool keeps.
    pub pool_max_idle: usize,
    /// How long a connection without a stream is kept.
    pub pool_idle: Duration,
    /// Bounds on what a peer may make us wait for or do.
    pub limits: Limits,
}

/// Bounds on what a peer may make us wait for or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the end of the TLS handshake to the peer's first SETTINGS.
    pub handshake: Duration,
    /// From sending CONNECT to its response.
    pub response: Duration,
    /// From one answered PING to the next.
    pub ping_interval: Duration,
    /// From a PING to its answer; after that the peer is dead.
    pub ping_timeout: Duration,
    /// Streams that a client may open and reset, unanswered, in half a minute.
    pub resets: u32,
}

/// Bounds on one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// How long the open direction of a half-closed connection may stand still. It is cut between one and two of these
    /// after its last byte.
    pub half_closed: Duration,
    /// How long an application may take none of what the other side sent before it reset the connection.
    pub flush: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            frame_size: 1 << 20,
            send_buffer: 512 << 10,
            max_streams: 200,
            header_bytes: 64 << 10,
            pool_max_streams: 100,
            pool_max_idle: 500,
            pool_idle: Duration::from_secs(300),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            response: Duration::from_secs(15),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(20),
            resets: 1_000,
        }
    }
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { half_closed: Duration::from_secs(300), flush: Duration::from_secs(5) }
    }
}

impl Settings {
    pub(crate) fn client(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(self.stream_window.min(LARGEST_WINDOW))
            .initial_connection_window_size(self.connection_window.min(LARGEST_WINDOW))
            .max_frame_size(self.frame_size())
            .max_header_list_size(CLIENT_HEADER_LIST)
            .enable_push(false)
            // Holds every stream back until the peer's SETTINGS say how many it takes.
            .initial_max_send_streams(0)
            .max_send_buffer_size(self.send_buffer())
            .max_concurrent_reset_streams(usize::from(self.pool_max_streams))
            .reset_stream_duration(RESET_MEMORY);
        builder
    }

    pub(crate) fn server(&self) -> h2::server::Builder {
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(self.stream_window.min(LARGEST_WINDOW))
            .initial_connection_window_size(self.connection_window.min(LARGEST_WINDOW))
            .max_frame_size(self.frame_size())
            .max_header_list_size(self.header_bytes)
            .max_concurrent_streams(self.max_streams)
            .max_send_buffer_size(self.send_buffer())
            .max_concurrent_reset_streams(usize::try_from(self.max_streams).unwrap_or(usize::MAX))
            .reset_stream_duration(RESET_MEMORY);
        builder
    }

    fn frame_size(&self) -> u32 {
        self.frame_size.clamp(SMALLEST_MAX_FRAME, LARGEST_MAX_FRAME)
    }

    fn send_buffer(&self) -> usize {
        usize::try_from(self.send_buffer).unwrap_or(usize::MAX)
    }
}

/// RFC 9113, section 6.9.1.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// RFC 9113, section 6.5.2.
const SMALLEST_MAX_FRAME: u32 = 1 << 14;
/// RFC 9113, section 6.5.2.
const LARGEST_MAX_FRAME: u32 = (1 << 24) - 1;
const CLIENT_HEADER_LIST: u32 = 16 << 10;
/// Frames that were on their way when we reset their stream are forgiven for this long.
const RESET_MEMORY: Duration = Duration::from_secs(5);
