//! What nf_tables holds in the current namespace, and taking whole tables out of it, without a program: one netlink socket.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;

use rtnetlink::packet_core::{NetlinkBuffer, NlasIterator};
use rtnetlink::sys::{Socket, SocketAddr};

use crate::error::RedirectError;

/// The families of nf_tables that rules of ours are in (`linux/netfilter.h`).
pub(crate) const INET: u8 = 1;
pub(crate) const IPV4: u8 = 2;
pub(crate) const IPV6: u8 = 10;

/// One chain, or one table when `chain` is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) chain: String,
}

/// Every table and every chain. A kernel without nf_tables has none.
pub(crate) fn names() -> Result<BTreeSet<Name>, RedirectError> {
    let dumps = || -> io::Result<BTreeSet<Name>> {
        let mut all = BTreeSet::new();
        for get in [GET_TABLE, GET_CHAIN] {
            all.extend(dump(get)?);
        }
        Ok(all)
    };
    match dumps() {
        Err(error) if ABSENT.iter().any(|absent| error.raw_os_error() == Some(*absent as i32)) => {
            Ok(BTreeSet::new())
        }
        outcome => outcome.map_err(|source| RedirectError::Netfilter { attempt: "list tables", source }),
    }
}

/// Deletes tables of family `inet` in one transaction: all, or none.
pub(crate) fn delete_tables(names: &[&str]) -> Result<(), RedirectError> {
    if names.is_empty() {
        return Ok(());
    }
    let delete = || -> io::Result<()> {
        let mut batch = message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]);
        for name in names {
            batch.extend(message(
                of_nf_tables(DELETE_TABLE),
                REQUEST | ACK,
                INET,
                0,
                &attribute(TABLE_NAME, name),
            ));
        }
        batch.extend(message(BATCH_END, REQUEST, 0, SUBSYSTEM, &[]));
        let socket = open()?;
        socket.send(&batch, 0)?;
        let mut acknowledged = 0;
        while acknowledged < names.len() {
            let (datagram, _) = socket.recv_from_full()?;
            for answer in answers(&datagram) {
                if let Answer::Error(error) = answer {
                    if error != 0 {
                        return Err(io::Error::from_raw_os_error(error.saturating_neg()));
                    }
                    acknowledged += 1;
                }
            }
        }
        Ok(())
    };
    delete().map_err(|source| RedirectError::Netfilter { attempt: "delete tables", source })
}

/// The kernel answers while the request is being sent, so what is not there then never comes.
fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn dump(get: u16) -> io::Result<BTreeSet<Name>> {
    let mut outcome = Err(io::Error::from_raw_os_error(nix::errno::Errno::EINTR as i32));
    for _ in 0..ATTEMPTS {
        outcome = dump_once(get);
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            break;
        }
    }
    outcome
}

fn dump_once(get: u16) -> io::Result<BTreeSet<Name>> {
    let socket = open()?;
    socket.send(&message(of_nf_tables(get), REQUEST | DUMP, 0, 0, &[]), 0)?;
    let mut names = BTreeSet::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for answer in answers(&datagram) {
            match answer {
                Answer::Name(name) => {
                    names.insert(name);
                }
                Answer::Error(error) => return Err(io::Error::from_raw_os_error(error.saturating_neg())),
                Answer::Interrupted => {
                    return Err(io::Error::from_raw_os_error(nix::errno::Errno::EINTR as i32));
                }
                Answer::Done => return Ok(names),
            }
        }
    }
}

/// One message of the kernel's.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Name(Name),
    /// A negative errno, or 0 for an acknowledgement.
    Error(i32),
    /// What is told does not fit together: something changed meanwhile.
    Interrupted,
    Done,
}

fn answers(mut datagram: &[u8]) -> Vec<Answer> {
    let mut all = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let payload = buffer.payload();
        if buffer.flags() & INTERRUPTED != 0 {
            all.push(Answer::Interrupted);
        }
        match buffer.message_type() {
            ERROR => all.push(Answer::Error(
                payload
                    .first_chunk()
                    .map_or(-(nix::errno::Errno::EPROTO as i32), |code| i32::from_ne_bytes(*code)),
            )),
            DONE => all.push(Answer::Done),
            kind if kind == of_nf_tables(NEW_TABLE) => {
                all.extend(name(payload, TABLE_NAME, None).map(Answer::Name));
            }
            kind if kind == of_nf_tables(NEW_CHAIN) => {
                all.extend(name(payload, CHAIN_TABLE, Some(CHAIN_NAME)).map(Answer::Name));
            }
            _ => {}
        }
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX).next_multiple_of(ALIGN);
        match datagram.get(length..) {
            Some(rest) if length > 0 => datagram = rest,
            _ => break,
        }
    }
    all
}

fn name(payload: &[u8], table: u16, chain: Option<u16>) -> Option<Name> {
    let (general, attributes) = payload.split_first_chunk::<4>()?;
    let text = |wanted: u16| {
        let mut found = NlasIterator::new(attributes).flatten();
        let value = found.find(|attribute| attribute.kind() == wanted)?;
        let value = value.value();
        String::from_utf8(value.strip_suffix(&[0]).unwrap_or(value).to_vec()).ok()
    };
    Some(Name {
        family: *general.first()?,
        table: text(table)?,
        chain: match chain {
            Some(chain) => text(chain)?,
            None => String::new(),
        },
    })
}

/// A netlink header, netfilter's own, and attributes.
fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS.saturating_add(attributes.len())).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, 0]);
    message.extend(resource.to_be_bytes());
    message.extend(attributes);
    message
}

fn attribute(kind: u16, text: &str) -> Vec<u8> {
    let length = text.len().saturating_add(5);
    let mut attribute = Vec::new();
    attribute.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(text.as_bytes());
    attribute.resize(length.next_multiple_of(ALIGN), 0);
    attribute
}

const fn of_nf_tables(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// What a kernel without nf_tables answers.
const ABSENT: [nix::errno::Errno; 4] = [
    nix::errno::Errno::EINVAL,
    nix::errno::Errno::EOPNOTSUPP,
    nix::errno::Errno::EAFNOSUPPORT,
    nix::errno::Errno::EPROTONOSUPPORT,
];
const ATTEMPTS: usize = 5;
/// Of `linux/netlink.h` and `linux/netfilter/{nfnetlink,nf_tables}.h`.
const NETFILTER: isize = 12;
const SUBSYSTEM: u16 = 10;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const HEADERS: usize = 20;
const ALIGN: usize = 4;
