//! Resource templates: terraform modules for a resource type and class, in immutable versions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::code::{Fault, MAX_FAULTS};
use crate::operation::{ExecutorKind, Limits};

mod pace;
pub mod policy;
mod value_type;
pub use pace::Pace;
use policy::Finding;
pub use value_type::{Field, Mismatch, ValueType};

/// The class that is not written.
pub const DEFAULT_CLASS: &str = "default";

/// Inputs that Conductor itself gives to a module that declares them; no file may set them.
pub const RESERVED_INPUTS: [&str; 3] = ["conductor_resource_id", "conductor_name", "conductor_tags"];

/// The most AWS services that a version may name: their session policy has room for no more.
pub const MAX_SERVICES: usize = 20;

/// The longest name of an AWS service.
const MAX_SERVICE: usize = 40;

/// The longest version, in characters: it is part of keys.
pub const MAX_VERSION_TEXT: usize = 128;

/// A version as somebody writes it; an error says what is wrong with it.
pub fn version(text: &str) -> Result<semver::Version, String> {
    if text.len() > MAX_VERSION_TEXT {
        return Err(format!("it has {} characters; at most {MAX_VERSION_TEXT} are allowed", text.len()));
    }
    semver::Version::parse(text).map_err(|error| error.to_string())
}

/// The longest parameters of a resource, as JSON.
pub const MAX_PARAMETERS: usize = 64 * 1024;

/// The most that is kept of a version, as JSON: what it declares and what was found in it.
pub const MAX_VERSION: usize = 256 * 1024;

/// A template's name: its type, and its class where that is not `default`, as `postgres.large`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TemplateName {
    kind: String,
    class: Option<String>,
}

fn is_type(text: &str) -> bool {
    let b = text.as_bytes();
    (1..=63).contains(&b.len())
        && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
        && b.first() != Some(&b'-')
        && b.last() != Some(&b'-')
}

impl TemplateName {
    /// From a type and a class as a file or an environment gives them.
    pub fn new(kind: &str, class: Option<&str>) -> Self {
        let class = class.filter(|class| *class != DEFAULT_CLASS).map(str::to_owned);
        Self { kind: kind.to_owned(), class }
    }

    /// The resource type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The class; `default` where none is written.
    pub fn class(&self) -> &str {
        self.class.as_deref().unwrap_or(DEFAULT_CLASS)
    }
}

impl std::fmt::Display for TemplateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.class {
            Some(class) => write!(f, "{}.{class}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

/// A text that is not `<type>` or `<type>.<class>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a template name: <type> or <type>.<class>, each 1 to 63 letters, digits and inner '-'")]
pub struct TemplateNameError(String);

impl std::str::FromStr for TemplateName {
    type Err = TemplateNameError;
    fn from_str(text: &str) -> Result<Self, TemplateNameError> {
        let (kind, class) = text.split_once('.').map_or((text, None), |(kind, class)| (kind, Some(class)));
        if is_type(kind) && class.is_none_or(is_type) {
            Ok(Self::new(kind, class))
        } else {
            Err(TemplateNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for TemplateName {
    type Error = TemplateNameError;
    fn try_from(text: String) -> Result<Self, TemplateNameError> {
        text.parse()
    }
}

impl From<TemplateName> for String {
    fn from(name: TemplateName) -> String {
        name.to_string()
    }
}

/// An input of a template: a variable of its module.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// What values it takes.
    #[cfg_attr(feature = "schema", schema(value_type = Value))]
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// True where there is no default.
    pub required: bool,
    /// True where its value must not enter the table.
    pub sensitive: bool,
    /// True where `null` is a value.
    pub nullable: bool,
    /// What the module says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An output of a template.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// True where its value must not enter the table.
    pub sensitive: bool,
    /// What the module says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A provider that a template needs.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderNeed {
    /// Full source address, such as `registry.terraform.io/hashicorp/aws`.
    pub source: String,
    /// Version constraint in terraform's words; empty for any.
    pub version: String,
}

/// What a module takes and gives.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its variables.
    pub inputs: BTreeMap<String, Input>,
    /// Its outputs.
    pub outputs: BTreeMap<String, Output>,
    /// Its providers, by the name that the module uses.
    pub providers: BTreeMap<String, ProviderNeed>,
}

/// Whether a version may make new resources.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateState {
    /// It may.
    Active,
    /// It may not; existing resources go on.
    Deprecated,
}

/// An immutable version of a template; only its state can change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateVersion {
    /// Which template.
    pub template: TemplateName,
    /// Which version.
    pub version: semver::Version,
    /// Whether it makes new resources.
    pub state: TemplateState,
    /// SHA-256 of the archive, hex.
    pub sha256: String,
    /// Size of the archive.
    pub bytes: u64,
    /// What it takes and gives.
    pub interface: Interface,
    /// The engine that runs it, such as `terraform`.
    pub engine: String,
    /// The engine's version constraint in terraform's words; empty for any.
    pub engine_version: String,
    /// True where resources made from it stay when their last consumer leaves, unless the file says otherwise.
    #[serde(default)]
    pub retain: bool,
    /// Who runs it.
    #[serde(default)]
    pub executor: ExecutorKind,
    /// How often and how long its operations may be tried.
    #[serde(default)]
    pub limits: Limits,
    /// The AWS services that it uses, as prefixes of actions (`s3`, `dynamodb`): its sessions reach no other. Empty:
    /// the whole of the environment's role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// True where nothing else may run where it has run: the process ends after its run.
    #[serde(default)]
    pub untrusted: bool,
    /// What the organisation's policy warned of when it was published; the first [`MAX_FINDINGS`].
    ///
    /// [`MAX_FINDINGS`]: policy::MAX_FINDINGS
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// When it was published.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
}

/// A template: the list of its versions, so that the newest is found with one read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Which one.
    pub name: TemplateName,
    /// Its versions and their states.
    pub versions: BTreeMap<semver::Version, TemplateState>,
}

impl Template {
    /// The newest Active version; a pre-release only where there is nothing else.
    pub fn newest(&self) -> Option<&semver::Version> {
        let active = || self.versions.iter().rev().filter(|(_, s)| **s == TemplateState::Active).map(|(v, _)| v);
        active().find(|version| version.pre.is_empty()).or_else(|| active().next())
    }
}

/// What is wrong with the names of AWS services; pointers start with `base`.
pub fn check_services(services: &[String], base: &str) -> Vec<Fault> {
    if services.len() > MAX_SERVICES {
        let detail = format!("names {} services; {MAX_SERVICES} are allowed", services.len());
        return vec![Fault { code: Some("too_many_services".to_owned()), ..Fault::at(base, detail) }];
    }
    let is_prefix = |name: &str| {
        (1..=MAX_SERVICE).contains(&name.len())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    let wrong = services.iter().enumerate().filter(|(_, name)| !is_prefix(name));
    let rule =
        format!("must be what the service's actions begin with, such as s3: 1 to {MAX_SERVICE} of a-z, 0-9 and -");
    wrong.map(|(index, _)| Fault::at(format!("{base}/{index}"), rule.clone())).collect()
}

/// Checks parameters against a template's inputs. `unresolved` holds the names of parameters whose value is known only
/// later, because a placeholder stands in it: they are checked for existence, not for type. Pointers start with `base`.
/// Ends where there is more wrong than is told.
pub fn check_parameters(
    interface: &Interface,
    parameters: &Map<String, Value>,
    unresolved: &BTreeSet<String>,
    base: &str,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in parameters {
        if faults.len() >= MAX_FAULTS {
            return faults;
        }
        let pointer = format!("{base}/{}", name.replace('~', "~0").replace('/', "~1"));
        match interface.inputs.get(name) {
            _ if RESERVED_INPUTS.contains(&name.as_str()) => {
                faults.push(Fault::at(pointer, format!("{name} is given by Conductor and cannot be set")));
            }
            None => {
                let known: Vec<_> = interface
                    .inputs
                    .keys()
                    .filter(|n| !RESERVED_INPUTS.contains(&n.as_str()))
                    .map(String::as_str)
                    .collect();
                faults.push(Fault::at(
                    pointer,
                    format!("unknown parameter {name:?}; the template takes: {}", known.join(", ")),
                ));
            }
            Some(_) if unresolved.contains(name) => {}
            Some(input) if value.is_null() => {
                if !input.nullable {
                    faults.push(Fault::at(pointer, format!("{name} cannot be null")));
                }
            }
            Some(input) => {
                if let Err(Mismatch { pointer: inner, message }) = input.value_type.check(value) {
                    faults.push(Fault::at(format!("{pointer}{inner}"), format!("{name}{inner}: {message}")));
                }
            }
        }
    }
    for (name, input) in &interface.inputs {
        if input.required && !parameters.contains_key(name) && !RESERVED_INPUTS.contains(&name.as_str()) {
            faults.push(Fault::at(base, format!("missing parameter {name:?}")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_their_actions_are() {
        let check = |services: &[&str], expect: &[&str]| {
            let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
            let faults = check_services(&services, "/services");
            let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(found, expect, "{services:?}");
        };
        check(&[], &[]);
        check(&["s3", "route53", "application-autoscaling"], &[]);
        check(
            &["s3", "s3:*", "*", "S3", "", "s3 "],
            &["/services/1", "/services/2", "/services/3", "/services/4", "/services/5"],
        );
        check(&["s3"; 20], &[]);
        check(&["s3"; 21], &["/services"]);
    }
}
