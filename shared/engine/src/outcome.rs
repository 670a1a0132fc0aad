//! Outcomes: what a commit has brought about, told in one line each, from which metrics are taken (`shared/telemetry`).
//! A record before and after its change says it all; nothing is read here, and nothing decided. What no record shows is
//! told where it happens.

use conductor_domain::Code;
use conductor_domain::deployment::{Deployment, DeploymentKind, DeploymentStatus};
use conductor_domain::ids::DeploymentId;
use conductor_domain::operation::{Effect, Operation, OperationStatus};
use jiff::{SignedDuration, Timestamp};

/// What a commit has brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The operations of a deployment are planned.
    Started {
        /// Which.
        deployment: DeploymentId,
        /// Since it was recorded.
        waited: SignedDuration,
    },
    /// A deployment has ended.
    Ended {
        /// Which.
        deployment: DeploymentId,
        /// What it was for.
        kind: DeploymentKind,
        /// How it ended.
        status: DeploymentStatus,
        /// Why it did not succeed.
        code: Option<Code>,
        /// Since it was recorded.
        total: SignedDuration,
        /// Since it was started, if it was.
        run: Option<SignedDuration>,
    },
    /// An operation has ended.
    Done {
        /// Which.
        of: Which,
        /// How it ended.
        status: OperationStatus,
        /// What it did, if it succeeded.
        effect: Option<Effect>,
        /// Why it did not.
        code: Option<Code>,
        /// Claims that ran terraform.
        attempts: u32,
        /// Since it was first claimed, if it was.
        run: Option<SignedDuration>,
    },
    /// An operation is tried again, after a failure that passes.
    Retried {
        /// Which.
        of: Which,
        /// What failed.
        code: Option<Code>,
        /// Claims that ran terraform.
        attempts: u32,
        /// Until the next.
        wait: SignedDuration,
    },
}

/// An operation, in its newest claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation's number.
    pub operation: u32,
    /// The claim; 0 where there was none.
    pub epoch: u64,
}

/// What the change of an operation has brought about.
pub(crate) fn of_operation(before: &Operation, after: &Operation, now: Timestamp) -> Vec<Outcome> {
    if before.status == after.status {
        return Vec::new();
    }
    let of = Which { deployment: after.deployment, operation: after.number, epoch: after.epoch };
    let code = after.error.as_ref().map(|error| error.code);
    let attempts = after.attempts;
    match (before.status, after.status, after.not_before) {
        (_, status, _) if status.is_final() => {
            let run = after.started_at.map(|at| now.duration_since(at));
            vec![Outcome::Done { of, status, effect: after.effect, code, attempts, run }]
        }
        (OperationStatus::Running, OperationStatus::Ready, Some(at)) => {
            vec![Outcome::Retried { of, code, attempts, wait: at.duration_since(now) }]
        }
        _ => Vec::new(),
    }
}

/// What the change of a deployment has brought about.
pub(crate) fn of_deployment(before: &Deployment, after: &Deployment, now: Timestamp) -> Vec<Outcome> {
    if before.status == after.status {
        return Vec::new();
    }
    let (deployment, kind, status) = (after.id, after.kind, after.status);
    let total = now.duration_since(after.created_at);
    match status {
        DeploymentStatus::Pending => Vec::new(),
        DeploymentStatus::InProgress => vec![Outcome::Started { deployment, waited: total }],
        DeploymentStatus::Succeeded
        | DeploymentStatus::Failed
        | DeploymentStatus::Cancelled
        | DeploymentStatus::TimedOut => {
            let code = after.error.as_ref().map(|error| error.code);
            let run = after.started_at.map(|at| now.duration_since(at));
            vec![Outcome::Ended { deployment, kind, status, code, total, run }]
        }
    }
}

impl Outcome {
    /// Writes its line. To be called once the commit has happened.
    pub(crate) fn emit(&self) {
        match *self {
            Self::Started { deployment, waited } => {
                tracing::info!(outcome = "start", %deployment, waitedMs = ms(waited), "a deployment has started");
            }
            Self::Ended { deployment, kind, status, code, total, run } => {
                let failed = matches!(status, DeploymentStatus::Failed | DeploymentStatus::TimedOut);
                tracing::info!(
                    outcome = "deployment",
                    %deployment,
                    ?kind,
                    ?status,
                    code = code.map(Code::as_str),
                    failed = u64::from(failed),
                    totalMs = ms(total),
                    runMs = run.map(ms),
                    "a deployment has ended"
                );
            }
            Self::Done { of: Which { deployment, operation, epoch }, status, effect, code, attempts, run } => {
                tracing::info!(
                    outcome = "operation",
                    %deployment,
                    operation,
                    epoch,
                    ?status,
                    effect = effect.map(name),
                    code = code.map(Code::as_str),
                    attempts,
                    runMs = run.map(ms),
                    "an operation has ended"
                );
            }
            Self::Retried { of: Which { deployment, operation, epoch }, code, attempts, wait } => {
                tracing::info!(
                    outcome = "retry",
                    %deployment,
                    operation,
                    epoch,
                    code = code.map(Code::as_str),
                    attempts,
                    waitMs = ms(wait),
                    "an operation is tried again"
                );
            }
        }
    }
}

fn ms(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(0)
}

/// As it stands in the API.
fn name(effect: Effect) -> &'static str {
    match effect {
        Effect::Created => "created",
        Effect::Linked => "linked",
        Effect::Updated => "updated",
        Effect::Unchanged => "unchanged",
        Effect::Released => "released",
        Effect::Destroyed => "destroyed",
        Effect::Retained => "retained",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use conductor_domain::operation::{Failure, WaitingFor};
    use serde_json::json;

    use super::*;
    use crate::settle::tests::waiting;

    const NOW: Timestamp = Timestamp::constant(1000, 0);

    fn after(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    /// A deployment that was recorded a minute ago, when it is 1000 seconds past 1970.
    pub(crate) fn pending() -> Deployment {
        serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000001", "kind": "apply", "status": "Pending",
            "enteredAt": NOW - after(60), "createdAt": NOW - after(60), "number": 1,
            "lane": {"environment": "prod", "of": {"application": "orders"}},
            "options": {"prune": true, "refresh": false, "upgrade": false, "allowReplace": []},
            "requestedBy": "dev", "requestId": "r-1", "operations": 0, "acquires": 0, "releases": "undecided",
        }))
        .expect("it is a deployment")
    }

    #[test]
    fn an_operation_is_told_of_when_it_ends_and_when_it_is_tried_again() {
        use OperationStatus as S;
        let of = |operation: &Operation| Which { deployment: operation.deployment, operation: 9, epoch: 2 };
        let operation = |status: S| Operation {
            status,
            epoch: 2,
            attempts: 1,
            waiting_for: None,
            started_at: Some(NOW - after(30)),
            ..waiting(&[], false)
        };
        let check = |before: S, after: &Operation, expect: Option<Outcome>| {
            assert_eq!(
                of_operation(&operation(before), after, NOW),
                Vec::from_iter(expect),
                "{before:?} to {:?}",
                after.status
            );
        };
        let failure = Some(Failure::new(Code::TerraformFailed, "no"));
        let done = |operation: &Operation, effect: Option<Effect>, code: Option<Code>| Outcome::Done {
            of: of(operation),
            status: operation.status,
            effect,
            code,
            attempts: 1,
            run: operation.started_at.map(|_| after(30)),
        };

        let succeeded = Operation { effect: Some(Effect::Created), ..operation(S::Succeeded) };
        check(S::Running, &succeeded, Some(done(&succeeded, Some(Effect::Created), None)));
        check(S::Succeeded, &Operation { settled: true, ..succeeded.clone() }, None);
        let failed = Operation { error: failure.clone(), ..operation(S::Failed) };
        check(S::Running, &failed, Some(done(&failed, None, Some(Code::TerraformFailed))));
        // Never claimed.
        let skipped = Operation { started_at: None, ..operation(S::Skipped) };
        check(S::Waiting, &skipped, Some(done(&skipped, None, None)));

        let hindered = Operation { error: failure.clone(), not_before: Some(NOW + after(12)), ..operation(S::Ready) };
        let code = Some(Code::TerraformFailed);
        check(S::Running, &hindered, Some(Outcome::Retried { of: of(&hindered), code, attempts: 1, wait: after(12) }));
        // Given back for another reason: of that its worker tells, or the sweeper.
        check(S::Running, &Operation { error: failure, ..operation(S::Ready) }, None);
        let left = Operation { waiting_for: Some(WaitingFor::Lock), not_before: Some(NOW), ..operation(S::Waiting) };
        check(S::Running, &left, None);
        check(S::Waiting, &operation(S::Ready), None);
        check(S::Ready, &operation(S::Running), None);
    }

    #[test]
    fn a_deployment_is_told_of_when_it_starts_and_when_it_ends() {
        use DeploymentStatus as S;
        let pending = pending();
        let (deployment, kind) = (pending.id, DeploymentKind::Apply);
        let running = Deployment { status: S::InProgress, started_at: Some(NOW - after(45)), ..pending.clone() };
        let check = |before: &Deployment, after: &Deployment, expect: Option<Outcome>| {
            assert_eq!(of_deployment(before, after, NOW), Vec::from_iter(expect), "{:?}", after.status);
        };
        check(&pending, &Deployment { operations: 3, ..pending.clone() }, None);
        check(&pending, &running, Some(Outcome::Started { deployment, waited: after(60) }));
        check(&running, &Deployment { operations: 4, ..running.clone() }, None);

        let (total, run) = (after(60), Some(after(45)));
        let succeeded = Deployment { status: S::Succeeded, ..running.clone() };
        let ended = |status, code, run| Outcome::Ended { deployment, kind, status, code, total, run };
        check(&running, &succeeded, Some(ended(S::Succeeded, None, run)));
        check(&succeeded, &Deployment { log: Some(Default::default()), ..succeeded.clone() }, None);
        let error = Some(Failure::new(Code::WouldReplace, "no"));
        check(
            &running,
            &Deployment { status: S::Failed, error, ..running.clone() },
            Some(ended(S::Failed, Some(Code::WouldReplace), run)),
        );
        check(&pending, &Deployment { status: S::Cancelled, ..pending.clone() }, Some(ended(S::Cancelled, None, None)));
    }

    #[test]
    fn an_effect_has_the_name_that_it_has_in_the_api() {
        use Effect as E;
        for effect in [E::Created, E::Linked, E::Updated, E::Unchanged, E::Released, E::Destroyed, E::Retained] {
            assert_eq!(json!(effect), name(effect));
        }
    }
}
