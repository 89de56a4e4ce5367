//! The client's side of a load, and what it costs while it runs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cpu::Gauge;
use super::server::{self, ORDER, Order, PORTS, REQUEST};
use super::stats::Spread;
use super::{Leg, Load, Sample};

/// Runs one leg towards the server at `to`; to be called in the client's namespace.
pub(super) async fn run(leg: &Leg, to: IpAddr, gauge: Gauge) -> io::Result<Sample> {
    let limit = Duration::from_secs_f64(leg.seconds * 10.0) + PATIENCE;
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("{} takes over {limit:?}", leg.load.name()));
    timeout(limit, drive(leg, to, gauge)).await.map_err(late)?
}

async fn drive(leg: &Leg, to: IpAddr, gauge: Gauge) -> io::Result<Sample> {
    let length = Duration::from_secs_f64(leg.seconds);
    match leg.load {
        Load::Up | Load::Down => {
            let mut stream = open(to, 0).await?;
            transfer(&mut stream, leg.load, leg.bytes.min(WARM_UP)).await?;
            measured(gauge, bulk(&mut stream, leg, length)).await
        }
        Load::Requests(streams) => {
            let mut open = echoing(to, streams).await?;
            let sample = measured(gauge, requests(&mut open, length)).await;
            drop(open);
            sample
        }
        Load::Connections(workers) => measured(gauge, connections(to, workers, length)).await,
    }
}

/// What a load did.
#[derive(Debug, Default)]
struct Done {
    units: f64,
    /// In seconds.
    durations: Vec<f64>,
}

async fn measured(gauge: Gauge, load: impl Future<Output = io::Result<Done>>) -> io::Result<Sample> {
    let before = gauge.mark();
    let began = Instant::now();
    let done = load.await?;
    let seconds = began.elapsed().as_secs_f64();
    gauge.settle().await;
    let spent = gauge.mark().since(&before);
    Ok(Sample {
        seconds,
        units: done.units,
        p50: Spread::of(done.durations).map(|spread| spread.median),
        proxies: spent.proxies,
        load: spent.load,
        busy: spent.busy,
        elsewhere: spent.elsewhere,
        window: spent.window,
    })
}

/// Transfers on one connection until the time is over.
async fn bulk(stream: &mut TcpStream, leg: &Leg, length: Duration) -> io::Result<Done> {
    let began = Instant::now();
    let mut done = Done::default();
    while done.units == 0.0 || began.elapsed() < length {
        transfer(stream, leg.load, leg.bytes).await?;
        done.units += leg.bytes as f64;
    }
    Ok(done)
}

async fn transfer(stream: &mut TcpStream, load: Load, bytes: u64) -> io::Result<()> {
    if load == Load::Up {
        stream.write_all(&Order::Take(bytes).bytes()).await?;
        server::give(stream, bytes).await?;
        stream.read_exact(&mut [0]).await.map(drop)
    } else {
        stream.write_all(&Order::Give(bytes).bytes()).await?;
        server::take(stream, bytes).await
    }
}

/// Connections that have echoed once.
async fn echoing(to: IpAddr, streams: u32) -> io::Result<Vec<TcpStream>> {
    let mut open_streams = Vec::new();
    for number in 0..streams {
        let mut stream = open(to, number).await?;
        stream.write_all(&Order::Echo.bytes()).await?;
        request(&mut stream).await?;
        open_streams.push(stream);
    }
    Ok(open_streams)
}

/// Every connection asks anew as soon as it is answered.
async fn requests(streams: &mut Vec<TcpStream>, length: Duration) -> io::Result<Done> {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for mut stream in streams.drain(..) {
        asking.spawn(async move {
            let mut durations = Vec::new();
            while began.elapsed() < length {
                let asked = Instant::now();
                request(&mut stream).await?;
                durations.push(asked.elapsed().as_secs_f64());
            }
            io::Result::Ok((durations, stream))
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = asking.join_next().await {
        let (durations, stream) = ended.map_err(io::Error::other)??;
        all.extend(durations);
        // Open until the CPU times are read: closing is not what is measured.
        streams.push(stream);
    }
    Ok(Done { units: all.len() as f64, durations: all })
}

async fn request(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[b'q'; REQUEST]).await?;
    stream.read_exact(&mut [0; REQUEST]).await.map(drop)
}

/// Every worker connects, asks once and closes, again and again.
async fn connections(to: IpAddr, workers: u32, length: Duration) -> io::Result<Done> {
    let began = Instant::now();
    let mut working = JoinSet::new();
    for worker in 0..workers {
        working.spawn(async move {
            let mut durations = Vec::new();
            for number in 0..MOST_CONNECTIONS / workers {
                if began.elapsed() >= length {
                    break;
                }
                let asked = Instant::now();
                let mut stream = open(to, worker + number).await?;
                let mut first = [b'q'; ORDER + REQUEST];
                first[..ORDER].copy_from_slice(&Order::Echo.bytes());
                stream.write_all(&first).await?;
                stream.read_exact(&mut [0; REQUEST]).await?;
                drop(stream);
                durations.push(asked.elapsed().as_secs_f64());
            }
            io::Result::Ok(durations)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = working.join_next().await {
        all.extend(ended.map_err(io::Error::other)??);
    }
    Ok(Done { units: all.len() as f64, durations: all })
}

async fn open(to: IpAddr, number: u32) -> io::Result<TcpStream> {
    let ports = u32::from(PORTS.end - PORTS.start);
    let port = PORTS.clone().nth((number % ports) as usize).expect("a port of the server's");
    let to = SocketAddr::new(to, port);
    let why = |e: io::Error| io::Error::new(e.kind(), format!("connect to {to}: {e}"));
    let stream = TcpStream::connect(to).await.map_err(why)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Bytes that open a connection's windows before it is measured.
const WARM_UP: u64 = 16 << 20;
/// Connections of one leg: the client's ports come back a minute after they are used.
const MOST_CONNECTIONS: u32 = 8000;
/// How much longer than it should a leg may take.
const PATIENCE: Duration = Duration::from_secs(60);
