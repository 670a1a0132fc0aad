//! Whole files: what they say in both dialects, and what is wrong with the bad ones.

use serde_json::json;

use super::*;

/// The problems of a file, one a line: `line:column code pointer`.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .into_iter()
            .map(|problem| {
                let place = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
                let (line, column) = (place(problem.line), place(problem.column));
                format!("{line}:{column} {} {}", problem.code, problem.pointer)
            })
            .collect(),
    }
}

fn requirement(text: &str) -> Requirement {
    let mut file = parse(text).expect(text);
    file.resources.remove("db").expect("a resource named db")
}

/// A file in Conductor's dialect with one resource, `db`, that has these lines besides its type.
fn own(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("resources:\n  db:\n    type: postgres\n{lines}")
}

/// The same in Score v1b1, with these annotations.
fn score(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("        conductor.dev/{line}\n")).collect();
    format!(
        "apiVersion: score.dev/v1b1\nmetadata: {{name: orders}}\ncontainers: {{main: {{image: nginx}}}}\nresources:\n  \
         db:\n    type: postgres\n    metadata:\n      annotations:\n        my.note/of: mine\n{lines}"
    )
}

/// A file of each dialect with the same resource `db`: what Score does not know is an annotation there, maps as JSON
/// text. So maps are written as JSON in `lines`.
fn both(lines: &str) -> [String; 2] {
    let mut keys = String::from("type: postgres");
    let mut annotations = String::new();
    for line in lines.lines() {
        match line.split_once(": ") {
            Some(("class" | "id", _)) => keys.push_str(&format!("\n    {line}")),
            Some((key, value)) if value.starts_with('{') => annotations.push_str(&format!("{key}: '{value}'\n")),
            _ => annotations.push_str(&format!("{line}\n")),
        }
    }
    [own(lines), score(&annotations).replace("type: postgres", &keys)]
}

#[test]
fn both_dialects_say_every_sharing_mode() {
    const ID: &str = "0190b5c4-7c2e-7000-8000-000000000001";
    let check = |keys: &str, annotations: &str, expect: Sharing| {
        assert_eq!(requirement(&own(keys)).sharing, expect, "{keys}");
        assert_eq!(requirement(&score(annotations)).sharing, expect, "{annotations}");
    };
    check("", "", Sharing::Dedicated);
    check("reference: {mode: dedicated}", r#"reference: '{"mode": "dedicated"}'"#, Sharing::Dedicated);
    check("sharing: dedicated", "sharing: dedicated", Sharing::Dedicated);
    check(
        "reference: {mode: shared, name: Main.db_1}",
        r#"reference: '{"mode": "shared", "name": "Main.db_1"}'"#,
        Sharing::Named { name: "Main.db_1".into() },
    );
    check(
        "reference: {mode: shared, name: main}\nsharing: shared",
        "reference: '{\"mode\": \"shared\", \"name\": \"main\"}'\nsharing: shared",
        Sharing::Named { name: "main".into() },
    );
    check(
        &format!("reference: {{mode: existing, id: {ID}}}"),
        &format!(r#"reference: '{{"mode": "existing", "id": "{ID}"}}'"#),
        Sharing::Existing { id: ID.into() },
    );
    check("sharing: shared", "sharing: shared", Sharing::ByParameters);
    check("sharing: always", "sharing: always", Sharing::Always);
    check("pool: ready-made", "pool: ready-made", Sharing::Pool { name: "ready-made".into() });
    check(
        "matching: {scope: global, sharingPolicy: conditional, matchOn: [tier], maxConsumers: 2}",
        r#"matching: '{"scope":"global","sharingPolicy":"conditional","matchOn":["tier"],"maxConsumers":2}'"#,
        Sharing::Matching(Matching {
            scope: MatchingScope::Global,
            policy: MatchingPolicy::Conditional,
            match_on: vec!["tier".into()],
            max_consumers: Some(2),
        }),
    );
    check("matching: {sharingPolicy: dedicated}", r#"matching: '{"sharingPolicy":"dedicated"}'"#, Sharing::Dedicated);
}

#[test]
fn each_key_of_matching_stands_alone_and_has_a_default() {
    use MatchingPolicy as Policy;
    use MatchingScope as Scope;
    let check = |json: &str, expect: Sharing| {
        for text in both(&format!("matching: {json}")) {
            assert_eq!(requirement(&text).sharing, expect, "{text}");
        }
    };
    let matching = |scope: Scope, policy: Policy, match_on: &[&str], max_consumers: Option<u32>| {
        let match_on = match_on.iter().map(|&key| key.to_owned()).collect();
        Sharing::Matching(Matching { scope, policy, match_on, max_consumers })
    };
    check("{}", matching(Scope::Environment, Policy::Shared, &[], None));
    check(r#"{"scope": "environment"}"#, matching(Scope::Environment, Policy::Shared, &[], None));
    check(r#"{"scope": "organisation"}"#, matching(Scope::Organisation, Policy::Shared, &[], None));
    check(r#"{"scope": "global"}"#, matching(Scope::Global, Policy::Shared, &[], None));
    check(r#"{"sharingPolicy": "shared"}"#, matching(Scope::Environment, Policy::Shared, &[], None));
    check(r#"{"sharingPolicy": "conditional"}"#, matching(Scope::Environment, Policy::Conditional, &[], None));
    check(r#"{"matchOn": []}"#, matching(Scope::Environment, Policy::Shared, &[], None));
    check(r#"{"matchOn": ["tier", "a b"]}"#, matching(Scope::Environment, Policy::Shared, &["tier", "a b"], None));
    check(r#"{"maxConsumers": 1}"#, matching(Scope::Environment, Policy::Shared, &[], Some(1)));
    check(r#"{"maxConsumers": 4294967295}"#, matching(Scope::Environment, Policy::Shared, &[], Some(u32::MAX)));
    check(r#"{"sharingPolicy": "dedicated", "scope": "global", "maxConsumers": 2}"#, Sharing::Dedicated);
}

#[test]
fn id_and_class_are_keys_in_both_dialects() {
    let check = |lines: &str, class: Option<&str>, sharing: Sharing| {
        for text in both(lines) {
            let found = requirement(&text);
            assert_eq!((found.class.as_deref(), found.sharing), (class, sharing.clone()), "{text}");
        }
    };
    check("id: main.db", None, Sharing::ScoreId { id: "main.db".into() });
    check("id: main\nclass: large", Some("large"), Sharing::ScoreId { id: "main".into() });
    check("class: default", None, Sharing::Dedicated);
    check("class: large", Some("large"), Sharing::Dedicated);
    check("class: large\nsharing: shared", Some("large"), Sharing::ByParameters);
    check("class: large\nsharing: always", Some("large"), Sharing::Always);
    check("class: large\npool: ready", Some("large"), Sharing::Pool { name: "ready".into() });
    let named = r#"reference: {"mode": "shared", "name": "main"}"#;
    check(&format!("class: large\n{named}"), Some("large"), Sharing::Named { name: "main".into() });
}

#[test]
fn both_dialects_say_every_other_extra() {
    let expect = Requirement {
        kind: "postgres".into(),
        class: None,
        sharing: Sharing::Dedicated,
        params: None,
        metadata: serde_json::Map::new(),
        depends_on: vec![
            DependsOn { resource: "net".into(), optional: false },
            DependsOn { resource: "logs".into(), optional: true },
        ],
        template_version: Some(semver::Version::new(1, 2, 3)),
        moved_from: Some("old-db".into()),
        retain: Some(true),
    };
    let keys =
        "dependsOn: [net, {resource: logs, optional: true}]\ntemplateVersion: 1.2.3\nmovedFrom: old-db\nretain: true";
    assert_eq!(requirement(&own(keys)), expect);

    let annotations = "depends-on: '[\"net\", {\"resource\": \"logs\", \"optional\": true}]'\n\
                       template-version: 1.2.3\nmoved-from: old-db\nretain: \"true\"";
    let mut found = requirement(&score(annotations));
    assert_eq!(found.metadata["annotations"]["conductor.dev/moved-from"], json!("old-db"));
    found.metadata = serde_json::Map::new();
    assert_eq!(found, expect);
}

#[test]
fn a_file_keeps_what_others_need_of_it() {
    let file = parse(
        "apiVersion: score.dev/v1b1\nmetadata: {name: orders, team: a}\ncontainers: {main: {image: nginx}}\nservice:\n  \
         ports:\n    web: {port: 80, targetPort: 8080}\n    dns: {port: 53, protocol: UDP}\nresources:\n  \
         db: {type: postgres, class: default, params: {size: 1}}\n  q1: {type: sqs, class: large}\n",
    )
    .expect("a file");
    assert_eq!(file.dialect, Dialect::ScoreV1b1);
    assert_eq!(file.name.as_deref(), Some("orders"));
    assert_eq!(file.metadata.get("team"), Some(&json!("a")));
    assert_eq!(file.containers.get("main"), Some(&json!({"image": "nginx"})));
    let ports = file.service.expect("a service").ports;
    assert_eq!(ports.get("web"), Some(&Port { port: 80, protocol: Protocol::Tcp, target_port: 8080 }));
    assert_eq!(ports.get("dns"), Some(&Port { port: 53, protocol: Protocol::Udp, target_port: 53 }));
    let class = |name: &str| file.resources.get(name).and_then(|requirement| requirement.class.clone());
    assert_eq!(class("db"), None);
    assert_eq!(class("q1"), Some("large".to_owned()));
    let params = file.resources.get("db").and_then(|requirement| requirement.params.clone());
    assert_eq!(params.map(Value::Object), Some(json!({"size": 1})));
}

#[test]
fn conductors_dialect_needs_nothing_but_resources() {
    let check = |text: &str, expect: &[&str]| assert_eq!(problems(text), expect, "{text}");
    check("resources: {}", &[]);
    check(r#"{"resources": {"a": {"type": "s3"}}}"#, &[]);
    check("metadata: {}\nresources: {}", &[]);
    check("metadata: {name: a}", &["1:1 missing_key "]);
    check("resources: {}\nextra: 1", &["2:1 unknown_key /extra"]);
    check("resources: ~", &["1:12 wrong_type /resources"]);
    check("resources: {}\ncontainers: {}", &["2:13 too_short /containers"]);
    check("- 1", &["1:1 wrong_type "]);
}

#[test]
fn every_problem_is_told_with_its_line() {
    let check = |text: &str, expect: &[&str]| assert_eq!(problems(text), expect, "{text}");
    check(
        "apiVersion: score.dev/v1b1\nmetadata:\n  name: Orders\ncontainers:\n  main:\n    image: nginx\n    comand: [a]\n    \
         variables:\n      PORT: 80\n",
        &[
            "3:9 pattern_mismatch /metadata/name",
            "7:5 unknown_key /containers/main/comand",
            "9:13 wrong_type /containers/main/variables/PORT",
        ],
    );
    check(
        "apiVersion: score.dev/v2\nmetadata: {name: ab}\ncontainers: {main: {image: a}}\n",
        &["1:13 pattern_mismatch /apiVersion"],
    );
    check(&own("type: mysql"), &["4:5 duplicate_key /resources/db/type"]);
    check(&own("dependson: [a]"), &["4:5 unknown_key /resources/db/dependson"]);
    check(&own("templateVersion: v1"), &["4:22 pattern_mismatch /resources/db/templateVersion"]);
    let long = format!("templateVersion: 1.0.0-{}", "a".repeat(128));
    check(&own(&long), &["4:22 too_long /resources/db/templateVersion"]);
    check(&own("reference: {mode: shared}"), &["4:16 missing_key /resources/db/reference"]);
    check(&own("reference: {mode: dedicated, name: a}"), &["4:40 conflicting_keys /resources/db/reference/name"]);
    check(&own("reference: {mode: share}"), &["4:23 not_one_of /resources/db/reference/mode"]);
    check(&own("params:\n  url: ${nets.id}"), &["5:12 placeholder_unknown_root /resources/db/params/url"]);
    check(&own("params:\n  url: ${resources.net.id}"), &["5:12 placeholder_unknown_resource /resources/db/params/url"]);
    check(&own("params:\n  url: ${metadata.name}"), &["5:12 placeholder_unknown_metadata /resources/db/params/url"]);
}

#[test]
fn of_many_problems_the_first_hundred_are_told() {
    let text = own(&format!("params: {{url: '{}'}}", "${no.thing}".repeat(150)));
    assert_eq!(problems(&text).len(), MAX_PROBLEMS);
}

#[test]
fn two_ways_to_share_are_a_problem_that_names_both() {
    let check = |lines: &str, expect: &[[&str; 2]]| {
        for text in both(lines) {
            let found = parse(&text).err().unwrap_or_default();
            let details: Vec<_> = found.iter().map(|problem| problem.detail.as_str()).collect();
            let expect: Vec<_> = expect
                .iter()
                .map(|[one, other]| {
                    format!("`{one}` and `{other}` both say how the resource is shared; keep one of them")
                })
                .collect();
            assert_eq!(details, expect, "{text}");
            assert!(found.iter().all(|problem| problem.code == code::SHARING_CONFLICT), "{text}");
        }
    };
    let ways = [
        ("id", "id: main"),
        ("matching", r#"matching: {"scope": "global"}"#),
        ("pool", "pool: ready"),
        ("reference", r#"reference: {"mode": "shared", "name": "main"}"#),
        ("sharing", "sharing: always"),
    ];
    for (index, (one, first)) in ways.iter().enumerate() {
        for (other, second) in &ways[index + 1..] {
            check(&format!("{first}\n{second}"), &[[*one, *other]]);
        }
    }
    let dedicated = r#"reference: {"mode": "dedicated"}"#;
    let named = r#"reference: {"mode": "shared", "name": "main"}"#;
    let existing = r#"reference: {"mode": "existing", "id": "0190b5c4-7c2e-7000-8000-000000000001"}"#;
    check(&format!("{dedicated}\nsharing: dedicated"), &[]);
    check(&format!("matching: {{\"sharingPolicy\": \"dedicated\"}}\n{dedicated}\nsharing: dedicated"), &[]);
    check(&format!("{named}\nsharing: shared"), &[]);
    check(&format!("{named}\nsharing: dedicated"), &[["reference", "sharing"]]);
    check(&format!("{existing}\nsharing: shared"), &[["reference", "sharing"]]);
    check(&format!("{existing}\npool: ready"), &[["pool", "reference"]]);
    check(&format!("{dedicated}\nsharing: shared"), &[["reference", "sharing"]]);
    check(&format!("id: main\n{dedicated}"), &[["id", "reference"]]);
    check("id: main\nsharing: dedicated", &[["id", "sharing"]]);
    check("id: main\nsharing: shared", &[["id", "sharing"]]);
    check("matching: {}\nsharing: shared", &[["matching", "sharing"]]);
    check("id: main\npool: ready\nsharing: always", &[["id", "pool"], ["id", "sharing"]]);
}

#[test]
fn what_says_no_sharing_mode_is_refused_alike_in_both_dialects() {
    let check = |lines: &str, expect: &str| {
        for (text, base) in both(lines).iter().zip(["", "metadata/annotations/conductor.dev~1"]) {
            let (code, place) = expect.split_once(' ').expect("a code and a place");
            let found: Vec<_> =
                problems(text).iter().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect();
            assert_eq!(found, [format!("{code} /resources/db/{base}{place}")], "{text}");
        }
    };
    check("reference: {}", "missing_key reference");
    check(r#"reference: {"mode": "share"}"#, "not_one_of reference/mode");
    check(r#"reference: {"mode": "shared"}"#, "missing_key reference");
    check(r#"reference: {"mode": "shared", "name": ""}"#, "too_short reference/name");
    check(r#"reference: {"mode": "shared", "name": "a b"}"#, "pattern_mismatch reference/name");
    check(r#"reference: {"mode": "shared", "name": 5}"#, "wrong_type reference/name");
    check(r#"reference: {"mode": "existing"}"#, "missing_key reference");
    check(r#"reference: {"mode": "existing", "id": "db"}"#, "pattern_mismatch reference/id");
    check(r#"reference: {"mode": "dedicated", "name": "main"}"#, "conflicting_keys reference/name");
    check(r#"reference: {"mode": "dedicated", "scope": "global"}"#, "unknown_key reference/scope");
    check("sharing: exclusive", "not_one_of sharing");
    check("pool: a b", "pattern_mismatch pool");
    check(r#"matching: {"scope": "region"}"#, "not_one_of matching/scope");
    check(r#"matching: {"sharingPolicy": "always"}"#, "not_one_of matching/sharingPolicy");
    check(r#"matching: {"policy": "shared"}"#, "unknown_key matching/policy");
    check(r#"matching: {"matchOn": "tier"}"#, "wrong_type matching/matchOn");
    check(r#"matching: {"matchOn": ["tier", ""]}"#, "too_short matching/matchOn/1");
    check(r#"matching: {"maxConsumers": 0}"#, "out_of_range matching/maxConsumers");
    check(r#"matching: {"maxConsumers": 1.5}"#, "wrong_type matching/maxConsumers");
    check(r#"matching: {"maxConsumers": "2"}"#, "wrong_type matching/maxConsumers");
}

#[test]
fn annotations_are_checked_as_their_keys_would_be() {
    let check = |annotation: &str, expect: &str| {
        let expect = expect.replace("ANNOTATIONS", "/resources/db/metadata/annotations/conductor.dev~1");
        assert_eq!(problems(&score(annotation)), [expect], "{annotation}");
    };
    check("pol: a", "10:9 unknown_key ANNOTATIONSpol");
    check("pool: ''", "10:29 too_short ANNOTATIONSpool");
    check("retain: 'yes'", "10:31 annotation_invalid ANNOTATIONSretain");
    check("reference: '{'", "10:34 annotation_invalid ANNOTATIONSreference");
    check("reference: '{\"mode\": \"share\"}'", "10:34 not_one_of ANNOTATIONSreference/mode");
    check("depends-on: '[1]'", "10:35 wrong_type ANNOTATIONSdepends-on/0");
    check("depends-on: net", "10:35 annotation_invalid ANNOTATIONSdepends-on");
    check("reference: ''", "10:34 annotation_invalid ANNOTATIONSreference");
    check("reference: '{mode: dedicated}'", "10:34 annotation_invalid ANNOTATIONSreference");
    check("reference: '{\"mode\": \"dedicated\"} x'", "10:34 annotation_invalid ANNOTATIONSreference");
    check("reference: '\"dedicated\"'", "10:34 wrong_type ANNOTATIONSreference");
    check("reference: {mode: dedicated}", "10:34 wrong_type ANNOTATIONSreference");
    check("matching: '[]'", "10:33 wrong_type ANNOTATIONSmatching");
    check("sharing: '\"always\"'", "10:32 not_one_of ANNOTATIONSsharing");
    check("sharing: Always", "10:32 not_one_of ANNOTATIONSsharing");
    check("retain: true", "10:31 wrong_type ANNOTATIONSretain");
    check(
        "reference: '{\"mode\": \"dedicated\", \"mode\": \"dedicated\"}'",
        "10:34 duplicate_key ANNOTATIONSreference/mode",
    );
}

#[test]
fn annotations_where_nobody_reads_them_are_refused() {
    let own = own("metadata: {annotations: {conductor.dev/pool: a}}");
    assert_eq!(problems(&own), ["4:30 unknown_key /resources/db/metadata/annotations/conductor.dev~1pool"]);
    let score = score("").replace("{name: orders}", "{name: orders, annotations: {conductor.dev/pool: a}}");
    assert_eq!(problems(&score), ["2:40 unknown_key /metadata/annotations/conductor.dev~1pool"]);
}

#[test]
fn placeholders_of_containers_are_checked_where_they_mean_something() {
    let file = |container: &str| {
        format!(
            "apiVersion: score.dev/v1b1\nmetadata: {{name: orders}}\ncontainers:\n  main:\n    image: nginx\n{container}\
             resources:\n  db: {{type: postgres}}\n"
        )
    };
    let check = |container: &str, expect: &[&str]| assert_eq!(problems(&file(container)), expect, "{container}");
    check("    variables: {A: '${resources.db.host}', B: '$${no.thing}', C: $HOME}\n", &[]);
    check("    args: ['${anything}']\n", &[]);
    check("    variables:\n      A: ${db.host}\n", &["7:10 placeholder_unknown_root /containers/main/variables/A"]);
    check(
        "    files:\n      /a:\n        content: ${resources.bd.host}\n",
        &["8:18 placeholder_unknown_resource /containers/main/files/~1a/content"],
    );
    check(
        "    files:\n      - target: /a\n        content: ${}\n",
        &["8:18 placeholder_invalid /containers/main/files/0/content"],
    );
    check("    files:\n      /a: {noExpand: true, content: '${no.thing}'}\n      /b: {binaryContent: '${no}'}\n", &[]);
    check(
        "    volumes:\n      /a: {source: '${resources.disk}'}\n",
        &["7:20 placeholder_unknown_resource /containers/main/volumes/~1a/source"],
    );
}

#[test]
fn the_examples_of_the_requirements_are_read_as_they_are_written() {
    let file = parse(
        "resources:\n  resource-group:\n    type: azure-resource-group\n    reference:\n      mode: shared\n      \
         name: \"prod-rg\"\n    params:\n      location: westus2\n\n  cosmos-db:\n    type: azure-cosmosdb\n    reference:\n      \
         mode: shared\n      name: \"shared-cosmos\"\n    dependsOn:\n      - resource-group    # Simple dependency list\n    \
         params:\n      tier: Standard\n      resourceGroupId: ${resource-group.id}  # Output substitution\n",
    )
    .expect("a file");
    let plan = order(&file).expect("a plan");
    assert_eq!(plan.order, ["resource-group", "cosmos-db"]);
    assert_eq!(plan.edges.get("cosmos-db").and_then(|edges| edges.get("resource-group")), Some(&EdgeKind::Output));
}

#[test]
fn json_values_are_read_too_and_have_no_lines() {
    let file = parse_value(json!({"resources": {"a": {"type": "s3", "params": {"size": 1}}}})).expect("a file");
    assert_eq!(file.dialect, Dialect::Conductor);
    let problems = parse_value(json!({"resources": {"a": {}}})).expect_err("no type");
    let [problem] = problems.as_slice() else { panic!("one problem: {problems:?}") };
    assert_eq!((problem.code, problem.pointer.as_str(), problem.line), (code::MISSING_KEY, "/resources/a", None));
}

#[test]
fn problems_found_later_can_be_given_their_lines() {
    let text = own("dependsOn: [db]");
    let file = parse(&text).expect("a file");
    let problems = locate(&text, order(&file).expect_err("a cycle"));
    let places: Vec<_> = problems.iter().map(|problem| (problem.code, problem.line)).collect();
    assert_eq!(places, [(code::DEPENDENCY_CYCLE, Some(3))]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("resources: {{a: {{type: s3, params: {{b: {text}}}}}}}"));
    }

    #[test]
    fn a_text_without_a_dollar_stays_as_it_is(text in "[^$]{1,50}") {
        let parts = scan(&text, Dialect::Conductor).map_err(|error| error.to_string());
        proptest::prop_assert_eq!(parts, Ok(vec![Part::Text(text)]));
    }
}
