//! Reads a state object (format version 4): outputs, serial, lineage, what is in it and what of it is secret. Pure.

mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

pub use secrets::Secrets;

/// The only format that this module reads; terraform has written it since 0.12.
const FORMAT: u64 = 4;

/// The most bytes that all addresses have together, without their keys: each has a copy of its resource's type and
/// name, and long ones above many instances would make gigabytes of them.
const MAX_ADDRESSES: usize = 32 << 20;

/// What a state object holds.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Counts up at each write.
    pub serial: u64,
    /// Made up when the state was made; a state of another lineage is another state.
    pub lineage: String,
    /// The version of terraform that wrote it.
    pub terraform_version: String,
    /// The root module's outputs.
    pub outputs: BTreeMap<String, Output>,
    /// Addresses of what it manages (`module.resource.aws_s3_bucket.it["a"]`), one for each instance.
    pub addresses: BTreeSet<String>,
    /// Types of the resources that it manages.
    pub managed_types: BTreeSet<String>,
    /// Types of the data sources that were read.
    pub data_types: BTreeSet<String>,
    /// What nobody may be shown of it.
    pub secrets: Secrets,
}

/// An output of the root module. [`fmt::Debug`] does not show its value.
#[derive(Clone, PartialEq, Deserialize)]
pub struct Output {
    /// Its value, also where it is sensitive.
    pub value: Value,
    /// Whether terraform hides it.
    #[serde(default)]
    pub sensitive: bool,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("sensitive", &self.sensitive).finish_non_exhaustive()
    }
}

/// Why a state object cannot be read.
#[derive(Debug, Error)]
pub enum StateError {
    /// Not JSON, or not of the shape of a state.
    #[error("the state object cannot be read")]
    Invalid(#[source] serde_json::Error),
    /// Another format version: ask terraform (`output -json`) instead.
    #[error("the state object has format version {0}; only 4 is known")]
    Version(u64),
    /// Its addresses would fill the memory.
    #[error("the state object's addresses have over {} bytes", MAX_ADDRESSES)]
    TooLong,
}

impl State {
    /// How many resource instances it manages.
    pub fn resources(&self) -> usize {
        self.addresses.len()
    }
}

/// Reads a state object.
pub fn parse(content: &[u8]) -> Result<State, StateError> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_slice(content).map_err(StateError::Invalid)?;
    if version != FORMAT {
        return Err(StateError::Version(version));
    }
    let raw: Raw = serde_json::from_slice(content).map_err(StateError::Invalid)?;
    let of = |mode: &'static str| raw.resources.iter().filter(move |resource| resource.mode == mode);
    let length = of("managed").map(Resource::addresses_length).fold(0, usize::saturating_add);
    if length > MAX_ADDRESSES {
        return Err(StateError::TooLong);
    }
    let types = |mode| of(mode).map(|resource| resource.kind.clone()).collect();
    let (addresses, managed_types, data_types) =
        (of("managed").flat_map(addresses).collect(), types("managed"), types("data"));
    Ok(State {
        secrets: secrets::of(&raw),
        serial: raw.serial,
        lineage: raw.lineage,
        terraform_version: raw.terraform_version,
        outputs: raw.outputs,
        addresses,
        managed_types,
        data_types,
    })
}

#[derive(Deserialize)]
struct Raw {
    serial: u64,
    #[serde(default)]
    lineage: String,
    #[serde(default)]
    terraform_version: String,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: Option<String>,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

impl Resource {
    /// How long the addresses of all instances are together, without their keys.
    fn addresses_length(&self) -> usize {
        let each = self.module.as_deref().unwrap_or_default().len() + self.kind.len() + self.name.len();
        each.saturating_mul(self.instances.len())
    }
}

#[derive(Deserialize)]
struct Instance {
    #[serde(default)]
    index_key: Option<Value>,
    #[serde(default)]
    attributes: Value,
    /// Paths into the attributes: what the configuration made sensitive, and what the provider says is.
    #[serde(default)]
    sensitive_attributes: Value,
}

fn addresses(resource: &Resource) -> Vec<String> {
    let module = resource.module.as_ref().map(|module| format!("{module}.")).unwrap_or_default();
    let base = format!("{module}{}.{}", resource.kind, resource.name);
    resource
        .instances
        .iter()
        .map(|instance| match &instance.index_key {
            None => base.clone(),
            Some(Value::String(key)) => format!("{base}[{}]", quoted(key)),
            Some(key) => format!("{base}[{key}]"),
        })
        .collect()
}

/// A key as it stands in terraform's addresses: a text of its own language, which differs from JSON in `${`, `%{` and what
/// cannot be printed.
pub(crate) fn quoted(key: &str) -> String {
    let mut quoted = String::from('"');
    let mut rest = key.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '"' | '\\' => quoted.extend(['\\', character]),
            '$' | '%' if rest.peek() == Some(&'{') => quoted.extend([character, character]),
            ' ' => quoted.push(' '),
            _ if character.is_control() || character.is_whitespace() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outputs_serial_and_addresses_are_read() {
        let content = json!({
            "version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "3720a171",
            "outputs": {
                "id": {"value": "8651bb64", "type": "string"},
                "password": {"value": "hunter2", "type": "string", "sensitive": true}
            },
            "resources": [
                {"module": "module.resource", "mode": "managed", "type": "terraform_data", "name": "a",
                 "provider": "provider[\"terraform.io/builtin/terraform\"]",
                 "instances": [{"index_key": "x", "schema_version": 0}, {"index_key": 1, "status": "tainted"}]},
                {"mode": "managed", "type": "aws_s3_bucket", "name": "b", "instances": [{}]},
                {"mode": "data", "type": "aws_region", "name": "c", "instances": [{}]}
            ],
            "check_results": null
        });
        let state = parse(content.to_string().as_bytes()).expect("a state");
        assert_eq!((state.serial, state.lineage.as_str(), state.resources()), (3, "3720a171", 3));
        assert_eq!(
            state.addresses.iter().map(String::as_str).collect::<Vec<_>>(),
            ["aws_s3_bucket.b", "module.resource.terraform_data.a[\"x\"]", "module.resource.terraform_data.a[1]"]
        );
        assert_eq!(state.managed_types.iter().collect::<Vec<_>>(), ["aws_s3_bucket", "terraform_data"]);
        assert_eq!(state.data_types.iter().collect::<Vec<_>>(), ["aws_region"]);
        assert_eq!(state.outputs["password"].value, json!("hunter2"));
        assert!(state.outputs["password"].sensitive && !state.outputs["id"].sensitive);
        assert!(!format!("{state:?}").contains("hunter2"));
    }

    #[test]
    fn keys_are_written_as_terraform_writes_them() {
        let check = |key: &str, expect: &str| assert_eq!(quoted(key), expect);
        check("a b", r#""a b""#);
        check("${a} %{b} $c %", r#""$${a} %%{b} $c %""#);
        check("a\"b\\c\td\ne", r#""a\"b\\c\td\ne""#);
        check("ü/é", r#""ü/é""#);
        check("\u{7}\u{a0}", r#""\u0007\u00a0""#);
    }

    #[test]
    fn addresses_that_would_fill_the_memory_are_not_made() {
        let check = |resource: Value, expect: bool| {
            let state = json!({"version": 4, "serial": 1, "resources": [resource]}).to_string();
            let parsed = parse(state.as_bytes());
            assert_eq!(parsed.is_ok(), expect, "{} bytes", state.len());
            assert_eq!(matches!(parsed, Err(StateError::TooLong)), !expect, "{} bytes", state.len());
        };
        let long = "a".repeat(MAX_ADDRESSES / 16);
        let of = |kind: &str, module: &str, instances: usize| {
            let instances: Vec<Value> = (0..instances).map(|index| json!({"index_key": index})).collect();
            json!({"mode": "managed", "module": module, "type": kind, "name": "b", "instances": instances})
        };
        check(of(&long, "", 15), true);
        check(of(&long, "", 16), false);
        check(of("a", &long, 16), false);
        check(of("aws_iam_role", "module.resource", 50_000), true);
    }

    #[test]
    fn another_format_is_named_not_guessed() {
        assert!(matches!(parse(br#"{"version": 5, "anything": []}"#), Err(StateError::Version(5))));
        assert!(matches!(parse(b"{}"), Err(StateError::Invalid(_))));
        assert!(matches!(parse(b""), Err(StateError::Invalid(_))));
    }
}
