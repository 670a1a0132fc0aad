//! A Score file as it may be shown to people who may not know what is secret in it.
//!
//! It is written anew, as YAML in the order of the text and without its comments: what has not been read is not shown.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::MAX_FILE_BYTES;
use super::problem::{Problem, child};
use super::yaml::{Kind, Node, tree};

/// What stands for what is not shown.
const MASK: &str = "(sensitive)";
/// Shorter texts stand in too many others to be hidden wherever they are.
const SHORTEST: usize = 4;
/// The longest text that is shown, in bytes: the indents of deep lists, and aliases that are written out, make a file
/// many times as long as it was, and an answer has a largest size.
const MAX_SHOWN: usize = 4 * MAX_FILE_BYTES;
/// What stands at the end of a text that would be longer.
const CUT: &str = "# The rest is left out.\n";

/// The file with a mask for whatever a pointer of `hidden` leads to, and for every text that one of `secrets` is in. A
/// long one is cut after a line, and says so.
///
/// # Errors
///
/// A text that is no YAML.
pub fn shown(text: &str, hidden: &BTreeSet<String>, secrets: &[String]) -> Result<String, Problem> {
    let secrets = secrets.iter().filter(|secret| secret.len() >= SHORTEST).map(String::as_str).collect();
    let mut writer = Writer { hidden, secrets, out: String::new() };
    let tree = tree(text)?;
    match &tree.kind {
        Kind::Map(entries) if entries.is_empty() => {}
        Kind::Map(_) | Kind::List(_) => writer.block(&tree, "", 0),
        _ => writer.scalar(&tree, 0),
    }
    Ok(cut(writer.out))
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_SHOWN {
        let end = text.as_bytes().iter().take(MAX_SHOWN).rposition(|byte| *byte == b'\n');
        text.truncate(end.map_or(0, |end| end + 1));
        text.push_str(CUT);
    }
    text
}

struct Writer<'a> {
    hidden: &'a BTreeSet<String>,
    secrets: Vec<&'a str>,
    out: String,
}

impl Writer<'_> {
    fn is_secret(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret))
    }

    /// Whether what comes next would be cut off.
    fn is_full(&self) -> bool {
        self.out.len() > MAX_SHOWN
    }

    /// A map or a list that is not empty, from the beginning of a line on.
    fn block(&mut self, node: &Node, pointer: &str, indent: usize) {
        for entry in node.entries() {
            if self.is_full() {
                return;
            }
            self.indent(indent);
            let key = if self.is_secret(&entry.key.text) { MASK.to_owned() } else { plain(&entry.key.text) };
            self.out.push_str(&key);
            self.out.push(':');
            self.value(&entry.value, &child(pointer, &entry.key.text), indent);
        }
        for (index, item) in node.items().iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.indent(indent);
            self.out.push('-');
            self.value(item, &child(pointer, &index.to_string()), indent);
        }
    }

    /// What stands after a key or a dash.
    fn value(&mut self, node: &Node, pointer: &str, indent: usize) {
        if self.hidden.contains(pointer) {
            let _ = writeln!(self.out, " {MASK}");
            return;
        }
        match &node.kind {
            Kind::Map(entries) if entries.is_empty() => self.out.push_str(" {}\n"),
            Kind::List(items) if items.is_empty() => self.out.push_str(" []\n"),
            Kind::Map(_) | Kind::List(_) => {
                self.out.push('\n');
                self.block(node, pointer, indent + 2);
            }
            Kind::Null | Kind::Boolean(_) | Kind::Number(_) | Kind::Text(_) => {
                self.out.push(' ');
                self.scalar(node, indent + 2);
            }
        }
    }

    fn scalar(&mut self, node: &Node, indent: usize) {
        let text = match &node.kind {
            Kind::Boolean(truth) => truth.to_string(),
            Kind::Number(number) => number.to_string(),
            Kind::Text(text) => text.clone(),
            Kind::Null | Kind::List(_) | Kind::Map(_) => "null".to_owned(),
        };
        if self.is_secret(&text) {
            let _ = writeln!(self.out, "{MASK}");
            return;
        }
        match &node.kind {
            Kind::Text(_) if is_block(&text) => {
                self.out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
                for line in text.lines() {
                    if !line.is_empty() {
                        self.indent(indent);
                    }
                    self.out.push_str(line);
                    self.out.push('\n');
                }
            }
            Kind::Text(_) => {
                let _ = writeln!(self.out, "{}", plain(&text));
            }
            _ => {
                let _ = writeln!(self.out, "{text}");
            }
        }
    }

    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

/// Whether a text of several lines can stand as a block of them.
fn is_block(text: &str) -> bool {
    let lines = text.trim_end_matches('\n');
    lines.contains('\n')
        && text.len() - lines.len() <= 1
        && !text.starts_with([' ', '\n'])
        && !text.chars().any(|letter| letter != '\n' && is_escaped(letter))
}

/// A text of one line as it is where nothing else could be meant by it, else in quotes.
fn plain(text: &str) -> String {
    let first = |letter: char| letter.is_ascii_alphabetic() || "$/_".contains(letter);
    let inner = |letter: char| letter.is_alphanumeric() || " $/_.-+{}@=()".contains(letter);
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    let clear = text.starts_with(first) && text.chars().all(inner) && !text.ends_with(' ') && !word;
    if clear { text.to_owned() } else { quoted(text) }
}

/// As JSON, and with an escape for whatever else YAML does not take as it is.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for letter in serde_json::Value::from(text).to_string().chars() {
        if is_escaped(letter) {
            let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
        } else {
            quoted.push(letter);
        }
    }
    quoted
}

/// Whether a letter is one that does not print, or a byte order mark.
fn is_escaped(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, hidden: &[&str], secrets: &[&str], expect: &str) {
        let hidden: BTreeSet<String> = hidden.iter().map(|pointer| (*pointer).to_owned()).collect();
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        assert_eq!(shown(text, &hidden, &secrets).expect("a file"), expect, "{text}");
    }

    #[test]
    fn a_file_is_shown_in_the_order_of_its_text() {
        let text = "b:\n  - x: 1 # a comment\n    z: ${a.b}\n  - - two\na: {}\nc: []\nd: null\n";
        check(text, &[], &[], "b:\n  -\n    x: 1\n    z: ${a.b}\n  -\n    - two\na: {}\nc: []\nd: null\n");
        check("e: '0.5'\nf: |\n  one\n\n  two\n", &[], &[], "e: \"0.5\"\nf: |\n  one\n\n  two\n");
        check(r#"{"a": {"b": [true, "no", "x"]}}"#, &[], &[], "a:\n  b:\n    - true\n    - \"no\"\n    - x\n");
    }

    #[test]
    fn what_is_written_anew_reads_as_what_it_was() {
        let words =
            ["", " a", "a ", "a b", "a#b", "a: b", "a:", "a\\b", "*a", "ä", "-", "~", "1e3", "0x1f", "null", "Yes"];
        let blocks = ["a\nb", "a\nb\n", "a\n\n", "\ta\nb", " a\nb", "a\n  b\n\nc", "\n"];
        for text in words.into_iter().chain(blocks) {
            let json = serde_json::json!({"k": text, "l": [text]}).to_string();
            let again = shown(&json, &BTreeSet::new(), &[]).expect("a file");
            assert_eq!(tree(&again).expect("a file").to_value(), tree(&json).expect("a file").to_value(), "{again}");
        }
    }

    #[test]
    fn what_does_not_print_is_written_as_an_escape() {
        let text = r#"a: ["\x7f", "\x9f\n\ufffe\n", "\ufeff \uffff", "\x01"]"#;
        let again = shown(text, &BTreeSet::new(), &[]).expect("a file");
        assert_eq!(tree(&again).expect("a file").to_value(), tree(text).expect("a file").to_value(), "{again}");
    }

    #[test]
    fn what_would_be_much_longer_than_the_file_is_cut_after_a_line() {
        let deep = |items: usize| {
            let items = "[x],".repeat(items);
            shown(&format!("a: {}{items}{}", "[".repeat(50), "]".repeat(50)), &BTreeSet::new(), &[]).expect("a file")
        };
        let whole = deep(1_000);
        assert!(whole.len() > 100_000 && !whole.contains(CUT), "{} bytes", whole.len());
        let part = deep(20_000);
        assert!(part.len() <= MAX_SHOWN + CUT.len(), "{} bytes", part.len());
        assert!(part.starts_with(whole.get(..100_000).expect("ASCII")));
        assert!(part.ends_with(&format!("-\n{CUT}")) || part.ends_with(&format!("- x\n{CUT}")));
    }

    #[test]
    fn what_is_hidden_is_masked_with_all_that_is_in_it() {
        let text = "resources:\n  db:\n    params:\n      a/b: {c: [hunter2]}\n      size: 3\n";
        let expect = "resources:\n  db:\n    params:\n      a/b: (sensitive)\n      size: 3\n";
        check(text, &["/resources/db/params/a~1b"], &[], expect);
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        let text = "# hunter2\na: &x hunter2\nb: *x\nurl: pg://u:hunter2@h\nhunter2: 1\npin: 123456\nshort: abc\n";
        let expect = "a: (sensitive)\nb: (sensitive)\nurl: (sensitive)\n(sensitive): 1\npin: (sensitive)\nshort: abc\n";
        check(text, &[], &["hunter2", "123456", "abc"], expect);
    }
}
