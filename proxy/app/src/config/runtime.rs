//! The process's part of the configuration: sockets, tunnel, threads, drain.

use std::num::NonZero;
use std::time::Duration;

use super::raw::{Reader, parse_cpus};
use super::{ConfigError, Keepalive, ProxyMode, SocketConfig, TunnelConfig};

pub(super) fn sockets(reader: &mut Reader<'_>, mode: &ProxyMode, ipv6: bool) -> SocketConfig {
    let mark: Option<u32> = reader.number("PACKET_MARK");
    let (mark, listener_mark, reuse_port) = match mode {
        ProxyMode::Shared { .. } => {
            let mark = Some(mark.unwrap_or(1337));
            (mark, mark, reader.flag("INPOD_PORT_REUSE", true))
        }
        // Nobody takes over from a dedicated proxy: a port that is in use is somebody else's.
        ProxyMode::Dedicated(_) => (mark, None, false),
    };
    let keepalive = Keepalive {
        time: reader.duration("KEEPALIVE_TIME").unwrap_or(Duration::from_secs(180)),
        interval: reader.duration("KEEPALIVE_INTERVAL").unwrap_or(Duration::from_secs(180)),
        retries: reader.number("KEEPALIVE_RETRIES").unwrap_or(9),
        user_timeout: reader.flag("USER_TIMEOUT_ENABLED", false),
    };
    SocketConfig {
        mark,
        listener_mark,
        original_source: reader.optional_flag("ENABLE_ORIG_SRC"),
        ipv6,
        reuse_port,
        keepalive: reader.flag("KEEPALIVE_ENABLED", true).then_some(keepalive),
        connect_timeout: reader.duration("ADIT_CONNECT_TIMEOUT").unwrap_or(Duration::from_secs(10)),
    }
}

pub(super) fn tunnel(reader: &mut Reader<'_>) -> TunnelConfig {
    let frame_size = reader.number("HTTP2_FRAME_SIZE").unwrap_or(1 << 20);
    // RFC 9113 6.5.2: SETTINGS_MAX_FRAME_SIZE.
    if !(16_384..=16_777_215).contains(&frame_size) {
        reader
            .refuse(ConfigError::Unsupported { name: "HTTP2_FRAME_SIZE", why: "must be 16384 to 16777215" });
    }
    let pool_max_streams = reader.number("POOL_MAX_STREAMS_PER_CONNECTION").unwrap_or(100);
    if pool_max_streams == 0 {
        reader.refuse(ConfigError::Unsupported {
            name: "POOL_MAX_STREAMS_PER_CONNECTION",
            why: "must be at least 1",
        });
    }
    TunnelConfig {
        stream_window: window(reader, "HTTP2_STREAM_WINDOW_SIZE", 4 << 20),
        connection_window: window(reader, "HTTP2_CONNECTION_WINDOW_SIZE", 16 << 20),
        frame_size,
        pool_max_streams,
        pool_idle: reader.duration("POOL_UNUSED_RELEASE_TIMEOUT").unwrap_or(Duration::from_secs(300)),
        loopback_apps: reader.flag("LOCALHOST_APP_TUNNEL", true),
        response_baggage: reader.flag("ENABLE_RESPONSE_BAGGAGE", true),
        handshake_timeout: reader.duration("ADIT_TLS_HANDSHAKE_TIMEOUT").unwrap_or(Duration::from_secs(10)),
        half_close_timeout: reader.duration("ADIT_HALF_CLOSE_TIMEOUT").unwrap_or(Duration::from_secs(300)),
        max_handshakes: reader.number("ADIT_MAX_HANDSHAKES_PER_POD").unwrap_or(1_024),
        settings_timeout: reader.duration("ADIT_SETTINGS_TIMEOUT").unwrap_or(Duration::from_secs(5)),
        response_timeout: reader.duration("ADIT_CONNECT_RESPONSE_TIMEOUT").unwrap_or(Duration::from_secs(15)),
        max_streams: reader.number("ADIT_MAX_STREAMS_PER_PEER").unwrap_or(200),
        max_header_bytes: header_bytes(reader),
        ping_interval: reader.duration("ADIT_PING_INTERVAL").unwrap_or(Duration::from_secs(10)),
        ping_timeout: reader.duration("ADIT_PING_TIMEOUT").unwrap_or(Duration::from_secs(20)),
        shed_descriptors_at: shed_descriptors_at(reader),
        max_resets: reader.number("ADIT_MAX_RESETS_PER_PEER").unwrap_or(1_000),
    }
}

/// What a CONNECT of a mesh proxy needs is a tenth of the least that is taken.
fn header_bytes(reader: &mut Reader<'_>) -> u32 {
    let bytes = reader.number("ADIT_MAX_HEADER_BYTES").unwrap_or(64 << 10);
    if !(8_192..=1_048_576).contains(&bytes) {
        reader.refuse(ConfigError::Unsupported {
            name: "ADIT_MAX_HEADER_BYTES",
            why: "must be 8192 to 1048576",
        });
    }
    bytes
}

/// Percent of the descriptors at which the pod with the most gets no more; 100 leaves nothing for anybody else.
fn shed_descriptors_at(reader: &mut Reader<'_>) -> u8 {
    let percent = reader.number("ADIT_SHED_DESCRIPTORS_AT_PERCENT").unwrap_or(90);
    if !(1..=100).contains(&percent) {
        reader.refuse(ConfigError::Unsupported {
            name: "ADIT_SHED_DESCRIPTORS_AT_PERCENT",
            why: "must be 1 to 100",
        });
    }
    percent
}

/// RFC 9113 6.9.1: a window is at most 2^31-1; below the protocol's initial 65535 it cannot be advertised at once.
fn window(reader: &mut Reader<'_>, name: &'static str, default: u32) -> u32 {
    let size = reader.number(name).unwrap_or(default);
    if !(65_535..=2_147_483_647).contains(&size) {
        reader.refuse(ConfigError::Unsupported { name, why: "must be 65535 to 2147483647" });
    }
    size
}

/// Room for every pair that a large node sees, and for the endings of each.
pub(super) fn max_series(reader: &mut Reader<'_>) -> usize {
    reader
        .parse_with("ADIT_MAX_SERIES", |value| match value.parse() {
            Ok(most) if most >= 256 => Ok(most),
            _ => Err("want a whole number of at least 256".to_owned()),
        })
        .unwrap_or(10_000)
}

/// The explicit deadline; else the grace period less what stopping takes; else 5 s.
pub(super) fn drain_deadline(reader: &mut Reader<'_>) -> Duration {
    let explicit = reader.duration("CONNECTION_TERMINATION_DEADLINE");
    let grace = reader.parse_with("TERMINATION_GRACE_PERIOD_SECONDS", |value| match value.parse::<u64>() {
        Ok(0) => Err("must be at least 1: with 0 no connection can finish".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(format!("want whole seconds: {error}")),
    });
    let from_grace = grace.map(|seconds| if seconds > 10 { seconds - 5 } else { (seconds - 1).max(1) });
    explicit.or_else(|| from_grace.map(Duration::from_secs)).unwrap_or(Duration::from_secs(5))
}

/// Worker threads: as asked, else by the CPUs the container was given.
pub(super) fn threads(reader: &mut Reader<'_>, concurrency: Option<u16>) -> usize {
    let limit = reader.parse_with("ZTUNNEL_RESOURCE_CPU_LIMIT", parse_cpus);
    let request = reader.parse_with("ZTUNNEL_RESOURCE_CPU_REQUEST", parse_cpus).unwrap_or(0);
    let override_cpus: Option<usize> = reader.parse_with("ZTUNNEL_CPU_LIMIT", parse_cpus);
    let detected = std::thread::available_parallelism().map_or(1, NonZero::get);
    let cpus = limit.or(override_cpus).filter(|n| *n > 0).unwrap_or(detected);
    let asked = reader.parse_with("ZTUNNEL_WORKER_THREADS", |value| threads_asked(value, cpus));
    match (asked, concurrency) {
        (Some(threads), _) => threads,
        (None, Some(0)) => cpus,
        (None, Some(threads)) => usize::from(threads),
        (None, None) => match limit {
            Some(limit) => limit.max(request).max(1),
            None => cpus.div_ceil(4).max(request).max(2),
        },
    }
}

/// A number, `0` for every CPU, or a share such as `50%`.
fn threads_asked(value: &str, cpus: usize) -> Result<usize, String> {
    let wanted = || "want a number of threads, 0 for all CPUs, or a share such as 50%".to_owned();
    if let Some(percent) = value.strip_suffix('%') {
        return match percent.parse::<usize>() {
            Ok(percent @ 1..=100) => Ok((cpus * percent).div_ceil(100).max(1)),
            _ => Err(wanted()),
        };
    }
    match value.parse::<usize>() {
        Ok(0) => Ok(cpus),
        Ok(threads) => Ok(threads),
        Err(_) => Err(wanted()),
    }
}
