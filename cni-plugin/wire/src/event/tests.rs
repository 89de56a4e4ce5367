use std::fs::File;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::seqpacket::Listener;

#[test]
fn an_add_is_one_flat_object_with_a_version() {
    let bytes = Event::Add { pod: pod(), netns: null() }.encode().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let want = serde_json::json!({
        "version": 1, "event": "add", "name": "web", "namespace": "shop", "uid": "u-1",
        "container_id": "c1", "netns_path": "/var/run/netns/c1", "ips": ["10.0.0.5", "fd00::5"],
    });
    assert_eq!(json, want);
}

#[test]
fn every_event_survives_the_way() {
    let collect = Collect { container_ids: vec!["c1".to_owned()] };
    match way(&Event::Add { pod: pod(), netns: null() }, vec![null()]).unwrap() {
        Event::Add { pod: got, netns: _ } => assert_eq!(got, pod()),
        other @ (Event::Delete(_) | Event::Check(_) | Event::Collect(_) | Event::Status | Event::Say(_)) => {
            panic!("{other:?}")
        }
    }
    let got = way(&Event::Delete(deleted()), vec![]);
    assert!(matches!(got, Ok(Event::Delete(pod)) if pod == deleted()));
    let got = way(&Event::Check(checked()), vec![]);
    assert!(matches!(got, Ok(Event::Check(pod)) if pod == checked()));
    let got = way(&Event::Collect(collect.clone()), vec![]);
    assert!(matches!(got, Ok(Event::Collect(got)) if got == collect));
    assert!(matches!(way(&Event::Status, vec![]), Ok(Event::Status)));
    let got = way(&Event::Say(said()), vec![]);
    assert!(matches!(got, Ok(Event::Say(got)) if got == said()));
}

#[test]
fn every_outcome_survives_the_way() {
    let failed = Outcome::Failed { message: "no proxy".to_owned(), retry: true };
    let limited = Outcome::Limited { message: "no proxy".to_owned() };
    for outcome in [Outcome::Enrolled, Outcome::NotSelected, Outcome::Done, limited, failed] {
        let packet = Packet { bytes: outcome.encode().unwrap(), fds: vec![] };
        assert_eq!(Outcome::decode(packet).unwrap(), outcome);
    }
}

#[test]
fn an_add_without_a_namespace_is_refused() {
    let error = way(&Event::Add { pod: pod(), netns: null() }, vec![]).unwrap_err();
    assert!(matches!(error, EventError::MissingDescriptor), "{error:?}");
}

#[test]
fn an_add_with_two_descriptors_is_refused() {
    let error = way(&Event::Add { pod: pod(), netns: null() }, vec![null(), null()]).unwrap_err();
    assert!(matches!(error, EventError::TooManyDescriptors), "{error:?}");
}

#[test]
fn a_descriptor_with_any_other_event_is_refused() {
    for event in [Event::Delete(deleted()), Event::Check(checked()), Event::Status] {
        let error = way(&event, vec![null()]).unwrap_err();
        assert!(matches!(error, EventError::UnexpectedDescriptor), "{error:?}");
    }
}

#[test]
fn another_version_is_refused_by_name_whatever_else_it_says() {
    let bytes = br#"{"version":2,"event":"summon"}"#.to_vec();
    let error = Event::decode(Packet { bytes, fds: vec![] }).unwrap_err();
    assert!(matches!(error, EventError::UnsupportedVersion { got: 2 }), "{error:?}");
}

#[test]
fn bytes_that_are_no_event_are_refused() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"version":1}"#,
        r#"{"version":1,"event":"summon"}"#,
        r#"{"version":1,"event":"add"}"#,
    ] {
        let error = Event::decode(Packet { bytes: text.as_bytes().to_vec(), fds: vec![null()] }).unwrap_err();
        assert!(matches!(error, EventError::Undecodable(_)), "{text}: {error:?}");
    }
}

#[test]
fn an_event_that_does_not_fit_is_not_sent() {
    let container_ids = vec!["c".repeat(64); 1200];
    let error = Event::<OwnedFd>::Collect(Collect { container_ids }).encode().unwrap_err();
    assert!(matches!(error, EventError::TooLong { .. }), "{error:?}");
}

#[test]
fn a_long_message_is_cut_and_still_fits_when_escaped() {
    let outcome = Outcome::Failed { message: "\u{1}".repeat(DATAGRAM_LIMIT), retry: false };
    assert!(outcome.encode().unwrap().len() <= DATAGRAM_LIMIT);
}

#[tokio::test]
async fn a_plugin_asks_and_an_agent_answers() {
    let path = std::env::temp_dir().join(format!("adit-event-{}.sock", std::process::id()));
    let listener = Listener::bind(&path, 0o600, DATAGRAM_LIMIT).unwrap();
    let plugin = std::thread::spawn({
        let path = path.clone();
        move || {
            let connection =
                BlockingConnection::connect(&path, DATAGRAM_LIMIT, Duration::from_secs(20)).unwrap();
            ask(&connection, &Event::Add { pod: pod(), netns: null().as_fd() }).unwrap()
        }
    });
    let connection = listener.accept().await.unwrap();
    assert!(matches!(receive(&connection).await, Ok(Event::Add { .. })));
    answer(&connection, &Outcome::Enrolled).await.unwrap();
    assert_eq!(plugin.join().unwrap(), Outcome::Enrolled);
    std::fs::remove_file(path).unwrap();
}

proptest! {
    #[test]
    fn no_packet_panics_the_reader(text in ".*") {
        let _ = Event::decode(Packet { bytes: text.clone().into_bytes(), fds: vec![] });
        let _ = Outcome::decode(Packet { bytes: text.into_bytes(), fds: vec![] });
    }
}

fn way(event: &Event, fds: Vec<OwnedFd>) -> Result<Event, EventError> {
    Event::decode(Packet { bytes: event.encode()?, fds })
}

fn pod() -> AddPod {
    AddPod {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        uid: Some("u-1".to_owned()),
        container_id: "c1".to_owned(),
        netns_path: "/var/run/netns/c1".to_owned(),
        ips: vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
    }
}

fn deleted() -> DelPod {
    DelPod { name: "web".to_owned(), namespace: "shop".to_owned(), container_id: "c1".to_owned() }
}

fn checked() -> CheckPod {
    CheckPod {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        uid: None,
        container_id: "c1".to_owned(),
        netns_path: "/var/run/netns/c1".to_owned(),
    }
}

fn said() -> Said {
    let line = |level, message: &str| Line { level, message: message.to_owned() };
    Said {
        command: "ADD".to_owned(),
        pod: "shop/web".to_owned(),
        container_id: "c1".to_owned(),
        lines: vec![line(Level::Warn, "the agent is slow"), line(Level::Error, "ADD failed")],
    }
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}
