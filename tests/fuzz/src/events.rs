//! What terraform says: lines of `-json`, or anything else. A line `stop` stands for being told to stop.

use std::collections::BTreeSet;

use conductor_terraform::events::{Body, Diagnostic, Event, RunSummary, Severity};
use conductor_terraform::mask::Masker;
use conductor_terraform::{lock, transient};
use serde_json::Value;

/// What a run knows as a secret.
const SECRET: &str = "hunter2-hunter2";

/// Output of terraform.
pub fn events(data: &[u8]) {
    let masker = Masker::new([SECRET]);
    let mut summary = RunSummary::default();
    for line in data.split(|byte| *byte == b'\n') {
        if line == b"stop" {
            summary.stopping();
        }
        let event = Event::parse(line);
        as_it_was(line, &event);
        hides_outputs(&event);
        summary.observe(&event);
    }
    adds_up(&summary);
    for diagnostic in &summary.diagnostics {
        let value = serde_json::to_value(diagnostic).expect("JSON");
        assert_eq!(serde_json::from_value(value).ok().as_ref(), Some(diagnostic));
        let masked = diagnostic.masked(&masker);
        let texts = [Some(&masked.summary), Some(&masked.detail), masked.address.as_ref()];
        assert!(texts.into_iter().flatten().all(|text| !text.contains(SECRET)), "{masked:?}");
    }
    words(&String::from_utf8_lossy(data), &summary.diagnostics);
}

/// What is no event is kept as it is, and of an event its message.
fn as_it_was(line: &[u8], event: &Event) {
    if let Ok(Value::Object(fields)) = serde_json::from_slice(line) {
        let message = fields.get("@message").and_then(Value::as_str).unwrap_or_default();
        assert_eq!(event.message, message);
        return;
    }
    assert_eq!(event.message, String::from_utf8_lossy(line));
    assert_eq!(event.body, Body::Other(String::new()));
    assert_eq!((event.level.as_str(), event.at.as_str(), event.address()), ("", "", None));
}

/// An output's value is not printed by mistake.
fn hides_outputs(event: &Event) {
    let Body::Outputs(outputs) = &event.body else { return };
    let named = outputs.keys().any(|name| name.contains(SECRET)) || event.level.contains(SECRET);
    assert!(named || !format!("{event:?}").contains(SECRET), "{outputs:?}");
}

/// What is in flight is not finished, and nothing is finished twice.
fn adds_up(summary: &RunSummary) {
    let in_flight = summary.in_flight();
    assert!(in_flight.is_sorted_by_key(|resource| &resource.address), "{in_flight:?}");
    let open: BTreeSet<&str> = in_flight.iter().map(|resource| resource.address.as_str()).collect();
    let ended = summary.completed.iter().filter(|resource| !open.contains(resource.address.as_str()));
    assert!(summary.finished() as usize <= ended.count(), "{summary:?}");
}

/// What words decide: an id for `force-unlock` is never an option of it, and one error that does not pass is enough.
fn words(text: &str, diagnostics: &[Diagnostic]) {
    let id = lock::in_the_way(diagnostics, text);
    assert!(id.as_ref().is_none_or(|id| !id.is_empty() && !id.starts_with('-')), "{id:?}");
    assert!(id.is_none() || lock::is_not_acquired(diagnostics, text), "{id:?}");
    let lasting = Diagnostic {
        severity: Severity::Error,
        summary: "Invalid value".to_owned(),
        detail: String::new(),
        address: None,
        range: None,
    };
    let with_it: Vec<Diagnostic> = diagnostics.iter().cloned().chain([lasting]).collect();
    assert!(!transient::passes(&with_it, text), "{diagnostics:?}");
}
