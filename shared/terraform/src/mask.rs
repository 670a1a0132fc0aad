//! Replaces known secrets in text, in every form in which they can show. Pure; it only knows what it is told.

mod forms;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

/// What stands where a secret stood.
pub const MASKED: &str = "(sensitive)";

/// A secret is sought by so many bytes; the shortest form of one has as many.
const HEAD: usize = 4;

/// Knows secrets. Copies share what they know, so that a secret that is learned while a run goes on is masked from then on
/// by whoever speaks of the run.
#[derive(Clone, Default)]
pub struct Masker(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    secrets: HashSet<String>,
    /// All their forms, by their first bytes.
    forms: HashMap<[u8; HEAD], BTreeSet<String>>,
}

impl Masker {
    /// Knows these secrets: those longer than 3 characters; shorter ones would mask half of the text.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let masker = Self::default();
        masker.learn(secrets);
        masker
    }

    /// Knows these too from now on, and so do all copies.
    pub fn learn<S: AsRef<str>>(&self, secrets: impl IntoIterator<Item = S>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            let secret = secret.as_ref();
            if known.secrets.insert(secret.to_owned()) {
                for form in forms::of(secret) {
                    known.add(form);
                }
            }
        }
    }

    /// The text with each secret replaced by [`MASKED`]. Mask first, cut then: half a secret is not recognised.
    pub fn apply(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut shown = String::with_capacity(text.len());
        let mut end = 0;
        for start in 0..text.len() {
            let Some(length) = known.longest(&text.as_bytes()[start..]) else { continue };
            // What overlaps goes too: the rest of a secret is half a secret.
            if start >= end {
                shown.push_str(&text[end..start]);
                shown.push_str(MASKED);
            }
            end = end.max(start + length);
        }
        shown.push_str(&text[end..]);
        shown
    }

    /// Whether it knows nothing that it would mask.
    pub fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).forms.is_empty()
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Masker").field("secrets", &known.secrets.len()).finish()
    }
}

impl Known {
    fn add(&mut self, form: String) {
        if let Some(head) = form.as_bytes().first_chunk::<HEAD>().copied() {
            self.forms.entry(head).or_default().insert(form);
        }
    }

    /// How much of the beginning of a text is a secret, at most.
    fn longest(&self, text: &[u8]) -> Option<usize> {
        let heads = [head(text, None), head(text, Some(b'+')), head(text, Some(b' '))];
        let alike = heads.into_iter().flatten().filter_map(|head| self.forms.get(&head)).flatten();
        let plain = |form: &String| text.starts_with(form.as_bytes()).then_some(form.len());
        alike.filter_map(|form| plain(form).max(encoded(text, form.as_bytes()))).max()
    }
}

/// The first bytes of a text: as they stand, or, where it is said what a `+` is, percent-decoded.
fn head(text: &[u8], plus: Option<u8>) -> Option<[u8; HEAD]> {
    let Some(plus) = plus else { return text.first_chunk().copied() };
    let window = &text[..text.len().min(3 * HEAD)];
    if !window.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return None;
    }
    let (mut head, mut rest) = ([0; HEAD], window);
    for byte in &mut head {
        (*byte, rest) = match rest {
            [b'%', high, low, rest @ ..] => (decoded(*high, *low)?, rest),
            [b'+', rest @ ..] => (plus, rest),
            [same, rest @ ..] => (*same, rest),
            [] => return None,
        };
    }
    Some(head)
}

/// How long this form of a secret is at the beginning of a text, where it stands there as a part of a URL.
fn encoded(text: &[u8], form: &[u8]) -> Option<usize> {
    let mut rest = text;
    for byte in form {
        rest = match rest {
            [b'%', high, low, rest @ ..] if decoded(*high, *low) == Some(*byte) => rest,
            [b'+', rest @ ..] if *byte == b' ' => rest,
            [same, rest @ ..] if same == byte => rest,
            _ => return None,
        };
    }
    Some(text.len() - rest.len())
}

fn decoded(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, secrets: &[&str], expect: &str) {
        assert_eq!(Masker::new(secrets).apply(text), expect, "{text}");
    }

    #[test]
    fn known_secrets_are_replaced() {
        check("the password is hunter2.", &["hunter2"], "the password is (sensitive).");
        check("hunter2hunter2 hunter2", &["hunter2"], "(sensitive)(sensitive) (sensitive)");
        check("Grüße, Ölçü!", &["Ölçü"], "Grüße, (sensitive)!");
        check("abc", &["abc"], "abc");
        check("  a  b", &["     ", ""], "  a  b");
        check("nothing", &[], "nothing");
        check("", &["hunter2"], "");
    }

    #[test]
    fn of_secrets_that_overlap_nothing_is_left() {
        check("longsecret and secret", &["secret", "longsecret"], "(sensitive) and (sensitive)");
        check("secretlong", &["secret", "secretlong"], "(sensitive)");
        check("abcdefghij", &["abcdef", "defghij"], "(sensitive)");
        check("abcdefghijk", &["abcdefghij", "cdef", "ghijk"], "(sensitive)");
    }

    #[test]
    fn a_secret_is_recognised_in_json() {
        check("a\\\"b\\\\c", &["a\"b\\c"], "(sensitive)");
        check("a\\u003cb\\u0026c", &["a<b&c"], "(sensitive)");
        check("gr\\u00fc\\u00dfe", &["grüße"], "(sensitive)");
        check("{\\\"p\\\":\\\"a\\\\\\\"bc\\\"}", &["a\"bc"], "{\\\"p\\\":\\\"(sensitive)\\\"}");
    }

    #[test]
    fn a_secret_is_recognised_in_a_terraform_address() {
        check("a.b[\"x$${y}\\n%%{z}\"]: Creating...", &["x${y}\n%{z}"], "a.b[\"(sensitive)\"]: Creating...");
    }

    #[test]
    fn a_secret_is_recognised_in_a_url_however_much_of_it_is_encoded() {
        let secret = ["p@ss wörd/+&'50%"];
        check("//u:p%40ss%20w%C3%B6rd%2F%2B%26%2750%25@h", &secret, "//u:(sensitive)@h");
        check("//u:p%40ss+w%c3%b6rd%2f%2b%26%2750%25@h", &secret, "//u:(sensitive)@h");
        check("//u:p%40ss%20w%C3%B6rd/+&'50%25@h", &secret, "//u:(sensitive)@h");
        check("//u:p@ss wörd/+&'50%@h", &secret, "//u:(sensitive)@h");
        check("%70%40%73%73%20%77%c3%b6%72%64%2f%2b%26%27%35%30%25", &secret, "(sensitive)");
        check("a+b%20c", &["a+b c"], "(sensitive)");
        check("a%2Bb+c", &["a+b c"], "(sensitive)");
        check("50%25, 50%2525", &["50%25"], "(sensitive), (sensitive)");
        check("100%, or %zz, or %4", &["hunter2"], "100%, or %zz, or %4");
    }

    #[test]
    fn a_secret_is_recognised_in_base64() {
        let secret = ["hunter2-hunter2"];
        check("aHVudGVyMi1odW50ZXIy", &secret, "(sensitive)");
        check("aHVudGVyMi1odW50ZXIyOw==", &secret, "(sensitive)Ow==");
        check("dWh1bnRlcjItaHVudGVyMg==", &secret, "dW(sensitive)g==");
        check("dWh1bnRlcjItaHVudGVyMjs=", &secret, "dW(sensitive)js=");
        check("dXNodW50ZXIyLWh1bnRlcjI7", &secret, "dXN(sensitive)I7");
        check("dXNyaHVudGVyMi1odW50ZXIyOyA=", &secret, "dXNy(sensitive)OyA=");
    }

    #[test]
    fn base64_is_recognised_whole_padded_or_not_and_in_both_alphabets() {
        check("aHVudA==, aHVudA", &["hunt"], "(sensitive), (sensitive)");
        check("fn4+Pz8/Pj5+fg==", &["~~>???>>~~"], "(sensitive)");
        check("fn4-Pz8_Pj5-fg", &["~~>???>>~~"], "(sensitive)");
        check("fn4%2BPz8%2FPj5%2Bfg%3D%3D", &["~~>???>>~~"], "(sensitive)");
        // base64encode(jsonencode({s = "a<b\"&c"}))
        check("eyJzIjoiYVx1MDAzY2JcIlx1MDAyNmMifQ==", &["a<b\"&c"], "eyJzIjoi(sensitive)ifQ==");
    }

    #[test]
    fn base64_is_recognised_where_a_program_breaks_it_into_rows() {
        let secret = "0123456789".repeat(12);
        let row = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2";
        let rest = "Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
        for text in [row, rest, &row[..64]] {
            check(text, &[&secret], "(sensitive)");
        }
    }

    #[test]
    fn of_a_secret_of_several_lines_each_is_one() {
        let key = "-- BEGIN --\n  first row of it\nshort\n  second row of it\n";
        check("x first row of it", &[key], "x (sensitive)");
        check("    second row of it\n    short", &[key], "    (sensitive)\n    short");
        check("key: -- BEGIN --\\n  first row of it\\nshort\\n  second row of it\\n", &[key], "key: (sensitive)");
        check("at line one\nat line two!", &["line one is\nline two!"], "at line one\nat (sensitive)");
        check("pass1 is it", &["pass1\n"], "(sensitive) is it");
    }

    #[test]
    fn what_is_learned_later_is_known_to_copies() {
        let (masker, nobody) = (Masker::default(), Masker::default());
        let copy = masker.clone();
        assert!(copy.is_empty());
        masker.learn(["hunter2"]);
        masker.learn(["hunter2", "hunter3"]);
        assert_eq!(copy.apply("hunter2 hunter3"), "(sensitive) (sensitive)");
        assert_eq!(nobody.apply("hunter2"), "hunter2");
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
