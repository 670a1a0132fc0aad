//! What a workload runs with: its containers, every placeholder resolved, no secret shown.

use conductor_acceptance::{Stack, unique};
use serde_json::{Value, json};

fn score(secret: &str) -> String {
    json!({
        "apiVersion": "score.dev/v1b1",
        "metadata": {"name": "web", "team": "core"},
        "service": {"ports": {"http": {"port": 8080}}},
        "containers": {"main": {
            "image": "nginx",
            "command": ["${resources.greeting.text}"],
            "variables": {
                "TEXT": "${resources.greeting.text}",
                "URL": "http://${resources.greeting.text}:${resources.greeting.length}/${metadata.team}",
                "LITERAL": "$${resources.greeting.text}",
                "SECRET": "${resources.greeting.secret}",
                "MIXED": "user:${resources.greeting.secret}@${resources.greeting.text}",
                "HEIR": "${resources.heir.text}",
            },
            "files": {
                "/etc/plain": {"content": "says ${resources.greeting.text}"},
                "/etc/secret": {"content": "password=${resources.greeting.secret}"},
                "/etc/raw": {"content": "${resources.greeting.text}", "noExpand": true},
            },
        }},
        "resources": {
            "greeting": {"type": "note", "params": {"text": "hello", "secret": secret}},
            "heir": {"type": "note", "params": {"text": "has ${resources.greeting.secret}"}},
        },
    })
    .to_string()
}

async fn workload(stack: &Stack, id: &str) -> Value {
    stack.get(&format!("/v1/deployments/{id}/workload")).await.expect(200).body
}

#[tokio::test]
async fn the_containers_of_a_deployment_have_every_placeholder_resolved_and_no_secret_in_them() {
    let stack = Stack::load();
    let (application, environment, secret) = (unique("app"), stack.environment().await, unique("secret"));
    let done = stack.run(&application, &environment, &score(&secret)).await.succeeded();
    let shown = workload(&stack, done.id()).await;
    let head = (&shown["deployment"], &shown["application"], &shown["workload"], &shown["environment"]);
    assert_eq!(head, (&json!(done.id()), &json!(application), &json!("web"), &json!(environment)));
    let main = &shown["containers"]["main"];
    assert_eq!((&main["image"], &main["command"]), (&json!("nginx"), &json!(["${resources.greeting.text}"])));
    let variables = json!({
        "TEXT": "hello",
        "URL": "http://hello:5/core",
        "LITERAL": "${resources.greeting.text}",
        "SECRET": "(sensitive)",
        "MIXED": "(sensitive)",
        "HEIR": "(sensitive)",
    });
    assert_eq!(main["variables"], variables);
    let content = |name: &str| &main["files"][name]["content"];
    assert_eq!((content("/etc/plain"), content("/etc/secret")), (&json!("says hello"), &json!("(sensitive)")));
    assert_eq!(content("/etc/raw"), "${resources.greeting.text}");
    let mut masked: Vec<_> = shown["masked"].as_array().expect("masked").iter().filter_map(Value::as_str).collect();
    masked.sort_unstable();
    let expected = [
        "/containers/main/files/~1etc~1secret/content",
        "/containers/main/variables/HEIR",
        "/containers/main/variables/MIXED",
        "/containers/main/variables/SECRET",
    ];
    assert_eq!(masked, expected);
    assert_eq!(shown["service"]["ports"]["http"]["port"], 8080);
    assert!(!shown.to_string().contains(&secret), "{shown:#}");
}

#[tokio::test]
async fn a_workload_has_the_outputs_that_its_resources_have_by_now() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let file = |text: Option<&str>| {
        let mut resource = json!({"type": "note", "reference": {"mode": "shared", "name": name}});
        if let Some(text) = text {
            resource["params"] = json!({"text": text});
        }
        json!({
            "metadata": {"name": "web"},
            "containers": {"main": {"image": "nginx", "variables": {"TEXT": "${store.text}"}}},
            "resources": {"store": resource},
        })
        .to_string()
    };
    stack.run(&one, &environment, &file(Some("before"))).await.succeeded();
    let linked = stack.run(&two, &environment, &file(None)).await.succeeded();
    let text = async || workload(&stack, linked.id()).await["containers"]["main"]["variables"]["TEXT"].clone();
    assert_eq!(text().await, "before");
    stack.teardown(&one, &environment).await.succeeded();
    stack.run(&two, &environment, &file(Some("after"))).await.succeeded();
    assert_eq!(text().await, "after");
    stack.teardown(&two, &environment).await.succeeded();
    let gone = stack.get(&format!("/v1/deployments/{}/workload", linked.id())).await;
    gone.is_problem(422, "output_missing");
}

#[tokio::test]
async fn a_deployment_that_did_not_succeed_or_has_no_file_has_no_workload() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let failing = "resources: {one: {type: note, params: {fail: true}}}";
    let failed = stack.run(&application, &environment, failing).await.failed("terraform_failed");
    let gone = stack.teardown(&application, &environment).await.succeeded();
    for id in [failed.id(), gone.id()] {
        let path = format!("/v1/deployments/{id}/workload");
        stack.get(&path).await.is_problem(409, "deployment_unfinished");
    }
    let nothing = "/v1/deployments/01900000-0000-7000-8000-000000000000/workload";
    stack.get(nothing).await.is_problem(404, "deployment_not_found");
}
