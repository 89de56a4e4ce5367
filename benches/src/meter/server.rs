//! The server's side of a load: it does what the first bytes of a connection ask for.

use std::io;
use std::net::Ipv6Addr;
use std::thread;

use tests::lab::Netns;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Ports that it listens on: enough for the clients' own ports to last, which a closed connection holds for a minute.
pub(super) const PORTS: std::ops::Range<u16> = 9000..9008;
/// Bytes of a request and of an answer.
pub(super) const REQUEST: usize = 1024;
/// Bytes of one write.
pub(super) const CHUNK: usize = 256 << 10;
/// Bytes of an order.
pub(super) const ORDER: usize = 9;

/// What a client asks for: a letter, and a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// So many bytes come; one byte says that they have arrived.
    Take(u64),
    /// Send so many bytes.
    Give(u64),
    /// Requests come, to be sent back until the client's FIN.
    Echo,
}

impl Order {
    pub(super) fn bytes(self) -> [u8; ORDER] {
        let (letter, number) = match self {
            Self::Take(bytes) => (b't', bytes),
            Self::Give(bytes) => (b'g', bytes),
            Self::Echo => (b'e', 0),
        };
        let mut all = [letter; ORDER];
        all[1..].copy_from_slice(&number.to_be_bytes());
        all
    }

    fn read(bytes: [u8; ORDER]) -> io::Result<Self> {
        let [letter, number @ ..] = bytes;
        match letter {
            b't' => Ok(Self::Take(u64::from_be_bytes(number))),
            b'g' => Ok(Self::Give(u64::from_be_bytes(number))),
            b'e' => Ok(Self::Echo),
            other => Err(io::Error::other(format!("no order begins with {other}"))),
        }
    }
}

/// Serves in `netns`, on a thread of its own, until the program ends.
#[track_caller]
pub(super) fn start(netns: &Netns) {
    let listeners: Vec<_> = netns.run(|| PORTS.map(listen).collect::<io::Result<_>>()).expect("free ports");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut accepting = tokio::task::JoinSet::new();
            for listener in listeners {
                accepting.spawn(accept(TcpListener::from_std(listener).expect("a listener of tokio's")));
            }
            accepting.join_all().await;
        });
    });
}

fn listen(port: u16) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            // How a connection ends is the client's to report.
            Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
            Err(why) => panic!("accept: {why}"),
        }
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut order = [0; ORDER];
        if stream.read_exact(&mut order).await.is_err() {
            return Ok(());
        }
        match Order::read(order)? {
            Order::Take(bytes) => {
                take(&mut stream, bytes).await?;
                stream.write_all(b".").await?;
            }
            Order::Give(bytes) => give(&mut stream, bytes).await?,
            Order::Echo => {
                let mut request = [0; REQUEST];
                while stream.read_exact(&mut request).await.is_ok() {
                    stream.write_all(&request).await?;
                }
                return Ok(());
            }
        }
    }
}

/// Receives so many bytes.
pub(super) async fn take(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        match stream.read(&mut buffer[..room]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            received => left -= received as u64,
        }
    }
    Ok(())
}

/// Sends so many bytes.
pub(super) async fn give(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let buffer = vec![0x5a; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&buffer[..some]).await?;
        left -= some as u64;
    }
    Ok(())
}
