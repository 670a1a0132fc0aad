//! Conductor's extras of a resource, wherever the dialect keeps them: on the resource, or in its annotations.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::hint::did_you_mean;
use super::model::Dialect;
use super::problem::{Problem, child, code};
use super::schema::{EXTRAS, Extra, Form};
use super::shape;
use super::yaml::{self, Entry, Kind, Node};

/// What the annotations start with that Conductor reads.
const PREFIX: &str = "conductor.dev/";

/// An extra's value, and where it is in the file.
pub(super) struct Placed {
    pub node: Node,
    pub pointer: String,
}

/// A resource's extras, by the keys of Conductor's dialect.
pub(super) type Extras = BTreeMap<&'static str, Placed>;

/// The extras of the resource at `pointer`. Those in annotations are checked here, the others with their resource.
pub(super) fn of_resource(resource: &Node, dialect: Dialect, pointer: &str, problems: &mut Vec<Problem>) -> Extras {
    match dialect {
        Dialect::ScoreV1b1 => from_annotations(resource, pointer, problems),
        Dialect::Conductor => {
            let rule = "stands on the resource itself in a file without `apiVersion`";
            problems.extend(annotations_out_of_place(resource, pointer, rule));
            from_keys(resource, pointer)
        }
    }
}

/// Annotations of Conductor where it reads none.
pub(super) fn annotations_out_of_place(holder: &Node, pointer: &str, rule: &str) -> Vec<Problem> {
    annotations(holder, pointer)
        .map(|(entry, name, pointer)| {
            let detail = format!("`{name}` {rule}");
            Problem::new(code::UNKNOWN_KEY, pointer, detail).at(entry.key.position)
        })
        .collect()
}

fn from_keys(resource: &Node, pointer: &str) -> Extras {
    EXTRAS
        .iter()
        .filter_map(|extra| {
            let node = resource.get(extra.key)?.clone();
            Some((extra.key, Placed { node, pointer: child(pointer, extra.key) }))
        })
        .collect()
}

fn from_annotations(resource: &Node, pointer: &str, problems: &mut Vec<Problem>) -> Extras {
    let mut extras = Extras::new();
    for (entry, name, pointer) in annotations(resource, pointer) {
        let Some(extra) = EXTRAS.iter().find(|extra| extra.annotation == name) else {
            let hint = did_you_mean(name, EXTRAS.iter().map(|extra| extra.annotation));
            let detail = format!("`{PREFIX}{name}` is no annotation that Conductor knows{hint}");
            problems.push(Problem::new(code::UNKNOWN_KEY, pointer, detail).at(entry.key.position));
            continue;
        };
        // That an annotation must be text is a rule of Score, and reported as such.
        let Some(text) = entry.value.text() else { continue };
        match read_annotation(extra, text) {
            Ok(node) => {
                let node = node.moved_to(entry.value.position);
                shape::duplicate_keys(&node, &pointer, problems);
                shape::check(extra.shape, &node, &pointer, problems);
                extras.insert(extra.key, Placed { node, pointer });
            }
            Err(detail) => {
                problems.push(Problem::new(code::ANNOTATION_INVALID, pointer, detail).at(entry.value.position));
            }
        }
    }
    extras
}

fn read_annotation(extra: &Extra, text: &str) -> Result<Node, String> {
    match extra.form {
        Form::Text => Ok(Node { kind: Kind::Text(text.to_owned()), position: None }),
        Form::Boolean => match text {
            "true" => Ok(Node { kind: Kind::Boolean(true), position: None }),
            "false" => Ok(Node { kind: Kind::Boolean(false), position: None }),
            _ => Err("must be `true` or `false`".to_owned()),
        },
        Form::Json => {
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("must be JSON: {error}"))?;
            // Read as YAML, which JSON is part of: serde_json would drop a repeated key without a word.
            yaml::tree(text).map_err(|problem| problem.detail)
        }
    }
}

/// The annotations of Conductor, without their prefix, and their pointers.
fn annotations<'a>(holder: &'a Node, pointer: &str) -> impl Iterator<Item = (&'a Entry, &'a str, String)> {
    let base = format!("{pointer}/metadata/annotations");
    holder
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .filter_map(move |entry| {
            let name = entry.key.text.strip_prefix(PREFIX)?;
            Some((entry, name, child(&base, &entry.key.text)))
        })
}
