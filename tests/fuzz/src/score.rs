//! Score files of both dialects, read as a deployment reads them.

use std::collections::BTreeSet;

use conductor_domain::operation::MAX_OPERATIONS;
use conductor_domain::score::{
    MAX_FILE_BYTES, MAX_PROBLEMS, SERVICE_TYPE, ScoreFile, check_schema, code, order, parse, parse_value, places, shown,
};
use conductor_domain::{Code, Refusal};
use conductor_engine::read_file;
use serde_json::Value;

/// The most that a refusal says, in bytes: with it an answer stays below the 6 MB of Lambda's.
const MAX_REFUSAL: usize = 4 << 20;

/// A text that claims to be a Score file.
pub fn score(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read_file(text) {
        Ok(file) => taken(text, &file),
        Err(refusal) => refused(text, &refusal),
    }
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        as_json(text, value);
    }
    let found = places(text, &["", "/resources/a/params/~1/0", "/nothing/~2", "no pointer"]);
    assert!(found.iter().all(|(line, column)| line.is_some() == column.is_some()), "{found:?}");
}

fn taken(text: &str, file: &ScoreFile) {
    assert!(file.resources.len() <= MAX_OPERATIONS, "{} resources", file.resources.len());
    assert_eq!(parse(text).as_ref(), Ok(file), "{text:?}");
    let record = serde_json::to_value(file).expect("a record");
    assert_eq!(serde_json::from_value::<ScoreFile>(record).expect("a record"), *file, "{text:?}");
    ordered(file);
    written(text, file);
}

/// Each operation stands once, and after all that it depends on.
fn ordered(file: &ScoreFile) {
    let plan = order(file).expect("a file that was taken has an order");
    let operations = file.resources.iter().filter(|(_, requirement)| requirement.kind != SERVICE_TYPE);
    let mut names: Vec<&String> = plan.order.iter().collect();
    names.sort();
    assert_eq!(names, operations.map(|(name, _)| name).collect::<Vec<_>>());
    let mut before = BTreeSet::new();
    for name in &plan.order {
        for dependency in plan.edges[name].keys() {
            assert!(before.contains(dependency), "{name} stands before {dependency}");
        }
        before.insert(name);
    }
}

/// What is shown of a file says what the file says.
fn written(text: &str, file: &ScoreFile) {
    let shown = shown(text, &BTreeSet::new(), &[]).expect("a file that was taken is shown");
    // Aliases are written out, and each line is indented: it may be longer than a file may be.
    if shown.len() <= MAX_FILE_BYTES {
        assert_eq!(parse(&shown).as_ref(), Ok(file), "{text:?} became {shown:?}");
    }
}

fn refused(text: &str, refusal: &Refusal) {
    assert!(refusal.code.status() < 500, "{refusal:?}");
    assert!(refusal.faults.len() <= MAX_PROBLEMS, "{} faults", refusal.faults.len());
    let without_place = [Code::ScoreTooLarge, Code::TooManyOperations];
    assert!(!refusal.faults.is_empty() || without_place.contains(&refusal.code), "{refusal:?}");
    let breaks = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    for fault in &refusal.faults {
        assert!(fault.pointer.is_empty() || fault.pointer.starts_with('/'), "{fault:?}");
        assert!(fault.code.as_deref().is_some_and(|found| code::ALL.contains(&found)), "{fault:?}");
        assert_eq!(fault.line.is_some(), fault.column.is_some(), "{fault:?}");
        assert!(fault.line.is_none_or(|line| (1..=breaks + 1).contains(&(line as usize))), "{fault:?}");
        assert_ne!(fault.column, Some(0), "{fault:?}");
    }
    let said: usize = refusal.faults.iter().map(|fault| fault.pointer.len() + fault.detail.len()).sum();
    assert!(said + refusal.detail.len() <= MAX_REFUSAL, "{said} bytes");
}

/// A file that is JSON says the same however it is read, as far as JSON and YAML agree on numbers.
fn as_json(text: &str, value: Value) {
    let problems = check_schema(&value);
    assert!(problems.iter().all(|problem| code::ALL.contains(&problem.code) && problem.line.is_none()), "{problems:?}");
    if let (Ok(as_text), Ok(as_value)) = (parse(text), parse_value(value)) {
        assert_eq!((as_text.dialect, &as_text.name), (as_value.dialect, &as_value.name), "{text}");
        assert!(as_text.resources.keys().eq(as_value.resources.keys()), "{text}");
    }
}
