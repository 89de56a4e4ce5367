use std::io;
use std::time::Duration;

use tonic::{Code, Status};

use super::{AdsError, CaError, ChannelError, Report, clip};
use crate::ads::Termination;
use crate::backoff::Retry;

fn stream(code: Code) -> AdsError {
    AdsError::Stream { status: Status::new(code, "words") }
}

#[test]
fn endings_are_counted_and_repeated_as_ztunnel_does() {
    let refused = || ChannelError::NoAddress { host: "istiod".to_owned() };
    let rows = [
        (AdsError::Channel(refused()), Termination::ConnectionError, Retry::Later),
        (AdsError::Open { status: Status::unavailable("") }, Termination::ConnectionError, Retry::Later),
        (AdsError::Open { status: Status::unknown("") }, Termination::ConnectionError, Retry::Later),
        (stream(Code::Unknown), Termination::Reconnect, Retry::Soon),
        (stream(Code::Cancelled), Termination::Reconnect, Retry::Soon),
        (stream(Code::DeadlineExceeded), Termination::Reconnect, Retry::Soon),
        (stream(Code::Unavailable), Termination::Error, Retry::Later),
        (stream(Code::PermissionDenied), Termination::Error, Retry::Later),
        (stream(Code::Internal), Termination::Error, Retry::Later),
        (AdsError::Closed, Termination::Complete, Retry::Soon),
        (AdsError::Stalled { after: Duration::from_secs(30) }, Termination::Error, Retry::Later),
    ];
    for (error, termination, retry) in rows {
        assert_eq!((error.termination(), error.retry()), (termination, retry), "{error:?}");
    }
}

#[test]
fn a_report_names_every_cause_once() {
    let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
    let error = AdsError::Channel(ChannelError::ReadToken { path: "/run/token".into(), source });
    let report = Report(&error).to_string();
    assert!(report.starts_with("read the token file /run/token: "), "{report}");
    assert!(report.ends_with(": no such file"), "{report}");
    assert_eq!(report.matches("no such file").count(), 1, "{report}");
}

#[test]
fn a_refusal_says_what_to_check() {
    let status = Status::unauthenticated("request authenticate failure");
    let error = CaError::Refused { identity: "spiffe://td/ns/a/sa/b".to_owned(), status };
    let report = Report(&error).to_string();
    for part in ["spiffe://td/ns/a/sa/b", "CA_TRUSTED_NODE_ACCOUNTS", "request authenticate failure"] {
        assert!(report.contains(part), "{report}");
    }
    assert!(error.retry());
}

#[test]
fn a_peers_long_text_is_cut_between_characters() {
    for (text, limit, want) in
        [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("aé", 3, "aé"), ("é", 0, "")]
    {
        assert_eq!(clip(text, limit), want, "{text} {limit}");
    }
    let report = Report(&stream(Code::Internal)).to_string();
    assert_eq!(report, "read the discovery stream: Internal \"words\"");
    let long = AdsError::Stream { status: Status::internal("x".repeat(100_000)) };
    assert!(Report(&long).to_string().len() < 2000);
}
