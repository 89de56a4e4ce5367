//! Queries to name servers of a test's own, on loopback: what is sent, what is believed, who is asked next.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_core::dns::{answers, failure, id, lookup, set_id};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::frames::Frames;
use super::upstream::{Origin, UpstreamError, connect, exchange};
use super::without_us;
use crate::config::{DnsAddress, ResolvConf};

/// Servers that are waited for only shortly.
pub(super) fn servers(servers: &[SocketAddr]) -> ResolvConf {
    ResolvConf { servers: servers.to_vec(), timeout: Duration::from_millis(300), ..ResolvConf::default() }
}

/// A name server that answers each query as `answer` says, and in the end tells the queries it got.
pub(super) async fn server(
    answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, JoinHandle<()>, std::sync::Arc<parking_lot::Mutex<Vec<Vec<u8>>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let got = std::sync::Arc::<parking_lot::Mutex<Vec<Vec<u8>>>>::default();
    let noted = std::sync::Arc::clone(&got);
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            noted.lock().push(buffer[..length].to_vec());
            for response in answer(&buffer[..length]) {
                socket.send_to(&response, from).await.unwrap();
            }
        }
    });
    (address, task, got)
}

/// The query as a response, with a code and some bytes that nobody understands.
pub(super) fn response(query: &[u8], code: u8) -> Vec<u8> {
    let mut response = query.to_vec();
    response[2] |= 0x80;
    response[3] = (response[3] & 0xf0) | code;
    response
}

fn query(name: &str) -> Vec<u8> {
    lookup(name, 16, 0x1234).unwrap()
}

#[tokio::test]
async fn a_query_and_its_response_pass_as_they_are_under_an_id_of_their_own() {
    let (address, _task, got) = server(|query| {
        let mut response = response(query, 0);
        response.extend_from_slice(b"\xff whatever this is");
        vec![response]
    })
    .await;
    let mut sent = query("www.Example.com");
    sent.extend_from_slice(b"\x00 trailing bytes");
    let received = exchange(Origin::Home, &servers(&[address]), &sent).await.unwrap();
    let mut want = response(&sent, 0);
    want.extend_from_slice(b"\xff whatever this is");
    assert_eq!(received, want);
    let got = got.lock().clone();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0][2..], sent[2..]);
}

#[tokio::test]
async fn ids_are_fresh_each_time() {
    let (address, _task, got) = server(|query| vec![response(query, 0)]).await;
    for _ in 0..8 {
        exchange(Origin::Home, &servers(&[address]), &query("a.example")).await.unwrap();
    }
    let ids: std::collections::BTreeSet<_> = got.lock().iter().map(|query| id(query)).collect();
    assert!(ids.len() > 4, "{ids:?}");
}

#[tokio::test]
async fn what_does_not_answer_the_query_is_not_believed() {
    let (address, _task, _) = server(|query| {
        let mut other_id = response(query, 3);
        set_id(&mut other_id, id(query).unwrap().wrapping_add(1));
        let mut other_name = response(query, 3);
        other_name[13] ^= 1;
        vec![vec![], vec![0; 5], query.to_vec(), other_id, other_name, response(query, 0)]
    })
    .await;
    let sent = query("a.example");
    let received = exchange(Origin::Home, &servers(&[address]), &sent).await.unwrap();
    assert_eq!(received, response(&sent, 0));
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_cannot_tell() {
    let (refuses, _first, _) = server(|query| vec![response(query, 5)]).await;
    let (fails, _second, _) = server(|query| vec![failure(query).unwrap()]).await;
    let (knows, _third, _) = server(|query| vec![response(query, 3)]).await;
    let sent = query("a.example");
    let code = async |list: &[SocketAddr]| {
        let received = exchange(Origin::Home, &servers(list), &sent).await.unwrap();
        assert!(answers(&sent, &received));
        received[3] & 0x0f
    };
    assert_eq!(code(&[refuses, fails, knows]).await, 3);
    assert_eq!(code(&[refuses, fails]).await, 5, "the first refusal, when nobody knows better");
    assert_eq!(code(&[knows, refuses]).await, 3);
}

#[tokio::test]
async fn a_silent_server_is_asked_again_but_not_for_what_changes_something() {
    let (address, _task, got) = server(|_| vec![]).await;
    let conf = ResolvConf { timeout: Duration::from_millis(20), ..servers(&[address]) };
    let failed = exchange(Origin::Home, &conf, &query("a.example")).await;
    assert!(matches!(failed, Err(UpstreamError::Silent(server)) if server == address), "{failed:?}");
    assert_eq!(got.lock().len(), 2);
    let update = [0, 1, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    exchange(Origin::Home, &conf, &update).await.unwrap_err();
    assert_eq!(got.lock().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_passed_over() {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (knows, _task, _) = server(|query| vec![response(query, 0)]).await;
    let sent = query("a.example");
    exchange(Origin::Home, &servers(&[nobody, knows]), &sent).await.unwrap();
    let failed = exchange(Origin::Home, &servers(&[nobody]), &sent).await;
    assert!(matches!(failed, Err(UpstreamError::Io { server, .. }) if server == nobody), "{failed:?}");
    let failed = exchange(Origin::Home, &servers(&[]), &sent).await;
    assert!(matches!(failed, Err(UpstreamError::NoServer)), "{failed:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = listener.local_addr().unwrap();
    let stream = connect(Origin::Home, &servers(&[nobody, there])).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), there);
}

#[test]
fn nothing_is_passed_on_to_ourselves() {
    let conf = servers(&["127.0.0.1:53", "127.0.0.53:53", "10.0.0.10:53"].map(|at| at.parse().unwrap()));
    let left = |address: DnsAddress| {
        without_us(conf.clone(), address).servers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(left(DnsAddress::Loopback(53)), ["127.0.0.53:53", "10.0.0.10:53"]);
    assert_eq!(left(DnsAddress::Exact("0.0.0.0:53".parse().unwrap())), ["10.0.0.10:53"]);
    assert_eq!(left(DnsAddress::Loopback(15_053)).len(), 3);
}

#[tokio::test]
async fn messages_on_a_connection_keep_their_bounds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut one = Frames::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (stream, _) = listener.accept().await.unwrap();
    let mut other = Frames::new(stream);
    for message in [&b"a"[..], &[7; 65_535], b""] {
        let (sent, received) = tokio::join!(one.send(message), other.next());
        sent.unwrap();
        assert_eq!(received.unwrap().as_deref(), Some(message));
    }
    one.send(&[0; 65_536]).await.unwrap_err();
    drop(one);
    assert_eq!(other.next().await.unwrap(), None);
}
