//! The records of a world: what a table is, and nothing that a table does wrong. Lean, because most of a schedule's time
//! goes into reading and writing here: rows by item, keys only for what is ever listed.

mod kept;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use conductor_domain::name::OrganisationName;
use conductor_engine::layout::{self, Key};
use conductor_engine::port::{Change, Expect, MAX_CHANGES, Page, StoreError, Version, Versioned};
use conductor_engine::{Item, Record, Set};
use jiff::Timestamp;
use uuid::Uuid;

use crate::hash::{Build, hash_of, mix};
pub use kept::Kept;

/// A record that a commit wrote or removed.
#[derive(Debug)]
pub struct Written {
    /// Which.
    pub item: Item,
    /// What was there before.
    pub before: Option<Record>,
}

#[derive(Debug, Clone)]
struct Row {
    record: Versioned<Record>,
    due_at: Option<Timestamp>,
    number: u64,
    place: Option<Key>,
    /// Until this moment the due index does not show it.
    hidden_until: u64,
    hash: u64,
}

/// Records in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    rows: HashMap<Item, Row, Build>,
    /// The items of a partition that are listed, by sort key.
    sets: HashMap<String, BTreeMap<String, Item>, Build>,
    due: BTreeMap<(Timestamp, u64), Item>,
    rows_ever: u64,
    /// How often each was written.
    writes: HashMap<Item, u64, Build>,
    /// Ids, in the order in which they were stored.
    ids: HashMap<Uuid, u64, Build>,
    /// Whether [`Memory::hash`] is kept.
    pub hashing: bool,
    hash: u64,
}

impl Memory {
    /// An empty one that knows [`Memory::hash`].
    pub fn hashed() -> Self {
        Self { hashing: true, ..Self::default() }
    }

    /// Why a commit is none: DynamoDB would refuse it.
    pub fn fault(changes: &[Change]) -> Option<String> {
        let items: Vec<Item> = changes.iter().map(Change::item).collect();
        let twice = items.iter().enumerate().find(|(index, item)| items[..*index].contains(item));
        let fault = twice.map(|(_, item)| format!("{item:?} is there twice"));
        fault.or_else(|| (items.len() > MAX_CHANGES).then(|| format!("{} changes at once", items.len())))
    }

    /// Commits all changes, or answers which were not as expected.
    pub fn commit(&mut self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<Vec<Written>, Vec<Item>> {
        let which: Vec<Item> = changes.iter().filter(|change| !self.holds(change)).map(Change::item).collect();
        if !which.is_empty() {
            return Err(which);
        }
        let mut written = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::Put { record, version, .. } => written.push(self.put(organisation, *record, version)),
                Change::Delete { item, .. } => written.push(self.delete(item)),
                Change::Check { .. } => {}
            }
        }
        Ok(written)
    }

    fn holds(&self, change: &Change) -> bool {
        match change {
            Change::Put { record, expect, .. } => met(expect, self.version(&record.item())),
            Change::Check { item, expect } => met(expect, self.version(item)),
            Change::Delete { item, expect } => self.version(item) == Some(expect),
        }
    }

    /// The version of a record.
    pub fn version(&self, item: &Item) -> Option<&Version> {
        self.rows.get(item).map(|row| &row.record.version)
    }

    /// Writes a record whatever is there.
    pub fn put(&mut self, organisation: &OrganisationName, record: Record, version: Version) -> Written {
        let item = record.item();
        let due_at = record.due_at();
        let hash = if self.hashing { self.fingerprint(&item, &record) } else { 0 };
        self.hash ^= hash;
        let value = Versioned { value: record, version };
        if let Some(row) = self.rows.get_mut(&item) {
            self.hash ^= std::mem::replace(&mut row.hash, hash);
            let due_before = std::mem::replace(&mut row.due_at, due_at);
            let before = std::mem::replace(&mut row.record, value).value;
            row.hidden_until = 0;
            let number = row.number;
            self.turn(&item, number, due_before, due_at);
            return Written { item, before: Some(before) };
        }
        self.rows_ever += 1;
        let number = self.rows_ever;
        let place = is_listed(&item).then(|| layout::key(organisation, &item));
        if let Some(key) = &place {
            self.sets.entry(key.pk.clone()).or_default().insert(key.sk.clone(), item.clone());
        }
        self.turn(&item, number, None, due_at);
        self.rows.insert(item.clone(), Row { record: value, due_at, number, place, hidden_until: 0, hash });
        Written { item, before: None }
    }

    /// A number for a record, whatever its ids are.
    fn fingerprint(&mut self, item: &Item, record: &Record) -> u64 {
        if matches!(item, Item::Audit(..)) {
            return 0;
        }
        let writes = self.writes.entry(item.clone()).or_default();
        *writes += 1;
        let writes = *writes;
        mix(writes, self.nameless(&serde_json::to_string(record).unwrap_or_default()))
    }

    /// A number for a text, whatever the ids in it are.
    fn nameless(&mut self, text: &str) -> u64 {
        let (mut all, mut rest) = (0, text);
        while let Some((from, length, id)) = next_id(rest) {
            let next = self.ids.len() as u64;
            let number = *self.ids.entry(id).or_insert(next);
            all = mix(mix(all, hash_of(&rest[..from])), number);
            rest = &rest[from + length..];
        }
        mix(all, hash_of(rest))
    }

    fn delete(&mut self, item: Item) -> Written {
        let Some(row) = self.rows.remove(&item) else { return Written { item, before: None } };
        self.hash ^= row.hash;
        self.turn(&item, row.number, row.due_at, None);
        if let Some(key) = &row.place
            && let Some(set) = self.sets.get_mut(&key.pk)
        {
            set.remove(&key.sk);
        }
        Written { item, before: Some(row.record.value) }
    }

    fn turn(&mut self, item: &Item, number: u64, from: Option<Timestamp>, to: Option<Timestamp>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.due.remove(&(from, number));
        }
        if let Some(to) = to {
            self.due.insert((to, number), item.clone());
        }
        if self.hashing {
            let name = self.nameless(&format!("{item:?}"));
            self.hash ^= mix(name, hash_of(&from)) ^ mix(name, hash_of(&to));
        }
    }

    /// Moves a record's turn, if it still has that version.
    pub fn postpone(&mut self, item: &Item, version: &Version, until: Timestamp) -> bool {
        let Some(row) = self.rows.get_mut(item) else { return false };
        if row.due_at.is_none() || row.record.version != *version {
            return false;
        }
        let (number, from) = (row.number, row.due_at.replace(until));
        self.turn(item, number, from, Some(until));
        true
    }

    /// Lets the due index not show a record until a moment.
    pub fn hide(&mut self, item: &Item, until: u64) {
        if let Some(row) = self.rows.get_mut(item) {
            row.hidden_until = until;
        }
    }

    /// What is due and shown.
    pub fn due(&self, until: Timestamp, limit: u32, now: u64) -> Vec<Versioned<Record>> {
        let over = self.due.iter().take_while(|((at, _), _)| *at <= until);
        let shown = over.filter_map(|(_, item)| self.rows.get(item)).filter(|row| row.hidden_until <= now);
        shown.take(limit as usize).map(|row| row.record.clone()).collect()
    }

    /// When something is due next.
    pub fn first_due(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// When a record is due.
    pub fn due_at(&self, item: &Item) -> Option<Timestamp> {
        self.rows.get(item)?.due_at
    }

    /// All that is due at some time.
    pub fn all_due(&self) -> impl Iterator<Item = (&Timestamp, &Item)> {
        self.due.iter().map(|((at, _), item)| (at, item))
    }

    /// Reads records, in the order of the items.
    pub fn get_many(&self, items: &[Item]) -> Vec<Option<Versioned<Record>>> {
        items.iter().map(|item| self.get(item)).collect()
    }

    /// Reads a record.
    pub fn get(&self, item: &Item) -> Option<Versioned<Record>> {
        self.rows.get(item).map(|row| row.record.clone())
    }

    /// Whether there is a record.
    pub fn has(&self, item: &Item) -> bool {
        self.rows.contains_key(item)
    }

    /// Looks at a record of a type.
    pub fn peek<T: Kept>(&self, item: &Item) -> Option<&T> {
        T::of(&self.rows.get(item)?.record.value)
    }

    /// Looks at all records of a type.
    pub fn all<T: Kept>(&self) -> impl Iterator<Item = &T> {
        self.rows.values().filter_map(|row| T::of(&row.record.value))
    }

    /// Looks at the records of a set, in the order of the keys.
    pub fn listed<T: Kept>(&self, organisation: &OrganisationName, set: &Set) -> Vec<&T> {
        let range = layout::range(organisation, set);
        let items =
            self.sets.get(&range.pk).into_iter().flat_map(|set| set.range(range.from.clone()..=range.to.clone()));
        items.filter_map(|(_, item)| self.peek(item)).collect()
    }

    /// A part of a set.
    pub fn list(
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
        let first = after.map_or(Bound::Included(range.from.as_str()), Bound::Excluded);
        let last = Bound::Included(range.to.as_str());
        let limit = limit.map_or(usize::MAX, |limit| limit.max(1) as usize);
        let mut records: Vec<Versioned<Record>> = Vec::new();
        let mut place: Option<&String> = None;
        for (key, item) in self.sets.get(&range.pk).into_iter().flat_map(|set| set.range::<str, _>((first, last))) {
            if records.len() >= limit {
                return Ok(Page { records, next: place.cloned() });
            }
            records.extend(self.get(item));
            place = Some(key);
        }
        Ok(Page { records, next: None })
    }

    /// A number for everything that is stored; kept where [`Memory::hashing`] is set from the start.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// A number for one record.
    pub fn hash_of(&self, item: &Item) -> u64 {
        self.rows.get(item).map_or(0, |row| row.hash)
    }
}

fn met(expect: &Expect, there: Option<&Version>) -> bool {
    match expect {
        Expect::Absent => there.is_none(),
        Expect::Version(version) => there == Some(version),
    }
}

/// Where the next UUID stands in a text, with or without hyphens, and how long it is there.
fn next_id(text: &str) -> Option<(usize, usize, Uuid)> {
    let word = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let bytes = text.as_bytes();
    let mut from = 0;
    while from < bytes.len() {
        let length = bytes[from..].iter().take_while(|byte| word(**byte)).count();
        let found = matches!(length, 32 | 36).then(|| Uuid::try_parse(&text[from..from + length]).ok()).flatten();
        if let Some(id) = found {
            return Some((from, length, id));
        }
        from += length.max(1);
    }
    None
}

/// Whether the engine ever lists such records while it works.
fn is_listed(item: &Item) -> bool {
    match item {
        Item::Lane(_)
        | Item::LanePlace(..)
        | Item::Resident(..)
        | Item::TemplateVersion(..)
        | Item::Deployment(_)
        | Item::Operation(..)
        | Item::Open(..)
        | Item::Lease(..)
        | Item::Consumer(..)
        | Item::Waiter(..)
        | Item::Holding(_)
        | Item::Pool(_)
        | Item::Member(..)
        | Item::Candidate(..)
        | Item::Chunk(..) => true,
        Item::Environment(_)
        | Item::Pace(..)
        | Item::Application(_)
        | Item::Template(_)
        | Item::Resource(_)
        | Item::Parameters(_)
        | Item::Outputs(_)
        | Item::Identity(_)
        | Item::CandidateGuard(_)
        | Item::GraphGuard
        | Item::Idempotency(..)
        | Item::Token(_)
        | Item::TokenRoll
        | Item::TemplatePolicy
        | Item::Audit(..) => false,
    }
}
