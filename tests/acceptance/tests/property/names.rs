//! Names that nobody else on the stack has: what the model calls `dev` is `dev-<run>` there.

use conductor_acceptance::unique;
use serde_json::Value;

/// The names of a run.
pub struct Names {
    suffix: String,
}

impl Names {
    /// Of a new run.
    pub fn fresh() -> Self {
        Self { suffix: unique("") }
    }

    /// What the stack calls an environment, an application or a type of the model.
    pub fn own(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// True for a name that [`Names::own`] gave.
    pub fn is_own(&self, name: &str) -> bool {
        name.ends_with(&self.suffix)
    }

    /// What the model calls it.
    pub fn plain(&self, name: &str) -> String {
        name.strip_suffix(&self.suffix).unwrap_or(name).to_owned()
    }

    /// A Score file of the model, with the types as the stack calls them.
    pub fn file(&self, text: &str) -> String {
        let mut file: Value = serde_json::from_str(text).expect("the model writes JSON");
        let needs = file["resources"].as_object_mut().expect("a file has resources");
        for need in needs.values_mut() {
            let kind = need["type"].as_str().map(|kind| self.own(kind)).expect("a resource has a type");
            need["type"] = Value::String(kind);
        }
        file.to_string()
    }
}
