//! From text to a tree that knows where each value stands.
//!
//! YAML 1.2 as strictly as the parser can: one document, no merge keys, no tags of an application, keys are strings, and
//! budgets that an alias bomb runs into. Repeated keys are kept, so that they can be reported beside everything else.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

use super::MAX_FILE_BYTES;
use super::problem::{Problem, code};

/// The longest key, in characters: the longest that YAML takes where a key stands before its colon.
const MAX_KEY: usize = 1024;

/// The most bytes that the pointers to all values of a file have together. A long name above many small values would make
/// gigabytes of a file that is not too large.
const MAX_POINTERS: usize = 4 << 20;

/// A line and a column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub line: u32,
    pub column: u32,
}

/// A value and where it stands; values that came as JSON stand nowhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub kind: Kind,
    pub position: Option<Position>,
}

/// A value as JSON has it, but with its maps in the order of the text and with repeated keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: Key,
    pub value: Node,
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub text: String,
    pub position: Option<Position>,
}

/// Reads a text of at most [`MAX_FILE_BYTES`].
pub(super) fn tree(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Problem::new(
            code::SCORE_TOO_LARGE,
            "",
            format!("a Score file has at most {MAX_FILE_BYTES} bytes, and this one has {}", text.len()),
        ));
    }
    serde_saphyr::from_str_with_options::<Node>(text, options()).map_err(|error| {
        let position = error.location().and_then(position);
        Problem::new(code::YAML_INVALID, "", error.to_string()).at(position)
    })
}

impl Node {
    /// What is too large in a tree whose text is not.
    pub(super) fn excess(&self) -> Option<Problem> {
        if let Some(key) = self.long_key() {
            let detail = format!("a name must have at most {MAX_KEY} characters, and has {}", key.text.chars().count());
            return Some(Problem::new(code::TOO_LONG, "", detail).at(key.position));
        }
        let detail = "the names in the file are too long for how many values stand below them";
        (self.pointers(0) > MAX_POINTERS).then(|| Problem::new(code::SCORE_TOO_LARGE, "", detail))
    }

    fn long_key(&self) -> Option<&Key> {
        let own = self.entries().iter().map(|entry| &entry.key).find(|key| key.text.chars().count() > MAX_KEY);
        own.or_else(|| self.children().find_map(|(_, child)| child.long_key()))
    }

    /// How long the pointers to this value, which has one of `own` bytes, and to all below it are together.
    fn pointers(&self, own: usize) -> usize {
        self.children().fold(own, |sum, (part, child)| sum.saturating_add(child.pointers(own + 1 + part)))
    }

    /// What is in it, and how long its part of a pointer is.
    fn children(&self) -> impl Iterator<Item = (usize, &Node)> {
        let digits = |index: usize| 1 + index.checked_ilog10().unwrap_or_default() as usize;
        let items = self.items().iter().enumerate().map(move |(index, item)| (digits(index), item));
        self.entries().iter().map(|entry| (entry.key.text.len(), &entry.value)).chain(items)
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
    }

    /// The entries, if this is a map.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items, if this is a list.
    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth, if it is one.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.kind {
            Kind::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// The integer, if it is one; `80.0` is one too, as in JSON Schema.
    pub(super) fn integer(&self) -> Option<i128> {
        match &self.kind {
            Kind::Number(number) => integer(number),
            _ => None,
        }
    }

    /// The value without its positions; of repeated keys the last.
    pub(super) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Boolean(truth) => Value::Bool(*truth),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Kind::Map(_) => Value::Object(self.to_map()),
        }
    }

    /// The map without its positions; empty if it is none.
    pub(super) fn to_map(&self) -> Map<String, Value> {
        self.entries().iter().map(|entry| (entry.key.text.clone(), entry.value.to_value())).collect()
    }

    /// Where a pointer leads; if part of it is not there, where its longest known part leads.
    pub(super) fn position_of(&self, pointer: &str) -> Option<Position> {
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match &node.kind {
                Kind::Map(_) => node.get(&part),
                Kind::List(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.position
    }

    /// The same value, all of it standing at one position: for what was read out of a text inside the text.
    pub(super) fn moved_to(self, position: Option<Position>) -> Self {
        let kind = match self.kind {
            Kind::List(items) => Kind::List(items.into_iter().map(|item| item.moved_to(position)).collect()),
            Kind::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|entry| Entry {
                        key: Key { text: entry.key.text, position },
                        value: entry.value.moved_to(position),
                    })
                    .collect(),
            ),
            scalar => scalar,
        };
        Self { kind, position }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(truth) => Kind::Boolean(truth),
            Value::Number(number) => Kind::Number(number),
            Value::String(text) => Kind::Text(text),
            Value::Array(items) => Kind::List(items.into_iter().map(Node::from).collect()),
            Value::Object(map) => Kind::Map(
                map.into_iter()
                    .map(|(text, value)| Entry { key: Key { text, position: None }, value: Node::from(value) })
                    .collect(),
            ),
        };
        Self { kind, position: None }
    }
}

fn options() -> Options {
    // A file of 256 KiB needs less than any of these; what exceeds them was made to.
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_documents: 1,
            max_events: 400_000,
            max_nodes: 200_000,
            max_anchors: 1_000,
            max_aliases: 1_000,
            max_total_scalar_bytes: 4 * MAX_FILE_BYTES,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: 4 * MAX_FILE_BYTES,
            // One anchor used often is no attack: what aliases may add up to is limited above and below.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn position(location: Location) -> Option<Position> {
    let line = u32::try_from(location.line()).ok()?;
    let column = u32::try_from(location.column()).ok()?;
    (line > 0).then_some(Position { line, column })
}

fn integer(number: &Number) -> Option<i128> {
    if let Some(unsigned) = number.as_u64() {
        return Some(i128::from(unsigned));
    }
    if let Some(signed) = number.as_i64() {
        return Some(i128::from(signed));
    }
    let float = number.as_f64()?;
    // The conversion saturates, which is all that a comparison with a range needs.
    (float.fract() == 0.0).then_some(float as i128)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { kind: spanned.value, position: position(spanned.referenced) })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that JSON has too")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value).map(Kind::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<KeyText>>()? {
            let value = access.next_value::<Node>()?;
            entries.push(Entry { key: Key { text: key.value.0, position: position(key.referenced) }, value });
        }
        Ok(Kind::Map(entries))
    }
}

/// A key's text; a number, a boolean or nothing at all as a key is an error.
struct KeyText(String);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = KeyText;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key that is text (put it in quotes)")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<KeyText, E> {
        Ok(KeyText(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(line: u32, column: u32) -> Option<Position> {
        Some(Position { line, column })
    }

    #[test]
    fn yaml_becomes_what_json_would_be() {
        let check = |text: &str, expect: Value| {
            let tree = tree(text).expect(text);
            assert_eq!(tree.to_value(), expect, "{text}");
        };
        check(
            "a: 1\nb: [true, null, 1.5, -2]\nc: {d: x}\n",
            json!({"a": 1, "b": [true, null, 1.5, -2], "c": {"d": "x"}}),
        );
        check("a: yes\nb: 1_000\nc: \"0600\"\n", json!({"a": "yes", "b": "1_000", "c": "0600"}));
        check(r#"{"a": {"b": ["c\n"]}}"#, json!({"a": {"b": ["c\n"]}}));
        check("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}}));
        check("a: |\n  one\n  two\n", json!({"a": "one\ntwo\n"}));
        check("${x}: 1\n", json!({"${x}": 1}));
    }

    #[test]
    fn every_value_and_key_knows_its_place() {
        let tree = tree("a:\n  b: x\n  c:\n    - 1\n    - 2\n").expect("a tree");
        assert_eq!(tree.position_of("/a/b"), place(2, 6));
        assert_eq!(tree.position_of("/a/c/1"), place(5, 7));
        assert_eq!(tree.position_of("/a/b/missing"), place(2, 6));
        let a = tree.get("a").expect("a");
        let lines: Vec<_> = a.entries().iter().map(|entry| entry.key.position).collect();
        assert_eq!(lines, [place(2, 3), place(3, 3)]);
    }

    #[test]
    fn a_repeated_key_is_kept_for_later() {
        let tree = tree("a: 1\na: 2\n").expect("a tree");
        assert_eq!(tree.entries().len(), 2);
    }

    #[test]
    fn what_is_no_plain_yaml_is_refused_with_its_line() {
        let check = |text: &str, lines: std::ops::RangeInclusive<u32>| {
            let problem = tree(text).expect_err(text);
            assert_eq!(problem.code, code::YAML_INVALID, "{text}");
            let line = problem.line.expect(text);
            assert!(lines.contains(&line), "{text}: line {line}: {}", problem.detail);
        };
        check("a: 1\nb: [1,\nc: }\n", 2..=3);
        check("a: 1\n8080: x\n", 2..=2);
        check("a: &x {b: 1}\nc:\n  <<: *x\n", 3..=3);
        check("a: 1\n---\nb: 2\n", 2..=3);
        check("a: 1\nb: !thing x\n", 2..=2);
    }

    #[test]
    fn what_is_too_large_though_its_text_is_not_is_refused() {
        let check = |text: &str, expect: Option<&str>| {
            let found = tree(text).expect("a tree").excess();
            assert_eq!(found.map(|problem| problem.code), expect, "{} bytes", text.len());
        };
        let above = |name: usize, values: usize| format!("? {}\n: [{}]\n", "a".repeat(name), "x, ".repeat(values));
        check(&above(1024, 1000), None);
        check(&above(1024, 5000), Some(code::SCORE_TOO_LARGE));
        check(&above(1025, 0), Some(code::TOO_LONG));
        check(&above(8, 20_000), None);
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let below = level - 1;
            let aliases = vec![format!("*l{below}"); 10].join(", ");
            text.push_str(&format!("l{level}: &l{level} [{aliases}]\n"));
        }
        let problem = tree(&text).expect_err("a bomb");
        assert_eq!(problem.code, code::YAML_INVALID);
        let long = "x".repeat(100 * 1024);
        let aliases = vec!["*a"; 900].join(", ");
        let problem = tree(&format!("a: &a {long}\nb: [{aliases}]\n")).expect_err("a bomb");
        assert_eq!(problem.code, code::YAML_INVALID);
    }

    #[test]
    fn a_file_may_have_256_kib_and_no_byte_more() {
        let file = |bytes: usize| format!("a: {}", "x".repeat(bytes - 3));
        assert!(tree(&file(MAX_FILE_BYTES)).is_ok());
        let problem = tree(&file(MAX_FILE_BYTES + 1)).expect_err("too large");
        assert_eq!(problem.code, code::SCORE_TOO_LARGE);
    }
}
