//! The same resources in both dialects of Score files.

use serde_json::{Map, Value, json};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Conductor's own.
    Own,
    /// Score v1b1, with Conductor's extras as annotations.
    Score,
}

/// What Score has as annotations: the key in Conductor's dialect, and the annotation after `conductor.dev/`.
const EXTRAS: [(&str, &str); 8] = [
    ("reference", "reference"),
    ("sharing", "sharing"),
    ("matching", "matching"),
    ("dependsOn", "depends-on"),
    ("pool", "pool"),
    ("templateVersion", "template-version"),
    ("movedFrom", "moved-from"),
    ("retain", "retain"),
];

impl Dialect {
    /// Both.
    pub const BOTH: [Dialect; 2] = [Dialect::Own, Dialect::Score];

    /// A file of the workload `main` with these resources, by name, each written as in Conductor's dialect.
    pub fn file(self, resources: &Value) -> String {
        match self {
            Dialect::Own => json!({"resources": resources}).to_string(),
            Dialect::Score => {
                let resources = resources.as_object().expect("resources by name");
                let resources: Map<_, _> =
                    resources.iter().map(|(name, resource)| (name.clone(), in_score(resource))).collect();
                json!({
                    "apiVersion": "score.dev/v1b1",
                    "metadata": {"name": "main"},
                    "containers": {"main": {"image": "busybox"}},
                    "resources": resources,
                })
                .to_string()
            }
        }
    }
}

/// A resource with its extras as annotations: a text as it is, anything else as JSON.
fn in_score(resource: &Value) -> Value {
    let (mut kept, mut annotations) = (Map::new(), Map::new());
    for (key, value) in resource.as_object().expect("a resource") {
        match EXTRAS.iter().find(|(extra, _)| extra == key) {
            Some((_, name)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                annotations.insert(format!("conductor.dev/{name}"), Value::String(text));
            }
            None => {
                kept.insert(key.clone(), value.clone());
            }
        }
    }
    if !annotations.is_empty() {
        kept.insert("metadata".to_owned(), json!({"annotations": annotations}));
    }
    Value::Object(kept)
}
