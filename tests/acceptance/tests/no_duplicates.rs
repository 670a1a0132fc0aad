//! Many applications that want the same new thing at the same moment get one, and it is made once.

use std::collections::BTreeMap;

use conductor_acceptance::{Deployment, Stack, time, unique};
use futures::future::join_all;
use serde_json::{Value, json};

/// How many applications ask at once.
const MANY: usize = 50;

/// What the deployments of a file came to that all applications post at once. They are waited for one after the other:
/// each waiting request keeps a function busy.
async fn at_once(stack: &Stack, environment: &str, resource: &Value) -> Vec<Deployment> {
    let applications: Vec<_> = (0..MANY).map(|_| unique("app")).collect();
    let score = json!({"resources": {"one": resource}}).to_string();
    let posted = join_all(applications.iter().map(|application| stack.deploy(application, environment, &score))).await;
    let mut done = Vec::new();
    for id in &posted {
        done.push(stack.finished(id).await.succeeded());
    }
    done
}

/// How many consumers each resource got.
async fn consumers(stack: &Stack, done: &[Deployment]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for deployment in done {
        *counts.entry(deployment.resource_id("one")).or_insert(0) += 1;
    }
    for (id, count) in &counts {
        assert_eq!(stack.consumers(id).await.len(), *count, "{id}");
        assert_eq!(stack.resource(id).await["status"], "Active", "{id}");
    }
    counts
}

/// Checks that each resource was made by one terraform run, and linked to by everybody else.
async fn were_made_once(stack: &Stack, environment: &str, done: &[Deployment], resources: usize) {
    let count = |outcome: &str| done.iter().filter(|deployment| deployment.outcome("one") == outcome).count();
    assert_eq!((count("created"), count("linked")), (resources, MANY - resources));
    let runs: u64 = done.iter().map(|deployment| deployment.attempts("one")).sum();
    assert_eq!(runs, resources as u64, "terraform ran for whoever created, and once");
    let listed = stack.all(&format!("/v1/resources?environment={environment}")).await;
    assert_eq!(listed.len(), resources, "{listed:#?}");
}

/// Tells how many operations had begun before the resource was reserved: those have raced for it.
async fn tell_of_the_race(stack: &Stack, done: &[Deployment], id: &str) {
    let trail = stack.all(&format!("/v1/audit-events?resource={id}")).await;
    let made: Vec<_> = trail.iter().filter(|event| event["action"] == "resource.provisioning").collect();
    assert_eq!(made.len(), 1, "{trail:#?}");
    let reserved = time(&made[0]["at"]);
    let began = |deployment: &&Deployment| time(&deployment.operation("one")["startedAt"]) < reserved;
    match done.iter().filter(began).count() {
        0 | 1 => println!("no race was seen: nobody else had begun when {id} was reserved"),
        racing => println!("{racing} operations had begun when {id} was reserved, and one of them got it"),
    }
}

#[tokio::test]
async fn fifty_applications_that_name_the_same_new_resource_get_one_that_is_made_once() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let resource = json!({"type": "note", "reference": {"mode": "shared", "name": unique("shared")}});
    let done = at_once(&stack, &environment, &resource).await;
    were_made_once(&stack, &environment, &done, 1).await;
    let counts = consumers(&stack, &done).await;
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [MANY]);
    for id in counts.keys() {
        tell_of_the_race(&stack, &done, id).await;
    }
}

#[tokio::test]
async fn fifty_applications_that_match_on_the_same_parameters_get_one_that_is_made_once() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let resource = json!({"type": "note", "params": {"text": "same"}, "matching": {"matchOn": ["text"]}});
    let done = at_once(&stack, &environment, &resource).await;
    were_made_once(&stack, &environment, &done, 1).await;
    let counts = consumers(&stack, &done).await;
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [MANY]);
    for id in counts.keys() {
        tell_of_the_race(&stack, &done, id).await;
    }
}

#[tokio::test]
async fn fifty_applications_of_which_ten_may_share_get_five_that_are_full() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let matching = json!({"matchOn": ["text"], "maxConsumers": 10});
    let resource = json!({"type": "note", "params": {"text": "same"}, "matching": matching});
    let done = at_once(&stack, &environment, &resource).await;
    were_made_once(&stack, &environment, &done, 5).await;
    assert_eq!(consumers(&stack, &done).await.values().copied().collect::<Vec<_>>(), [10; 5]);
}
