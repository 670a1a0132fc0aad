//! Pools: resources that are made before anybody asks.

use std::collections::BTreeSet;

use conductor_acceptance::{Dialect, Stack, pool_path, unique};
use reqwest::Method;
use serde_json::{Value, json};

/// A file that wants a member of a pool of notes.
fn from_pool(pool: &str) -> String {
    Dialect::Own.file(&json!({"one": {"type": "note", "pool": pool}}))
}

fn notes(size: u32) -> Value {
    json!({"type": "note", "size": size, "parameters": {"text": "pooled"}})
}

/// The ids of what is Active in an environment.
async fn active(stack: &Stack, environment: &str) -> BTreeSet<String> {
    let items = stack.all(&format!("/v1/resources?environment={environment}&status=Active")).await;
    items.iter().filter_map(|item| item["id"].as_str()).map(str::to_owned).collect()
}

/// What is Active in an environment once it is so many.
async fn active_at_last(stack: &Stack, environment: &str, count: usize) -> BTreeSet<String> {
    let what = format!("{count} resources in {environment}");
    stack
        .eventually(&what, async || {
            let found = active(stack, environment).await;
            (found.len() == count).then_some(found)
        })
        .await
}

#[tokio::test]
async fn a_pool_makes_its_members_ahead_and_one_anew_for_each_that_is_claimed() {
    let stack = Stack::load();
    let (environment, pool) = (stack.environment().await, unique("pool"));
    let made = stack.put_pool(&environment, &pool, &notes(2)).await.expect(201);
    assert_eq!(
        (&made.body["desired"], &made.body["size"], &made.body["closing"]),
        (&json!(2), &json!(2), &json!(false))
    );
    assert_eq!(stack.follow(made.header("location")).await.expect(200).text("name"), pool);
    let ready = stack.settled_pool(&environment, &pool, 2, 0).await;
    assert_eq!(ready["parameters"], json!({"text": "pooled"}));
    let members = active(&stack, &environment).await;

    for dialect in Dialect::BOTH {
        let application = unique("app");
        let score = dialect.file(&json!({"one": {"type": "note", "pool": pool}}));
        let claimed = stack.run(&application, &environment, &score).await.succeeded();
        assert_eq!((claimed.outcome("one"), claimed.attempts("one")), ("linked", 0), "{dialect:?}: {:#}", claimed.0);
        let id = claimed.resource_id("one");
        let member = stack.resource(&id).await;
        assert_eq!((&member["mode"], &member["pool"]), (&json!("pool"), &json!(pool)), "{dialect:?}");
        assert_eq!(member["outputs"]["text"]["value"], "pooled");
        let consumers = stack.consumers(&id).await;
        assert_eq!((consumers.len(), &consumers[0]["application"]), (1, &json!(application)), "{consumers:#?}");
        if dialect == Dialect::Own {
            assert!(members.contains(&id), "{id} is none of {members:?}");
        }
        let refilled = stack.settled_pool(&environment, &pool, 2, 1).await;
        assert_eq!(refilled["onDemand"], 0);

        let again = stack.run(&application, &environment, &score).await.succeeded();
        let found = (again.outcome("one"), again.attempts("one"), again.resource_id("one"));
        assert_eq!(found, ("unchanged", 0, id.clone()), "{dialect:?}");

        let gone = stack.teardown(&application, &environment).await.succeeded();
        assert_eq!((gone.outcome("one"), gone.releases(&id).len()), ("destroyed", 1), "{dialect:?}");
        assert_eq!(stack.resource(&id).await["status"], "Deleted");
        stack.settled_pool(&environment, &pool, 2, 0).await;
    }
    let upkeep = stack.all(&format!("/v1/deployments?environment={environment}")).await;
    let upkeep: Vec<_> = upkeep.iter().filter(|deployment| deployment["kind"] == "pool").collect();
    assert!(upkeep.iter().all(|one| one["pool"] == pool.as_str() && one["application"].is_null()), "{upkeep:#?}");
}

#[tokio::test]
async fn several_who_claim_at_once_get_a_member_each() {
    let stack = Stack::load();
    let (environment, pool) = (stack.environment().await, unique("pool"));
    stack.put_pool(&environment, &pool, &notes(3)).await.expect(201);
    stack.settled_pool(&environment, &pool, 3, 0).await;
    let (score, applications) = (from_pool(&pool), [unique("app"), unique("app"), unique("app"), unique("app")]);
    let claims = applications.iter().map(|application| stack.run(application, &environment, &score));
    let done = futures::future::join_all(claims).await;
    let ids: BTreeSet<_> = done.iter().map(|deployment| deployment.resource_id("one")).collect();
    assert_eq!(ids.len(), 4);
    for deployment in done {
        let deployment = deployment.succeeded();
        assert!(matches!(deployment.outcome("one"), "linked" | "created"), "{:#}", deployment.0);
    }
    stack.settled_pool(&environment, &pool, 3, 4).await;
}

#[tokio::test]
async fn a_pool_without_a_free_member_has_one_made_on_demand() {
    let stack = Stack::load();
    let (application, environment, pool) = (unique("app"), stack.environment().await, unique("pool"));
    stack.put_pool(&environment, &pool, &notes(0)).await.expect(201);
    let made = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded();
    assert_eq!(made.outcome("one"), "created");
    let id = made.resource_id("one");
    assert_eq!(stack.resource(&id).await["parameters"], json!({"text": "pooled"}));
    let shown = stack.settled_pool(&environment, &pool, 0, 1).await;
    assert_eq!((&shown["onDemand"], &shown["desired"]), (&json!(1), &json!(0)));
    let again = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded();
    assert_eq!((again.outcome("one"), again.resource_id("one")), ("unchanged", id));
    assert_eq!(stack.teardown(&application, &environment).await.succeeded().outcome("one"), "destroyed");
    let shown = stack.settled_pool(&environment, &pool, 0, 0).await;
    assert_eq!(shown["onDemand"], 0);
}

#[tokio::test]
async fn shrinking_and_deleting_a_pool_destroy_free_members_alone() {
    let stack = Stack::load();
    let (application, environment, pool) = (unique("app"), stack.environment().await, unique("pool"));
    stack.put_pool(&environment, &pool, &notes(2)).await.expect(201);
    stack.settled_pool(&environment, &pool, 2, 0).await;
    let claimed = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded().resource_id("one");
    stack.settled_pool(&environment, &pool, 2, 1).await;

    let shrunk = stack.put_pool(&environment, &pool, &notes(1)).await.expect(200);
    assert_eq!(shrunk.body["desired"], 1);
    let left = active_at_last(&stack, &environment, 2).await;
    assert!(left.contains(&claimed), "{left:?}");
    stack.settled_pool(&environment, &pool, 1, 1).await;
    let put_again = stack.put_pool(&environment, &pool, &notes(1)).await.expect(200);
    assert_eq!(put_again.header("etag"), shrunk.header("etag"), "the same again changes nothing");

    let path = pool_path(&environment, &pool);
    stack.delete(&path).await.expect(202);
    stack.eventually("the pool is gone", async || (stack.get(&path).await.status == 404).then_some(())).await;
    stack.get(&path).await.is_problem(404, "pool_not_found");
    stack.delete(&path).await.is_problem(404, "pool_not_found");
    assert_eq!(active(&stack, &environment).await, BTreeSet::from([claimed.clone()]));
    stack.refused(&unique("app"), &environment, &from_pool(&pool)).await.is_problem(422, "pool_unknown");
    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert_eq!((gone.outcome("one"), gone.releases(&claimed).len()), ("destroyed", 1));
    stack.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

#[tokio::test]
async fn an_empty_pool_goes_at_once_and_keeps_its_environment_until_then() {
    let stack = Stack::load();
    let (environment, pool) = (stack.environment().await, unique("pool"));
    stack.put_pool(&environment, &pool, &notes(0)).await.expect(201);
    stack.delete(&format!("/v1/environments/{environment}")).await.is_problem(409, "environment_in_use");
    let listed = stack.get(&format!("/v1/environments/{environment}/pools")).await.expect(200).body;
    assert_eq!(listed["items"][0], stack.pool(&environment, &pool).await);
    stack.delete(&pool_path(&environment, &pool)).await.expect(204);
    let listed = stack.get(&format!("/v1/environments/{environment}/pools")).await.expect(200).body;
    assert_eq!(listed["items"], json!([]));
    stack.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

#[tokio::test]
async fn free_members_that_are_not_as_the_pool_says_are_replaced() {
    let stack = Stack::load();
    let (application, environment, pool) = (unique("app"), stack.environment().await, unique("pool"));
    let path = pool_path(&environment, &pool);
    let made = stack.put_pool(&environment, &pool, &notes(1)).await.expect(201);
    stack.settled_pool(&environment, &pool, 1, 0).await;
    let claimed = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded().resource_id("one");
    stack.settled_pool(&environment, &pool, 1, 1).await;
    let before = active(&stack, &environment).await;

    let other = json!({"type": "note", "size": 1, "parameters": {"text": "changed", "secret": "hidden"}});
    let stale = stack.json(Method::PUT, &path, &[("if-match", made.header("etag"))], &other).await.expect(200);
    assert_eq!(stale.body["parameters"], json!({"text": "changed", "secret": null}));
    stack
        .json(Method::PUT, &path, &[("if-match", made.header("etag"))], &notes(1))
        .await
        .is_problem(412, "precondition_failed");
    let fresh = stack
        .eventually("a new member", async || {
            let now = active(&stack, &environment).await;
            (now.len() == 2).then(|| now.difference(&before).next().cloned()).flatten()
        })
        .await;
    assert_eq!(stack.resource(&fresh).await["parameters"], json!({"text": "changed", "secret": null}));
    assert_eq!(stack.resource(&claimed).await["parameters"]["text"], "pooled");
    let unchanged = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded();
    assert_eq!((unchanged.outcome("one"), unchanged.resource_id("one")), ("unchanged", claimed));
    stack.settled_pool(&environment, &pool, 1, 1).await;
    let next = stack.run(&unique("app"), &environment, &from_pool(&pool)).await.succeeded();
    assert_eq!((next.outcome("one"), next.resource_id("one")), ("linked", fresh));
}

#[tokio::test]
async fn a_shared_member_is_had_by_as_many_as_the_pool_says() {
    let stack = Stack::load();
    let (environment, pool) = (stack.environment().await, unique("pool"));
    let body = json!({"type": "note", "size": 1, "sharing": "shared", "maxConsumers": 2});
    stack.put_pool(&environment, &pool, &body).await.expect(201);
    stack.settled_pool(&environment, &pool, 1, 0).await;
    let applications = [unique("app"), unique("app"), unique("app")];
    let claim = async |application: &String| {
        let done = stack.run(application, &environment, &from_pool(&pool)).await.succeeded();
        assert_eq!((done.outcome("one"), done.attempts("one")), ("linked", 0), "{:#}", done.0);
        done.resource_id("one")
    };
    let first = claim(&applications[0]).await;
    assert_eq!(claim(&applications[1]).await, first);
    let consumers = stack.consumers(&first).await;
    assert!(consumers.iter().all(|consumer| consumer["kind"] == "workload"), "{consumers:#?}");
    stack.settled_pool(&environment, &pool, 1, 1).await;
    let second = claim(&applications[2]).await;
    assert_ne!(second, first);

    for (application, effect) in applications.iter().zip(["released", "destroyed", "released"]) {
        let gone = stack.teardown(application, &environment).await.succeeded();
        assert_eq!(gone.outcome("one"), effect, "{:#}", gone.0);
    }
    assert_eq!(stack.resource(&second).await["status"], "Active");
    let left = stack.consumers(&second).await;
    assert_eq!((left.len(), &left[0]["kind"], &left[0]["origin"]), (1, &json!("pool"), &json!("pool")));
}

#[tokio::test]
async fn members_of_a_retained_pool_stay_when_their_last_consumer_leaves() {
    let stack = Stack::load();
    let (application, environment, pool) = (unique("app"), stack.environment().await, unique("pool"));
    let body = json!({"type": "note", "size": 1, "retain": true});
    stack.put_pool(&environment, &pool, &body).await.expect(201);
    stack.settled_pool(&environment, &pool, 1, 0).await;
    let id = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded().resource_id("one");
    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert_eq!(gone.outcome("one"), "retained");
    assert_eq!(stack.resource(&id).await["status"], "Active");
}

#[tokio::test]
async fn a_file_asks_a_pool_for_nothing_that_the_pool_does_not_say() {
    let stack = Stack::load();
    let (environment, pool) = (stack.environment().await, unique("pool"));
    stack.put_pool(&environment, &pool, &notes(0)).await.expect(201);
    let check = async |resource: Value, status: u16, code: &str, pointer: &str| {
        let (application, score) = (unique("app"), json!({"resources": {"one": resource}}).to_string());
        let refused = stack.refused(&application, &environment, &score).await;
        refused.points_at(&score, status, code, pointer);
        stack.knows_nothing_of(&application).await;
    };
    check(json!({"type": "note", "pool": unique("pool")}), 422, "pool_unknown", "/resources/one/pool").await;
    let other = json!({"type": "note", "pool": pool, "params": {"text": "other"}});
    check(other, 422, "parameters_invalid", "/resources/one/params/text").await;
    let more = json!({"type": "note", "pool": pool, "params": {"tags": {"a": "b"}}});
    check(more, 422, "parameters_invalid", "/resources/one/params/tags").await;
    check(json!({"type": "sqs", "pool": pool}), 409, "type_conflict", "/resources/one/pool").await;

    let same = Dialect::Own.file(&json!({"one": {"type": "note", "pool": pool, "params": {"text": "pooled"}}}));
    let made = stack.run(&unique("app"), &environment, &same).await.succeeded();
    assert_eq!(made.outcome("one"), "created");
}

#[tokio::test]
async fn a_pool_that_breaks_a_rule_is_refused_at_its_place() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let check = async |body: Value, status: u16, code: &str, pointer: &str| {
        let pool = unique("pool");
        let refused = stack.put_pool(&environment, &pool, &body).await;
        refused.points_at(&body.to_string(), status, code, pointer);
        stack.get(&pool_path(&environment, &pool)).await.is_problem(404, "pool_not_found");
    };
    check(json!({"type": "nothing", "size": 1}), 422, "resource_type_unknown", "/type").await;
    check(json!({"type": "note", "size": 101}), 400, "body_invalid", "/size").await;
    check(json!({"type": "note", "size": 1, "maxConsumers": 2}), 400, "body_invalid", "/maxConsumers").await;
    let version = json!({"type": "note", "size": 1, "templateVersion": "99.0.0"});
    check(version, 422, "template_version_unknown", "/templateVersion").await;
    let unknown = json!({"type": "note", "size": 1, "parameters": {"colour": "red"}});
    check(unknown, 422, "parameters_invalid", "/parameters/colour").await;
    let open = json!({"type": "note", "size": 1, "parameters": {"text": "${other.text}"}});
    check(open, 422, "parameters_invalid", "/parameters/text").await;

    let (pool, tiny) = (unique("pool"), stack.template(conductor_acceptance::TINY).await);
    stack.put_pool(&environment, &pool, &notes(0)).await.expect(201);
    let other = stack.put_pool(&environment, &pool, &json!({"type": tiny, "size": 0})).await;
    other.points_at("another type", 409, "type_conflict", "/type");
    let nowhere = stack.put_pool(&unique("nowhere"), &pool, &notes(1)).await;
    nowhere.is_problem(404, "environment_not_found");
}

#[tokio::test]
async fn whoever_has_a_member_goes_on_with_it_after_its_pool_is_gone() {
    let stack = Stack::load();
    let (application, environment, pool) = (unique("app"), stack.environment().await, unique("pool"));
    stack.put_pool(&environment, &pool, &notes(0)).await.expect(201);
    let id = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded().resource_id("one");
    stack.delete(&pool_path(&environment, &pool)).await.expect(204);
    let again = stack.run(&application, &environment, &from_pool(&pool)).await.succeeded();
    assert_eq!((again.outcome("one"), again.resource_id("one")), ("unchanged", id));
}
