//! Why operations end as they do, and in a dry run, how they may end.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Effect;
use crate::ids::ResourceId;

/// Why an operation ended with its effect.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// For a person; never holds a secret.
    pub text: String,
    /// The parameters that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterChange>,
    /// What matching looked at, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Weighed>,
    /// Who else uses the resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// In a dry run: what else may happen, as something is not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Prospect>,
    /// In a dry run: what decides between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by: Vec<String>,
}

/// What a dry run says of an operation.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Prospect {
    /// See [`Effect::Created`].
    Created,
    /// See [`Effect::Linked`].
    Linked,
    /// See [`Effect::Updated`].
    Updated,
    /// See [`Effect::Unchanged`].
    Unchanged,
    /// See [`Effect::Released`].
    Released,
    /// See [`Effect::Destroyed`].
    Destroyed,
    /// See [`Effect::Retained`].
    Retained,
    /// Others use the resource, and it would have to change.
    Conflict,
    /// It fails for another reason.
    Failed,
    /// Something that it depends on does not succeed.
    Skipped,
}

impl From<Effect> for Prospect {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Created => Self::Created,
            Effect::Linked => Self::Linked,
            Effect::Updated => Self::Updated,
            Effect::Unchanged => Self::Unchanged,
            Effect::Released => Self::Released,
            Effect::Destroyed => Self::Destroyed,
            Effect::Retained => Self::Retained,
        }
    }
}

/// A parameter that changes.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParameterChange {
    /// The parameter.
    pub name: String,
    /// What it is; `null` where it is nothing, or sensitive.
    pub from: Value,
    /// What it shall be; `null` where it is nothing, sensitive, or not known yet.
    pub to: Value,
    /// True where neither is shown.
    #[serde(default)]
    pub sensitive: bool,
}

/// A candidate of matching.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Weighed {
    /// The resource.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub resource: ResourceId,
    /// Its name.
    pub name: String,
    /// Why it was not taken; none for the one that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
