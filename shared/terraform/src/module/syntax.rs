//! Configuration files → blocks and their lines, the same for HCL and its JSON form. Knows which members of the JSON
//! form are blocks and how many labels they have, and nothing of what the blocks mean.

use std::collections::BTreeMap;
use std::ops::Range;

use hcl::edit::Span;
use hcl::edit::expr::{Expression, ObjectKey};
use hcl::edit::parser;
use hcl::edit::structure::{self, Structure};
use hcl::edit::template::Template;
use hcl::{Attribute, Block, Body, Identifier, Number};

use super::json::{self, Json, Member};
use super::{ModuleError, agreement};

/// The longest file that is parsed.
pub(super) const MAX_FILE_BYTES: usize = 256 << 10;

/// The most `=` and `:` in all that is parsed of a module: the parser compares every key of an object with all before
/// it. Large public modules have 2,000 to 6,000, with the modules that they call.
const MAX_ITEMS: usize = 10_000;

/// The most bytes of all that is parsed of a module: of one the parser makes up to a few hundred.
const MAX_BYTES: usize = 1 << 20;

/// The most bytes that the ways to all values of a JSON file have together: each block has a copy of its labels, and a
/// long one above many small blocks would make gigabytes of them.
const MAX_WAYS: usize = 16 << 20;

/// What JSON calls a comment.
const COMMENT: &str = "//";

/// What is left of what all that is parsed of a module may have.
pub(super) struct Budget {
    items: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { items: MAX_ITEMS, bytes: MAX_BYTES }
    }
}

impl Budget {
    /// Takes what a text may cost, before it is parsed.
    pub fn spend(&mut self, file: &str, content: &[u8]) -> Result<(), ModuleError> {
        let left = self.items.checked_sub(items(content)).zip(self.bytes.checked_sub(content.len()));
        let (items, bytes) =
            left.ok_or_else(|| ModuleError::TooComplex { file: file.to_owned(), items: MAX_ITEMS, bytes: MAX_BYTES })?;
        *self = Self { items, bytes };
        Ok(())
    }
}

/// How many items objects and blocks have at most, also in texts that are parsed again, where an escape may stand for
/// `=`.
fn items(content: &[u8]) -> usize {
    let separators = content.iter().filter(|byte| matches!(byte, b'=' | b':')).count();
    let escapes = content.windows(2).filter(|bytes| matches!(bytes, [b'\\', b'u' | b'U'])).count();
    separators + escapes
}

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

/// A configuration file.
pub(super) enum Parsed {
    /// In HCL.
    Hcl(structure::Body, Lines),
    /// In JSON.
    Json(Vec<Member>),
}

/// Where the lines of a text end.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    /// The lines of a text.
    pub fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(end, _)| end).collect())
    }

    /// The line that a place is in, from 1.
    pub fn at(&self, place: usize) -> usize {
        self.0.partition_point(|end| *end < place) + 1
    }

    /// The line that something begins in.
    pub fn start(&self, span: Option<Range<usize>>) -> usize {
        self.at(span.map_or(0, |span| span.start))
    }
}

/// A block, and where it begins.
pub(super) struct Section<'a> {
    pub kind: &'a str,
    pub labels: Vec<&'a str>,
    pub line: usize,
    pub entries: Vec<Entry<'a>>,
    pub sections: Vec<Section<'a>>,
}

/// An attribute of a block. In JSON it may be a block of a kind that only its provider knows.
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub line: usize,
    pub value: Value<'a>,
}

/// The value of an attribute.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// In HCL.
    Hcl(&'a Expression, &'a Lines),
    /// In JSON.
    Json(&'a Json),
}

/// Reads one file.
pub(super) fn parse(file: &str, content: &[u8]) -> Result<Parsed, ModuleError> {
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
        let json = json::parse(text).map_err(|error| invalid(Some(error.line), error.message))?;
        if json.ways(0) > MAX_WAYS {
            return Err(invalid(None, "the names are too long for how many values stand below them".to_owned()));
        }
        return match json {
            Json::Object(members) => Ok(Parsed::Json(members)),
            _ => Err(invalid(Some(1), "not a JSON object".to_owned())),
        };
    }
    let body =
        parser::parse_body(text).map_err(|error| invalid(Some(error.location().line()), error.message().to_owned()))?;
    let lines = Lines::of(text);
    match agreement::in_body(&body, text) {
        Some(place) => Err(invalid(Some(lines.at(place)), agreement::MESSAGE.to_owned())),
        None => Ok(Parsed::Hcl(body, lines)),
    }
}

/// Whether there is more in a text than the text.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("${") || text.contains("%{")
}

/// Reads a text that is a template; else says why it cannot, and in which of its lines.
pub(super) fn template(text: &str) -> Result<Template, (usize, String)> {
    if text.len() > MAX_FILE_BYTES {
        return Err((1, format!("a template must not have over {MAX_FILE_BYTES} bytes")));
    }
    let template =
        parser::parse_template(text).map_err(|error| (error.location().line(), error.message().to_owned()))?;
    match agreement::in_template(&template, text) {
        Some(place) => Err((Lines::of(text).at(place), agreement::MESSAGE.to_owned())),
        None => Ok(template),
    }
}

impl Parsed {
    /// Its blocks.
    pub fn sections(&self) -> Vec<Section<'_>> {
        match self {
            Self::Hcl(body, lines) => body.blocks().map(|block| in_hcl(block, lines)).collect(),
            Self::Json(members) => {
                let mut sections = Vec::new();
                for member in members.iter().filter(|member| member.name != COMMENT) {
                    let labels = labels("", &member.name).unwrap_or(0);
                    in_json(&member.name, labels, member.line, &member.value, &mut Vec::new(), &mut sections);
                }
                sections
            }
        }
    }

    /// The same without lines, to evaluate constants in it.
    pub fn into_body(self) -> Body {
        match self {
            Self::Hcl(body, _) => body.into(),
            Self::Json(_) => Body(self.sections().iter().map(|section| block(section).into()).collect()),
        }
    }
}

fn in_hcl<'a>(block: &'a structure::Block, lines: &'a Lines) -> Section<'a> {
    let mut section = Section {
        kind: block.ident.as_str(),
        labels: block.labels.iter().map(|label| label.as_str()).collect(),
        line: lines.start(block.ident.span()),
        entries: Vec::new(),
        sections: Vec::new(),
    };
    for structure in &block.body {
        match structure {
            Structure::Attribute(attribute) => section.entries.push(Entry {
                name: attribute.key.as_str(),
                line: lines.start(attribute.key.span()),
                value: Value::Hcl(&attribute.value, lines),
            }),
            Structure::Block(inner) => section.sections.push(in_hcl(inner, lines)),
        }
    }
    section
}

/// How many labels a block has, by what it stands in and its kind; `None` for what is no block to terraform itself.
fn labels(parent: &str, kind: &str) -> Option<usize> {
    Some(match (parent, kind) {
        ("", "resource" | "data" | "ephemeral" | "action" | "list") => 2,
        ("", "variable" | "output" | "module" | "provider" | "check") => 1,
        ("", "terraform" | "locals" | "removed" | "moved" | "import") => 0,
        ("terraform", "backend" | "state_store" | "provider_meta") => 1,
        ("terraform", "cloud" | "required_providers") => 0,
        ("resource" | "data" | "ephemeral" | "removed", "provisioner") => 1,
        ("resource" | "data" | "ephemeral" | "removed" | "provisioner", "connection") => 0,
        ("check", "data") => 2,
        _ => return None,
    })
}

/// The blocks of a kind: each level of labels, and the block itself, may be an object or an array of objects.
fn in_json<'a>(
    kind: &'a str,
    labels: usize,
    line: usize,
    value: &'a Json,
    named: &mut Vec<&'a str>,
    into: &mut Vec<Section<'a>>,
) {
    match value {
        Json::List(items) => items.iter().for_each(|item| in_json(kind, labels, line, item, named, into)),
        Json::Object(members) if labels == 0 => into.push(json_section(kind, named.clone(), line, members)),
        Json::Object(members) => {
            for member in members.iter().filter(|member| member.name != COMMENT) {
                named.push(&member.name);
                in_json(kind, labels - 1, member.line, &member.value, named, into);
                named.pop();
            }
        }
        Json::Scalar(_) | Json::Text(..) => {}
    }
}

fn json_section<'a>(kind: &'a str, named: Vec<&'a str>, line: usize, members: &'a [Member]) -> Section<'a> {
    let mut section = Section { kind, labels: named, line, entries: Vec::new(), sections: Vec::new() };
    for Member { name, line, value } in members.iter().filter(|member| member.name != COMMENT) {
        match labels(kind, name) {
            Some(labels) => in_json(name, labels, *line, value, &mut Vec::new(), &mut section.sections),
            None => section.entries.push(Entry { name, line: *line, value: Value::Json(value) }),
        }
    }
    section
}

impl<'a> Value<'a> {
    /// Its text, where it is one that nothing has to be put into.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Json(Json::Text(text, _)) => (!is_template(text)).then(|| text.clone()),
            Self::Json(_) => None,
            Self::Hcl(Expression::String(text), _) => Some(text.value().clone()),
            Self::Hcl(Expression::HeredocTemplate(heredoc), _) => {
                heredoc.template.iter().map(|element| element.as_literal().map(|text| text.as_str())).collect()
            }
            Self::Hcl(Expression::Parenthesis(inner), lines) => Value::Hcl(inner.inner(), lines).text(),
            Self::Hcl(..) => None,
        }
    }

    /// What it has under a name, where it is an object.
    pub fn member(self, wanted: &str) -> Option<Value<'a>> {
        match self {
            // Of two with one name terraform takes the last.
            Self::Json(Json::Object(members)) => {
                members.iter().rev().find(|member| member.name == wanted).map(|member| Value::Json(&member.value))
            }
            Self::Hcl(Expression::Object(object), lines) => {
                let named = object.iter().filter_map(|(key, value)| {
                    let named = match key {
                        ObjectKey::Ident(name) => name.as_str() == wanted,
                        ObjectKey::Expression(Expression::String(name)) => name.as_str() == wanted,
                        ObjectKey::Expression(_) => false,
                    };
                    named.then(|| Value::Hcl(value.expr(), lines))
                });
                named.last()
            }
            _ => None,
        }
    }

    /// Whether it is an object whose names are all as they are written.
    pub fn has_plain_names(self) -> bool {
        match self {
            Self::Json(Json::Object(members)) => members.iter().all(|member| !is_template(&member.name)),
            Self::Hcl(Expression::Object(object), _) => object
                .iter()
                .all(|(key, _)| matches!(key, ObjectKey::Ident(_) | ObjectKey::Expression(Expression::String(_)))),
            _ => false,
        }
    }

    /// What a reference begins with: `aws`, `aws.west` or, as a text, `"aws.west"` → `aws`.
    pub fn root(self) -> Option<String> {
        let first = |text: &str| text.split('.').next().map(str::to_owned);
        match self {
            Self::Json(Json::Text(text, _)) => first(text),
            Self::Json(_) => None,
            Self::Hcl(Expression::String(text), _) => first(text.value()),
            Self::Hcl(Expression::Variable(name), _) => Some(name.as_str().to_owned()),
            Self::Hcl(Expression::Traversal(traversal), lines) => Value::Hcl(&traversal.expr, lines).root(),
            Self::Hcl(..) => None,
        }
    }
}

fn block(section: &Section<'_>) -> Block {
    let mut block = Block::new(Identifier::sanitized(section.kind));
    block.labels = section.labels.iter().map(|label| (*label).into()).collect();
    let attributes = section.entries.iter().filter_map(|entry| match entry.value {
        Value::Json(json) => Some(Attribute::new(Identifier::sanitized(entry.name), expression(json)).into()),
        Value::Hcl(..) => None,
    });
    block.body = Body(attributes.chain(section.sections.iter().map(|inner| self::block(inner).into())).collect());
    block
}

fn expression(json: &Json) -> hcl::Expression {
    match json {
        Json::Scalar(value) => scalar(value),
        Json::Text(text, _) => hcl::Expression::String(text.clone()),
        Json::List(items) => hcl::Expression::Array(items.iter().map(expression).collect()),
        Json::Object(members) => {
            let key = |name: &str| hcl::ObjectKey::Expression(hcl::Expression::String(name.to_owned()));
            hcl::Expression::Object(members.iter().map(|one| (key(&one.name), expression(&one.value))).collect())
        }
    }
}

fn scalar(value: &serde_json::Value) -> hcl::Expression {
    match value {
        serde_json::Value::Bool(value) => hcl::Expression::Bool(*value),
        serde_json::Value::Number(number) => number_of(number).map_or(hcl::Expression::Null, hcl::Expression::Number),
        _ => hcl::Expression::Null,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sections: &[Section<'_>]) -> Vec<String> {
        let mut all = Vec::new();
        for section in sections {
            all.push(format!("{}: {} {}", section.line, section.kind, section.labels.join(".")));
            all.extend(section.entries.iter().map(|entry| format!("{}: {}", entry.line, entry.name)));
            all.extend(shown(&section.sections));
        }
        all
    }

    fn sections(file: &str, text: &str) -> Vec<String> {
        shown(&parse(file, text.as_bytes()).expect("a configuration").sections())
    }

    #[test]
    fn blocks_and_attributes_have_the_line_that_they_begin_in() {
        let lines = [
            "\u{feff}# a",
            "resource \"a\" b {",
            "  text = <<-EOT",
            "    ${one}",
            "  EOT",
            "  /*",
            "  */ provisioner \"local-exec\" { command = \"x\" }",
            "}",
        ];
        let expect = ["2: resource a.b", "3: text", "7: provisioner local-exec", "7: command"];
        assert_eq!(sections("a.tf", &lines.join("\n")), expect);
        assert_eq!(sections("a.tf", &lines.join("\r\n")), expect);
    }

    #[test]
    fn blocks_in_json_may_be_arrays_at_each_level_and_may_have_one_name() {
        let text = r#"{
          "//": "a",
          "resource": [{"a": {"b": [{"text": 1, "provisioner": [
            {"local-exec": {"connection": {"host": "x"}}},
            {"file": [{}]}]}]}}],
          "resource": {"a": {"//": {}, "c": {"provisioner": null, "//": ""}}},
          "check": {"d": {"data": {"http": {"e": {"url": ""}}}}},
          "terraform": {"required_providers": [{"aws": "1"}, {"aws":
            "2"}]},
          "unknown": {"name": ""}
        }"#;
        let expect = [
            "3: resource a.b",
            "3: text",
            "4: provisioner local-exec",
            "4: connection ",
            "4: host",
            "5: provisioner file",
            "6: resource a.c",
            "7: check d",
            "7: data http.e",
            "7: url",
            "8: terraform ",
            "8: required_providers ",
            "8: aws",
            "8: required_providers ",
            "8: aws",
            "10: unknown ",
            "10: name",
        ];
        assert_eq!(sections("a.tf.json", text), expect);
    }

    #[test]
    fn what_is_no_configuration_names_its_line() {
        let check = |file: &str, content: &[u8], expect: Option<usize>| match parse(file, content) {
            Err(ModuleError::HclInvalid { line, .. }) => assert_eq!(line, expect, "{content:?}"),
            other => panic!("{content:?}: {:?}", other.map(|_| ())),
        };
        check("a.tf", b"a = 1\nb = \xff\n", Some(2));
        check("a.tf.json", b"{\n\"a\": \"\xff\"}", Some(2));
        check("a.tf.json", b"[]", Some(1));
        check("a.tf.json", b"{}\n{}", Some(2));
        check("a.tf", b"a = 1\nb = <<EOT\nEOT\nc = <<EOT\nEOT\n", Some(2));
        check("a.tf", b"a = 1\nb = \"\n$$${c}\"\n", Some(3));
        check("a.tf", "\u{feff}\u{feff}a = 1\n".as_bytes(), Some(1));
        check("a.tf", &vec![b' '; MAX_FILE_BYTES + 1], None);
    }

    #[test]
    fn what_a_module_has_too_much_of_is_not_parsed() {
        let check = |texts: &[&str], expect: bool| {
            let mut budget = Budget::default();
            let spent = texts.iter().try_for_each(|text| budget.spend("a.tf", text.as_bytes()));
            assert_eq!(spent.map_err(|error| error.code()), if expect { Ok(()) } else { Err("template_too_complex") });
        };
        let (half, attribute) = ("a=1,b:2,".repeat(MAX_ITEMS / 4), "c = 1\n");
        check(&[&half, &half], true);
        check(&[&half, &half, attribute], false);
        check(&[&half, attribute, &half], false);
        check(&[&half, &"\"\\u003d\\U0000003a\"".repeat(MAX_ITEMS / 4)], true);
        check(&[&half, &"\"\\u003d\\U0000003a\"".repeat(MAX_ITEMS / 4), attribute], false);
        check(&[&"[1,1]\n".repeat(MAX_BYTES / 6)], true);
        check(&[&"[1,1]\n".repeat(MAX_BYTES / 6), "[1,1]"], false);
    }

    #[test]
    fn a_template_says_in_which_line_it_is_none() {
        let check = |text: &str, expect: Option<usize>| {
            assert_eq!(template(text).err().map(|(line, _)| line), expect, "{text}");
        };
        check("a ${b}\n%{ if c }d%{ endif }", None);
        check("a\n${b", Some(2));
        check("a\nb\n$$${c}", Some(3));
        check(&"a".repeat(MAX_FILE_BYTES + 1), Some(1));
    }
}
