//! The suite: each promise is a function over a fixture, and a test on each emulator.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use conductor_contract::{Fixture, on_dynoxide, on_ministack};
use conductor_domain::application::Application;
use conductor_domain::ids::{DeploymentId, GenericUuid, TokenId};
use conductor_domain::lane::{LaneKey, LanePlace};
use conductor_domain::name::{ApplicationName, OrganisationName};
use conductor_domain::operation::Lease;
use conductor_domain::principal::{Principal, PrincipalKind};
use conductor_domain::token::{Token, TokenKind};
use conductor_engine::port::{Change, CommitError, DUE_SHARDS, Expect, Records, StoreError, Version};
use conductor_engine::{Entity, Item, Listing, Open, Record, Set, TokenRoll};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

macro_rules! promises {
    ($($name:ident;)*) => {$(
        mod $name {
            #[tokio::test]
            async fn on_dynoxide() -> anyhow::Result<()> {
                super::promise::$name(super::on_dynoxide().await?).await
            }

            #[tokio::test]
            async fn on_ministack() -> anyhow::Result<()> {
                super::promise::$name(super::on_ministack().await?).await
            }
        }
    )*};
}

promises! {
    a_record_is_created_once;
    only_the_newest_version_can_be_changed;
    a_lost_race_names_the_record_and_writes_nothing;
    a_version_is_never_used_twice;
    records_are_read_in_the_order_asked;
    a_commit_takes_a_hundred_changes;
    of_many_at_once_exactly_one_wins;
    a_set_is_listed_in_key_order_page_by_page;
    lists_for_people_are_newest_first;
    what_is_due_is_found_until_it_is_postponed;
    a_record_of_a_later_release_is_refused;
    tokens_are_forgotten_when_they_end_and_a_browsers_are_listed_apart;
}

fn organisation() -> Result<OrganisationName> {
    Ok("acme".parse()?)
}

fn version() -> Version {
    Version(Uuid::now_v7().simple().to_string())
}

fn id() -> DeploymentId {
    DeploymentId::from_untyped_uuid(Uuid::now_v7())
}

fn open(deployment: DeploymentId, number: u32) -> Open {
    Open { deployment, number }
}

fn create(value: impl Entity) -> Change {
    put(value, Expect::Absent, version())
}

fn put(value: impl Entity, expect: Expect, version: Version) -> Change {
    Change::Put { record: Box::new(value.into_record()), expect, version }
}

async fn one(fixture: &Fixture, item: Item) -> Result<Option<(Record, Version)>> {
    let mut found = fixture.table.get_many(&organisation()?, &[item]).await?;
    Ok(found.pop().flatten().map(|read| (read.value, read.version)))
}

fn conflict(outcome: Result<(), CommitError>) -> Result<Vec<Item>> {
    match outcome {
        Err(CommitError::Conflict { which }) => Ok(which),
        other => bail!("not a conflict: {other:?}"),
    }
}

mod promise {
    use super::*;

    pub async fn a_record_is_created_once(fixture: Fixture) -> Result<()> {
        let record = open(id(), 1);
        fixture.table.commit(&organisation()?, vec![create(record.clone())]).await?;
        let which = conflict(fixture.table.commit(&organisation()?, vec![create(record.clone())]).await)?;
        ensure!(which == [record.item()]);
        let beside = open(id(), 2);
        let which =
            conflict(fixture.table.commit(&organisation()?, vec![create(beside), create(record.clone())]).await)?;
        ensure!(which == [record.item()]);
        Ok(())
    }

    pub async fn only_the_newest_version_can_be_changed(fixture: Fixture) -> Result<()> {
        let (first, second) = (version(), version());
        let record = open(id(), 1);
        let organisation = organisation()?;
        fixture.table.commit(&organisation, vec![put(record.clone(), Expect::Absent, first.clone())]).await?;
        let change = put(record.clone(), Expect::Version(first.clone()), second.clone());
        fixture.table.commit(&organisation, vec![change.clone()]).await?;
        conflict(fixture.table.commit(&organisation, vec![change]).await)?;
        let stale = Change::Delete { item: record.item(), expect: first };
        conflict(fixture.table.commit(&organisation, vec![stale]).await)?;
        fixture.table.commit(&organisation, vec![Change::Delete { item: record.item(), expect: second }]).await?;
        ensure!(one(&fixture, record.item()).await?.is_none());
        Ok(())
    }

    pub async fn a_lost_race_names_the_record_and_writes_nothing(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let there = open(id(), 1);
        let current = version();
        fixture.table.commit(&organisation, vec![put(there.clone(), Expect::Absent, current.clone())]).await?;
        for lost in [
            Change::Check { item: there.item(), expect: Expect::Absent },
            Change::Check { item: there.item(), expect: Expect::Version(version()) },
            Change::Delete { item: there.item(), expect: version() },
            put(there.clone(), Expect::Version(version()), version()),
        ] {
            let new = open(id(), 1);
            let which = conflict(fixture.table.commit(&organisation, vec![create(new.clone()), lost]).await)?;
            ensure!(which == [there.item()], "{which:?}");
            ensure!(one(&fixture, new.item()).await?.is_none());
        }
        let new = open(id(), 1);
        let held = Change::Check { item: there.item(), expect: Expect::Version(current) };
        fixture.table.commit(&organisation, vec![create(new.clone()), held]).await?;
        ensure!(one(&fixture, new.item()).await?.is_some());
        Ok(())
    }

    pub async fn a_version_is_never_used_twice(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let record = open(id(), 1);
        fixture.table.commit(&organisation, vec![create(record.clone())]).await?;
        let (_, first) = one(&fixture, record.item()).await?.expect("it was created");
        let delete = Change::Delete { item: record.item(), expect: first.clone() };
        fixture.table.commit(&organisation, vec![delete]).await?;
        fixture.table.commit(&organisation, vec![create(record.clone())]).await?;
        conflict(
            fixture.table.commit(&organisation, vec![Change::Delete { item: record.item(), expect: first }]).await,
        )?;
        Ok(())
    }

    pub async fn records_are_read_in_the_order_asked(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let deployment = id();
        for part in (1..=120).collect::<Vec<u32>>().chunks(60) {
            let changes = part.iter().map(|number| create(open(deployment, *number))).collect();
            fixture.table.commit(&organisation, changes).await?;
        }
        let mut items: Vec<Item> = (1..=121).rev().map(|number| Item::Open(deployment, number)).collect();
        items.push(Item::Open(deployment, 7));
        let found = fixture.table.get_many(&organisation, &items).await?;
        ensure!(found.len() == items.len());
        ensure!(found[0].is_none(), "121 was never created");
        for (item, read) in items.iter().zip(&found).skip(1) {
            ensure!(read.as_ref().map(|read| read.value.item()).as_ref() == Some(item));
        }
        Ok(())
    }

    pub async fn a_commit_takes_a_hundred_changes(fixture: Fixture) -> Result<()> {
        let deployment = id();
        let changes = (1..=100).map(|number| create(open(deployment, number))).collect();
        fixture.table.commit(&organisation()?, changes).await?;
        let page = fixture.table.list(&organisation()?, &Set::Open(deployment), None, None).await?;
        ensure!(page.records.len() == 100);
        Ok(())
    }

    pub async fn of_many_at_once_exactly_one_wins(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let record = open(id(), 1);
        let first = version();
        fixture.table.commit(&organisation, vec![put(record.clone(), Expect::Absent, first.clone())]).await?;
        let attempts = (0..10).map(|_| {
            let change = put(record.clone(), Expect::Version(first.clone()), version());
            let beside = create(open(id(), 1));
            fixture.table.commit(&organisation, vec![change, beside])
        });
        let outcomes = futures::future::join_all(attempts).await;
        ensure!(outcomes.iter().filter(|outcome| outcome.is_ok()).count() == 1);
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            ensure!(conflict(outcome)? == [record.item()]);
        }
        Ok(())
    }

    pub async fn a_set_is_listed_in_key_order_page_by_page(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let lane = LaneKey::application("dev".parse()?, "shop".parse()?);
        let place = |number| LanePlace { lane: lane.clone(), number, deployment: id() };
        let changes = [2, 10, 1, 9, 100].into_iter().map(|number| create(place(number))).collect();
        fixture.table.commit(&organisation, changes).await?;
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let set = Set::LanePlaces(lane.clone());
            let page = fixture.table.list(&organisation, &set, after.as_deref(), Some(2)).await?;
            for read in page.records {
                let Record::LanePlace(place) = read.value else { bail!("another record") };
                seen.push(place.number);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        ensure!(seen == [1, 2, 9, 10, 100], "{seen:?}");
        Ok(())
    }

    pub async fn lists_for_people_are_newest_first(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let start: Timestamp = "2026-01-01T00:00:00Z".parse()?;
        for number in 0..5 {
            let name = ApplicationName::new(format!("app-{number}"))?;
            let record = Application::new(name, start + SignedDuration::from_secs(number));
            fixture.table.commit(&organisation, vec![create(record)]).await?;
        }
        let first = fixture.table.listing(&organisation, &Listing::Applications, None, 3).await?;
        let second = fixture.table.listing(&organisation, &Listing::Applications, first.next.as_deref(), 3).await?;
        let names: Vec<String> = first
            .records
            .into_iter()
            .chain(second.records)
            .filter_map(|read| Application::from_record(read.value))
            .map(|application| application.name.to_string())
            .collect();
        ensure!(names == ["app-4", "app-3", "app-2", "app-1", "app-0"], "{names:?}");
        let elsewhere = fixture.table.listing(&organisation, &Listing::Environments, first.next.as_deref(), 3).await;
        ensure!(matches!(elsewhere, Err(StoreError::Cursor)), "{elsewhere:?}");
        let nonsense = fixture.table.listing(&organisation, &Listing::Applications, Some("nonsense"), 3).await;
        ensure!(matches!(nonsense, Err(StoreError::Cursor)), "{nonsense:?}");
        Ok(())
    }

    async fn due(fixture: &Fixture, until: Timestamp) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for shard in 0..DUE_SHARDS {
            let due = fixture.table.due(shard, until, 100).await?;
            items.extend(due.into_iter().map(|(_, read)| read.value.item()));
        }
        Ok(items)
    }

    pub async fn what_is_due_is_found_until_it_is_postponed(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let now: Timestamp = "2026-01-01T00:00:00Z".parse()?;
        let lease = Lease::new(id(), 1, 1, "w", now, now);
        let first = version();
        fixture.table.commit(&organisation, vec![put(lease.clone(), Expect::Absent, first.clone())]).await?;
        ensure!(due(&fixture, now - SignedDuration::from_secs(1)).await?.is_empty());
        ensure!(due(&fixture, now).await? == [lease.item()]);
        let later = now + SignedDuration::from_secs(60);
        conflict(fixture.table.postpone(&organisation, &lease.item(), &version(), later).await)?;
        fixture.table.postpone(&organisation, &lease.item(), &first, later).await?;
        ensure!(due(&fixture, now).await?.is_empty());
        ensure!(due(&fixture, later).await? == [lease.item()]);
        let delete = Change::Delete { item: lease.item(), expect: first };
        fixture.table.commit(&organisation, vec![delete]).await?;
        ensure!(due(&fixture, later).await?.is_empty());
        Ok(())
    }

    pub async fn a_record_of_a_later_release_is_refused(fixture: Fixture) -> Result<()> {
        let record = open(id(), 1);
        let organisation = organisation()?;
        fixture.table.commit(&organisation, vec![create(record.clone())]).await?;
        for (schema, readable) in [("1", true), ("2", true), ("3", false)] {
            fixture
                .dynamodb
                .update_item()
                .table_name(&fixture.name)
                .key("pk", AttributeValue::S(format!("acme#DEP#{}", record.deployment)))
                .key("sk", AttributeValue::S("OPEN#000001".to_owned()))
                .update_expression("SET schema_version = :schema")
                .expression_attribute_values(":schema", AttributeValue::N(schema.to_owned()))
                .send()
                .await?;
            let read = fixture.table.get_many(&organisation, &[record.item()]).await;
            ensure!(read.is_ok() == readable, "{schema}: {read:?}");
        }
        Ok(())
    }

    pub async fn tokens_are_forgotten_when_they_end_and_a_browsers_are_listed_apart(fixture: Fixture) -> Result<()> {
        let organisation = organisation()?;
        let ends: Timestamp = "2026-01-01T00:00:00Z".parse()?;
        let principal = Principal {
            id: "token:ci".to_owned(),
            kind: PrincipalKind::Token,
            organisation: organisation.clone(),
            roles: vec!["deployer:staging".parse()?, "viewer".parse()?],
        };
        let token = |kind| Token {
            id: TokenId::from_untyped_uuid(Uuid::now_v7()),
            kind,
            name: "ci".to_owned(),
            hash: "00".repeat(32),
            principal: principal.clone(),
            created_by: "local".to_owned(),
            created_at: ends - SignedDuration::from_hours(1),
            expires_at: ends,
            last_used_at: None,
        };
        let (service, session) = (token(TokenKind::Service), token(TokenKind::Session));
        let roll = TokenRoll { tokens: [(service.id, ends)].into() };
        let changes = vec![create(service.clone()), create(session.clone()), create(roll.clone())];
        fixture.table.commit(&organisation, changes).await?;
        for (listing, token) in [(Listing::Tokens, &service), (Listing::Sessions, &session)] {
            let list = fixture.table.listing(&organisation, &listing, None, 10).await?;
            let listed: Vec<Item> = list.records.iter().map(|read| read.value.item()).collect();
            ensure!(listed == [token.item()], "{listing:?}: {listed:?}");
        }
        for token in [service, session] {
            let key = AttributeValue::S(format!("acme#TOKEN#{}", token.id));
            let request = fixture.dynamodb.get_item().table_name(&fixture.name).key("pk", key);
            let row = request.key("sk", AttributeValue::S("META".to_owned())).send().await?.item.context("its row")?;
            ensure!(row.get("ttl") == Some(&AttributeValue::N(ends.as_second().to_string())), "{row:?}");
            let read = one(&fixture, token.item()).await?.map(|(record, _)| record);
            ensure!(read == Some(token.into_record()), "{read:?}");
        }
        let read = one(&fixture, Item::TokenRoll).await?.map(|(record, _)| record);
        ensure!(read == Some(roll.into_record()), "{read:?}");
        Ok(())
    }
}
