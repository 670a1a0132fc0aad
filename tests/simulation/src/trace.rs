//! What happened, in lines that a person can read.

use std::fmt;

use conductor_engine::Record;

use crate::memory::{Memory, Written};

/// Digits that are left of an id: enough to tell those of a schedule apart.
const DIGITS: usize = 7;
/// The last lines of a trace that a failure shows.
const SHOWN: usize = 400;
/// Where a UUID has its dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// Characters of a UUID.
const UUID: usize = 36;

/// Something that must never be.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which invariant is violated.
    pub invariant: &'static str,
    /// By what.
    pub detail: String,
}

impl Violation {
    /// An invariant that does not hold, and why.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

/// A schedule that goes wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What runs it again, for a person.
    pub again: String,
    /// The seed; 0 in an exhaustive search.
    pub seed: u64,
    /// What does not hold.
    pub violation: Violation,
    /// What happened before.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = self.trace.len().saturating_sub(SHOWN);
        if left_out > 0 {
            writeln!(f, "({left_out} lines before are left out)")?;
        }
        for line in self.trace.iter().skip(left_out) {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "violated: {}", self.violation.invariant)?;
        writeln!(f, "{}", brief(&self.violation.detail))?;
        write!(f, "again: {}", self.again)
    }
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, byte)| match DASHES.contains(&index) {
        true => *byte == b'-',
        false => byte.is_ascii_hexdigit(),
    })
}

/// A text with the last digits in the place of each UUID.
pub fn brief(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut short = String::with_capacity(text.len());
    let mut rest = text.char_indices();
    while let Some((index, char)) = rest.next() {
        match bytes.get(index..index + UUID) {
            Some(uuid) if is_uuid(uuid) => {
                short.push_str(&text[index + UUID - DIGITS..index + UUID]);
                rest.nth(UUID - 2);
            }
            _ => short.push(char),
        }
    }
    short
}

/// What a commit did to a record.
pub fn told(memory: &Memory, written: &Written) -> String {
    let Some(there) = memory.get(&written.item) else { return format!("-{:?}", written.item) };
    let sign = if written.before.is_some() { "" } else { "+" };
    let what = match there.value {
        Record::Deployment(d) => {
            let cancel = d.cancel.map(|cancel| format!(" cancel {:?} {:?}", cancel.rollback, cancel.outcome));
            format!("Deployment {} {:?} {:?}{}", d.id, d.status, d.releases, cancel.unwrap_or_default())
        }
        Record::Operation(o) => {
            let waits = o.waiting_for.map(|what| format!(" for {what:?}")).unwrap_or_default();
            let ended = o.error.map(|error| format!(" {}", error.code)).unwrap_or_default();
            let epochs = format!("epoch {} attempt {}", o.epoch, o.attempts);
            format!("Operation {}#{} {} {:?}{waits}{ended} {epochs}", o.deployment, o.number, o.resource, o.status)
        }
        Record::Lease(l) => {
            let terraform = (l.terraform_started_at.is_some(), l.terraform_ended_at.is_some());
            format!("Lease {}#{} epoch {} {} {terraform:?} {:?}", l.deployment, l.operation, l.epoch, l.worker, l.begun)
        }
        Record::Resource(r) => {
            let by = r.reservation.map(|by| format!(" reserved by {}#{} epoch {}", by.deployment, by.number, by.epoch));
            let counts = format!("{} consumers {} waiters", r.consumers, r.waiters);
            let left = r.left_behind.map(|left| format!(" left behind {:?}", left.begun)).unwrap_or_default();
            format!("Resource {} {} {:?}{} {counts}{left}", r.name, r.id, r.status, by.unwrap_or_default())
        }
        Record::Lane(l) => format!("Lane {:?} current {:?}", l.key.of, l.current),
        Record::Audited(a) => format!("Audit {}", a.event.action),
        other => format!("{:?}", other.item()),
    };
    format!("{sign}{what}")
}
