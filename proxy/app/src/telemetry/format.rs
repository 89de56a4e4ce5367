//! The two shapes of a log line: tab-separated text, and one JSON object.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// `time TAB level TAB scope:span{key=value} TAB message TAB key=value key=value`.
///
/// The last tab is there also when no field follows: readers take a line of fewer parts for something else.
pub(super) struct Plain;

/// `{"level":…,"time":…,"scope":…,"message":…,fields in order,"span":{…}}`.
pub(super) struct Json;

/// A span's fields, kept as text until a line is written inside it.
impl<'w> FormatFields<'w> for Plain {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut shown = PlainFields::default();
        fields.record(&mut shown);
        out.write_str(&shown.rest)
    }
}

/// A span's fields, kept as an object until a line is written inside it.
impl<'w> FormatFields<'w> for Json {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut shown = JsonFields::default();
        fields.record(&mut shown);
        out.write_str(&serde_json::to_string(&shown.rest).map_err(|_| fmt::Error)?)
    }
}

impl<S> FormatEvent<S, Self> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Self>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = PlainFields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        write_time(&mut out)?;
        write!(out, "\t{}\t{}", level(*meta.level()), scope(meta.target()))?;
        for span in context.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            write!(out, ":{}", span.name())?;
            let kept = span.extensions();
            if let Some(fields) = kept.get::<FormattedFields<Self>>().filter(|fields| !fields.is_empty()) {
                write!(out, "{{{fields}}}")?;
            }
        }
        writeln!(out, "\t{}\t{}", fields.message, fields.rest)
    }
}

impl<S> FormatEvent<S, Self> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Self>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = JsonFields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let mut time = String::with_capacity(28);
        write_time(&mut time)?;
        let mut object = Map::new();
        object.insert("level".to_owned(), level(*meta.level()).into());
        object.insert("time".to_owned(), time.into());
        object.insert("scope".to_owned(), meta.target().into());
        object.insert("message".to_owned(), fields.message.into());
        object.extend(fields.rest);
        for span in context.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            let kept = span.extensions();
            let fields = kept.get::<FormattedFields<Self>>().map_or("{}", |fields| &fields.fields);
            object.insert(span.name().to_owned(), serde_json::from_str(fields).unwrap_or_default());
        }
        let line = serde_json::to_string(&object).map_err(|_| fmt::Error)?;
        writeln!(out, "{line}")
    }
}

/// Scopes are crate paths; the process's own crate says nothing.
fn scope(target: &str) -> &str {
    target.strip_prefix("proxy::").unwrap_or(target)
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Strings quoted, everything else as it prints itself.
#[derive(Default)]
struct PlainFields {
    message: String,
    rest: String,
}

impl PlainFields {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if !self.rest.is_empty() {
            self.rest.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = write!(self.rest, "{}={value}", field.name());
    }
}

impl Visit for PlainFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.field(field, format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.field(field, format_args!("{value:?}"));
        }
    }
}

/// Numbers and booleans as JSON's own, everything else as strings.
#[derive(Default)]
struct JsonFields {
    message: String,
    rest: Map<String, Value>,
}

impl Visit for JsonFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.rest.insert(field.name().to_owned(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.rest.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.rest.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.rest.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.rest.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.rest.insert(field.name().to_owned(), value.into());
    }
}

/// RFC 3339 in UTC with microseconds.
fn write_time(out: &mut impl Write) -> fmt::Result {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let now = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        since.subsec_micros()
    )
}
