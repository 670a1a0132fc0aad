//! What of a state is secret: the values of sensitive outputs, and what the paths of `sensitive_attributes` lead to.

use std::fmt;

use serde_json::Value;

use super::Raw;
use crate::mask::secrets_in;

/// Texts and numbers that must not be shown. [`fmt::Debug`] shows how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

pub(super) fn of(raw: &Raw) -> Secrets {
    let outputs = raw.outputs.values().filter(|output| output.sensitive).map(|output| &output.value);
    let instances = raw.resources.iter().flat_map(|resource| &resource.instances);
    let attributes = instances.flat_map(|instance| {
        let paths = instance.sensitive_attributes.as_array().into_iter().flatten();
        paths.filter_map(move |path| led_to(&instance.attributes, path))
    });
    let mut found: Vec<String> = outputs.chain(attributes).flat_map(secrets_in).collect();
    found.sort();
    found.dedup();
    Secrets(found)
}

/// Where a path leads; where it cannot be followed to its end, all that is there. An attribute that is not there has no
/// secret.
fn led_to<'s>(attributes: &'s Value, path: &Value) -> Option<&'s Value> {
    let mut steps = path.as_array()?.iter();
    let mut here = step(attributes, steps.next()?)?;
    for next in steps {
        let Some(there) = step(here, next).or_else(|| step(dynamic(here)?, next)) else { break };
        here = there;
    }
    Some(dynamic(here).unwrap_or(here))
}

/// `{"type": "get_attr", "value": "password"}`, or an index: `{"type": "index", "value": {"type": "number", "value": 0}}`.
fn step<'s>(here: &'s Value, step: &Value) -> Option<&'s Value> {
    let value = &step["value"];
    let key = if step["type"] == "index" { &value["value"] } else { value };
    match key {
        Value::String(name) => here.get(name),
        Value::Number(number) => here.get(usize::try_from(number.as_u64()?).ok()?),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The value of an attribute of any type, which is stored with its type: `{"type": "string", "value": "x"}`. Paths do not
/// name that step.
fn dynamic(value: &Value) -> Option<&Value> {
    let entries = value.as_object().filter(|entries| entries.len() == 2)?;
    let (kind, value) = (entries.get("type")?, entries.get("value")?);
    let is_type = match kind {
        Value::String(name) => ["string", "number", "bool", "dynamic"].contains(&name.as_str()),
        Value::Array(parts) => {
            let compound = ["list", "set", "map", "object", "tuple"];
            parts.first().and_then(Value::as_str).is_some_and(|name| compound.contains(&name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    is_type.then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;
    use super::*;

    #[track_caller]
    fn check(outputs: Value, instance: Value, expect: &[&str]) {
        let resource = json!({"mode": "managed", "type": "t", "name": "n", "instances": [instance]});
        let state = json!({"version": 4, "serial": 1, "outputs": outputs, "resources": [resource]});
        let state = parse(state.to_string().as_bytes()).expect("a state");
        assert_eq!(state.secrets.iter().collect::<Vec<_>>(), expect);
        assert!(!format!("{state:?}").contains("hunter"), "{state:?}");
    }

    /// An instance with a path of attributes, and of indexes where a step is a number.
    fn instance(attributes: Value, path: &[Value]) -> Value {
        let step = |step: &Value| match step {
            Value::Number(_) => json!({"type": "index", "value": {"value": step, "type": "number"}}),
            name => json!({"type": "get_attr", "value": name}),
        };
        json!({"attributes": attributes, "sensitive_attributes": [path.iter().map(step).collect::<Vec<_>>()]})
    }

    #[test]
    fn sensitive_outputs_are_secret() {
        let outputs = json!({
            "id": {"value": "shown", "type": "string"},
            "password": {"value": "hunter2", "type": "string", "sensitive": true},
            "all": {"value": {"a": ["hunter3", 12345, true]}, "type": "dynamic", "sensitive": true},
        });
        check(outputs, json!({}), &["12345", "hunter2", "hunter3"]);
    }

    #[test]
    fn what_a_sensitive_path_leads_to_is_secret() {
        let of = |attributes: Value, path: &[Value], expect: &[&str]| {
            check(json!({}), instance(attributes, path), expect);
        };
        of(json!({"id": "shown", "secret": "hunter2"}), &[json!("secret")], &["hunter2"]);
        of(json!({"a": [{"b": "shown"}, {"b": "hunter2"}]}), &[json!("a"), json!(1), json!("b")], &["hunter2"]);
        of(json!({"tags": {"a.b": "hunter2", "c": "shown"}}), &[json!("tags"), json!("a.b")], &["hunter2"]);
        of(json!({"secret": {"a": "hunter2", "b": ["hunter3"]}}), &[json!("secret")], &["hunter2", "hunter3"]);
    }

    #[test]
    fn a_value_that_is_stored_with_its_type_is_looked_into() {
        let of = |attributes: Value, path: &[Value], expect: &[&str]| {
            check(json!({}), instance(attributes, path), expect);
        };
        of(json!({"input": {"value": "hunter2", "type": "string"}}), &[json!("input")], &["hunter2"]);
        let object = json!({"value": {"a": "shown", "b": ["hunter2", "x"]}, "type": ["object", {"a": "string"}]});
        of(json!({"input": object}), &[json!("input"), json!("b"), json!(0)], &["hunter2"]);
        of(json!({"record": {"value": "hunter2", "type": "TXT"}}), &[json!("record")], &["TXT", "hunter2"]);
    }

    #[test]
    fn a_path_that_cannot_be_followed_hides_all_that_is_there() {
        let of = |attributes: Value, path: &[Value], expect: &[&str]| {
            check(json!({}), instance(attributes, path), expect);
        };
        of(json!({"set": ["hunter2", "hunter3"]}), &[json!("set"), json!("x")], &["hunter2", "hunter3"]);
        of(json!({"id": "shown"}), &[json!("gone")], &[]);
        of(json!({"id": "shown", "secret": null}), &[json!("secret")], &[]);
        check(json!({}), json!({"attributes": {"a": "shown"}, "sensitive_attributes": null}), &[]);
        check(json!({}), json!({"attributes": null, "sensitive_attributes": [["x"], {}, []]}), &[]);
    }
}
