//! What is told of an operation while it runs and afterwards: the steps that its record takes, and the lines of its runs.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::deployment::{CancelOutcome, Deployment, DeploymentStatus, Rollback};
use crate::ids::DeploymentId;
use crate::operation::{Effect, Operation, OperationStatus, WaitingFor};

/// How long the lines of a run are kept in the table; their archive stays.
pub const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The most steps of a record: an operation that waits for a contended resource takes three for each turn. Claims and its end
/// are told in any case.
pub const MAX_STEPS: usize = 400;

/// How much a line matters.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What has to be looked at.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: [Level; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no level; there are debug, info, warn and error")]
pub struct UnknownLevel(String);

impl std::str::FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let level = Self::ALL.into_iter().find(|level| level.name() == text);
        level.ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// A line of a run. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When it was said.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// The object of the module that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// For how long that has been worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_seconds: Option<u64>,
    /// For a person; it may have several rows.
    pub message: String,
}

/// A change of a record that people are told of, written in the commit that makes it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// When.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// How much it matters.
    #[serde(default)]
    pub level: Level,
    /// Of a claim: its epoch. The lines of its run come between this step and the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// For a person; never holds a secret.
    pub message: String,
}

impl Step {
    /// Something that happened.
    pub fn new(at: Timestamp, level: Level, message: impl Into<String>) -> Self {
        Self { at, level, epoch: None, message: message.into() }
    }
}

/// Lines of one run that were written together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation's number.
    pub operation: u32,
    /// The claim that runs.
    pub epoch: u64,
    /// The number of its last line; a run's first line is 1.
    pub last: u32,
    /// The lines.
    pub lines: Vec<Line>,
    /// When the table may forget it.
    pub expires_at: Timestamp,
}

/// A line's place among all lines of a deployment: operation, epoch, number in its run.
pub type LinePlace = (u32, u64, u32);

/// Where the lines of a deployment's runs lie once it has ended: vault objects, each a list of [`Chunk`]s.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Archive {
    /// In the order of their lines; none where nothing was said.
    pub parts: Vec<ArchivePart>,
}

/// One object of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchivePart {
    /// Its name in the vault.
    pub object: String,
    /// Its last line.
    pub last: LinePlace,
}

fn push(steps: &mut Vec<Step>, step: Step, is_end: bool) {
    // Without the step of its claim, the lines of a run would be in no log.
    if steps.len() < MAX_STEPS || is_end || step.epoch.is_some() {
        steps.push(step);
    }
}

impl Operation {
    /// Adds the steps that tell of what changed since `before`.
    pub fn tell(&mut self, before: &Operation, now: Timestamp) {
        let warnings = self.warnings.iter().filter(|warning| !before.warnings.contains(warning));
        let warnings: Vec<Step> = warnings
            .map(|warning| Step::new(now, Level::Warn, format!("{}: {}", warning.code, warning.detail)))
            .collect();
        for warning in warnings {
            push(&mut self.steps, warning, false);
        }
        if before.status == self.status && before.epoch == self.epoch {
            return;
        }
        let (level, message) = self.told(before);
        let epoch = (self.status == OperationStatus::Running).then_some(self.epoch);
        let step = Step { epoch, ..Step::new(now, level, message) };
        push(&mut self.steps, step, self.status.is_final());
    }

    fn told(&self, before: &Operation) -> (Level, String) {
        use OperationStatus as S;
        let failure = || self.error.as_ref().map(|error| error.detail.as_str()).unwrap_or("for no known reason");
        match self.status {
            S::Waiting => match (self.waiting_for, self.awaits, self.not_before) {
                (Some(WaitingFor::Resource), Some(id), _) => {
                    (Level::Info, format!("waiting for the resource {id}, which another operation works on"))
                }
                (Some(WaitingFor::Lock), _, Some(until)) => {
                    (Level::Warn, format!("waiting until {until:.0} for what the worker before may have left running"))
                }
                (Some(WaitingFor::Resource | WaitingFor::Lock | WaitingFor::Dependencies) | None, ..) => {
                    (Level::Info, "waiting".to_owned())
                }
            },
            S::Ready if before.executor != self.executor => (Level::Info, "handed over to the workers".to_owned()),
            S::Ready if before.status == S::Running => match (&self.error, self.not_before) {
                (Some(error), Some(at)) => {
                    let wait = at.duration_since(self.entered_at).as_secs();
                    (Level::Warn, format!("retry in {wait} s: {}", error.detail))
                }
                _ if self.in_flight.is_empty() => (Level::Warn, "stopped; it goes on from the stored state".to_owned()),
                _ => {
                    let addresses: Vec<&str> = self.in_flight.iter().map(|one| one.address.as_str()).collect();
                    let message = format!(
                        "stopped before the end of its time, with {} in flight; it goes on from the stored state",
                        addresses.join(", ")
                    );
                    (Level::Warn, message)
                }
            },
            S::Ready => (Level::Debug, "ready".to_owned()),
            S::Running if self.attempts > 0 => {
                (Level::Info, format!("claimed again, after {} of {} attempts", self.attempts, self.limits.attempts))
            }
            S::Running => (Level::Info, "claimed".to_owned()),
            S::Succeeded => (Level::Info, self.success()),
            S::Failed => (Level::Error, format!("failed: {}", failure())),
            S::Cancelled => (Level::Warn, format!("cancelled: {}", failure())),
            S::TimedOut => (Level::Error, format!("timed out: {}", failure())),
            S::Skipped => (Level::Warn, "skipped: something that it depends on did not succeed".to_owned()),
        }
    }

    fn success(&self) -> String {
        let resource = self.resource_id.map(|id| format!(" {id}")).unwrap_or_default();
        let changes = &self.changes;
        let changed = format!("{} added, {} changed, {} destroyed", changes.add, changes.change, changes.destroy);
        match self.effect {
            Some(Effect::Created) => format!("created the resource{resource}: {changed}"),
            Some(Effect::Updated) => format!("updated the resource{resource}: {changed}"),
            Some(Effect::Linked) => format!("linked to the resource{resource}"),
            Some(Effect::Unchanged) => format!("nothing to do: the resource{resource} is as the file says"),
            Some(Effect::Released) => format!("let go of the resource{resource}, which others still use"),
            Some(Effect::Destroyed) => format!("destroyed the resource{resource}: {changed}"),
            Some(Effect::Retained) => format!("let go of the resource{resource}, which is retained"),
            None => "done".to_owned(),
        }
    }
}

impl Deployment {
    /// Adds the steps that tell of what changed since `before`.
    pub fn tell(&mut self, before: &Deployment, now: Timestamp) {
        if let Some(cancel) = &self.cancel {
            let was = before.cancel.as_ref();
            let mut news = Vec::new();
            if was.is_none() {
                let rollback = match cancel.rollback {
                    Rollback::Created => "what it made is let go of",
                    Rollback::None => "what it made stays",
                };
                news.push(format!("cancelled by {}; {rollback}", cancel.requested_by));
            }
            if cancel.forced_at.is_some() && was.is_none_or(|was| was.forced_at.is_none()) {
                news.push("what runs is killed".to_owned());
            }
            if cancel.rolls_back_after.is_some() && was.is_none_or(|was| was.rolls_back_after.is_none()) {
                let releases = self.operations.saturating_sub(cancel.rolls_back_after.unwrap_or_default());
                news.push(format!("rolling back: {releases} releases"));
            }
            for message in news {
                push(&mut self.steps, Step::new(now, Level::Warn, message), false);
            }
        }
        if before.status == self.status {
            return;
        }
        let (level, message) = self.told();
        push(&mut self.steps, Step::new(now, level, message), self.status.is_final());
    }

    fn told(&self) -> (Level, String) {
        let failure = || self.error.as_ref().map(|error| format!(": {}", error.detail)).unwrap_or_default();
        match self.status {
            DeploymentStatus::Pending => (Level::Info, "waiting for those before it".to_owned()),
            DeploymentStatus::InProgress if self.operations == 1 => (Level::Info, "started: 1 operation".to_owned()),
            DeploymentStatus::InProgress => (Level::Info, format!("started: {} operations", self.operations)),
            DeploymentStatus::Succeeded => (Level::Info, "succeeded".to_owned()),
            DeploymentStatus::Failed => (Level::Error, format!("failed{}", failure())),
            DeploymentStatus::Cancelled => {
                let outcome = match self.cancel.as_ref().and_then(|cancel| cancel.outcome) {
                    Some(CancelOutcome::Clean) => "; nothing of it is left".to_owned(),
                    Some(CancelOutcome::Partial) => "; something of it is left".to_owned(),
                    Some(CancelOutcome::TooLate) | None => failure(),
                };
                (Level::Warn, format!("cancelled{outcome}"))
            }
            DeploymentStatus::TimedOut => (Level::Error, format!("timed out{}", failure())),
        }
    }
}
