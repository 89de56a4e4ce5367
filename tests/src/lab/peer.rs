//! A waypoint or a gateway: a real tunnel server in a pod, that remembers what it was asked.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use proxy_core::model::Identity;
use proxy_hbone::{Incoming, Meter, RelayLimits, Settings};
use proxy_mtls::{Credentials, Material, TlsLimits, TlsPolicy};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;

use super::control::Issued;
use super::{Lab, Netns, Pod};

/// What a peer does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// Carries the bytes to this address.
    Forward(SocketAddr),
    /// Carries the bytes to the address that was asked for.
    Deliver,
    /// Answers with a status.
    Refuse(u16),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The client's identity.
    pub by: String,
    /// Where the tunnel was to lead.
    pub authority: String,
    headers: Vec<(&'static str, String)>,
}

impl Asked {
    fn of(incoming: &Incoming, by: &Identity) -> Self {
        let text = |name| Some((name, String::from_utf8_lossy(incoming.header(name)?).into_owned()));
        let headers = ["baggage", "forwarded", "traceparent", "x-forwarded-network"];
        Self {
            by: by.to_string(),
            authority: incoming.authority().unwrap_or_default().to_owned(),
            headers: headers.into_iter().filter_map(text).collect(),
        }
    }

    /// A header as it was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// A running peer; it ends with its value.
#[derive(Debug)]
pub struct Peer {
    at: SocketAddr,
    served: Arc<Served>,
    _runtime: Runtime,
}

/// What all connections of a peer share.
#[derive(Debug)]
struct Served {
    netns: Netns,
    does: Peers,
    credentials: Arc<Credentials>,
    connections: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

impl Peer {
    /// Serves on port 15008 of a pod that is not captured, under the pod's own identity.
    #[track_caller]
    pub fn start(lab: &Lab, pod: &Pod, does: Peers) -> Self {
        Self::start_as(lab, pod, 15008, &pod.identity(), does)
    }

    /// Serves on a port of a pod that is not captured, under any identity.
    #[track_caller]
    pub fn start_as(lab: &Lab, pod: &Pod, port: u16, identity: &str, does: Peers) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("peer")
            .enable_all()
            .build()
            .expect("a runtime for a peer");
        let at = pod.at(port);
        let listener = pod.run(|| std::net::TcpListener::bind(at)).unwrap_or_else(|e| panic!("{at}: {e}"));
        listener.set_nonblocking(true).expect("a listener that does not block");
        let served = Arc::new(Served {
            netns: pod.netns().clone(),
            does,
            credentials: credentials(identity, &lab.control().issue(identity)),
            connections: AtomicUsize::new(0),
            asked: Mutex::new(Vec::new()),
        });
        runtime.spawn(accept(listener, Arc::clone(&served)));
        Self { at, served, _runtime: runtime }
    }

    /// Where it serves.
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// The requests so far, in the order they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.served.asked.lock().clone()
    }

    /// How many connections have proved who they are.
    pub fn connections(&self) -> usize {
        self.served.connections.load(Ordering::SeqCst)
    }
}

async fn accept(listener: std::net::TcpListener, served: Arc<Served>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for the runtime");
    while let Ok((socket, _)) = listener.accept().await {
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            // Refused handshakes are a part of many stories.
            let accepted = proxy_mtls::accept(socket, &served.credentials, &TlsLimits::default()).await;
            let Ok(accepted) = accepted else { return };
            served.connections.fetch_add(1, Ordering::SeqCst);
            let each = move |incoming| stream(incoming, accepted.peer.clone(), Arc::clone(&served));
            let never = std::future::pending();
            drop(Box::pin(proxy_hbone::serve(accepted.stream, &Settings::default(), never, each)).await);
        });
    }
}

async fn stream(incoming: Incoming, by: Identity, served: Arc<Served>) {
    let asked = Asked::of(&incoming, &by);
    let wanted = asked.authority.parse();
    served.asked.lock().push(asked);
    let to = match served.does {
        Peers::Refuse(status) => return incoming.refuse(status),
        Peers::Forward(to) => to,
        Peers::Deliver => match wanted {
            Ok(to) => to,
            Err(_) => return incoming.refuse(400),
        },
    };
    let netns = served.netns.clone();
    let dialed = tokio::task::spawn_blocking(move || dial(&netns, to)).await;
    let Some(socket) = dialed.ok().and_then(Result::ok) else { return incoming.refuse(503) };
    let Ok(tunnel) = incoming.accept(None) else { return };
    let (meter, limits) = (Meter::new(), RelayLimits::default());
    drop(tunnel.relay(socket, &meter, std::future::pending::<()>(), &limits).await);
}

fn dial(netns: &Netns, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = netns.run(|| TcpStream::connect_timeout(&to, DIAL))?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(socket)
}

/// Makes an issued certificate ready for handshakes.
#[track_caller]
pub fn credentials(identity: &str, issued: &Issued) -> Arc<Credentials> {
    let certificates = |pem: &str| {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|certificate| certificate.expect("a certificate").to_vec())
            .collect()
    };
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let material = Material {
        chain: certificates(&issued.chain),
        roots: certificates(&issued.root),
        key: key.secret_der().to_vec(),
    };
    let identity = identity.parse().unwrap_or_else(|e| panic!("{identity}: {e}"));
    Arc::new(
        Credentials::new(identity, material, &TlsPolicy::default().into()).unwrap_or_else(|e| panic!("{e}")),
    )
}

const DIAL: std::time::Duration = std::time::Duration::from_secs(5);
