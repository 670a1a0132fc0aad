//! What a Score file says, once it has been read: the same types for both dialects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The two ways to write a Score file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    /// Score as specified, `apiVersion: score.dev/v1b1`; Conductor's extras are annotations.
    ScoreV1b1,
    /// Conductor's own: no `apiVersion`, and the extras stand on the resource.
    Conductor,
}

/// A Score file that was read without a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreFile {
    /// How it was written; placeholders depend on it.
    pub dialect: Dialect,
    /// `metadata.name`, the workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All of `metadata`.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The containers as they stand in the file, placeholders unresolved.
    #[serde(default)]
    pub containers: Map<String, Value>,
    /// What the workload publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// What the workload needs, by the name that it has in the file.
    pub resources: BTreeMap<String, Requirement>,
}

/// What a workload publishes to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its ports by name.
    #[serde(default)]
    pub ports: BTreeMap<String, Port>,
}

/// A port that a workload publishes.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The public port, 1 to 65535.
    pub port: u16,
    /// The transport; TCP where the file says nothing.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port inside; `port` where the file says nothing.
    pub target_port: u16,
}

/// A port's transport.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// One resource that a workload needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The resource type; `type` in JSON.
    #[serde(rename = "type")]
    pub kind: String,
    /// The class; none for `default`, which is the same as no class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How the resource is found or made.
    pub sharing: Sharing,
    /// The parameters, placeholders unresolved; none if the file has no `params` at all, which accepts what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
    /// The resource's `metadata`, annotations of Conductor included.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// What must be there before, as the file says it; placeholders say more.
    #[serde(default)]
    pub depends_on: Vec<DependsOn>,
    /// The template version that the file pins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_version: Option<semver::Version>,
    /// The name that the resource had in the file before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// Whether the resource outlives its last consumer; none leaves it to the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
}

/// A dependency on another resource of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DependsOn {
    /// The other's name in the file.
    pub resource: String,
    /// Whether the file may do without it.
    #[serde(default)]
    pub optional: bool,
}

/// How a resource is found or made: the mode, and what the mode needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "camelCase")]
pub enum Sharing {
    /// The workload's own.
    Dedicated,
    /// Shared in the environment by a name.
    Named {
        /// The name.
        name: String,
    },
    /// Shared in the environment by Score's `id`, together with type and class.
    ScoreId {
        /// The id.
        id: String,
    },
    /// A resource that is there already.
    Existing {
        /// Its resource id, a UUID.
        id: String,
    },
    /// Shared with whoever asks for the same parameters.
    ByParameters,
    /// Shared with whoever asks for similar parameters.
    Matching(Matching),
    /// One for all in the environment.
    Always,
    /// A member of a pool.
    Pool {
        /// The pool's name.
        name: String,
    },
}

/// Which resources match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matching {
    /// How far to look.
    pub scope: MatchingScope,
    /// What must match besides.
    pub policy: MatchingPolicy,
    /// The parameters that must be equal; with none, every candidate matches.
    #[serde(default)]
    pub match_on: Vec<String>,
    /// How many consumers a candidate may have, ourselves included; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_consumers: Option<u32>,
}

/// How far matching looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MatchingScope {
    /// The environment.
    #[default]
    Environment,
    /// The organisation.
    Organisation,
    /// What has been published.
    Global,
}

/// What matching wants besides equal parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MatchingPolicy {
    /// Nothing.
    #[default]
    Shared,
    /// The same template version.
    Conditional,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_sharing_mode_survives_json() {
        let check = |sharing: Sharing, expect: Value| {
            let value = serde_json::to_value(&sharing).expect("sharing is JSON");
            assert_eq!(value, expect);
            assert_eq!(serde_json::from_value::<Sharing>(value).expect("sharing"), sharing);
        };
        check(Sharing::Dedicated, json!({"mode": "dedicated"}));
        check(Sharing::Named { name: "x".into() }, json!({"mode": "named", "name": "x"}));
        check(Sharing::ScoreId { id: "x".into() }, json!({"mode": "scoreId", "id": "x"}));
        check(Sharing::Existing { id: "x".into() }, json!({"mode": "existing", "id": "x"}));
        check(Sharing::ByParameters, json!({"mode": "byParameters"}));
        check(Sharing::Always, json!({"mode": "always"}));
        check(Sharing::Pool { name: "x".into() }, json!({"mode": "pool", "name": "x"}));
        check(
            Sharing::Matching(Matching {
                scope: MatchingScope::Global,
                policy: MatchingPolicy::Conditional,
                match_on: vec!["tier".into()],
                max_consumers: Some(3),
            }),
            json!({
                "mode": "matching", "scope": "global", "policy": "conditional", "matchOn": ["tier"], "maxConsumers": 3
            }),
        );
    }
}
