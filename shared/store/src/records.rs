//! Records on DynamoDB: one table, two sparse indexes, transactions.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, KeysAndAttributes, Put, TransactWriteItem,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conductor_domain::name::OrganisationName;
use conductor_engine::layout::{self, Key};
use conductor_engine::port::{
    Change, CommitError, Expect, Meter, Page, Records, Service, StoreError, Version, Versioned,
};
use conductor_engine::{Item, Listing, Record, SCHEMA_VERSION, Set};
use jiff::{SignedDuration, Timestamp};

use crate::failure::unavailable;

type Row = HashMap<String, AttributeValue>;

/// DynamoDB's limit for a BatchGetItem.
const BATCH: usize = 100;
/// The key of the index `list` beside its partition: its own, and the table's.
const IN_LISTING: &[&str] = &["list_order", "pk", "sk"];
/// Tries of a commit that only collided with another one in flight; with full jitter up to 200 ms each.
const MAX_COLLISIONS: u32 = 30;

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    dynamodb: Client,
    name: String,
    meter: Meter,
}

/// A cursor that DynamoDB calls invalid is none that it gave; all else of a query is our own.
fn query_error(
    error: impl ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    goes_on: bool,
) -> StoreError {
    if goes_on && error.code() == Some("ValidationException") { StoreError::Cursor } else { unavailable(error) }
}

/// A request that DynamoDB calls invalid stays so, however often it is sent.
fn write_error(error: impl ProvideErrorMetadata + std::error::Error + Send + Sync + 'static) -> StoreError {
    match (error.code(), error.message()) {
        (Some("ValidationException"), message) => StoreError::Unreadable(refused(message.unwrap_or_default())),
        _ => unavailable(error),
    }
}

fn refused(message: &str) -> String {
    format!("the table refuses a write: {message}")
}

/// The same of a write with a condition; `None` where that did not hold.
fn refusal(error: impl ProvideErrorMetadata + std::error::Error + Send + Sync + 'static) -> Option<StoreError> {
    (error.code() != Some("ConditionalCheckFailedException")).then(|| write_error(error))
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn key_row(key: &Key) -> Row {
    HashMap::from([("pk".to_owned(), text(&key.pk)), ("sk".to_owned(), text(&key.sk))])
}

fn string<'r>(row: &'r Row, name: &str) -> Result<&'r str, StoreError> {
    let value = row.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| StoreError::Unreadable(format!("a row has no text {name:?}")))
}

/// The row of a record: body, version and schema beside the keys, and what the indexes need.
fn row(organisation: &OrganisationName, record: &Record, version: &Version) -> Result<Row, StoreError> {
    let key = layout::key(organisation, &record.item());
    let body = serde_json::to_string(record).map_err(unavailable)?;
    let mut row = key_row(&key);
    row.insert("version".to_owned(), text(&version.0));
    row.insert("schema_version".to_owned(), AttributeValue::N(SCHEMA_VERSION.to_string()));
    row.insert("body".to_owned(), text(body));
    if let Some(due_at) = record.due_at() {
        row.insert("due_shard".to_owned(), text(layout::due_shard(layout::shard_of(&key.pk))));
        row.insert("due_at".to_owned(), AttributeValue::N(due_at.as_millisecond().to_string()));
    }
    if let Some(forget_at) = record.forget_at() {
        row.insert("ttl".to_owned(), AttributeValue::N(forget_at.as_second().to_string()));
    }
    if let Some((listing, order)) = record.listing() {
        row.insert("list".to_owned(), text(layout::listing(organisation, &listing)));
        row.insert("list_order".to_owned(), text(order));
    }
    Ok(row)
}

fn read(row: &Row) -> Result<Versioned<Record>, StoreError> {
    let schema = row.get("schema_version").and_then(|value| value.as_n().ok()).and_then(|n| n.parse::<u32>().ok());
    // One release ahead is read too: during a roll-out old functions meet what new ones wrote.
    if schema.is_none_or(|schema| schema == 0 || schema > SCHEMA_VERSION + 1) {
        let (pk, sk) = (string(row, "pk")?, string(row, "sk")?);
        return Err(StoreError::Unreadable(format!("{pk} {sk} has the schema version {schema:?}")));
    }
    let value = serde_json::from_str(string(row, "body")?)
        .map_err(|error| StoreError::Unreadable(format!("{:?} {:?}: {error}", row.get("pk"), row.get("sk"))))?;
    Ok(Versioned { value, version: Version(string(row, "version")?.to_owned()) })
}

fn cursor(row: &Row) -> Result<String, StoreError> {
    let mut names: Vec<(&String, &str)> = Vec::new();
    for (name, value) in row {
        names.push((name, value.as_s().map_err(|_| StoreError::Cursor)?));
    }
    let names: HashMap<&String, &str> = names.into_iter().collect();
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&names).map_err(unavailable)?))
}

/// A cursor goes on only where it was given: in this partition, with these other parts of the key and nothing else.
fn start(after: Option<&str>, partition: (&str, &str), others: &[&str]) -> Result<Option<Row>, StoreError> {
    let Some(after) = after else { return Ok(None) };
    let decoded = URL_SAFE_NO_PAD.decode(after).map_err(|_| StoreError::Cursor)?;
    let names: HashMap<String, String> = serde_json::from_slice(&decoded).map_err(|_| StoreError::Cursor)?;
    let (name, value) = partition;
    let is_key = names.len() == 1 + others.len() && others.iter().all(|other| names.contains_key(*other));
    if !is_key || names.get(name).map(String::as_str) != Some(value) {
        return Err(StoreError::Cursor);
    }
    Ok(Some(names.into_iter().map(|(name, value)| (name, text(value))).collect()))
}

fn condition(expect: &Expect) -> (&'static str, Option<HashMap<String, AttributeValue>>) {
    match expect {
        Expect::Absent => ("attribute_not_exists(pk)", None),
        Expect::Version(version) => {
            ("version = :version", Some(HashMap::from([(":version".to_owned(), text(&version.0))])))
        }
    }
}

impl Table {
    /// A table by its name.
    pub fn new(dynamodb: Client, name: String, meter: Meter) -> Self {
        Self { dynamodb, name, meter }
    }

    /// For one request.
    fn counted(&self) -> &Client {
        self.meter.count(Service::Table);
        &self.dynamodb
    }

    /// How far this machine's clock is from the table's; positive where ours is ahead.
    pub async fn clock_skew(&self) -> Result<SignedDuration, StoreError> {
        crate::skew::skew(&self.dynamodb, &self.name).await
    }

    fn part(&self, organisation: &OrganisationName, change: &Change) -> Result<TransactWriteItem, StoreError> {
        let item = TransactWriteItem::builder();
        let built = match change {
            Change::Put { record, expect, version } => {
                let (condition, values) = condition(expect);
                let row = row(organisation, record, version)?;
                let put = Put::builder().table_name(&self.name).set_item(Some(row));
                let put = put.condition_expression(condition).set_expression_attribute_values(values);
                item.put(put.build().map_err(unavailable)?)
            }
            Change::Delete { item: name, expect } => {
                let (condition, values) = condition(&Expect::Version(expect.clone()));
                let key = key_row(&layout::key(organisation, name));
                let delete = Delete::builder().table_name(&self.name).set_key(Some(key));
                let delete = delete.condition_expression(condition).set_expression_attribute_values(values);
                item.delete(delete.build().map_err(unavailable)?)
            }
            Change::Check { item: name, expect } => {
                let (condition, values) = condition(expect);
                let key = key_row(&layout::key(organisation, name));
                let check = ConditionCheck::builder().table_name(&self.name).set_key(Some(key));
                let check = check.condition_expression(condition).set_expression_attribute_values(values);
                item.condition_check(check.build().map_err(unavailable)?)
            }
        };
        Ok(built.build())
    }

    /// One change needs no transaction, and costs half.
    async fn commit_one(&self, organisation: &OrganisationName, change: &Change) -> Result<(), CommitError> {
        let part = self.part(organisation, change)?;
        let failed = if let Some(put) = part.put {
            let request = self.counted().put_item().table_name(&self.name).set_item(Some(put.item));
            let request = request.set_condition_expression(put.condition_expression);
            let sent = request.set_expression_attribute_values(put.expression_attribute_values).send().await;
            sent.err().map(refusal)
        } else if let Some(delete) = part.delete {
            let request = self.counted().delete_item().table_name(&self.name).set_key(Some(delete.key));
            let request = request.set_condition_expression(delete.condition_expression);
            let sent = request.set_expression_attribute_values(delete.expression_attribute_values).send().await;
            sent.err().map(refusal)
        } else {
            return self.commit_all(organisation, std::slice::from_ref(change)).await;
        };
        match failed {
            None => Ok(()),
            Some(None) => Err(CommitError::Conflict { which: vec![change.item()] }),
            Some(Some(error)) => Err(error.into()),
        }
    }

    async fn commit_all(&self, organisation: &OrganisationName, changes: &[Change]) -> Result<(), CommitError> {
        let mut token = uuid::Uuid::now_v7();
        for collisions in 1.. {
            let parts: Result<Vec<_>, _> = changes.iter().map(|change| self.part(organisation, change)).collect();
            let request = self.counted().transact_write_items().set_transact_items(Some(parts?));
            let request = request.client_request_token(token);
            let error = match request.send().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let why = why(&error);
            match why {
                Failure::Conditions(which) => {
                    let which = which.into_iter().filter_map(|index| changes.get(index)).map(Change::item).collect();
                    return Err(CommitError::Conflict { which });
                }
                Failure::Invalid(message) => return Err(StoreError::Unreadable(refused(&message)).into()),
                Failure::Collision | Failure::InProgress if collisions < MAX_COLLISIONS => {
                    // What may yet happen is asked for again as the same, or it would be in its own way.
                    if matches!(why, Failure::Collision) {
                        token = uuid::Uuid::now_v7();
                    }
                    let most = Duration::from_millis(5 << collisions.min(6)).min(Duration::from_millis(200));
                    tokio::time::sleep(most.mul_f64(rand::random())).await;
                }
                Failure::Collision | Failure::InProgress | Failure::Other => return Err(write_error(error).into()),
            }
        }
        Ok(())
    }

    async fn query(
        &self,
        request: aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder,
    ) -> Result<(Vec<Row>, Option<String>), StoreError> {
        let goes_on = request.get_exclusive_start_key().is_some();
        let answer = request.table_name(&self.name).send().await.map_err(|error| query_error(error, goes_on))?;
        let next = answer.last_evaluated_key.as_ref().map(cursor).transpose()?;
        Ok((answer.items.unwrap_or_default(), next))
    }
}

enum Failure {
    /// These changes were not as expected.
    Conditions(Vec<usize>),
    /// Another transaction was in flight on one of the records; nothing is known to be wrong.
    Collision,
    /// It is being done: an answer was lost.
    InProgress,
    /// It can never be done, and why.
    Invalid(String),
    Other,
}

/// Only a failed condition is a conflict; a collision with another transaction in flight says nothing about it.
fn why(error: &SdkError<TransactWriteItemsError>) -> Failure {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            by_reasons(cancelled.cancellation_reasons())
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => Failure::InProgress,
        _ => Failure::Other,
    }
}

fn by_reasons(reasons: &[CancellationReason]) -> Failure {
    let with = |code: &str| -> Vec<usize> {
        reasons.iter().enumerate().filter(|(_, r)| r.code() == Some(code)).map(|(index, _)| index).collect()
    };
    let failed = with("ConditionalCheckFailed");
    let passing = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    let invalid = ["ValidationError", "ItemCollectionSizeLimitExceeded"];
    let invalid = reasons.iter().find(|reason| reason.code().is_some_and(|code| invalid.contains(&code)));
    if !failed.is_empty() {
        Failure::Conditions(failed)
    } else if passing.iter().any(|code| !with(code).is_empty()) {
        Failure::Collision
    } else {
        invalid.map_or(Failure::Other, |reason| Failure::Invalid(reason.message().unwrap_or_default().to_owned()))
    }
}

impl Records for Table {
    async fn get_many(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        let keys: Vec<Key> = items.iter().map(|item| layout::key(organisation, item)).collect();
        let found = self.rows(&keys).await?;
        keys.iter().map(|key| found.get(key).map(read).transpose()).collect()
    }

    async fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page, StoreError> {
        let range = layout::range(organisation, set);
        let request = self
            .counted()
            .query()
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(&range.pk))
            .expression_attribute_values(":from", text(&range.from))
            .expression_attribute_values(":to", text(&range.to))
            .set_exclusive_start_key(start(after, ("pk", &range.pk), &["sk"])?)
            .set_limit(limit.map(|limit| limit as i32));
        let (rows, next) = self.query(request).await?;
        Ok(Page { records: rows.iter().map(read).collect::<Result<_, _>>()?, next })
    }

    async fn listing(
        &self,
        organisation: &OrganisationName,
        listing: &Listing,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let list = layout::listing(organisation, listing);
        let request = self
            .counted()
            .query()
            .index_name("list")
            .scan_index_forward(false)
            .key_condition_expression("#list = :list")
            .expression_attribute_names("#list", "list")
            .expression_attribute_values(":list", text(&list))
            .set_exclusive_start_key(start(after, ("list", &list), IN_LISTING)?)
            .limit(limit as i32);
        let (rows, next) = self.query(request).await?;
        Ok(Page { records: rows.iter().map(read).collect::<Result<_, _>>()?, next })
    }

    async fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        let request = self
            .counted()
            .query()
            .index_name("due")
            .key_condition_expression("due_shard = :shard AND due_at <= :until")
            .expression_attribute_values(":shard", text(layout::due_shard(shard)))
            .expression_attribute_values(":until", AttributeValue::N(until.as_millisecond().to_string()))
            .limit(limit as i32);
        let (rows, _) = self.query(request).await?;
        let keys: Result<Vec<Key>, StoreError> = rows
            .iter()
            .map(|row| Ok(Key { pk: string(row, "pk")?.to_owned(), sk: string(row, "sk")?.to_owned() }))
            .collect();
        let keys = keys?;
        let found = self.rows(&keys).await?;
        let mut due = Vec::with_capacity(keys.len());
        for key in &keys {
            let Some(row) = found.get(key) else { continue };
            match (layout::organisation(&key.pk), read(row)) {
                (Some(organisation), Ok(record)) => due.push((organisation, record)),
                // One record that cannot be read must not keep the others from their turn.
                (_, Err(error)) => tracing::error!(outcome = "unsettled", %error, "a due record cannot be read"),
                (None, Ok(_)) => {
                    tracing::error!(outcome = "unsettled", pk = key.pk, "a due record has no organisation")
                }
            }
        }
        Ok(due)
    }

    async fn postpone(
        &self,
        organisation: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> Result<(), CommitError> {
        let request = self
            .counted()
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_row(&layout::key(organisation, item))))
            .update_expression("SET due_at = :until")
            .condition_expression("version = :version AND attribute_exists(due_at)")
            .expression_attribute_values(":until", AttributeValue::N(until.as_millisecond().to_string()))
            .expression_attribute_values(":version", text(&version.0));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                Err(CommitError::Conflict { which: vec![item.clone()] })
            }
            Err(error) => Err(unavailable(error).into()),
        }
    }

    async fn commit(&self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<(), CommitError> {
        match changes.as_slice() {
            [] => Ok(()),
            [change] => self.commit_one(organisation, change).await,
            changes => self.commit_all(organisation, changes).await,
        }
    }
}

impl Table {
    /// Reads rows, strongly consistent; what is not there is not in the answer.
    async fn rows(&self, keys: &[Key]) -> Result<HashMap<Key, Row>, StoreError> {
        if let [key] = keys {
            let request = self.counted().get_item().table_name(&self.name).consistent_read(true);
            let answer = request.set_key(Some(key_row(key))).send().await.map_err(unavailable)?;
            return Ok(answer.item.into_iter().map(|row| (key.clone(), row)).collect());
        }
        let mut unique = keys.to_vec();
        unique.sort_by(|a, b| (&a.pk, &a.sk).cmp(&(&b.pk, &b.sk)));
        unique.dedup();
        let mut found = HashMap::new();
        for part in unique.chunks(BATCH) {
            let mut wanted: Vec<Row> = part.iter().map(key_row).collect();
            while !wanted.is_empty() {
                let request = KeysAndAttributes::builder()
                    .set_keys(Some(wanted))
                    .consistent_read(true)
                    .build()
                    .map_err(unavailable)?;
                let answer = self
                    .counted()
                    .batch_get_item()
                    .request_items(&self.name, request)
                    .send()
                    .await
                    .map_err(unavailable)?;
                for row in answer.responses.unwrap_or_default().remove(&self.name).unwrap_or_default() {
                    let key = Key { pk: string(&row, "pk")?.to_owned(), sk: string(&row, "sk")?.to_owned() };
                    found.insert(key, row);
                }
                let mut left = answer.unprocessed_keys.unwrap_or_default();
                wanted = left.remove(&self.name).map(|left| left.keys).unwrap_or_default();
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_sdk_dynamodb::operation::query::QueryError;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_cursor_is_a_key_of_its_list_and_nothing_else() {
        let check = |cursor: Value, expect: bool| {
            let text = URL_SAFE_NO_PAD.encode(cursor.to_string());
            let found = start(Some(&text), ("list", "acme#APPLICATIONS"), IN_LISTING);
            assert_eq!(matches!(found, Ok(Some(_))), expect, "{cursor}");
            assert_eq!(matches!(found, Err(StoreError::Cursor)), !expect, "{cursor}");
        };
        let own = json!({"list": "acme#APPLICATIONS", "list_order": "1", "pk": "acme#APP#a", "sk": "META"});
        check(own.clone(), true);
        let changed = |name: &str, value: Option<Value>| {
            let mut cursor = own.clone();
            let names = cursor.as_object_mut().expect("an object");
            names.remove(name);
            names.extend(value.map(|value| (name.to_owned(), value)));
            cursor
        };
        check(changed("list", Some(json!("other#APPLICATIONS"))), false);
        check(changed("list", None), false);
        check(changed("sk", None), false);
        check(changed("sk", Some(json!(1))), false);
        check(changed("x", Some(json!("y"))), false);
        check(json!({"list": "acme#APPLICATIONS", "x": "y"}), false);
        check(json!({"pk": "acme#APPLICATIONS", "sk": "META"}), false);
        check(json!([]), false);
        assert!(matches!(start(None, ("pk", "a"), &["sk"]), Ok(None)));
        assert!(matches!(start(Some("no base64"), ("pk", "a"), &["sk"]), Err(StoreError::Cursor)));
    }

    #[test]
    fn a_cursor_that_the_table_refuses_is_none_that_it_gave() {
        let error = |code: &str| QueryError::generic(ErrorMetadata::builder().code(code).build());
        assert!(matches!(query_error(error("ValidationException"), true), StoreError::Cursor));
        assert!(matches!(query_error(error("ValidationException"), false), StoreError::Unavailable(_)));
        assert!(matches!(query_error(error("ThrottlingException"), true), StoreError::Unavailable(_)));
    }

    #[test]
    fn only_a_failed_condition_is_a_conflict() {
        let reasons = |codes: &[&str]| -> Vec<CancellationReason> {
            codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
        };
        let check = |codes: &[&str], expect: &str| {
            let found = match by_reasons(&reasons(codes)) {
                Failure::Conditions(which) => format!("conflict {which:?}"),
                Failure::Collision => "collision".to_owned(),
                Failure::InProgress => "in progress".to_owned(),
                Failure::Invalid(_) => "invalid".to_owned(),
                Failure::Other => "other".to_owned(),
            };
            assert_eq!(found, expect, "{codes:?}");
        };
        check(&["None", "ConditionalCheckFailed"], "conflict [1]");
        check(&["ConditionalCheckFailed", "TransactionConflict"], "conflict [0]");
        check(&["None", "TransactionConflict"], "collision");
        check(&["ThrottlingError", "None"], "collision");
        check(&["ValidationError", "None"], "invalid");
        check(&["None", "ItemCollectionSizeLimitExceeded"], "invalid");
        check(&["ValidationError", "TransactionConflict"], "collision");
        check(&["SomethingNew"], "other");
    }
}
