//! One bucket of the AWS provider: what a provider costs to start, and what it saves not to.

use conductor_acceptance::unique;

use super::builtin::seconds;
use super::missing;
use crate::bare::Bare;
use crate::ground::Ground;
use crate::measure::ratios;
use crate::modules::{BUCKET, bucket, bucket_inputs, many};
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World};

const FIRST: Line = Line::new(
    "one AWS-provider resource, first of its environment in a warm function, against bare init + apply",
    "ratio",
    Goal::AtMost(0.65),
);
const LATER: Line =
    Line::new("the same, a later one of the same environment, against bare init + apply", "ratio", Goal::AtMost(0.4));
const FIRST_OF_SIX: Line = Line::new("the first, against the six commands of a runner", "ratio", Goal::AtMost(0.27));
const LATER_OF_SIX: Line = Line::new("the later, against the six commands of a runner", "ratio", Goal::AtMost(0.16));
pub const LINES: &[Line] = &[FIRST, LATER, FIRST_OF_SIX, LATER_OF_SIX];

const PAIRS: usize = 5;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let provider = match ground.provider() {
        Ok(provider) => provider,
        Err(why) => return missing(LINES, why),
    };
    let world = World::on(ground, Store::MiniStack, None).await;
    let bare = Bare::new(ground, Some(provider));
    let kind = world.api.publish(BUCKET).await;
    let (worker, one) = (world.provisioners(1).await, many(1, |_| bucket(&kind)));
    world.deploy_new(&worker, &one).await;
    let root = || bare.root(BUCKET, 1, &bucket_inputs());
    root().init_and_apply().await;

    let (mut first, mut later, mut first_of_six, mut later_of_six) = (vec![], vec![], vec![], vec![]);
    for pair in 0..PAIRS {
        let environment = world.api.environment().await;
        let ours = async || world.deploy(&worker, &unique("app"), &environment, &one).await.seconds();
        let (begun, two, went_on, six);
        if pair.is_multiple_of(2) {
            begun = ours().await;
            two = root().init_and_apply().await;
            went_on = ours().await;
            six = root().six().await;
        } else {
            six = root().six().await;
            begun = ours().await;
            went_on = ours().await;
            two = root().init_and_apply().await;
        }
        first.push((begun, two));
        later.push((went_on, two));
        first_of_six.push((begun, six));
        later_of_six.push((went_on, six));
    }
    let measured = [(FIRST, first), (LATER, later), (FIRST_OF_SIX, first_of_six), (LATER_OF_SIX, later_of_six)];
    measured.iter().map(|(line, pairs)| line.of(&ratios(pairs)).with(seconds(pairs))).collect()
}
