//! Which format a client is told it gets.

use http::HeaderValue;
use http::header::{ACCEPT, HeaderMap};

use super::{OPEN_METRICS, PLAIN, content_type};

#[test]
fn open_metrics_is_named_to_who_asks_for_it_and_plain_text_to_everybody_else() {
    let prometheus_2 =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.1";
    for (accept, want) in [
        (&[prometheus_2][..], OPEN_METRICS),
        (&[prometheus_3], OPEN_METRICS),
        (&["text/plain, Application/OpenMetrics-Text; version=1.0.0"], OPEN_METRICS),
        (&["application/json", "application/openmetrics-text"], OPEN_METRICS),
        (&["application/openmetrics-text;q=0"], PLAIN),
        (&["application/openmetrics-textual"], PLAIN),
        (&["text/plain;version=0.0.4;q=1,*/*;q=0.1"], PLAIN),
        (&["*/*"], PLAIN),
        (&[], PLAIN),
    ] {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        assert_eq!(content_type(&headers), want, "{accept:?}");
    }
}
