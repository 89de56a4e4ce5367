//! A peer that holds a certificate of the mesh and sends HTTP/2 frames by hand.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned, crypto};
use tests::lab::hbone::Anybody;
use tests::lab::{Issued, Netns};

/// An authenticated connection to a tunnel port.
pub(super) struct Peer(StreamOwned<ClientConnection, TcpStream>);

impl Peer {
    /// Shakes hands from inside `netns`, with this certificate and these protocols.
    pub(super) fn connect(netns: &Netns, to: SocketAddr, who: Option<&Issued>, alpn: &[&[u8]]) -> Self {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut config = match who {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().expect("a chain");
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a certificate and its key")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.enable_sni = false;
        let name = ServerName::try_from("mesh.invalid").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a TLS client");
        let socket = netns.run(|| TcpStream::connect_timeout(&to, LIMIT)).expect("connect");
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        socket.set_write_timeout(Some(LIMIT)).expect("a timeout");
        Self(StreamOwned::new(connection, socket))
    }

    /// A mesh peer past the preface.
    pub(super) fn tunnels(netns: &Netns, to: SocketAddr, who: &Issued) -> Self {
        let mut peer = Self::connect(netns, to, Some(who), &[b"h2"]);
        peer.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the preface");
        peer.say(&frame(SETTINGS, 0, 0, &[])).expect("SETTINGS");
        peer
    }

    pub(super) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Says this again and again until the other side has had enough of it.
    #[track_caller]
    pub(super) fn insist(&mut self, mut next: impl FnMut(u32) -> Vec<u8>) {
        for round in 0..ENOUGH {
            // What it answers has to be taken, or it stops reading; how it closes is for others to judge.
            if self.say(&next(round)).is_err() {
                return;
            }
        }
        panic!("{ENOUGH} rounds, and it still listens");
    }

    /// Whether it hangs up, whatever it says first.
    pub(super) fn is_left(&mut self) -> bool {
        let mut heard = [0; 4_096];
        loop {
            match self.0.read(&mut heard) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }

    /// The status of the answer to the first request.
    pub(super) fn status(&mut self) -> Option<u16> {
        loop {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).ok()?;
            let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
            self.0.read_exact(&mut payload).ok()?;
            if header[3] == HEADERS {
                // RFC 7541, appendix A: 8 to 14 are statuses; others come as a literal of three digits.
                return match payload.first()? {
                    0x88 => Some(200),
                    0x8c => Some(400),
                    0x8d => Some(404),
                    0x8e => Some(500),
                    _ => str::from_utf8(payload.get(2..5)?).ok()?.parse().ok(),
                };
            }
        }
    }
}

/// A frame of RFC 9113, section 4.1.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block without the dynamic table or Huffman codes (RFC 7541).
pub(super) fn connect_to(authority: &str) -> Vec<u8> {
    let mut block = b"\x02\x07CONNECT\x01".to_vec();
    block.push(u8::try_from(authority.len()).expect("a short authority"));
    block.extend(authority.as_bytes());
    block
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_HEADERS: u8 = 4;
const LIMIT: Duration = Duration::from_secs(15);
/// Frames that no limit lets pass.
const ENOUGH: u32 = 200_000;
