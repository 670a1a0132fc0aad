//! Terraform's type constraints, read from an expression. Their JSON is what the caller keeps of them.

use std::collections::BTreeMap;

use hcl::expr::{Expression, FuncCall, ObjectKey};
use serde::{Deserialize, Serialize};

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

/// The longest text of the configuration in a message, in characters: an expression is written with all its indents.
const MAX_SHOWN: usize = 100;

/// Reads a type expression: `list(string)`, or the same quoted, as in `.tf.json`.
pub(super) fn parse(expression: &Expression) -> Result<Type, String> {
    match expression {
        Expression::Variable(name) => keyword(name.as_str()),
        Expression::Parenthesis(inner) => parse(inner),
        Expression::String(text) => match text.parse::<Expression>() {
            Ok(Expression::String(_)) | Err(_) => Err(no_type(text)),
            Ok(inner) => parse(&inner),
        },
        Expression::FuncCall(call) => constructor(call),
        other => Err(no_type(&other.to_string())),
    }
}

fn no_type(text: &str) -> String {
    format!("`{}` is not a type", shown(text))
}

/// As much of a text of the configuration as a message has.
pub(super) fn shown(text: &str) -> String {
    let shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
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
        other => return Err(no_type(other)),
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
                    other => return Err(format!("`{}` is not an attribute name", shown(&other.to_string()))),
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
}
