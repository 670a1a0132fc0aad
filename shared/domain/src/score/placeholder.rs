//! Placeholders: what stands in a text, and whether the file has what it names.
//!
//! `${resources.<name>.<output>}` and `${metadata.<key>}`, and in Conductor's dialect `${<name>.<output>}` too. `$$`
//! escapes, `\.` puts a dot into a key, and any other `$` is literal, as in Score's own implementations.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::MAX_PROBLEMS;
use super::hint::did_you_mean;
use super::model::{Dialect, ScoreFile};
use super::problem::{Problem, child, code};

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text, escapes already undone.
    Text(String),
    /// A placeholder.
    Ref(Reference),
}

/// What a placeholder names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it names.
    pub root: Root,
    /// What stands between the braces.
    pub source: String,
}

/// Where the path of a placeholder starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A resource of the file.
    Resource {
        /// Its name in the file.
        name: String,
        /// The output, and the way into it; empty for the resource's own name.
        path: Vec<String>,
    },
    /// The file's `metadata`.
    Metadata {
        /// The way into it, at least one key.
        path: Vec<String>,
    },
}

/// A placeholder that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// It cannot be read.
    #[error("`${{{placeholder}}}` {rule}; write `$$` for a literal `$`")]
    Invalid {
        /// What stands between the braces.
        placeholder: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// It starts with something else than the dialect knows.
    #[error("`${{{placeholder}}}` starts with `{root}`, which is not known here{hint}; write `$$` for a literal `$`")]
    UnknownRoot {
        /// What stands between the braces.
        placeholder: String,
        /// What it starts with.
        root: String,
        /// "did you mean", or nothing.
        hint: String,
    },
    /// It names a resource that the file does not have.
    #[error("`${{{placeholder}}}` names the resource `{resource}`, which is not in the file{hint}")]
    UnknownResource {
        /// What stands between the braces.
        placeholder: String,
        /// The resource.
        resource: String,
        /// "did you mean", or nothing.
        hint: String,
    },
    /// It names an output that the resource does not have.
    #[error("`${{{placeholder}}}` names the output `{output}`, which `{resource}` does not have")]
    UnknownOutput {
        /// What stands between the braces.
        placeholder: String,
        /// The resource.
        resource: String,
        /// The output.
        output: String,
    },
    /// It names metadata that the file does not have.
    #[error("`${{{placeholder}}}` names `metadata.{key}`, which is not in the file")]
    UnknownMetadata {
        /// What stands between the braces.
        placeholder: String,
        /// The way that leads nowhere.
        key: String,
    },
}

impl PlaceholderError {
    /// The code of the problem, one of [`code::ALL`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => code::PLACEHOLDER_INVALID,
            Self::UnknownRoot { .. } => code::PLACEHOLDER_UNKNOWN_ROOT,
            Self::UnknownResource { .. } => code::PLACEHOLDER_UNKNOWN_RESOURCE,
            Self::UnknownOutput { .. } => code::PLACEHOLDER_UNKNOWN_OUTPUT,
            Self::UnknownMetadata { .. } => code::PLACEHOLDER_UNKNOWN_METADATA,
        }
    }
}

/// Splits a text into literal parts and placeholders; neighbouring literals are one part.
///
/// # Errors
///
/// The first placeholder that cannot be read, or that starts with something unknown.
pub fn scan(text: &str, dialect: Dialect) -> Result<Vec<Part>, PlaceholderError> {
    let mut parts = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Placeholder(source) => parts.push(Part::Ref(reference(source, dialect)?)),
            Piece::Text(literal) => match parts.last_mut() {
                Some(Part::Text(before)) => before.push_str(literal),
                _ => parts.push(Part::Text(literal.to_owned())),
            },
        }
    }
    Ok(parts)
}

/// Things with pointers to the texts that they stand in.
pub type Placed<T> = Vec<(String, T)>;

/// All placeholders in a value, with pointers to the texts that they stand in, relative to the value.
///
/// # Errors
///
/// Every placeholder that cannot be read or names no resource of the file.
pub fn references(
    value: &Value,
    dialect: Dialect,
    resources: &BTreeSet<&str>,
) -> Result<Placed<Reference>, Placed<PlaceholderError>> {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for (pointer, placeholder) in placeholders(value, dialect, resources) {
        match placeholder {
            Ok(reference) => found.push((pointer, reference)),
            Err(error) => errors.push((pointer, error)),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// What is wrong with a file's placeholders, as far as the file alone tells: not the outputs. The first
/// [`MAX_PROBLEMS`] of it.
#[must_use]
pub fn check_references(file: &ScoreFile) -> Vec<Problem> {
    let resources = &names(file);
    expandable(file)
        .into_iter()
        .flat_map(move |(base, value)| {
            placeholders(value, file.dialect, resources).filter_map(move |(pointer, placeholder)| {
                let error = match placeholder {
                    Ok(reference) => metadata_error(&reference, &file.metadata)?,
                    Err(error) => error,
                };
                Some(problem(&base, &pointer, &error))
            })
        })
        .take(MAX_PROBLEMS)
        .collect()
}

/// The places of a file where placeholders mean something, with their pointers: parameters, variables of containers,
/// the content of their files unless `noExpand` says otherwise, and the sources of their volumes.
#[must_use]
pub fn expandable(file: &ScoreFile) -> Vec<(String, &Value)> {
    let mut places = Vec::new();
    for (name, requirement) in &file.resources {
        let pointer = format!("{}/params", child("/resources", name));
        for (key, value) in requirement.params.iter().flatten() {
            places.push((child(&pointer, key), value));
        }
    }
    for (name, container) in &file.containers {
        let pointer = child("/containers", name);
        for (pointer, variable) in children(container.get("variables"), &format!("{pointer}/variables")) {
            places.push((pointer, variable));
        }
        for (pointer, file) in children(container.get("files"), &format!("{pointer}/files")) {
            let literal = file.get("noExpand").and_then(Value::as_bool).unwrap_or(false);
            if let Some(content) = file.get("content").filter(|_| !literal) {
                places.push((format!("{pointer}/content"), content));
            }
        }
        for (pointer, volume) in children(container.get("volumes"), &format!("{pointer}/volumes")) {
            if let Some(source) = volume.get("source") {
                places.push((format!("{pointer}/source"), source));
            }
        }
    }
    places
}

/// The names of a file's resources.
pub(super) fn names(file: &ScoreFile) -> BTreeSet<&str> {
    file.resources.keys().map(String::as_str).collect()
}

/// The problem that an error is, at a place below `base`.
pub(super) fn problem(base: &str, pointer: &str, error: &PlaceholderError) -> Problem {
    Problem::new(error.code(), format!("{base}{pointer}"), error.to_string())
}

/// A piece of a text as it stands there.
enum Piece<'a> {
    /// Literal text; of what is escaped, all but the first `$`.
    Text(&'a str),
    /// What stands between the braces of a placeholder.
    Placeholder(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let open = text.len() - text.rfind('}').map_or(0, |end| end + 1);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = first_piece(rest, open)?;
        rest = after;
        Some(piece)
    })
}

/// The piece at the start of a text, and what comes after it. In its last `open` bytes nothing closes a brace.
fn first_piece(text: &str, open: usize) -> Option<(Piece<'_>, &str)> {
    let Some(after) = text.strip_prefix('$') else {
        let (literal, rest) = text.split_at(text.find('$').unwrap_or(text.len()));
        return (!literal.is_empty()).then_some((Piece::Text(literal), rest));
    };
    if let Some(escaped) = after.strip_prefix('$') {
        let end = braced(escaped, open).map_or(1, |(_, rest)| after.len() - rest.len());
        let (literal, rest) = after.split_at(end);
        return Some((Piece::Text(literal), rest));
    }
    Some(match braced(after, open) {
        Some((source, rest)) => (Piece::Placeholder(source), rest),
        None => (Piece::Text("$"), after),
    })
}

/// What stands between the braces at the start of a text, and what comes after them. Who looked for a `}` that is not
/// there would look through all of the text, for each `${` again.
fn braced(text: &str, open: usize) -> Option<(&str, &str)> {
    text.strip_prefix('{').filter(|inner| inner.len() > open)?.split_once('}')
}

/// Each placeholder in a value, or what is wrong with it, with the pointer to its text.
fn placeholders<'a>(
    value: &'a Value,
    dialect: Dialect,
    resources: &'a BTreeSet<&'a str>,
) -> impl Iterator<Item = (String, Result<Reference, PlaceholderError>)> + 'a {
    texts(value).into_iter().flat_map(move |(pointer, text)| {
        let sources = pieces(text).filter_map(|piece| match piece {
            Piece::Placeholder(source) => Some(source),
            Piece::Text(_) => None,
        });
        sources.map(move |source| {
            let found = reference(source, dialect).and_then(|reference| known(reference, resources));
            (pointer.clone(), found)
        })
    })
}

fn reference(source: &str, dialect: Dialect) -> Result<Reference, PlaceholderError> {
    let invalid = |rule| PlaceholderError::Invalid { placeholder: source.to_owned(), rule };
    let parts = keys(source);
    if parts.iter().any(String::is_empty) {
        return Err(invalid("has an empty part"));
    }
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_default();
    let root = match (first.as_str(), dialect) {
        ("metadata", _) => {
            let path: Vec<String> = parts.collect();
            if path.is_empty() {
                return Err(invalid("needs a key of `metadata`"));
            }
            Root::Metadata { path }
        }
        ("resources", _) => {
            let name = parts.next().ok_or_else(|| invalid("needs the name of a resource"))?;
            Root::Resource { name, path: parts.collect() }
        }
        (_, Dialect::Conductor) => Root::Resource { name: first, path: parts.collect() },
        (_, Dialect::ScoreV1b1) => {
            let hint = did_you_mean(&first, ["resources", "metadata"]);
            return Err(PlaceholderError::UnknownRoot { placeholder: source.to_owned(), root: first, hint });
        }
    };
    Ok(Reference { root, source: source.to_owned() })
}

/// The keys of a path: split at dots, but not at `\.`, which is a dot.
fn keys(source: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut key = String::new();
    let mut chars = source.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.next_if_eq(&'.').is_some() => key.push('.'),
            '.' => keys.push(std::mem::take(&mut key)),
            other => key.push(other),
        }
    }
    keys.push(key);
    keys
}

fn known(reference: Reference, resources: &BTreeSet<&str>) -> Result<Reference, PlaceholderError> {
    let Root::Resource { name, .. } = &reference.root else { return Ok(reference) };
    if resources.contains(name.as_str()) {
        return Ok(reference);
    }
    let hint = did_you_mean(name, resources.iter().copied());
    let placeholder = reference.source.clone();
    // `${HOME}` was hardly meant for a resource, so it is told about the `$` instead.
    Err(if placeholder.starts_with("resources.") {
        PlaceholderError::UnknownResource { placeholder, resource: name.clone(), hint }
    } else {
        PlaceholderError::UnknownRoot { placeholder, root: name.clone(), hint }
    })
}

fn metadata_error(reference: &Reference, metadata: &Map<String, Value>) -> Option<PlaceholderError> {
    let Root::Metadata { path } = &reference.root else { return None };
    let mut keys = path.iter();
    let mut value = metadata.get(keys.next()?);
    for key in keys {
        value = value.and_then(|value| value.get(key));
    }
    match value {
        Some(_) => None,
        None => Some(PlaceholderError::UnknownMetadata { placeholder: reference.source.clone(), key: path.join(".") }),
    }
}

/// All texts in a value, with their pointers.
fn texts(value: &Value) -> Vec<(String, &str)> {
    match value {
        Value::String(text) => vec![(String::new(), text.as_str())],
        Value::Array(_) | Value::Object(_) => children(Some(value), "")
            .into_iter()
            .flat_map(|(base, value)| {
                texts(value).into_iter().map(move |(pointer, text)| (format!("{base}{pointer}"), text))
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The children of a map or list, with their pointers.
fn children<'a>(value: Option<&'a Value>, base: &str) -> Vec<(String, &'a Value)> {
    match value {
        Some(Value::Object(map)) => map.iter().map(|(key, value)| (child(base, key), value)).collect(),
        Some(Value::Array(items)) => {
            items.iter().enumerate().map(|(index, item)| (format!("{base}/{index}"), item)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts, written down: literals in quotes, placeholders in angle brackets.
    fn shown(text: &str, dialect: Dialect) -> String {
        let show = |parts: Vec<Part>| {
            let parts: Vec<String> = parts
                .into_iter()
                .map(|part| match part {
                    Part::Text(text) => format!("{text:?}"),
                    Part::Ref(Reference { root: Root::Resource { name, path }, .. }) => {
                        format!("<{name}: {}>", path.join(" "))
                    }
                    Part::Ref(Reference { root: Root::Metadata { path }, .. }) => {
                        format!("<metadata: {}>", path.join(" "))
                    }
                })
                .collect();
            parts.join(" ")
        };
        match scan(text, dialect) {
            Ok(parts) => show(parts),
            Err(error) => error.code().to_owned(),
        }
    }

    #[test]
    fn a_text_is_split_as_score_does_it() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text, Dialect::ScoreV1b1), expect, "{text}");
        check("", "");
        check("plain", r#""plain""#);
        check("${resources.db.host}", "<db: host>");
        check("${resources.db}", "<db: >");
        check("a ${resources.db.a.b} c", r#""a " <db: a b> " c""#);
        check("${metadata.name}${metadata.annotations.a\\.b/c}", "<metadata: name> <metadata: annotations a.b/c>");
        check("$${resources.db.host}", r#""${resources.db.host}""#);
        check("$$${resources.db.host}", r#""$" <db: host>"#);
        check("$$$${x}", r#""$${x}""#);
        check("$$", r#""$""#);
        check("$", r#""$""#);
        check("cost: $5 $HOME $(x)", r#""cost: $5 $HOME $(x)""#);
        check("${never closed", r#""${never closed""#);
        check("${db.host}", code::PLACEHOLDER_UNKNOWN_ROOT);
        check("${}", code::PLACEHOLDER_INVALID);
        check("${resources}", code::PLACEHOLDER_INVALID);
        check("${resources..x}", code::PLACEHOLDER_INVALID);
        check("${metadata}", code::PLACEHOLDER_INVALID);
    }

    #[test]
    fn conductors_dialect_needs_no_root() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text, Dialect::Conductor), expect, "{text}");
        check("${db.host}", "<db: host>");
        check("${resources.db.host}", "<db: host>");
        check("${metadata.name}", "<metadata: name>");
        check("$${db.host}", r#""${db.host}""#);
    }

    #[test]
    fn placeholders_are_found_wherever_a_text_stands() {
        let value = serde_json::json!({"a": ["x", "${db.host}"], "b/c": {"d": "${metadata.name}-${db.port}"}, "e": 1});
        let found = references(&value, Dialect::Conductor, &BTreeSet::from(["db"])).expect("placeholders");
        let found: Vec<_> = found.iter().map(|(pointer, found)| (pointer.as_str(), found.source.as_str())).collect();
        assert_eq!(found, [("/a/1", "db.host"), ("/b~1c/d", "metadata.name"), ("/b~1c/d", "db.port")]);

        let errors = references(&value, Dialect::Conductor, &BTreeSet::from(["bd"])).expect_err("unknown");
        let errors: Vec<_> = errors.iter().map(|(pointer, error)| (pointer.as_str(), error.code())).collect();
        assert_eq!(errors, [("/a/1", code::PLACEHOLDER_UNKNOWN_ROOT), ("/b~1c/d", code::PLACEHOLDER_UNKNOWN_ROOT)]);
    }

    #[test]
    fn an_error_says_which_placeholder_and_why() {
        let error = scan("${resource.db.host}", Dialect::ScoreV1b1).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "`${resource.db.host}` starts with `resource`, which is not known here; did you mean `resources`?; write \
             `$$` for a literal `$`"
        );
    }
}
