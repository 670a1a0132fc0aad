//! Linking: what most operations of a team that shares come to.

use conductor_acceptance::time;

use crate::clock::millis;
use crate::ground::Ground;
use crate::measure::Samples;
use crate::modules::{TINY, link, many};
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World};

const LINK: Line = Line::new("link to an existing shared resource, claim to reported", "ms", Goal::AtMost(30.0));
pub const LINES: &[Line] = &[LINK];

const COUNT: usize = 50;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let world = World::on(ground, Store::MiniStack, None).await;
    let kind = world.api.publish(TINY).await;
    let (worker, one) = (world.provisioners(1).await, many(1, |_| link(&kind, "shared", None)));
    world.deploy_new(&worker, &one).await;
    let mut times = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let linked = world.deploy_new(&worker, &one).await.shown;
        let operation = &linked.operations()[0];
        assert_eq!(operation["effect"], "linked", "{:#}", linked.0);
        times.push(millis(time(&operation["startedAt"]), time(&operation["completedAt"])));
    }
    vec![LINK.of(&Samples::from_iter(times))]
}
