use conductor_domain::identity::{IdentityKey, Mode};
use conductor_domain::ids::{DeploymentId, GenericUuid, ResourceId};
use conductor_domain::resource::{Reservation, StateLocation};
use conductor_domain::template::Interface;
use jiff::Timestamp;
use uuid::Uuid;

use super::*;

const MINE: u128 = 1;
const OTHER: u128 = 2;

fn template(version: &str, state: TemplateState) -> TemplateVersion {
    TemplateVersion {
        template: TemplateName::new("note", None),
        version: version.parse().expect("a version"),
        state,
        sha256: String::new(),
        bytes: 0,
        interface: Interface::default(),
        engine: "terraform".to_owned(),
        engine_version: String::new(),
        retain: false,
        executor: Default::default(),
        limits: Default::default(),
        services: Vec::new(),
        untrusted: false,
        findings: Vec::new(),
        created_at: Timestamp::UNIX_EPOCH,
        created_by: String::new(),
    }
}

pub(in crate::acquire) fn resource(status: ResourceStatus, reserved_by: Option<u128>) -> Resource {
    let deployment = DeploymentId::from_untyped_uuid(Uuid::nil());
    Resource {
        id: ResourceId::from_untyped_uuid(Uuid::nil()),
        name: "shared".to_owned(),
        template: TemplateName::new("note", None),
        version: Some("1.0.0".parse().expect("a version")),
        environment: "dev".parse().expect("a name"),
        created_for: Some("shop".parse().expect("a name")),
        mode: Mode::Shared,
        identity: IdentityKey::probe(),
        status,
        entered_at: Timestamp::UNIX_EPOCH,
        reservation: reserved_by.map(|operation| Reservation {
            deployment,
            number: 1,
            operation: OperationId::from_untyped_uuid(Uuid::from_u128(operation)),
            epoch: 1,
            dead_after: Timestamp::UNIX_EPOCH,
            untouched: false,
        }),
        left_behind: None,
        errored_state: None,
        unstored: None,
        consumers: 1,
        dependents: 0,
        waiters: 0,
        max_consumers: None,
        candidate: None,
        published: false,
        pool: None,
        external: None,
        depends_on: Vec::new(),
        state_location: StateLocation { backend: "s3".to_owned(), location: String::new() },
        retain: false,
        created_by: Some(deployment),
        updated_by: Some(deployment),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// What is asked, in short: parameters accepted or of this hash; version, refresh.
struct Wanted {
    accepts: bool,
    hash: &'static str,
    version: &'static str,
    refresh: bool,
}

const SAME: Wanted = Wanted { accepts: false, hash: "same", version: "1.0.0", refresh: false };

fn decided(found: Option<(ResourceStatus, Option<u128>, bool)>, wanted: &Wanted) -> Decision {
    let version = template(wanted.version, TemplateState::Active);
    let name = TemplateName::new("note", None);
    let ask = Ask {
        operation: OperationId::from_untyped_uuid(Uuid::from_u128(MINE)),
        template: &name,
        version: Some(&version),
        accepts: wanted.accepts,
        hash: wanted.hash,
        refresh: wanted.refresh,
    };
    let resource = found.map(|(status, reserved_by, _)| resource(status, reserved_by));
    let found = resource.as_ref().zip(found).map(|(resource, (_, _, mine))| Found {
        resource,
        hash: Some("same"),
        made: true,
        mine,
        may_change: true,
    });
    decide(found, ask)
}

#[test]
fn what_an_acquire_does_with_what_it_finds() {
    use ResourceStatus as S;
    let other = Wanted { hash: "other", ..SAME };
    let newer = Wanted { version: "2.0.0", ..SAME };
    let accepts = Wanted { accepts: true, hash: "other", ..SAME };
    let refresh = Wanted { refresh: true, ..SAME };
    let check = |found, wanted: &Wanted, expect: Decision| assert_eq!(decided(found, wanted), expect, "{found:?}");
    check(None, &SAME, Decision::Create);
    check(Some((S::Active, None, false)), &SAME, Decision::Link);
    check(Some((S::Active, None, true)), &SAME, Decision::Unchanged);
    check(Some((S::Active, None, false)), &accepts, Decision::Link);
    check(Some((S::Active, None, true)), &refresh, Decision::Change(During::Update));
    check(Some((S::Active, None, true)), &other, Decision::ChangeIfSole(During::Update));
    check(Some((S::Active, None, false)), &newer, Decision::ChangeIfSole(During::Update));
    check(Some((S::Provisioning, Some(OTHER), false)), &SAME, Decision::Wait);
    check(Some((S::Deleting, Some(OTHER), true)), &SAME, Decision::Wait);
    check(Some((S::Provisioning, Some(MINE), true)), &SAME, Decision::Change(During::Create));
    check(Some((S::Updating, Some(MINE), true)), &SAME, Decision::Change(During::Update));
    check(Some((S::Failed, None, true)), &SAME, Decision::Change(During::Update));
    check(Some((S::Failed, None, false)), &other, Decision::ChangeIfSole(During::Update));
    check(Some((S::Deleted, None, false)), &SAME, Decision::Stale);
}

#[test]
fn a_deprecated_version_makes_nothing_new() {
    let version = template("1.0.0", TemplateState::Deprecated);
    let name = TemplateName::new("note", None);
    let operation = OperationId::from_untyped_uuid(Uuid::from_u128(MINE));
    let ask = Ask { operation, template: &name, version: Some(&version), accepts: false, hash: "same", refresh: false };
    let Decision::Refuse(refusal) = decide(None, ask) else { panic!("it makes one") };
    assert_eq!(refusal.code, Code::TemplateDeprecated);
    let active = resource(ResourceStatus::Active, None);
    let found = Found { resource: &active, hash: Some("same"), made: true, mine: false, may_change: true };
    assert_eq!(decide(Some(found), ask), Decision::Link);
}

#[test]
fn another_type_under_a_shared_name_is_a_conflict() {
    let version = template("1.0.0", TemplateState::Active);
    let name = TemplateName::new("volume", None);
    let operation = OperationId::from_untyped_uuid(Uuid::from_u128(MINE));
    let ask = Ask { operation, template: &name, version: Some(&version), accepts: true, hash: "same", refresh: false };
    let active = resource(ResourceStatus::Active, None);
    let found = Found { resource: &active, hash: Some("same"), made: true, mine: false, may_change: true };
    let Decision::Refuse(refusal) = decide(Some(found), ask) else { panic!("it takes it") };
    assert_eq!(refusal.code, Code::TypeConflict);
}

#[test]
fn what_conductor_did_not_make_is_used_and_never_changed() {
    let name = TemplateName::new("note", None);
    let operation = OperationId::from_untyped_uuid(Uuid::from_u128(MINE));
    let mut external = resource(ResourceStatus::Active, None);
    (external.external, external.version) = (Some("arn:x".to_owned()), None);
    let check = |hash: &str, mine: bool, expect: Option<Decision>| {
        let ask = Ask { operation, template: &name, version: None, accepts: false, hash, refresh: true };
        let found = Found { resource: &external, hash: Some("same"), made: true, mine, may_change: true };
        match (decide(Some(found), ask), expect) {
            (Decision::Refuse(refusal), None) => assert_eq!(refusal.code, Code::ResourceExternal),
            (decision, expect) => assert_eq!(Some(decision), expect),
        }
    };
    check("same", false, Some(Decision::Link));
    check("same", true, Some(Decision::Unchanged));
    check("other", true, None);
}

#[test]
fn what_lives_where_its_user_may_not_deploy_is_used_and_never_changed() {
    use ResourceStatus as S;
    let (version, newer) = (template("1.0.0", TemplateState::Active), template("2.0.0", TemplateState::Active));
    let name = TemplateName::new("note", None);
    let operation = OperationId::from_untyped_uuid(Uuid::from_u128(MINE));
    let ask = Ask { operation, template: &name, version: Some(&version), accepts: false, hash: "same", refresh: false };
    let decided = |status: S, mine: bool, ask: Ask<'_>| {
        let there = resource(status, None);
        let found = Found { resource: &there, hash: Some("same"), made: true, mine, may_change: false };
        decide(Some(found), ask)
    };
    let refresh = Ask { refresh: true, ..ask };
    assert_eq!(decided(S::Active, false, ask), Decision::Link);
    assert_eq!(decided(S::Active, false, refresh), Decision::Link);
    assert_eq!(decided(S::Active, true, refresh), Decision::Unchanged);
    let refused = [
        decided(S::Active, true, Ask { hash: "other", ..ask }),
        decided(S::Active, false, Ask { version: Some(&newer), ..ask }),
        decided(S::Failed, false, ask),
        decided(S::Deleting, false, Ask { hash: "other", ..ask }),
    ];
    for decision in refused {
        let Decision::Refuse(refusal) = decision else { panic!("{decision:?}") };
        assert_eq!(refusal.code, Code::Forbidden);
        assert!(refusal.detail.contains("in the environment dev"), "{}", refusal.detail);
    }
}
