//! The lab's name server, which answers what it is told to and remembers every byte it got, and a client that asks.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::{Condvar, Mutex};
use proxy_core::dns::{A, AAAA, asked};

use super::netns::Netns;
use super::process::Program;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    /// One datagram.
    Udp,
    /// On a connection, after its length.
    Tcp,
}

/// A message that the server got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// How it came.
    pub over: Over,
    /// Who sent it.
    pub from: SocketAddr,
    /// Its bytes.
    pub message: Vec<u8>,
}

impl Received {
    /// The name in its question, with a dot at the end.
    pub fn name(&self) -> String {
        asked(&self.message).map(|asked| asked.name.to_string()).unwrap_or_default()
    }
}

/// The lab's name server; clones are the same one.
#[derive(Debug, Clone)]
pub struct NameServer(Arc<State>);

#[derive(Debug)]
struct State {
    address: SocketAddr,
    script: Mutex<Script>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Script {
    names: BTreeMap<String, Vec<IpAddr>>,
    received: Vec<Received>,
    /// Answers any message with itself, as a response, and a word about its bytes.
    parrot: bool,
    /// Answers nothing until it is let go.
    held: bool,
}

impl NameServer {
    /// Listens on port 53 of the addresses.
    #[track_caller]
    pub(super) fn start(netns: &Netns, addresses: &[IpNet]) -> Self {
        let at: Vec<_> = addresses.iter().map(|net| SocketAddr::new(net.addr(), 53)).collect();
        let server =
            Self(Arc::new(State { address: at[0], script: Mutex::default(), changed: Condvar::new() }));
        for address in at {
            let (udp, tcp) = netns.run(|| {
                (
                    UdpSocket::bind(address).unwrap_or_else(|e| panic!("serve DNS on {address}: {e}")),
                    TcpListener::bind(address).unwrap_or_else(|e| panic!("serve DNS on {address}: {e}")),
                )
            });
            let (datagrams, connections) = (server.clone(), server.clone());
            std::thread::spawn(move || datagrams.serve_udp(&udp));
            std::thread::spawn(move || connections.serve_tcp(&tcp));
        }
        server
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Gives a name its addresses; without a dot at the end.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.0.script.lock().names.insert(name.to_owned(), addresses.to_vec());
    }

    /// From now on it repeats every message.
    pub fn parrot(&self) {
        self.0.script.lock().parrot = true;
    }

    /// Keeps its answers back, or lets them go.
    pub fn hold(&self, held: bool) {
        self.0.script.lock().held = held;
        self.0.changed.notify_all();
    }

    /// What it got so far.
    pub fn received(&self) -> Vec<Received> {
        self.0.script.lock().received.clone()
    }

    /// The queries for a name that it got from an address; the name with a dot at the end.
    pub fn asked_by(&self, from: IpAddr, name: &str) -> usize {
        self.received().iter().filter(|got| got.from.ip() == from && got.name() == name).count()
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let message = buffer[..length].to_vec();
            let (server, answers) = (self.clone(), socket.try_clone().expect("the server's socket"));
            std::thread::spawn(move || {
                if let Some(answer) = server.answer(Received { over: Over::Udp, from, message }) {
                    let _ = answers.send_to(&answer, from);
                }
            });
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while let Ok((mut stream, from)) = listener.accept() {
            let server = self.clone();
            std::thread::spawn(move || {
                while let Ok(message) = read_frame(&mut stream) {
                    if let Some(answer) = server.answer(Received { over: Over::Tcp, from, message })
                        && write_frame(&mut stream, &answer).is_err()
                    {
                        return;
                    }
                }
            });
        }
    }

    fn answer(&self, received: Received) -> Option<Vec<u8>> {
        let mut script = self.0.script.lock();
        script.received.push(received.clone());
        while script.held {
            self.0.changed.wait(&mut script);
        }
        let message = &received.message;
        if message.get(2).is_none_or(|flags| flags & 0x80 != 0) {
            return None;
        }
        if script.parrot {
            let sum = message[2..].iter().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
            let mut answer = message.clone();
            answer[2] |= 0x80;
            answer.push(sum);
            return Some(answer);
        }
        Some(script.look_up(message))
    }
}

impl Script {
    fn look_up(&self, message: &[u8]) -> Vec<u8> {
        let question = asked(message);
        let name = question.map(|asked| asked.name.to_string().trim_end_matches('.').to_ascii_lowercase());
        let known = name.and_then(|name| self.names.get(&name));
        let kind = question.map_or(0, |asked| asked.kind);
        let wanted = |address: &&IpAddr| matches!((kind, address.is_ipv4()), (A, true) | (AAAA, false));
        let found: Vec<_> = known.into_iter().flatten().filter(wanted).collect();
        let count = u8::try_from(found.len()).expect("few addresses");
        // The question ends with the root's label, type and class.
        let mut end = 12;
        while message.get(end).is_some_and(|length| *length != 0) {
            end += 1 + usize::from(message[end]);
        }
        let mut answer = message[..message.len().min(end + 5)].to_vec();
        answer[2] = 0x81;
        answer[3] = if known.is_some() { 0x80 } else { 0x83 };
        answer[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
        for address in found {
            let data = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).expect("an address")]);
            answer.extend_from_slice(&data);
        }
        answer
    }
}

/// Sends a message to a server from inside `netns`; its answer, if one comes within `patience`.
#[track_caller]
pub fn ask(
    netns: &Netns,
    server: SocketAddr,
    over: Over,
    message: &[u8],
    patience: Duration,
) -> Option<Vec<u8>> {
    netns.run(|| match over {
        Over::Udp => {
            let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((any, 0)).expect("a socket");
            socket.connect(server).ok()?;
            socket.set_read_timeout(Some(patience)).expect("a timeout");
            socket.send(message).ok()?;
            let mut answer = vec![0; 65_535];
            let length = socket.recv(&mut answer).ok()?;
            answer.truncate(length);
            Some(answer)
        }
        Over::Tcp => {
            let mut stream = TcpStream::connect_timeout(&server, patience).ok()?;
            stream.set_read_timeout(Some(patience)).expect("a timeout");
            write_frame(&mut stream, message).ok()?;
            read_frame(&mut stream).ok()
        }
    })
}

/// The addresses that programs of a pod find for a name, by the machine's own resolver; empty when they find none.
#[track_caller]
pub fn getent(netns: &Netns, database: &str, name: &str) -> Vec<IpAddr> {
    let program = Program::new("getent").args([database, name]);
    let output = netns.run(|| {
        let mut command = program.command();
        command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start getent: {e}"))
    });
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<IpAddr> =
        text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    found.sort();
    found.dedup();
    found
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_frame(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}
