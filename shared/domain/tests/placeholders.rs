//! Placeholders mean what they mean in Score's reference implementation, or a case says where they do not.
//!
//! What score-go does was read off `framework/substitution.go` and `framework/state.go` of
//! <https://github.com/score-spec/score-go> at `bc7543d`. Every case here is ours.

use std::collections::BTreeSet;

use conductor_domain::score::{
    Dialect, PlaceholderError, Reference, Resolved, Root, ScoreFile, code, order, parse_value, resolve,
};
use serde_json::{Map, Value, json};

/// A file whose resource `app` has a parameter `text`, beside a resource `db` and one that is called `metadata`.
fn file(dialect: Dialect, text: &Value) -> Value {
    let mut file = json!({
        "metadata": {
            "name": "orders",
            "annotations": {"acme.io/tier": "gold"},
            "owner": {"team": "payments", "mail": "pay@acme.io"},
            "replicas": 3,
            "zones": ["x", "y"],
            "nothing": null,
            "": "without a name"
        },
        "resources": {
            "db": {"type": "postgres"},
            "metadata": {"type": "notes"},
            "app": {"type": "app", "params": {"text": text}}
        }
    });
    if dialect == Dialect::ScoreV1b1 {
        file["apiVersion"] = json!("score.dev/v1b1");
        file["containers"] = json!({"main": {"image": "nginx"}});
    }
    file
}

/// What every resource here has.
fn outputs() -> Value {
    json!({
        "host": "db.local",
        "port": 5432,
        "ready": true,
        "ratio": 0.5,
        "whole": 2.0,
        "none": null,
        "tags": {"team": "blue", "at": [1, null]},
        "markup": {"html": "<b>&"},
        "tricky": "${resources.db.port} $$",
        "a.b": "dotted",
        r"c\d": "slashed",
        r"e\.f": "both"
    })
}

fn look_up(reference: &Reference, metadata: &Map<String, Value>) -> Result<Resolved, PlaceholderError> {
    let (found, resource, path) = match &reference.root {
        Root::Resource { name, path } if path.is_empty() => (Some(json!(name)), name.as_str(), path),
        Root::Resource { name, path } => (descend(outputs(), path), name.as_str(), path),
        Root::Metadata { path } => (descend(Value::Object(metadata.clone()), path), "metadata", path),
    };
    found.map(|value| Resolved { value, sensitive: false }).ok_or_else(|| PlaceholderError::UnknownOutput {
        placeholder: reference.source.clone(),
        resource: resource.to_owned(),
        output: path.join("."),
    })
}

fn descend(value: Value, path: &[String]) -> Option<Value> {
    path.iter().try_fold(value, |value, key| value.as_object()?.get(key).cloned())
}

fn parsed(dialect: Dialect, text: &Value) -> Result<ScoreFile, Vec<&'static str>> {
    parse_value(file(dialect, text)).map_err(|problems| problems.into_iter().map(|problem| problem.code).collect())
}

/// What becomes of a value, or the code of the first thing that is wrong with it.
fn ours(dialect: Dialect, value: &Value) -> Result<Value, &'static str> {
    let file = parsed(dialect, value).map_err(|codes| codes.first().copied().unwrap_or_default())?;
    let found = resolve(value, dialect, &mut |reference: &Reference| look_up(reference, &file.metadata));
    found.map(|found| found.value).map_err(|found| found.error.code())
}

/// score-go makes the same of this text, or refuses it as well; then the code is ours.
fn same(dialect: Dialect, text: &str, expect: Result<&str, &'static str>) {
    assert_eq!(ours(dialect, &json!(text)), expect.map(Value::from), "{text}");
}

/// score-go makes something else of this text, or refuses it, for a reason that is told in our words.
fn different(dialect: Dialect, text: &str, score_go: Result<&str, &str>, expect: Result<Value, &'static str>) {
    assert_ne!(score_go.ok().map(Value::from), expect.as_ref().ok().cloned(), "{text}");
    assert_eq!(ours(dialect, &json!(text)), expect, "{text}");
}

#[test]
fn only_a_dollar_with_braces_that_close_is_a_placeholder() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::ScoreV1b1, text, expect);
    check("", Ok(""));
    check("plain", Ok("plain"));
    check("$", Ok("$"));
    check("100$", Ok("100$"));
    check("$HOME/bin $(date) $5", Ok("$HOME/bin $(date) $5"));
    check("{resources.db.host}", Ok("{resources.db.host}"));
    check("$ {resources.db.host}", Ok("$ {resources.db.host}"));
    check("${resources.db.host", Ok("${resources.db.host"));
    check("}${", Ok("}${"));
    check("${resources.db.host}}", Ok("db.local}"));
    check("${resources.db.host}${resources.db.host}", Ok("db.localdb.local"));
    check("line\n${resources.db.host}\nline", Ok("line\ndb.local\nline"));
    check("é${resources.db.host}é", Ok("édb.localé"));
}

#[test]
fn two_dollars_are_one_and_keep_braces_from_being_read() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::ScoreV1b1, text, expect);
    check("$$", Ok("$"));
    check("$$$", Ok("$$"));
    check("$$$$", Ok("$$"));
    check("a $$ b", Ok("a $ b"));
    check("$$HOME", Ok("$HOME"));
    check("$${resources.db.host}", Ok("${resources.db.host}"));
    check("$$${resources.db.host}", Ok("$db.local"));
    check("$$$${resources.db.host}", Ok("$${resources.db.host}"));
    check("$$$$${resources.db.host}", Ok("$$db.local"));
    check("$${}", Ok("${}"));
    check("$${ anything *(^ at all }", Ok("${ anything *(^ at all }"));
    check("$${not closed", Ok("${not closed"));
    check("$${no}${resources.db.host}$$", Ok("${no}db.local$"));
    check("$${a $$ b}", Ok("${a $$ b}"));
    check("$${a ${resources.db.host}} b", Ok("${a ${resources.db.host}} b"));
}

#[test]
fn placeholders_do_not_nest_and_start_with_a_known_root() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::ScoreV1b1, text, expect);
    check("${HOME}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${db.host}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${Resources.db.host}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${ resources.db.host }", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${resources\n.db.host}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check(r"${resources\.db.host}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${a${resources.db.host}}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${$resources.db.host}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${{resources.db.host}}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${}", Err(code::PLACEHOLDER_INVALID));
    check("${.resources.db}", Err(code::PLACEHOLDER_INVALID));
    check("${resources}", Err(code::PLACEHOLDER_INVALID));
    check("${metadata}", Err(code::PLACEHOLDER_INVALID));
}

#[test]
fn metadata_is_what_the_file_has() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::ScoreV1b1, text, expect);
    check("${metadata.name}", Ok("orders"));
    check("of ${metadata.name}!", Ok("of orders!"));
    check("${metadata.owner.team}", Ok("payments"));
    check(r"${metadata.annotations.acme\.io/tier}", Ok("gold"));
    check("n=${metadata.replicas}", Ok("n=3"));
    check("n=${metadata.nothing}", Ok("n=null"));
    check("z=${metadata.zones}", Ok(r#"z=["x","y"]"#));
    check("o=${metadata.owner}", Ok(r#"o={"mail":"pay@acme.io","team":"payments"}"#));
    check("${metadata.annotations.acme.io/tier}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${metadata.nope}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${metadata.Name}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${metadata.name.first}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${metadata.nothing.x}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${metadata.zones.0}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
}

#[test]
fn outputs_are_those_of_a_resource_of_the_file() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::ScoreV1b1, text, expect);
    check("${resources.db.host}", Ok("db.local"));
    check("${resources.db.tags.team}", Ok("blue"));
    check("${resources.metadata.host}", Ok("db.local"));
    check(r"${resources.db.a\.b}", Ok("dotted"));
    check(r"${resources.db.c\d}", Ok("slashed"));
    check(r"${resources.db.e\\.f}", Ok("both"));
    check("${resources.db.host}:${resources.db.port}", Ok("db.local:5432"));
    check("ready=${resources.db.ready}, ratio=${resources.db.ratio}", Ok("ready=true, ratio=0.5"));
    check("none=${resources.db.none}", Ok("none=null"));
    check("tags=${resources.db.tags}", Ok(r#"tags={"at":[1,null],"team":"blue"}"#));
    check("${resources.dbs.host}", Err(code::PLACEHOLDER_UNKNOWN_RESOURCE));
    check("${resources.DB.host}", Err(code::PLACEHOLDER_UNKNOWN_RESOURCE));
    check(r"${resources.db\.host}", Err(code::PLACEHOLDER_UNKNOWN_RESOURCE));
    check("${resources.db.nope}", Err(code::PLACEHOLDER_UNKNOWN_OUTPUT));
    check("${resources.db.a.b}", Err(code::PLACEHOLDER_UNKNOWN_OUTPUT));
    check("${resources.db.host.x}", Err(code::PLACEHOLDER_UNKNOWN_OUTPUT));
    check("${resources.db.none.x}", Err(code::PLACEHOLDER_UNKNOWN_OUTPUT));
    check("${resources.db.host }", Err(code::PLACEHOLDER_UNKNOWN_OUTPUT));
    check("${resources.}", Err(code::PLACEHOLDER_INVALID));
    check("${resources..host}", Err(code::PLACEHOLDER_INVALID));
    check("${resources.db.}", Err(code::PLACEHOLDER_INVALID));
    check("${resources.db..host}", Err(code::PLACEHOLDER_INVALID));
}

#[test]
fn what_an_output_says_is_not_read_again() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::ScoreV1b1, text, expect);
    check("${resources.db.tricky}", Ok("${resources.db.port} $$"));
    check("<${resources.db.tricky}>", Ok("<${resources.db.port} $$>"));
}

#[test]
fn a_lone_placeholder_keeps_its_type_which_score_go_makes_text() {
    let check =
        |text: &str, score_go: &str, expect: Value| different(Dialect::ScoreV1b1, text, Ok(score_go), Ok(expect));
    check("${resources.db.port}", "5432", json!(5432));
    check("${resources.db.ready}", "true", json!(true));
    check("${resources.db.none}", "null", Value::Null);
    check("${resources.db.tags}", r#"{"at":[1,null],"team":"blue"}"#, json!({"team": "blue", "at": [1, null]}));
    check("${metadata.replicas}", "3", json!(3));
    check("${metadata.zones}", r#"["x","y"]"#, json!(["x", "y"]));
}

#[test]
fn json_inside_a_text_is_written_as_it_is() {
    let check =
        |text: &str, score_go: &str, expect: &str| different(Dialect::ScoreV1b1, text, Ok(score_go), Ok(json!(expect)));
    check("${resources.db.markup}!", r#"{"html":"\u003cb\u003e\u0026"}!"#, r#"{"html":"<b>&"}!"#);
    check("v${resources.db.whole}", "v2", "v2.0");
}

#[test]
fn a_key_is_never_empty() {
    let invalid = Err(code::PLACEHOLDER_INVALID);
    different(Dialect::ScoreV1b1, "${metadata.}", Ok("without a name"), invalid);
}

#[test]
fn a_resource_alone_is_its_name() {
    let score_go = Err("its own state wants a key; an implementation's look-up may answer");
    different(Dialect::ScoreV1b1, "${resources.db}", score_go, Ok(json!("db")));
    different(Dialect::ScoreV1b1, "db is ${resources.db}", score_go, Ok(json!("db is db")));
}

#[test]
fn conductors_dialect_reads_what_score_reads_and_names_without_a_root() {
    let check = |text: &str, expect: Result<&str, &'static str>| same(Dialect::Conductor, text, expect);
    check("${resources.db.host}", Ok("db.local"));
    check("${metadata.name}", Ok("orders"));
    check("${resources.metadata.host}", Ok("db.local"));
    check("$${db.host}", Ok("${db.host}"));
    check("$HOME", Ok("$HOME"));
    check("${HOME}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${dbs.host}", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${ db.host }", Err(code::PLACEHOLDER_UNKNOWN_ROOT));
    check("${resources.dbs.host}", Err(code::PLACEHOLDER_UNKNOWN_RESOURCE));
    check("${metadata.nope}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${metadata.host}", Err(code::PLACEHOLDER_UNKNOWN_METADATA));
    check("${resources}", Err(code::PLACEHOLDER_INVALID));
    check("${}", Err(code::PLACEHOLDER_INVALID));

    let unknown = Err("neither `metadata` nor `resources`");
    different(Dialect::Conductor, "${db.host}", unknown, Ok(json!("db.local")));
    different(Dialect::Conductor, "${db.port}", unknown, Ok(json!(5432)));
    different(Dialect::Conductor, "${db}", unknown, Ok(json!("db")));
    different(Dialect::Conductor, r"${db.a\.b}", unknown, Ok(json!("dotted")));
}

#[test]
fn every_placeholder_that_is_wrong_is_told_at_once_as_score_go_does() {
    let check = |dialect: Dialect, value: Value, expect: &[&str]| {
        assert_eq!(parsed(dialect, &value).err().unwrap_or_default(), expect, "{value}");
    };
    let text = "${a.b} ${resources.dbs.x} ${resources.db.host} ${metadata.nope} ${}";
    let expect = [
        code::PLACEHOLDER_UNKNOWN_ROOT,
        code::PLACEHOLDER_UNKNOWN_RESOURCE,
        code::PLACEHOLDER_UNKNOWN_METADATA,
        code::PLACEHOLDER_INVALID,
    ];
    check(Dialect::ScoreV1b1, json!(text), &expect);
    check(Dialect::Conductor, json!(text), &expect);
    check(
        Dialect::ScoreV1b1,
        json!(["${metadata.nope}", {"a": "${}"}]),
        &[code::PLACEHOLDER_UNKNOWN_METADATA, code::PLACEHOLDER_INVALID],
    );
}

#[test]
fn texts_are_read_wherever_they_stand_and_keys_nowhere() {
    let value = json!({
        "${resources.db.host}": "${metadata.name}",
        "list": ["${resources.db.host}", {"x": "$$"}, 1, true, null],
        "a.b": {"$$": "plain"}
    });
    let expect = json!({
        "${resources.db.host}": "orders",
        "list": ["db.local", {"x": "$"}, 1, true, null],
        "a.b": {"$$": "plain"}
    });
    for dialect in [Dialect::ScoreV1b1, Dialect::Conductor] {
        assert_eq!(ours(dialect, &value), Ok(expect.clone()), "{dialect:?}");
    }
}

#[test]
fn a_parameter_depends_on_the_resources_that_it_names() {
    let check = |value: Value, expect: &[&str]| {
        let file = parsed(Dialect::ScoreV1b1, &value).expect("a file");
        let plan = order(&file).expect("a plan");
        let found: BTreeSet<&str> = plan.edges["app"].keys().map(String::as_str).collect();
        assert_eq!(found, expect.iter().copied().collect::<BTreeSet<_>>(), "{value}");
    };
    check(json!("${resources.db.host}"), &["db"]);
    check(json!("${resources.db}"), &["db"]);
    check(json!("${resources.db.host} ${resources.db.port} ${resources.metadata.x}"), &["db", "metadata"]);
    check(json!({"a": ["${resources.db.host}"]}), &["db"]);
    check(json!("$${resources.db.host}"), &[]);
    check(json!("${metadata.name}"), &[]);
    check(json!({"${resources.db.host}": 1}), &[]);
    check(json!(5), &[]);
}

#[test]
fn a_parameter_that_names_its_own_resource_is_a_cycle() {
    let file = parsed(Dialect::ScoreV1b1, &json!("${resources.app.id}")).expect("a file");
    let problems = order(&file).expect_err("a cycle");
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code::DEPENDENCY_CYCLE]);
}
