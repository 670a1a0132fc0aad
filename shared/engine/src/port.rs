//! What the engine needs from the outside: records, objects, a queue, a clock. Small traits; the store implements them
//! on AWS, the simulation in memory.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use conductor_domain::ids::DeploymentId;
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{ExecutorKind, Requests};
use conductor_domain::token::SECRET_BYTES;

use crate::record::{Entity, Item, Listing, Record, Set};

/// The most changes in a commit: DynamoDB's limit for a transaction.
pub const MAX_CHANGES: usize = 100;

/// How many shards the due index has.
pub const DUE_SHARDS: u8 = 16;

/// A record's version: a fresh token at each write, never used twice, also not after a delete.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

/// A record as it was read or written, with its version.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// Its version.
    pub version: Version,
}

impl<T> std::ops::Deref for Versioned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl Versioned<Record> {
    /// As the type that the caller expects under this item.
    pub fn typed<T: Entity>(self) -> Result<Versioned<T>, StoreError> {
        let item = self.value.item();
        let value = T::from_record(self.value)
            .ok_or_else(|| StoreError::Unreadable(format!("{item:?} is a record of another type")))?;
        Ok(Versioned { value, version: self.version })
    }
}

/// What must be true of a record for a commit to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// It has this version.
    Version(Version),
}

/// One part of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Write a record under a new version.
    Put {
        /// The record.
        record: Box<Record>,
        /// What must be there before.
        expect: Expect,
        /// The version that it gets.
        version: Version,
    },
    /// Remove a record.
    Delete {
        /// Which.
        item: Item,
        /// The version that it must have.
        expect: Version,
    },
    /// Only look.
    Check {
        /// Which.
        item: Item,
        /// What must be there.
        expect: Expect,
    },
}

impl Change {
    /// The record that it is about.
    pub fn item(&self) -> Item {
        match self {
            Change::Put { record, .. } => record.item(),
            Change::Delete { item, .. } | Change::Check { item, .. } => item.clone(),
        }
    }
}

/// The store failed; nothing is known to be wrong with the request.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or said that it cannot now. A commit may have happened or not: read again.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something in it is not what this release, or the one before, wrote.
    #[error("a stored record cannot be read: {0}")]
    Unreadable(String),
    /// The cursor is not one that a list gave.
    #[error("the cursor is not one that a list gave")]
    Cursor,
}

/// Why a commit did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something that was expected is not so; nothing was written.
    #[error("lost a race for {which:?}")]
    Conflict {
        /// The items that were not as expected.
        which: Vec<Item>,
    },
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The records.
    pub records: Vec<Versioned<Record>>,
    /// Where the rest begins; an opaque text.
    pub next: Option<String>,
}

/// The records of all organisations.
pub trait Records: Send + Sync {
    /// Reads records, strongly consistent, in the order of the items.
    fn get_many(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> impl Future<Output = Result<Vec<Option<Versioned<Record>>>, StoreError>> + Send;

    /// Lists a set from a cursor on, strongly consistent; at most `limit`, or as many as a page takes.
    fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Lists for people, newest first, eventually consistent.
    fn listing(
        &self,
        organisation: &OrganisationName,
        listing: &Listing,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// What is due in a shard, the longest overdue first. The index may lag; the records are read from the base.
    fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError>> + Send;

    /// Moves a record's turn to later, if it still has that version. Its version stays.
    fn postpone(
        &self,
        organisation: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Commits all changes or none; at most [`MAX_CHANGES`], each about another record.
    fn commit(
        &self,
        organisation: &OrganisationName,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}

/// A bucket of immutable objects.
pub trait Objects: Send + Sync {
    /// Writes an object that is dropped after 7 days unless it is kept. The same name always has the same content.
    fn put(&self, name: &str, content: Vec<u8>) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes an object unless there is one of that name, and answers with what is there then.
    fn put_once(&self, name: &str, content: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, StoreError>> + Send;
    /// Keeps an object for good.
    fn keep(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Reads an object.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;
}

/// A hint that settling or claiming may be worthwhile; it decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wake {
    /// The tenant.
    pub organisation: OrganisationName,
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The operation to claim; without one the deployment is only settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<u32>,
    /// Whom it wakes.
    #[serde(default, skip_serializing_if = "is_lambda")]
    pub executor: ExecutorKind,
}

fn is_lambda(kind: &ExecutorKind) -> bool {
    *kind == ExecutorKind::Lambda
}

/// How many messages a queue has. Queues count them about right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// To be taken.
    pub waiting: u64,
    /// Taken, and not done with.
    pub in_flight: u64,
    /// To come later.
    pub delayed: u64,
}

/// How many messages the queues have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// For the function.
    pub wakes: Depth,
    /// For the workers, where they have a queue of their own.
    pub workers: Option<Depth>,
    /// Given up; none where this process does not know the queue.
    pub dead_letters: Option<u64>,
}

/// Where wake-ups go.
pub trait Queue: Send + Sync {
    /// Sends wake-ups, to arrive after a while: 15 minutes at most.
    fn send(&self, wakes: &[Wake], after: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Whether it is there.
    fn ready(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// How much is in it: for people, nothing is decided by it.
    fn depths(&self) -> impl Future<Output = Result<Depths, StoreError>> + Send;
}

/// Counts the requests of this process. Copies count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<[AtomicU64; 3]>);

/// What a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The table.
    Table,
    /// A bucket of objects.
    Objects,
    /// A queue.
    Queue,
}

impl Meter {
    /// Counts a request.
    pub fn count(&self, service: Service) {
        self.0[service as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All so far.
    pub fn read(&self) -> Requests {
        let [table, objects, queue] = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        Requests { table, objects, queue }
    }
}

/// Time and chance.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never jumps.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
    /// A fresh UUIDv7.
    fn fresh_id(&self) -> Uuid;
    /// A number from 0 to 1.
    fn chance(&self) -> f64;
    /// Bytes that nobody can guess, never the same twice.
    fn secret(&self) -> [u8; SECRET_BYTES];
}

/// The ports of an engine, as one type. Copies of a port reach the same thing.
pub trait Ports: Send + Sync + 'static {
    /// See [`Records`].
    type Records: Records + Clone;
    /// The bucket of Score files, sensitive values and plans.
    type Vault: Objects + Clone;
    /// The bucket of template archives.
    type Artifacts: Objects + Clone;
    /// See [`Queue`].
    type Queue: Queue + Clone;
    /// See [`Clock`].
    type Clock: Clock + Clone;
}
