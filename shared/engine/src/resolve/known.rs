//! What placeholders may name, and what they then mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::score::{self, PlaceholderError, Reference, ResolveError, Root};
use conductor_domain::{Code, Refusal};

/// Outputs of what a value may name, by name in the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Outputs that may be shown.
    pub shown: BTreeMap<String, Map<String, Value>>,
    /// Outputs that may not.
    pub sensitive: BTreeMap<String, BTreeMap<String, Value>>,
    /// The file's metadata.
    pub metadata: Map<String, Value>,
    /// In a dry run: names whose outputs are not known yet.
    pub unknown: BTreeSet<String>,
}

/// What stands for a value that is not known yet; it never leaves a dry run.
const UNKNOWN: &str = "(known after the deployment)";

impl Known {
    /// True where a placeholder names an output that is not known yet.
    pub fn is_unknown(&self, reference: &Reference) -> bool {
        matches!(&reference.root, Root::Resource { name, path } if !path.is_empty() && self.unknown.contains(name))
    }

    /// What a placeholder names.
    pub fn look_up(&self, reference: &Reference) -> Result<score::Resolved, PlaceholderError> {
        let unknown = |resource: &str, output: String| PlaceholderError::UnknownOutput {
            placeholder: reference.source.clone(),
            resource: resource.to_owned(),
            output,
        };
        match &reference.root {
            Root::Metadata { path } => {
                let missing =
                    || PlaceholderError::UnknownMetadata { placeholder: reference.source.clone(), key: path.join(".") };
                let value = descend(path.split_first().and_then(|(key, rest)| Some((self.metadata.get(key)?, rest))));
                Ok(score::Resolved { value: value.ok_or_else(missing)?, sensitive: false })
            }
            Root::Resource { name, path } => {
                let Some((output, rest)) = path.split_first() else {
                    return Ok(score::Resolved { value: Value::from(name.as_str()), sensitive: false });
                };
                if self.unknown.contains(name) {
                    return Ok(score::Resolved { value: Value::from(UNKNOWN), sensitive: false });
                }
                let shown = self.shown.get(name).and_then(|outputs| outputs.get(output));
                let hidden = self.sensitive.get(name).and_then(|outputs| outputs.get(output));
                let found = descend(shown.or(hidden).map(|value| (value, rest)));
                let value = found.ok_or_else(|| unknown(name, path.join(".")))?;
                Ok(score::Resolved { value, sensitive: hidden.is_some() })
            }
        }
    }
}

fn descend(start: Option<(&Value, &[String])>) -> Option<Value> {
    let (mut value, path) = start?;
    for key in path {
        value = match value {
            Value::Object(map) => map.get(key)?,
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.clone())
}

/// A placeholder that did not resolve, as a refusal: the text of the parameter is not repeated.
pub(crate) fn unresolvable(name: &str, parameter: &str, error: &ResolveError) -> Refusal {
    let place = format!("/resources/{name}/params/{parameter}{}", error.pointer);
    Refusal::new(Code::OutputMissing, format!("{place}: {}", error.error))
}
