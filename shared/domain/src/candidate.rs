//! Candidates: resources that matching may find. A scope and a template have a guard that everybody writes who adds one,
//! so that two who look at the same time never both create.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::ResourceId;
use crate::name::EnvironmentName;
use crate::score::MatchingScope;
use crate::template::TemplateName;

/// How far a candidate can be seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// In an environment.
    Environment(EnvironmentName),
    /// In all environments of the organisation.
    Organisation,
    /// Wherever something is published.
    Global,
}

impl Scope {
    /// The scope that a file in an environment means.
    pub fn of(scope: MatchingScope, environment: &EnvironmentName) -> Self {
        match scope {
            MatchingScope::Environment => Self::Environment(environment.clone()),
            MatchingScope::Organisation => Self::Organisation,
            MatchingScope::Global => Self::Global,
        }
    }
}

/// Where candidates are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateKey {
    /// The scope.
    pub scope: Scope,
    /// The template.
    pub template: TemplateName,
}

/// A resource that matching may find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Where.
    pub key: CandidateKey,
    /// When the resource was made: the oldest wins.
    pub created_at: Timestamp,
    /// Which resource.
    pub resource: ResourceId,
}

/// Written by everybody who adds a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateGuard {
    /// Where.
    pub key: CandidateKey,
    /// How many candidates were ever added.
    pub added: u64,
}

/// Written by everybody who adds a dependency to a resource that others may depend on already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphGuard {
    /// How often that happened.
    pub added: u64,
}
