//! The forms in which a secret can show: as it is, as a text of JSON or of terraform's own language, in base64. Those of
//! a URL are no forms of their own: whoever compares decodes them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use crate::state::quoted;

/// Texts up to this many characters are no secrets.
const SHORT: usize = 3;
/// Lines of a secret of several lines count as secrets of their own from this length.
const LINE: usize = 8;
/// A part of a base64 text that nothing but the secret decides counts from this length.
const PART: usize = 8;
/// Where programs break base64: as PEM has it, and as MIME has it.
const COLUMNS: [usize; 2] = [64, 76];

/// All forms of a secret; none of one that is too short.
pub(super) fn of(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    let lines = secret.lines().map(str::trim).filter(|line| line.chars().count() >= LINE);
    for text in [secret, secret.trim()].into_iter().chain(lines) {
        if text.trim().chars().count() > SHORT {
            add(text, &mut forms);
        }
    }
    forms
}

fn add(text: &str, forms: &mut BTreeSet<String>) {
    let json = unquoted(&Value::from(text).to_string());
    // What terraform's `jsonencode` and its events make of these three.
    let json_of_terraform = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    for spelling in BTreeSet::from([text.to_owned(), json, json_of_terraform]) {
        forms.extend(in_base64(&spelling));
        forms.insert(unquoted(&Value::from(spelling.as_str()).to_string()));
        forms.insert(unquoted(&quoted(&spelling)));
        forms.insert(ascii(&spelling));
        forms.insert(spelling);
    }
}

fn unquoted(text: &str) -> String {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text).to_owned()
}

/// As programs write JSON that keep to ASCII.
fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
            _ => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    ascii
}

/// In both alphabets: whole, with padding and without, in rows, and as a part of a longer base64 text, where its first byte
/// may be the first, second or third of a group.
fn in_base64(text: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([STANDARD.encode(text), STANDARD_NO_PAD.encode(text)]);
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text.as_bytes());
        let own = (8 * before).div_ceil(6)..8 * bytes.len() / 6;
        let own = STANDARD_NO_PAD.encode(&bytes)[own].to_owned();
        if before == 0 {
            COLUMNS.iter().for_each(|columns| forms.extend(rows(&own, *columns)));
        }
        forms.extend(Some(own).filter(|own| own.len() >= PART));
    }
    let of_urls: Vec<String> = forms.iter().map(|form| form.replace('+', "-").replace('/', "_")).collect();
    forms.extend(of_urls);
    forms
}

fn rows(base64: &str, columns: usize) -> Vec<String> {
    let rows = (0..base64.len()).step_by(columns).map(|start| &base64[start..base64.len().min(start + columns)]);
    rows.filter(|row| row.len() >= PART).map(str::to_owned).collect()
}
