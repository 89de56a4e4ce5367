//! One connection at a time, over a pipe of a few bytes, in paused time.

use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{LONGEST, converse, text};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A client of a server that answers with `size` bytes.
fn client(size: usize, stop: CancellationToken) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(64);
    let serving = tokio::spawn(converse(TokioIo::new(server), stop, LONGEST, move |_| async move {
        text(StatusCode::OK, vec![b'#'; size])
    }));
    (client, serving)
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_is_let_go() {
    let (mut client, serving) = client(1 << 20, CancellationToken::new());
    client.write_all(REQUEST).await.expect("sent");
    serving.await.expect("the server gives up");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let (_client, serving) = client(1, CancellationToken::new());
    serving.await.expect("the server gives up");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_a_request_in_progress_finish() {
    let stop = CancellationToken::new();
    let (mut client, serving) = client(1_000, stop.clone());
    client.write_all(REQUEST).await.expect("sent");
    let mut answer = vec![0];
    client.read_exact(&mut answer).await.expect("the answer begins");
    stop.cancel();
    client.read_to_end(&mut answer).await.expect("the answer ends");
    assert_eq!(answer.iter().filter(|byte| **byte == b'#').count(), 1_000);
    serving.await.expect("the server ends");
}
