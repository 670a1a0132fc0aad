//! What the files of a run can ask for: a few types with their templates, the ways in which they match, and the pools.

use std::collections::BTreeMap;

use conductor_domain::template::{Input, Interface, Output, ValueType};
use serde_json::{Map, Value, json};

/// The resource types.
pub const KINDS: [&str; 4] = ["net", "db", "cache", "app"];

/// The versions of a type's template, the newest last.
pub fn versions(kind: &str) -> &'static [&'static str] {
    match kind {
        "db" => &["1.0.0", "1.1.0"],
        _ => &["1.0.0"],
    }
}

/// Inputs with type and sensitivity, and outputs with sensitivity.
type Shape = (Vec<(&'static str, ValueType, bool)>, Vec<(&'static str, bool)>);

fn shape(kind: &str) -> Shape {
    use ValueType::{Any, Number, String as Text};
    match kind {
        "net" => (vec![("cidr", Text, false)], vec![("id", false)]),
        "db" => (
            vec![("size", Number, false), ("net", Text, false)],
            vec![("host", false), ("port", false), ("password", true)],
        ),
        "cache" => (vec![("size", Number, false), ("tier", Text, false)], vec![("host", false)]),
        _ => {
            let inputs =
                vec![("size", Number, false), ("url", Text, false), ("token", Text, true), ("peer", Any, false)];
            (inputs, vec![("name", false)])
        }
    }
}

/// What a type's template takes and gives.
pub fn interface(kind: &str) -> Interface {
    let (inputs, outputs) = shape(kind);
    let inputs = inputs.into_iter().map(|(name, value_type, sensitive)| {
        let input = Input { value_type, required: false, sensitive, nullable: true, description: None };
        (name.to_owned(), input)
    });
    let outputs =
        outputs.into_iter().map(|(name, sensitive)| (name.to_owned(), Output { sensitive, description: None }));
    Interface { inputs: inputs.collect(), outputs: outputs.collect(), providers: BTreeMap::new() }
}

/// The outputs of a resource, and whether they are sensitive: nothing but its id and its inputs decides them.
pub fn outputs(kind: &str, id: &str, inputs: &Map<String, Value>) -> BTreeMap<String, (Value, bool)> {
    let short = id.rsplit('-').next().unwrap_or(id);
    let value = |name: &str| match name {
        "id" => json!(format!("{kind}-{short}-{}", inputs.get("cidr").unwrap_or(&Value::Null))),
        "port" => json!(5000 + inputs.get("size").and_then(Value::as_i64).unwrap_or_default()),
        name => json!(format!("{name}.{kind}.{short}")),
    };
    shape(kind).1.into_iter().map(|(name, sensitive)| (name.to_owned(), (value(name), sensitive))).collect()
}

/// How resources of a type are matched, and how many consumers a match may have; always alike, so that the limit holds
/// whoever asks.
pub fn matching(kind: &str) -> (Value, Option<usize>) {
    match kind {
        "db" => (json!({"scope": "organisation", "sharingPolicy": "conditional", "matchOn": ["size"]}), None),
        "cache" => (json!({"matchOn": ["size"], "maxConsumers": 2}), Some(2)),
        "app" => (json!({"matchOn": ["size"], "maxConsumers": 1}), Some(1)),
        _ => (json!({"matchOn": ["cidr"]}), None),
    }
}

/// A pool that an environment may have.
#[derive(Debug)]
pub struct PoolShape {
    /// Its name.
    pub name: &'static str,
    /// The type of its members.
    pub kind: &'static str,
    /// How many workloads may have a member; one is a dedicated pool.
    pub most: usize,
}

impl PoolShape {
    /// The parameters of its members.
    pub fn parameters(&self) -> Map<String, Value> {
        Map::from_iter([("size".to_owned(), json!(1))])
    }
}

/// The pools.
pub static POOLS: [PoolShape; 2] =
    [PoolShape { name: "spare", kind: "cache", most: 1 }, PoolShape { name: "common", kind: "db", most: 2 }];
