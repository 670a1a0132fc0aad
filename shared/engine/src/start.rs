//! Starting: a deployment whose turn has come is planned, and its operations are written.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::consumer::{ConsumerKey, Holding};
use conductor_domain::deployment::{
    CancelOutcome, Deployment, DeploymentEvent, DeploymentKind, DeploymentStatus, Releases,
};
use conductor_domain::environment::Environment;
use conductor_domain::ids::DeploymentId;
use conductor_domain::lane::{Lane, LaneOf};
use conductor_domain::log::Archive;
use conductor_domain::name::ApplicationName;
use conductor_domain::operation::{ExecutorKind, Failure, Operation, OperationStatus, Request, Usage};
use conductor_domain::pool::PoolKey;
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use conductor_domain::{Code, Refusal};

use crate::plan::{Leaving, Planned, Wanted, moved, plan};
use crate::port::{Clock, MAX_CHANGES, Objects, Ports, StoreError, Versioned, Wake};
use crate::query::DeploymentView;
use crate::record::{Item, Open, Set, Subject};
use crate::resolve::Resolved;
use crate::submit::{read_file, superseded_failure};
use crate::{Causes, Engine, Error};

/// Changes of a starting commit beside the operations: the deployment and its audit event.
const START_CHANGES: usize = 2;
/// Changes for an operation: itself and its marker.
const CHANGES_EACH: usize = 2;

/// A deployment that was just recorded, with what was seen meanwhile.
pub(crate) struct Recorded {
    /// As it was committed.
    pub deployment: Versioned<Deployment>,
    /// True where its turn came with it.
    pub is_current: bool,
    pub known: Known,
}

/// What is known of a deployment that is about to be planned.
#[derive(Default)]
pub(crate) struct Known {
    /// What its file asks for.
    pub resolved: Option<Resolved>,
    /// True where its workload cannot hold anything: it is the first of its lane.
    pub nothing_held: bool,
}

/// What came of a start.
#[derive(Default)]
struct Begun {
    /// To be sent.
    wakes: Vec<Wake>,
    /// What was committed, where the deployment has begun and has something to do.
    written: Option<(Versioned<Deployment>, Vec<Operation>)>,
}

impl From<Vec<Wake>> for Begun {
    fn from(wakes: Vec<Wake>) -> Self {
        Self { wakes, written: None }
    }
}

impl<P: Ports> Engine<P> {
    /// Starts a deployment that was just recorded, if its turn has come, and wakes workers for it. Answers with what there
    /// is of it then, where that is known by what was committed.
    pub(crate) async fn start_now(&self, caller: &Caller, recorded: Recorded) -> Result<Option<DeploymentView>, Error> {
        let Recorded { deployment, is_current, known } = recorded;
        self.keep_objects(&deployment).await?;
        if !is_current {
            return Ok(Some(DeploymentView::of(deployment, Vec::new(), BTreeMap::new())));
        }
        let begun = self.plan_and_begin(caller, deployment, known).await?;
        self.send(&begun.wakes).await;
        let Some((deployment, operations)) = begun.written else { return Ok(None) };
        let expected = self.expected(caller, &operations).await.ok();
        Ok(expected.map(|expected| DeploymentView::of(deployment, operations, expected)))
    }

    /// Starts a deployment, if it is Pending and its turn has come. Answers with the wake-ups to send.
    pub(crate) async fn start(&self, caller: &Caller, id: DeploymentId) -> Result<Vec<Wake>, Error> {
        let organisation = caller.organisation();
        let Some(deployment) = self.read::<Deployment>(organisation, Item::Deployment(id)).await? else {
            return Ok(Vec::new());
        };
        if deployment.status != DeploymentStatus::Pending {
            return Ok(Vec::new());
        }
        let lane: Option<Versioned<Lane>> = self.read(organisation, Item::Lane(deployment.lane.clone())).await?;
        self.keep_objects(&deployment).await?;
        let superseded = lane.as_ref().is_some_and(|lane| deployment.number < lane.superseded_below);
        if superseded && deployment.plan.is_none() {
            return self.end_unplanned(caller, &deployment, DeploymentEvent::Cancelled, superseded_failure()).await;
        }
        if lane.and_then(|lane| lane.value.current) != Some(id) {
            return Ok(Vec::new());
        }
        Ok(self.plan_and_begin(caller, deployment, Known::default()).await?.wakes)
    }

    /// Plans a deployment whose turn it is, and writes its operations.
    async fn plan_and_begin(
        &self,
        caller: &Caller,
        deployment: Versioned<Deployment>,
        known: Known,
    ) -> Result<Begun, Error> {
        let id = deployment.id;
        let begun = async {
            let started = match &deployment.plan {
                Some(object) => self.stored_plan(object).await?,
                None => self.plan(caller, &deployment, known).await?,
            };
            self.begin(caller, deployment.clone(), started).await
        };
        match begun.await {
            Err(error) if error.is_permanent() => {
                if !matches!(error, Error::Refused(_)) {
                    tracing::error!(deployment = %id, error = %Causes(&error), "a deployment cannot be planned");
                }
                match self.read::<Deployment>(caller.organisation(), Item::Deployment(id)).await? {
                    Some(read) if !read.status.is_final() => {
                        let failure = Failure::from(error.refusal());
                        let ended = self.end_unplanned(caller, &read, DeploymentEvent::Unplannable, failure).await;
                        ended.map(Begun::from)
                    }
                    _ => Ok(Begun::default()),
                }
            }
            // Somebody else planned it; what is there is theirs.
            Err(Error::Conflict) => Ok(Begun::default()),
            done => done,
        }
    }

    async fn plan(&self, caller: &Caller, deployment: &Deployment, known: Known) -> Result<Started, Error> {
        let mut begun = deployment.clone();
        let mut wanted = Vec::new();
        let mut leaving = Vec::new();
        match (&deployment.lane.of, deployment.kind) {
            (LaneOf::Application(application), DeploymentKind::Apply | DeploymentKind::Teardown) => {
                let environment = &deployment.lane.environment;
                if let Some(resolved) = self.resolved(caller, deployment, application, known.resolved).await? {
                    begun.services = resolved.services;
                    begun.file_metadata = resolved.metadata;
                    wanted = resolved.wanted;
                }
                if deployment.options.prune && !known.nothing_held {
                    let set = Set::Holdings(environment.clone(), application.clone(), deployment.workload.clone());
                    let held: Vec<Versioned<Holding>> = self.list_all(caller.organisation(), &set).await?;
                    let held: Vec<Holding> = held.into_iter().map(|holding| holding.value).collect();
                    leaving = self.leaving(caller, &wanted, held).await?;
                }
            }
            (LaneOf::Pool(name), _) => {
                let key = PoolKey { environment: deployment.lane.environment.clone(), name: name.clone() };
                (wanted, leaving) = self.plan_pool(caller, &key).await?;
            }
            (LaneOf::Resource(_) | LaneOf::Application(_), _) => {
                if let Some(request) = &deployment.lets_go {
                    let resource: Option<Versioned<Resource>> =
                        self.read(caller.organisation(), Item::Resource(request.resource)).await?;
                    leaving.extend(resource.map(|resource| Leaving {
                        name: resource.name.clone(),
                        kind: resource.template.kind().to_owned(),
                        request: request.clone(),
                        depends_on: Vec::new(),
                    }));
                }
            }
        }
        if let Some(tried) = deployment.retry_of {
            self.left_undone(caller, tried, &mut leaving).await?;
        }
        let now = self.clock.now();
        let planned = plan(&begun, &wanted, &leaving, now, || self.clock.fresh_id());
        begun.operations = planned.operations.len() as u32;
        begun.acquires = planned.acquires;
        begun.releases = if planned.acquires == 0 { Releases::Go } else { Releases::Undecided };
        begun.operation_counts = counts(&planned.operations);
        Ok(Started { deployment: begun, planned })
    }

    /// Releases that a deployment which is tried again did not bring to an end. Those whose consumer has left by now do
    /// nothing.
    async fn left_undone(&self, caller: &Caller, tried: DeploymentId, leaving: &mut Vec<Leaving>) -> Result<(), Error> {
        let operations: Vec<Versioned<Operation>> =
            self.list_all(caller.organisation(), &Set::Operations(tried)).await?;
        for operation in operations.into_iter().filter(|operation| operation.status != OperationStatus::Succeeded) {
            let Request::Release(request) = operation.value.request else { continue };
            // What is held is judged by the file anew.
            let held = matches!(request.consumer, Some(ConsumerKey::Workload(_)));
            if !held && leaving.iter().all(|other| other.request != request) {
                leaving.push(Leaving {
                    name: operation.value.resource,
                    kind: operation.value.kind,
                    request,
                    depends_on: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// What the file of a deployment asks for; none where it has none.
    async fn resolved(
        &self,
        caller: &Caller,
        deployment: &Deployment,
        application: &ApplicationName,
        resolved: Option<Resolved>,
    ) -> Result<Option<Resolved>, Error> {
        let Some(object) = &deployment.score else { return Ok(None) };
        if resolved.is_some() {
            return Ok(resolved);
        }
        let file = read_file(&self.score_text(object).await?)?;
        let (organisation, name) = (caller.organisation(), &deployment.lane.environment);
        let mut reads = self.reads(organisation);
        let mut items = vec![Item::Environment(name.clone())];
        items.extend(self.foreseen(organisation, name, application, &file));
        reads.ahead(&items).await?;
        let environment: Option<Versioned<Environment>> = reads.get(&Item::Environment(name.clone()))?;
        let gone = || Refusal::new(Code::EnvironmentNotFound, format!("there is no environment {name}"));
        let environment = environment.ok_or_else(gone)?;
        self.hints.see_environment(organisation, &environment);
        let upgrade = deployment.options.upgrade;
        self.resolve(&mut reads, &environment, application, upgrade, &file).await.map(Some)
    }

    /// A Score file as it came.
    pub(crate) async fn score_text(&self, object: &str) -> Result<String, Error> {
        let content = self.vault.get(object).await?;
        let content = content.ok_or_else(|| StoreError::Unreadable(format!("{object} is gone")))?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// What is held and not wanted any more, also not under another name.
    async fn leaving(&self, caller: &Caller, wanted: &[Wanted], held: Vec<Holding>) -> Result<Vec<Leaving>, Error> {
        let mut names = moved(wanted, &held);
        names.extend(wanted.iter().map(|want| want.name.clone()));
        let held: Vec<Holding> = held.into_iter().filter(|holding| !names.contains(&holding.key.resource)).collect();
        let items: Vec<Item> = held.iter().map(|holding| Item::Resource(holding.resource)).collect();
        let resources = self.read_all::<Resource>(caller.organisation(), &items).await?;
        let depends_on = resources.into_iter().map(|read| read.map(|read| read.value.depends_on).unwrap_or_default());
        Ok(held.into_iter().zip(depends_on).map(|(holding, edges)| Leaving::holding(holding, edges)).collect())
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
    async fn begin(&self, caller: &Caller, read: Versioned<Deployment>, started: Started) -> Result<Begun, Error> {
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
        deployment.cancel = read.cancel.clone();
        deployment.take(DeploymentEvent::Planned, now)?;
        let written = draft.update(&read, deployment);
        let detail = format!("{} operations", planned.operations.len());
        draft.audit(Subject::Deployment(id), "deployment.started", Some(detail));
        draft.commit().await?;
        // The file was kept before.
        if let Some(secrets) = &written.secrets {
            self.vault.keep(secrets).await?;
        }
        if planned.operations.is_empty() || written.cancel.is_some() {
            return self.settle_whole(caller, id).await.map(Begun::from);
        }
        let ready = planned.operations.iter().filter(|operation| operation.status == OperationStatus::Ready);
        let wakes = ready.map(|operation| self.wake(caller, operation)).collect();
        Ok(Begun { wakes, written: Some((written, planned.operations)) })
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

    /// The wake-up for an operation that can be claimed.
    pub(crate) fn wake(&self, caller: &Caller, operation: &Operation) -> Wake {
        let Operation { deployment, number, executor, .. } = *operation;
        Wake {
            organisation: caller.organisation().clone(),
            deployment_id: deployment,
            operation: Some(number),
            executor,
        }
    }

    /// The wake-up for a deployment that has to be settled.
    pub(crate) fn wake_settle(&self, caller: &Caller, deployment_id: DeploymentId) -> Wake {
        let (organisation, executor) = (caller.organisation().clone(), ExecutorKind::default());
        Wake { organisation, deployment_id, operation: None, executor }
    }

    /// Ends a deployment that was never planned.
    pub(crate) async fn end_unplanned(
        &self,
        caller: &Caller,
        read: &Versioned<Deployment>,
        event: DeploymentEvent,
        error: Failure,
    ) -> Result<Vec<Wake>, Error> {
        let mut ended = read.value.clone();
        ended.take(event, self.clock.now())?;
        ended.error = Some(error);
        ended.log = Some(Archive::default());
        if let Some(cancel) = &mut ended.cancel {
            cancel.outcome = Some(CancelOutcome::Clean);
        }
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

/// What operations used together.
pub(crate) fn used<'o>(operations: impl IntoIterator<Item = &'o Operation>) -> Usage {
    let mut usage = Usage::default();
    operations.into_iter().for_each(|operation| usage += operation.usage);
    usage
}
