//! Records in memory over records that lie beneath: those are read, never written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conductor_domain::name::OrganisationName;
use jiff::Timestamp;

use crate::layout::{self, Key, Range};
use crate::port::{Change, CommitError, Expect, MAX_CHANGES, Page, Records, StoreError, Version, Versioned};
use crate::record::{Item, Listing, Record, Set};

/// Records in memory over others. What lies beneath is read once, a set as a whole, and then stays as it was read, also
/// where there was nothing: whoever looks here looks at one moment. Copies share what is known.
///
/// `due` and `listing` answer only with what was written here.
#[derive(Debug, Clone)]
pub struct Overlay<R> {
    beneath: R,
    seen: Arc<Mutex<Seen>>,
}

impl<R> Overlay<R> {
    /// Nothing of its own yet, over these.
    pub fn new(beneath: R) -> Self {
        Self { beneath, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Records + Clone> Overlay<R> {
    /// Reads what is not known yet from beneath. Answers with the keys of the items, in their order.
    async fn learn(&self, organisation: &OrganisationName, items: &[Item]) -> Result<Vec<Key>, StoreError> {
        let keys: Vec<Key> = items.iter().map(|item| layout::key(organisation, item)).collect();
        let unknown: Vec<Item> = {
            let seen = self.seen();
            items.iter().zip(&keys).filter(|(_, key)| !seen.knows(key)).map(|(item, _)| item.clone()).collect()
        };
        if !unknown.is_empty() {
            let found = self.beneath.get_many(organisation, &unknown).await?;
            let mut seen = self.seen();
            for (item, record) in unknown.iter().zip(found) {
                seen.learn(layout::key(organisation, item), record);
            }
        }
        Ok(keys)
    }

    /// Reads a whole set from beneath, unless that was done.
    async fn learn_set(&self, organisation: &OrganisationName, set: &Set, range: &Range) -> Result<(), StoreError> {
        if self.seen().knows_all(range) {
            return Ok(());
        }
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let Page { records, next } = self.beneath.list(organisation, set, after.as_deref(), None).await?;
            found.extend(records);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut seen = self.seen();
        for record in found {
            seen.learn(layout::key(organisation, &record.value.item()), Some(record));
        }
        seen.whole.entry(range.pk.clone()).or_default().push(range.clone());
        Ok(())
    }
}

impl<R: Records + Clone> Records for Overlay<R> {
    async fn get_many(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        let keys = self.learn(organisation, items).await?;
        let seen = self.seen();
        Ok(keys.iter().map(|key| seen.record(key).cloned()).collect())
    }

    async fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page, StoreError> {
        let range = layout::range(organisation, set);
        if after.is_some_and(|after| after < range.from.as_str() || after > range.to.as_str()) {
            return Err(StoreError::Cursor);
        }
        self.learn_set(organisation, set, &range).await?;
        Ok(self.seen().page(&range, after, limit))
    }

    async fn listing(
        &self,
        organisation: &OrganisationName,
        listing: &Listing,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        Ok(self.seen().listed(&layout::listing(organisation, listing), after, limit))
    }

    async fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        Ok(self.seen().due(shard, until, limit))
    }

    async fn postpone(
        &self,
        organisation: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> Result<(), CommitError> {
        let key = layout::key(organisation, item);
        let postponed = self.seen().postpone(&key, version, until);
        if postponed { Ok(()) } else { Err(CommitError::Conflict { which: vec![item.clone()] }) }
    }

    async fn commit(&self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<(), CommitError> {
        let items: Vec<Item> = changes.iter().map(Change::item).collect();
        let keys = self.learn(organisation, &items).await?;
        let distinct: HashSet<&Key> = keys.iter().collect();
        if keys.len() > MAX_CHANGES || distinct.len() < keys.len() {
            let rule = format!("a commit has at most {MAX_CHANGES} changes, each about another record: {items:?}");
            return Err(StoreError::Unreadable(rule).into());
        }
        let mut seen = self.seen();
        let which: Vec<Item> = changes
            .iter()
            .zip(&keys)
            .filter(|(change, key)| !holds(change, seen.record(key).map(|found| &found.version)))
            .map(|(change, _)| change.item())
            .collect();
        if !which.is_empty() {
            return Err(CommitError::Conflict { which });
        }
        for (change, key) in changes.into_iter().zip(keys) {
            match change {
                Change::Put { record, version, .. } => {
                    seen.write(organisation, key, Some(Versioned { value: *record, version }));
                }
                Change::Delete { .. } => seen.write(organisation, key, None),
                Change::Check { .. } => {}
            }
        }
        Ok(())
    }
}

/// Whether a change meets what it expects, given the version that is there.
fn holds(change: &Change, there: Option<&Version>) -> bool {
    match change {
        Change::Put { expect: Expect::Absent, .. } | Change::Check { expect: Expect::Absent, .. } => there.is_none(),
        Change::Put { expect: Expect::Version(version), .. }
        | Change::Check { expect: Expect::Version(version), .. }
        | Change::Delete { expect: version, .. } => there == Some(version),
    }
}

/// What has been read from beneath, and what was written above it.
#[derive(Debug, Default)]
struct Seen {
    /// By partition and sort key.
    rows: HashMap<String, BTreeMap<String, Row>>,
    /// Ranges that were read as a whole, by partition.
    whole: HashMap<String, Vec<Range>>,
    /// What was written and is due: shard, time, partition and sort key.
    due: BTreeSet<(u8, Timestamp, String, String)>,
    /// What was written and is in a list for people, by its partition and its place there.
    lists: HashMap<String, BTreeMap<String, Key>>,
}

#[derive(Debug, Default)]
struct Row {
    /// `None` where there is no record.
    record: Option<Versioned<Record>>,
    /// When it is due, where it was written here.
    due_at: Option<Timestamp>,
}

impl Seen {
    fn row(&self, key: &Key) -> Option<&Row> {
        self.rows.get(&key.pk)?.get(&key.sk)
    }

    fn record(&self, key: &Key) -> Option<&Versioned<Record>> {
        self.row(key)?.record.as_ref()
    }

    fn knows(&self, key: &Key) -> bool {
        let inside = |range: &Range| range.from <= key.sk && key.sk <= range.to;
        self.row(key).is_some() || self.whole.get(&key.pk).is_some_and(|ranges| ranges.iter().any(inside))
    }

    fn knows_all(&self, wanted: &Range) -> bool {
        let covers = |range: &Range| range.from <= wanted.from && wanted.to <= range.to;
        self.whole.get(&wanted.pk).is_some_and(|ranges| ranges.iter().any(covers))
    }

    fn learn(&mut self, key: Key, record: Option<Versioned<Record>>) {
        if !self.knows(&key) {
            self.rows.entry(key.pk).or_default().insert(key.sk, Row { record, due_at: None });
        }
    }

    fn write(&mut self, organisation: &OrganisationName, key: Key, record: Option<Versioned<Record>>) {
        let due_at = record.as_ref().and_then(|record| record.value.due_at());
        let place = record.as_ref().and_then(|record| record.value.listing());
        let row = self.rows.entry(key.pk.clone()).or_default().entry(key.sk.clone()).or_default();
        let before = std::mem::replace(row, Row { record, due_at });
        self.move_turn(&key, before.due_at, due_at);
        if let Some((listing, order)) = before.record.and_then(|record| record.value.listing())
            && let Some(list) = self.lists.get_mut(&layout::listing(organisation, &listing))
        {
            list.remove(&order);
        }
        if let Some((listing, order)) = place {
            self.lists.entry(layout::listing(organisation, &listing)).or_default().insert(order, key);
        }
    }

    fn postpone(&mut self, key: &Key, version: &Version, until: Timestamp) -> bool {
        let row = self.rows.get_mut(&key.pk).and_then(|rows| rows.get_mut(&key.sk));
        let Some(row) = row else { return false };
        let (Some(record), Some(due_at)) = (&row.record, row.due_at) else { return false };
        if record.version != *version {
            return false;
        }
        row.due_at = Some(until);
        self.move_turn(key, Some(due_at), Some(until));
        true
    }

    fn move_turn(&mut self, key: &Key, from: Option<Timestamp>, to: Option<Timestamp>) {
        let shard = layout::shard_of(&key.pk);
        let turn = |at: Timestamp| (shard, at, key.pk.clone(), key.sk.clone());
        if let Some(from) = from {
            self.due.remove(&turn(from));
        }
        if let Some(to) = to {
            self.due.insert(turn(to));
        }
    }

    fn due(&self, shard: u8, until: Timestamp, limit: u32) -> Vec<(OrganisationName, Versioned<Record>)> {
        self.due
            .range((shard, Timestamp::MIN, String::new(), String::new())..)
            .take_while(|(other, at, ..)| *other == shard && *at <= until)
            .take(limit as usize)
            .filter_map(|(_, _, pk, sk)| {
                let record = self.rows.get(pk)?.get(sk)?.record.clone()?;
                Some((layout::organisation(pk)?, record))
            })
            .collect()
    }

    fn page(&self, range: &Range, after: Option<&str>, limit: Option<u32>) -> Page {
        let first = after.map_or(Bound::Included(range.from.as_str()), Bound::Excluded);
        let last = Bound::Included(range.to.as_str());
        let rows = self.rows.get(&range.pk).into_iter().flat_map(|rows| rows.range::<str, _>((first, last)));
        cut(rows.filter_map(|(sk, row)| Some((sk, row.record.clone()?))), limit)
    }

    fn listed(&self, list: &str, after: Option<&str>, limit: u32) -> Page {
        let newest: Bound<&str> = Bound::Unbounded;
        let before = after.map_or(newest, Bound::Excluded);
        let keys = self.lists.get(list).into_iter().flat_map(|keys| keys.range::<str, _>((newest, before)).rev());
        cut(keys.filter_map(|(order, key)| Some((order, self.record(key)?.clone()))), Some(limit))
    }
}

/// The first records, and the place of the last of them where there are more.
fn cut<'a>(found: impl Iterator<Item = (&'a String, Versioned<Record>)>, limit: Option<u32>) -> Page {
    let limit = limit.map_or(usize::MAX, |limit| limit.max(1) as usize);
    let mut found = found.peekable();
    let mut records = Vec::new();
    while let Some((place, record)) = found.next() {
        records.push(record);
        if records.len() >= limit {
            let next = found.peek().map(|_| place.clone());
            return Page { records, next };
        }
    }
    Page { records, next: None }
}

#[cfg(test)]
mod tests;
