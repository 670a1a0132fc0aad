//! How cost grows with a deployment. Its operations link, so that all of it is ours; two wait for each, so that each end
//! moves others on.

use conductor_acceptance::time;
use conductor_runtime::Function;
use jiff::Timestamp;
use serde_json::Value;

use crate::clock::millis;
use crate::count::Counter;
use crate::ground::Ground;
use crate::measure::{Samples, slope};
use crate::modules::{link, many, name};
use crate::process::cpu;
use crate::row::{Goal, Line, Row};
use crate::world::{Deployed, Store, World};

const CPU: Line = Line::new("deployments of 10, 100, 500 operations: growth of CPU", "slope", Goal::AtMost(1.1));
const REQUESTS: Line =
    Line::new("deployments of 10, 100, 500 operations: growth of store requests", "slope", Goal::AtMost(1.1));
const SETTLE: Line = Line::new("a settle, in a deployment of 500 operations", "ms", Goal::AtMost(50.0));
pub const LINES: &[Line] = &[CPU, REQUESTS, SETTLE];

const SIZES: [usize; 3] = [10, 100, 500];
const ROUNDS: usize = 3;
const KIND: &str = "there-already";

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let (slopes, settles, cpu) = timed(ground).await;
    let requests = counted(ground).await;
    let told = |unit: &str, points: &[(f64, f64)]| {
        let each = points.iter().map(|(size, cost)| format!("{size}: {:.1} {unit}", cost / size));
        format!("for each operation, {}", each.collect::<Vec<_>>().join(", "))
    };
    vec![
        CPU.of(&slopes).with(told("ms", &cpu)),
        REQUESTS.is(slope(&requests)).with(told("requests", &requests)),
        SETTLE
            .judged(&settles, settles.percentile(99))
            .with("from the end of an operation to the next claim or the answer"),
    ]
}

/// The slopes of the rounds, the settles of the largest, and the cost of the last round in milliseconds.
async fn timed(ground: &Ground) -> (Samples, Samples, Vec<(f64, f64)>) {
    let world = World::on(ground, Store::Dynoxide, None).await;
    let worker = world.provisioners(1).await;
    let names = world.api.register(&world.environment, KIND, SIZES[2]).await;
    world.deploy_new(&worker, &tree(&names, SIZES[0])).await;
    let (mut slopes, mut settled, mut points) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        points.clear();
        for size in SIZES {
            let before = used(&world, &worker[0]);
            let deployed = world.deploy_new(&worker, &tree(&names, size)).await;
            points.push((size as f64, used(&world, &worker[0]) - before));
            if size == SIZES[2] {
                settled.extend(settles_of(&deployed));
            }
        }
        slopes.push(slope(&points));
    }
    (slopes.into_iter().collect(), settled.into_iter().collect(), points)
}

async fn counted(ground: &Ground) -> Vec<(f64, f64)> {
    let counter = Counter::new(ground.stack.value("vaultBucket"));
    let world = World::on(ground, Store::Dynoxide, Some(&counter)).await;
    let worker = world.provisioners(1).await;
    let names = world.api.register(&world.environment, KIND, SIZES[2]).await;
    let mut points = Vec::new();
    for size in SIZES {
        let (before, sent) = (counter.read(), world.queue.requests());
        world.deploy_new(&worker, &tree(&names, size)).await;
        let requests = counter.read().since(&before).store() + world.queue.requests() - sent;
        points.push((size as f64, requests as f64));
    }
    points
}

/// Milliseconds that both functions have worked.
fn used(world: &World<'_>, worker: &Function) -> f64 {
    (cpu(&world.api.0) + cpu(worker)).as_secs_f64() * 1000.0
}

fn tree(names: &[String], size: usize) -> Value {
    let after = |number: usize| (number > 0).then(|| name((number - 1) / 2));
    many(size, |number| link(KIND, &names[number], after(number)))
}

fn settles_of(deployed: &Deployed) -> Vec<f64> {
    let operations = deployed.shown.operations().iter();
    let times = operations.map(|operation| (time(&operation["startedAt"]), time(&operation["completedAt"])));
    let answers = deployed.deliveries.iter().map(|delivery| delivery.ended);
    settles(times.collect(), answers.collect())
}

/// How long it took from the end of each operation until the next was claimed, or until the function answered. There is
/// one worker, so nothing else happens between.
fn settles(mut operations: Vec<(Timestamp, Timestamp)>, mut answers: Vec<Timestamp>) -> Vec<f64> {
    operations.sort();
    answers.sort();
    let claims = operations.iter().skip(1).map(|(claimed, _)| *claimed);
    let next = claims.map(Some).chain([None]);
    let settles = operations.iter().zip(next).filter_map(|((_, ended), next)| {
        let answer = answers.iter().find(|answer| *answer >= ended).copied();
        let until = next.into_iter().chain(answer).min()?;
        Some(millis(*ended, until))
    });
    settles.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settle_ends_with_the_next_claim_or_the_answer() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        // One answer for the first two, one for the third.
        let operations = vec![(at(20), at(25)), (at(0), at(3)), (at(4), at(9))];
        assert_eq!(settles(operations, vec![at(31), at(11)]), [1000.0, 2000.0, 6000.0]);
        assert_eq!(settles(Vec::new(), Vec::new()), [] as [f64; 0]);
    }
}
