//! Submitting: a request is checked against everything that is known, recorded once, and given its place in its lane.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

use conductor_domain::access::Right;
use conductor_domain::application::Application;
use conductor_domain::code::Fault;
use conductor_domain::consumer::ConsumerKey;
use conductor_domain::deployment::{
    Deployment, DeploymentEvent, DeploymentKind, DeploymentStatus, MAX_KEPT, Options, Releases,
};
use conductor_domain::environment::Environment;
use conductor_domain::ids::{DeploymentId, GenericUuid};
use conductor_domain::lane::{Lane, LaneKey, LaneOf, LanePlace};
use conductor_domain::log::{Level, Step};
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::{Failure, MAX_OPERATIONS, ReleaseRequest, Usage};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use conductor_domain::score::{self, ScoreFile};
use conductor_domain::{Code, Refusal};

use crate::idempotency::IdempotencyKey;
use crate::port::{Clock, Objects, Ports, StoreError, Versioned};
use crate::query::DeploymentView;
use crate::record::{Idempotency, Item, Set, Subject};
use crate::resolve::Resolved;
use crate::start::{Known, Recorded};
use crate::{Causes, Engine, Error};

/// A request to deploy a Score file.
#[derive(Debug, Clone)]
pub struct DeploymentRequest {
    /// The application; the file's `metadata.name` where none is given.
    pub application: Option<ApplicationName>,
    /// The environment.
    pub environment: EnvironmentName,
    /// The Score file: YAML or JSON text.
    pub score: String,
    /// What the request says beside the file.
    pub options: Options,
    /// The commit that the file is from.
    pub commit_id: Option<String>,
    /// What the user wants to find again.
    pub metadata: Map<String, Value>,
    /// The key that it came with.
    pub idempotency: Option<IdempotencyKey>,
    /// Cancels the deployments of the lane that have not begun.
    pub supersede: bool,
}

/// A request to tear down what an application holds in an environment.
#[derive(Debug, Clone)]
pub struct TeardownRequest {
    /// The environment.
    pub environment: EnvironmentName,
    /// The application.
    pub application: ApplicationName,
    /// One of its workloads, or all.
    pub workload: Option<WorkloadName>,
    /// Names or ids of resources that may be destroyed although the environment is protected.
    pub allow_destroy: Vec<String>,
    /// The key that it came with.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The deployment.
    pub deployment: DeploymentId,
    /// True where the same request with the same key had been recorded before.
    pub repeated: bool,
    /// The deployment as it was then, where that is known without reading it.
    pub view: Option<Box<DeploymentView>>,
}

/// What a try to record has come to.
enum Tried {
    /// The same request made this one before.
    Before(DeploymentId),
    /// It is recorded.
    Now(Box<Recorded>),
}

/// A deployment on its way into the table.
pub(crate) struct Submission<'a> {
    kind: DeploymentKind,
    lane: LaneKey,
    workload: Option<WorkloadName>,
    file: Option<&'a ScoreFile>,
    score: Option<&'a str>,
    options: Options,
    commit_id: Option<String>,
    metadata: Map<String, Value>,
    idempotency: Option<IdempotencyKey>,
    supersede: bool,
    lets_go: Option<ReleaseRequest>,
    /// The deployment that is tried again, and its number in the lane.
    retry_of: Option<(DeploymentId, u64)>,
}

impl Submission<'_> {
    /// A deployment without a file.
    pub fn new(kind: DeploymentKind, lane: LaneKey) -> Self {
        Self {
            kind,
            lane,
            workload: None,
            file: None,
            score: None,
            options: Options::default(),
            commit_id: None,
            metadata: Map::new(),
            idempotency: None,
            supersede: false,
            lets_go: None,
            retry_of: None,
        }
    }

    /// One that lets go of a resource.
    pub fn release(resource: &Resource, consumer: Option<ConsumerKey>, allow_destroy: bool) -> Self {
        let lane = LaneKey { environment: resource.environment.clone(), of: LaneOf::Resource(resource.id) };
        let allow_destroy = allow_destroy.then(|| resource.name.clone()).into_iter().collect();
        Self {
            lets_go: Some(ReleaseRequest { resource: resource.id, consumer }),
            options: Options { allow_destroy, ..Options::default() },
            ..Self::new(DeploymentKind::Release, lane)
        }
    }
}

impl<P: Ports> Engine<P> {
    /// Records a deployment and starts it if its turn has come.
    pub async fn submit(&self, caller: &Caller, request: DeploymentRequest) -> Result<Submitted, Error> {
        caller.demand(Right::Deploy, Some(&request.environment))?;
        let file = read_file(&request.score)?;
        let (application, workload) = names(&request, &file)?;
        let submission = Submission {
            workload: Some(workload),
            file: Some(&file),
            score: Some(&request.score),
            options: request.options,
            commit_id: request.commit_id,
            metadata: request.metadata,
            idempotency: request.idempotency,
            supersede: request.supersede,
            ..Submission::new(DeploymentKind::Apply, LaneKey::application(request.environment, application))
        };
        self.record(caller, submission).await
    }

    /// Records a teardown and starts it if its turn has come.
    pub async fn teardown(&self, caller: &Caller, request: TeardownRequest) -> Result<Submitted, Error> {
        self.environment(caller, &request.environment).await?;
        self.application(caller, &request.application).await?;
        caller.demand(Right::Deploy, Some(&request.environment))?;
        let lane = LaneKey::application(request.environment, request.application);
        let submission = Submission {
            workload: request.workload,
            options: Options { allow_destroy: request.allow_destroy, ..Options::default() },
            idempotency: request.idempotency,
            ..Submission::new(DeploymentKind::Teardown, lane)
        };
        self.record(caller, submission).await
    }

    /// Deploys the same file again, or tears down again, after a deployment that did not succeed. What it left half
    /// made is gone on with.
    pub async fn retry(
        &self,
        caller: &Caller,
        id: DeploymentId,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Submitted, Error> {
        let found = self.read::<Deployment>(caller.organisation(), Item::Deployment(id)).await?;
        let failed =
            found.ok_or_else(|| Refusal::new(Code::DeploymentNotFound, format!("there is no deployment {id}")))?.value;
        caller.demand(Right::Deploy, Some(&failed.lane.environment))?;
        let again = match failed.status {
            DeploymentStatus::Failed | DeploymentStatus::Cancelled | DeploymentStatus::TimedOut => true,
            DeploymentStatus::Pending | DeploymentStatus::InProgress | DeploymentStatus::Succeeded => false,
        };
        if !again || failed.kind == DeploymentKind::Pool {
            let detail =
                format!("a deployment of kind {:?} that is {:?} is not tried again", failed.kind, failed.status);
            return Err(Refusal::new(Code::NotRetryable, detail).into());
        }
        let text = match &failed.score {
            Some(object) => Some(self.score_text(object).await?),
            None => None,
        };
        let file = text.as_deref().map(read_file).transpose()?;
        let submission = Submission {
            workload: failed.workload,
            file: file.as_ref(),
            score: text.as_deref(),
            options: failed.options,
            commit_id: failed.commit_id,
            metadata: failed.metadata,
            lets_go: failed.lets_go,
            retry_of: Some((id, failed.number)),
            idempotency,
            ..Submission::new(failed.kind, failed.lane)
        };
        self.record(caller, submission).await
    }

    /// Records a submission and starts it if its turn has come.
    pub(crate) async fn record(&self, caller: &Caller, submission: Submission<'_>) -> Result<Submitted, Error> {
        let id = DeploymentId::from_untyped_uuid(self.clock.fresh_id());
        let mut stored = false;
        let mut tries = self.tries();
        loop {
            match self.try_record(caller, &submission, id, &mut stored).await {
                Err(Error::Conflict) => {
                    // A commit of ours whose answer was lost looks like somebody else's.
                    if self.read::<Deployment>(caller.organisation(), Item::Deployment(id)).await?.is_some() {
                        return Ok(Submitted { deployment: id, repeated: false, view: None });
                    }
                    self.again(&mut tries).await?;
                }
                Ok(Tried::Before(deployment)) => return Ok(Submitted { deployment, repeated: true, view: None }),
                Ok(Tried::Now(recorded)) => {
                    // The request is recorded: what goes wrong from here on, the sweeper mends.
                    let view = self.start_now(caller, *recorded).await.unwrap_or_else(|error| {
                        let error = Causes(&error);
                        tracing::warn!(deployment = %id, %error, "recorded, and not started yet");
                        None
                    });
                    if submission.supersede {
                        self.cancel_pending(caller, &submission.lane, id).await;
                    }
                    return Ok(Submitted { deployment: id, repeated: false, view: view.map(Box::new) });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_record(
        &self,
        caller: &Caller,
        submission: &Submission<'_>,
        id: DeploymentId,
        stored: &mut bool,
    ) -> Result<Tried, Error> {
        let organisation = caller.organisation();
        let lane_item = Item::Lane(submission.lane.clone());
        let environment_item = Item::Environment(submission.lane.environment.clone());
        let application_item = submission.lane.application_name().cloned().map(Item::Application);
        let key_item = submission.idempotency.as_ref().map(|key| key.item(caller));
        let mut items = vec![lane_item.clone(), environment_item.clone()];
        items.extend([&application_item, &key_item].into_iter().flatten().cloned());
        if let (Some(file), Some(application)) = (submission.file, submission.lane.application_name()) {
            items.extend(self.foreseen(organisation, &submission.lane.environment, application, file));
        }
        let mut reads = self.reads(organisation);
        reads.ahead(&items).await?;

        let used: Option<Versioned<Idempotency>> = reads.get_if(key_item.as_ref())?;
        let now = self.clock.now();
        if let Some(key) = &submission.idempotency
            && let Some(made) = key.made(used.as_deref(), now)?
        {
            let deployment =
                made.parse().map_err(|_| StoreError::Unreadable(format!("{made:?} is not a deployment")))?;
            return Ok(Tried::Before(deployment));
        }

        let environment: Versioned<Environment> = reads.get(&environment_item)?.ok_or_else(|| {
            let detail = format!("there is no environment {}", submission.lane.environment);
            Refusal::at(Code::EnvironmentUnknown, vec![Fault::at("/environment", detail)])
        })?;
        self.hints.see_environment(organisation, &environment);
        let upgrade = submission.options.upgrade;
        let resolved = match (submission.file, submission.lane.application_name()) {
            (Some(file), Some(application)) => {
                let resolved = self.resolve(&mut reads, &environment, application, upgrade, file).await;
                Some(resolved.map_err(|error| placed(error, submission.score))?)
            }
            _ => None,
        };
        check_size(submission, resolved.as_ref())?;

        let score = submission.score.map(|_| format!("deployments/{id}/score"));
        if let (Some(text), Some(name), false) = (submission.score, &score, *stored) {
            self.vault.put(name, text.as_bytes().to_vec()).await?;
            *stored = true;
        }

        let lane: Option<Versioned<Lane>> = reads.get(&lane_item)?;
        let application: Option<Versioned<Application>> = reads.get_if(application_item.as_ref())?;
        let number = lane.as_ref().map_or(1, |lane| lane.next);
        let overtaken = lane.is_some() && submission.retry_of.is_some_and(|(_, tried)| number != tried + 1);
        let upkeep_runs =
            submission.kind == DeploymentKind::Pool && lane.as_ref().is_some_and(|lane| lane.current.is_some());
        if overtaken || upkeep_runs {
            return Err(Refusal::new(Code::Superseded, "a later deployment has taken its place").into());
        }
        let current = lane.as_ref().and_then(|lane| lane.current).unwrap_or(id);

        let mut draft = self.draft(caller, Some(id));
        let deployment = draft.create(Deployment {
            id,
            kind: submission.kind,
            status: DeploymentStatus::Pending,
            entered_at: now,
            lane: submission.lane.clone(),
            number,
            workload: submission.workload.clone(),
            lets_go: submission.lets_go.clone(),
            retry_of: submission.retry_of.map(|(id, _)| id),
            options: submission.options.clone(),
            commit_id: submission.commit_id.clone(),
            metadata: submission.metadata.clone(),
            requested_by: caller.principal.id.clone(),
            reach: caller.principal.reach(Right::Deploy),
            request_id: caller.request_id.clone(),
            created_at: now,
            started_at: None,
            completed_at: None,
            score,
            plan: None,
            secrets: None,
            operations: 0,
            acquires: 0,
            releases: Releases::Undecided,
            services: BTreeMap::new(),
            file_metadata: Map::new(),
            operation_counts: BTreeMap::new(),
            error: None,
            cancel: None,
            steps: vec![Step::new(now, Level::Info, format!("asked for by {}", caller.principal.id))],
            usage: Usage::default(),
            log: None,
        });
        if lane.is_none() {
            draft.check(&environment);
        }
        let key = submission.lane.clone();
        let superseded_below = match (&lane, submission.supersede) {
            (_, true) => number,
            (Some(lane), false) => lane.superseded_below,
            (None, false) => 0,
        };
        let turned = Lane { key: key.clone(), next: number + 1, current: Some(current), superseded_below };
        draft.put(lane.as_ref(), turned);
        draft.create(LanePlace { lane: key, number, deployment: id });
        draft.remember(submission.idempotency.as_ref(), used.as_ref(), id);
        if let Some(name) = submission.lane.application_name() {
            let deployed = deployed(application.as_ref(), name, submission, now);
            match &application {
                Some(read) if read.value == deployed => draft.check(read),
                read => {
                    draft.put(read.as_ref(), deployed);
                }
            }
        }
        let action = match submission.kind {
            DeploymentKind::Apply => "deployment.submitted",
            DeploymentKind::Teardown => "teardown.submitted",
            DeploymentKind::Release => "release.submitted",
            DeploymentKind::Pool => "upkeep.submitted",
        };
        draft.audit(Subject::Deployment(id), action, submission.commit_id.clone());
        draft.commit().await?;
        // Only its own deployments give an application anything to hold, and there was none before.
        let known = Known { resolved, nothing_held: lane.is_none() };
        Ok(Tried::Now(Box::new(Recorded { deployment, is_current: current == id, known })))
    }
}

impl<P: Ports> Engine<P> {
    /// Cancels what waits in a lane before a deployment that supersedes it. What this misses cancels itself when its turn
    /// comes.
    async fn cancel_pending(&self, caller: &Caller, lane: &LaneKey, by: DeploymentId) {
        if let Err(error) = self.try_cancel_pending(caller, lane, by).await {
            tracing::warn!(deployment = %by, error = %Causes(&error), "what it supersedes still waits");
        }
    }

    async fn try_cancel_pending(&self, caller: &Caller, lane: &LaneKey, by: DeploymentId) -> Result<(), Error> {
        let organisation = caller.organisation();
        let places: Vec<Versioned<LanePlace>> = self.list_all(organisation, &Set::LanePlaces(lane.clone())).await?;
        let before = places.iter().take_while(|place| place.deployment != by);
        let items: Vec<Item> = before.map(|place| Item::Deployment(place.deployment)).collect();
        for read in self.read_all::<Deployment>(organisation, &items).await?.into_iter().flatten() {
            if read.status == DeploymentStatus::Pending && read.plan.is_none() {
                let cancelled = DeploymentEvent::Cancelled;
                match self.end_unplanned(caller, &read, cancelled, superseded_failure()).await {
                    Ok(wakes) => self.send(&wakes).await,
                    Err(Error::Conflict) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Aliases make a file's metadata as long as they like.
fn check_size(submission: &Submission<'_>, resolved: Option<&Resolved>) -> Result<(), Refusal> {
    let of_file = resolved.map(|resolved| (&resolved.metadata, &resolved.services));
    let kept = (&submission.metadata, &submission.options, &submission.commit_id, of_file);
    if serde_json::to_string(&kept).map_or(usize::MAX, |text| text.len()) > MAX_KEPT {
        return Err(Refusal::new(Code::DeploymentTooLarge, Code::DeploymentTooLarge.title()));
    }
    Ok(())
}

/// The same refusal, with the line and column of each fault in the Score file.
fn placed(error: Error, score: Option<&str>) -> Error {
    match (error, score) {
        (Error::Refused(mut refusal), Some(text)) => {
            let pointers: Vec<&str> = refusal.faults.iter().map(|fault| fault.pointer.as_str()).collect();
            let places = score::places(text, &pointers);
            for (fault, (line, column)) in refusal.faults.iter_mut().zip(places) {
                (fault.line, fault.column) = (line, column);
            }
            Error::Refused(refusal)
        }
        (error, _) => error,
    }
}

/// The application as it is once this submission is recorded.
fn deployed(
    read: Option<&Versioned<Application>>,
    name: &ApplicationName,
    submission: &Submission<'_>,
    now: jiff::Timestamp,
) -> Application {
    let mut application = match read {
        Some(read) => read.value.clone(),
        None => Application::new(name.clone(), now),
    };
    application.environments.insert(submission.lane.environment.clone());
    if let (Some(file), Some(workload)) = (submission.file, &submission.workload) {
        let ports = file.service.as_ref().map(|service| service.ports.clone()).unwrap_or_default();
        application.workloads.insert(workload.clone(), ports);
    }
    application
}

/// Why a deployment was stopped before it began.
pub(crate) fn superseded_failure() -> Failure {
    Failure::new(Code::Superseded, Code::Superseded.title())
}

/// Reads a Score file; every problem in it is a fault with pointer, and with line and column.
pub fn read_file(text: &str) -> Result<ScoreFile, Refusal> {
    if text.len() > score::MAX_FILE_BYTES {
        return Err(Refusal::new(Code::ScoreTooLarge, Code::ScoreTooLarge.title()));
    }
    let refuse = |problems: Vec<score::Problem>| {
        let code = match problems.first().map(|problem| problem.code) {
            Some("yaml_invalid") => Code::YamlInvalid,
            Some("dependency_cycle") => Code::DependencyCycle,
            Some(code) if code.starts_with("placeholder_") => Code::PlaceholderInvalid,
            _ => Code::ScoreInvalid,
        };
        Refusal::at(code, score::locate(text, problems).into_iter().map(Fault::from).collect())
    };
    let file = score::parse(text).map_err(refuse)?;
    if file.resources.len() > MAX_OPERATIONS {
        let detail = format!("the file names {} resources; {MAX_OPERATIONS} are allowed", file.resources.len());
        return Err(Refusal::new(Code::TooManyOperations, detail));
    }
    let problems = score::check_references(&file);
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    score::order(&file).map_err(refuse)?;
    Ok(file)
}

fn names(request: &DeploymentRequest, file: &ScoreFile) -> Result<(ApplicationName, WorkloadName), Refusal> {
    let invalid = |detail: String| Refusal::at(Code::NameInvalid, vec![Fault::at("/metadata/name", detail)]);
    let workload = match &file.name {
        Some(name) => WorkloadName::new(name.as_str()).map_err(|error| invalid(error.to_string()))?,
        None => WorkloadName::main(),
    };
    let application = match (&request.application, &file.name) {
        (Some(application), _) => application.clone(),
        (None, Some(name)) => ApplicationName::new(name.as_str()).map_err(|error| invalid(error.to_string()))?,
        (None, None) => {
            let detail = "no application: give `application`, or `metadata.name` in the Score file";
            return Err(Refusal::at(Code::BodyInvalid, vec![Fault::at("/application", detail)]));
        }
    };
    Ok((application, workload))
}

#[cfg(test)]
mod tests {
    use conductor_domain::environment::EnvironmentSpec;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::commit::Precondition;
    use crate::query::DeploymentFilter;
    use crate::templates::tests::{caller, engine};

    #[tokio::test]
    async fn what_would_not_fit_into_the_record_is_refused_before_anything_is_written() {
        let (engine, caller) = (engine(), caller());
        let environment: EnvironmentName = "staging".parse().expect("a name");
        let put = engine.put_environment(&caller, &environment, EnvironmentSpec::default(), &Precondition::None).await;
        put.expect("an environment");
        let submit = |score: String, metadata: Value, allow_destroy: Vec<String>| {
            let request = DeploymentRequest {
                application: Some("shop".parse().expect("a name")),
                environment: environment.clone(),
                score,
                options: Options { allow_destroy, ..Options::default() },
                commit_id: None,
                metadata: metadata.as_object().cloned().unwrap_or_default(),
                idempotency: None,
                supersede: false,
            };
            let (engine, caller) = (&engine, &caller);
            async move { engine.submit(caller, request).await.map_err(|error| error.refusal().code) }
        };
        let aliases =
            |bytes: usize| format!("metadata: {{a: &x {}, b: *x, c: *x}}\nresources: {{}}\n", "x".repeat(bytes));
        let plain = || "resources: {}\n".to_owned();
        let too_large = Err(Code::DeploymentTooLarge);
        let code = |submitted: Result<Submitted, Code>| submitted.map(|_| ());
        assert_eq!(code(submit(aliases(MAX_KEPT / 2), json!({}), vec![]).await), too_large);
        assert_eq!(code(submit(plain(), json!({"a": "x".repeat(MAX_KEPT)}), vec![]).await), too_large);
        assert_eq!(code(submit(plain(), json!({}), vec!["x".repeat(MAX_KEPT)]).await), too_large);
        let metadata = json!({"a": "x".repeat(MAX_KEPT / 4)});
        assert_eq!(code(submit(aliases(MAX_KEPT / 4), metadata.clone(), vec![]).await), too_large);
        let listed = engine.deployments(&caller, &DeploymentFilter::default(), None, 10).await.expect("a list");
        assert!(listed.items.is_empty(), "{:?}", listed.items);
        for id in (0..100).map(Uuid::from_u128) {
            let kept = engine.vault.get(&format!("deployments/{id}/score")).await.expect("the vault answers");
            assert_eq!(kept, None, "{id}");
        }
        assert_eq!(code(submit(aliases(1024), metadata, vec![]).await), Ok(()));
    }
}
