//! Placeholders in a text: read, written down again, resolved.

use std::collections::BTreeSet;

use conductor_domain::score::{
    Dialect, Part, PlaceholderError, Reference, Resolved, Root, code, references, resolve, scan,
};
use serde_json::{Value, json};

/// What every placeholder stands for here.
const VALUE: &str = "value of ${a.b}";

/// A text in which placeholders may stand.
pub fn placeholders(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for dialect in [Dialect::ScoreV1b1, Dialect::Conductor] {
        match scan(text, dialect) {
            Ok(parts) => {
                assert_eq!(scan(&written(&parts), dialect).as_ref(), Ok(&parts), "{text:?}");
                resolved(text, dialect, &parts);
            }
            Err(error) => refused(text, &error),
        }
        placed(text, dialect);
    }
}

/// The parts as a text again.
fn written(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => escaped(text),
        Part::Ref(Reference { source, .. }) => format!("${{{source}}}"),
    };
    parts.iter().map(part).collect()
}

/// With every `$` escaped; an escape covers what stands in braces after it.
fn escaped(text: &str) -> String {
    // Behind its last brace nothing is covered, and need not be looked for.
    let (mut rest, open) = text.split_at(text.rfind('}').map_or(0, |end| end + 1));
    let mut escaped = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        let covered = after.strip_prefix('{').and_then(|inner| inner.find('}')).map_or(0, |end| end + 2);
        let (covered, after) = after.split_at(covered);
        escaped.extend([before, "$$", covered]);
        rest = after;
    }
    escaped + rest + &open.replace('$', "$$")
}

/// Each placeholder is replaced once, and what stands in its value is not looked at.
fn resolved(text: &str, dialect: Dialect, parts: &[Part]) {
    let mut asked = Vec::new();
    let mut look_up = |reference: &Reference| -> Result<Resolved, PlaceholderError> {
        asked.push(reference.clone());
        Ok(Resolved { value: Value::from(VALUE), sensitive: true })
    };
    let found = resolve(&Value::from(text), dialect, &mut look_up).expect("what was scanned resolves");
    let expect: Vec<&Reference> = parts.iter().filter_map(reference).collect();
    assert_eq!(asked.iter().collect::<Vec<_>>(), expect, "{text:?}");
    let whole: String = parts.iter().map(|part| literal(part).unwrap_or(VALUE)).collect();
    assert_eq!(found.value, Value::from(whole), "{text:?}");
    assert_eq!(found.is_sensitive(), !expect.is_empty(), "{text:?}");
}

fn reference(part: &Part) -> Option<&Reference> {
    match part {
        Part::Ref(reference) => Some(reference),
        Part::Text(_) => None,
    }
}

fn literal(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => Some(text),
        Part::Ref(_) => None,
    }
}

/// Whatever is found in a value has the pointer of the text in which it is.
fn placed(text: &str, dialect: Dialect) {
    let value = json!({"a/b": [null, text]});
    let pointers: Vec<String> = match references(&value, dialect, &BTreeSet::from(["a", "db"])) {
        Ok(found) => found
            .into_iter()
            .map(|(pointer, Reference { root, .. })| {
                let known = match &root {
                    Root::Resource { name, .. } => ["a", "db"].contains(&name.as_str()),
                    Root::Metadata { path } => !path.is_empty(),
                };
                assert!(known, "{root:?}");
                pointer
            })
            .collect(),
        Err(errors) => {
            errors.iter().for_each(|(_, error)| refused(text, error));
            errors.into_iter().map(|(pointer, _)| pointer).collect()
        }
    };
    assert!(pointers.iter().all(|pointer| pointer == "/a~1b/1"), "{pointers:?}");
}

/// An error has a known code, and repeats no more than what it is about.
fn refused(text: &str, error: &PlaceholderError) {
    assert!(code::ALL.contains(&error.code()), "{error:?}");
    assert!(error.to_string().len() <= 4 * text.len() + 1024, "{text:?}");
}
