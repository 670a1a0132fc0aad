//! Operations, with their markers, leases, waiters and reservations.

use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::operation::{Lease, Operation, OperationStatus, WaitingFor};
use conductor_domain::resource::Resource;
use conductor_engine::Item;

use super::{Change, Checker, Look, change};
use crate::clock::time_of_day;
use crate::memory::{Kept, Written};
use crate::trace::Violation;
use crate::world::Kind;

impl Checker {
    pub(super) fn operation(&mut self, look: &Look<'_>, written: &Written) -> Result<(), Violation> {
        let Change { before, after } = change::<Operation>(look, written);
        let Some(after) = after else {
            return Err(Violation::new("final_statuses_stay", format!("{:?} is gone", written.item)));
        };
        if let Some(before) = before {
            if before.status.is_final() && before.status != after.status {
                let detail = format!("{:?} was {:?} and is {:?}", written.item, before.status, after.status);
                return Err(Violation::new("final_statuses_stay", detail));
            }
            // Who ends one that is Ready, or lets it wait, has claimed it in the same commit, or is no worker.
            let claimed = match (before.status, after.status) {
                (OperationStatus::Running, _) => false,
                (_, OperationStatus::Running) => true,
                (OperationStatus::Ready, _) => after.epoch > before.epoch,
                _ => false,
            };
            if after.epoch != before.epoch + u64::from(claimed) {
                let detail = format!("{:?}: epoch {} after {}", written.item, after.epoch, before.epoch);
                return Err(Violation::new("epochs_grow", detail));
            }
            if before.status == OperationStatus::Running && after.status != OperationStatus::Running {
                self.moved_by_holder(look, before)?;
            }
        }
        match after.resource_id {
            Some(resource) => self.reservation(look, resource),
            None => Ok(()),
        }
    }

    /// A worker moves only what it has a lease of; others only what has no lease that lives, or no time.
    fn moved_by_holder(&self, look: &Look<'_>, before: &Operation) -> Result<(), Violation> {
        let item = Item::Lease(before.deployment, before.number);
        let lease = look.written.iter().find(|written| written.item == item);
        let lease = lease.and_then(|written| written.before.as_ref()).and_then(Lease::of);
        let now = time_of_day(look.now, look.actor.skew);
        let may = match (look.actor.kind, lease) {
            (Kind::Worker, Some(lease)) => lease.worker == look.actor.name && lease.epoch == before.epoch,
            (_, Some(lease)) => lease.expires_at <= now || before.ends_at() <= now,
            (_, None) => false,
        };
        if may {
            return Ok(());
        }
        let detail = format!("{} moves {}#{} of {lease:?}", look.actor.name, before.deployment, before.number);
        Err(Violation::new("only_the_holder_moves_a_running_operation", detail))
    }

    /// There is a marker of each operation that has not ended, and of no other.
    pub(super) fn markers(&self, look: &Look<'_>, id: DeploymentId, number: u32) -> Result<(), Violation> {
        let operation = look.memory.peek::<Operation>(&Item::Operation(id, number));
        let open = operation.is_some_and(|operation| !operation.status.is_final());
        if open == look.memory.has(&Item::Open(id, number)) {
            return Ok(());
        }
        let status = operation.map(|operation| operation.status);
        let detail = format!("{id}#{number} is {status:?}, and its marker is {}", if open { "gone" } else { "there" });
        Err(Violation::new("markers_mirror_open_operations", detail))
    }

    /// There is a lease of each operation that runs, of its epoch, and of no other.
    pub(super) fn leases(&self, look: &Look<'_>, id: DeploymentId, number: u32) -> Result<(), Violation> {
        let operation = look.memory.peek::<Operation>(&Item::Operation(id, number));
        let running = operation.filter(|operation| operation.status == OperationStatus::Running);
        let lease = look.memory.peek::<Lease>(&Item::Lease(id, number));
        if running.map(|operation| operation.epoch) != lease.map(|lease| lease.epoch) {
            let detail =
                format!("{id}#{number} is {:?}, and its lease {lease:?}", operation.map(|o| (o.status, o.epoch)));
            return Err(Violation::new("leases_mirror_running_operations", detail));
        }
        Ok(())
    }

    /// There is one waiter of each operation that waits for a resource, and of no other.
    pub(super) fn waits(&self, look: &Look<'_>, id: DeploymentId, number: u32) -> Result<(), Violation> {
        let operation = look.memory.peek::<Operation>(&Item::Operation(id, number));
        let waits = operation.is_some_and(|operation| {
            operation.status == OperationStatus::Waiting && operation.waiting_for == Some(WaitingFor::Resource)
        });
        let waiters = self.waits.get(&(id, number)).copied().unwrap_or_default();
        if waiters == u32::from(waits) {
            return Ok(());
        }
        let stands = operation.map(|operation| (operation.status, operation.waiting_for));
        let detail = format!("{id}#{number} is {stands:?}, and has {waiters} waiters");
        Err(Violation::new("waiters_mirror_waiting_operations", detail))
    }

    /// A reservation is of an operation that runs, or is about to go on, or has ended and left a quarantine.
    pub(super) fn reservation(&self, look: &Look<'_>, id: ResourceId) -> Result<(), Violation> {
        let Some(resource) = look.memory.peek::<Resource>(&Item::Resource(id)) else { return Ok(()) };
        let Some(reservation) = &resource.reservation else { return Ok(()) };
        let owner = Item::Operation(reservation.deployment, reservation.number);
        let owner = look.memory.peek::<Operation>(&owner).filter(|owner| owner.id == reservation.operation);
        let goes_on = owner.is_some_and(|owner| match owner.status {
            OperationStatus::Running | OperationStatus::Ready => owner.epoch >= reservation.epoch,
            OperationStatus::Waiting => owner.waiting_for == Some(WaitingFor::Lock),
            status => status.is_final(),
        });
        if goes_on {
            return Ok(());
        }
        let stands = owner.map(|owner| (owner.status, owner.waiting_for, owner.epoch));
        let detail = format!("{} is reserved by {reservation:?}, which is {stands:?}", resource.name);
        Err(Violation::new("reservations_have_an_owner", detail))
    }
}
