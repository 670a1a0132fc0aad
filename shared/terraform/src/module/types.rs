//! Terraform's type constraints: read from an expression, and held against a JSON value with terraform's own
//! conversions, loosely: what terraform would take is taken here.

use std::collections::BTreeMap;

use hcl::expr::{Expression, FuncCall, ObjectKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A type constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Type {
    /// `any`, also where no type is given.
    Any,
    /// `string`
    String,
    /// `number`
    Number,
    /// `bool`
    Bool,
    /// `list(…)`
    List(Box<Type>),
    /// `set(…)`
    Set(Box<Type>),
    /// `map(…)`
    Map(Box<Type>),
    /// `object({…})`
    Object(BTreeMap<String, Field>),
    /// `tuple([…])`
    Tuple(Vec<Type>),
}

/// An attribute of an object type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Its type.
    #[serde(rename = "type")]
    pub type_expr: Type,
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

impl Type {
    /// Whether terraform would convert `value` to this type. `null` fits nothing here ([`super::Variable::check`] knows
    /// whether it may be `null`); inside of a collection it fits everything.
    pub fn check(&self, value: &Value) -> Result<(), Mismatch> {
        if value.is_null() && *self != Type::Any {
            return Err(self.mismatch("", value));
        }
        self.check_at("", value)
    }

    fn check_at(&self, pointer: &str, value: &Value) -> Result<(), Mismatch> {
        let fits = match (self, value) {
            (Type::Any, _) | (_, Value::Null) => true,
            (Type::String, Value::String(_) | Value::Number(_) | Value::Bool(_)) => true,
            (Type::Number, Value::Number(_)) | (Type::Bool, Value::Bool(_)) => true,
            (Type::Number, Value::String(text)) => text.parse::<f64>().is_ok_and(f64::is_finite),
            (Type::Bool, Value::String(text)) => matches!(text.as_str(), "true" | "false" | "1" | "0"),
            (Type::List(inner) | Type::Set(inner), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    inner.check_at(&format!("{pointer}/{index}"), item)?;
                }
                true
            }
            (Type::Map(inner), Value::Object(entries)) => {
                for (key, item) in entries {
                    inner.check_at(&below(pointer, key), item)?;
                }
                true
            }
            (Type::Object(fields), Value::Object(entries)) => {
                for (name, field) in fields {
                    match entries.get(name) {
                        Some(item) => field.type_expr.check_at(&below(pointer, name), item)?,
                        None if field.optional => {}
                        None => {
                            let message = format!("the attribute `{name}` is missing");
                            return Err(Mismatch { pointer: pointer.to_owned(), message });
                        }
                    }
                }
                true
            }
            (Type::Tuple(types), Value::Array(items)) if types.len() == items.len() => {
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
            Type::Any => "any value".to_owned(),
            Type::String => "a string".to_owned(),
            Type::Number => "a number".to_owned(),
            Type::Bool => "a bool".to_owned(),
            Type::List(_) => "a list".to_owned(),
            Type::Set(_) => "a set (as a list)".to_owned(),
            Type::Map(_) => "a map".to_owned(),
            Type::Object(_) => "an object".to_owned(),
            Type::Tuple(types) => format!("a list of {}", types.len()),
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

/// Reads a type expression: `list(string)`, or the same quoted, as in `.tf.json`.
pub(super) fn parse(expression: &Expression) -> Result<Type, String> {
    match expression {
        Expression::Variable(name) => keyword(name.as_str()),
        Expression::Parenthesis(inner) => parse(inner),
        Expression::String(text) => match text.parse::<Expression>() {
            Ok(Expression::String(_)) | Err(_) => Err(format!("`{text}` is not a type")),
            Ok(inner) => parse(&inner),
        },
        Expression::FuncCall(call) => constructor(call),
        other => Err(format!("`{other}` is not a type")),
    }
}

fn keyword(name: &str) -> Result<Type, String> {
    Ok(match name {
        "any" => Type::Any,
        "string" => Type::String,
        "number" => Type::Number,
        "bool" => Type::Bool,
        "list" => Type::List(Box::new(Type::Any)),
        "set" => Type::Set(Box::new(Type::Any)),
        "map" => Type::Map(Box::new(Type::Any)),
        other => return Err(format!("`{other}` is not a type")),
    })
}

fn constructor(call: &FuncCall) -> Result<Type, String> {
    let name = call.name.name.as_str();
    match (name, call.args.as_slice()) {
        ("list", [inner]) => Ok(Type::List(Box::new(parse(inner)?))),
        ("set", [inner]) => Ok(Type::Set(Box::new(parse(inner)?))),
        ("map", [inner]) => Ok(Type::Map(Box::new(parse(inner)?))),
        ("tuple", [Expression::Array(items)]) => {
            Ok(Type::Tuple(items.iter().map(parse).collect::<Result<Vec<_>, _>>()?))
        }
        ("object", [Expression::Object(entries)]) => {
            let mut fields = BTreeMap::new();
            for (key, inner) in entries.iter() {
                let name = match key {
                    ObjectKey::Identifier(name) => name.as_str().to_owned(),
                    ObjectKey::Expression(Expression::String(name)) => name.clone(),
                    other => return Err(format!("`{other}` is not an attribute name")),
                };
                fields.insert(name, field(inner)?);
            }
            Ok(Type::Object(fields))
        }
        _ => Err(format!("`{name}(…)` is not a type, or has the wrong arguments")),
    }
}

fn field(expression: &Expression) -> Result<Field, String> {
    match expression {
        Expression::FuncCall(call) if call.name.name.as_str() == "optional" => match call.args.first() {
            Some(inner) => Ok(Field { type_expr: parse(inner)?, optional: true }),
            None => Err("`optional()` needs a type".to_owned()),
        },
        other => Ok(Field { type_expr: parse(other)?, optional: false }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn type_of(text: &str) -> Result<Type, String> {
        parse(&text.parse::<Expression>().expect("an expression"))
    }

    #[test]
    fn type_expressions_are_read() {
        let check = |text: &str, expect: Type| assert_eq!(type_of(text), Ok(expect), "{text}");
        check("string", Type::String);
        check("\"string\"", Type::String);
        check("list", Type::List(Box::new(Type::Any)));
        check("map(list(number))", Type::Map(Box::new(Type::List(Box::new(Type::Number)))));
        check("tuple([string, bool])", Type::Tuple(vec![Type::String, Type::Bool]));
        check(
            "object({ a = string, \"b\" = optional(set(any), []) })",
            Type::Object(BTreeMap::from([
                ("a".to_owned(), Field { type_expr: Type::String, optional: false }),
                ("b".to_owned(), Field { type_expr: Type::Set(Box::new(Type::Any)), optional: true }),
            ])),
        );
        for wrong in ["text", "list(string, string)", "object(string)", "optional(string)", "1", "\"\\\"string\\\"\""] {
            assert!(type_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_held_against_types_as_terraform_converts_them() {
        let check = |text: &str, value: Value, expect: Result<(), &str>| {
            let outcome = type_of(text).expect("a type").check(&value).map_err(|mismatch| mismatch.pointer);
            assert_eq!(outcome, expect.map_err(str::to_owned), "{text} {value}");
        };
        check("string", json!(1), Ok(()));
        check("string", json!(true), Ok(()));
        check("string", json!([]), Err(""));
        check("number", json!("1.5e3"), Ok(()));
        check("number", json!("many"), Err(""));
        check("number", json!(true), Err(""));
        check("bool", json!("true"), Ok(()));
        check("bool", json!("yes"), Err(""));
        check("string", json!(null), Err(""));
        check("any", json!(null), Ok(()));
        check("list(number)", json!([1, "2", null]), Ok(()));
        check("list(number)", json!([1, "x"]), Err("/1"));
        check("map(bool)", json!({"a/b": 1}), Err("/a~1b"));
        check("tuple([string])", json!([]), Err(""));
        check("object({ a = string, b = optional(number) })", json!({"a": "x", "more": 1}), Ok(()));
        check("object({ a = string })", json!({}), Err(""));
        check("object({ a = object({ n = number }) })", json!({"a": {"n": "x"}}), Err("/a/n"));
    }
}
