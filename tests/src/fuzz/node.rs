//! What programs on one node say to each other: agent and proxy, plugin and agent, runtime and plugin, admin and log.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use cni_plugin_plugin::args::Environment;
use cni_plugin_wire::event::{Event, Outcome};
use cni_plugin_wire::seqpacket::Packet;
use cni_plugin_wire::zds::{Answer, Request, decode_hello};
use parking_lot::Mutex;
use proxy::config::LogConfig;
use proxy::{LogControl, LogGuard};

/// What is understood is said again in the same words, needs the descriptor it says it needs, and no other.
pub(super) fn zds_request(bytes: &[u8]) {
    let _ = decode_hello(packet(bytes, 0));
    for descriptors in 0..3 {
        let Ok(request) = Request::decode(packet(bytes, descriptors)) else { continue };
        assert_eq!(request.descriptor().is_some(), descriptors == 1, "{request:?}");
        // Another agent's names may be longer than we would send.
        let Ok(written) = request.encode() else { continue };
        let again = Request::decode(packet(&written, descriptors)).expect("our own words");
        assert_eq!(again.encode().expect("what was said before"), written);
    }
}

/// An answer means success only when it says so.
pub(super) fn zds_answer(bytes: &[u8]) {
    let Ok(answer) = Answer::decode(packet(bytes, 0)) else { return };
    let written = answer.encode();
    let again = Answer::decode(packet(&written, 0)).expect("our own words");
    assert_eq!(again == Answer::Done, answer == Answer::Done);
    assert!(Answer::decode(packet(bytes, 1)).is_err());
}

/// As ZDS, in JSON.
pub(super) fn plugin_event(bytes: &[u8]) {
    for descriptors in 0..3 {
        let Ok(event) = Event::decode(packet(bytes, descriptors)) else { continue };
        assert_eq!(event.descriptor().is_some(), descriptors == 1, "{event:?}");
        let Ok(written) = event.encode() else { continue };
        let again = Event::decode(packet(&written, descriptors)).expect("our own words");
        assert_eq!(again.encode().expect("what was said before"), written);
    }
}

/// As ZDS, in JSON.
pub(super) fn plugin_outcome(bytes: &[u8]) {
    let Ok(outcome) = Outcome::decode(packet(bytes, 0)) else { return };
    let written = outcome.encode().expect("outcomes encode");
    let again = Outcome::decode(packet(&written, 0)).expect("our own words");
    assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&outcome));
}

/// Whatever the runtime's document and arguments hold, the plugin answers with a JSON document or nothing, and never says
/// that a pod was added while there is no agent to add it, unless nobody asked for it to be.
pub(super) fn cni_stdin(bytes: &[u8]) {
    // The document, then the arguments.
    let (document, args) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], String::from_utf8_lossy(&bytes[end + 1..]).into_owned()),
        None => (bytes, "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web".to_owned()),
    };
    for command in ["ADD", "DEL", "GC", "STATUS", "VERSION", &args] {
        let environment = Environment {
            command: Some(command.to_owned()),
            container_id: Some("c0ffee".to_owned()),
            netns: None,
            ifname: Some("eth0".to_owned()),
            args: Some(args.clone()),
            path: Some("/nowhere".to_owned()),
            netns_override: None,
        };
        let mut said = Vec::new();
        let reply = cni_plugin_plugin::run(&environment, document, &mut said);
        assert!(said.len() < 1 << 20, "{} bytes of log", said.len());
        let document = reply.document.as_deref().filter(|text| !text.is_empty());
        if let Some(text) = document {
            let value: serde_json::Value = serde_json::from_str(text).expect("a JSON document");
            let is_error =
                value.get("code").is_some_and(serde_json::Value::is_number) && value.get("msg").is_some();
            assert!(reply.success || is_error, "{command}: {text}");
        }
        // Without a namespace to enter there is nothing to add.
        assert!(command != "ADD" || !reply.success, "{command}: {document:?}");
    }
}

/// A filter that is refused changes nothing; one that is taken can be given again, and stays short.
pub(super) fn log_filter(bytes: &[u8]) {
    static LOG: OnceLock<Mutex<(LogControl, LogGuard)>> = OnceLock::new();
    let Ok(text) = str::from_utf8(bytes) else { return };
    let log = LOG.get_or_init(|| {
        let config = LogConfig { filter: "off".to_owned(), json: false, policy_decisions: false };
        Mutex::new(proxy::init_log(&config).expect("no other logger in this process"))
    });
    let log = &log.lock().0;
    let before = log.current();
    let taken = log.change(text, false).is_ok();
    let after = log.current();
    if taken {
        log.change(text, false).unwrap_or_else(|e| panic!("{text:?} is taken only once: {e}"));
        assert!(log.current().len() <= after.len().max(before.len()), "{text:?} grows the filter");
    } else {
        assert_eq!(after, before);
    }
    log.change("", true).expect("the filter of the start");
    assert_eq!(log.current(), before);
}

fn packet(bytes: &[u8], descriptors: usize) -> Packet {
    let open = || OwnedFd::from(File::open("/dev/null").expect("/dev/null"));
    Packet { bytes: bytes.to_vec(), fds: std::iter::repeat_with(open).take(descriptors).collect() }
}
