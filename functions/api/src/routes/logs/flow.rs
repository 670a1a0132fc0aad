//! How a log is written where it flows: as events of a stream, or as rows of text.

use std::time::Duration;

use conductor_domain::deployment::DeploymentStatus;
use conductor_domain::log::Line;
use conductor_engine::{LogLine, LogPosition};
use serde_json::json;

use crate::view::LogLineView;

/// The id of the last event. No position has this text, so who reconnects with it has had everything.
pub const END: &str = "end";

/// What a log is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Server-sent events.
    Events,
    /// Rows.
    Text,
}

impl Flow {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Flow::Events => "text/event-stream",
            Flow::Text => "text/plain; charset=utf-8",
        }
    }

    /// A line.
    pub fn line(self, line: &LogLine) -> String {
        match self {
            Flow::Events => format!("id: {}\ndata: {}\n\n", line.id, as_json(line)),
            Flow::Text => row(line),
        }
    }

    /// As many of these lines as fit into so many bytes of an answer, at least one; and how many they are.
    pub fn lines(self, lines: &[LogLine], mut room: usize) -> (String, usize) {
        let mut text = String::new();
        for (count, line) in lines.iter().enumerate() {
            let written = self.line(line);
            let size = size(&written);
            if size > room && count > 0 {
                return (text, count);
            }
            room = room.saturating_sub(size);
            text.push_str(&written);
        }
        (text, lines.len())
    }

    /// That nothing was said for a while.
    pub fn silence(self) -> &'static str {
        match self {
            Flow::Events => ": \n\n",
            Flow::Text => "",
        }
    }

    /// That the deployment has ended. The log's own last line says it to people.
    pub fn end(self, status: DeploymentStatus) -> String {
        match self {
            Flow::Events => format!("id: {END}\nevent: end\ndata: {}\n\n", json!({"status": status})),
            Flow::Text => String::new(),
        }
    }

    /// That this answer ends here and the log does not: when to ask again, after what, and where.
    pub fn pause(self, retry: Duration, after: &LogPosition, path: &str) -> String {
        match self {
            // An event without data only sets the id, and nobody hears of it.
            Flow::Events => format!("id: {after}\nretry: {}\n\n", retry.as_millis()),
            Flow::Text => format!("(it goes on: {path}{after})\n"),
        }
    }
}

/// A line as JSON, which has no row of its own in it.
pub fn as_json(line: &LogLine) -> String {
    serde_json::to_string(&LogLineView::from(line)).unwrap_or_default()
}

/// The bytes that a text takes in an answer that is sent as a whole: Lambda counts it as a JSON text.
pub fn size(text: &str) -> usize {
    serde_json::to_string(text).map_or(text.len(), |text| text.len())
}

fn row(line: &LogLine) -> String {
    let Line { at, level, address, elapsed_seconds, message } = &line.line;
    let level = level.name().to_uppercase();
    let names: Vec<&str> = [line.resource.as_deref(), address.as_deref()].into_iter().flatten().collect();
    let about = if names.is_empty() { String::new() } else { format!("{}: ", names.join(" ")) };
    // Terraform has both in its own words, too.
    let named = address.as_deref().and_then(|address| message.strip_prefix(address)?.strip_prefix(": "));
    let message: Vec<&str> = named.unwrap_or(message).lines().collect();
    let message = message.join("\n    ");
    let elapsed = elapsed_seconds.filter(|_| !message.ends_with(" elapsed]"));
    let elapsed = elapsed.map(|seconds| format!(" [{seconds}s]")).unwrap_or_default();
    format!("{at:.3} {level:<5} {}{}{elapsed}\n", harmless(&about), harmless(&message))
}

/// A text without what a terminal would obey.
fn harmless(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() && !matches!(letter, '\n' | '\t') { '\u{fffd}' } else { letter };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use conductor_domain::ids::{GenericUuid, OperationId};
    use conductor_domain::log::Level;
    use uuid::Uuid;

    use super::*;

    fn line(resource: Option<&str>, address: Option<&str>, elapsed_seconds: Option<u64>, message: &str) -> LogLine {
        LogLine {
            operation: resource.map(|_| OperationId::from_untyped_uuid(Uuid::nil())),
            resource: resource.map(str::to_owned),
            line: Line {
                at: "2026-11-22T12:00:00.1234567Z".parse().expect("a time"),
                level: Level::Info,
                address: address.map(str::to_owned),
                elapsed_seconds,
                message: message.to_owned(),
            },
            id: LogPosition::default(),
        }
    }

    #[test]
    fn a_row_says_when_how_much_it_matters_what_it_is_about_and_what_was_said() {
        let check = |line: LogLine, expect: &str| {
            assert_eq!(Flow::Text.line(&line), format!("2026-11-22T12:00:00.123Z INFO  {expect}\n"));
        };
        let bucket = Some("aws_s3_bucket.b");
        check(line(None, None, None, "started: 2 operations"), "started: 2 operations");
        check(line(Some("db"), None, None, "claimed"), "db: claimed");
        check(line(Some("db"), bucket, Some(10), "Creating..."), "db aws_s3_bucket.b: Creating... [10s]");
        check(line(Some("db"), bucket, None, "aws_s3_bucket.b: Creating..."), "db aws_s3_bucket.b: Creating...");
        check(
            line(Some("db"), bucket, Some(10), "aws_s3_bucket.b: Still creating... [10s elapsed]"),
            "db aws_s3_bucket.b: Still creating... [10s elapsed]",
        );
        check(line(Some("db"), None, None, "one\r\ntwo\nthree"), "db: one\n    two\n    three");
        check(line(Some("db"), None, None, "\u{1b}[31mred\u{7}"), "db: \u{fffd}[31mred\u{fffd}");
    }

    #[test]
    fn an_event_is_one_line_of_json_with_an_id() {
        let event = Flow::Events.line(&line(Some("db"), Some("a.b"), Some(3), "one\r\n\r\ntwo\u{2028}\"three\""));
        let (id, rest) = event.split_once('\n').expect("an id");
        assert_eq!(id, format!("id: {}", LogPosition::default()));
        let data = rest.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("data");
        assert!(!data.contains(['\r', '\n']), "{data}");
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        let expect = json!({
            "at": "2026-11-22T12:00:00.1234567Z",
            "operation": "00000000-0000-0000-0000-000000000000",
            "resource": "db",
            "level": "info",
            "address": "a.b",
            "elapsedSeconds": 3,
            "message": "one\r\n\r\ntwo\u{2028}\"three\"",
        });
        assert_eq!(data, expect);
    }

    #[test]
    fn a_line_about_the_deployment_itself_names_no_operation() {
        let view = json!(LogLineView::from(&line(None, None, None, "succeeded")));
        let expect = json!({
            "at": "2026-11-22T12:00:00.1234567Z",
            "operation": null,
            "resource": null,
            "level": "info",
            "message": "succeeded",
        });
        assert_eq!(view, expect);
    }

    #[test]
    fn an_end_has_an_id_that_no_line_has() {
        let end = Flow::Events.end(DeploymentStatus::Succeeded);
        assert_eq!(end, "id: end\nevent: end\ndata: {\"status\":\"Succeeded\"}\n\n");
        assert!(END.parse::<LogPosition>().is_err());
    }

    #[test]
    fn a_pause_says_when_and_after_what_to_ask_again() {
        let (after, path) = (LogPosition::default(), "/live/v1/deployments/1/logs?cursor=");
        let check = |flow: Flow, expect: String| {
            assert_eq!(flow.pause(Duration::from_millis(250), &after, path), expect);
        };
        check(Flow::Events, format!("id: {after}\nretry: 250\n\n"));
        check(Flow::Text, format!("(it goes on: {path}{after})\n"));
    }

    #[test]
    fn an_answer_has_as_many_lines_as_fit_and_at_least_one() {
        let lines: Vec<LogLine> = ["one", "two", "three"].map(|said| line(None, None, None, said)).to_vec();
        let each = size(&Flow::Text.line(&lines[0]));
        let check = |room: usize, expect: usize| {
            let (text, count) = Flow::Text.lines(&lines, room);
            assert_eq!((count, text.lines().count()), (expect, expect), "{room}");
        };
        check(0, 1);
        check(each, 1);
        check(2 * each, 2);
        check(usize::MAX, 3);
    }
}
