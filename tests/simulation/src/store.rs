//! The store, the vault and the queue as an actor reaches them: slow, failing, paged, and with answers that are lost.

use std::time::Duration;

use conductor_domain::name::OrganisationName;
use conductor_domain::operation::Lease;
use conductor_engine::port::{
    Change, CommitError, Depth, Depths, Objects, Page, Queue, Records, StoreError, Version, Versioned, Wake,
};
use conductor_engine::{Item, Listing, Record, Set};
use jiff::Timestamp;

use crate::catalog::organisation;
use crate::clock::{MINUTE, SECOND, moment};
use crate::hash::{hash_of, mix};
use crate::invariant::Look;
use crate::memory::{Memory, Written};
use crate::trace::told;
use crate::world::{ActorId, Core, Message, Port};

/// Items that were written lately, which a due index that lags may show.
const RECENT: usize = 12;
/// The longest delay of a message that is late by chance.
const LATE: u64 = 20 * MINUTE;

/// A commit's answer, and how long it takes to come.
type Answer = (u64, Result<(), CommitError>);

fn unavailable() -> StoreError {
    StoreError::Unavailable("it does not answer".into())
}

impl Core {
    /// What a call meets: `Ok` with a delay, or that it fails and nothing happened.
    fn trouble(&mut self, actor: ActorId) -> Result<u64, StoreError> {
        if self.scripted {
            return Ok(0);
        }
        let now = self.now;
        self.outages.retain(|outage| outage.until > now);
        let outage = self.outages.iter().find(|outage| outage.whom.is_none_or(|whom| whom == actor));
        if let Some(until) = outage.map(|outage| outage.until) {
            // Some calls are refused at once, others hang.
            let wait = if self.chance.sometimes(0.5) { until - now } else { self.chance.between(SECOND / 20, SECOND) };
            self.note(actor, || format!("  gets no answer for {} s", wait / SECOND));
            return if self.chance.sometimes(0.5) { Err(unavailable()) } else { Ok(wait) };
        }
        if self.chance.sometimes(self.weather.fails) {
            self.note(actor, || "  fails".to_owned());
            return Err(unavailable());
        }
        let slow = self.chance.sometimes(self.weather.slow);
        Ok(if slow { self.chance.between(SECOND / 20, 9 * SECOND) } else { 0 })
    }

    fn commit(&mut self, actor: ActorId, organisation: &OrganisationName, changes: Vec<Change>) -> Answer {
        if let Some(fault) = Memory::fault(&changes) {
            self.violate("commits_are_legal", fault);
        }
        if self.chance.sometimes(self.weather.conflict) {
            self.note(actor, || "  is told that it lost a race".to_owned());
            return (0, Err(CommitError::Conflict { which: changes.first().map(Change::item).into_iter().collect() }));
        }
        let done = self.memory.commit(organisation, changes);
        self.observe(actor, u64::from(done.is_ok()));
        let written = match done {
            Ok(written) => written,
            Err(which) => {
                self.note(actor, || format!("  conflict: {which:?}"));
                return (0, Err(CommitError::Conflict { which }));
            }
        };
        self.tally.commits += 1;
        self.keep_seen(actor);
        self.after(actor, &written);
        if self.chance.sometimes(self.weather.unknown) {
            self.note(actor, || "  its answer is lost".to_owned());
            return (0, Err(unavailable().into()));
        }
        let slow = self.chance.sometimes(self.weather.slow);
        (if slow { self.chance.between(SECOND / 20, 9 * SECOND) } else { 0 }, Ok(()))
    }

    /// What has to be seen to after a commit: the invariants above all.
    fn after(&mut self, actor: ActorId, written: &[Written]) {
        for one in written {
            if self.trace.is_some() {
                let line = format!("  {}", told(&self.memory, one));
                self.note(actor, || line);
            }
            if let Item::Lease(..) = one.item {
                self.beat(actor, &one.item);
            }
            if self.chance.sometimes(self.weather.hidden) {
                let until = self.now + self.chance.between(SECOND, 2 * MINUTE);
                self.memory.hide(&one.item, until);
            }
            if self.weather.stale > 0.0 && self.memory.due_at(&one.item).is_some() {
                if self.recent.len() >= RECENT {
                    self.recent.remove(0);
                }
                self.recent.push(one.item.clone());
            }
        }
        let Core { checker, memory, actors, now, .. } = self;
        let look = Look { memory, written, actor: &actors[actor], now: *now };
        if let Err(violation) = checker.commit(&look) {
            self.violate(violation.invariant, violation.detail);
        }
    }

    /// A heartbeat was taken.
    fn beat(&mut self, actor: ActorId, item: &Item) {
        let Some(lease) = self.memory.peek::<Lease>(item) else { return };
        let actor = &mut self.actors[actor];
        if lease.worker == actor.name {
            let sent = moment(lease.heartbeat_at, actor.skew);
            actor.beat_at = Some(sent);
            actor.froze = sent < actor.frozen_until;
        }
    }

    fn send(&mut self, actor: ActorId, wakes: &[Wake], after: Duration) {
        for wake in wakes {
            let operation = wake.operation.unwrap_or_default();
            if self.chance.sometimes(self.weather.lost) {
                self.note(actor, || format!("  message {}#{operation} is lost", wake.deployment_id));
                continue;
            }
            let copies = 1 + u32::from(self.chance.sometimes(self.weather.twice));
            for _ in 0..copies {
                let mut at = self.now + after.as_nanos() as u64;
                if !self.scripted {
                    at += self.chance.between(SECOND / 200, SECOND / 20);
                }
                if self.chance.sometimes(self.weather.late) {
                    at += self.chance.below(LATE);
                }
                self.note(actor, || format!("  message {}#{operation}", wake.deployment_id));
                self.sequence += 1;
                self.messages.insert((at, self.sequence), Message { wake: wake.clone(), receives: 0 });
            }
        }
    }

    fn see(&mut self, actor: ActorId, items: impl Iterator<Item = Item>) {
        if self.scripted {
            let seen = items.fold(1, |seen, item| mix(seen, self.memory.hash_of(&item)));
            self.observe(actor, seen);
        }
    }
}

/// Whether an item is never written while a world runs: reading it needs no step of its own.
fn is_fixed(item: &Item) -> bool {
    matches!(item, Item::Environment(_) | Item::Template(_) | Item::TemplateVersion(..))
}

impl Port {
    async fn reach(&self, what: &'static str) -> Result<(), StoreError> {
        self.pass(what).await;
        let delay = self.core().trouble(self.actor)?;
        self.delay(delay).await;
        Ok(())
    }

    async fn delay(&self, delay: u64) {
        if delay > 0 {
            self.nap(delay).await;
        }
    }
}

impl Records for Port {
    async fn get_many(
        &self,
        _: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        if !(self.scripted() && items.iter().all(is_fixed)) {
            self.reach("reads").await?;
        }
        let mut core = self.core();
        core.see(self.actor, items.iter().cloned());
        Ok(core.memory.get_many(items))
    }

    async fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page, StoreError> {
        self.reach("lists").await?;
        let mut core = self.core();
        let share = core.weather.small_pages;
        let small = core.chance.sometimes(share).then(|| core.chance.between(1, 3) as u32);
        let page = core.memory.list(organisation, set, after, limit.or(small))?;
        core.see(self.actor, page.records.iter().map(|record| record.value.item()));
        Ok(page)
    }

    /// For people alone, of whom there are none here.
    async fn listing(&self, _: &OrganisationName, _: &Listing, _: Option<&str>, _: u32) -> Result<Page, StoreError> {
        Ok(Page { records: Vec::new(), next: None })
    }

    /// Everything is in the first shard, so that a sweep settles as much at once as it ever does.
    async fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        if shard != 0 {
            return Ok(Vec::new());
        }
        self.reach("reads what is due").await?;
        let mut core = self.core();
        let mut due = core.memory.due(until, limit, core.now);
        let share = core.weather.stale;
        if core.chance.sometimes(share) {
            let stale: Vec<Item> = core.recent.iter().take(4).cloned().collect();
            let missing = stale.iter().filter(|item| due.iter().all(|record| record.value.item() != **item));
            let more: Vec<Versioned<Record>> = missing.filter_map(|item| core.memory.get(item)).collect();
            due.extend(more);
        }
        core.see(self.actor, due.iter().map(|record| record.value.item()));
        Ok(due.into_iter().map(|record| (organisation().clone(), record)).collect())
    }

    async fn postpone(
        &self,
        _: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> Result<(), CommitError> {
        self.reach("postpones").await?;
        let mut core = self.core();
        let done = core.memory.postpone(item, version, until);
        core.observe(self.actor, u64::from(done));
        if done { Ok(()) } else { Err(CommitError::Conflict { which: vec![item.clone()] }) }
    }

    async fn commit(&self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<(), CommitError> {
        self.reach("commits").await?;
        let (delay, answer) = self.core().commit(self.actor, organisation, changes);
        self.delay(delay).await;
        answer
    }
}

/// In an exhaustive search objects take no step of their own: they are immutable, and nobody reads one before its writer
/// has committed its name.
impl Objects for Port {
    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        if !self.scripted() {
            self.reach("puts an object").await?;
        }
        self.core().objects.insert(name.to_owned(), content);
        Ok(())
    }

    async fn put_once(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if !self.scripted() {
            self.reach("puts an object").await?;
        }
        Ok(self.core().objects.entry(name.to_owned()).or_insert(content).clone())
    }

    async fn keep(&self, _: &str) -> Result<(), StoreError> {
        if !self.scripted() {
            self.reach("keeps an object").await?;
        }
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.scripted() {
            self.reach("gets an object").await?;
        }
        let core = self.core();
        let found = core.objects.get(name).cloned();
        Ok(found)
    }
}

/// In an exhaustive search sending takes no step of its own: a message that is there may be taken at any time after.
impl Queue for Port {
    async fn send(&self, wakes: &[Wake], after: Duration) -> Result<(), StoreError> {
        if wakes.is_empty() {
            return Ok(());
        }
        if !self.scripted() {
            self.reach("sends").await?;
        }
        let mut core = self.core();
        core.send(self.actor, wakes, after);
        let share = core.weather.unknown;
        if core.chance.sometimes(share) { Err(unavailable()) } else { Ok(()) }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        let wakes = Depth { waiting: self.core().messages.len() as u64, ..Depth::default() };
        Ok(Depths { wakes, ..Depths::default() })
    }
}

/// A number for a message, whenever it comes.
pub(crate) fn message_hash(message: &Message) -> u64 {
    let Wake { deployment_id, operation, .. } = &message.wake;
    mix(hash_of(deployment_id), hash_of(operation))
}
