//! The TCP sockets of a network namespace, as the kernel lists them (proc(5), `/proc/net/tcp`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One line of a table. Addresses are canonical: an IPv4-mapped one is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub state: State,
    pub uid: u32,
    pub inode: u64,
}

/// What is told apart of a socket's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Established,
    Listen,
    /// Opening or closing.
    Other,
}

/// All TCP sockets of the calling thread's namespace. Blocking.
///
/// # Errors
/// The kernel's list of IPv4 sockets cannot be read; a kernel without IPv6 has no other.
pub fn listed() -> io::Result<Vec<Socket>> {
    let mut sockets = parse(&std::fs::read_to_string(TCP)?);
    match std::fs::read_to_string(TCP6) {
        Ok(text) => sockets.extend(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// The sockets of one table; lines that are none are left out.
#[must_use]
pub fn parse(table: &str) -> Vec<Socket> {
    table.lines().filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let (local, remote, state) = (fields.nth(1)?, fields.next()?, fields.next()?);
    let (uid, inode) = (fields.nth(3)?, fields.nth(1)?);
    let state = match state {
        "01" => State::Established,
        "0A" => State::Listen,
        _ => State::Other,
    };
    let (local, remote) = (address(local)?, address(remote)?);
    Some(Socket { local, remote, state, uid: uid.parse().ok()?, inode: inode.parse().ok()? })
}

/// Words of four bytes as numbers of this machine, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word =
        |at: usize| u32::from_str_radix(ip.get(at..at.checked_add(8)?)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

const TCP: &str = "/proc/thread-self/net/tcp";
const TCP6: &str = "/proc/thread-self/net/tcp6";

#[cfg(test)]
mod tests;
