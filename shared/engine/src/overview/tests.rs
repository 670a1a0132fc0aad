use std::time::Duration;

use conductor_domain::ids::{GenericUuid, OperationId};
use conductor_domain::name::OrganisationName;
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
    let late = deployment(1, "InProgress", "2026-11-22T11:00:00Z");
    let later = deployment(2, "InProgress", "2026-11-22T11:30:00Z");
    let engine = engine(vec![later, late]).await;
    let executor = Default::default();
    let wake = Wake { organisation: organisation(), deployment_id: id(1), operation: None, executor };
    engine.queue.send(&[wake], Duration::ZERO).await.expect("sent");
    let found = engine.overview(&Caller::system(organisation(), "test")).await.expect("an overview");
    let since = "2026-11-22T11:00:25Z".parse().expect("a time");
    assert_eq!(found.oldest_due, Some(Due { item: Item::Deployment(id(1)), since }));
    let depth = found.depths.map(|depths| (depths.wakes, depths.dead_letters));
    assert_eq!(depth, Some((Depth { waiting: 1, ..Depth::default() }, None)));
}
