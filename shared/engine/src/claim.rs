//! Claiming: a worker takes a Ready operation, with a new epoch. The claim is committed with what it comes to: the end of the
//! operation, or its wait, or the reservation and the lease under which terraform runs.

use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::ids::DeploymentId;
use conductor_domain::operation::{
    AcquireRequest, Effect, ExecutorKind, Failure, Lease, Operation, OperationEvent, OperationStatus, ReleaseRequest,
    Request, Requests, Usage,
};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use jiff::{SignedDuration, Timestamp};

use crate::cancel::is_stopped;
use crate::commit::Draft;
use crate::lease::LEASE_TIME;
use crate::log::shorten;
use crate::mutant::Mutant;
use crate::plan::appended_release;
use crate::port::{Clock, Ports, StoreError, Versioned};
use crate::record::{Item, Open, Subject};
use crate::{Engine, Error};

/// A message that comes so much too early is in time: clocks differ.
const EARLY: SignedDuration = SignedDuration::from_secs(2);
/// The longest detail of a failure, in bytes. It stands in the record twice: as its error and as its last step.
const MAX_DETAIL: usize = 8 * 1024;

/// An operation that is ours, with what every commit about it needs.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub deployment: Versioned<Deployment>,
    /// Running, in our epoch; until the first commit the version is that of the Ready one.
    pub operation: Versioned<Operation>,
    /// From the reservation on.
    pub lease: Option<Versioned<Lease>>,
    /// Who has claimed it.
    pub worker: String,
    pub marker: Versioned<Open>,
    /// What this process had asked for before the claim.
    pub metered: Requests,
}

impl Claimed {
    /// What it acquires; none where it releases.
    pub fn acquires(&self) -> Option<&AcquireRequest> {
        match &self.operation.request {
            Request::Acquire(request) => Some(request),
            Request::Release(_) => None,
        }
    }

    /// The lease under which a worker is about to run terraform.
    pub fn new_lease(&self, now: Timestamp) -> Lease {
        let operation = &self.operation;
        Lease::new(operation.deployment, operation.number, operation.epoch, &self.worker, now, now + LEASE_TIME)
    }

    /// It has ended: `operation` is how.
    pub fn ended(&self, operation: Versioned<Operation>) -> Ended {
        Ended { deployment: self.deployment.clone(), operation }
    }
}

/// An operation that has ended here, as that was committed, with its deployment as it was read before.
#[derive(Debug)]
pub(crate) struct Ended {
    pub deployment: Versioned<Deployment>,
    pub operation: Versioned<Operation>,
}

/// A release on its way into a deployment.
pub(crate) struct Appended {
    /// The operation's name.
    pub name: String,
    /// The resource's type.
    pub kind: String,
    /// What it lets go of.
    pub request: ReleaseRequest,
    /// A release of the same resource that has to wait for it, so that the one that the user asked for is the last.
    pub before: Option<Versioned<Operation>>,
}

/// What a wake-up found.
pub(crate) enum Claim {
    /// Ours as soon as something is committed.
    Ours(Box<Claimed>),
    /// It has ended, and nobody was told.
    Unsettled,
    /// There is nothing to do.
    Nothing,
}

impl<P: Ports> Engine<P> {
    /// Claims an operation for a worker, if it can be; nothing is committed yet.
    pub(crate) async fn claim(
        &self,
        caller: &Caller,
        id: DeploymentId,
        number: u32,
        (worker, kind): (&str, ExecutorKind),
    ) -> Result<Claim, Error> {
        let organisation = caller.organisation();
        let metered = self.settings.meter.read();
        let items = [Item::Operation(id, number), Item::Deployment(id), Item::Open(id, number)];
        let mut batch = self.batch(organisation, items.to_vec()).await?;
        let operation: Option<Versioned<Operation>> = batch.take(&items[0])?;
        let deployment: Option<Versioned<Deployment>> = batch.take(&items[1])?;
        let (Some(read), Some(deployment)) = (operation, deployment) else { return Ok(Claim::Nothing) };
        if read.status.is_final() && !read.settled {
            return Ok(Claim::Unsettled);
        }
        let now = self.clock.now();
        let claimable = read.status == OperationStatus::Ready
            && read.executor == kind
            && deployment.status == DeploymentStatus::InProgress
            && !is_stopped(&deployment, &read)
            && read.not_before.is_none_or(|at| now + EARLY >= at)
            && now < read.ends_at();
        if !claimable {
            return Ok(Claim::Nothing);
        }
        let marker: Versioned<Open> = batch
            .take(&items[2])?
            .ok_or_else(|| StoreError::Unreadable(format!("operation {number} of {id} has no marker")))?;
        let mut operation = read.value.clone();
        operation.take(OperationEvent::Claimed, now)?;
        operation.epoch += 1;
        operation.tell(&read.value, now);
        let operation = Versioned { value: operation, version: read.version };
        let worker = worker.to_owned();
        Ok(Claim::Ours(Box::new(Claimed { deployment, operation, lease: None, worker, marker, metered })))
    }

    /// Reads again what a lost race may have changed. `None`: the operation is not ours any more.
    pub(crate) async fn still_ours(&self, caller: &Caller, claimed: &Claimed) -> Result<Option<Claimed>, Error> {
        let id = claimed.deployment.id;
        let number = claimed.operation.number;
        let items =
            [Item::Operation(id, number), Item::Deployment(id), Item::Lease(id, number), Item::Open(id, number)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let (Some(operation), Some(deployment), Some(lease), Some(marker)) = (
            batch.take::<Operation>(&items[0])?,
            batch.take::<Deployment>(&items[1])?,
            batch.take::<Lease>(&items[2])?,
            batch.take::<Open>(&items[3])?,
        ) else {
            return Ok(None);
        };
        let same = operation.epoch == claimed.operation.epoch || Mutant::ReportWithoutLease.lives();
        let ours = same && !operation.status.is_final();
        let current = || Claimed { deployment, operation, lease: Some(lease), marker, ..claimed.clone() };
        Ok(ours.then(current))
    }
}

impl<P: Ports> Draft<'_, P> {
    /// Ends an operation well; answers with what it will be once that is committed.
    pub(crate) fn succeed(
        &mut self,
        claimed: &Claimed,
        mut operation: Operation,
        effect: Effect,
    ) -> Result<Versioned<Operation>, Error> {
        operation.take(OperationEvent::Succeeded, self.now())?;
        operation.effect = Some(effect);
        operation.error = None;
        Ok(self.ended(claimed, operation))
    }

    /// Ends an operation badly: it failed, was stopped, or was not in time. Answers as [`Draft::succeed`] does.
    pub(crate) fn fail(
        &mut self,
        claimed: &Claimed,
        mut operation: Operation,
        event: OperationEvent,
        failure: Failure,
    ) -> Result<Versioned<Operation>, Error> {
        self.end_badly(&mut operation, event, failure)?;
        Ok(self.ended(claimed, operation))
    }

    /// The same of the operation alone.
    pub(crate) fn end_badly(
        &mut self,
        operation: &mut Operation,
        event: OperationEvent,
        mut failure: Failure,
    ) -> Result<(), Error> {
        operation.take(event, self.now())?;
        shorten(&mut failure.detail, MAX_DETAIL);
        let code = failure.code;
        let action = match event {
            OperationEvent::Cancelled => "operation.cancelled",
            OperationEvent::Expired => "operation.timedOut",
            _ => "operation.failed",
        };
        let subject = Subject::Deployment(operation.deployment);
        self.audit(subject, action, Some(format!("{}: {code}", operation.resource)));
        operation.error = Some(failure);
        Ok(())
    }

    /// Writes an operation that is not Running any more.
    pub(crate) fn end_claim(&mut self, claimed: &Claimed, operation: Operation) -> Versioned<Operation> {
        if let Some(lease) = &claimed.lease {
            self.delete(lease);
        }
        self.update(&claimed.operation, operation)
    }

    /// Adds what this claim asked for to what its operation used.
    pub(crate) fn charge(&self, claimed: &Claimed, operation: &mut Operation) {
        operation.usage += Usage { requests: self.metered() - claimed.metered, ..Usage::default() };
    }

    fn ended(&mut self, claimed: &Claimed, mut operation: Operation) -> Versioned<Operation> {
        self.charge(claimed, &mut operation);
        operation.settled = operation.dependents.is_empty() && operation.pending_objects.is_empty();
        self.delete(&claimed.marker);
        self.end_claim(claimed, operation)
    }

    /// Appends releases to the deployment of a claimed operation.
    pub(crate) fn append(&mut self, claimed: &Claimed, releases: Vec<Appended>) {
        if releases.is_empty() {
            return;
        }
        let mut deployment = claimed.deployment.value.clone();
        for Appended { name, kind, request, before } in releases {
            deployment.operations += 1;
            let number = deployment.operations;
            let (now, id) = (self.now(), self.fresh_id());
            let mut operation = appended_release(&deployment, number, &name, &kind, request, now, id);
            if let Some(read) = before {
                operation.dependents.insert(read.number);
                let mut waiting = read.value.clone();
                waiting.depends_on.insert(number);
                self.update(&read, waiting);
            }
            if operation.status == OperationStatus::Ready {
                self.wake(&operation);
            }
            self.create(Open { deployment: deployment.id, number });
            self.create(operation);
        }
        self.update(&claimed.deployment, deployment);
    }

    /// Says in a resource's audit trail what became of it.
    pub(crate) fn audit_resource(&mut self, resource: &Resource, action: &str) {
        self.audit(Subject::Resource(resource.id), action, Some(resource.name.clone()));
    }
}
