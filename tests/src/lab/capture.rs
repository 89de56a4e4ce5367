//! What crosses the wire between the nodes: an `AF_PACKET` socket of our own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::sys::socket::{LinkAddr, recvfrom};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::Netns;

/// A packet, as far as the lab understands packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The IP protocol number.
    pub protocol: u8,
    /// Where it came from; port 0 when the protocol has none.
    pub source: SocketAddr,
    /// Where it went; port 0 when the protocol has none.
    pub destination: SocketAddr,
    /// What follows the transport header.
    pub payload: Vec<u8>,
    /// The TCP RST flag.
    pub reset: bool,
}

/// TCP's number.
pub const TCP: u8 = 6;
/// UDP's number.
pub const UDP: u8 = 17;

/// A running capture; it ends when it is dropped or when its packets are taken.
#[derive(Debug)]
pub struct Capture {
    seen: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Listens on every interface of `netns` for packets that arrive there, each once.
    pub fn start(netns: &Netns) -> Self {
        let socket = netns.run(|| {
            let any = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            Socket::new(Domain::PACKET, Type::RAW, Some(any)).expect("a packet socket")
        });
        socket.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a timeout");
        let _ = socket.set_recv_buffer_size(8 << 20);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || listen(&socket, &seen, &stop)
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// The packets so far.
    pub fn packets(&self) -> Vec<Packet> {
        self.seen.lock().clone()
    }

    /// Ends the capture once nothing arrives any more, and answers what it saw.
    pub fn finish(mut self) -> Seen {
        self.end();
        Seen(std::mem::take(&mut *self.seen.lock()))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a capture saw.
#[derive(Debug, Clone)]
pub struct Seen(pub Vec<Packet>);

impl Seen {
    /// Only what has one of these addresses at either end.
    pub fn between(&self, addresses: &[IpAddr]) -> Self {
        let concerns = |at: SocketAddr| addresses.contains(&at.ip());
        Self(self.0.iter().filter(|p| concerns(p.source) || concerns(p.destination)).cloned().collect())
    }

    /// The TCP and UDP ports that servers were reached at: the lower port of each packet's two.
    pub fn server_ports(&self) -> BTreeSet<u16> {
        let carried = self.0.iter().filter(|p| p.protocol == TCP || p.protocol == UDP);
        carried.map(|p| p.source.port().min(p.destination.port())).collect()
    }

    /// Whether any packet's payload holds this text.
    pub fn holds(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.0.iter().any(|p| p.payload.windows(text.len()).any(|w| w == text))
    }

    /// Bytes of payload in all.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|p| p.payload.len()).sum()
    }
}

fn listen(socket: &Socket, seen: &Mutex<Vec<Packet>>, stop: &AtomicBool) {
    let mut buffer = vec![0u8; 1 << 17];
    loop {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, from)) => {
                let arrived = from.is_none_or(|f| f.pkttype() != PACKET_OUTGOING && f.hatype() == ETHERNET);
                if let Some(packet) = buffer.get(..length).filter(|_| arrived).and_then(parse) {
                    seen.lock().push(packet);
                }
            }
            // Only an idle moment ends a capture: what was sent before is in the socket already.
            Err(_) if stop.load(Ordering::Acquire) => return,
            Err(_) => {}
        }
    }
}

/// Reads an Ethernet frame with IPv4 or IPv6 in it.
pub fn parse(frame: &[u8]) -> Option<Packet> {
    let kind = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let ip = frame.get(14..)?;
    let (protocol, source, destination, rest): (u8, IpAddr, IpAddr, &[u8]) = match kind {
        0x0800 => {
            let header = usize::from(ip.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            // A segment too large for the field carries 0 and ends with the frame.
            let end = if total == 0 { ip.len() } else { total.min(ip.len()) };
            (
                *ip.get(9)?,
                Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(12..16)?).ok()?).into(),
                Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(16..20)?).ok()?).into(),
                ip.get(header..end)?,
            )
        }
        0x86dd => (
            *ip.get(6)?,
            Ipv6Addr::from(<[u8; 16]>::try_from(ip.get(8..24)?).ok()?).into(),
            Ipv6Addr::from(<[u8; 16]>::try_from(ip.get(24..40)?).ok()?).into(),
            ip.get(40..)?,
        ),
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    let (from, to, header, reset) = match protocol {
        TCP => (port(0)?, port(2)?, usize::from(rest.get(12)? >> 4) * 4, rest.get(13)? & 0x04 != 0),
        UDP => (port(0)?, port(2)?, 8, false),
        _ => (0, 0, 0, false),
    };
    Some(Packet {
        protocol,
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        payload: rest.get(header..).unwrap_or_default().to_vec(),
        reset,
    })
}

const ETH_P_ALL: u16 = 0x0003;
const PACKET_OUTGOING: u8 = 4;
const ETHERNET: u16 = 1;

#[cfg(test)]
mod tests;
