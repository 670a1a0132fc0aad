//! A sweep of a table in which little is due.

use std::time::Duration;

use conductor_contract::Fixture;
use conductor_domain::ids::{DeploymentId, GenericUuid, OperationId, ResourceId};
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{Operation, ReleaseRequest, Request};
use conductor_engine::Entity;
use conductor_engine::port::{Change, Expect, MAX_CHANGES, Records, Version};
use conductor_faults::ORGANISATION;
use conductor_runtime::Function;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::now;
use crate::count::{Count, Counter};
use crate::functions::{Place, Program};
use crate::ground::Ground;
use crate::measure::Samples;
use crate::proxy::Proxy;
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World};

const TIME: Line = Line::new("sweeper with 10,000 records, 100 due", "ms", Goal::AtMost(1000.0));
const READ: Line = Line::new("the same: records read", "records", Goal::AtMost(100.0));
pub const LINES: &[Line] = &[TIME, READ];

const RECORDS: usize = 10_000;
const DUE: usize = 100;
const SWEEPS: usize = 10;
/// What the clock sends.
const SCHEDULE: &str = include_str!("../../../../events/sweeper-schedule.json");
const FUNCTION_TIME: Duration = Duration::from_secs(60);

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let world = World::on(ground, Store::Dynoxide, None).await;
    let fixture = world.fixture.as_ref().expect("a table in this process");
    put(fixture, RECORDS - DUE, "Waiting", now()).await;
    let sweeper = ground.start(Program::Sweeper, &world.place).await;
    let mut times = Vec::with_capacity(SWEEPS);
    for _ in 0..SWEEPS {
        put(fixture, DUE, "Ready", overdue()).await;
        let began = Instant::now();
        let swept = sweep(&sweeper).await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        assert_eq!((&swept["due"], &swept["woken"]), (&json!(DUE), &json!(DUE)), "{swept}");
        world.queue.drain();
    }

    let counter = Counter::new(ground.stack.value("vaultBucket"));
    let proxy = Proxy::before(&fixture.url, counter.clone()).await;
    let place = Place { dynamodb: proxy.url().to_owned(), ..world.place.clone() };
    let counted = ground.start(Program::Sweeper, &place).await;
    put(fixture, DUE, "Ready", overdue()).await;
    let before = counter.read();
    sweep(&counted).await;
    let tally = counter.read().since(&before);
    let note = format!("{} found in the index, {} requests", tally.of(Count::Found), tally.of(Count::Table));
    vec![TIME.of(&Samples::from_iter(times)), READ.is(tally.of(Count::Read) as f64).with(note)]
}

/// Has an instance sweep, and answers with what it says.
pub async fn sweep(sweeper: &Function) -> Value {
    let answer = sweeper.invoke(SCHEDULE.as_bytes().to_vec(), FUNCTION_TIME).await.bytes().await;
    serde_json::from_slice(&answer).expect("the function answers in JSON")
}

/// Long enough ago for a wake-up to be lost; what a sweep postpones, it postpones by as long.
fn overdue() -> Timestamp {
    now() - SignedDuration::from_mins(10)
}

/// Puts operations into the table that have stood like this since then, each of a deployment of its own.
async fn put(fixture: &Fixture, count: usize, status: &str, since: Timestamp) {
    let organisation: OrganisationName = ORGANISATION.parse().expect("a name");
    let changes: Vec<Change> = (0..count).map(|_| create(operation(status, since))).collect();
    for part in changes.chunks(MAX_CHANGES) {
        fixture.table.commit(&organisation, part.to_vec()).await.expect("the records can be put");
    }
}

fn create(operation: Operation) -> Change {
    let version = Version(Uuid::now_v7().simple().to_string());
    Change::Put { record: Box::new(operation.into_record()), expect: Expect::Absent, version }
}

fn operation(status: &str, since: Timestamp) -> Operation {
    let release = ReleaseRequest { resource: ResourceId::from_untyped_uuid(Uuid::now_v7()), consumer: None };
    let operation = json!({
        "id": OperationId::from_untyped_uuid(Uuid::now_v7()),
        "deployment": DeploymentId::from_untyped_uuid(Uuid::now_v7()),
        "number": 1,
        "resource": "one",
        "type": "db",
        "request": Request::Release(release),
        "status": status,
        "enteredAt": since,
        "dependsOn": [],
        "dependents": [],
        "epoch": 0,
        "attempts": 0,
        "expiresAt": since + SignedDuration::from_hours(24),
    });
    serde_json::from_value(operation).expect("an operation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ready_and_forgotten_is_due() {
        let due = |operation: Operation| operation.due_at().is_some_and(|due_at| due_at <= now());
        assert!(due(operation("Ready", overdue())));
        assert!(!due(operation("Waiting", now())));
    }
}
