//! Commits: collected change by change, each against the version that was read, with the audit events that tell of them.

use std::collections::HashMap;
use std::time::Duration;

use conductor_domain::audit::AuditEvent;
use conductor_domain::ids::{AuditId, DeploymentId, GenericUuid};
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{Operation, Requests};
use conductor_domain::principal::Caller;
use conductor_domain::{Code, Refusal};

use crate::mutant::Mutant;
use crate::outcome::Outcome;
use crate::port::{
    Change, Clock, Expect, MAX_CHANGES, Page, Ports, Queue, Records, StoreError, Version, Versioned, Wake,
};
use crate::record::{Audited, Entity, Item, Record, Set, Subject};
use crate::{Causes, Engine, Error};

/// Changes on the way to a commit. Who makes them, and for which deployment, is said once.
pub(crate) struct Draft<'a, P: Ports> {
    engine: &'a Engine<P>,
    caller: &'a Caller,
    deployment: Option<DeploymentId>,
    changes: Vec<Change>,
    wakes: Vec<Wake>,
    after: Duration,
    outcomes: Vec<Outcome>,
}

impl<'a, P: Ports> Draft<'a, P> {
    fn version(&self) -> Version {
        Version(self.engine.clock.fresh_id().simple().to_string())
    }

    /// Writes a record that must not be there.
    pub fn create<T: Entity>(&mut self, value: T) -> Versioned<T> {
        self.write(value, Expect::Absent)
    }

    /// Writes a new value over the one that was read.
    pub fn update<T: Entity>(&mut self, read: &Versioned<T>, mut value: T) -> Versioned<T> {
        let outcomes = value.told(&read.value, self.now());
        self.outcomes.extend(outcomes);
        self.write(value, Expect::Version(read.version.clone()))
    }

    /// Gives a record a new version and nothing else, so that whoever decides by it at this moment reads again.
    pub fn touch<T: Entity>(&mut self, read: &Versioned<T>) {
        self.update(read, read.value.clone());
    }

    /// Creates or updates, as there was one or not.
    pub fn put<T: Entity>(&mut self, read: Option<&Versioned<T>>, value: T) -> Versioned<T> {
        match read {
            Some(read) => self.update(read, value),
            None => self.create(value),
        }
    }

    fn write<T: Entity>(&mut self, value: T, expect: Expect) -> Versioned<T> {
        let version = self.version();
        let record = Box::new(value.clone().into_record());
        let item = record.item();
        self.changes.retain(|change| !matches!(change, Change::Check { item: checked, .. } if *checked == item));
        self.changes.push(Change::Put { record, expect, version: version.clone() });
        Versioned { value, version }
    }

    /// Removes the record that was read.
    pub fn delete<T: Entity>(&mut self, read: &Versioned<T>) {
        self.changes.push(Change::Delete { item: read.item(), expect: read.version.clone() });
    }

    /// The same, whatever its type.
    pub fn remove(&mut self, read: &Versioned<Record>) {
        self.changes.push(Change::Delete { item: read.value.item(), expect: read.version.clone() });
    }

    /// Demands that a record is still the one that was read, unless this draft writes it, which demands the same.
    pub fn check<T: Entity>(&mut self, read: &Versioned<T>) {
        let item = read.item();
        if self.changes.iter().all(|change| change.item() != item) {
            self.changes.push(Change::Check { item, expect: Expect::Version(read.version.clone()) });
        }
    }

    /// Demands that there still is no such record, unless this draft writes one, which demands the same.
    pub fn check_absent(&mut self, item: Item) {
        if self.changes.iter().all(|change| change.item() != item) {
            self.changes.push(Change::Check { item, expect: Expect::Absent });
        }
    }

    /// Appends an audit event.
    pub fn audit(&mut self, of: Subject, action: &str, detail: Option<String>) {
        let (noun, subject) = match &of {
            Subject::Environment(name) => ("environment", name.to_string()),
            Subject::Application(name) => ("application", name.to_string()),
            Subject::Template(name) => ("template", name.to_string()),
            Subject::Deployment(id) => ("deployment", id.to_string()),
            Subject::Resource(id) => ("resource", id.to_string()),
            Subject::Pool(key) => ("pool", format!("{}/{}", key.environment, key.name)),
            Subject::Token(id) => ("token", id.to_string()),
            Subject::TemplatePolicy => ("policy", "templates".to_owned()),
        };
        let event = AuditEvent {
            id: AuditId::from_untyped_uuid(self.engine.clock.fresh_id()),
            at: self.engine.clock.now(),
            principal: self.caller.principal.id.clone(),
            request_id: self.caller.request_id.clone(),
            action: action.to_owned(),
            noun: noun.to_owned(),
            subject,
            deployment: self.deployment,
            detail,
        };
        self.create(Audited { of, event });
    }

    /// Who commits.
    pub fn principal(&self) -> &str {
        &self.caller.principal.id
    }

    /// The time of day.
    pub fn now(&self) -> jiff::Timestamp {
        self.engine.clock.now()
    }

    /// What this process has asked for so far.
    pub fn metered(&self) -> Requests {
        self.engine.settings.meter.read()
    }

    /// A fresh UUIDv7.
    pub fn fresh_id(&self) -> uuid::Uuid {
        self.engine.clock.fresh_id()
    }

    /// How many more changes fit.
    pub fn room(&self) -> usize {
        MAX_CHANGES.saturating_sub(self.changes.len())
    }

    /// Wakes a worker for an operation, once the commit has happened.
    pub fn wake(&mut self, operation: &Operation) {
        self.wakes.push(self.engine.wake(self.caller, operation));
    }

    /// The same, a while after it. All wake-ups of this commit wait as long.
    pub fn wake_after(&mut self, operation: &Operation, after: Duration) {
        self.wake(operation);
        self.after = after;
    }

    /// The changes, each of an operation with the version that is there now.
    async fn unchecked(&self) -> Result<Vec<Change>, StoreError> {
        let mut changes = self.changes.clone();
        for change in &mut changes {
            let item = change.item();
            if let (Change::Put { expect: Expect::Version(version), .. }, Item::Operation(..)) = (change, &item) {
                let found = self.engine.records.get_many(self.caller.organisation(), &[item]).await?;
                *version = found.into_iter().flatten().next().map_or_else(|| version.clone(), |there| there.version);
            }
        }
        Ok(changes)
    }

    /// Commits; an empty draft is no commit.
    pub async fn commit(self) -> Result<(), Error> {
        if self.changes.is_empty() {
            return Ok(());
        }
        if self.changes.len() > MAX_CHANGES {
            let detail = format!("this would be {} changes at once; {MAX_CHANGES} are possible", self.changes.len());
            return Err(Refusal::new(Code::ChangeTooLarge, detail).into());
        }
        let changes = if Mutant::UncheckedVersion.lives() { self.unchecked().await? } else { self.changes };
        self.engine.records.commit(self.caller.organisation(), changes).await?;
        self.outcomes.iter().for_each(Outcome::emit);
        self.engine.send_after(&self.wakes, self.after).await;
        Ok(())
    }
}

/// What a request says of the record that it would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// `If-Match: *`: there must be one.
    Any,
    /// `If-Match: "…"`: it must have this version.
    Version(String),
}

impl Precondition {
    pub(crate) fn check(&self, version: Option<&Version>) -> Result<(), Refusal> {
        let holds = match self {
            Precondition::None => true,
            Precondition::Any => version.is_some(),
            Precondition::Version(wanted) => version.is_some_and(|version| version.0 == *wanted),
        };
        if holds { Ok(()) } else { Err(Refusal::new(Code::PreconditionFailed, Code::PreconditionFailed.title())) }
    }
}

/// Counts the tries of a use-case that loses races, and waits between them.
pub(crate) struct Tries(u32);

/// Tries before a caller is told that the record is contended. With full jitter up to half a second each, 40 tries take
/// about ten seconds: longer than any burst of commits on one record that DynamoDB can serve.
const MAX_TRIES: u32 = 40;

impl<P: Ports> Engine<P> {
    pub(crate) fn draft<'a>(&'a self, caller: &'a Caller, deployment: Option<DeploymentId>) -> Draft<'a, P> {
        let (changes, wakes, outcomes) = (Vec::new(), Vec::new(), Vec::new());
        Draft { engine: self, caller, deployment, changes, wakes, after: Duration::ZERO, outcomes }
    }

    /// Sends wake-ups. They are hints: what fails here is sent again by the sweeper.
    pub(crate) async fn send(&self, wakes: &[Wake]) {
        self.send_after(wakes, Duration::ZERO).await;
    }

    /// The same, to arrive after a while.
    pub(crate) async fn send_after(&self, wakes: &[Wake], after: Duration) {
        if wakes.is_empty() {
            return;
        }
        if let Err(error) = self.queue.send(wakes, after).await {
            tracing::warn!(error = %Causes(&error), wakes = wakes.len(), "wake-ups were not sent");
        }
    }

    pub(crate) fn tries(&self) -> Tries {
        Tries(0)
    }

    /// Called after a lost race: waits a moment, or gives up.
    pub(crate) async fn again(&self, tries: &mut Tries) -> Result<(), Error> {
        if tries.0 >= MAX_TRIES {
            return Err(Error::Conflict);
        }
        self.pause(tries).await;
        Ok(())
    }

    /// Waits a moment that grows with the tries, with full jitter.
    pub(crate) async fn pause(&self, tries: &mut Tries) {
        tries.0 += 1;
        let most = Duration::from_millis(10 << tries.0.min(6)).min(Duration::from_millis(500));
        self.clock.sleep(most.mul_f64(self.clock.chance())).await;
    }

    pub(crate) async fn read<T: Entity>(
        &self,
        organisation: &OrganisationName,
        item: Item,
    ) -> Result<Option<Versioned<T>>, StoreError> {
        let mut found = self.records.get_many(organisation, &[item]).await?;
        found.pop().flatten().map(Versioned::<Record>::typed).transpose()
    }

    /// Reads several records of one type, in the order of the items.
    pub(crate) async fn read_all<T: Entity>(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<T>>>, StoreError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.records.get_many(organisation, items).await?;
        found.into_iter().map(|one| one.map(Versioned::<Record>::typed).transpose()).collect()
    }

    /// Reads records of any types at once, to be taken out by [`Batch::take`].
    pub(crate) async fn batch(&self, organisation: &OrganisationName, items: Vec<Item>) -> Result<Batch, StoreError> {
        let found = self.records.get_many(organisation, &items).await?;
        Ok(Batch(items.into_iter().zip(found).collect()))
    }

    /// The reads of one use-case, none of which has been made yet.
    pub(crate) fn reads<'a>(&'a self, organisation: &'a OrganisationName) -> Reads<'a, P> {
        Reads { engine: self, organisation, found: HashMap::new() }
    }

    /// Lists a whole set.
    pub(crate) async fn list_all<T: Entity>(
        &self,
        organisation: &OrganisationName,
        set: &Set,
    ) -> Result<Vec<Versioned<T>>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let Page { records, next } = self.records.list(organisation, set, after.as_deref(), None).await?;
            for record in records {
                all.push(record.typed()?);
            }
            after = next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// The first few records of a set.
    pub(crate) async fn list_first<T: Entity>(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        limit: u32,
    ) -> Result<Vec<Versioned<T>>, StoreError> {
        let page = self.records.list(organisation, set, None, Some(limit)).await?;
        page.records.into_iter().map(Versioned::<Record>::typed).collect()
    }
}

/// Records that were read together.
#[derive(Default)]
pub(crate) struct Batch(Vec<(Item, Option<Versioned<Record>>)>);

impl Batch {
    /// Takes a record out; `None` where there is none, or it was not asked for.
    pub fn take<T: Entity>(&mut self, item: &Item) -> Result<Option<Versioned<T>>, StoreError> {
        let slot = self.0.iter_mut().find(|(name, _)| name == item);
        slot.and_then(|(_, record)| record.take()).map(Versioned::<Record>::typed).transpose()
    }

    /// The same, where there is an item.
    pub fn take_if<T: Entity>(&mut self, item: Option<&Item>) -> Result<Option<Versioned<T>>, StoreError> {
        item.map_or(Ok(None), |item| self.take(item))
    }

    /// A copy of a record, for those that are needed twice.
    pub fn peek<T: Entity>(&self, item: &Item) -> Result<Option<Versioned<T>>, StoreError> {
        let slot = self.0.iter().find(|(name, _)| name == item);
        slot.and_then(|(_, record)| record.clone()).map(Versioned::<Record>::typed).transpose()
    }
}

/// The reads of one use-case, each record once: what is needed later can be read together with what is needed now.
pub(crate) struct Reads<'a, P: Ports> {
    engine: &'a Engine<P>,
    organisation: &'a OrganisationName,
    found: HashMap<Item, Option<Versioned<Record>>>,
}

impl<'a, P: Ports> Reads<'a, P> {
    /// The tenant.
    pub fn organisation(&self) -> &'a OrganisationName {
        self.organisation
    }

    /// Reads what of these has not been read yet, in one request.
    pub async fn ahead(&mut self, items: &[Item]) -> Result<(), StoreError> {
        let missing: Vec<Item> = items.iter().filter(|item| !self.found.contains_key(*item)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let found = self.engine.records.get_many(self.organisation, &missing).await?;
        self.found.extend(missing.into_iter().zip(found));
        Ok(())
    }

    /// Several records of one type, in the order of the items.
    pub async fn all<T: Entity>(&mut self, items: &[Item]) -> Result<Vec<Option<Versioned<T>>>, StoreError> {
        self.ahead(items).await?;
        items.iter().map(|item| self.get(item)).collect()
    }

    /// One that has been read; `None` where there is none.
    pub fn get<T: Entity>(&self, item: &Item) -> Result<Option<Versioned<T>>, StoreError> {
        let found = self.found.get(item).cloned().flatten();
        found.map(Versioned::<Record>::typed).transpose()
    }

    /// The same, where there is an item.
    pub fn get_if<T: Entity>(&self, item: Option<&Item>) -> Result<Option<Versioned<T>>, StoreError> {
        item.map_or(Ok(None), |item| self.get(item))
    }
}
