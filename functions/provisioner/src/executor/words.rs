//! What people are told of a run: terraform's words, short and without secrets.

use conductor_domain::Code;
use conductor_domain::operation::{Diagnostic, Failure};
use conductor_engine::Job;
use conductor_terraform::events::{Diagnostic as Said, PlannedChange, Severity};
use conductor_terraform::mask::{Masker, secrets_in};
use conductor_terraform::run;

/// Diagnostics that a failure keeps, and the longest text of one: a record has 400 KB.
const MAX_DIAGNOSTICS: usize = 20;
const MAX_TEXT: usize = 4 * 1024;

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
            Diagnostic { summary: short(masked.summary), detail: short(masked.detail), address: masked.address }
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

/// A change that the plan would make and may not.
pub fn change(change: &PlannedChange, masker: &Masker) -> String {
    format!("{} ({})", masker.apply(&change.address), format!("{:?}", change.action).to_lowercase())
}

/// A text of terraform's that fits into a record: masked, and only then shortened.
pub fn shown(text: &str, masker: &Masker) -> String {
    short(masker.apply(text.trim()))
}

fn short(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" … (shortened)");
    }
    text
}
