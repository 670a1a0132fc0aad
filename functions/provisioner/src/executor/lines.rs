//! What is said of a run, as lines of its operation's log: our own steps, and terraform's events. Each line is masked
//! here, as a whole, before anybody shortens it or puts it into a batch.

use conductor_domain::log::{Level, Line};
use conductor_engine::Log;
use conductor_engine::port::Clock;
use conductor_store::SystemClock;
use conductor_terraform::events::{Body, Event, Hook, Severity};
use conductor_terraform::mask::Masker;
use jiff::Timestamp;

use super::words;

/// Where the lines of one run go.
pub struct Lines {
    log: Log,
    masker: Masker,
    clock: SystemClock,
}

impl Lines {
    /// Into this log, without what this masker knows.
    pub fn new(log: &Log, masker: &Masker, clock: &SystemClock) -> Self {
        Self { log: log.clone(), masker: masker.clone(), clock: clock.clone() }
    }

    /// What it masks; who learns of a secret tells it.
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// A step of ours.
    pub fn say(&self, level: Level, message: impl AsRef<str>) {
        self.log.say(level, self.masker.apply(message.as_ref()));
    }

    /// What terraform says.
    pub fn event(&self, event: &Event) {
        if let Some(line) = line(event, &self.masker, self.clock.now()) {
            self.log.line(line);
        }
    }
}

/// An event as a line, said `now` where it has no time of its own; none where it has no words.
fn line(event: &Event, masker: &Masker, now: Timestamp) -> Option<Line> {
    let said = match &event.body {
        // Terraform's own message of a diagnostic lacks the details.
        Body::Diagnostic(diagnostic) if diagnostic.detail.trim().is_empty() => diagnostic.summary.clone(),
        Body::Diagnostic(diagnostic) => format!("{}: {}", diagnostic.summary, diagnostic.detail),
        _ => event.message.clone(),
    };
    let message = masker.apply(&said).trim_end().to_owned();
    let elapsed_seconds = hook(event).and_then(|hook| hook.elapsed_seconds);
    (!message.is_empty()).then(|| Line {
        at: event.at.parse().unwrap_or(now),
        level: level(event),
        address: event.address().map(|address| words::address(address, masker)),
        elapsed_seconds,
        message,
    })
}

/// Terraform's own, but for what is of no use to who wants to know what happens.
fn level(event: &Event) -> Level {
    match &event.body {
        Body::Version { .. } | Body::Outputs(_) | Body::RefreshComplete(_) => Level::Debug,
        // No event at all, or what `init` talks of.
        Body::Other(kind) if matches!(kind.as_str(), "" | "init_output" | "log") => Level::Debug,
        Body::Diagnostic(diagnostic) => match diagnostic.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warn,
            Severity::Unknown => Level::Info,
        },
        _ => match event.level.as_str() {
            "trace" | "debug" => Level::Debug,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => Level::Info,
        },
    }
}

fn hook(event: &Event) -> Option<&Hook> {
    match &event.body {
        Body::ApplyStart(hook)
        | Body::ApplyProgress(hook)
        | Body::ApplyComplete(hook)
        | Body::ApplyErrored(hook)
        | Body::RefreshStart(hook)
        | Body::RefreshComplete(hook)
        | Body::ProvisionStart(hook)
        | Body::ProvisionProgress(hook) => Some(hook),
        Body::Version { .. }
        | Body::Diagnostic(_)
        | Body::PlannedChange(_)
        | Body::ResourceDrift(_)
        | Body::ChangeSummary(_)
        | Body::Outputs(_)
        | Body::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-22T13:00:00Z";

    fn said(text: &str) -> Option<Line> {
        line(&Event::parse(text.as_bytes()), &Masker::new(["hunter2-hunter2"]), NOW.parse().expect("a time"))
    }

    #[track_caller]
    fn check(event: Value, level: Level, message: &str) -> Line {
        let line = said(&event.to_string()).expect("a line");
        assert_eq!((line.level, line.message.as_str()), (level, message));
        line
    }

    fn hook(kind: &str, message: &str, elapsed_seconds: Option<u64>) -> Value {
        let resource = json!({"addr": "terraform_data.a[\"hunter2-hunter2\"]"});
        json!({"@level": "info", "@message": message, "@timestamp": "2026-11-22T12:27:50.342251Z", "type": kind,
               "hook": {"resource": resource, "action": "create", "elapsed_seconds": elapsed_seconds}})
    }

    #[test]
    fn a_line_has_terraforms_time_level_and_words_and_what_they_are_about() {
        let line = check(hook("apply_progress", "a: Still creating...", Some(10)), Level::Info, "a: Still creating...");
        assert_eq!(line.at.to_string(), "2026-11-22T12:27:50.342251Z");
        assert_eq!(line.elapsed_seconds, Some(10));
        assert_eq!(line.address.as_deref(), Some("terraform_data.a[\"(sensitive)\"]"));
        let line = check(hook("apply_start", "a: Creating...", None), Level::Info, "a: Creating...");
        assert_eq!(line.elapsed_seconds, None);
        let line = check(json!({"@level": "warn", "@message": "m", "type": "new"}), Level::Warn, "m");
        assert_eq!((line.at.to_string(), line.address), (NOW.to_owned(), None));
        let line = check(json!({"@timestamp": "yesterday", "@message": "m", "type": "new"}), Level::Info, "m");
        assert_eq!(line.at.to_string(), NOW);
    }

    #[test]
    fn an_address_is_masked_and_then_shortened() {
        let key = "hunter2-hunter2".repeat(100);
        let resource = json!({"addr": format!("a.b[\"{key}\"]")});
        let event = json!({"@level": "info", "@message": "m", "type": "apply_start", "hook": {"resource": resource}});
        let address = check(event, Level::Info, "m").address.expect("an address");
        assert!(address.len() <= 1024, "{}", address.len());
        assert!(address.starts_with("a.b[\"(sensitive)(sensitive)"), "{address}");
        assert!(address.ends_with(" … (shortened)"), "{address}");
        assert!(!address.contains("hunter2"), "{address}");
    }

    #[test]
    fn a_diagnostic_is_said_with_its_details() {
        let diagnostic = |severity: &str, summary: &str, detail: &str| {
            let diagnostic = json!({"severity": severity, "summary": summary, "detail": detail, "address": "a.b"});
            json!({"@level": "error", "@message": "Error: …", "type": "diagnostic", "diagnostic": diagnostic})
        };
        let failed = diagnostic("error", "It failed", "Because.\n\nSo.\n");
        let line = check(failed, Level::Error, "It failed: Because.\n\nSo.");
        assert_eq!(line.address.as_deref(), Some("a.b"));
        check(diagnostic("warning", "Old", ""), Level::Warn, "Old");
        check(diagnostic("error", "It", "is hunter2-hunter2"), Level::Error, "It: is (sensitive)");
    }

    #[test]
    fn a_secret_is_masked_in_every_part() {
        let heard = |said: &str| hook("provision_progress", &format!("a: (local-exec): {said}"), None);
        check(heard("hunter2-hunter2"), Level::Info, "a: (local-exec): (sensitive)");
        check(heard("aHVudGVyMi1odW50ZXIyOw=="), Level::Info, "a: (local-exec): (sensitive)Ow==");
        let line = said("panic: hunter2-hunter2").expect("a line");
        assert_eq!((line.level, line.message.as_str()), (Level::Debug, "panic: (sensitive)"));
    }

    #[test]
    fn what_tells_nobody_what_happens_is_for_who_looks_for_a_fault() {
        for event in [
            json!({"@level": "info", "@message": "m", "type": "version", "terraform": "1.11.4"}),
            json!({"@level": "info", "@message": "m", "type": "outputs", "outputs": {}}),
            json!({"@level": "info", "@message": "m", "type": "init_output"}),
            hook("refresh_complete", "m", None),
        ] {
            check(event, Level::Debug, "m");
        }
        assert_eq!(said("{}"), None);
        assert_eq!(said(" \n"), None);
    }
}
