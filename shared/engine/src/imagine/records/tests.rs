use conductor_domain::application::Application;
use conductor_domain::ids::{DeploymentId, GenericUuid};
use conductor_domain::operation::Lease;
use jiff::SignedDuration;
use uuid::Uuid;

use super::*;
use crate::imagine::Nothing;
use crate::port::DUE_SHARDS;
use crate::record::{Entity, Open};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

type Memory = Overlay<Nothing>;

fn organisation() -> OrganisationName {
    "acme".parse().unwrap()
}

fn deployment() -> DeploymentId {
    DeploymentId::from_untyped_uuid(Uuid::from_u128(7))
}

fn open(number: u32) -> Open {
    Open { deployment: deployment(), number }
}

fn item(number: u32) -> Item {
    open(number).item()
}

fn version(name: &str) -> Version {
    Version(name.to_owned())
}

fn put(value: impl Entity, expect: Expect, name: &str) -> Change {
    Change::Put { record: Box::new(value.into_record()), expect, version: version(name) }
}

fn create(number: u32) -> Change {
    put(open(number), Expect::Absent, &format!("v{number}"))
}

fn delete(number: u32, name: &str) -> Change {
    Change::Delete { item: item(number), expect: version(name) }
}

async fn memory(numbers: &[u32]) -> Memory {
    let memory = Overlay::new(Nothing);
    if !numbers.is_empty() {
        let changes = numbers.iter().map(|number| create(*number)).collect();
        memory.commit(&organisation(), changes).await.unwrap();
    }
    memory
}

async fn versions<R: Records + Clone>(records: &Overlay<R>, numbers: &[u32]) -> Vec<Option<String>> {
    let items: Vec<Item> = numbers.iter().map(|number| item(*number)).collect();
    let found = records.get_many(&organisation(), &items).await.unwrap();
    found.into_iter().map(|found| found.map(|found| found.version.0)).collect()
}

async fn listed<R: Records + Clone>(
    records: &Overlay<R>,
    after: Option<&str>,
    limit: Option<u32>,
) -> (Vec<u32>, Option<String>) {
    let page = records.list(&organisation(), &Set::Open(deployment()), after, limit).await.unwrap();
    let numbers = page.records.into_iter().map(|record| record.typed::<Open>().unwrap().number).collect();
    (numbers, page.next)
}

async fn conflict<R: Records + Clone>(records: &Overlay<R>, changes: Vec<Change>) -> Vec<Item> {
    match records.commit(&organisation(), changes).await {
        Err(CommitError::Conflict { which }) => which,
        other => panic!("no conflict: {other:?}"),
    }
}

#[tokio::test]
async fn what_lies_beneath_is_read_and_never_written() {
    let beneath = memory(&[1, 2]).await;
    let above = Overlay::new(beneath.clone());
    let changes = vec![put(open(1), Expect::Version(version("v1")), "new"), delete(2, "v2"), create(3)];
    above.commit(&organisation(), changes).await.unwrap();
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(versions(&above, &[1, 2, 3]).await, [some("new"), None, some("v3")]);
    assert_eq!(versions(&beneath, &[1, 2, 3]).await, [some("v1"), some("v2"), None]);
    assert_eq!(listed(&above, None, None).await.0, [1, 3]);
    assert_eq!(listed(&beneath, None, None).await.0, [1, 2]);
}

#[tokio::test]
async fn copies_share_what_is_written() {
    let memory = memory(&[]).await;
    memory.clone().commit(&organisation(), vec![create(1)]).await.unwrap();
    assert_eq!(versions(&memory, &[1]).await, [Some("v1".to_owned())]);
}

#[tokio::test]
async fn what_was_read_stays_as_it_was() {
    let beneath = memory(&[1]).await;
    let above = Overlay::new(beneath.clone());
    assert_eq!(versions(&above, &[1, 2]).await, [Some("v1".to_owned()), None]);
    let changes = vec![put(open(1), Expect::Version(version("v1")), "new"), create(2), create(3)];
    beneath.commit(&organisation(), changes).await.unwrap();
    assert_eq!(versions(&above, &[1, 2]).await, [Some("v1".to_owned()), None]);
    assert_eq!(listed(&above, None, None).await.0, [1, 3], "one absence is known, the rest is read now");
    beneath.commit(&organisation(), vec![create(4)]).await.unwrap();
    assert_eq!(listed(&above, None, None).await.0, [1, 3]);
    assert_eq!(versions(&above, &[4]).await, [None], "a set that was read is known as a whole");
}

#[tokio::test]
async fn a_set_is_one_list_of_both_page_by_page() {
    let above = Overlay::new(memory(&[1, 3, 5, 7]).await);
    above.commit(&organisation(), vec![create(2), create(6), delete(5, "v5")]).await.unwrap();
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let (numbers, next) = listed(&above, after.as_deref(), Some(2)).await;
        pages.push(numbers);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![1, 2], vec![3, 6], vec![7]]);
    assert_eq!(listed(&above, None, Some(5)).await, (vec![1, 2, 3, 6, 7], None));
    let foreign = above.list(&organisation(), &Set::Open(deployment()), Some("LEASE#000001"), None).await;
    assert!(matches!(foreign, Err(StoreError::Cursor)));
}

#[tokio::test]
async fn a_lost_race_names_the_records_and_writes_nothing() {
    let above = Overlay::new(memory(&[1, 2]).await);
    let check = |number: u32, expect: Expect| Change::Check { item: item(number), expect };
    let wrong = |name: &str| Expect::Version(version(name));
    assert_eq!(conflict(&above, vec![create(1), create(3)]).await, [item(1)]);
    assert_eq!(conflict(&above, vec![create(3), delete(2, "v1"), delete(4, "v4")]).await, [item(2), item(4)]);
    assert_eq!(conflict(&above, vec![create(3), check(1, Expect::Absent)]).await, [item(1)]);
    assert_eq!(
        conflict(&above, vec![create(3), check(1, wrong("v2")), check(4, wrong("v4"))]).await,
        [item(1), item(4)]
    );
    assert_eq!(versions(&above, &[3]).await, [None]);
    let fine = vec![create(3), check(1, wrong("v1")), check(4, Expect::Absent)];
    above.commit(&organisation(), fine).await.unwrap();
    assert_eq!(versions(&above, &[3, 4]).await, [Some("v3".to_owned()), None]);
}

#[tokio::test]
async fn a_version_is_good_for_one_change() {
    let above = Overlay::new(memory(&[1]).await);
    let over = |name: &str, new: &str| put(open(1), Expect::Version(version(name)), new);
    above.commit(&organisation(), vec![over("v1", "v2")]).await.unwrap();
    assert_eq!(conflict(&above, vec![over("v1", "v3")]).await, [item(1)]);
    above.commit(&organisation(), vec![delete(1, "v2")]).await.unwrap();
    assert_eq!(conflict(&above, vec![over("v2", "v3")]).await, [item(1)]);
    above.commit(&organisation(), vec![put(open(1), Expect::Absent, "v3")]).await.unwrap();
    assert_eq!(conflict(&above, vec![over("v2", "v4")]).await, [item(1)]);
}

#[tokio::test]
async fn a_commit_is_small_and_names_a_record_once() {
    let memory = memory(&[]).await;
    let refused = |changes: Vec<Change>| {
        let memory = memory.clone();
        async move {
            let answer = memory.commit(&organisation(), changes).await;
            assert!(matches!(answer, Err(CommitError::Store(StoreError::Unreadable(_)))), "{answer:?}");
        }
    };
    refused(vec![create(1), create(1)]).await;
    refused((0..=MAX_CHANGES as u32).map(create).collect()).await;
    memory.commit(&organisation(), (0..MAX_CHANGES as u32).map(create).collect()).await.unwrap();
    memory.commit(&organisation(), Vec::new()).await.unwrap();
}

fn lease(number: u32, seconds: i64) -> Lease {
    Lease::new(deployment(), number, 1, "worker", NOW, NOW + SignedDuration::from_secs(seconds))
}

async fn due<R: Records + Clone>(records: &Overlay<R>, seconds: i64) -> Vec<u32> {
    let mut found = Vec::new();
    for shard in 0..DUE_SHARDS {
        let until = NOW + SignedDuration::from_secs(seconds);
        for (whose, record) in records.due(shard, until, 10).await.unwrap() {
            assert_eq!(whose, organisation());
            found.push(record.typed::<Lease>().unwrap().operation);
        }
    }
    found
}

#[tokio::test]
async fn what_is_due_is_found_until_it_is_postponed_or_written() {
    let memory = memory(&[]).await;
    let changes = vec![put(lease(1, 20), Expect::Absent, "a"), put(lease(2, 10), Expect::Absent, "b")];
    memory.commit(&organisation(), changes).await.unwrap();
    assert_eq!(due(&memory, 9).await, [0_u32; 0]);
    assert_eq!(due(&memory, 20).await, [2, 1]);
    assert_eq!(due(&Overlay::new(memory.clone()), 20).await, [0_u32; 0], "only what was written above");

    let postpone = |number: u32, name: &str, seconds: i64| {
        let (memory, version) = (memory.clone(), version(name));
        let until = NOW + SignedDuration::from_secs(seconds);
        async move { memory.postpone(&organisation(), &Item::Lease(deployment(), number), &version, until).await }
    };
    postpone(2, "b", 30).await.unwrap();
    assert!(matches!(postpone(1, "b", 30).await, Err(CommitError::Conflict { .. })));
    assert!(matches!(postpone(3, "b", 30).await, Err(CommitError::Conflict { .. })));
    assert_eq!(due(&memory, 20).await, [1]);
    assert_eq!(due(&memory, 30).await, [1, 2]);

    let changes = vec![put(lease(2, 15), Expect::Version(version("b")), "c")];
    memory.commit(&organisation(), changes).await.unwrap();
    assert_eq!(due(&memory, 20).await, [2, 1]);
    let changes = vec![Change::Delete { item: Item::Lease(deployment(), 2), expect: version("c") }];
    memory.commit(&organisation(), changes).await.unwrap();
    assert_eq!(due(&memory, 60).await, [1]);
}

#[tokio::test]
async fn lists_for_people_are_newest_first() {
    let memory = memory(&[]).await;
    for (name, seconds) in [("one", 1), ("two", 2), ("three", 3)] {
        let application = Application::new(name.parse().unwrap(), NOW + SignedDuration::from_secs(seconds));
        memory.commit(&organisation(), vec![put(application, Expect::Absent, name)]).await.unwrap();
    }
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = memory.listing(&organisation(), &Listing::Applications, after.as_deref(), 2).await.unwrap();
        let part = page.records.into_iter().map(|record| record.typed::<Application>().unwrap().value.name.to_string());
        names.push(part.collect::<Vec<_>>());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, [vec!["three", "two"], vec!["one"]]);
    let gone = vec![Change::Delete { item: Item::Application("two".parse().unwrap()), expect: version("two") }];
    memory.commit(&organisation(), gone).await.unwrap();
    let page = memory.listing(&organisation(), &Listing::Applications, None, 10).await.unwrap();
    assert_eq!(page.records.len(), 2);
    let other: OrganisationName = "other".parse().unwrap();
    assert!(memory.listing(&other, &Listing::Applications, None, 10).await.unwrap().records.is_empty());
}
