//! Score files at random: what a workload asks for, and its text in either dialect.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use crate::catalog::{self, KINDS, POOLS};

/// The type that a name usually has: `r0`, `r1`, …
const NATURAL: [&str; 6] = ["net", "db", "db", "cache", "app", "app"];

/// A Score file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// True for Score v1b1, false for Conductor's own dialect.
    pub score: bool,
    /// What it asks for, by name.
    pub needs: BTreeMap<String, Need>,
}

/// One resource of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Its type.
    pub kind: &'static str,
    /// How it is found.
    pub share: Share,
    /// Its parameters; an empty map is no `params` at all.
    pub params: BTreeMap<&'static str, Given>,
    /// Names that it depends on, and whether it may do without.
    pub depends_on: Vec<(String, bool)>,
    /// The version that is pinned.
    pub version: Option<&'static str>,
    /// Whether it stays.
    pub retain: Option<bool>,
    /// Its name before.
    pub moved_from: Option<String>,
}

/// How a resource is found.
#[derive(Debug, Clone, PartialEq)]
pub enum Share {
    /// By nobody else.
    Dedicated,
    /// By a name.
    Named(String),
    /// By Score's id.
    ScoreId(String),
    /// By its own id: one of those that are there.
    Existing(usize),
    /// By all of its parameters.
    ByParameters,
    /// As the catalog says.
    Matching,
    /// One for all.
    Always,
    /// In a pool.
    Pool(&'static str),
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Itself.
    Literal(Value),
    /// An output of another name, alone.
    Output(String, &'static str),
    /// Host and port of another name, in one text.
    Address(String),
}

impl Given {
    fn value(&self) -> Value {
        match self {
            Given::Literal(value) => value.clone(),
            Given::Output(name, output) => json!(format!("${{resources.{name}.{output}}}")),
            Given::Address(name) => json!(format!("${{resources.{name}.host}}:${{resources.{name}.port}}")),
        }
    }
}

fn one_of<'a, T>(rng: &mut StdRng, all: &'a [T]) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.random_range(0..all.len())) }
}

fn name(index: usize) -> String {
    format!("r{index}")
}

impl File {
    /// Any file.
    pub fn random(rng: &mut StdRng) -> Self {
        let mut file = Self { score: rng.random_bool(0.2), needs: BTreeMap::new() };
        for index in 0..NATURAL.len() {
            if rng.random_bool(0.5) {
                file.ask(rng, index);
            }
        }
        file
    }

    /// A file that is almost this one.
    pub fn changed(&self, rng: &mut StdRng) -> Self {
        let mut file = self.clone();
        for _ in 0..rng.random_range(1..=2) {
            let index = rng.random_range(0..NATURAL.len());
            match rng.random_range(0..10) {
                0..=2 => {
                    file.needs.remove(&name(index));
                }
                3..=5 => file.ask(rng, index),
                _ => {
                    if let Some(need) = file.needs.get_mut(&name(index)) {
                        need.params = literals(rng, need.kind);
                    }
                }
            }
        }
        if rng.random_bool(0.08) {
            file.rename(rng);
        }
        file.mend();
        file
    }

    /// The same file without one of its names.
    pub fn without(&self, name: &str) -> Self {
        let mut file = self.clone();
        file.needs.remove(name);
        file.mend();
        file
    }

    /// The names that live on under another one.
    pub fn moved(&self) -> BTreeSet<String> {
        self.needs.values().filter_map(|need| need.moved_from.clone()).collect()
    }

    /// Asks for something under a name, in place of what it asked for there.
    fn ask(&mut self, rng: &mut StdRng, index: usize) {
        let usual = NATURAL.get(index).copied().unwrap_or("app");
        let kind = if rng.random_bool(0.92) { usual } else { one_of(rng, &KINDS).copied().unwrap_or(usual) };
        let share = share(rng, kind);
        // Only on names before it, so that there are no cycles but those that are meant.
        let before: Vec<(String, &'static str)> = self
            .needs
            .iter()
            .filter(|(other, _)| **other < name(index))
            .map(|(n, need)| (n.clone(), need.kind))
            .collect();
        let kind = match share {
            Share::Pool(pool) => POOLS.iter().find(|shape| shape.name == pool).map_or(kind, |shape| shape.kind),
            _ => kind,
        };
        let params = match share {
            Share::Pool(_) | Share::Existing(_) => BTreeMap::new(),
            _ => params(rng, kind, &before),
        };
        let mut depends_on = Vec::new();
        for (other, _) in &before {
            if rng.random_bool(0.25) {
                depends_on.push((other.clone(), rng.random_bool(0.3)));
            }
        }
        if rng.random_bool(0.05) {
            let optional = rng.random_bool(0.8);
            depends_on.push((name(rng.random_range(0..NATURAL.len())), optional));
        }
        let pinned = kind == "db" && !matches!(share, Share::Pool(_)) && rng.random_bool(0.15);
        let version = if pinned { one_of(rng, catalog::versions(kind)).copied() } else { None };
        let retain = rng.random_bool(0.1).then(|| rng.random_bool(0.5));
        let need = Need { kind, share, params, depends_on, version, retain, moved_from: None };
        self.needs.insert(name(index), need);
        self.mend();
    }

    /// Gives one of the names to another, which says so.
    fn rename(&mut self, rng: &mut StdRng) {
        let (old, new) = (name(rng.random_range(0..NATURAL.len())), name(rng.random_range(0..NATURAL.len())));
        if self.needs.contains_key(&new) {
            return;
        }
        if let Some(need) = self.needs.remove(&old) {
            self.needs.insert(new, Need { moved_from: Some(old), ..need });
        }
    }

    /// Drops what points at names or outputs that are not there any more.
    fn mend(&mut self) {
        let kinds: BTreeMap<String, &'static str> =
            self.needs.iter().map(|(name, need)| (name.clone(), need.kind)).collect();
        let has = |name: &str, output: &str| {
            kinds.get(name).is_some_and(|kind| catalog::interface(kind).outputs.contains_key(output))
        };
        for need in self.needs.values_mut() {
            need.depends_on.retain(|(name, optional)| *optional || kinds.contains_key(name));
            need.depends_on.dedup_by(|a, b| a.0 == b.0);
            need.params.retain(|_, given| match given {
                Given::Literal(_) => true,
                Given::Output(name, output) => has(name, output),
                Given::Address(name) => has(name, "port"),
            });
            if need.moved_from.as_ref().is_some_and(|old| kinds.contains_key(old)) {
                need.moved_from = None;
            }
        }
    }

    /// Its text. `existing` says which resource is meant by a number.
    pub fn text(&self, workload: &str, existing: impl Fn(usize) -> String) -> String {
        let resources: Map<String, Value> =
            self.needs.iter().map(|(name, need)| (name.clone(), need.value(self.score, &existing))).collect();
        let file = if self.score {
            json!({
                "apiVersion": "score.dev/v1b1",
                "metadata": {"name": workload},
                "containers": {"main": {"image": "busybox"}},
                "resources": resources,
            })
        } else {
            json!({"metadata": {"name": workload}, "resources": resources})
        };
        file.to_string()
    }
}

impl Need {
    fn value(&self, score: bool, existing: &impl Fn(usize) -> String) -> Value {
        let mut value = Map::from_iter([("type".to_owned(), json!(self.kind))]);
        if !self.params.is_empty() {
            let params: Map<String, Value> =
                self.params.iter().map(|(name, given)| ((*name).to_owned(), given.value())).collect();
            value.insert("params".to_owned(), Value::Object(params));
        }
        if let Share::ScoreId(id) = &self.share {
            value.insert("id".to_owned(), json!(id));
        }
        let extras = self.extras(existing);
        if score && !extras.is_empty() {
            let annotations: Map<String, Value> = extras
                .iter()
                .map(|(key, value)| (format!("conductor.dev/{}", kebab(key)), annotation(value)))
                .collect();
            value.insert("metadata".to_owned(), json!({"annotations": annotations}));
        } else {
            value.extend(extras);
        }
        Value::Object(value)
    }

    fn extras(&self, existing: &impl Fn(usize) -> String) -> Map<String, Value> {
        let mut extras = Map::new();
        let mut say = |key: &str, value: Value| extras.insert(key.to_owned(), value);
        match &self.share {
            Share::Dedicated | Share::ScoreId(_) => None,
            Share::Named(name) => say("reference", json!({"mode": "shared", "name": name})),
            Share::Existing(which) => say("reference", json!({"mode": "existing", "id": existing(*which)})),
            Share::ByParameters => say("sharing", json!("shared")),
            Share::Always => say("sharing", json!("always")),
            Share::Matching => say("matching", catalog::matching(self.kind).0),
            Share::Pool(pool) => say("pool", json!(pool)),
        };
        if !self.depends_on.is_empty() {
            let all = self.depends_on.iter();
            let all: Vec<Value> = all.map(|(name, optional)| json!({"resource": name, "optional": optional})).collect();
            say("dependsOn", json!(all));
        }
        if let Some(version) = self.version {
            say("templateVersion", json!(version));
        }
        if let Some(retain) = self.retain {
            say("retain", json!(retain));
        }
        if let Some(old) = &self.moved_from {
            say("movedFrom", json!(old));
        }
        extras
    }
}

/// `dependsOn` as `depends-on`.
fn kebab(key: &str) -> String {
    let mut kebab = String::new();
    for char in key.chars() {
        if char.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(char.to_ascii_lowercase());
    }
    kebab
}

/// An extra as the text of its annotation.
fn annotation(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    }
}

fn share(rng: &mut StdRng, kind: &str) -> Share {
    let number = rng.random_range(0..2);
    match rng.random_range(0..100) {
        0..40 => Share::Dedicated,
        40..56 => Share::Named(format!("shared-{kind}-{number}")),
        56..58 => Share::Named("shared-any".to_owned()),
        58..66 => Share::ScoreId(format!("id-{number}")),
        66..73 => Share::ByParameters,
        73..80 => Share::Always,
        80..90 => Share::Matching,
        90..96 => Share::Pool(one_of(rng, &POOLS).map_or("", |pool| pool.name)),
        _ => Share::Existing(rng.random_range(0..8)),
    }
}

/// Parameters without placeholders.
fn literals(rng: &mut StdRng, kind: &str) -> BTreeMap<&'static str, Given> {
    let number = rng.random_range(1..=2);
    let mut params = BTreeMap::new();
    if rng.random_bool(0.35) {
        return params;
    }
    match kind {
        "net" => params.insert("cidr", Given::Literal(json!(format!("10.{number}.0.0/16")))),
        _ => params.insert("size", Given::Literal(json!(number))),
    };
    if kind == "cache" && rng.random_bool(0.3) {
        params.insert("tier", Given::Literal(json!("hot")));
    }
    params
}

fn params(rng: &mut StdRng, kind: &str, before: &[(String, &'static str)]) -> BTreeMap<&'static str, Given> {
    let mut params = literals(rng, kind);
    let of = |wanted: &str| -> Vec<String> {
        before.iter().filter(|(_, kind)| *kind == wanted).map(|(name, _)| name.clone()).collect()
    };
    match kind {
        "db" => {
            if let Some(net) = one_of(rng, &of("net")).filter(|_| before.len() % 2 == 1) {
                params.insert("net", Given::Output(net.clone(), "id"));
            }
        }
        "app" => {
            if let Some(db) = one_of(rng, &of("db")) {
                match rng.random_range(0..4) {
                    0 => {}
                    1 => {
                        params.insert("token", Given::Output(db.clone(), "password"));
                    }
                    _ => {
                        params.insert("url", Given::Address(db.clone()));
                    }
                }
            }
            if let Some(cache) = one_of(rng, &of("cache")) {
                params.insert("peer", Given::Output(cache.clone(), "host"));
            }
        }
        _ => {}
    }
    params
}
