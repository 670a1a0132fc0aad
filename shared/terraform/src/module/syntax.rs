//! Configuration files → blocks, the same for HCL and its JSON form. Knows how many labels a block of the JSON form
//! has, and nothing of what the blocks mean.

use std::collections::BTreeMap;

use hcl::expr::{Expression, Object, ObjectKey};
use hcl::{Attribute, Block, Body, Identifier, Number, Structure};
use serde_json::{Map, Value};

use super::ModuleError;

/// The HCL parser compares every key of an object with all before it, so large files take quadratic time.
const MAX_FILE_BYTES: usize = 256 << 10;

/// The configuration files of one folder (`""` is the root), overriding files last, as terraform merges them.
pub(super) fn configuration<'a>(files: &'a BTreeMap<String, Vec<u8>>, folder: &str) -> Vec<(&'a str, &'a [u8])> {
    let mut found: Vec<(&str, &[u8])> = files
        .iter()
        .filter(|(path, _)| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path.as_str()));
            parent == folder && is_configuration(name)
        })
        .map(|(path, content)| (path.as_str(), content.as_slice()))
        .collect();
    found.sort_by_key(|(path, _)| overrides(path));
    found
}

fn is_configuration(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".tf") || name.ends_with(".tf.json"))
}

fn overrides(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".tf.json").or_else(|| name.strip_suffix(".tf")).unwrap_or(name);
    stem == "override" || stem.ends_with("_override")
}

/// The blocks of one file.
pub(super) fn parse(file: &str, content: &[u8]) -> Result<Body, ModuleError> {
    let invalid = |line, message: String| ModuleError::HclInvalid { file: file.to_owned(), line, message };
    if content.len() > MAX_FILE_BYTES {
        return Err(invalid(None, format!("a configuration file must not have over {MAX_FILE_BYTES} bytes")));
    }
    let text = std::str::from_utf8(content).map_err(|error| {
        let line = content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        invalid(Some(line), "not UTF-8".to_owned())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if file.ends_with(".tf.json") {
        let root: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| invalid(Some(error.line()), error.to_string()))?;
        return Ok(json_root(&root));
    }
    hcl::parse(text).map_err(|error| match &error {
        hcl::Error::Parse(parse) => invalid(Some(parse.location().line()), parse.message().to_owned()),
        other => invalid(None, other.to_string()),
    })
}

fn json_root(root: &Map<String, Value>) -> Body {
    let mut structures = Vec::new();
    for (kind, value) in root {
        let labels = match kind.as_str() {
            "terraform" => 0,
            "variable" | "output" | "module" | "provider" => 1,
            "resource" | "data" | "ephemeral" => 2,
            _ => continue,
        };
        blocks(kind, labels, &mut Vec::new(), value, &mut structures);
    }
    Body(structures)
}

fn blocks(kind: &str, labels: usize, named: &mut Vec<String>, value: &Value, into: &mut Vec<Structure>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| blocks(kind, labels, named, item, into)),
        Value::Object(entries) if labels == 0 => {
            let mut block = Block::new(Identifier::sanitized(kind));
            block.labels = named.iter().map(|label| label.as_str().into()).collect();
            block.body = if kind == "terraform" { json_settings(entries) } else { json_body(entries) };
            into.push(Structure::Block(block));
        }
        Value::Object(entries) => {
            for (label, inner) in entries.iter().filter(|(label, _)| *label != "//") {
                named.push(label.clone());
                blocks(kind, labels - 1, named, inner, into);
                named.pop();
            }
        }
        _ => {}
    }
}

/// The body of a `terraform` block: its nested blocks are told from its attributes by name.
fn json_settings(entries: &Map<String, Value>) -> Body {
    let mut structures = Vec::new();
    for (name, value) in entries {
        match name.as_str() {
            "backend" => blocks(name, 1, &mut Vec::new(), value, &mut structures),
            "cloud" | "required_providers" => blocks(name, 0, &mut Vec::new(), value, &mut structures),
            _ => structures.push(attribute(name, value)),
        }
    }
    Body(structures)
}

fn json_body(entries: &Map<String, Value>) -> Body {
    Body(entries.iter().filter(|(name, _)| *name != "//").map(|(name, value)| attribute(name, value)).collect())
}

fn attribute(name: &str, value: &Value) -> Structure {
    Structure::Attribute(Attribute::new(Identifier::sanitized(name), expression(value)))
}

fn expression(value: &Value) -> Expression {
    match value {
        Value::Null => Expression::Null,
        Value::Bool(value) => Expression::Bool(*value),
        Value::Number(number) => number_of(number).map_or(Expression::Null, Expression::Number),
        Value::String(text) => Expression::String(text.clone()),
        Value::Array(items) => Expression::Array(items.iter().map(expression).collect()),
        Value::Object(entries) => {
            let mut object = Object::new();
            for (key, item) in entries {
                object.insert(ObjectKey::Expression(Expression::String(key.clone())), expression(item));
            }
            Expression::Object(object)
        }
    }
}

fn number_of(number: &serde_json::Number) -> Option<Number> {
    if let Some(value) = number.as_i64() {
        return Some(Number::from(value));
    }
    if let Some(value) = number.as_u64() {
        return Some(Number::from(value));
    }
    Number::from_f64(number.as_f64()?)
}
