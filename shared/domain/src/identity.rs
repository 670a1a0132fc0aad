//! Identity: a sharing mode is only a way to compute the key by which a resource is found, or made.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::consumer::HoldingKey;
use crate::score::Sharing;

/// The class that is not written.
pub const DEFAULT_CLASS: &str = "default";

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

/// The identity of what a holder asks for, or `None` where the mode has none that can be computed from the file alone.
/// `class` is the one in force: the file's, else the environment's, else [`DEFAULT_CLASS`].
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
        Sharing::Named { name } => (Mode::Shared, IdentityKey::of(&["shared", environment, name]), name.clone()),
        Sharing::ScoreId { id } => {
            (Mode::ScoreId, IdentityKey::of(&["id", environment, kind, class, id]), format!("{kind}.{class}#{id}"))
        }
        Sharing::Existing { .. }
        | Sharing::ByParameters
        | Sharing::Matching { .. }
        | Sharing::Always
        | Sharing::Pool { .. } => return None,
    };
    Some(Identity { mode, key, name })
}

impl IdentityKey {
    /// A key that no resource has: for looking whether the store answers.
    pub fn probe() -> Self {
        Self::of(&["probe"])
    }
}
