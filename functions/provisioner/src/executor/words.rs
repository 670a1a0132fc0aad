//! What people are told of a run: terraform's words, short and without secrets.

use conductor_domain::Code;
use conductor_domain::operation::{Diagnostic, Failure};
use conductor_engine::Job;
use conductor_terraform::events::{Body, Diagnostic as Said, Event, PlannedChange, Severity};
use conductor_terraform::mask::{Masker, secrets_in};
use conductor_terraform::run;

/// Diagnostics that a failure keeps, and the longest text of one: a record has 400 KB.
const MAX_DIAGNOSTICS: usize = 20;
const MAX_TEXT: usize = 4 * 1024;
/// The longest address: keys of `for_each` may be of any length.
const MAX_ADDRESS: usize = 1024;
/// How a text ends that was longer.
const SHORTENED: &str = " … (shortened)";
/// What stands where terraform's words stood.
const WITHHELD: &str = "withheld: what is secret in the state is not known";

/// Masks what must not be shown of a job. The rest is learned on the way: credentials, and what the state has.
pub fn masker(job: &Job) -> Masker {
    Masker::new(job.sensitive.iter().filter_map(|name| job.inputs.get(name)).flat_map(secrets_in))
}

/// The first error, on one line.
pub fn first_error(diagnostics: &[Said], masker: &Masker) -> String {
    let first = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error);
    let text = first.map_or_else(
        || "terraform gave no reason".to_owned(),
        |diagnostic| format!("{} {}", diagnostic.summary, diagnostic.detail),
    );
    shown(&text, masker)
}

/// Terraform's own words in a failure.
pub fn failure(failure: &run::Failure, masker: &Masker) -> Failure {
    let errors = failure.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let diagnostics: Vec<Diagnostic> = errors
        .take(MAX_DIAGNOSTICS)
        .map(|diagnostic| {
            let masked = diagnostic.masked(masker);
            Diagnostic {
                summary: short(masked.summary, MAX_TEXT),
                detail: short(masked.detail, MAX_TEXT),
                address: masked.address.map(|address| short(address, MAX_ADDRESS)),
            }
        })
        .collect();
    let detail = match diagnostics.first() {
        Some(first) => first.summary.clone(),
        None if failure.killed => {
            "terraform was killed from outside, as by a system that is short of memory".to_owned()
        }
        None => shown(&failure.stderr, masker),
    };
    Failure { diagnostics, ..Failure::new(Code::TerraformFailed, detail) }
}

/// A failure without terraform's own words: they may quote what nobody knows to be secret. What they are about stays.
pub fn withheld(failure: &run::Failure) -> run::Failure {
    let diagnostics = failure.diagnostics.iter().map(unsaid).collect();
    run::Failure { diagnostics, stderr: WITHHELD.to_owned(), ..failure.clone() }
}

/// The same of an event.
pub fn withheld_event(event: &Event) -> Event {
    let mut event = Event { message: WITHHELD.to_owned(), ..event.clone() };
    if let Body::Diagnostic(diagnostic) = &mut event.body {
        *diagnostic = unsaid(diagnostic);
    }
    event
}

fn unsaid(diagnostic: &Said) -> Said {
    Said { summary: WITHHELD.to_owned(), detail: String::new(), ..diagnostic.clone() }
}

/// A change that the plan would make and may not.
pub fn change(change: &PlannedChange, masker: &Masker) -> String {
    format!("{} ({})", masker.apply(&change.address), format!("{:?}", change.action).to_lowercase())
}

/// A text of terraform's that fits into a record: masked, and only then shortened.
pub fn shown(text: &str, masker: &Masker) -> String {
    short(masker.apply(text.trim()), MAX_TEXT)
}

/// An address as a line has it: masked, and only then shortened.
pub fn address(address: &str, masker: &Masker) -> String {
    short(masker.apply(address), MAX_ADDRESS)
}

/// At most so many bytes of a text.
fn short(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest - SHORTENED.len()).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(end);
        text.push_str(SHORTENED);
    }
    text
}

#[cfg(test)]
mod tests {
    use conductor_terraform::run::Action;
    use serde_json::json;

    use super::*;

    fn failed(diagnostics: Vec<Said>, stderr: &str, killed: bool) -> run::Failure {
        run::Failure {
            during: Action::Create,
            diagnostics,
            in_flight: Vec::new(),
            stderr: stderr.to_owned(),
            killed,
            lock_left: false,
            errored_state: None,
        }
    }

    fn error(summary: &str, detail: &str, address: Option<&str>) -> Said {
        Said {
            severity: Severity::Error,
            summary: summary.to_owned(),
            detail: detail.to_owned(),
            address: address.map(str::to_owned),
            range: None,
        }
    }

    #[test]
    fn a_failure_has_terraforms_words_without_what_is_secret() {
        let said = failed(vec![error("It failed", "with hunter2", Some("a.b[\"hunter2\"]"))], "", false);
        let told = failure(&said, &Masker::new(["hunter2"]));
        let detail = "with (sensitive)".to_owned();
        let address = Some("a.b[\"(sensitive)\"]".to_owned());
        assert_eq!(told.detail, "It failed");
        assert_eq!(told.diagnostics, [Diagnostic { summary: "It failed".to_owned(), detail, address }]);
    }

    #[test]
    fn a_withheld_failure_has_no_word_of_terraforms_and_says_what_it_is_about() {
        let masker = Masker::new(["known-secret"]);
        let address = Some("a.b[\"known-secret\"]");
        let said = failed(vec![error("made up: fresh", "again: fresh", address)], "panic: fresh", false);
        let told = failure(&withheld(&said), &masker);
        let diagnostic = Diagnostic {
            summary: WITHHELD.to_owned(),
            detail: String::new(),
            address: Some("a.b[\"(sensitive)\"]".to_owned()),
        };
        assert_eq!(told, Failure { diagnostics: vec![diagnostic], ..Failure::new(Code::TerraformFailed, WITHHELD) });
    }

    #[test]
    fn of_a_withheld_failure_without_diagnostics_the_error_output_is_not_shown_either() {
        let detail =
            |killed: bool| failure(&withheld(&failed(Vec::new(), "panic: fresh", killed)), &Masker::default()).detail;
        assert_eq!(detail(false), WITHHELD);
        assert!(detail(true).starts_with("terraform was killed from outside"));
    }

    #[test]
    fn a_withheld_event_has_no_word_of_terraforms_and_the_same_time_and_severity() {
        let diagnostic = json!({"severity": "error", "summary": "s: fresh", "detail": "d: fresh", "address": "a.b"});
        let event = json!({"@level": "error", "@message": "Error: fresh", "@timestamp": "2026-11-22T12:27:50.342251Z",
                           "type": "diagnostic", "diagnostic": diagnostic});
        let event = Event::parse(event.to_string().as_bytes());
        let told = withheld_event(&event);
        assert_eq!(told.body, Body::Diagnostic(error(WITHHELD, "", Some("a.b"))));
        assert_eq!((told.message.as_str(), &told.level, &told.at), (WITHHELD, &event.level, &event.at));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters_and_says_so() {
        let check = |text: String, longest: usize, expect: &str| assert_eq!(short(text, longest), expect);
        check("a".repeat(20), 20, &"a".repeat(20));
        check("a".repeat(21), 20, "aaaa … (shortened)");
        check("ü".repeat(11), 21, "üü … (shortened)");
    }

    #[test]
    fn an_address_in_a_failure_is_shortened() {
        let key = "k".repeat(2 * MAX_ADDRESS);
        let told = failure(&failed(vec![error("s", "", Some(&key))], "", false), &Masker::default());
        let address = told.diagnostics.first().and_then(|diagnostic| diagnostic.address.as_ref()).expect("an address");
        assert_eq!(address.len(), MAX_ADDRESS);
    }
}
