//! One packet out, one packet in, and what the kernel's flags mean; the same for both kinds of connection.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg, socket_with,
};

use super::{Packet, SocketError};

/// Room for more than the one descriptor that is ever legal, so that a second one is seen. The kernel may fill the
/// control buffer's padding with one more.
pub(super) const DESCRIPTOR_ROOM: usize = 4;

pub(super) fn socket(flags: SocketFlags) -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags | SocketFlags::CLOEXEC, None)
}

pub(super) fn address(path: &Path) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(path)
}

pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::NOBUFS);
    }
    // A packet socket takes a message whole or not at all.
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)).map(drop)
}

/// What a receive brought, before it is judged.
pub(super) struct Received {
    packet: Packet,
    flags: ReturnFlags,
    limit: usize,
}

pub(super) fn recv(socket: BorrowedFd<'_>, limit: usize) -> Result<Received> {
    let mut bytes = vec![0; limit];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_ROOM))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    bytes.truncate(got.bytes);
    Ok(Received { packet: Packet { bytes, fds }, flags: got.flags, limit })
}

impl Received {
    pub(super) fn judge(self) -> std::result::Result<Packet, SocketError> {
        if self.flags.contains(ReturnFlags::TRUNC) {
            return Err(SocketError::Truncated { limit: self.limit });
        }
        if self.flags.contains(ReturnFlags::CTRUNC) {
            return Err(SocketError::DescriptorsTruncated { limit: DESCRIPTOR_ROOM });
        }
        if self.packet.bytes.is_empty() {
            return Err(SocketError::Closed);
        }
        Ok(self.packet)
    }
}

/// A peer that went away is an ending, not a failure of this side.
pub(super) fn failed(attempt: &'static str, errno: Errno) -> SocketError {
    if errno == Errno::PIPE || errno == Errno::CONNRESET {
        return SocketError::Closed;
    }
    SocketError::Io { attempt, source: errno.into() }
}
