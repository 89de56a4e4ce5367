//! Lets labs, which have no way out, use a control plane that runs outside.
//!
//! The suite listens on a Unix socket and relays to the address; the lab listens on its underlay and relays to the
//! socket. Sockets with a path do not care for network namespaces.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

/// Names the control plane to use instead of ours, `host:port`. One lab at a time: run with `--test-threads=1`.
pub const ADDRESS: &str = "ADIT_LAB_XDS";
/// The folder that it reads objects from; the lab writes them there.
pub const OBJECTS: &str = "ADIT_LAB_XDS_DIR";
/// The file with its root certificate.
pub const ROOT: &str = "ADIT_LAB_XDS_ROOT";
/// The file with the token it expects.
pub const TOKEN: &str = "ADIT_LAB_XDS_TOKEN";
/// Set by the suite for its labs: the socket.
pub const SOCKET: &str = "ADIT_LAB_XDS_SOCKET";

/// In the suite, outside: opens the socket when another control plane is asked for.
pub(super) fn offer() -> Option<PathBuf> {
    let address = env::var(ADDRESS).ok()?;
    let path = env::temp_dir().join(format!("adit-lab-xds-{}.sock", std::process::id()));
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket for the labs");
    thread::spawn(move || {
        for inside in listener.incoming().flatten() {
            match TcpStream::connect(&address) {
                Ok(outside) => relay(inside, outside),
                Err(why) => eprintln!("{ADDRESS}={address}: {why}"),
            }
        }
    });
    Some(path)
}

/// In a lab: listens on the underlay and relays to the socket.
pub(super) fn serve(address: SocketAddr, socket: &Path) {
    let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("listen on {address}: {e}"));
    let socket = socket.to_owned();
    thread::spawn(move || {
        for proxy in listener.incoming().flatten() {
            match UnixStream::connect(&socket) {
                Ok(outside) => relay(outside, proxy),
                Err(why) => eprintln!("{}: {why}", socket.display()),
            }
        }
    });
}

fn relay(unix: UnixStream, tcp: TcpStream) {
    let (Ok(mut unix_reads), Ok(mut tcp_reads)) = (unix.try_clone(), tcp.try_clone()) else {
        return;
    };
    let (mut unix, mut tcp) = (unix, tcp);
    thread::spawn(move || {
        let _ = io::copy(&mut unix_reads, &mut tcp);
        let _ = tcp.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut tcp_reads, &mut unix);
        let _ = unix.shutdown(Shutdown::Write);
    });
}
