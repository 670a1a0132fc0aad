//! Starting: a deployment whose turn has come is planned, and its operations are written.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::consumer::Holding;
use conductor_domain::deployment::{Deployment, DeploymentEvent, DeploymentKind, Releases};
use conductor_domain::ids::DeploymentId;
use conductor_domain::lane::Lane;
use conductor_domain::operation::{Failure, Operation, OperationStatus};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;

use crate::plan::{Planned, plan};
use crate::port::{Clock, MAX_CHANGES, Objects, Ports, StoreError, Versioned, Wake};
use crate::record::{Item, Open, Set, Subject};
use crate::resolve::Resolved;
use crate::submit::read_file;
use crate::{Causes, Engine, Error};

/// Changes of a starting commit beside the operations: the deployment and its audit event.
const START_CHANGES: usize = 2;
/// Changes for an operation: itself and its marker.
const CHANGES_EACH: usize = 2;

impl<P: Ports> Engine<P> {
    /// Starts a deployment that was just recorded, if its turn has come, and wakes workers for it.
    pub(crate) async fn start_now(
        &self,
        caller: &Caller,
        id: DeploymentId,
        resolved: Option<Resolved>,
    ) -> Result<(), Error> {
        let wakes = self.start(caller, id, resolved).await?;
        self.send(&wakes).await;
        Ok(())
    }

    /// Starts a deployment, if it is Pending and its turn has come. Answers with the wake-ups to send.
    pub(crate) async fn start(
        &self,
        caller: &Caller,
        id: DeploymentId,
        resolved: Option<Resolved>,
    ) -> Result<Vec<Wake>, Error> {
        let organisation = caller.organisation();
        let Some(deployment) = self.read::<Deployment>(organisation, Item::Deployment(id)).await? else {
            return Ok(Vec::new());
        };
        if deployment.status != conductor_domain::deployment::DeploymentStatus::Pending {
            return Ok(Vec::new());
        }
        let lane: Option<Versioned<Lane>> = self.read(organisation, Item::Lane(deployment.lane.clone())).await?;
        self.keep_objects(&deployment).await?;
        if lane.and_then(|lane| lane.value.current) != Some(id) {
            return Ok(Vec::new());
        }
        let planned = match &deployment.plan {
            Some(object) => self.stored_plan(object).await,
            None => self.plan(caller, &deployment, resolved).await,
        };
        let begun = match planned {
            Ok(planned) => self.begin(caller, deployment, planned).await,
            Err(Error::Refused(refusal)) => {
                return self
                    .end_unplanned(caller, &deployment, DeploymentEvent::Unplannable, Some(refusal.into()))
                    .await;
            }
            Err(error) => Err(error),
        };
        match begun {
            Err(error) if error.is_permanent() => {
                tracing::error!(deployment = %id, error = %Causes(&error), "a deployment cannot be planned");
                let failure = Failure::from(error.refusal());
                match self.read::<Deployment>(organisation, Item::Deployment(id)).await? {
                    Some(read) if !read.status.is_final() => {
                        self.end_unplanned(caller, &read, DeploymentEvent::Unplannable, Some(failure)).await
                    }
                    _ => Ok(Vec::new()),
                }
            }
            // Somebody else planned it; what is there is theirs.
            Err(Error::Conflict) => Ok(Vec::new()),
            done => done,
        }
    }

    async fn plan(
        &self,
        caller: &Caller,
        deployment: &Deployment,
        resolved: Option<Resolved>,
    ) -> Result<Started, Error> {
        let organisation = caller.organisation();
        let lane = &deployment.lane;
        let mut begun = deployment.clone();
        let (wanted, names): (Vec<_>, BTreeSet<String>) = match (&deployment.score, deployment.kind) {
            (Some(object), DeploymentKind::Apply) => {
                let content = self.vault.get(object).await?;
                let content = content.ok_or_else(|| StoreError::Unreadable(format!("{object} is gone")))?;
                let file = read_file(&String::from_utf8_lossy(&content))?;
                let resolved = match resolved {
                    Some(resolved) => resolved,
                    None => {
                        let environment = self.environment(caller, &lane.environment).await?;
                        self.resolve(caller, &environment, &lane.application, deployment.options.upgrade, &file).await?
                    }
                };
                begun.services = resolved.services;
                begun.file_metadata = file.metadata;
                let names = resolved.wanted.iter().map(|want| want.name.clone()).collect();
                (resolved.wanted, names)
            }
            _ => (Vec::new(), BTreeSet::new()),
        };
        let set = Set::Holdings(lane.environment.clone(), lane.application.clone(), deployment.workload.clone());
        let held: Vec<Versioned<Holding>> = self.list_all(organisation, &set).await?;
        let leaving: Vec<Holding> = held
            .into_iter()
            .map(|holding| holding.value)
            .filter(|holding| match deployment.kind {
                DeploymentKind::Apply => deployment.options.prune && !names.contains(&holding.key.resource),
                DeploymentKind::Teardown => true,
            })
            .collect();
        let items: Vec<Item> = leaving.iter().map(|holding| Item::Resource(holding.resource)).collect();
        let resources = self.read_all::<Resource>(organisation, &items).await?;
        let leaving: Vec<_> =
            leaving.into_iter().zip(resources).map(|(holding, read)| (holding, read.map(|r| r.value))).collect();
        let now = self.clock.now();
        let planned = plan(&begun, &wanted, &leaving, now, || self.clock.fresh_id());
        begun.operations = planned.operations.len() as u32;
        begun.acquires = planned.acquires;
        begun.releases = if planned.acquires == 0 { Releases::Go } else { Releases::Undecided };
        begun.operation_counts = counts(&planned.operations);
        Ok(Started { deployment: begun, planned })
    }

    async fn stored_plan(&self, object: &str) -> Result<Started, Error> {
        let content = self.vault.get(object).await?;
        let content = content.ok_or_else(|| StoreError::Unreadable(format!("{object} is gone")))?;
        let (deployment, operations): (Deployment, Vec<Operation>) =
            serde_json::from_slice(&content).map_err(|_| StoreError::Unreadable(format!("{object} is not a plan")))?;
        let planned = Planned { acquires: deployment.acquires, operations, secrets: BTreeMap::new() };
        Ok(Started { deployment, planned })
    }

    /// Writes the operations, and then, or at once, that the deployment has begun.
    async fn begin(&self, caller: &Caller, read: Versioned<Deployment>, started: Started) -> Result<Vec<Wake>, Error> {
        let Started { mut deployment, planned } = started;
        let id = deployment.id;
        if !planned.secrets.is_empty() {
            let object = format!("deployments/{id}/secrets-{}", self.clock.fresh_id().simple());
            let content = serde_json::to_vec(&planned.secrets).map_err(|_| StoreError::Cursor)?;
            self.vault.put(&object, content).await?;
            deployment.secrets = Some(object);
        }
        let at_once = planned.operations.len() * CHANGES_EACH + START_CHANGES <= MAX_CHANGES && read.plan.is_none();
        let mut draft = self.draft(caller, Some(id));
        let mut read = read;
        if at_once {
            for operation in &planned.operations {
                write(&mut draft, operation);
            }
        } else {
            if read.plan.is_none() {
                let object = format!("deployments/{id}/plan-{}", self.clock.fresh_id().simple());
                let content =
                    serde_json::to_vec(&(&deployment, &planned.operations)).map_err(|_| StoreError::Cursor)?;
                self.vault.put(&object, content).await?;
                let decided = Deployment { plan: Some(object.clone()), ..read.value.clone() };
                read = draft.update(&read, decided);
                draft.commit().await?;
                deployment.plan = Some(object);
            } else {
                deployment.plan = read.plan.clone();
            }
            self.write_operations(caller, id, &planned.operations).await?;
            draft = self.draft(caller, Some(id));
        }
        let now = self.clock.now();
        deployment.take(DeploymentEvent::Planned, now)?;
        draft.update(&read, deployment.clone());
        let detail = format!("{} operations", planned.operations.len());
        draft.audit(Subject::Deployment(id), "deployment.started", Some(detail));
        draft.commit().await?;
        self.keep_objects(&deployment).await?;
        if planned.operations.is_empty() {
            return self.settle_deployment(caller, id).await;
        }
        let ready = planned.operations.iter().filter(|operation| operation.status == OperationStatus::Ready);
        Ok(ready.map(|operation| self.wake(caller, id, Some(operation.number))).collect())
    }

    /// Writes those operations of a large plan that are not there yet.
    async fn write_operations(&self, caller: &Caller, id: DeploymentId, operations: &[Operation]) -> Result<(), Error> {
        let written: Vec<Versioned<Operation>> = self.list_all(caller.organisation(), &Set::Operations(id)).await?;
        let written: BTreeSet<u32> = written.iter().map(|operation| operation.number).collect();
        let missing: Vec<&Operation> = operations.iter().filter(|o| !written.contains(&o.number)).collect();
        for part in missing.chunks(MAX_CHANGES / CHANGES_EACH) {
            let mut draft = self.draft(caller, Some(id));
            for operation in part {
                write(&mut draft, operation);
            }
            draft.commit().await?;
        }
        Ok(())
    }

    pub(crate) fn wake(&self, caller: &Caller, deployment_id: DeploymentId, operation: Option<u32>) -> Wake {
        Wake { organisation: caller.organisation().clone(), deployment_id, operation }
    }

    /// Ends a deployment that was never planned.
    pub(crate) async fn end_unplanned(
        &self,
        caller: &Caller,
        read: &Versioned<Deployment>,
        event: DeploymentEvent,
        error: Option<Failure>,
    ) -> Result<Vec<Wake>, Error> {
        let mut ended = read.value.clone();
        ended.take(event, self.clock.now())?;
        ended.error = error;
        self.end(caller, read, ended).await
    }
}

/// A deployment as it will be once it has begun, and its operations.
struct Started {
    deployment: Deployment,
    planned: Planned,
}

fn write<P: Ports>(draft: &mut crate::commit::Draft<'_, P>, operation: &Operation) {
    draft.create(Open { deployment: operation.deployment, number: operation.number });
    draft.create(operation.clone());
}

/// Operations by status.
pub(crate) fn counts<'o>(operations: impl IntoIterator<Item = &'o Operation>) -> BTreeMap<OperationStatus, u32> {
    let mut counts = BTreeMap::new();
    for operation in operations {
        *counts.entry(operation.status).or_insert(0) += 1;
    }
    counts
}
