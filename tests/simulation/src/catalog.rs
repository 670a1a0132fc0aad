//! What there is to deploy: four types with their modules, one environment, and files that ask for four resources of
//! which two are shared.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use conductor_domain::environment::{Environment, EnvironmentSpec};
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{ExecutorKind, Limits};
use conductor_domain::template::{
    Input, Interface, Output, Template, TemplateName, TemplateState, TemplateVersion, ValueType,
};
use conductor_engine::Entity;
use conductor_engine::port::Version;
use serde_json::{Map, Value, json};

use crate::clock::time_of_day;
use crate::memory::Memory;

/// The one environment.
pub(crate) const ENVIRONMENT: &str = "dev";
/// The resource types.
const KINDS: [&str; 4] = ["net", "db", "cache", "app"];
/// Addresses in a module: it has the first few of them.
const ADDRESSES: [&str; 4] = ["aws_thing.a", "aws_thing.b", "aws_thing.c", "aws_thing.d"];

/// The tenant.
pub(crate) fn organisation() -> &'static OrganisationName {
    static ORGANISATION: OnceLock<OrganisationName> = OnceLock::new();
    ORGANISATION.get_or_init(|| named("acme"))
}

/// A name that is one.
pub(crate) fn named<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

/// The objects of a type's module.
pub(crate) fn module(kind: &str) -> &'static [&'static str] {
    let objects = match kind {
        "net" => 1,
        "cache" => 2,
        "db" => 3,
        _ => 4,
    };
    &ADDRESSES[..objects]
}

type Shape = (Vec<(&'static str, ValueType, bool)>, Vec<(&'static str, bool)>);

/// Inputs and outputs of a type, and whether they are sensitive.
fn shape(kind: &str) -> Shape {
    use ValueType::{Number, String as Text};
    match kind {
        "net" => (vec![("cidr", Text, false)], vec![("id", false)]),
        "db" => (vec![("size", Number, false), ("net", Text, false)], vec![("host", false), ("password", true)]),
        "cache" => (vec![("size", Number, false)], vec![("host", false)]),
        _ => {
            let inputs =
                vec![("size", Number, false), ("url", Text, false), ("token", Text, true), ("peer", Text, false)];
            (inputs, vec![("name", false)])
        }
    }
}

fn interface(kind: &str) -> Interface {
    let (inputs, outputs) = shape(kind);
    let inputs = inputs.into_iter().map(|(name, value_type, sensitive)| {
        (name.to_owned(), Input { value_type, required: false, sensitive, nullable: true, description: None })
    });
    let outputs =
        outputs.into_iter().map(|(name, sensitive)| (name.to_owned(), Output { sensitive, description: None }));
    Interface { inputs: inputs.collect(), outputs: outputs.collect(), providers: BTreeMap::new() }
}

/// What a resource gives, and whether that is sensitive: its id and its inputs decide it.
pub(crate) fn outputs(kind: &str, id: &str, inputs: &Map<String, Value>) -> BTreeMap<String, (Value, bool)> {
    let short = id.rsplit('-').next().unwrap_or(id);
    let first = inputs.get("cidr").and_then(Value::as_str).unwrap_or_default();
    let outputs = shape(kind).1.into_iter();
    outputs.map(|(name, sensitive)| (name.to_owned(), (json!(format!("{name}.{short}{first}")), sensitive))).collect()
}

/// A store with the templates and the environment, and nothing else. Made once; worlds begin with copies of it.
pub(crate) fn furnished() -> &'static Memory {
    static FURNISHED: OnceLock<Memory> = OnceLock::new();
    FURNISHED.get_or_init(|| {
        let mut memory = Memory::hashed();
        let now = time_of_day(0, 0);
        let version: semver::Version = semver::Version::new(1, 0, 0);
        for kind in KINDS {
            let template = TemplateName::new(kind, None);
            let versions = BTreeMap::from([(version.clone(), TemplateState::Active)]);
            write(&mut memory, Template { name: template.clone(), versions });
            write(
                &mut memory,
                TemplateVersion {
                    template,
                    version: version.clone(),
                    state: TemplateState::Active,
                    sha256: kind.to_owned(),
                    bytes: 0,
                    interface: interface(kind),
                    engine: "terraform".to_owned(),
                    engine_version: String::new(),
                    retain: false,
                    executor: ExecutorKind::Lambda,
                    limits: Limits::default(),
                    services: Vec::new(),
                    untrusted: false,
                    findings: Vec::new(),
                    created_at: now,
                    created_by: "simulation".to_owned(),
                },
            );
        }
        let spec = EnvironmentSpec::default();
        write(&mut memory, Environment { name: named(ENVIRONMENT), spec, created_at: now, updated_at: now });
        memory
    })
}

fn write(memory: &mut Memory, record: impl Entity) {
    let record = record.into_record();
    let version = Version(format!("{:?}", record.item()));
    memory.put(organisation(), record, version);
}

/// What a workload asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    /// What the network that all share is like: another value than theirs is a conflict.
    pub cidr: u8,
    pub db_size: u8,
    /// With the cache that matching finds for all, and what needs it.
    pub cache: bool,
    /// The size of what needs everything else; none where that is left out.
    pub app_size: Option<u8>,
}

impl File {
    /// The whole of it: four resources, of which the network and the cache are shared.
    pub const WHOLE: File = File { cidr: 0, db_size: 1, cache: true, app_size: Some(1) };

    /// Its text.
    pub fn text(&self, workload: &str) -> String {
        let mut resources = Map::new();
        let mut add = |name: &str, value: Value| resources.insert(name.to_owned(), value);
        add(
            "net",
            json!({
                "type": "net",
                "reference": {"mode": "shared", "name": "net"},
                "params": {"cidr": format!("10.{}", self.cidr)},
            }),
        );
        add("db", json!({"type": "db", "params": {"size": self.db_size, "net": "${resources.net.id}"}}));
        if self.cache {
            add("cache", json!({"type": "cache", "matching": {"matchOn": ["size"]}, "params": {"size": 1}}));
        }
        if let Some(size) = self.app_size {
            let mut params = json!({
                "size": size,
                "url": "${resources.db.host}",
                "token": "${resources.db.password}",
            });
            if self.cache {
                params["peer"] = json!("${resources.cache.host}");
            }
            add("app", json!({"type": "app", "params": params}));
        }
        json!({"metadata": {"name": workload}, "resources": resources}).to_string()
    }
}

/// A file of two resources of which one depends on the other: for the exhaustive search.
pub(crate) fn small_file() -> String {
    json!({
        "metadata": {"name": "web"},
        "resources": {
            "net": {"type": "net", "params": {"cidr": "10.0"}},
            "db": {"type": "db", "params": {"size": 1, "net": "${resources.net.id}"}},
        },
    })
    .to_string()
}
