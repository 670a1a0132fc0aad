//! Dependencies that would close a circle through what others have deployed.

use conductor_acceptance::{Stack, unique};
use futures::future::join;
use serde_json::{Value, json};

/// Two shared resources under the names `x` and `y`.
struct Pair {
    x: String,
    y: String,
}

impl Pair {
    fn new() -> Self {
        Self { x: unique("x"), y: unique("y") }
    }

    /// A file with both; `on` says what each depends on.
    fn file(&self, x_on: &[&str], y_on: &[&str]) -> String {
        let shared = |name: &str, on: &[&str]| -> Value {
            json!({"type": "note", "reference": {"mode": "shared", "name": name}, "dependsOn": on})
        };
        json!({"resources": {"x": shared(&self.x, x_on), "y": shared(&self.y, y_on)}}).to_string()
    }
}

/// Tears applications down and checks that nothing is left.
async fn leave_nothing(stack: &Stack, environment: &str, applications: &[&str]) {
    for application in applications {
        stack.teardown(application, environment).await.succeeded();
    }
    for resource in stack.all(&format!("/v1/resources?environment={environment}")).await {
        assert_eq!(resource["status"], "Deleted", "{resource:#}");
    }
    stack.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

#[tokio::test]
async fn a_file_that_turns_round_what_another_application_made_is_refused_with_the_path() {
    let stack = Stack::load();
    let (one, two, environment, pair) = (unique("one"), unique("two"), stack.environment().await, Pair::new());
    let first = stack.run(&one, &environment, &pair.file(&["y"], &[])).await.succeeded();
    let turned = pair.file(&[], &["x"]);
    let foretold = stack.foretell(&two, &environment, &turned).await;
    let refused = stack.run(&two, &environment, &turned).await.failed("dependency_cycle");
    assert_eq!((foretold.outcome("x"), foretold.outcome("y")), ("linked", "failed"));
    assert_eq!((refused.outcome("x"), refused.outcome("y")), ("linked", "Failed"));
    let path = format!("{} → {} → {}", pair.y, pair.x, pair.y);
    for deployment in [&foretold, &refused] {
        let error = &deployment.operation("y")["error"];
        assert_eq!(error["code"], "dependency_cycle");
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(&path)), "{path} in {error:#}");
    }
    assert_eq!(stack.resource(&first.resource_id("y")).await["dependsOn"], json!([]));
    leave_nothing(&stack, &environment, &[&two, &one]).await;
}

#[tokio::test]
async fn a_longer_circle_over_three_applications_is_refused_with_the_whole_path() {
    let stack = Stack::load();
    let (environment, names) = (stack.environment().await, [unique("a"), unique("b"), unique("c")]);
    let shared = |name: &str| json!({"type": "note", "reference": {"mode": "shared", "name": name}});
    let edge = |from: usize, to: usize| {
        let mut user = shared(&names[from]);
        user["dependsOn"] = json!(["to"]);
        json!({"resources": {"from": user, "to": shared(&names[to])}}).to_string()
    };
    let applications = [unique("one"), unique("two"), unique("three")];
    // Made from the end, so that each new one stands on what is there.
    stack.run(&applications[0], &environment, &edge(1, 2)).await.succeeded();
    stack.run(&applications[1], &environment, &edge(0, 1)).await.succeeded();
    let refused = stack.run(&applications[2], &environment, &edge(2, 0)).await.failed("dependency_cycle");
    let detail = refused.operation("from")["error"]["detail"].as_str().expect("a detail");
    let path = format!("{} → {} → {} → {}", names[2], names[0], names[1], names[2]);
    assert!(detail.contains(&path), "{path} in: {detail}");
    let [one, two, three] = &applications;
    leave_nothing(&stack, &environment, &[one, two, three]).await;
}

#[tokio::test]
async fn the_only_user_of_two_resources_may_turn_their_order_round() {
    let stack = Stack::load();
    let (application, environment, pair) = (unique("app"), stack.environment().await, Pair::new());
    let first = stack.run(&application, &environment, &pair.file(&["y"], &[])).await.succeeded();
    let turned = stack.run(&application, &environment, &pair.file(&[], &["x"])).await.succeeded();
    assert_eq!((turned.outcome("x"), turned.outcome("y")), ("unchanged", "unchanged"));
    assert_eq!(stack.resource(&first.resource_id("x")).await["dependsOn"], json!([]));
    assert_eq!(stack.resource(&first.resource_id("y")).await["dependsOn"], json!([first.resource_id("x")]));
    leave_nothing(&stack, &environment, &[&application]).await;
}

#[tokio::test]
async fn two_who_make_opposite_orders_at_once_leave_nothing_that_keeps_itself_alive() {
    let stack = Stack::load();
    for _ in 0..2 {
        let (one, two, environment, pair) = (unique("one"), unique("two"), stack.environment().await, Pair::new());
        let (there, back) = (pair.file(&["y"], &[]), pair.file(&[], &["x"]));
        let (first, second) = join(stack.run(&one, &environment, &there), stack.run(&two, &environment, &back)).await;
        for deployment in [&first, &second] {
            let as_it_may_end = deployment.status() == "Succeeded" || deployment.error() == "dependency_cycle";
            assert!(as_it_may_end, "{:#}", deployment.0);
        }
        leave_nothing(&stack, &environment, &[&one, &two]).await;
    }
}
