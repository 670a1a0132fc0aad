//! Claiming: a worker takes a Ready operation, with a new epoch and a lease.

use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::operation::{
    AcquireRequest, Effect, ExecutorKind, Failure, Lease, Operation, OperationEvent, OperationStatus, ReleaseRequest,
    Request, Requests, Usage,
};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use jiff::SignedDuration;

use crate::cancel::is_stopped;
use crate::commit::Draft;
use crate::lease::LEASE_TIME;
use crate::mutant::Mutant;
use crate::plan::appended_release;
use crate::port::{Clock, Ports, StoreError, Versioned, Wake};
use crate::record::{Item, Open, Subject};
use crate::{Engine, Error};

/// A message that comes so much too early is in time: clocks differ.
const EARLY: SignedDuration = SignedDuration::from_secs(2);

/// An operation that is ours, with what every commit about it needs.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub deployment: Versioned<Deployment>,
    pub operation: Versioned<Operation>,
    pub lease: Versioned<Lease>,
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
    Ours(Box<Claimed>),
    /// It has ended, and nobody was told.
    Unsettled,
    /// There is nothing to do.
    Nothing,
}

impl<P: Ports> Engine<P> {
    pub(crate) async fn claim(
        &self,
        caller: &Caller,
        wake: &Wake,
        number: u32,
        worker: (&str, ExecutorKind),
    ) -> Result<Claim, Error> {
        let organisation = caller.organisation();
        let id = wake.deployment_id;
        let metered = self.settings.meter.read();
        let items =
            [Item::Operation(id, number), Item::Deployment(id), Item::Lease(id, number), Item::Open(id, number)];
        let mut batch = self.batch(organisation, items.to_vec()).await?;
        let operation: Option<Versioned<Operation>> = batch.take(&items[0])?;
        let deployment: Option<Versioned<Deployment>> = batch.take(&items[1])?;
        let (Some(read), Some(deployment)) = (operation, deployment) else { return Ok(Claim::Nothing) };
        if read.status.is_final() && !read.settled {
            return Ok(Claim::Unsettled);
        }
        let now = self.clock.now();
        let claimable = read.status == OperationStatus::Ready
            && read.executor == worker.1
            && deployment.status == DeploymentStatus::InProgress
            && !is_stopped(&deployment, &read)
            && read.not_before.is_none_or(|at| now + EARLY >= at)
            && now < read.ends_at();
        if !claimable {
            return Ok(Claim::Nothing);
        }
        let marker: Versioned<Open> = batch
            .take(&items[3])?
            .ok_or_else(|| StoreError::Unreadable(format!("operation {number} of {id} has no marker")))?;
        let left: Option<Versioned<Lease>> = batch.take(&items[2])?;
        let mut operation = read.value.clone();
        operation.take(OperationEvent::Claimed, now)?;
        operation.epoch += 1;
        let lease = Lease {
            deployment: id,
            operation: number,
            epoch: operation.epoch,
            worker: worker.0.to_owned(),
            heartbeat_at: now,
            expires_at: now + LEASE_TIME,
            terraform_started_at: None,
            terraform_ended_at: None,
            dead_after: None,
            begun: Vec::new(),
            replaced: Vec::new(),
            unstored: Vec::new(),
            stop: None,
        };
        let mut draft = self.draft(caller, Some(id));
        let operation = draft.update(&read, operation);
        let lease = draft.put(left.as_ref(), lease);
        match draft.commit().await {
            Ok(()) => Ok(Claim::Ours(Box::new(Claimed { deployment, operation, lease, marker, metered }))),
            Err(Error::Conflict) => Ok(Claim::Nothing),
            Err(error) => Err(error),
        }
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
        Ok(ours.then_some(Claimed { deployment, operation, lease, marker, metered: claimed.metered }))
    }
}

impl<P: Ports> Draft<'_, P> {
    /// Ends an operation well.
    pub(crate) fn succeed(&mut self, claimed: &Claimed, mut operation: Operation, effect: Effect) -> Result<(), Error> {
        operation.take(OperationEvent::Succeeded, self.now())?;
        operation.effect = Some(effect);
        operation.error = None;
        self.ended(claimed, operation);
        Ok(())
    }

    /// Ends an operation badly: it failed, was stopped, or was not in time.
    pub(crate) fn fail(
        &mut self,
        claimed: &Claimed,
        mut operation: Operation,
        event: OperationEvent,
        failure: Failure,
    ) -> Result<(), Error> {
        self.end_badly(&mut operation, event, failure)?;
        self.ended(claimed, operation);
        Ok(())
    }

    /// The same of the operation alone.
    pub(crate) fn end_badly(
        &mut self,
        operation: &mut Operation,
        event: OperationEvent,
        failure: Failure,
    ) -> Result<(), Error> {
        operation.take(event, self.now())?;
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

    /// Adds what this claim asked for to what its operation used.
    pub(crate) fn charge(&self, claimed: &Claimed, operation: &mut Operation) {
        operation.usage += Usage { requests: self.metered() - claimed.metered, ..Usage::default() };
    }

    fn ended(&mut self, claimed: &Claimed, mut operation: Operation) {
        self.charge(claimed, &mut operation);
        operation.settled = operation.dependents.is_empty() && operation.pending_objects.is_empty();
        self.delete(&claimed.marker);
        self.delete(&claimed.lease);
        self.update(&claimed.operation, operation);
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
