//! Terraform's type constraints, held against a JSON value with terraform's own conversions, loosely: what terraform
//! would take is taken here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A type constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueType {
    /// `any`, also where no type is given.
    Any,
    /// `string`
    String,
    /// `number`
    Number,
    /// `bool`
    Bool,
    /// `list(…)`
    List(Box<ValueType>),
    /// `set(…)`
    Set(Box<ValueType>),
    /// `map(…)`
    Map(Box<ValueType>),
    /// `object({…})`
    Object(BTreeMap<String, Field>),
    /// `tuple([…])`
    Tuple(Vec<ValueType>),
}

/// An attribute of an object type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Whether it is `optional(…)`.
    pub optional: bool,
}

/// Where a value does not fit its type. The message never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer into the value; empty for the value itself.
    pub pointer: String,
    /// What is expected, and what kind of value is there.
    pub message: String,
}

impl ValueType {
    /// Whether terraform would convert `value` to this type. `null` fits nothing here ([`super::Input`] knows whether
    /// it may be `null`); inside of a collection it fits everything.
    pub fn check(&self, value: &Value) -> Result<(), Mismatch> {
        if value.is_null() && *self != ValueType::Any {
            return Err(self.mismatch("", value));
        }
        self.check_at("", value)
    }

    fn check_at(&self, pointer: &str, value: &Value) -> Result<(), Mismatch> {
        let fits = match (self, value) {
            (ValueType::Any, _) | (_, Value::Null) => true,
            (ValueType::String, Value::String(_) | Value::Number(_) | Value::Bool(_)) => true,
            (ValueType::Number, Value::Number(_)) | (ValueType::Bool, Value::Bool(_)) => true,
            (ValueType::Number, Value::String(text)) => text.parse::<f64>().is_ok_and(f64::is_finite),
            (ValueType::Bool, Value::String(text)) => matches!(text.as_str(), "true" | "false" | "1" | "0"),
            (ValueType::List(inner) | ValueType::Set(inner), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    inner.check_at(&format!("{pointer}/{index}"), item)?;
                }
                true
            }
            (ValueType::Map(inner), Value::Object(entries)) => {
                for (key, item) in entries {
                    inner.check_at(&below(pointer, key), item)?;
                }
                true
            }
            (ValueType::Object(fields), Value::Object(entries)) => {
                for (name, field) in fields {
                    match entries.get(name) {
                        Some(item) => field.value_type.check_at(&below(pointer, name), item)?,
                        None if field.optional => {}
                        None => {
                            let message = format!("the attribute `{name}` is missing");
                            return Err(Mismatch { pointer: pointer.to_owned(), message });
                        }
                    }
                }
                true
            }
            (ValueType::Tuple(types), Value::Array(items)) if types.len() == items.len() => {
                for (index, (inner, item)) in types.iter().zip(items).enumerate() {
                    inner.check_at(&format!("{pointer}/{index}"), item)?;
                }
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.mismatch(pointer, value)) }
    }

    fn mismatch(&self, pointer: &str, value: &Value) -> Mismatch {
        Mismatch { pointer: pointer.to_owned(), message: format!("expected {}, found {}", self.noun(), kind(value)) }
    }

    fn noun(&self) -> String {
        match self {
            ValueType::Any => "any value".to_owned(),
            ValueType::String => "a string".to_owned(),
            ValueType::Number => "a number".to_owned(),
            ValueType::Bool => "a bool".to_owned(),
            ValueType::List(_) => "a list".to_owned(),
            ValueType::Set(_) => "a set (as a list)".to_owned(),
            ValueType::Map(_) => "a map".to_owned(),
            ValueType::Object(_) => "an object".to_owned(),
            ValueType::Tuple(types) => format!("a list of {}", types.len()),
        }
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a bool".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_held_against_types_as_terraform_converts_them() {
        let check = |value_type: Value, value: Value, expect: Result<(), &str>| {
            let parsed: ValueType = serde_json::from_value(value_type.clone()).expect("a type");
            let outcome = parsed.check(&value).map_err(|mismatch| mismatch.pointer);
            assert_eq!(outcome, expect.map_err(str::to_owned), "{value_type} {value}");
        };
        check(json!("string"), json!(1), Ok(()));
        check(json!("string"), json!(true), Ok(()));
        check(json!("string"), json!([]), Err(""));
        check(json!("number"), json!("1.5e3"), Ok(()));
        check(json!("number"), json!("many"), Err(""));
        check(json!("number"), json!(true), Err(""));
        check(json!("bool"), json!("true"), Ok(()));
        check(json!("bool"), json!("yes"), Err(""));
        check(json!("string"), json!(null), Err(""));
        check(json!("any"), json!(null), Ok(()));
        check(json!({"list": "number"}), json!([1, "2", null]), Ok(()));
        check(json!({"list": "number"}), json!([1, "x"]), Err("/1"));
        check(json!({"map": "bool"}), json!({"a/b": 1}), Err("/a~1b"));
        check(json!({"tuple": ["string"]}), json!([]), Err(""));
        let object =
            json!({"object": {"a": {"type": "string", "optional": false}, "b": {"type": "number", "optional": true}}});
        check(object.clone(), json!({"a": "x", "more": 1}), Ok(()));
        check(object, json!({}), Err(""));
    }
}
