//! The kinds of rules that a dialect is made of, and the one function that holds a tree against them.
//!
//! A shape says what JSON Schema would say, with the same verdict; the rules themselves are tables in `schema`.

use super::MAX_PROBLEMS;
use super::hint::did_you_mean;
use super::problem::{Problem, child, code};
use super::yaml::{Entry, Key, Kind, Node, Position};

/// What a value must look like.
pub(super) enum Shape {
    /// `true` or `false`.
    Boolean,
    /// A text that follows a rule.
    Text(Text),
    /// A whole number in a range; `80.0` is one too, as in JSON Schema.
    Integer { minimum: u32, maximum: u32 },
    /// A list of such items.
    List(&'static Shape),
    /// A map whose keys are names that somebody chose.
    Map {
        keys: Text,
        values: &'static Shape,
        /// The least number of entries.
        minimum: usize,
    },
    /// A map whose keys have meanings.
    Object {
        fields: &'static [Field],
        /// Whether other keys are allowed too.
        open: bool,
        choice: Choice,
    },
    /// One shape for a list, another for everything else.
    ListOr { list: &'static Shape, other: &'static Shape },
    /// One shape for a text, another for everything else.
    TextOr { text: &'static Shape, other: &'static Shape },
}

/// A key with a meaning.
pub(super) struct Field {
    pub name: &'static str,
    pub shape: &'static Shape,
    pub required: bool,
}

/// A field that must be there.
pub(super) const fn required(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, required: true }
}

/// A field that may be there.
pub(super) const fn optional(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, required: false }
}

/// How many of some fields an object has.
pub(super) enum Choice {
    /// No rule.
    Free,
    /// Exactly one of them.
    ExactlyOne(&'static [&'static str]),
    /// One of them, or more.
    AtLeastOne(&'static [&'static str]),
}

/// What a text must look like. Lengths are in characters.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub minimum: usize,
    pub maximum: usize,
    pub pattern: Option<Pattern>,
    /// The only values allowed; empty for no such rule.
    pub values: &'static [&'static str],
}

/// Any text.
pub(super) const ANY_TEXT: Text = Text { minimum: 0, maximum: usize::MAX, pattern: None, values: &[] };

/// A pattern: a check, and what it says in words.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    pub matches: fn(&str) -> bool,
    pub rule: &'static str,
}

/// Reports everything in `node` that is not as `shape` says.
pub(super) fn check(shape: &Shape, node: &Node, pointer: &str, problems: &mut Vec<Problem>) {
    match shape {
        Shape::Boolean => {
            if node.boolean().is_none() {
                problems.push(wrong_type(node, "`true` or `false`", pointer));
            }
        }
        Shape::Text(rule) => match &node.kind {
            Kind::Text(text) => problems.extend(check_text(rule, text, node.position, pointer)),
            _ => problems.push(wrong_type(node, "text", pointer)),
        },
        Shape::Integer { minimum, maximum } => check_integer(*minimum, *maximum, node, pointer, problems),
        Shape::List(items) => match &node.kind {
            Kind::List(nodes) => {
                for (index, item) in nodes.iter().enumerate() {
                    if is_enough(problems) {
                        return;
                    }
                    check(items, item, &format!("{pointer}/{index}"), problems);
                }
            }
            _ => problems.push(wrong_type(node, "a list", pointer)),
        },
        Shape::Map { keys, values, minimum } => match &node.kind {
            Kind::Map(entries) => {
                if entries.len() < *minimum {
                    let detail = format!("must have at least {minimum} entry");
                    problems.push(Problem::new(code::TOO_SHORT, pointer, detail).at(node.position));
                }
                for Entry { key, value } in entries {
                    if is_enough(problems) {
                        return;
                    }
                    let pointer = child(pointer, &key.text);
                    problems.extend(check_key(keys, key, &pointer));
                    check(values, value, &pointer, problems);
                }
            }
            _ => problems.push(wrong_type(node, "a map", pointer)),
        },
        Shape::Object { fields, open, choice } => match &node.kind {
            Kind::Map(entries) => {
                check_fields(fields, *open, entries, pointer, problems);
                problems.extend(check_required(fields, node, pointer));
                problems.extend(check_choice(choice, node, pointer));
            }
            _ => problems.push(wrong_type(node, "a map", pointer)),
        },
        Shape::ListOr { list, other } => match &node.kind {
            Kind::List(_) => check(list, node, pointer, problems),
            _ => check(other, node, pointer, problems),
        },
        Shape::TextOr { text, other } => match &node.kind {
            Kind::Text(_) => check(text, node, pointer, problems),
            _ => check(other, node, pointer, problems),
        },
    }
}

/// More of them would not be told, and each may repeat a long name.
fn is_enough(problems: &[Problem]) -> bool {
    problems.len() >= MAX_PROBLEMS
}

/// Reports every key that its map has already.
pub(super) fn duplicate_keys(node: &Node, pointer: &str, problems: &mut Vec<Problem>) {
    let mut seen = std::collections::BTreeSet::new();
    for Entry { key, value } in node.entries() {
        if is_enough(problems) {
            return;
        }
        let pointer = child(pointer, &key.text);
        if !seen.insert(key.text.as_str()) {
            let detail = format!("`{}` stands twice in the same map", key.text);
            problems.push(Problem::new(code::DUPLICATE_KEY, pointer.as_str(), detail).at(key.position));
        }
        duplicate_keys(value, &pointer, problems);
    }
    for (index, item) in node.items().iter().enumerate() {
        if is_enough(problems) {
            return;
        }
        duplicate_keys(item, &format!("{pointer}/{index}"), problems);
    }
}

fn check_fields(fields: &[Field], open: bool, entries: &[Entry], pointer: &str, problems: &mut Vec<Problem>) {
    for Entry { key, value } in entries {
        if is_enough(problems) {
            return;
        }
        let pointer = child(pointer, &key.text);
        match fields.iter().find(|field| field.name == key.text) {
            Some(field) => check(field.shape, value, &pointer, problems),
            None if open => {}
            None => {
                let hint = did_you_mean(&key.text, fields.iter().map(|field| field.name));
                let detail = format!("`{}` is not known here{hint}", key.text);
                problems.push(Problem::new(code::UNKNOWN_KEY, pointer, detail).at(key.position));
            }
        }
    }
}

fn check_required(fields: &[Field], node: &Node, pointer: &str) -> Vec<Problem> {
    fields
        .iter()
        .filter(|field| field.required && node.get(field.name).is_none())
        .map(|field| {
            let detail = format!("`{}` is required", field.name);
            Problem::new(code::MISSING_KEY, pointer, detail).at(node.position)
        })
        .collect()
}

fn check_choice(choice: &Choice, node: &Node, pointer: &str) -> Option<Problem> {
    let (names, at_most) = match choice {
        Choice::Free => return None,
        Choice::ExactlyOne(names) => (names, 1),
        Choice::AtLeastOne(names) => (names, names.len()),
    };
    let there: Vec<&str> = names.iter().copied().filter(|name| node.get(name).is_some()).collect();
    if there.is_empty() {
        let detail = format!("one of {} is required", listed(names));
        return Some(Problem::new(code::MISSING_KEY, pointer, detail).at(node.position));
    }
    if there.len() > at_most {
        let detail = format!("only one of {} may be given", listed(&there));
        return Some(Problem::new(code::CONFLICTING_KEYS, pointer, detail).at(node.position));
    }
    None
}

fn check_integer(minimum: u32, maximum: u32, node: &Node, pointer: &str, problems: &mut Vec<Problem>) {
    match node.integer() {
        None => problems.push(wrong_type(node, "a whole number", pointer)),
        Some(number) if number < i128::from(minimum) || number > i128::from(maximum) => {
            let detail = format!("must be a whole number from {minimum} to {maximum}");
            problems.push(Problem::new(code::OUT_OF_RANGE, pointer, detail).at(node.position));
        }
        Some(_) => {}
    }
}

fn check_key(rule: &Text, key: &Key, pointer: &str) -> Option<Problem> {
    let mut problem = check_text(rule, &key.text, key.position, pointer)?;
    problem.detail = format!("the name `{}` {}", shortened(&key.text), problem.detail);
    Some(problem)
}

/// The first thing that is wrong with a text: a wrong length spares the word about its pattern.
fn check_text(rule: &Text, text: &str, position: Option<Position>, pointer: &str) -> Option<Problem> {
    let length = text.chars().count();
    let (code, detail) = if length < rule.minimum {
        (code::TOO_SHORT, format!("must have at least {} characters, and has {length}", rule.minimum))
    } else if length > rule.maximum {
        (code::TOO_LONG, format!("must have at most {} characters, and has {length}", rule.maximum))
    } else if !rule.values.is_empty() && !rule.values.contains(&text) {
        let hint = did_you_mean(text, rule.values.iter().copied());
        (code::NOT_ONE_OF, format!("must be one of {}{hint}", listed(rule.values)))
    } else if let Some(pattern) = rule.pattern
        && !(pattern.matches)(text)
    {
        (code::PATTERN_MISMATCH, format!("must be {}", pattern.rule))
    } else {
        return None;
    };
    Some(Problem::new(code, pointer, detail).at(position))
}

fn wrong_type(node: &Node, expected: &str, pointer: &str) -> Problem {
    let found = match &node.kind {
        Kind::Null => "nothing",
        Kind::Boolean(_) => "`true` or `false`",
        Kind::Number(_) => "a number",
        Kind::Text(_) => "text",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
    };
    let quotes = match &node.kind {
        Kind::Boolean(_) | Kind::Number(_) if expected == "text" => "; put it in quotes",
        _ => "",
    };
    let detail = format!("must be {expected}, and is {found}{quotes}");
    Problem::new(code::WRONG_TYPE, pointer, detail).at(node.position)
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A name short enough for a message.
fn shortened(name: &str) -> String {
    if name.chars().count() > 80 {
        let start: String = name.chars().take(80).collect();
        return format!("{start}…");
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    static WORD: Shape = Shape::Text(Text { minimum: 2, maximum: 4, ..ANY_TEXT });
    static COLOUR: Shape = Shape::Text(Text { values: &["red", "green"], ..ANY_TEXT });
    static PORT: Shape = Shape::Integer { minimum: 1, maximum: 65_535 };
    static ITEM: Shape = Shape::Object {
        fields: &[required("word", &WORD), optional("colour", &COLOUR), optional("port", &PORT)],
        open: false,
        choice: Choice::ExactlyOne(&["colour", "port"]),
    };

    fn found(shape: &Shape, value: Value) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        check(shape, &Node::from(value), "", &mut problems);
        problems.into_iter().map(|problem| (problem.code, problem.pointer)).collect()
    }

    #[test]
    fn each_rule_has_its_code() {
        let check = |shape: &Shape, value: Value, expect: &[(&'static str, &str)]| {
            let found = found(shape, value.clone());
            let found: Vec<_> = found.iter().map(|(code, pointer)| (*code, pointer.as_str())).collect();
            assert_eq!(found, expect, "{value}");
        };
        check(&WORD, json!("ab"), &[]);
        check(&WORD, json!("äöü€"), &[]);
        check(&WORD, json!("a"), &[(code::TOO_SHORT, "")]);
        check(&WORD, json!("abcde"), &[(code::TOO_LONG, "")]);
        check(&WORD, json!(1), &[(code::WRONG_TYPE, "")]);
        check(&COLOUR, json!("blue"), &[(code::NOT_ONE_OF, "")]);
        check(&PORT, json!(80.0), &[]);
        check(&PORT, json!(80.5), &[(code::WRONG_TYPE, "")]);
        check(&PORT, json!(0), &[(code::OUT_OF_RANGE, "")]);
        check(&PORT, json!(-1), &[(code::OUT_OF_RANGE, "")]);
        check(&PORT, json!(65_536), &[(code::OUT_OF_RANGE, "")]);
        check(&ITEM, json!({"word": "ab", "port": 1}), &[]);
        check(
            &ITEM,
            json!({"port": 0, "wort": 1}),
            &[(code::OUT_OF_RANGE, "/port"), (code::UNKNOWN_KEY, "/wort"), (code::MISSING_KEY, "")],
        );
        check(&ITEM, json!({"word": "ab"}), &[(code::MISSING_KEY, "")]);
        check(&ITEM, json!({"word": "ab", "port": 1, "colour": "red"}), &[(code::CONFLICTING_KEYS, "")]);
        check(&ITEM, json!([]), &[(code::WRONG_TYPE, "")]);
    }

    #[test]
    fn an_unknown_key_comes_with_the_nearest_known_one() {
        let mut problems = Vec::new();
        check(&ITEM, &Node::from(json!({"word": "ab", "prot": 1, "port": 1})), "/x", &mut problems);
        let details: Vec<_> = problems.iter().map(|problem| problem.detail.as_str()).collect();
        assert_eq!(details, ["`prot` is not known here; did you mean `port`?"]);
        assert_eq!(problems.first().map(|problem| problem.pointer.as_str()), Some("/x/prot"));
    }
}
