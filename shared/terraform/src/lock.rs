//! The state's lock, as terraform's own words and its lock object on S3 tell of it. Pure.
//!
//! The words are those of terraform 1.11.4 (S3, HTTP and local backend tried; azurerm and remote by their source).

use serde::Deserialize;

use crate::events::{Diagnostic, Severity};
use crate::process::{Control, Exit, Status};

/// How terraform begins to say that it did not get the lock.
pub(crate) const NOT_ACQUIRED: &str = "Error acquiring the state lock";

/// How terraform begins to say that it did not get rid of the lock.
const NOT_RELEASED: &str = "Error releasing the state lock";

/// A lock object of the S3 backend, `<key>.tflock`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lock {
    /// Made up by whoever took it.
    #[serde(rename = "ID")]
    pub id: String,
    /// When it was taken (RFC 3339), by the clock of whoever took it.
    #[serde(rename = "Created", default)]
    pub created: String,
    /// Who took it, as `user@host`.
    #[serde(rename = "Who", default)]
    pub who: String,
}

/// Reads a lock object; `None` where it is none.
pub fn parse(content: &[u8]) -> Option<Lock> {
    serde_json::from_slice(content).ok()
}

/// The id for `force-unlock`, where terraform did not get the lock because somebody has it.
pub fn in_the_way(diagnostics: &[Diagnostic], stderr: &str) -> Option<String> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let details = errors.filter(|error| error.summary.starts_with(NOT_ACQUIRED)).map(|error| error.detail.as_str());
    details.chain(stderr.contains(NOT_ACQUIRED).then_some(stderr)).find_map(id)
}

/// Whether terraform says that it did not get the lock. Perhaps it has it: the answer may have been lost.
pub fn is_not_acquired(diagnostics: &[Diagnostic], stderr: &str) -> bool {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|error| &error.summary).any(|summary| summary.starts_with(NOT_ACQUIRED)) || stderr.contains(NOT_ACQUIRED)
}

/// Whether a command that has ended may have left its lock: it was killed, or it says so.
pub fn is_left(exit: &Exit) -> bool {
    let said = |diagnostic: &Diagnostic| diagnostic.summary.starts_with(NOT_RELEASED);
    was_killed(exit) || exit.summary.diagnostics.iter().any(said) || exit.stderr.contains(NOT_RELEASED)
}

/// Whether a command did not end by itself.
pub(crate) fn was_killed(exit: &Exit) -> bool {
    exit.stopped == Control::Kill || matches!(exit.status, Status::Signalled(_))
}

/// The HTTP backend lists as `Lock Info` what it asked for itself, and the remote one has ids of its own: both name the
/// right id in the error's message.
fn id(text: &str) -> Option<String> {
    let after = |words: &str| text.split_once(words).map(|(_, rest)| rest);
    let http = after("already locked: ID=").and_then(|rest| rest.split_whitespace().next());
    let remote = after("(lock ID: \"").and_then(|rest| rest.split('"').next());
    let listed = text.lines().find_map(|line| line.trim_start_matches(['│', ' ']).strip_prefix("ID:")).map(str::trim);
    // An id that begins like an option would be one.
    let found = http.or(remote).or(listed).filter(|id| !id.is_empty() && !id.starts_with('-'));
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::RunSummary;
    use crate::process::Output;

    fn error(severity: Severity, summary: &str, detail: &str) -> Diagnostic {
        Diagnostic { severity, summary: summary.to_owned(), detail: detail.to_owned(), address: None, range: None }
    }

    const LISTED: &str = "Lock Info:\n  ID:        e159f58d-0d56\n  Path:      b/k\n  Operation: OperationTypeApply\n";

    #[test]
    fn the_id_of_the_lock_is_found() {
        let check = |detail: &str, expect: Option<&str>| {
            let diagnostics = [error(Severity::Error, NOT_ACQUIRED, detail)];
            assert_eq!(in_the_way(&diagnostics, "").as_deref(), expect, "{detail}");
            let stderr = format!("Acquiring state lock…\n\nError: {NOT_ACQUIRED}\n\n{detail}\n");
            assert_eq!(in_the_way(&[], &stderr).as_deref(), expect, "{stderr}");
        };
        check(&format!("Error message: StatusCode: 412, PreconditionFailed\n{LISTED}"), Some("e159f58d-0d56"));
        check(&format!("Error message: resource temporarily unavailable\n{LISTED}"), Some("e159f58d-0d56"));
        check(
            &format!("Error message: HTTP remote state already locked: ID=somebody-else\n{LISTED}"),
            Some("somebody-else"),
        );
        check(
            &format!("Error message: workspace already locked (lock ID: \"acme/conductor-r\")\n{LISTED}"),
            Some("acme/conductor-r"),
        );
        check("Error message: StatusCode: 403, AccessDenied", None);
        check("Error message: HTTP remote state already locked: ID=-force", None);
    }

    #[test]
    fn only_an_error_about_the_lock_names_one() {
        assert_eq!(in_the_way(&[error(Severity::Warning, NOT_ACQUIRED, LISTED)], ""), None);
        assert_eq!(in_the_way(&[error(Severity::Error, "Invalid value", LISTED)], ""), None);
        assert_eq!(in_the_way(&[], LISTED), None);
    }

    #[test]
    fn a_lock_object_is_read() {
        let content =
            br#"{"ID":"e159f58d","Operation":"OperationTypeApply","Info":"","Who":"root@vm","Version":"1.11.4",
                           "Created":"2026-11-22T08:45:06.308848355Z","Path":"b/k"}"#;
        let expect = Lock {
            id: "e159f58d".to_owned(),
            created: "2026-11-22T08:45:06.308848355Z".to_owned(),
            who: "root@vm".to_owned(),
        };
        assert_eq!(parse(content), Some(expect));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"{}"), None);
    }

    #[test]
    fn a_lock_is_left_by_who_was_killed_or_says_so() {
        let check = |status: Status, stopped: Control, said: &str, expect: bool| {
            let mut summary = RunSummary::default();
            summary.diagnostics.extend((!said.is_empty()).then(|| error(Severity::Error, said, "")));
            let exit = Exit { status, summary, stderr: String::new(), stdout: Output::default(), stopped };
            assert_eq!(is_left(&exit), expect, "{exit:?}");
        };
        check(Status::Succeeded, Control::Run, "", false);
        check(Status::Failed(1), Control::Run, NOT_ACQUIRED, false);
        check(Status::Failed(1), Control::Terminate, "execution halted", false);
        check(Status::Failed(1), Control::Run, NOT_RELEASED, true);
        check(Status::Signalled(9), Control::Run, "", true);
        check(Status::Signalled(9), Control::Kill, "", true);
    }
}
