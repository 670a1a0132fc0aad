use std::collections::BTreeSet;

use conductor_domain::ids::{GenericUuid, OperationId};
use conductor_domain::operation::{ReleaseRequest, Request};
use jiff::Timestamp;
use uuid::Uuid;

use super::*;

pub(crate) fn waiting(depends_on: &[u32], after_acquires: bool) -> Operation {
    let resource = ResourceId::from_untyped_uuid(Uuid::nil());
    Operation {
        id: OperationId::from_untyped_uuid(Uuid::nil()),
        deployment: DeploymentId::from_untyped_uuid(Uuid::nil()),
        number: 9,
        resource: "r".to_owned(),
        kind: "note".to_owned(),
        request: Request::Release(ReleaseRequest { resource, consumer: None }),
        status: OperationStatus::Waiting,
        waiting_for: Some(WaitingFor::Dependencies),
        awaits: None,
        entered_at: Timestamp::UNIX_EPOCH,
        effect: None,
        reason: None,
        resource_id: None,
        depends_on: depends_on.iter().copied().collect(),
        dependents: BTreeSet::new(),
        after_acquires,
        epoch: 0,
        executor: Default::default(),
        limits: Default::default(),
        attempts: 0,
        ran_seconds: 0,
        not_before: None,
        in_flight: Vec::new(),
        warnings: Vec::new(),
        started_at: None,
        completed_at: None,
        expires_at: Timestamp::UNIX_EPOCH,
        changes: Default::default(),
        error: None,
        steps: Vec::new(),
        usage: Default::default(),
        settled: false,
        pending_objects: Vec::new(),
    }
}

#[test]
fn an_operation_waits_until_everything_before_it_has_succeeded() {
    use OperationEvent::{Orphaned, Unblocked};
    use OperationStatus as S;
    let check = |before: &[S], expect: Option<OperationEvent>| {
        let numbers: Vec<u32> = (1..=before.len() as u32).collect();
        let operation = waiting(&numbers, false);
        let found = decide(&operation, Releases::Undecided, |number| before.get(number as usize - 1).copied());
        assert_eq!(found, expect, "{before:?}");
    };
    check(&[], Some(Unblocked));
    check(&[S::Succeeded, S::Succeeded], Some(Unblocked));
    check(&[S::Succeeded, S::Running], None);
    check(&[S::Waiting], None);
    check(&[S::Ready], None);
    check(&[S::Failed, S::Running], Some(Orphaned));
    check(&[S::Skipped], Some(Orphaned));
    check(&[S::Cancelled], Some(Orphaned));
    check(&[S::TimedOut], Some(Orphaned));
}

#[test]
fn an_operation_that_is_not_there_yet_keeps_its_dependents_waiting() {
    assert_eq!(decide(&waiting(&[1], false), Releases::Go, |_| None), None);
}

#[test]
fn a_release_also_waits_for_the_acquires() {
    let check = |releases, expect| assert_eq!(decide(&waiting(&[], true), releases, |_| None), expect, "{releases:?}");
    check(Releases::Undecided, None);
    check(Releases::Go, Some(OperationEvent::Unblocked));
    check(Releases::Skip, Some(OperationEvent::Orphaned));
}

#[test]
fn only_who_waits_for_dependencies_is_moved() {
    let mut operation = waiting(&[], false);
    operation.waiting_for = Some(WaitingFor::Resource);
    assert_eq!(decide(&operation, Releases::Go, |_| None), None);
    operation.waiting_for = Some(WaitingFor::Lock);
    assert_eq!(decide(&operation, Releases::Go, |_| None), None);
    operation.waiting_for = None;
    operation.status = OperationStatus::Running;
    assert_eq!(decide(&operation, Releases::Go, |_| None), None);
}

#[test]
fn an_edge_goes_also_where_the_acquires_failed() {
    let mut operation = waiting(&[], true);
    let resource = ResourceId::from_untyped_uuid(Uuid::nil());
    let consumer = Some(ConsumerKey::Resource { resource });
    operation.request = Request::Release(ReleaseRequest { resource, consumer });
    let check = |releases, expect| assert_eq!(decide(&operation, releases, |_| None), expect, "{releases:?}");
    check(Releases::Undecided, None);
    check(Releases::Go, Some(OperationEvent::Unblocked));
    check(Releases::Skip, Some(OperationEvent::Unblocked));
}
