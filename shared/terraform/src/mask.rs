//! Replaces known secrets in text. Pure; it only knows what it is told.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// What stands where a secret stood.
pub const MASKED: &str = "(sensitive)";

/// Values up to this many characters are left: they would mask half of the text.
const SHORT: usize = 3;

/// Lines of a secret of several lines count as secrets of their own from this length.
const LINE: usize = 8;

/// A set of secrets, in every form in which they can show.
#[derive(Clone, Default)]
pub struct Masker {
    /// Longest first, so that a secret within a secret does not leave the rest of it.
    needles: Vec<String>,
}

impl Masker {
    /// Secrets longer than 3 characters; shorter ones are ignored.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut needles = BTreeSet::new();
        for secret in secrets {
            let secret = secret.as_ref();
            let lines = secret.lines().filter(|line| line.trim().chars().count() >= LINE);
            for form in std::iter::once(secret).chain(lines) {
                if form.chars().count() > SHORT {
                    needles.insert(form.to_owned());
                    needles.insert(escaped(form));
                    needles
                        .insert(escaped(form).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
                }
            }
        }
        let mut needles: Vec<String> = needles.into_iter().collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        Self { needles }
    }

    /// The text with each secret replaced by [`MASKED`].
    pub fn apply(&self, text: &str) -> String {
        self.needles.iter().fold(text.to_owned(), |text, needle| {
            if text.contains(needle.as_str()) { text.replace(needle.as_str(), MASKED) } else { text }
        })
    }

    /// Whether it knows no secret.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("needles", &self.needles.len()).finish()
    }
}

/// The text with each of `secrets` (longer than 3 characters), also in its JSON form, replaced by [`MASKED`].
pub fn mask(text: &str, secrets: &[String]) -> String {
    Masker::new(secrets).apply(text)
}

/// The texts that a sensitive value holds: strings and numbers at any depth. Keys are not secrets.
pub fn secrets_in(value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Bool(_) => Vec::new(),
        Value::Number(number) => vec![number.to_string()],
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(secrets_in).collect(),
        Value::Object(entries) => entries.values().flat_map(secrets_in).collect(),
    }
}

fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_secrets_are_replaced_in_every_form() {
        let check = |text: &str, secrets: &[&str], expect: &str| {
            let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
            assert_eq!(mask(text, &secrets), expect);
        };
        check("the password is hunter2.", &["hunter2"], "the password is (sensitive).");
        check("abc", &["abc"], "abc");
        check("a\\\"b\\\\c", &["a\"b\\c"], "(sensitive)");
        check("a\\u003cb\\u0026c", &["a<b&c"], "(sensitive)");
        check("longsecret and secret", &["secret", "longsecret"], "(sensitive) and (sensitive)");
        check("at line one\nat line two!", &["line one is\nline two!"], "at line one\nat (sensitive)");
        check("nothing", &[], "nothing");
    }

    #[test]
    fn secrets_are_found_at_any_depth() {
        let found = secrets_in(&json!({"a": ["x", {"b": 12345, "c": true, "d": null}]}));
        assert_eq!(found, ["x", "12345"]);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", Masker::new(["hunter2"])).contains("hunter2"));
    }
}
