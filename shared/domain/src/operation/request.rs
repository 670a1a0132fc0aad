//! What operations are asked to do: enough to do it without the file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::consumer::ConsumerKey;
use crate::ids::ResourceId;
use crate::score::{Dialect, Sharing};
use crate::template::TemplateName;

/// What a file asks for under one name: enough to carry it out without the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcquireRequest {
    /// The template, with the class in force.
    pub template: TemplateName,
    /// The version for a new resource; none where what is there was not made by Conductor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<semver::Version>,
    /// True where the file pins the version, so that an existing resource moves to it.
    pub pinned: bool,
    /// How the resource is found.
    pub sharing: Sharing,
    /// The dialect of the placeholders in its parameters.
    pub dialect: Dialect,
    /// Parameters with placeholders unresolved; those of sensitive inputs lie in the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// True where the file itself gives parameters; otherwise a shared resource is taken as it is.
    pub given: bool,
    /// True where some parameters lie in the deployment's vault object.
    #[serde(default)]
    pub has_secrets: bool,
    /// Resources of the same file that it depends on, by name, with their operation's number.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    /// Whether the resource stays when its last consumer leaves, where the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    /// The name that the resource had in the file before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// Where parameters come from that the file does not give.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
}

/// Where a parameter's value comes from.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The Score file.
    File,
    /// The environment, for files that do not give it.
    EnvironmentDefault,
    /// The environment, whatever the file says.
    EnvironmentFixed,
    /// The pool.
    Pool,
}

/// A resource of the same file that an acquire depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name in the file.
    pub name: String,
    /// The number of its acquire.
    pub operation: u32,
    /// True for `optional: true`: ordered after it, not failing with it.
    #[serde(default)]
    pub weak: bool,
}

/// What an operation lets go of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRequest {
    /// The resource.
    pub resource: ResourceId,
    /// The consumer that leaves; none where a resource without consumers itself is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<ConsumerKey>,
}

/// What an operation is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum Request {
    /// See [`super::Action::Acquire`].
    Acquire(Box<AcquireRequest>),
    /// See [`super::Action::Release`].
    Release(ReleaseRequest),
}
