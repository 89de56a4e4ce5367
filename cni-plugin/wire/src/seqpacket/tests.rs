use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_packet_arrives_whole_with_its_descriptor() {
    let (left, right) = Connection::pair(1024).unwrap();
    let file = File::open("/dev/null").unwrap();
    left.send(b"hello", Some(file.as_fd())).await.unwrap();
    let packet = right.recv().await.unwrap();
    assert_eq!(packet.bytes, b"hello");
    let [fd] = <[OwnedFd; 1]>::try_from(packet.fds).unwrap();
    assert_eq!(File::from(fd).metadata().unwrap().rdev(), file.metadata().unwrap().rdev());
}

#[tokio::test]
async fn a_received_descriptor_is_closed_on_exec() {
    let (left, right) = Connection::pair(1024).unwrap();
    left.send(b"x", Some(File::open("/dev/null").unwrap().as_fd())).await.unwrap();
    let packet = right.recv().await.unwrap();
    let flags = rustix::io::fcntl_getfd(&packet.fds[0]).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[tokio::test]
async fn packets_keep_their_borders() {
    let (left, right) = Connection::pair(1024).unwrap();
    left.send(b"one", None).await.unwrap();
    left.send(b"two", None).await.unwrap();
    assert_eq!(right.recv().await.unwrap().bytes, b"one");
    assert_eq!(right.recv().await.unwrap().bytes, b"two");
}

#[tokio::test]
async fn a_packet_of_exactly_the_limit_fits() {
    let (left, right) = Connection::pair(16).unwrap();
    left.send(&[7; 16], None).await.unwrap();
    assert_eq!(right.recv().await.unwrap().bytes, [7; 16]);
}

#[tokio::test]
async fn a_longer_packet_is_refused_and_the_next_one_is_not() {
    let (left, right) = Connection::pair(16).unwrap();
    left.send(&[7; 17], None).await.unwrap();
    left.send(b"next", None).await.unwrap();
    let error = right.recv().await.unwrap_err();
    assert!(matches!(error, SocketError::Truncated { limit: 16 }), "{error:?}");
    assert_eq!(right.recv().await.unwrap().bytes, b"next");
}

#[tokio::test]
async fn descriptors_of_a_refused_packet_are_closed() {
    let (left, right) = Connection::pair(16).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    left.send(&[7; 17], Some(writer.as_fd())).await.unwrap();
    drop(writer);
    assert!(matches!(right.recv().await, Err(SocketError::Truncated { .. })));
    // The last writer is gone: the pipe is at its end.
    assert_eq!(io::read_to_string(reader).unwrap(), "");
}

#[tokio::test]
async fn more_descriptors_than_anybody_may_send_are_refused_and_closed() {
    let (left, right) = Connection::pair(1024).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    send_many(&left, &writer, 16);
    drop(writer);
    let error = right.recv().await.unwrap_err();
    assert!(matches!(error, SocketError::DescriptorsTruncated { .. }), "{error:?}");
    assert_eq!(io::read_to_string(reader).unwrap(), "");
}

#[tokio::test]
async fn a_second_descriptor_is_seen() {
    let (left, right) = Connection::pair(1024).unwrap();
    let (_reader, writer) = io::pipe().unwrap();
    send_many(&left, &writer, 2);
    assert_eq!(right.recv().await.unwrap().fds.len(), 2);
}

#[tokio::test]
async fn the_end_of_a_connection_is_not_a_failure() {
    let (left, right) = Connection::pair(1024).unwrap();
    drop(left);
    assert!(matches!(right.recv().await, Err(SocketError::Closed)));
    assert!(matches!(right.send(b"x", None).await, Err(SocketError::Closed)));
}

#[tokio::test]
async fn a_listener_replaces_the_socket_of_its_predecessor() {
    let path = scratch("replace").join("agent.sock");
    let first = Listener::bind(&path, 0o600, 1024).unwrap();
    let second = Listener::bind(&path, 0o640, 1024).unwrap();
    drop(first);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let client = Connection::connect(&path, 1024).unwrap();
    let server = second.accept().await.unwrap();
    client.send(b"x", None).await.unwrap();
    assert_eq!(server.recv().await.unwrap().bytes, b"x");
    assert_eq!(server.peer_uid().unwrap(), rustix::process::geteuid().as_raw());
}

#[tokio::test]
async fn a_listener_never_removes_what_is_no_socket() {
    let path = scratch("file").join("agent.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = Listener::bind(&path, 0o600, 1024).unwrap_err();
    assert!(matches!(error, SocketError::Listen { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connect() {
    let path = scratch("nobody").join("agent.sock");
    assert!(matches!(Connection::connect(&path, 1024), Err(SocketError::Connect { .. })));
    let blocking = BlockingConnection::connect(&path, 1024, Duration::from_secs(5));
    assert!(matches!(blocking, Err(SocketError::Connect { .. })));
}

#[tokio::test]
async fn a_blocking_peer_exchanges_packets_with_a_runtime() {
    let path = scratch("blocking").join("agent.sock");
    let listener = Listener::bind(&path, 0o600, 1024).unwrap();
    let plugin = std::thread::spawn(move || {
        let connection = BlockingConnection::connect(&path, 1024, Duration::from_secs(20)).unwrap();
        connection.send(b"ping", Some(File::open("/dev/null").unwrap().as_fd())).unwrap();
        connection.recv().unwrap().bytes
    });
    let server = listener.accept().await.unwrap();
    let ping = server.recv().await.unwrap();
    assert_eq!((ping.bytes.as_slice(), ping.fds.len()), (b"ping".as_slice(), 1));
    server.send(b"pong", None).await.unwrap();
    assert_eq!(plugin.join().unwrap(), b"pong");
}

#[tokio::test]
async fn a_blocking_receive_gives_up_at_its_timeout() {
    let path = scratch("timeout").join("agent.sock");
    let _listener = Listener::bind(&path, 0o600, 1024).unwrap();
    let connection = BlockingConnection::connect(&path, 1024, Duration::from_millis(20)).unwrap();
    assert!(matches!(connection.recv(), Err(SocketError::TimedOut { attempt: "receive" })));
}

#[tokio::test]
async fn a_blocking_peer_waits_once_and_not_once_for_every_step() {
    let path = scratch("patience").join("agent.sock");
    let _listener = Listener::bind(&path, 0o600, 1024).unwrap();
    let connection = BlockingConnection::connect(&path, 1024, Duration::from_millis(20)).unwrap();
    assert!(matches!(connection.recv(), Err(SocketError::TimedOut { attempt: "receive" })));
    assert!(matches!(connection.send(b"x", None), Err(SocketError::TimedOut { attempt: "send" })));
}

fn send_many(connection: &Connection, fd: &impl AsFd, count: usize) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let fds = vec![fd.as_fd(); count];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let bytes = [io::IoSlice::new(b"many")];
    sendmsg(connection.as_fd(), &bytes, &mut control, SendFlags::NOSIGNAL).unwrap();
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("adit-seqpacket-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
