//! Answers a scrape in the format that its client reads, away from the threads that have other work.

use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_ENCODING, HeaderMap, VARY};
use hyper::StatusCode;

use super::Metrics;
use crate::http_server::{Answer, Large, Packing, accepted, text, typed};

/// Bodies held at once, for clients that are slow to take them.
const BODIES: usize = 4;

const OPEN_METRICS: &str = "application/openmetrics-text;charset=utf-8;version=1.0.0";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What serves `/metrics`.
#[derive(Debug, Clone)]
pub(crate) struct Scrape {
    metrics: Metrics,
    bodies: Large,
}

impl Scrape {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, bodies: Large::at_most(BODIES) }
    }

    pub(crate) async fn serve(self, path: String, headers: HeaderMap) -> Answer {
        if !matches!(path.as_str(), "/metrics" | "/stats/prometheus") {
            return text(StatusCode::NOT_FOUND, "not found; try /metrics\n");
        }
        let metrics = self.metrics;
        let packing = Packing::of(&headers);
        let encode = move || {
            let body = metrics.encode().ok()?.into_bytes();
            match packing {
                Some(packing) => packing.pack(&body).ok(),
                None => Some(body),
            }
        };
        let Some(body) = self.bodies.build(encode).await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics do not encode\n");
        };
        let mut answer = typed(StatusCode::OK, content_type(&headers), body);
        answer.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(packing) = packing {
            answer.headers_mut().insert(CONTENT_ENCODING, packing.header());
        }
        answer
    }
}

/// The body is the same: `OpenMetrics` text is what parsers of the plain format read too.
fn content_type(headers: &HeaderMap) -> &'static str {
    let open = accepted(headers, &ACCEPT)
        .any(|(format, weight)| format.eq_ignore_ascii_case("application/openmetrics-text") && weight > 0.0);
    if open { OPEN_METRICS } else { PLAIN }
}

#[cfg(test)]
mod tests;
