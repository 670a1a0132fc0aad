//! What nobody tells the workers of, the sweeper finds.

use conductor_acceptance::{Aws, Stack, unique};

/// It loses the messages of everybody who deploys in the same tenth of a second. The sweeper finds those as well; they
/// only take longer.
#[tokio::test]
async fn a_lost_wake_up_is_sent_again_by_the_sweeper() {
    let stack = Stack::load();
    let aws = Aws::of(&stack);
    let (application, environment) = (unique("app"), stack.environment().await);
    aws.delay_messages(60).await;
    let id = stack.deploy(&application, &environment, "resources: {one: {type: note}}").await;
    aws.lose_messages().await;
    aws.delay_messages(0).await;

    let lost = stack.get(&format!("/v1/deployments/{id}")).await.expect(200).body;
    let status = lost["operations"][0]["status"].as_str();
    assert_eq!((lost["status"].as_str(), status), (Some("InProgress"), Some("Ready")));
    let done = stack.finished(&id).await.succeeded();
    assert_eq!((done.outcome("one"), done.attempts("one")), ("created", 1));
}
