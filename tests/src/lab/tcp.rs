//! TCP servers and clients of known manners, inside a namespace.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};

use super::netns::Netns;

/// What a server does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Sends back what it receives, and closes after the client's FIN.
    Echo,
    /// Greets before it has received anything, then echoes.
    First(&'static str),
    /// Reads to the client's FIN, then answers how many bytes that were, and closes.
    Counts,
    /// Sends this, closes its half at once, and goes on reading to the client's FIN.
    HalfCloses(&'static str),
    /// Resets the connection after the first bytes.
    Resets,
}

/// How one direction of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order.
    Fin,
    /// By a reset.
    Reset,
}

/// What a server knows of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The client, as the server sees it.
    pub peer: SocketAddr,
    /// Bytes received.
    pub received: usize,
    /// How the client's half ended; `None` while it is open.
    pub end: Option<End>,
}

/// A running server; it stops accepting when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    served: Arc<Mutex<Vec<Served>>>,
    stop: Arc<AtomicBool>,
    netns: Netns,
}

impl Server {
    /// Listens on every address of `netns`.
    #[track_caller]
    pub fn start(netns: &Netns, port: u16, speaks: Speaks) -> Self {
        let listener = netns.run(|| listen(port)).unwrap_or_else(|e| panic!("listen on port {port}: {e}"));
        let address = listener.local_addr().expect("a local address");
        let served = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        std::thread::spawn({
            let (served, stop) = (Arc::clone(&served), Arc::clone(&stop));
            move || accept(&listener, speaks, &served, &stop)
        });
        Self { address, served, stop, netns: netns.clone() }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its connections so far, in the order they came.
    pub fn served(&self) -> Vec<Served> {
        self.served.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let port = self.port();
        let _ = self.netns.run(|| TcpStream::connect(("127.0.0.1", port)));
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let (socket, any) = match Socket::new(Domain::IPV6, Type::STREAM, None) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            (socket, IpAddr::from(Ipv6Addr::UNSPECIFIED))
        }
        // A kernel without IPv6.
        Err(_) => (Socket::new(Domain::IPV4, Type::STREAM, None)?, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
    };
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(any, port).into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, speaks: Speaks, served: &Arc<Mutex<Vec<Served>>>, stop: &AtomicBool) {
    while let Ok((stream, peer)) = listener.accept() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let place = {
            let mut served = served.lock();
            served.push(Served { peer, received: 0, end: None });
            served.len() - 1
        };
        let served = Arc::clone(served);
        std::thread::spawn(move || {
            let end = serve(stream, speaks, |bytes| served.lock()[place].received += bytes);
            served.lock()[place].end = Some(end);
        });
    }
}

fn serve(mut stream: TcpStream, speaks: Speaks, mut count: impl FnMut(usize)) -> End {
    let _ = stream.set_nodelay(true);
    let mut total = 0;
    match speaks {
        Speaks::First(greeting) => drop(stream.write_all(greeting.as_bytes())),
        Speaks::HalfCloses(all) => {
            let _ = stream.write_all(all.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
        }
        Speaks::Echo | Speaks::Counts | Speaks::Resets => {}
    }
    let mut buffer = [0u8; 16384];
    loop {
        let bytes = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(_) => return End::Reset,
        };
        total += bytes;
        count(bytes);
        match speaks {
            Speaks::Echo | Speaks::First(_) => {
                if stream.write_all(&buffer[..bytes]).is_err() {
                    return End::Reset;
                }
            }
            Speaks::Resets => {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return End::Reset;
            }
            Speaks::Counts | Speaks::HalfCloses(_) => {}
        }
    }
    if speaks == Speaks::Counts {
        let _ = stream.write_all(total.to_string().as_bytes());
    }
    End::Fin
}

/// A client's connection.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
}

impl Conn {
    /// Connects from inside `netns`.
    pub fn open(netns: &Netns, to: SocketAddr) -> io::Result<Self> {
        let stream = netns.run(|| TcpStream::connect_timeout(&to, LIMIT))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// The client's own address.
    #[track_caller]
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("a local address")
    }

    /// Sends text.
    #[track_caller]
    pub fn say(&mut self, text: &str) -> &mut Self {
        self.stream.write_all(text.as_bytes()).unwrap_or_else(|e| panic!("send {text:?}: {e}"));
        self
    }

    /// As [`Conn::say`], for connections that may be over.
    pub fn try_say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Receives exactly this text.
    #[track_caller]
    pub fn hear(&mut self, want: &str) -> &mut Self {
        let mut heard = vec![0; want.len()];
        if let Err(why) = self.stream.read_exact(&mut heard) {
            panic!("hear {want:?}: {why}");
        }
        assert_eq!(String::from_utf8_lossy(&heard), want);
        self
    }

    /// As [`Conn::hear`], for connections that may be over.
    pub fn try_hear(&mut self, want: &str) -> io::Result<()> {
        let mut heard = vec![0; want.len()];
        self.stream.read_exact(&mut heard)?;
        assert_eq!(String::from_utf8_lossy(&heard), want);
        Ok(())
    }

    /// Sends bytes.
    #[track_caller]
    pub fn say_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.write_all(bytes).unwrap_or_else(|e| panic!("send {} bytes: {e}", bytes.len()));
        self
    }

    /// Receives so many bytes.
    #[track_caller]
    pub fn hear_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        self.stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("hear {count} bytes: {e}"));
        heard
    }

    /// Says something to an echo server and hears it back.
    #[track_caller]
    pub fn echo(&mut self, text: &str) -> &mut Self {
        self.say(text).hear(text)
    }

    /// Sends FIN and goes on receiving.
    #[track_caller]
    pub fn finish(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).expect("send FIN");
        self
    }

    /// Receives to the end: the rest, and how it ended.
    #[track_caller]
    pub fn rest(&mut self) -> (String, End) {
        let mut all = Vec::new();
        let mut buffer = [0u8; 16384];
        let end = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break End::Fin,
                Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break End::Reset,
                Err(e) => panic!("receive to the end: {e}, after {:?}", String::from_utf8_lossy(&all)),
            }
        };
        (String::from_utf8_lossy(&all).into_owned(), end)
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// No step of a client takes longer.
const LIMIT: Duration = Duration::from_secs(15);
