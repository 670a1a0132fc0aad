//! Lines of the log: one JSON object an event, with the fields of the event and of the spans around it side by side,
//! and with what makes CloudWatch count it ([`metric`]). It knows no outcome by name.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::metric;

/// Members that a line has by itself. A field of that name gets a `_` behind it.
const OWN: [&str; 5] = ["timestamp", "level", "target", metric::STACK, metric::BLOCK];

/// Writes lines of the level and above. Whatever the level, it writes outcomes, because metrics hang on them, and knows
/// the spans, because a line without them tells of nobody.
pub(crate) fn layer<W>(
    level: &str,
    stack: String,
    writer: W,
    now: fn() -> Timestamp,
) -> impl Layer<Registry> + Send + Sync + use<W>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let chosen = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let always = filter_fn(is_always_written).with_max_level_hint(LevelFilter::INFO);
    tracing_subscriber::fmt::layer::<Registry>()
        .fmt_fields(JsonFields::new())
        .event_format(Lines { stack, now })
        .with_writer(writer)
        .with_filter(FilterExt::<Registry>::or(chosen, always))
}

fn is_always_written(metadata: &Metadata<'_>) -> bool {
    let is_outcome = metadata.fields().field(metric::OUTCOME).is_some();
    *metadata.level() <= Level::INFO && (metadata.is_span() || is_outcome)
}

struct Lines {
    stack: String,
    now: fn() -> Timestamp,
}

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = (self.now)();
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let mut fields = read(&text);
        metric::count(&mut fields, &self.stack, now.as_millisecond());
        // From the innermost to the outermost: who is nearer to the event knows it better.
        for span in context.event_scope().into_iter().flatten() {
            if let Some(written) = span.extensions().get::<FormattedFields<JsonFields>>() {
                for (name, value) in read(&written.fields) {
                    fields.entry(name).or_insert(value);
                }
            }
        }
        let metadata = event.metadata();
        let message = fields.remove("message");
        let first = [
            ("timestamp", Some(Value::from(format!("{now:.6}")))),
            ("level", Some(Value::from(metadata.level().as_str()))),
            ("message", message),
            ("target", Some(Value::from(metadata.target()))),
        ];
        let first = first.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        let rest = fields.iter().map(|(name, value)| (name.as_str(), value));
        let members: Vec<String> =
            first.chain(rest).map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
        writeln!(writer, "{{{}}}", members.join(","))
    }
}

/// Fields as they were written; none of them has a name that a line has by itself.
fn read(text: &str) -> Map<String, Value> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    for own in OWN {
        if let Some(value) = fields.remove(own) {
            fields.insert(format!("{own}_"), value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no other has panicked").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn text(level: &str, say: impl FnOnce()) -> String {
        let sink = Sink::default();
        let written = sink.clone();
        let now = || Timestamp::constant(1_767_225_600, 123_456_000);
        let layer = layer(level, "conductor".to_owned(), move || sink.clone(), now);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let bytes = written.0.lock().expect("nobody has panicked").clone();
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    fn lines(level: &str, say: impl FnOnce()) -> Vec<Value> {
        text(level, say).lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    #[test]
    fn a_line_is_one_object_with_the_fields_of_the_event() {
        let found = text("info", || {
            let none: Option<u64> = None;
            tracing::warn!(number = 5_u64, less = -5, half = 0.5, yes = true, none, shown = ?Some(1), text = "a\nb", "said")
        });
        let expect = concat!(
            r#"{"timestamp":"2026-01-01T00:00:00.123456Z","level":"WARN","message":"said","#,
            r#""target":"conductor_telemetry::line::tests","half":0.5,"less":-5,"number":5,"shown":"Some(1)","#,
            r#""text":"a\nb","yes":true}"#,
            "\n"
        );
        assert_eq!(found, expect);
    }

    #[test]
    fn an_outcome_of_the_table_is_counted() {
        let found = lines("info", || {
            let _span = tracing::info_span!("request", requestId = "r-1").entered();
            tracing::info!(outcome = "start", waitedMs = 1500_u64, deployment = %"d-1", "a deployment has started");
        });
        let expect = json!({
            "timestamp": "2026-01-01T00:00:00.123456Z", "level": "INFO", "message": "a deployment has started",
            "target": "conductor_telemetry::line::tests", "requestId": "r-1",
            "outcome": "start", "deployment": "d-1", "waitedMs": 1500, "TimeToStart": 1500, "Stack": "conductor",
            "_aws": {
                "Timestamp": 1_767_225_600_123_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Conductor",
                    "Dimensions": [["Stack"]],
                    "Metrics": [{"Name": "TimeToStart", "Unit": "Milliseconds"}],
                }],
            },
        });
        assert_eq!(found, [expect]);
    }

    #[test]
    fn what_is_no_outcome_of_the_table_is_not_counted() {
        let found = lines("info", || {
            // Also where a span is about one.
            let _span = tracing::info_span!("run", outcome = "retry").entered();
            tracing::info!("said");
            tracing::info!(outcome = "weather", "rain");
        });
        assert_eq!(found.len(), 2);
        assert_eq!(found.iter().find(|line| line.get("_aws").is_some() || line.get("Stack").is_some()), None);
    }

    #[test]
    fn a_line_has_the_fields_of_all_spans_and_the_nearest_wins() {
        let found = lines("info", || {
            let outer = tracing::info_span!("outer", requestId = "r-1", deployment = "far", operation = 1);
            let _outer = outer.enter();
            let inner = tracing::info_span!("inner", deployment = "near", epoch = Empty);
            let _inner = inner.enter();
            tracing::info!("before");
            inner.record("epoch", 3_u64);
            tracing::info!(operation = 7, "after");
        });
        let of = |line: &Value| ["requestId", "deployment", "operation", "epoch"].map(|name| line[name].clone());
        assert_eq!(of(&found[0]), [json!("r-1"), json!("near"), json!(1), Value::Null]);
        assert_eq!(of(&found[1]), [json!("r-1"), json!("near"), json!(7), json!(3)]);
    }

    #[test]
    fn a_field_does_not_take_the_place_of_the_lines_own() {
        let found = lines("info", || {
            let _span = tracing::info_span!("span", timestamp = 1, Stack = "another").entered();
            tracing::info!(outcome = "retry", level = "high", _aws = "mine", "said");
        });
        let line = &found[0];
        assert_eq!((&line["level"], &line["level_"]), (&json!("INFO"), &json!("high")));
        assert_eq!((&line["Stack"], &line["Stack_"]), (&json!("conductor"), &json!("another")));
        assert_eq!((&line["timestamp_"], &line["_aws_"]), (&json!(1), &json!("mine")));
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"], "Retries");
    }

    #[test]
    fn outcomes_are_written_and_spans_are_known_at_every_level() {
        let say = || {
            let _span = tracing::info_span!("request", requestId = "r-1").entered();
            tracing::debug!("detail");
            tracing::info!("said");
            tracing::info!(outcome = "retry", "tried again");
            tracing::error!("broken");
        };
        let check = |level: &str, expect: &[&str]| {
            let found = lines(level, say);
            let said: Vec<&str> = found.iter().filter_map(|line| line["message"].as_str()).collect();
            assert_eq!(said, expect, "{level}");
            assert!(found.iter().all(|line| line["requestId"] == "r-1"), "{level}");
        };
        check("error", &["tried again", "broken"]);
        check("info", &["said", "tried again", "broken"]);
        check("debug", &["detail", "said", "tried again", "broken"]);
        check("crate=loud", &["said", "tried again", "broken"]);
    }
}
