//! The sizes of the settings, as they go on the wire (RFC 9113, sections 6.5.2 and 6.9).

use super::raw::{self, PREFACE, SETTINGS};
use super::*;

const WINDOW_UPDATE: u8 = 8;

fn settings() -> Settings {
    Settings {
        stream_window: 100_000,
        connection_window: 300_000,
        frame_size: 20_000,
        max_streams: 7,
        ..Settings::default()
    }
}

/// One setting by its identifier.
fn value(payload: &[u8], identifier: u16) -> Option<u32> {
    let mut entries = payload.chunks_exact(6);
    let entry = entries.find(|entry| entry[..2] == identifier.to_be_bytes())?;
    Some(u32::from_be_bytes(entry[2..].try_into().unwrap()))
}

/// What a side says of its sizes, once it has said both.
async fn told(stream: &mut DuplexStream) -> [Option<u32>; 4] {
    let payload = raw::read_until(stream, SETTINGS).await;
    let more = raw::read_until(stream, WINDOW_UPDATE).await;
    // RFC 9113 6.9.2: a connection begins with 65,535 bytes.
    let window = u32::from_be_bytes(more.try_into().unwrap()) + 65_535;
    [value(&payload, 4), Some(window), value(&payload, 5), value(&payload, 3)]
}

#[tokio::test]
async fn a_server_announces_the_sizes_of_its_settings() {
    let (mut ours, theirs) = duplex(64 << 10);
    ours.write_all(PREFACE).await.unwrap();
    ours.write_all(&raw::frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let serving = tokio::spawn(async move {
        let refuse = |incoming: Incoming| async move { incoming.refuse(503) };
        serve(theirs, &settings(), pending(), refuse).await
    });
    assert_eq!(told(&mut ours).await, [Some(100_000), Some(300_000), Some(20_000), Some(7)]);
    serving.abort();
}

#[tokio::test]
async fn a_client_announces_the_sizes_of_its_settings_and_takes_no_pushes() {
    let pool = Pool::new(settings());
    let (ours, mut theirs) = duplex(64 << 10);
    let opening =
        tokio::spawn(async move { pool.open(&key("uid"), raw::once(ours), &head()).await.map(drop) });
    let mut preface = [0; PREFACE.len()];
    theirs.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    let payload = raw::read_until(&mut theirs, SETTINGS).await;
    let sizes = [4, 5].map(|identifier| value(&payload, identifier));
    assert_eq!(sizes, [Some(100_000), Some(20_000)]);
    assert_eq!(value(&payload, 2), Some(0), "ENABLE_PUSH");
    let more = raw::read_until(&mut theirs, WINDOW_UPDATE).await;
    assert_eq!(u32::from_be_bytes(more.try_into().unwrap()), 300_000 - 65_535);
    opening.abort();
}
