//! One attempt: which commands run, in which order, and what their end means. It never repeats an attempt and never
//! runs `init` by itself: a caller sees [`Failure::needs_init`], runs [`crate::prepared::init`], and tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;

use crate::command::{Apply, Command, Plan};
use crate::events::{Action as Change, Changes, Diagnostic, Event, InFlight, PlannedChange, Severity};
use crate::lock;
use crate::process::{Control, Exit, ProcessError, Status, Terraform};

/// The stored plan of an update, in the work folder. Holds secrets, as the folder does.
const PLAN: &str = "update.tfplan";

/// Where terraform leaves a state that it could not store.
const ERRORED_STATE: &str = "errored.tfstate";

/// What to do, where.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// How to run terraform.
    pub terraform: &'a Terraform,
    /// The work folder, with the project's files and either prepared or initialised.
    pub work: &'a Path,
    /// What to do.
    pub action: Action,
    /// What an update must leave alone.
    pub rule: UpdateRule,
    /// How long to wait for the state's lock.
    pub lock_timeout: Duration,
}

/// What an attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// There is no state: apply.
    Create,
    /// There is a state: plan, look at the plan, apply that plan.
    Update,
    /// Destroy everything.
    Destroy,
}

/// Which resources an update must neither replace nor destroy. By default: all that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateRule {
    /// Addresses that are protected; `None`: every one. What an attempt before made and left tainted is its own to remake,
    /// so the caller gives what was in the state when its operation began.
    pub protected: Option<BTreeSet<String>>,
    /// Addresses that may be replaced or destroyed all the same.
    pub allowed: BTreeSet<String>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// Done.
    Applied(Applied),
    /// The plan breaks the rule. Nothing was changed.
    WouldReplace {
        /// What breaks it.
        changes: Vec<PlannedChange>,
    },
    /// Terraform failed.
    Failed(Failure),
    /// Stopped from outside; what terraform had done is stored, unless it was killed.
    Interrupted(Interruption),
}

/// An attempt that is done. [`fmt::Debug`] does not show outputs.
pub struct Applied {
    /// Outputs that are not sensitive; `None` where nothing was to be changed, so terraform named none: they are in the
    /// state, as the sensitive ones always are.
    pub outputs: Option<BTreeMap<String, Value>>,
    /// Counts of what was done.
    pub changes: Changes,
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applied").field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it was about to do.
    pub during: Action,
    /// Terraform's errors and warnings. May hold secrets: mask them.
    pub diagnostics: Vec<Diagnostic>,
    /// What it could not finish.
    pub in_flight: Vec<InFlight>,
    /// The end of its error output. May hold secrets: mask it.
    pub stderr: String,
    /// Whether a signal ended it (the kernel's, where memory is short): up to 20 s of state are lost.
    pub killed: bool,
    /// Whether its lock may still be there.
    pub lock_left: bool,
    /// A state that could not be stored: keep it, and push it before the next attempt.
    pub errored_state: Option<PathBuf>,
}

/// An attempt that was stopped from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruption {
    /// What was begun and not finished: a create of these is left tainted.
    pub in_flight: Vec<InFlight>,
    /// How many other resources it had finished with.
    pub finished: u32,
    /// Whether it was killed: up to 20 s of state are lost.
    pub killed: bool,
    /// Whether its lock may still be there.
    pub lock_left: bool,
    /// A state that could not be stored: keep it, and push it before the next attempt.
    pub errored_state: Option<PathBuf>,
}

/// Why an attempt has no outcome.
#[derive(Debug, Error)]
pub enum RunError {
    /// Terraform could not be run, or did not end.
    #[error("terraform could not be run")]
    Process(#[from] ProcessError),
}

/// Runs one attempt to its end.
pub async fn run(
    request: RunRequest<'_>,
    mut control: watch::Receiver<Control>,
    mut on_event: impl FnMut(&Event),
) -> Result<Outcome, RunError> {
    let attempt = Attempt { request };
    match attempt.request.action {
        Action::Create => attempt.apply(attempt.fresh(false), &mut control, &mut on_event).await,
        Action::Destroy => attempt.apply(attempt.fresh(true), &mut control, &mut on_event).await,
        Action::Update => attempt.update(&mut control, &mut on_event).await,
    }
}

/// The state that terraform left in a work folder because it could not store it.
pub fn errored_state(work: &Path) -> Option<PathBuf> {
    let file = work.join(ERRORED_STATE);
    file.is_file().then_some(file)
}

struct Attempt<'a> {
    request: RunRequest<'a>,
}

impl Attempt<'_> {
    async fn update(
        &self,
        control: &mut watch::Receiver<Control>,
        on_event: &mut impl FnMut(&Event),
    ) -> Result<Outcome, RunError> {
        let plan = Plan { out: Some(PLAN.into()), lock_timeout: self.request.lock_timeout, ..Plan::default() };
        let Some(exit) = self.step(&Command::Plan(plan), control, on_event).await? else {
            return Ok(self.not_started(control));
        };
        match exit.status {
            Status::Succeeded => return Ok(Outcome::Applied(Applied { outputs: None, changes: Changes::default() })),
            Status::Changes => {}
            Status::Failed(_) | Status::Signalled(_) => return Ok(self.unsuccessful(exit)),
        }
        let changes = self.request.rule.broken_by(&exit.summary.planned);
        if !changes.is_empty() {
            return Ok(Outcome::WouldReplace { changes });
        }
        let stored = Apply { plan: Some(PLAN.into()), lock_timeout: self.request.lock_timeout, ..Apply::default() };
        self.apply(stored, control, on_event).await
    }

    async fn apply(
        &self,
        apply: Apply,
        control: &mut watch::Receiver<Control>,
        on_event: &mut impl FnMut(&Event),
    ) -> Result<Outcome, RunError> {
        let Some(exit) = self.step(&Command::Apply(apply), control, on_event).await? else {
            return Ok(self.not_started(control));
        };
        if exit.status != Status::Succeeded {
            return Ok(self.unsuccessful(exit));
        }
        let outputs = exit.summary.outputs.unwrap_or_default();
        let outputs = outputs
            .into_iter()
            .filter(|(_, output)| !output.sensitive)
            .filter_map(|(name, output)| Some((name, output.value?)))
            .collect();
        Ok(Outcome::Applied(Applied { outputs: Some(outputs), changes: exit.summary.changes.unwrap_or_default() }))
    }

    /// Runs one command, unless it was told to stop before.
    async fn step(
        &self,
        command: &Command,
        control: &mut watch::Receiver<Control>,
        on_event: &mut impl FnMut(&Event),
    ) -> Result<Option<Exit>, RunError> {
        let told = *control.borrow();
        if told != Control::Run {
            return Ok(None);
        }
        Ok(Some(self.request.terraform.run(command, self.request.work, control, on_event).await?))
    }

    fn fresh(&self, destroy: bool) -> Apply {
        Apply { destroy, lock_timeout: self.request.lock_timeout, ..Apply::default() }
    }

    fn not_started(&self, control: &watch::Receiver<Control>) -> Outcome {
        tracing::debug!(told = ?*control.borrow(), "stopped before the next command");
        Outcome::Interrupted(Interruption {
            in_flight: Vec::new(),
            finished: 0,
            killed: false,
            lock_left: false,
            errored_state: None,
        })
    }

    fn unsuccessful(&self, exit: Exit) -> Outcome {
        let errored_state = errored_state(self.request.work);
        let in_flight = exit.summary.in_flight();
        let (killed, lock_left) = (lock::was_killed(&exit), lock::is_left(&exit));
        if exit.stopped != Control::Run {
            let finished = exit.summary.finished();
            return Outcome::Interrupted(Interruption { in_flight, finished, killed, lock_left, errored_state });
        }
        Outcome::Failed(Failure {
            during: self.request.action,
            diagnostics: exit.summary.diagnostics,
            in_flight,
            stderr: exit.stderr,
            killed,
            lock_left,
            errored_state,
        })
    }
}

impl UpdateRule {
    /// The changes of a plan that this rule forbids.
    pub fn broken_by(&self, planned: &[PlannedChange]) -> Vec<PlannedChange> {
        let forbidden = |change: &&PlannedChange| {
            let address = change.previous_address.as_ref().unwrap_or(&change.address);
            let protected = self.protected.as_ref().is_none_or(|protected| protected.contains(address));
            let allowed = self.allowed.contains(&change.address) || self.allowed.contains(address);
            matches!(change.action, Change::Replace | Change::Delete) && protected && !allowed
        };
        planned.iter().filter(forbidden).cloned().collect()
    }
}

impl Failure {
    /// Whether terraform only asked for `init`: nothing was tried.
    pub fn needs_init(&self) -> bool {
        needs_init(&self.diagnostics)
    }
}

/// How terraform 1.11 begins the summary of "run init first", whatever is missing (each tried but the last two). OpenTofu
/// (by its source) begins them with the same words.
const INIT_ASKED_FOR: [&str; 6] = [
    "Backend initialization required",
    "Required plugins are not installed",
    "Module not installed",
    "Inconsistent dependency lock file",
    "Module source has changed",
    "Plugin reinitialization required",
];

/// Whether one of these errors asks for `init`.
pub fn needs_init(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .any(|diagnostic| INIT_ASKED_FOR.iter().any(|summary| diagnostic.summary.starts_with(summary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(address: &str, action: Change) -> PlannedChange {
        PlannedChange { address: address.to_owned(), action, reason: None, previous_address: None }
    }

    fn set(addresses: &[&str]) -> BTreeSet<String> {
        addresses.iter().map(|address| (*address).to_owned()).collect()
    }

    #[test]
    fn the_update_rule() {
        let planned = [
            change("made", Change::Create),
            change("changed", Change::Update),
            change("replaced", Change::Replace),
            change("destroyed", Change::Delete),
            change("forgotten", Change::Forget),
            PlannedChange { previous_address: Some("old".to_owned()), ..change("moved", Change::Replace) },
        ];
        let check = |rule: UpdateRule, expect: &[&str]| {
            let broken: Vec<String> = rule.broken_by(&planned).into_iter().map(|change| change.address).collect();
            assert_eq!(broken, expect, "{rule:?}");
        };
        check(UpdateRule::default(), &["replaced", "destroyed", "moved"]);
        check(UpdateRule { protected: Some(set(&[])), ..UpdateRule::default() }, &[]);
        check(
            UpdateRule { protected: Some(set(&["old", "replaced"])), ..UpdateRule::default() },
            &["replaced", "moved"],
        );
        check(UpdateRule { allowed: set(&["replaced", "moved"]), ..UpdateRule::default() }, &["destroyed"]);
    }

    #[test]
    fn a_request_for_init_is_recognised() {
        let check = |severity: Severity, summary: &str, expect: bool| {
            let (summary, detail) = (summary.to_owned(), String::new());
            let diagnostic = Diagnostic { severity, summary, detail, address: None, range: None };
            assert_eq!(needs_init(&[diagnostic]), expect);
        };
        check(Severity::Error, "Backend initialization required, please run \"terraform init\"", true);
        check(Severity::Error, "Backend initialization required: please run \"terraform init\"", true);
        check(Severity::Error, "Backend initialization required, please run \"tofu init\"", true);
        check(Severity::Error, "Required plugins are not installed", true);
        check(Severity::Error, "Module not installed", true);
        check(Severity::Error, "Inconsistent dependency lock file", true);
        check(Severity::Warning, "Module not installed", false);
        check(Severity::Error, "local-exec provisioner error", false);
    }
}
