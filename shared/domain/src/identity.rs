//! Identity: a sharing mode is only a way to compute the key by which a resource is found, or made.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::consumer::HoldingKey;
use crate::ids::ResourceId;
use crate::name::EnvironmentName;
use crate::score::Sharing;

/// The sharing modes.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// One workload's own.
    Dedicated,
    /// Shared by name.
    Shared,
    /// Shared by Score's `id`.
    ScoreId,
    /// Named by its resource id.
    Existing,
    /// Shared by equal parameters.
    Parameters,
    /// Found among candidates.
    Matching,
    /// One of its type in an environment.
    Always,
    /// Taken from a pool.
    Pool,
}

/// The identity of a resource: hex SHA-256 of what makes it the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityKey(String);

impl IdentityKey {
    fn of(parts: &[&str]) -> Self {
        Self(hex::encode(Sha256::digest(parts.join("\0").as_bytes())))
    }

    /// What is shared by a name.
    pub fn shared(environment: &EnvironmentName, name: &str) -> Self {
        Self::of(&["shared", environment.as_str(), name])
    }

    /// 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a requirement finds its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// By which mode.
    pub mode: Mode,
    /// The key to look up.
    pub key: IdentityKey,
    /// The resource's name, for people: the shared name, `type.class#id`, or `application.workload.name`.
    pub name: String,
}

/// The mode that a requirement asks for.
pub fn mode(sharing: &Sharing) -> Mode {
    match sharing {
        Sharing::Dedicated => Mode::Dedicated,
        Sharing::Named { .. } => Mode::Shared,
        Sharing::ScoreId { .. } => Mode::ScoreId,
        Sharing::Existing { .. } => Mode::Existing,
        Sharing::ByParameters => Mode::Parameters,
        Sharing::Matching { .. } => Mode::Matching,
        Sharing::Always => Mode::Always,
        Sharing::Pool { .. } => Mode::Pool,
    }
}

/// The identity of what a holder asks for, or `None` where the mode has none that can be computed from the file alone:
/// see [`by_parameters`] and [`own`] for the others. `class` is the one in force: the file's, else the environment's,
/// else [`DEFAULT_CLASS`](crate::template::DEFAULT_CLASS).
pub fn identity(kind: &str, class: &str, sharing: &Sharing, holder: &HoldingKey) -> Option<Identity> {
    let environment = holder.environment.as_str();
    let (mode, key, name) = match sharing {
        Sharing::Dedicated => (
            Mode::Dedicated,
            IdentityKey::of(&[
                "dedicated",
                environment,
                kind,
                holder.application.as_str(),
                holder.workload.as_str(),
                &holder.resource,
            ]),
            format!("{}.{}.{}", holder.application, holder.workload, holder.resource),
        ),
        Sharing::Named { name } => (Mode::Shared, IdentityKey::shared(&holder.environment, name), name.clone()),
        Sharing::ScoreId { id } => {
            (Mode::ScoreId, IdentityKey::of(&["id", environment, kind, class, id]), format!("{kind}.{class}#{id}"))
        }
        Sharing::Always => {
            (Mode::Always, IdentityKey::of(&["always", environment, kind]), format!("{kind}.{environment}"))
        }
        Sharing::Existing { .. } | Sharing::ByParameters | Sharing::Matching { .. } | Sharing::Pool { .. } => {
            return None;
        }
    };
    Some(Identity { mode, key, name })
}

/// The identity of what is shared by equal parameters; `hash` is their keyed hash, hex.
pub fn by_parameters(kind: &str, class: &str, environment: &EnvironmentName, hash: &str) -> Identity {
    let short = hash.get(..8).unwrap_or(hash);
    Identity {
        mode: Mode::Parameters,
        key: IdentityKey::of(&["parameters", environment.as_str(), kind, class, hash]),
        name: format!("{kind}.{class}.{short}"),
    }
}

/// The identity of what is found by other means than a key: its own id. `stem` begins its name.
pub fn own(mode: Mode, stem: &str, id: ResourceId) -> Identity {
    let text = id.to_string();
    let short = text.rsplit('-').next().unwrap_or_default();
    Identity { mode, key: IdentityKey::of(&["own", &text]), name: format!("{stem}.{short}") }
}

/// The identity of a resource that Conductor did not make.
pub fn external(environment: &EnvironmentName, kind: &str, existing_id: &str) -> IdentityKey {
    IdentityKey::of(&["external", environment.as_str(), kind, existing_id])
}

impl IdentityKey {
    /// A key that no resource has: for looking whether the store answers.
    pub fn probe() -> Self {
        Self::of(&["probe"])
    }
}
