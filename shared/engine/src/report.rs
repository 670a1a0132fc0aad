//! Reporting: what terraform did becomes the truth, in one commit.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use conductor_domain::Code;
use conductor_domain::consumer::{Consumer, ConsumerKey};
use conductor_domain::ids::ResourceId;
use conductor_domain::operation::{
    During, Effect, ExecutorKind, Failure, Limits, Operation, OperationEvent, OperationStatus, ReleaseRequest, Request,
    Warning,
};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{
    LeftBehind, MAX_OUTPUT, MAX_OUTPUTS, Outputs, Parameters, Resource, ResourceEvent, ResourceStatus,
};

use crate::cancel::{is_stopped, stopped};
use crate::claim::{Appended, Claimed, Ended};
use crate::commit::{Batch, Draft};
use crate::mutant::Mutant;
use crate::port::{Clock, Ports, Records, StoreError, Versioned};
use crate::record::{Item, Record, Set, Subject};
use crate::release::without;
use crate::reservation::{freed, unstored_warning};
use crate::work::{Interruption, Job, JobOutcome, Produced, Ran};
use crate::{Engine, Error};

/// Backoff between attempts, with full jitter: the first waits up to this, each after it up to twice as long as the one
/// before, none longer than [`LONGEST_BACKOFF`], the longest delay of an SQS message.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(900);

/// Why an operation may not be tried once more; `None` where it may. Its current attempt counts.
pub(crate) fn exhausted(operation: &Operation, now: Timestamp) -> Option<Failure> {
    let Limits { attempts, running_minutes, .. } = operation.limits;
    let name = &operation.resource;
    let current = operation.claimed_at().map_or(0, |at| now.duration_since(at).as_secs());
    let ran = i64::try_from(operation.ran_seconds).unwrap_or(i64::MAX).saturating_add(current);
    if operation.attempts >= attempts {
        let detail = format!("{name} was tried {} times; {attempts} are allowed", operation.attempts);
        return Some(Failure::new(Code::AttemptsExhausted, detail));
    }
    let over = ran >= operation.limits.running().as_secs();
    over.then(|| Failure::new(Code::RanTooLong, format!("{name} ran for {running_minutes} minutes without an end")))
}

/// What a run that was stopped at its deadline twice with the same object in flight, and that got no further, says.
fn over_budget(operation: &Operation, interruption: &Interruption) -> Option<Failure> {
    if operation.executor == ExecutorKind::Worker {
        return None;
    }
    let again: Vec<String> = interruption
        .in_flight
        .iter()
        .filter_map(|now| {
            let before = operation.in_flight.iter().find(|before| before.address == now.address)?;
            Some(format!("{} ({} s, then {} s)", now.address, before.seconds, now.seconds))
        })
        .collect();
    let stuck = interruption.finished == 0 && !again.is_empty();
    stuck.then(|| Failure::new(Code::ExceedsBudget, format!("a run is too short for {}", again.join(", "))))
}

/// What a report has come to.
pub(crate) enum Reported {
    /// The operation has ended.
    Ended {
        ended: Box<Ended>,
        /// True where others wait for its resource.
        is_waited_for: bool,
    },
    /// It was given back.
    GivenBack,
    /// It is somebody else's.
    Lost,
}

impl<P: Ports> Engine<P> {
    /// Commits how a job ended; `known` is its resource, where it need not be read. [`Error::Conflict`]: read again; the
    /// outcome stays what it is.
    pub(crate) async fn report(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        job: &Job,
        ran: &Ran,
        known: Option<Versioned<Resource>>,
    ) -> Result<Reported, Error> {
        let read = match known {
            Some(known) => known,
            None => {
                let read = self.read::<Resource>(caller.organisation(), Item::Resource(job.resource.id)).await?;
                read.ok_or_else(|| StoreError::Unreadable(format!("the resource {} is gone", job.resource.id)))?
            }
        };
        let ours = read
            .reservation
            .as_ref()
            .is_some_and(|reservation| reservation.operation == job.operation && reservation.epoch == job.epoch);
        if !ours && !Mutant::ReportWithoutLease.lives() {
            return Err(StoreError::Unreadable(format!("the reservation of {} is not ours", read.id)).into());
        }
        let is_waited_for = read.waiters > 0;
        let mut draft = self.draft(caller, Some(job.deployment));
        let met = Met::of(&mut draft, claimed, read, ran);
        let started = claimed.lease.as_ref().is_some_and(|lease| lease.terraform_started_at.is_some());
        let met = if started && !matches!(ran.outcome, JobOutcome::WouldReplace(_)) { met.touched() } else { met };
        let now = draft.now();
        let operation = match &ran.outcome {
            JobOutcome::Done(produced) if job.during == During::Destroy => {
                self.report_destroyed(caller, claimed, draft, met, produced).await?
            }
            JobOutcome::Done(produced) => match refuse_large(&produced.outputs) {
                None => self.report_made(caller, claimed, job, draft, met, produced).await?,
                Some(failure) => report_failed(claimed, draft, met, OperationEvent::Failed, failure).await?,
            },
            JobOutcome::WouldReplace(objects) => {
                let detail = format!(
                    "the plan for {} deletes or replaces {}; say allowReplace: [{:?}] to let it",
                    met.resource.name,
                    objects.join(", "),
                    claimed.operation.resource
                );
                let failure = Failure { during: Some(job.during), ..Failure::new(Code::WouldReplace, detail) };
                report_failed(claimed, draft, met, OperationEvent::Failed, failure).await?
            }
            JobOutcome::Failed(failure) => {
                let failure = Failure { during: Some(job.during), ..failure.clone() };
                report_failed(claimed, draft, met, OperationEvent::Failed, failure).await?
            }
            JobOutcome::Hindered(_) | JobOutcome::Interrupted(_)
                if is_stopped(&claimed.deployment, &claimed.operation) =>
            {
                let failure = Failure { during: Some(job.during), ..stopped() };
                report_failed(claimed, draft, met, OperationEvent::Cancelled, failure).await?
            }
            JobOutcome::Hindered(failure) => {
                let failure = Failure { during: Some(job.during), ..failure.clone() };
                match exhausted(&claimed.operation, now) {
                    Some(limit) => {
                        let detail = format!("{}; the last time: {}", limit.detail, failure.detail);
                        let failure = Failure { code: limit.code, detail, ..failure };
                        report_failed(claimed, draft, met, OperationEvent::Expired, failure).await?
                    }
                    None => {
                        let most = FIRST_BACKOFF.saturating_mul(1 << claimed.operation.attempts.min(8)) / 2;
                        let wait = most.min(LONGEST_BACKOFF).mul_f64(self.clock.chance());
                        self.report_unfinished(claimed, draft, met, wait, |operation| {
                            operation.error = Some(failure.clone())
                        })
                        .await?;
                        return Ok(Reported::GivenBack);
                    }
                }
            }
            JobOutcome::Interrupted(interruption) => {
                let stop = self.settings.timings.stop_before_deadline;
                let timed = started && job.deadline.is_some_and(|deadline| now + stop >= deadline);
                let budget = over_budget(&claimed.operation, interruption).filter(|_| timed);
                let handed_over = budget.is_some() && self.settings.workers;
                let end = match budget {
                    Some(_) if handed_over => None,
                    Some(failure) => Some((OperationEvent::Failed, failure)),
                    None => exhausted(&claimed.operation, now).map(|failure| (OperationEvent::Expired, failure)),
                };
                if let Some((event, failure)) = end {
                    let failure = Failure { during: Some(job.during), ..failure };
                    report_failed(claimed, draft, met.touched(), event, failure).await?
                } else {
                    let change = |operation: &mut Operation| {
                        if timed {
                            operation.in_flight = interruption.in_flight.clone();
                        }
                        if handed_over {
                            operation.executor = ExecutorKind::Worker;
                            // A worker has all of the time again.
                            operation.ran_seconds = 0;
                        }
                    };
                    self.report_unfinished(claimed, draft, met, Duration::ZERO, change).await?;
                    tracing::info!(
                        outcome = "interruption",
                        inFlight = interruption.in_flight.len(),
                        handedOver = handed_over,
                        "a run stopped"
                    );
                    return Ok(Reported::GivenBack);
                }
            }
        };
        Ok(Reported::Ended { ended: Box::new(claimed.ended(operation)), is_waited_for })
    }

    async fn report_made(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        job: &Job,
        mut draft: Draft<'_, P>,
        met: Met,
        produced: &Produced,
    ) -> Result<Versioned<Operation>, Error> {
        let Met { read, mut resource, operation } = met;
        let id = read.id;
        let mut operation = Operation { changes: produced.changes, ..operation };
        let (shown, hidden): (BTreeMap<_, _>, BTreeMap<_, _>) =
            produced.outputs.iter().partition(|(_, (_, sensitive))| !sensitive);
        let values = hidden.iter().map(|(name, (value, _))| ((*name).clone(), value.clone())).collect();
        let object = self.hide(format!("resources/{id}/outputs/{}-{}", job.operation, job.epoch), values).await?;
        operation.pending_objects.extend(object.clone());
        let outputs = Outputs {
            resource: id,
            values: shown.into_iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect(),
            sensitive: hidden.into_keys().cloned().collect(),
            object,
        };
        let items = [Item::Outputs(id), Item::Parameters(id)];
        // What was made just now has no outputs yet, and has its parameters.
        let mut batch = match job.fresh {
            true => Batch::default(),
            false => self.batch(caller.organisation(), items.to_vec()).await?,
        };
        let before: Option<Versioned<Outputs>> = batch.take(&items[0])?;
        let stored: Option<Versioned<Parameters>> = batch.take(&items[1])?;

        let dropped: Vec<ResourceId> =
            read.depends_on.iter().filter(|id| !job.depends_on.contains(id)).copied().collect();
        let edges = self.edges(caller, claimed, &mut draft, &read, &dropped).await?;
        draft.put(before.as_ref(), outputs);
        if let Some(parameters) = &job.parameters {
            draft.put(stored.as_ref(), parameters.clone());
        }
        resource.take(ResourceEvent::Settled, draft.now())?;
        resource.version = Some(job.template.version.clone());
        resource.reservation = None;
        draft.append(claimed, edges);
        let (effect, action) = match job.during {
            During::Create => (Effect::Created, "resource.created"),
            During::Update | During::Destroy => (Effect::Updated, "resource.updated"),
        };
        draft.audit_resource(&resource, action);
        draft.update(&read, resource);
        let operation = draft.succeed(claimed, operation, effect)?;
        draft.commit().await?;
        Ok(operation)
    }

    async fn report_destroyed(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        mut draft: Draft<'_, P>,
        met: Met,
        produced: &Produced,
    ) -> Result<Versioned<Operation>, Error> {
        let Met { read, resource, operation } = met;
        let edges = self.edges(caller, claimed, &mut draft, &read, &read.depends_on).await?;
        self.erase(caller, &mut draft, &read, resource).await?;
        draft.append(claimed, edges);
        let operation = Operation { changes: produced.changes, ..operation };
        let operation = draft.succeed(claimed, operation, Effect::Destroyed)?;
        draft.commit().await?;
        Ok(operation)
    }

    /// Writes that a resource (`read`, with what else is to change of it) is gone, and removes everything that belongs to it.
    pub(crate) async fn erase(
        &self,
        caller: &Caller,
        draft: &mut Draft<'_, P>,
        read: &Versioned<Resource>,
        mut resource: Resource,
    ) -> Result<(), Error> {
        let organisation = caller.organisation();
        let id = read.id;
        let consumers: Vec<Versioned<Consumer>> = self.list_all(organisation, &Set::Consumers(id)).await?;
        let mut items = vec![
            Item::Identity(read.identity.clone()),
            Item::Resident(read.environment.clone(), id),
            Item::Outputs(id),
            Item::Parameters(id),
        ];
        items.extend(read.candidacies().map(|key| Item::Candidate(key, read.created_at, id)));
        for pool in read.pool.iter() {
            items.extend([true, false].map(|free| Item::Member(pool.clone(), free, id)));
        }
        items.extend(consumers.iter().filter_map(|consumer| match &consumer.key {
            ConsumerKey::Workload(key) => Some(Item::Holding(key.clone())),
            ConsumerKey::Resource { .. } | ConsumerKey::Api { .. } | ConsumerKey::Pool(_) => None,
        }));
        let found = self.records.get_many(organisation, &items).await?;
        for one in found.into_iter().flatten() {
            let of_another = match &one.value {
                Record::Identified(identified) => identified.resource != id,
                Record::Holding(holding) => holding.resource != id,
                _ => false,
            };
            if !of_another {
                draft.remove(&one);
            }
        }
        for consumer in &consumers {
            draft.delete(consumer);
            if let ConsumerKey::Resource { resource } = &consumer.key
                && let Some(dependent) = self.read::<Resource>(organisation, Item::Resource(*resource)).await?
            {
                draft.update(&dependent, without(&dependent, id));
            }
        }
        resource.take(ResourceEvent::Destroyed, draft.now())?;
        resource.reservation = None;
        (resource.consumers, resource.dependents) = (0, 0);
        draft.audit_resource(&resource, "resource.destroyed");
        draft.update(read, resource);
        Ok(())
    }

    /// The releases that remove a resource's edges to what it depends on no more. Until they have run the edges stay, marked
    /// as leaving. Where the deployment itself is about to release one of those, that waits for the edge.
    pub(crate) async fn edges(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        draft: &mut Draft<'_, P>,
        resource: &Resource,
        dropped: &[ResourceId],
    ) -> Result<Vec<Appended>, Error> {
        if dropped.is_empty() {
            return Ok(Vec::new());
        }
        let organisation = caller.organisation();
        let waiting: Vec<Item> =
            claimed.operation.dependents.iter().map(|number| Item::Operation(claimed.deployment.id, *number)).collect();
        let waiting = self.read_all::<Operation>(organisation, &waiting).await?;
        let mut waiting: Vec<Versioned<Operation>> =
            waiting.into_iter().flatten().filter(|operation| operation.status == OperationStatus::Waiting).collect();
        let key = ConsumerKey::Resource { resource: resource.id };
        let items: Vec<Item> = dropped.iter().map(|id| Item::Consumer(*id, key.clone())).collect();
        for edge in self.read_all::<Consumer>(organisation, &items).await?.into_iter().flatten() {
            draft.update(&edge, Consumer { leaving: Some(claimed.operation.id), ..edge.value.clone() });
        }
        let items: Vec<Item> = dropped.iter().map(|id| Item::Resource(*id)).collect();
        let dependencies = self.read_all::<Resource>(organisation, &items).await?;
        Ok(dependencies
            .into_iter()
            .flatten()
            .map(|dependency| {
                let same = |operation: &Versioned<Operation>| match &operation.request {
                    Request::Release(request) => request.resource == dependency.id,
                    Request::Acquire(_) => false,
                };
                let before = waiting.iter().position(same).map(|index| waiting.swap_remove(index));
                Appended {
                    name: dependency.name.clone(),
                    kind: dependency.template.kind().to_owned(),
                    request: ReleaseRequest { resource: dependency.id, consumer: Some(key.clone()) },
                    before,
                }
            })
            .collect())
    }

    /// Gives the operation back; the next claim goes on from the stored state.
    async fn report_unfinished(
        &self,
        claimed: &Claimed,
        mut draft: Draft<'_, P>,
        met: Met,
        wait: Duration,
        change: impl FnOnce(&mut Operation),
    ) -> Result<(), Error> {
        let Met { read, resource, mut operation } = met;
        let now = draft.now();
        operation.take(OperationEvent::Returned, now)?;
        if wait > Duration::ZERO {
            operation.not_before = Some(now + wait);
        }
        change(&mut operation);
        draft.charge(claimed, &mut operation);
        draft.wake_after(&operation, wait);
        if resource != read.value {
            draft.update(&read, resource);
        }
        draft.end_claim(claimed, operation);
        draft.commit().await
    }
}

/// A resource and an operation with what a run met beside its outcome.
struct Met {
    read: Versioned<Resource>,
    resource: Resource,
    operation: Operation,
}

impl Met {
    fn of<P: Ports>(draft: &mut Draft<'_, P>, claimed: &Claimed, read: Versioned<Resource>, ran: &Ran) -> Self {
        let mut resource = read.value.clone();
        let mut operation = claimed.operation.value.clone();
        let now = draft.now();
        let mut warn = |code: Code, detail: String| {
            let action = match code {
                Code::LockReleased => "resource.lockReleased",
                Code::StateRecovered => "resource.stateRecovered",
                _ => "resource.stateMayBeIncomplete",
            };
            draft.audit(Subject::Resource(read.id), action, Some(detail.clone()));
            operation.warnings.push(Warning { code, detail });
        };
        if let Some(lock) = &ran.lock_released {
            warn(Code::LockReleased, format!("the lock {lock} of a run that was left behind was removed"));
        }
        if ran.recovered {
            warn(Code::StateRecovered, "a state that could not be stored before was pushed".to_owned());
        }
        let told = claimed.lease.as_ref().map_or(&[][..], |lease| &lease.unstored);
        let missed = [told, ran.unstored.as_slice()].concat();
        let new = resource.miss(&missed, claimed.deployment.id, now);
        if !new.is_empty() {
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            let warning = unstored_warning(&new);
            warn(warning.code, warning.detail);
        }
        if ran.started {
            resource.errored_state = ran.errored_state.clone();
            match &mut resource.left_behind {
                // Nobody has looked for it: all of it stays for the next run.
                Some(_) if !ran.looked => {}
                // The lock may still be there.
                Some(left)
                    if !ran.lock_gone
                        && matches!(ran.outcome, JobOutcome::Hindered(_) | JobOutcome::Interrupted(_)) =>
                {
                    left.begun.clear();
                }
                left => *left = None,
            }
            if ran.lock_left {
                let (operation, epoch) = (claimed.operation.id, claimed.operation.epoch);
                resource.left_behind.get_or_insert(LeftBehind { operation, epoch, at: now, begun: Vec::new() });
            }
        }
        Self { read, resource, operation }
    }

    /// Terraform may have changed something.
    fn touched(mut self) -> Self {
        if let Some(reservation) = &mut self.resource.reservation {
            reservation.untouched = false;
        }
        self
    }
}

async fn report_failed<P: Ports>(
    claimed: &Claimed,
    mut draft: Draft<'_, P>,
    met: Met,
    event: OperationEvent,
    failure: Failure,
) -> Result<Versioned<Operation>, Error> {
    let Met { read, resource, operation } = met;
    let resource = freed(resource, draft.now())?;
    if resource.status == ResourceStatus::Failed {
        draft.audit_resource(&resource, "resource.failed");
    }
    draft.update(&read, resource);
    let operation = draft.fail(claimed, operation, event, failure)?;
    draft.commit().await?;
    Ok(operation)
}

fn refuse_large(outputs: &BTreeMap<String, (Value, bool)>) -> Option<Failure> {
    let sizes: Vec<(&String, usize)> =
        outputs.iter().map(|(name, (value, _))| (name, value.to_string().len())).collect();
    if let Some((name, size)) = sizes.iter().find(|(_, size)| *size > MAX_OUTPUT) {
        return Some(Failure::new(
            Code::OutputTooLarge,
            format!("the output {name} has {size} bytes; {MAX_OUTPUT} are allowed"),
        ));
    }
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    (total > MAX_OUTPUTS).then(|| {
        Failure::new(Code::OutputTooLarge, format!("the outputs have {total} bytes; {MAX_OUTPUTS} are allowed"))
    })
}

#[cfg(test)]
mod tests {
    use conductor_domain::operation::InFlight;

    use super::*;
    use crate::settle::tests::waiting;

    #[test]
    fn a_run_is_too_short_for_what_was_in_flight_twice_and_nothing_else_got_done() {
        let object = |address: &str, seconds: u64| InFlight { address: address.to_owned(), seconds };
        let check = |before: &[InFlight], now: &[InFlight], finished: u32, expect: Option<&str>| {
            let operation = Operation { in_flight: before.to_vec(), ..waiting(&[], false) };
            let interruption = Interruption { in_flight: now.to_vec(), finished };
            let found = over_budget(&operation, &interruption);
            assert_eq!(found.as_ref().map(|failure| failure.detail.as_str()), expect);
            assert!(found.is_none_or(|failure| failure.code == Code::ExceedsBudget));
            let worker = Operation { executor: ExecutorKind::Worker, ..operation };
            assert_eq!(over_budget(&worker, &interruption), None);
        };
        check(&[], &[object("a", 30)], 0, None);
        check(&[object("a", 20)], &[object("b", 30)], 0, None);
        check(&[object("a", 20)], &[object("a", 30)], 1, None);
        let named = "a run is too short for a (20 s, then 30 s)";
        check(&[object("a", 20), object("c", 1)], &[object("a", 30), object("b", 2)], 0, Some(named));
    }
}
