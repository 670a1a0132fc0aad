//! A Score file becomes resources, and again nothing where there is nothing to do.

use conductor_acceptance::{Stack, unique};
use reqwest::Method;
use serde_json::{Value, json};

const TWO: &str = "
resources:
  greeting: {type: note, params: {text: hello}}
  reader: {type: note, params: {text: 'says ${greeting.text}'}}
";

#[tokio::test]
async fn a_deployment_makes_what_its_file_names_in_the_order_of_its_placeholders() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let done = stack.run(&application, &environment, TWO).await.succeeded();
    assert_eq!(done.0["kind"], "apply");
    assert_eq!(done.0["workload"], "main");
    for name in ["greeting", "reader"] {
        assert_eq!((done.outcome(name), done.attempts(name)), ("created", 1));
        assert_eq!(done.operation(name)["changes"], json!({"add": 1, "change": 0, "destroy": 0}));
    }
    assert_eq!(done.operation("reader")["dependsOn"], json!([done.operation("greeting")["id"]]));

    let greeting = stack.resource(&done.resource_id("greeting")).await;
    let reader = stack.resource(&done.resource_id("reader")).await;
    assert_eq!(greeting["status"], "Active");
    assert_eq!(greeting["mode"], "dedicated");
    assert_eq!(greeting["createdBy"], done.id());
    assert_eq!(greeting["outputs"]["text"], json!({"value": "hello", "sensitive": false}));
    assert_eq!(reader["parameters"]["text"], "says hello");
    assert_eq!(reader["dependsOn"], json!([greeting["id"]]));
    let consumers: Vec<_> = greeting["consumers"].as_array().expect("consumers").iter().collect();
    let of = |origin: &str| consumers.iter().find(|c| c["origin"] == origin).expect("a consumer");
    assert_eq!(consumers.len(), 2);
    assert_eq!(of("dependency")["resource"], reader["id"]);
    assert_eq!(of("file")["application"], application.as_str());
    assert_eq!(of("file")["resource"], "greeting");
}

#[tokio::test]
async fn the_same_file_again_changes_nothing_and_starts_no_terraform() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let first = stack.run(&application, &environment, TWO).await.succeeded();
    let again = stack.run(&application, &environment, TWO).await.succeeded();
    for name in ["greeting", "reader"] {
        assert_eq!((again.outcome(name), again.attempts(name)), ("unchanged", 0));
        assert_eq!(again.resource_id(name), first.resource_id(name));
    }
}

#[tokio::test]
async fn a_refresh_runs_terraform_although_nothing_changed() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    stack.run(&application, &environment, TWO).await.succeeded();
    let again = stack.run_with(&application, &environment, TWO, json!({"refresh": true})).await.succeeded();
    for name in ["greeting", "reader"] {
        assert_eq!(again.attempts(name), 1);
        assert_eq!(again.operation(name)["changes"], json!({"add": 0, "change": 0, "destroy": 0}));
    }
}

#[tokio::test]
async fn a_score_file_may_be_the_body_with_the_rest_in_the_query() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let query = format!("application={application}&environment={environment}");
    let path = format!("/v1/deployments?{query}&commitId=abc123&prune=false&allowReplace=one,two");
    let headers = [("content-type", "application/yaml")];
    let submitted = stack.send(Method::POST, &path, &headers, TWO.as_bytes().to_vec()).await.expect(202);
    assert_eq!(submitted.body["commitId"], "abc123");
    assert_eq!(submitted.body["options"]["prune"], false);
    assert_eq!(submitted.body["options"]["allowReplace"], json!(["one", "two"]));
    stack.finished(&submitted.text("id")).await.succeeded();
}

#[tokio::test]
async fn a_score_file_may_be_an_object_and_its_name_is_application_and_workload() {
    let stack = Stack::load();
    let (name, environment) = (unique("app"), stack.environment().await);
    let score = json!({"metadata": {"name": name}, "resources": {"one": {"type": "note"}}});
    let body = json!({"environment": environment, "score": score, "metadata": {"ticket": "X-1"}});
    let submitted = stack.post("/v1/deployments", &body).await.expect(202);
    assert_eq!(submitted.body["application"], name.as_str());
    assert_eq!(submitted.body["workload"], name.as_str());
    assert_eq!(submitted.body["metadata"], json!({"ticket": "X-1"}));
    stack.finished(&submitted.text("id")).await.succeeded();
}

#[tokio::test]
async fn a_score_v1b1_file_may_carry_conductors_extras_as_annotations() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let shared = unique("shared");
    let score = format!(
        r#"
apiVersion: score.dev/v1b1
metadata: {{name: web}}
containers: {{web: {{image: nginx}}}}
resources:
  note:
    type: note
    metadata:
      annotations:
        conductor.dev/reference: '{{"mode": "shared", "name": "{shared}"}}'
  reader:
    type: note
    params: {{text: "${{resources.note.length}} $${{literal}} ${{metadata.name}}"}}
"#
    );
    let done = stack.run(&unique("app"), &environment, &score).await.succeeded();
    assert_eq!(done.0["workload"], "web");
    assert_eq!(stack.resource(&done.resource_id("note")).await["name"], shared.as_str());
    assert_eq!(stack.resource(&done.resource_id("reader")).await["parameters"]["text"], "0 ${literal} web");
}

const API: &str = "
apiVersion: score.dev/v1b1
metadata: {name: api}
containers: {api: {image: nginx}}
service: {ports: PORTS}
";
const WEB: &str = "
apiVersion: score.dev/v1b1
metadata: {name: web}
containers: {web: {image: nginx}}
resources:
  api: {type: service}
  greeting: {type: note, params: {text: 'http://${resources.api.host}:${resources.api.port}'}}
";

#[tokio::test]
async fn a_service_is_another_workload_with_name_host_and_port_and_no_operation() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let api = API.replace("PORTS", "{http: {port: 8080}}");
    let none = stack.run(&application, &environment, &api).await.succeeded();
    assert!(none.operations().is_empty());
    let done = stack.run(&application, &environment, WEB).await.succeeded();
    assert_eq!(done.operations().len(), 1);
    let greeting = stack.resource(&done.resource_id("greeting")).await;
    assert_eq!(greeting["parameters"]["text"], "http://api:8080");
}

#[tokio::test]
async fn a_service_that_publishes_two_ports_has_no_port_to_name() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let api = API.replace("PORTS", "{http: {port: 8080}, admin: {port: 9090}}");
    stack.run(&application, &environment, &api).await.succeeded();
    let body = json!({"application": application, "environment": environment, "score": WEB});
    let refused = stack.post("/v1/deployments", &body).await;
    refused.is_problem(422, "service_port_ambiguous");
    assert_eq!(refused.body["errors"][0]["pointer"], "/resources/greeting/params/text");
}

#[tokio::test]
async fn lists_of_deployments_and_resources_are_filtered() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let done = stack.run(&application, &environment, TWO).await.succeeded();
    let ids = |items: Vec<Value>| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();

    let mine = format!("/v1/deployments?application={application}&environment={environment}");
    let listed = stack.all(&mine).await;
    assert_eq!(listed[0]["operationCounts"], json!({"Succeeded": 2}));
    assert_eq!(ids(listed), [done.id()]);
    assert_eq!(ids(stack.all(&format!("{mine}&status=Succeeded")).await), [done.id()]);
    assert!(stack.all(&format!("{mine}&status=Failed")).await.is_empty());

    let mine = format!("/v1/resources?application={application}&environment={environment}");
    assert_eq!(stack.all(&format!("{mine}&type=note&status=Active")).await.len(), 2);
    assert!(stack.all(&format!("{mine}&type=postgres")).await.is_empty());
}
