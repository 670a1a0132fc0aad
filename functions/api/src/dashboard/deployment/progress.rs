//! How far a deployment is, and how long it may still take. Pure.

use std::collections::BTreeMap;

use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::operation::{Action, Operation, OperationStatus};
use jiff::Timestamp;
use maud::{Markup, html};

use crate::dashboard::page::seconds;

/// How many operations have ended, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dashboard) struct Progress {
    pub done: u32,
    pub all: u32,
}

impl Progress {
    /// By the counts that a deployment keeps, which are those of its start until it has ended.
    pub(in crate::dashboard) fn of_counts(counts: &BTreeMap<OperationStatus, u32>) -> Self {
        let done = counts.iter().filter(|(status, _)| status.is_final()).map(|(_, count)| count).sum();
        Self { done, all: counts.values().sum() }
    }

    /// By the operations themselves.
    pub(super) fn of(operations: &[Operation]) -> Self {
        let done = operations.iter().filter(|operation| operation.status.is_final()).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self { done: number(done), all: number(operations.len()) }
    }

    /// As a bar; nothing where there are no operations.
    pub(in crate::dashboard) fn bar(self) -> Markup {
        html! {
            @if self.all > 0 {
                progress max=(self.all) value=(self.done) aria-label="Operations that have ended" {}
            }
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.done, self.all)
    }
}

/// For how long a deployment has been under way, in seconds: from its start, or while it waits, since it was asked for.
pub(in crate::dashboard) fn elapsed(deployment: &Deployment, now: Timestamp) -> i64 {
    let since = deployment.started_at.unwrap_or(deployment.created_at);
    deployment.completed_at.unwrap_or(now).duration_since(since).as_secs().max(0)
}

/// The time that a deployment has been under way; a script lets it go on while it runs.
pub(in crate::dashboard) fn running_time(deployment: &Deployment, now: Timestamp) -> Markup {
    let since = deployment.started_at.unwrap_or(deployment.created_at);
    let runs = !deployment.status.is_final();
    html! { span.time data-since=[runs.then_some(since)] { (seconds(elapsed(deployment, now))) } }
}

/// How long a deployment may still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    seconds: i64,
    /// Something is to be done of which nobody knows how long it takes.
    at_least: bool,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.at_least { "at least" } else { "about" };
        write!(f, "{how} {} left", seconds(rounded(self.seconds)))
    }
}

/// No more exact than it can be.
fn rounded(seconds: i64) -> i64 {
    let step = match seconds {
        ..60 => 5,
        60..600 => 15,
        _ => 60,
    };
    (seconds + step - 1) / step * step
}

/// The longest way through what has not ended, by how long each operation should take; none where that is known of none.
pub(super) fn estimate(
    status: DeploymentStatus,
    operations: &[Operation],
    expected: &BTreeMap<u32, u32>,
    now: Timestamp,
) -> Option<Estimate> {
    let open: Vec<&Operation> = operations.iter().filter(|operation| !operation.status.is_final()).collect();
    if status.is_final() || !open.iter().any(|operation| expected.contains_key(&operation.number)) {
        return None;
    }
    let mut ends: BTreeMap<u32, i64> = BTreeMap::new();
    // Each pass carries times one operation further; as a rule those that wait stand after the others, and two will do.
    for _ in 0..=open.len() {
        let before = ends.clone();
        for operation in &open {
            let acquires = open.iter().filter(|other| operation.after_acquires && other.action() == Action::Acquire);
            let waits_for = operation.depends_on.iter().copied().chain(acquires.map(|other| other.number));
            let start = waits_for.filter(|number| *number != operation.number).filter_map(|number| ends.get(&number));
            let end = start.max().copied().unwrap_or(0) + remaining(operation, expected, now);
            ends.insert(operation.number, end);
        }
        if ends == before {
            break;
        }
    }
    let seconds = ends.values().copied().max().unwrap_or(0);
    Some(Estimate { seconds, at_least: open.iter().any(|operation| !expected.contains_key(&operation.number)) })
}

/// How long an operation should still take: at least a moment, also where it has taken longer than it should.
fn remaining(operation: &Operation, expected: &BTreeMap<u32, u32>, now: Timestamp) -> i64 {
    let Some(expected) = expected.get(&operation.number) else { return 0 };
    let ran = operation.claimed_at().map_or(0, |since| now.duration_since(since).as_secs().max(0));
    (i64::from(*expected) - ran).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{now, operation};
    use super::*;

    #[test]
    fn the_estimate_is_the_longest_way_through_what_has_not_ended() {
        let operations = |statuses: &[(&str, &[u32])]| -> Vec<Operation> {
            (1..).zip(statuses).map(|(number, (status, before))| operation(number, status, before)).collect()
        };
        let check = |statuses: &[(&str, &[u32])], expected: &[(u32, u32)], expect: Option<(i64, bool)>| {
            let expected: BTreeMap<u32, u32> = expected.iter().copied().collect();
            let found = estimate(DeploymentStatus::InProgress, &operations(statuses), &expected, now());
            assert_eq!(found.map(|found| (found.seconds, found.at_least)), expect, "{statuses:?} {expected:?}");
        };
        check(&[], &[], None);
        check(&[("Ready", &[])], &[], None);
        check(&[("Succeeded", &[])], &[(1, 10)], None);
        check(&[("Ready", &[])], &[(1, 10)], Some((10, false)));
        // Side by side, and one after the other.
        check(&[("Ready", &[]), ("Ready", &[])], &[(1, 10), (2, 30)], Some((30, false)));
        check(&[("Ready", &[]), ("Waiting", &[1])], &[(1, 10), (2, 30)], Some((40, false)));
        // Also where what comes first has the greater number.
        check(&[("Waiting", &[3]), ("Waiting", &[1]), ("Ready", &[])], &[(1, 1), (2, 2), (3, 4)], Some((7, false)));
        // What runs has been running for 30 seconds.
        check(&[("Running", &[])], &[(1, 40)], Some((10, false)));
        check(&[("Running", &[])], &[(1, 20)], Some((1, false)));
        check(&[("Succeeded", &[]), ("Waiting", &[1])], &[(1, 100), (2, 30)], Some((30, false)));
        // Of the second nothing is known.
        check(&[("Ready", &[]), ("Waiting", &[1])], &[(1, 10)], Some((10, true)));
        // A circle, which there cannot be, ends.
        check(&[("Waiting", &[2]), ("Waiting", &[1])], &[(1, 1), (2, 1)], Some((6, false)));
    }

    #[test]
    fn a_release_comes_after_all_acquires() {
        let mut operations = vec![operation(1, "Ready", &[]), operation(2, "Waiting", &[])];
        operations[1].after_acquires = true;
        let expected = BTreeMap::from([(1, 50), (2, 10)]);
        let found = estimate(DeploymentStatus::InProgress, &operations, &expected, now());
        assert_eq!(found, Some(Estimate { seconds: 60, at_least: false }));
        assert_eq!(estimate(DeploymentStatus::Cancelled, &operations, &expected, now()), None);
    }

    #[test]
    fn an_estimate_is_told_no_more_exactly_than_it_is_known() {
        let check = |seconds: i64, at_least: bool, expect: &str| {
            assert_eq!(Estimate { seconds, at_least }.to_string(), expect);
        };
        check(1, false, "about 5 s left");
        check(58, false, "about 1 min left");
        check(61, true, "at least 1 min 15 s left");
        check(601, false, "about 11 min left");
    }

    #[test]
    fn progress_counts_what_has_ended() {
        let counts = BTreeMap::from([
            (OperationStatus::Succeeded, 3),
            (OperationStatus::Skipped, 1),
            (OperationStatus::Running, 2),
        ]);
        assert_eq!(Progress::of_counts(&counts), Progress { done: 4, all: 6 });
        let operations = [operation(1, "Failed", &[]), operation(2, "Ready", &[])];
        assert_eq!(Progress::of(&operations).to_string(), "1 of 2");
        assert_eq!(Progress::of(&[]).bar().into_string(), "");
    }
}
