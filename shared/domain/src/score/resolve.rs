//! Placeholders resolved: the values that they name put in their place, and what became sensitive by it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::model::Dialect;
use super::placeholder::{Part, PlaceholderError, Reference, scan};
use super::problem::child;

/// What a placeholder names.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The value.
    pub value: Value,
    /// Whether nobody may see it.
    pub sensitive: bool,
}

/// A value without placeholders, and which parts of it nobody may see.
#[derive(Debug, Clone, PartialEq)]
pub struct Tainted {
    /// The value.
    pub value: Value,
    /// Pointers, relative to the value, to everything that a sensitive output touched.
    pub sensitive: BTreeSet<String>,
}

impl Tainted {
    /// Whether any part of the value is sensitive.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        !self.sensitive.is_empty()
    }

    /// The keys of the value, as it is a map, that have something sensitive in them.
    #[must_use]
    pub fn sensitive_keys(&self) -> BTreeSet<String> {
        let keys = self.sensitive.iter().filter_map(|pointer| pointer.split('/').nth(1));
        keys.map(|key| key.replace("~1", "/").replace("~0", "~")).collect()
    }
}

/// A placeholder that has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text at `{pointer}` cannot be resolved")]
pub struct ResolveError {
    /// Where its text is, relative to the value.
    pub pointer: String,
    /// What is wrong with it.
    #[source]
    pub error: PlaceholderError,
}

/// Replaces every placeholder in a value by what `lookup` says that it names.
///
/// A text that is only a placeholder becomes the value itself, with its type; inside a longer text, what is not text
/// becomes compact JSON.
///
/// # Errors
///
/// The first placeholder that cannot be read, or that `lookup` refuses.
pub fn resolve(
    value: &Value,
    dialect: Dialect,
    lookup: &mut impl FnMut(&Reference) -> Result<Resolved, PlaceholderError>,
) -> Result<Tainted, ResolveError> {
    let mut sensitive = BTreeSet::new();
    let value = resolve_at(value, "", dialect, lookup, &mut sensitive)?;
    Ok(Tainted { value, sensitive })
}

fn resolve_at(
    value: &Value,
    pointer: &str,
    dialect: Dialect,
    lookup: &mut impl FnMut(&Reference) -> Result<Resolved, PlaceholderError>,
    sensitive: &mut BTreeSet<String>,
) -> Result<Value, ResolveError> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        Value::String(text) => {
            let resolved = resolve_text(text, dialect, lookup)
                .map_err(|error| ResolveError { pointer: pointer.to_owned(), error })?;
            if resolved.sensitive {
                sensitive.insert(pointer.to_owned());
            }
            Ok(resolved.value)
        }
        Value::Array(items) => {
            let mut resolved = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                resolved.push(resolve_at(item, &format!("{pointer}/{index}"), dialect, lookup, sensitive)?);
            }
            Ok(Value::Array(resolved))
        }
        Value::Object(map) => {
            let mut resolved = Map::new();
            for (key, item) in map {
                let item = resolve_at(item, &child(pointer, key), dialect, lookup, sensitive)?;
                resolved.insert(key.clone(), item);
            }
            Ok(Value::Object(resolved))
        }
    }
}

fn resolve_text(
    text: &str,
    dialect: Dialect,
    lookup: &mut impl FnMut(&Reference) -> Result<Resolved, PlaceholderError>,
) -> Result<Resolved, PlaceholderError> {
    let parts = scan(text, dialect)?;
    if let [Part::Ref(reference)] = parts.as_slice() {
        return lookup(reference);
    }
    let mut whole = String::new();
    let mut sensitive = false;
    for part in &parts {
        match part {
            Part::Text(text) => whole.push_str(text),
            Part::Ref(reference) => {
                let resolved = lookup(reference)?;
                sensitive |= resolved.sensitive;
                match resolved.value {
                    Value::String(text) => whole.push_str(&text),
                    other => whole.push_str(&other.to_string()),
                }
            }
        }
    }
    Ok(Resolved { value: Value::String(whole), sensitive })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::score::Root;

    fn lookup(reference: &Reference) -> Result<Resolved, PlaceholderError> {
        let open = |value: Value| Ok(Resolved { value, sensitive: false });
        let Root::Resource { name, path } = &reference.root else { return open(json!("orders")) };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [] => open(json!(name)),
            ["host"] => open(json!("db.local")),
            ["port"] => open(json!(5432)),
            ["tags", "a"] => open(json!({"x": [1, null]})),
            ["password"] => Ok(Resolved { value: json!("hunter2"), sensitive: true }),
            _ => Err(PlaceholderError::UnknownOutput {
                placeholder: reference.source.clone(),
                resource: name.clone(),
                output: path.join("."),
            }),
        }
    }

    fn resolved(value: &Value) -> Result<Tainted, ResolveError> {
        resolve(value, Dialect::Conductor, &mut lookup)
    }

    #[test]
    fn a_lone_placeholder_keeps_its_type_and_text_around_it_makes_text() {
        let check = |text: &str, expect: Value| {
            let value = resolved(&json!(text)).expect(text).value;
            assert_eq!(value, expect, "{text}");
        };
        check("${db.port}", json!(5432));
        check("${db.tags.a}", json!({"x": [1, null]}));
        check("${db.host}:${db.port}", json!("db.local:5432"));
        check(" ${db.port}", json!(" 5432"));
        check("${db.tags.a}!", json!(r#"{"x":[1,null]}!"#));
        check("${resources.db}", json!("db"));
        check("${metadata.name}", json!("orders"));
        check("$${db.port}", json!("${db.port}"));
        check("", json!(""));
    }

    #[test]
    fn what_a_sensitive_output_touches_is_sensitive() {
        let value = json!({
            "url": "postgres://u:${db.password}@${db.host}",
            "list": ["${db.host}", "${db.password}"],
            "a/b": {"c": "${db.password}"},
            "port": "${db.port}"
        });
        let tainted = resolved(&value).expect("resolves");
        let sensitive: Vec<_> = tainted.sensitive.iter().map(String::as_str).collect();
        assert_eq!(sensitive, ["/a~1b/c", "/list/1", "/url"]);
        let keys = tainted.sensitive_keys();
        assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), ["a/b", "list", "url"]);
        assert!(tainted.is_sensitive());
        assert_eq!(tainted.value["url"], json!("postgres://u:hunter2@db.local"));
    }

    #[test]
    fn an_unknown_output_is_named_with_its_place() {
        let error = resolved(&json!({"a": ["${db.nothing}"]})).expect_err("unknown");
        assert_eq!(error.pointer, "/a/0");
        assert_eq!(error.error.to_string(), "`${db.nothing}` names the output `nothing`, which `db` does not have");
    }
}
