//! Score v1b1 is read as specified: the official examples, and what becomes of them when something in them is broken.
//!
//! The verdict on every example and every mutation is that of a JSON Schema validator with the official schema.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use conductor_domain::score::{Plan, Requirement, ScoreFile, check_schema, order, parse};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Mutations of each example.
const MUTATIONS: u64 = 20;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/score")
}

/// Every example's file name and text, by name.
fn examples() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(data().join("examples"))
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("an example"))
        })
        .collect()
}

fn validator() -> jsonschema::Validator {
    let text = fs::read_to_string(data().join("score-v1b1.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a schema")
}

fn value_of(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("an example is YAML")
}

#[test]
fn every_official_example_is_read_and_ordered() {
    let examples = examples();
    assert_eq!(examples.len(), 43);
    for (name, text) in examples {
        let file = parse(&text).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let value = value_of(&text);
        let resources = value.get("resources").and_then(Value::as_object).cloned().unwrap_or_default();
        let expect: Vec<&String> = resources.keys().collect();
        assert_eq!(file.resources.keys().collect::<Vec<_>>(), expect, "{name}");
        assert_eq!(Value::Object(file.containers.clone()), value["containers"], "{name}");
        assert_eq!(file.name.as_deref(), value["metadata"]["name"].as_str(), "{name}");
        let plan = order(&file).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let operations = file.resources.values().filter(|requirement| requirement.kind != "service").count();
        assert_eq!(plan.order.len(), operations, "{name}");
    }
}

#[test]
fn what_every_example_needs_and_in_which_order() {
    let lines = examples().into_iter().map(|(name, text)| {
        let file = parse(&text).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        let plan = order(&file).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        format!("{name}\n{}", shown(&file, &plan))
    });
    insta::assert_snapshot!(lines.collect::<String>());
}

/// What a workload publishes and needs (type, class, sharing, parameters), a line each; then the operations in their
/// order, with what each depends on, and why.
fn shown(file: &ScoreFile, plan: &Plan) -> String {
    let mut text = String::new();
    if let Some(service) = &file.service {
        let _ = writeln!(text, "  publishes {}", as_json(&service.ports));
    }
    for (name, Requirement { kind, class, sharing, params, .. }) in &file.resources {
        let class = class.as_deref().unwrap_or("default");
        let _ = writeln!(text, "  needs {name}: {kind} {class} {} {}", as_json(sharing), as_json(params));
    }
    for (index, name) in plan.order.iter().enumerate() {
        let _ = writeln!(text, "  {}. {name} {}", index + 1, as_json(&plan.edges[name]));
    }
    text
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}

#[test]
fn our_verdict_is_that_of_the_official_schema() {
    let validator = validator();
    let mut valid = 0;
    let mut invalid = 0;
    for (index, (name, text)) in examples().into_iter().enumerate() {
        let original = value_of(&text);
        assert!(validator.is_valid(&original), "{name} should be valid");
        assert!(check_schema(&original).is_empty(), "{name}: {:#?}", check_schema(&original));
        for number in 0..MUTATIONS {
            let mut dice = Dice::new(index as u64 * MUTATIONS + number);
            let mut mutated = original.clone();
            let mutation = mutate(&mut mutated, number, &mut dice);
            let expect = validator.is_valid(&mutated);
            let problems = check_schema(&mutated);
            assert_eq!(
                problems.is_empty(),
                expect,
                "{name}, mutation {number}: {mutation}\nthe official schema says valid: {expect}\nwe say: {problems:#?}\n{}",
                serde_json::to_string_pretty(&mutated).expect("JSON")
            );
            if expect { valid += 1 } else { invalid += 1 }
        }
    }
    // Both verdicts must be common, or agreeing would prove little.
    assert!(invalid > 350, "only {invalid} mutations were invalid");
    assert!(valid > 50, "only {valid} mutations were valid");
}

#[test]
fn our_verdict_on_single_rules_is_that_of_the_official_schema() {
    let validator = validator();
    let full = value_of(&fs::read_to_string(data().join("examples/spec-score-full.yaml")).expect("the example"));
    let container = "/containers/container-one1";
    let cases = [
        (
            "/service/ports/port-one/port",
            vec![json!(1), json!(80.0), json!(80.5), json!(65535), json!(65536), json!(0)],
        ),
        ("/metadata/name", vec![json!("a"), json!("ab"), json!("a".repeat(63)), json!("a".repeat(64)), json!("ä-b")]),
        ("/resources/resource-three/id", vec![json!("a.b"), json!("a..b"), json!("a-.b"), json!("a--b"), json!("a")]),
        ("/resources/resource-one1/params", vec![json!({}), json!(null), json!([]), json!({"a": [1, null]})]),
        ("/resources/resource-one1/metadata", vec![json!({}), json!({"annotations": {"a": "b"}}), json!({"x": 1})]),
        ("/service", vec![json!({}), json!({"ports": {}}), json!({"port": {}})]),
        ("/containers", vec![json!({}), json!({"main": {"image": ""}}), json!({"main": {"image": "é"}})]),
    ];
    let in_container = [
        ("/variables", vec![json!({"": "a"}), json!({"A=B": "a"}), json!({"é": "a"}), json!({"A": 1})]),
        ("/resources/requests/memory", vec![json!("0.5K"), json!("0"), json!("1.5Gi"), json!("01"), json!("1k")]),
        ("/resources/requests/cpu", vec![json!("0"), json!("1.5m"), json!("1.5"), json!("m"), json!(".5")]),
        ("/files", vec![json!({}), json!([]), json!("a"), json!({"": {"content": ""}}), json!([{"content": ""}])]),
        ("/files/~1my~1file/mode", vec![json!("644"), json!("0644"), json!("00644"), json!("0888"), json!(644)]),
        (
            "/files/~1my~1file",
            vec![json!({"source": "a", "content": "b"}), json!({"source": "a", "target": "b"}), json!({})],
        ),
        ("/volumes", vec![json!([{"source": "a", "target": "b"}]), json!({"a": {"source": "a", "target": "b"}})]),
        ("/livenessProbe", vec![json!({}), json!({"exec": {"command": []}}), json!({"httpGet": {"port": 1}})]),
        (
            "/before",
            vec![json!({"ab": {"ready": "started"}}), json!({"ab": {"ready": "x"}}), json!({"a": {}}), json!({})],
        ),
        (
            "/readinessProbe/httpGet/httpHeaders",
            vec![json!([]), json!([{"name": "a b", "value": "c"}]), json!([{"name": "a", "value": ""}])],
        ),
    ];
    let cases = cases.into_iter().map(|(pointer, values)| (pointer.to_owned(), values));
    let in_container = in_container.into_iter().map(|(pointer, values)| (format!("{container}{pointer}"), values));
    for (pointer, values) in cases.chain(in_container) {
        for value in values {
            let mut file = full.clone();
            set(&mut file, &pointer, value.clone());
            let expect = validator.is_valid(&file);
            let problems = check_schema(&file);
            assert_eq!(problems.is_empty(), expect, "{pointer} = {value}: {problems:#?}");
        }
    }
}

/// Numbers that look random and are always the same (splitmix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }
}

/// Breaks something, or at least changes it, and says what.
fn mutate(file: &mut Value, number: u64, dice: &mut Dice) -> String {
    match number {
        0 | 1 => rename(file, dice, |key| format!("{key}x")),
        2 => rename(file, dice, |key| format!("-{key}")),
        3 => rename(file, dice, |key| key.to_uppercase()),
        4 => rename(file, dice, |_| "a".repeat(400)),
        5 => rename(file, dice, |_| String::new()),
        6..=8 => remove(file, dice),
        9 => remove_top_level(file, dice),
        10 => add_key(file, dice, "unexpected", json!("x")),
        11 => add_key(file, dice, "target", json!("/x")),
        12 => add_key(file, dice, "source", json!("x")),
        13 => replace(file, dice, Value::is_string, json!("-_ ")),
        14 => replace(file, dice, Value::is_string, json!("")),
        15 => replace(file, dice, Value::is_string, json!("a".repeat(400))),
        16 => {
            let values = [json!(0), json!(-1), json!(65536), json!(80.0), json!(80.5), json!("80"), json!(443)];
            let value = dice.pick(&values);
            replace(file, dice, Value::is_number, value)
        }
        17 => {
            let values = [json!(null), json!(true), json!(7), json!("text"), json!([]), json!({})];
            let value = dice.pick(&values);
            replace(file, dice, |_| true, value)
        }
        18 => replace(file, dice, Value::is_object, json!([{"name": "x"}])),
        _ => replace(file, dice, Value::is_array, json!({"name": "x"})),
    }
}

fn rename(file: &mut Value, dice: &mut Dice, change: impl Fn(&str) -> String) -> String {
    let (pointer, key) = some_key(file, dice);
    let new = change(&key);
    if let Some(map) = file.pointer_mut(&pointer).and_then(Value::as_object_mut)
        && let Some(value) = map.remove(&key)
    {
        map.insert(new.clone(), value);
    }
    format!("renamed `{key}` in `{pointer}` to `{new}`")
}

fn remove(file: &mut Value, dice: &mut Dice) -> String {
    let (pointer, key) = some_key(file, dice);
    if let Some(map) = file.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        map.remove(&key);
    }
    format!("removed `{key}` from `{pointer}`")
}

fn remove_top_level(file: &mut Value, dice: &mut Dice) -> String {
    let key = dice.pick(&["apiVersion", "metadata", "containers", "service", "resources"]);
    if let Some(map) = file.as_object_mut() {
        map.remove(key);
    }
    format!("removed `{key}`")
}

fn add_key(file: &mut Value, dice: &mut Dice, key: &str, value: Value) -> String {
    let pointer = dice.pick(&pointers(file, Value::is_object));
    if let Some(map) = file.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        map.insert(key.to_owned(), value);
    }
    format!("added `{key}` to `{pointer}`")
}

/// Replaces a value of the wanted kind, or any value in a file that has none of it.
fn replace(file: &mut Value, dice: &mut Dice, wanted: impl Fn(&Value) -> bool, value: Value) -> String {
    let mut candidates = pointers(file, wanted);
    if candidates.is_empty() {
        candidates = pointers(file, |_| true);
    }
    let pointer = dice.pick(&candidates);
    let message = format!("put `{value}` at `{pointer}`");
    set(file, &pointer, value);
    message
}

fn set(file: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = file.pointer_mut(pointer) {
        *place = value;
        return;
    }
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer below the root");
    let parent = file.pointer_mut(parent).and_then(Value::as_object_mut).expect(pointer);
    parent.insert(key.to_owned(), value);
}

/// A map that is not empty, and one of its keys.
fn some_key(file: &Value, dice: &mut Dice) -> (String, String) {
    let maps = pointers(file, |value| value.as_object().is_some_and(|map| !map.is_empty()));
    let pointer = dice.pick(&maps);
    let keys: Vec<String> =
        file.pointer(&pointer).and_then(Value::as_object).map(Map::keys).into_iter().flatten().cloned().collect();
    let key = dice.pick(&keys);
    (pointer, key)
}

/// Pointers to all wanted values, the root among them.
fn pointers(value: &Value, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
    fn walk(value: &Value, pointer: &str, wanted: &dyn Fn(&Value) -> bool, found: &mut Vec<String>) {
        if wanted(value) {
            found.push(pointer.to_owned());
        }
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(value, &format!("{pointer}/{key}"), wanted, found);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    walk(value, &format!("{pointer}/{index}"), wanted, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &wanted, &mut found);
    found
}
