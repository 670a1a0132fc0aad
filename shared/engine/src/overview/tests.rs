use std::time::Duration;

use conductor_domain::environment::Environment;
use conductor_domain::ids::{GenericUuid, OperationId};
use conductor_domain::lane::LaneKey;
use conductor_domain::name::OrganisationName;
use conductor_domain::token::SECRET_BYTES;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::imagine::{Collected, Nothing, ObjectsOver, Overlay};
use crate::port::{Change, Depth, Expect, Version, Wake};
use crate::record::Entity;
use crate::{Settings, Timings};

/// Ports in memory, at one moment.
enum Memory {}

impl Ports for Memory {
    type Records = Overlay<Nothing>;
    type Vault = ObjectsOver<Nothing>;
    type Artifacts = ObjectsOver<Nothing>;
    type Queue = Collected;
    type Clock = Still;
}

#[derive(Clone)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("a time")
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}

    fn fresh_id(&self) -> Uuid {
        Uuid::nil()
    }

    fn chance(&self) -> f64 {
        0.0
    }

    fn secret(&self) -> [u8; SECRET_BYTES] {
        [0; SECRET_BYTES]
    }
}

fn organisation() -> OrganisationName {
    "acme".parse().expect("a name")
}

async fn engine(records: Vec<Record>) -> Engine<Memory> {
    let overlay = Overlay::new(Nothing);
    let version = Version("v1".to_owned());
    let put = |record: &Record| Change::Put {
        record: Box::new(record.clone()),
        expect: Expect::Absent,
        version: version.clone(),
    };
    for part in records.chunks(100) {
        overlay.commit(&organisation(), part.iter().map(put).collect()).await.expect("written");
    }
    let settings = Settings {
        state_bucket: String::new(),
        workers: false,
        timings: Timings::default(),
        meter: Default::default(),
    };
    let nothing = || ObjectsOver::new(Nothing);
    Engine::new(overlay, nothing(), nothing(), Collected::default(), Still, settings)
}

async fn overview(records: Vec<Record>) -> Overview {
    let caller = Caller::system(organisation(), "test");
    engine(records).await.overview(&caller).await.expect("an overview")
}

fn id(number: u128) -> DeploymentId {
    DeploymentId::from_untyped_uuid(Uuid::from_u128(number))
}

fn deployment(number: u128, status: &str, created_at: &str) -> Record {
    let deployment: Deployment = serde_json::from_value(json!({
        "id": id(number), "kind": "apply", "status": status, "enteredAt": created_at, "createdAt": created_at,
        "lane": {"environment": "dev", "of": {"application": "orders"}}, "number": 1,
        "options": {"prune": true, "refresh": false, "upgrade": false, "allowReplace": []},
        "requestedBy": "local", "requestId": "r1", "operations": 1, "acquires": 1, "releases": "undecided"
    }))
    .expect("a deployment");
    deployment.into_record()
}

fn ended(number: u128, created_at: &str, completed_at: &str) -> Record {
    let completed_at = Some(completed_at.parse().expect("a time"));
    match deployment(number, "Failed", created_at) {
        Record::Deployment(one) => Deployment { completed_at, ..one }.into_record(),
        other => other,
    }
}

/// The environment and the lane of the deployments above, with these in it.
fn lane(waiting: &[u128]) -> Vec<Record> {
    let environment: Environment = serde_json::from_value(json!({
        "name": "dev", "createdAt": "2026-11-01T12:00:00Z", "updatedAt": "2026-11-01T12:00:00Z"
    }))
    .expect("an environment");
    let key = LaneKey::application(environment.name.clone(), "orders".parse().expect("a name"));
    let current = waiting.first().map(|number| id(*number));
    let lane = Lane { key: key.clone(), next: 9, current, superseded_below: 0 };
    let places = (1..).zip(waiting);
    let places = places.map(|(number, of)| LanePlace { lane: key.clone(), number, deployment: id(*of) }.into_record());
    [environment.into_record(), lane.into_record()].into_iter().chain(places).collect()
}

/// An operation that nobody has claimed since then.
fn ready(number: u128, entered_at: &str) -> Record {
    let [operation, _] = running(number, 1, (1, 1), "2026-11-22T11:00:00Z");
    let entered_at = entered_at.parse().expect("a time");
    match operation {
        Record::Operation(one) => Operation { status: OperationStatus::Ready, entered_at, ..one }.into_record(),
        other => other,
    }
}

fn running(number: u128, operation: u32, epochs: (u64, u64), heartbeat_at: &str) -> [Record; 2] {
    let operation_id = OperationId::from_untyped_uuid(Uuid::from_u128(u128::from(operation)));
    let record: Operation = serde_json::from_value(json!({
        "id": operation_id, "deployment": id(number), "number": operation, "resource": "db", "type": "postgres",
        "request": {"action": "release", "resource": Uuid::nil()}, "status": "Running",
        "enteredAt": "2026-11-22T11:00:00Z", "dependsOn": [], "dependents": [], "epoch": epochs.0, "attempts": 1,
        "expiresAt": "2026-11-23T11:00:00Z"
    }))
    .expect("an operation");
    let lease: Lease = serde_json::from_value(json!({
        "deployment": id(number), "operation": operation, "epoch": epochs.1, "worker": "w",
        "heartbeatAt": heartbeat_at, "expiresAt": "2026-11-22T12:00:20Z"
    }))
    .expect("a lease");
    [record.into_record(), lease.into_record()]
}

#[tokio::test]
async fn an_overview_has_the_deployments_of_24_hours() {
    let records = vec![
        deployment(1, "Succeeded", "2026-11-21T11:59:59Z"),
        deployment(2, "Failed", "2026-11-21T12:00:01Z"),
        deployment(3, "Pending", "2026-11-22T11:59:59Z"),
    ];
    let found = overview(records).await;
    let ids: Vec<DeploymentId> = found.deployments.iter().map(|deployment| deployment.id).collect();
    assert_eq!((ids, found.cut), (vec![id(3), id(2)], false));
}

#[tokio::test]
async fn what_ended_in_the_last_24_hours_is_there_also_where_it_was_asked_for_before() {
    let records = vec![
        ended(1, "2026-11-20T12:00:01Z", "2026-11-21T11:59:59Z"),
        ended(2, "2026-11-20T12:00:01Z", "2026-11-22T11:59:00Z"),
    ];
    let found = overview(records).await;
    let ids: Vec<DeploymentId> = found.deployments.iter().map(|deployment| deployment.id).collect();
    assert_eq!((ids, found.cut), (vec![id(2)], false));
}

#[tokio::test]
async fn what_has_not_ended_is_there_however_long_ago_it_was_asked_for() {
    let mut records = lane(&[1, 2]);
    records.push(deployment(1, "InProgress", "2026-11-01T12:00:00Z"));
    records.push(deployment(2, "Pending", "2026-11-02T12:00:00Z"));
    records.extend(running(1, 1, (1, 1), "2026-11-22T11:59:58Z"));
    // More than a page of the list has.
    records.extend((101..=250).map(|number| deployment(number, "Failed", "2026-11-20T11:00:00Z")));
    let found = overview(records).await;
    let ids: Vec<DeploymentId> = found.deployments.iter().map(|deployment| deployment.id).collect();
    assert_eq!((ids, found.running.len(), found.cut), (vec![id(2), id(1)], 1, false));
}

#[tokio::test]
async fn an_overview_of_over_1000_deployments_says_that_it_is_cut() {
    let many = |count: u128| (1..=count).map(|number| deployment(number, "Failed", "2026-11-22T11:00:00Z")).collect();
    let (all, cut) = (overview(many(1_000)).await, overview(many(1_001)).await);
    assert_eq!((all.deployments.len(), all.cut), (1_000, false));
    assert_eq!((cut.deployments.len(), cut.cut), (1_000, true));
}

#[tokio::test]
async fn what_runs_is_told_the_longest_silent_first_without_leases_of_claims_that_are_over() {
    let mut records = vec![deployment(1, "InProgress", "2026-11-22T11:00:00Z")];
    records.extend(running(1, 1, (2, 2), "2026-11-22T11:59:58Z"));
    records.extend(running(1, 2, (1, 1), "2026-11-22T11:59:50Z"));
    records.extend(running(1, 3, (3, 2), "2026-11-22T11:59:40Z"));
    let found = overview(records).await;
    let numbers: Vec<u32> = found.running.iter().map(|one| one.operation.number).collect();
    assert_eq!(numbers, [2, 1]);
}

#[tokio::test]
async fn the_oldest_due_record_is_named_and_the_queue_is_counted() {
    let engine = engine(vec![ready(2, "2026-11-22T11:30:00Z"), ready(1, "2026-11-22T11:00:00Z")]).await;
    let executor = Default::default();
    let wake = Wake { organisation: organisation(), deployment_id: id(1), operation: None, executor };
    engine.queue.send(&[wake], Duration::ZERO).await.expect("sent");
    let found = engine.overview(&Caller::system(organisation(), "test")).await.expect("an overview");
    let since = "2026-11-22T11:00:25Z".parse().expect("a time");
    assert_eq!(found.oldest_due, Some(Due { item: Item::Operation(id(1), 1), since }));
    let depth = found.depths.map(|depths| (depths.wakes, depths.dead_letters));
    assert_eq!(depth, Some((Depth { waiting: 1, ..Depth::default() }, None)));
}

#[tokio::test]
async fn a_deployment_that_goes_on_is_not_overdue() {
    let found = overview(vec![deployment(1, "InProgress", "2026-11-22T11:00:00Z")]).await;
    assert_eq!(found.oldest_due, None);
}
