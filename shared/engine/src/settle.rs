//! Settling: looks at how things are and says what to write. It never asks what happened, only what is, so calling it
//! twice is harmless.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::consumer::ConsumerKey;
use conductor_domain::deployment::{Deployment, DeploymentEvent, DeploymentStatus, Ending, Releases, ending};
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::lane::{Lane, LaneOf, LanePlace};
use conductor_domain::operation::{Operation, OperationEvent, OperationStatus, Request, WaitingFor};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Resource, Waiter};

use crate::claim::Ended;
use crate::log::nothing_said;
use crate::mutant::Mutant;
use crate::pools::Patience;
use crate::port::{Clock, Objects, Ports, Versioned, Wake};
use crate::record::{Item, Open, Set, Subject};
use crate::start::{counts, used};
use crate::{Engine, Error};

/// What an operation that waits for its dependencies becomes, given how those stand. `None`: it goes on waiting.
pub(crate) fn decide(
    operation: &Operation,
    releases: Releases,
    status_of: impl Fn(u32) -> Option<OperationStatus>,
) -> Option<OperationEvent> {
    if operation.status != OperationStatus::Waiting || operation.waiting_for != Some(WaitingFor::Dependencies) {
        return None;
    }
    let mut open = operation.after_acquires && releases == Releases::Undecided;
    let mut lost = operation.after_acquires && releases == Releases::Skip && !removes_edge(operation);
    for number in &operation.depends_on {
        match status_of(*number) {
            Some(OperationStatus::Succeeded) => {}
            Some(OperationStatus::TimedOut | OperationStatus::Cancelled) if Mutant::SettleForgetsState.lives() => {
                open = true;
            }
            Some(status) if status.is_final() => lost |= operation.needs(*number),
            Some(_) | None => open = true,
        }
    }
    match (lost, open) {
        (true, _) => Some(OperationEvent::Orphaned),
        (false, false) => Some(OperationEvent::Unblocked),
        (false, true) => None,
    }
}

/// A dependency that is no more is let go also where the deployment fails: what depended on it has changed already.
pub(crate) fn removes_edge(operation: &Operation) -> bool {
    match &operation.request {
        Request::Release(request) => matches!(request.consumer, Some(ConsumerKey::Resource { .. })),
        Request::Acquire(_) => false,
    }
}

/// What settling moved on: who can be claimed now, and who was skipped and has to be told to others.
#[derive(Default)]
struct Moved {
    wakes: Vec<Wake>,
    skipped: Vec<u32>,
}

impl Moved {
    fn take(&mut self, step: &mut Moved) {
        self.wakes.append(&mut step.wakes);
        self.skipped.append(&mut step.skipped);
    }
}

/// Whether the releases may start, once all acquires have ended.
fn gate(operations: &[Versioned<Operation>], acquires: u32) -> Releases {
    let mut acquires = operations.iter().filter(|operation| operation.number <= acquires);
    if acquires.all(|operation| operation.status == OperationStatus::Succeeded) { Releases::Go } else { Releases::Skip }
}

impl<P: Ports> Engine<P> {
    /// Tells the end of an operation to those that wait for it. Only they and what they depend on are read.
    pub(crate) async fn settle_operation(
        &self,
        caller: &Caller,
        id: DeploymentId,
        number: u32,
    ) -> Result<Vec<Wake>, Error> {
        let mut moved = Moved { skipped: vec![number], ..Moved::default() };
        while let Some(number) = moved.skipped.pop() {
            let mut tries = self.tries();
            while let Err(error) = self.try_settle_operation(caller, id, number, &mut moved).await {
                match error {
                    Error::Conflict => self.again(&mut tries).await?,
                    error => return Err(error),
                }
            }
        }
        Ok(moved.wakes)
    }

    async fn try_settle_operation(
        &self,
        caller: &Caller,
        id: DeploymentId,
        number: u32,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let organisation = caller.organisation();
        let items = [Item::Operation(id, number), Item::Deployment(id)];
        let mut batch = self.batch(organisation, items.to_vec()).await?;
        let operation: Option<Versioned<Operation>> = batch.take(&items[0])?;
        let deployment: Option<Versioned<Deployment>> = batch.take(&items[1])?;
        let (Some(operation), Some(deployment)) = (operation, deployment) else { return Ok(()) };
        if !operation.status.is_final() || operation.settled {
            return Ok(());
        }
        let waiting = self.operations(caller, id, &operation.dependents).await?;
        let before: BTreeSet<u32> =
            waiting.iter().flat_map(|waiting| &waiting.depends_on).copied().filter(|n| *n != number).collect();
        let mut statuses: BTreeMap<u32, OperationStatus> =
            self.operations(caller, id, &before).await?.iter().map(|o| (o.number, o.status)).collect();
        statuses.insert(number, operation.status);
        for object in &operation.pending_objects {
            self.vault.keep(object).await?;
        }
        self.advance(caller, &deployment, &waiting, |number| statuses.get(&number).copied(), moved).await?;
        let mut draft = self.draft(caller, Some(id));
        let settled = Operation { settled: true, pending_objects: Vec::new(), ..operation.value.clone() };
        draft.update(&operation, settled);
        draft.commit().await
    }

    async fn operations(
        &self,
        caller: &Caller,
        id: DeploymentId,
        numbers: &BTreeSet<u32>,
    ) -> Result<Vec<Versioned<Operation>>, Error> {
        let items: Vec<Item> = numbers.iter().map(|number| Item::Operation(id, *number)).collect();
        let found = self.read_all::<Operation>(caller.organisation(), &items).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Readies or skips those of the given operations that no longer wait.
    async fn advance(
        &self,
        caller: &Caller,
        deployment: &Deployment,
        waiting: &[Versioned<Operation>],
        status_of: impl Fn(u32) -> Option<OperationStatus>,
        moved: &mut Moved,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut step = Moved::default();
        let events: Vec<(&Versioned<Operation>, OperationEvent)> =
            waiting.iter().filter_map(|read| Some((read, decide(read, deployment.releases, &status_of)?))).collect();
        let skipped = events.iter().filter(|(_, event)| *event == OperationEvent::Orphaned);
        let markers: Vec<Item> = skipped.map(|(read, _)| Item::Open(deployment.id, read.number)).collect();
        let markers = self.read_all::<Open>(caller.organisation(), &markers).await?;
        let markers: BTreeMap<u32, Versioned<Open>> =
            markers.into_iter().flatten().map(|marker| (marker.number, marker)).collect();
        let mut draft = self.draft(caller, Some(deployment.id));
        for (read, event) in events {
            let mut operation = read.value.clone();
            operation.take(event, now)?;
            match operation.status {
                OperationStatus::Ready => step.wakes.push(self.wake(caller, &operation)),
                _ => {
                    if let Some(marker) = markers.get(&operation.number) {
                        draft.delete(marker);
                    }
                    step.skipped.push(operation.number);
                }
            }
            draft.update(read, operation);
            if draft.room() < 2 {
                let full = std::mem::replace(&mut draft, self.draft(caller, Some(deployment.id)));
                full.commit().await?;
                moved.take(&mut step);
            }
        }
        draft.commit().await?;
        moved.take(&mut step);
        Ok(())
    }

    /// Moves a deployment on: starts it, decides its releases, or ends it. Reads its operations only for the last two.
    pub(crate) async fn settle_deployment(&self, caller: &Caller, id: DeploymentId) -> Result<Vec<Wake>, Error> {
        self.settle_until_done(caller, id, false).await
    }

    /// Settles everything that hangs on an operation that has just ended here.
    ///
    /// What was read of its deployment before is taken for what is there, once. Where there is something to write, the
    /// commit fails if it is not so any more, and the deployment is read. Where there is not, others are at it, or a cancel
    /// is: who wrote that looks at all operations after it.
    pub(crate) async fn settle_ended(&self, caller: &Caller, ended: Ended) -> Result<Vec<Wake>, Error> {
        let Ended { deployment, operation } = ended;
        let id = deployment.id;
        let mut wakes = match operation.settled {
            true => Vec::new(),
            false => self.settle_operation(caller, id, operation.number).await?,
        };
        let is_known = deployment.status == DeploymentStatus::InProgress && deployment.cancel.is_none();
        let settled = match (is_known, deployment.operations) {
            (false, _) => Err(Error::Conflict),
            // It was the only one.
            (true, 1) => Box::pin(self.end_planned(caller, &deployment, &[operation])).await,
            (true, _) => Box::pin(self.move_on(caller, deployment, false)).await,
        };
        wakes.extend(match settled {
            Err(Error::Conflict) => self.settle_deployment(caller, id).await?,
            settled => settled?,
        });
        Ok(wakes)
    }

    /// The same, looking at every operation: what the sweeper does.
    pub(crate) async fn settle_whole(&self, caller: &Caller, id: DeploymentId) -> Result<Vec<Wake>, Error> {
        self.settle_until_done(caller, id, true).await
    }

    async fn settle_until_done(&self, caller: &Caller, id: DeploymentId, whole: bool) -> Result<Vec<Wake>, Error> {
        let mut tries = self.tries();
        loop {
            // Boxed: a deployment without operations is started and ended in one go.
            match Box::pin(self.try_settle_deployment(caller, id, whole)).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_settle_deployment(&self, caller: &Caller, id: DeploymentId, whole: bool) -> Result<Vec<Wake>, Error> {
        let organisation = caller.organisation();
        let Some(deployment) = self.read::<Deployment>(organisation, Item::Deployment(id)).await? else {
            return Ok(Vec::new());
        };
        match deployment.status {
            DeploymentStatus::Pending => return self.start(caller, id).await,
            DeploymentStatus::InProgress => {}
            DeploymentStatus::Succeeded
            | DeploymentStatus::Failed
            | DeploymentStatus::Cancelled
            | DeploymentStatus::TimedOut => {
                // What the sweeper wakes somebody for, a while after the end: the lines are in the table until then.
                if whole {
                    self.archive(caller, &deployment).await?;
                }
                return Ok(Vec::new());
            }
        }
        if let Some(cancel) = deployment.cancel.clone() {
            return self.settle_cancelled(caller, deployment, &cancel, whole).await;
        }
        self.move_on(caller, deployment, whole).await
    }

    /// Moves a deployment on that is in progress and is not to stop.
    async fn move_on(
        &self,
        caller: &Caller,
        deployment: Versioned<Deployment>,
        whole: bool,
    ) -> Result<Vec<Wake>, Error> {
        let (organisation, id) = (caller.organisation(), deployment.id);
        let open: Vec<Versioned<Open>> = self.list_first(organisation, &Set::Open(id), 1).await?;
        let acquires_over = open.first().is_none_or(|open| open.number > deployment.acquires);
        let decides = deployment.releases == Releases::Undecided && acquires_over && !open.is_empty();
        if !open.is_empty() && !decides && !whole {
            return Ok(Vec::new());
        }
        let operations: Vec<Versioned<Operation>> = self.list_all(organisation, &Set::Operations(id)).await?;
        if open.is_empty() {
            return self.end_planned(caller, &deployment, &operations).await;
        }
        let mut current = deployment;
        if decides {
            let mut draft = self.draft(caller, Some(id));
            let releases = gate(&operations, current.acquires);
            current = draft.update(&current, Deployment { releases, ..current.value.clone() });
            draft.commit().await?;
        }
        self.advance_all(caller, &current, &operations).await
    }

    /// Readies or skips what no longer waits, given all operations, or all that matter to these.
    pub(crate) async fn advance_all(
        &self,
        caller: &Caller,
        deployment: &Deployment,
        operations: &[Versioned<Operation>],
    ) -> Result<Vec<Wake>, Error> {
        let id = deployment.id;
        let statuses: BTreeMap<u32, OperationStatus> = operations.iter().map(|o| (o.number, o.status)).collect();
        let mut moved = Moved::default();
        let advanced =
            self.advance(caller, deployment, operations, |number| statuses.get(&number).copied(), &mut moved).await;
        let Moved { mut wakes, skipped } = moved;
        for number in &skipped {
            wakes.extend(self.settle_operation(caller, id, *number).await?);
        }
        if !skipped.is_empty() && advanced.is_ok() {
            wakes.extend(Box::pin(self.try_settle_deployment(caller, id, false)).await?);
        }
        match advanced {
            // What was moved before the race was lost stays moved, and nobody else knows of it.
            Err(Error::Conflict) => {
                self.send(&wakes).await;
                Err(Error::Conflict)
            }
            advanced => advanced.map(|()| wakes),
        }
    }

    /// Keeps the objects that a recorded deployment names; whoever looks at it may do so.
    pub(crate) async fn keep_objects(&self, deployment: &Deployment) -> Result<(), Error> {
        for object in [&deployment.score, &deployment.secrets].into_iter().flatten() {
            self.vault.keep(object).await?;
        }
        Ok(())
    }

    async fn end_planned(
        &self,
        caller: &Caller,
        read: &Versioned<Deployment>,
        operations: &[Versioned<Operation>],
    ) -> Result<Vec<Wake>, Error> {
        let mut deployment = read.value.clone();
        let end = ending(operations.iter().map(|operation| operation.status));
        deployment.take(DeploymentEvent::Ended(end), self.clock.now())?;
        deployment.operation_counts = counts(operations.iter().map(|operation| &operation.value));
        deployment.usage = used(operations.iter().map(|operation| &operation.value));
        deployment.log = nothing_said(operations);
        deployment.error = match end {
            Ending::Succeeded => None,
            Ending::Failed | Ending::Cancelled | Ending::TimedOut => {
                operations.iter().find_map(|operation| operation.error.clone())
            }
        };
        self.end(caller, read, deployment).await
    }

    /// Commits the end of a deployment, gives its lane to the next one, and wakes that.
    pub(crate) async fn end(
        &self,
        caller: &Caller,
        read: &Versioned<Deployment>,
        ended: Deployment,
    ) -> Result<Vec<Wake>, Error> {
        let organisation = caller.organisation();
        let items = [Item::Lane(ended.lane.clone()), Item::LanePlace(ended.lane.clone(), ended.number)];
        let mut batch = self.batch(organisation, items.to_vec()).await?;
        let lane: Option<Versioned<Lane>> = batch.take(&items[0])?;
        let own: Option<Versioned<LanePlace>> = batch.take(&items[1])?;
        // Who comes next has a place, and where nobody has come since there is none.
        let places: Vec<Versioned<LanePlace>> = match &lane {
            Some(lane) if lane.current == Some(ended.id) && lane.next > ended.number + 1 => {
                self.list_first(organisation, &Set::LanePlaces(ended.lane.clone()), 2).await?
            }
            _ => Vec::new(),
        };
        let next = places.iter().map(|place| place.deployment).find(|id| *id != ended.id);
        let following: Option<Versioned<Deployment>> = match next {
            Some(next) => self.read(organisation, Item::Deployment(next)).await?,
            None => None,
        };
        let mut draft = self.draft(caller, Some(ended.id));
        // Who has waited long is looked at seldom. Now it is due at once, should the wake-up be lost.
        following.iter().for_each(|following| draft.touch(following));
        if let Some(place) = &own {
            draft.delete(place);
        }
        match &lane {
            Some(lane) if lane.current == Some(ended.id) => {
                // Whose turn it is now may be cancelled at this moment.
                places.iter().filter(|place| Some(place.deployment) == next).for_each(|place| draft.check(place));
                match (&lane.key.of, next) {
                    // Nobody submits there any more once the resource is gone, and whoever does makes it anew.
                    (LaneOf::Resource(_), None) => draft.delete(lane),
                    _ => {
                        draft.update(lane, Lane { current: next, ..lane.value.clone() });
                    }
                }
            }
            Some(lane) => draft.check(lane),
            None => {}
        }
        let action = match ended.status {
            DeploymentStatus::Succeeded => "deployment.succeeded",
            DeploymentStatus::Failed => "deployment.failed",
            DeploymentStatus::Cancelled => "deployment.cancelled",
            DeploymentStatus::TimedOut => "deployment.timedOut",
            DeploymentStatus::Pending | DeploymentStatus::InProgress => "deployment.changed",
        };
        draft.audit(Subject::Deployment(ended.id), action, None);
        // What failed is tried again by the sweeper, which waits longer each time.
        let pool = ended.lane.pool().filter(|_| ended.status == DeploymentStatus::Succeeded);
        draft.update(read, ended);
        draft.commit().await?;
        if let Some(pool) = pool {
            // Boxed: what a pool lacks now is a deployment that ends like this one.
            Box::pin(self.settle_pool(caller, &pool, Patience::Later)).await;
        }
        Ok(next.map(|next| self.wake_settle(caller, next)).into_iter().collect())
    }

    /// Lets those go on that wait for a resource which nobody has reserved any more.
    pub(crate) async fn settle_resource(&self, caller: &Caller, id: ResourceId) -> Result<Vec<Wake>, Error> {
        let mut wakes = Vec::new();
        let mut tries = self.tries();
        loop {
            match self.try_settle_resource(caller, id).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                Err(error) => return Err(error),
                Ok(None) => return Ok(wakes),
                Ok(Some(more)) => wakes.extend(more),
            }
        }
    }

    /// Readies as many waiters as fit in a commit; `None` where there is nothing to do.
    async fn try_settle_resource(&self, caller: &Caller, id: ResourceId) -> Result<Option<Vec<Wake>>, Error> {
        /// Changes for a waiter: itself and its operation.
        const WAITERS_AT_ONCE: u32 = 40;
        let organisation = caller.organisation();
        let Some(resource) = self.read::<Resource>(organisation, Item::Resource(id)).await? else { return Ok(None) };
        if resource.reservation.is_some() || resource.waiters == 0 {
            return Ok(None);
        }
        let waiters: Vec<Versioned<Waiter>> = self.list_first(organisation, &Set::Waiters(id), WAITERS_AT_ONCE).await?;
        let items: Vec<Item> = waiters.iter().map(|w| Item::Operation(w.deployment, w.number)).collect();
        let operations = self.read_all::<Operation>(organisation, &items).await?;
        let mut draft = self.draft(caller, None);
        let mut wakes = Vec::new();
        for (waiter, operation) in waiters.iter().zip(operations) {
            draft.delete(waiter);
            let Some(read) = operation else { continue };
            if read.status == OperationStatus::Waiting && read.waiting_for == Some(WaitingFor::Resource) {
                let mut operation = read.value.clone();
                operation.take(OperationEvent::Unblocked, self.clock.now())?;
                wakes.push(self.wake(caller, &operation));
                draft.update(&read, operation);
            }
        }
        // Counts what is there, so that a count that is wrong for whatever reason does not stay so.
        let left = if waiters.len() < WAITERS_AT_ONCE as usize {
            0
        } else {
            resource.waiters.saturating_sub(waiters.len() as u32).max(1)
        };
        draft.update(&resource, Resource { waiters: left, ..resource.value.clone() });
        draft.commit().await?;
        Ok(Some(wakes))
    }
}

#[cfg(test)]
pub(crate) mod tests;
