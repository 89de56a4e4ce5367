//! One question to the API server, and why it was not answered.

use std::error::Error;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::Client;
use kube::client::Body;

use crate::check::facts::{Known, Unread};

/// An answer that came, from the server itself or from a pod behind it.
pub(super) struct Answer {
    pub(super) body: String,
    /// The server's clock, in milliseconds since 1970.
    pub(super) date: Option<i64>,
}

/// Asks for a text.
pub(super) async fn answer(client: &Client, uri: &str, attempt: &str) -> Known<Answer> {
    let request =
        Request::get(uri).body(Body::empty()).map_err(|error| failed(attempt, &error.to_string()))?;
    let answered = tokio::time::timeout(PATIENCE, async {
        let response = client.send(request).await.map_err(|error| refused(attempt, &error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| failed(attempt, &chain(&error)))?;
        Ok((head, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    });
    let (head, body) = answered.await.map_err(|_| failed(attempt, "there was no answer in time"))??;
    let date = head.headers.get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp().as_millisecond());
    if head.status.is_success() {
        return Ok(Answer { body, date });
    }
    // A pod that is not ready says so with an error, in its own words; the server's are a document.
    let status: Result<serde_json::Value, _> = serde_json::from_str(&body);
    match status.ok().filter(|status| status.get("kind").is_some_and(|kind| kind == "Status")) {
        Some(status) => {
            let why = status.get("message").and_then(|message| message.as_str()).unwrap_or(&body).to_owned();
            let forbidden = head.status == StatusCode::FORBIDDEN;
            Err(Unread { attempt: attempt.to_owned(), why, forbidden })
        }
        None => Ok(Answer { body, date }),
    }
}

/// A refusal in the server's words, or an error in ours.
pub(super) fn refused(attempt: &str, error: &kube::Error) -> Unread {
    let (why, forbidden) = if let kube::Error::Api(status) = error {
        (status.message.clone(), status.code == 403)
    } else {
        (chain(error), false)
    };
    Unread { attempt: attempt.to_owned(), why, forbidden }
}

pub(super) fn failed(attempt: &str, why: &str) -> Unread {
    Unread { attempt: attempt.to_owned(), why: why.to_owned(), forbidden: false }
}

/// This machine's clock, in milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = source.source();
    }
    text
}

const PATIENCE: Duration = Duration::from_secs(15);
