//! What stands on what: shown, built in order, and taken down in the order turned round.

use conductor_acceptance::{Deployment, Stack, time, unique};
use serde_json::{Value, json};

fn file(resources: Value) -> String {
    json!({"resources": resources}).to_string()
}

fn shared(name: &str) -> Value {
    json!({"type": "note", "reference": {"mode": "shared", "name": name}})
}

/// Checks that the work on one name had ended before that on another began.
#[track_caller]
fn was_before(done: &Deployment, first: &str, second: &str) {
    let (ended, began) = (&done.operation(first)["completedAt"], &done.operation(second)["startedAt"]);
    assert!(time(ended) <= time(began), "{first} before {second}: {:#}", done.0);
}

/// The nodes of an environment's graph, and its edges as `[from, to, kind]`.
async fn graph(stack: &Stack, environment: &str) -> (Vec<Value>, Vec<[Value; 3]>) {
    let graph = stack.get(&format!("/v1/environments/{environment}/graph")).await.expect(200).body;
    assert_eq!(graph["truncated"], false);
    let nodes = graph["nodes"].as_array().expect("nodes").clone();
    let edge = |edge: &Value| [edge["from"].clone(), edge["to"].clone(), edge["kind"].clone()];
    (nodes, graph["edges"].as_array().expect("edges").iter().map(edge).collect())
}

#[tokio::test]
async fn the_graph_shows_resources_who_uses_them_and_what_they_depend_on() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let mine = file(json!({"base": {"type": "note"}, "store": {
        "type": "note", "reference": {"mode": "shared", "name": name}, "params": {"text": "${resources.base.text}"},
    }}));
    let done = stack.run(&one, &environment, &mine).await.succeeded();
    stack.run(&two, &environment, &file(json!({"store": shared(&name)}))).await.succeeded();
    let (base, store) = (done.resource_id("base"), done.resource_id("store"));
    let consumer = json!({"environment": environment, "application": unique("api")});
    stack.post(&format!("/v1/resources/{base}/consumers"), &consumer).await.expect(201);

    let (nodes, mut edges) = graph(&stack, &environment).await;
    let node = |id: &str| nodes.iter().find(|node| node["id"] == id).unwrap_or_else(|| panic!("{id} in {nodes:#?}"));
    let workload = |application: &str| format!("workload:{environment}/{application}/main");
    let api = format!("application:{environment}/{}", consumer["application"].as_str().expect("a name"));
    assert_eq!(nodes.len(), 5, "{nodes:#?}");
    let shown = node(&store);
    let facts = (&shown["kind"], &shown["name"], &shown["type"], &shown["class"], &shown["status"]);
    assert_eq!(facts, (&json!("resource"), &json!(name), &json!("note"), &json!("default"), &json!("Active")));
    let user = node(&workload(&two));
    let facts = (&user["kind"], &user["application"], &user["workload"], &user["environment"]);
    assert_eq!(facts, (&json!("workload"), &json!(two), &json!("main"), &json!(environment)));
    assert_eq!(node(&api)["kind"], "application");

    let mut expected = [
        [json!(store), json!(base), json!("dependsOn")],
        [json!(workload(&one)), json!(base), json!("uses")],
        [json!(workload(&one)), json!(store), json!("uses")],
        [json!(workload(&two)), json!(store), json!("uses")],
        [json!(api), json!(base), json!("uses")],
    ];
    for list in [edges.as_mut_slice(), expected.as_mut_slice()] {
        list.sort_by_key(|edge| format!("{edge:?}"));
    }
    assert_eq!(edges, expected);
    stack.get(&format!("/v1/environments/{}/graph", unique("nowhere"))).await.is_problem(404, "environment_not_found");
}

#[tokio::test]
async fn the_graph_has_what_is_used_from_elsewhere_and_loses_what_is_gone() {
    let stack = Stack::load();
    let (here, there) = (stack.environment().await, stack.environment().await);
    let (owner, user) = (unique("owner"), unique("user"));
    let theirs = file(json!({"one": {"type": "note"}}));
    let id = stack.run(&owner, &there, &theirs).await.succeeded().resource_id("one");
    stack.patch(&format!("/v1/resources/{id}"), &json!({"published": true})).await.expect(200);
    let mine = file(json!({"it": {"type": "note", "reference": {"mode": "existing", "id": id}}}));
    stack.run(&user, &here, &mine).await.succeeded();
    let (nodes, edges) = graph(&stack, &here).await;
    assert_eq!((nodes.len(), &nodes[0]["id"], &nodes[0]["environment"]), (2, &json!(id), &json!(there)), "{nodes:#?}");
    assert_eq!(edges, [[json!(format!("workload:{here}/{user}/main")), json!(id), json!("uses")]]);
    stack.teardown(&user, &here).await.succeeded();
    assert_eq!(graph(&stack, &here).await, (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn an_optional_dependency_may_be_missing_and_only_orders_where_it_is_there() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let weak = |name: &str| json!({"type": "note", "dependsOn": [{"resource": name, "optional": true}]});
    let missing = file(json!({"one": weak("nobody")}));
    let done = stack.run(&application, &environment, &missing).await.succeeded();
    assert_eq!((done.outcome("one"), &done.operation("one")["dependsOn"]), ("created", &json!([])));

    let fails = json!({"type": "note", "params": {"fail": true}});
    let failing = file(json!({
        "zero": fails,
        "weak": weak("zero"),
        "strong": {"type": "note", "dependsOn": ["zero"]},
        "both": {"type": "note", "params": {"text": "${resources.zero.text}"}, "dependsOn": [
            {"resource": "zero", "optional": true},
        ]},
    }));
    let failed = stack.run(&unique("app"), &environment, &failing).await.failed("terraform_failed");
    assert_eq!(
        (failed.outcome("weak"), failed.outcome("strong"), failed.outcome("both")),
        ("created", "Skipped", "Skipped")
    );
    was_before(&failed, "zero", "weak");
    assert_eq!(stack.resource(&failed.resource_id("weak")).await["dependsOn"], json!([]));

    let there = file(json!({"zero": {"type": "note"}, "weak": weak("zero")}));
    let done = stack.run(&unique("app"), &environment, &there).await.succeeded();
    was_before(&done, "zero", "weak");
    assert_eq!(stack.resource(&done.resource_id("weak")).await["dependsOn"], json!([done.resource_id("zero")]));
}

#[tokio::test]
async fn dependents_are_made_last_and_destroyed_first() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let chain = file(json!({
        "zz": {"type": "note"},
        "mm": {"type": "note", "params": {"text": "${resources.zz.id}"}},
        "aa": {"type": "note", "dependsOn": ["mm", "zz"]},
    }));
    let done = stack.run(&application, &environment, &chain).await.succeeded();
    was_before(&done, "zz", "mm");
    was_before(&done, "mm", "aa");
    let gone = stack.teardown(&application, &environment).await.succeeded();
    for name in ["zz", "mm", "aa"] {
        assert_eq!(gone.outcome(name), "destroyed", "{name}: {:#}", gone.0);
    }
    was_before(&gone, "aa", "mm");
    was_before(&gone, "mm", "zz");
}

#[tokio::test]
async fn the_last_one_to_let_go_of_a_shared_resource_takes_along_all_that_it_stood_on() {
    let stack = Stack::load();
    let (one, two, environment) = (unique("one"), unique("two"), stack.environment().await);
    let (base, middle) = (unique("base"), unique("middle"));
    let stands_on = |name: &str, base: &str| {
        let mut resource = shared(name);
        resource["dependsOn"] = json!([base]);
        resource
    };
    let owner = file(json!({"base": shared(&base), "middle": stands_on(&middle, "base")}));
    let made = stack.run(&one, &environment, &owner).await.succeeded();
    let user = file(json!({"middle": shared(&middle), "top": {"type": "note", "dependsOn": ["middle"]}}));
    let used = stack.run(&two, &environment, &user).await.succeeded();
    assert_eq!((used.outcome("middle"), used.outcome("top")), ("linked", "created"));

    let left = stack.teardown(&one, &environment).await.succeeded();
    assert_eq!((left.outcome("middle"), left.outcome("base")), ("released", "released"));
    for name in ["base", "middle"] {
        assert_eq!(stack.resource(&made.resource_id(name)).await["status"], "Active", "{name}");
    }
    let gone = stack.teardown(&two, &environment).await.succeeded();
    let of_base = gone.releases(&made.resource_id("base"));
    assert_eq!(of_base.len(), 1, "{:#}", gone.0);
    assert_eq!((&of_base[0]["resource"], &of_base[0]["effect"]), (&json!(base), &json!("destroyed")));
    was_before(&gone, "top", "middle");
    was_before(&gone, "middle", &base);
    for id in [made.resource_id("base"), made.resource_id("middle"), used.resource_id("top")] {
        assert_eq!(stack.resource(&id).await["status"], "Deleted", "{id}");
    }
}
