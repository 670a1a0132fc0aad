//! Terraform's machine-readable UI (`-json`), a line an event, and what a run's events add up to.
//!
//! Pure. It takes whatever a terraform says: an event that it does not know, or a line that is none, is kept with its
//! message and means nothing.

mod summary;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Engine;
use crate::mask::Masker;

pub use summary::{InFlight, RunSummary};

/// One event.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// `info`, `warn`, `error`; empty for a line that was no event.
    pub level: String,
    /// Terraform's words, for people. May hold secrets: mask it.
    pub message: String,
    /// Terraform's time stamp (RFC 3339), as it is; empty for a line that was no event.
    pub at: String,
    /// What it says.
    pub body: Body,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("level", &self.level).field("body", &self.body).finish_non_exhaustive()
    }
}

/// The kinds of event that mean something here.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Who speaks.
    Version {
        /// Terraform or OpenTofu.
        engine: Engine,
        /// `1.11.4`
        version: String,
    },
    /// An error or warning.
    Diagnostic(Diagnostic),
    /// What the plan would do to one resource.
    PlannedChange(PlannedChange),
    /// What was found changed outside of terraform.
    ResourceDrift(PlannedChange),
    /// Counts: of the plan, and of what an apply did.
    ChangeSummary(Changes),
    /// Outputs: with values only at the end of an apply, and only those that are not sensitive.
    Outputs(BTreeMap<String, OutputEvent>),
    /// Work on a resource starts.
    ApplyStart(Hook),
    /// Work on a resource goes on.
    ApplyProgress(Hook),
    /// Work on a resource has ended well.
    ApplyComplete(Hook),
    /// Work on a resource has failed, or was interrupted.
    ApplyErrored(Hook),
    /// A resource is read.
    RefreshStart(Hook),
    /// A resource has been read.
    RefreshComplete(Hook),
    /// A provisioner starts.
    ProvisionStart(Hook),
    /// A provisioner says something.
    ProvisionProgress(Hook),
    /// Anything else, with its type; empty for a line that was no event.
    Other(String),
}

/// An error or warning, in terraform's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// The rest; may be empty.
    #[serde(default)]
    pub detail: String,
    /// The resource that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The place in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
}

impl Diagnostic {
    /// The same without secrets.
    pub fn masked(&self, masker: &Masker) -> Self {
        Self {
            summary: masker.apply(&self.summary),
            detail: masker.apply(&self.detail),
            address: self.address.as_ref().map(|address| masker.apply(address)),
            ..self.clone()
        }
    }
}

/// Severity of a [`Diagnostic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run fails.
    Error,
    /// It does not.
    Warning,
    /// Anything that a later terraform may say.
    #[serde(other)]
    Unknown,
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Relative to the work folder.
    pub filename: String,
    /// Where it begins.
    pub start: Position,
}

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// From 1.
    pub line: u64,
    /// From 1.
    #[serde(default)]
    pub column: u64,
}

/// What a plan would do to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// The resource's address.
    pub address: String,
    /// What would be done.
    pub action: Action,
    /// Why, in terraform's words: `tainted`, `cannot_update`, `requested`…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its address before, where it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_address: Option<String>,
}

/// What terraform does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Makes it.
    Create,
    /// Changes it where it is.
    Update,
    /// Destroys it and makes another.
    #[serde(alias = "delete-create", alias = "create-delete")]
    Replace,
    /// Destroys it.
    Delete,
    /// Reads it.
    Read,
    /// Nothing.
    #[serde(alias = "noop", alias = "no-op")]
    NoOp,
    /// Gives it another address.
    Move,
    /// Takes it into the state.
    Import,
    /// Takes it out of the state, and leaves it.
    #[serde(alias = "remove")]
    Forget,
    /// Anything that a later terraform may say.
    #[serde(other)]
    Unknown,
}

/// Counts of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Made.
    #[serde(default)]
    pub add: u64,
    /// Changed where they are.
    #[serde(default)]
    pub change: u64,
    /// Destroyed; a replacement is one made and one destroyed.
    #[serde(default, alias = "remove")]
    pub destroy: u64,
    /// Taken into the state.
    #[serde(default)]
    pub import: u64,
}

/// An output in an event. [`fmt::Debug`] does not show its value.
#[derive(Clone, PartialEq, Deserialize)]
pub struct OutputEvent {
    /// Whether terraform hides it.
    #[serde(default)]
    pub sensitive: bool,
    /// What the plan would do to it.
    #[serde(default)]
    pub action: Option<Action>,
    /// Its value, at the end of an apply, where it is not sensitive.
    #[serde(default)]
    pub value: Option<Value>,
}

impl fmt::Debug for OutputEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputEvent")
            .field("sensitive", &self.sensitive)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

/// What happens to one resource while terraform works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The resource's address.
    pub address: String,
    /// What is done to it, where that is said.
    pub action: Option<Action>,
    /// For how long, where that is said.
    pub elapsed_seconds: Option<u64>,
}

impl Event {
    /// Reads a line. Never fails: what is no event is [`Body::Other`] with the line as its message.
    pub fn parse(line: &[u8]) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(line) else {
            let message = String::from_utf8_lossy(line).into_owned();
            return Self { level: String::new(), message, at: String::new(), body: Body::Other(String::new()) };
        };
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (level, message, at, kind) = (text("@level"), text("@message"), text("@timestamp"), text("type"));
        let body = body(&kind, Value::Object(fields)).unwrap_or(Body::Other(kind));
        Self { level, message, at, body }
    }

    /// The resource that it is about.
    pub fn address(&self) -> Option<&str> {
        match &self.body {
            Body::Diagnostic(diagnostic) => diagnostic.address.as_deref(),
            Body::PlannedChange(change) | Body::ResourceDrift(change) => Some(&change.address),
            Body::ApplyStart(hook)
            | Body::ApplyProgress(hook)
            | Body::ApplyComplete(hook)
            | Body::ApplyErrored(hook)
            | Body::RefreshStart(hook)
            | Body::RefreshComplete(hook)
            | Body::ProvisionStart(hook)
            | Body::ProvisionProgress(hook) => Some(&hook.address),
            Body::Version { .. } | Body::ChangeSummary(_) | Body::Outputs(_) | Body::Other(_) => None,
        }
    }
}

fn body(kind: &str, mut fields: Value) -> Option<Body> {
    Some(match kind {
        "version" => version(&mut fields)?,
        "diagnostic" => Body::Diagnostic(field(&mut fields, "diagnostic")?),
        "planned_change" => Body::PlannedChange(change(&mut fields)?),
        "resource_drift" => Body::ResourceDrift(change(&mut fields)?),
        "change_summary" => Body::ChangeSummary(field(&mut fields, "changes")?),
        "outputs" => Body::Outputs(field(&mut fields, "outputs")?),
        "apply_start" => Body::ApplyStart(hook(&mut fields)?),
        "apply_progress" => Body::ApplyProgress(hook(&mut fields)?),
        "apply_complete" => Body::ApplyComplete(hook(&mut fields)?),
        "apply_errored" => Body::ApplyErrored(hook(&mut fields)?),
        "refresh_start" => Body::RefreshStart(hook(&mut fields)?),
        "refresh_complete" => Body::RefreshComplete(hook(&mut fields)?),
        "provision_start" => Body::ProvisionStart(hook(&mut fields)?),
        "provision_progress" => Body::ProvisionProgress(hook(&mut fields)?),
        _ => return None,
    })
}

/// The only event that says which engine speaks: by the key of its version.
fn version(fields: &mut Value) -> Option<Body> {
    Engine::ALL.into_iter().find_map(|engine| Some(Body::Version { engine, version: field(fields, engine.name())? }))
}

fn field<T: DeserializeOwned>(fields: &mut Value, name: &str) -> Option<T> {
    serde_json::from_value(fields.get_mut(name)?.take()).ok()
}

#[derive(Deserialize)]
struct Addressed {
    addr: String,
}

fn change(fields: &mut Value) -> Option<PlannedChange> {
    #[derive(Deserialize)]
    struct Raw {
        resource: Addressed,
        #[serde(default)]
        previous_resource: Option<Addressed>,
        action: Action,
        #[serde(default)]
        reason: Option<String>,
    }
    let raw: Raw = field(fields, "change")?;
    Some(PlannedChange {
        address: raw.resource.addr,
        action: raw.action,
        reason: raw.reason,
        previous_address: raw.previous_resource.map(|resource| resource.addr),
    })
}

fn hook(fields: &mut Value) -> Option<Hook> {
    #[derive(Deserialize)]
    struct Raw {
        resource: Addressed,
        #[serde(default)]
        action: Option<Action>,
        #[serde(default)]
        elapsed_seconds: Option<f64>,
    }
    let raw: Raw = field(fields, "hook")?;
    // A number of whole seconds; the cast saturates.
    let elapsed_seconds = raw.elapsed_seconds.map(|seconds| seconds as u64);
    Some(Hook { address: raw.resource.addr, action: raw.action, elapsed_seconds })
}
