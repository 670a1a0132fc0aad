//! Submitting: a request is checked against everything that is known, recorded once, and given its place in its lane.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

use conductor_domain::application::Application;
use conductor_domain::code::Fault;
use conductor_domain::deployment::{Deployment, DeploymentKind, DeploymentStatus, Options, Releases};
use conductor_domain::environment::Environment;
use conductor_domain::ids::{DeploymentId, GenericUuid};
use conductor_domain::lane::{Lane, LaneKey, LanePlace};
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::MAX_OPERATIONS;
use conductor_domain::principal::Caller;
use conductor_domain::score::{self, ScoreFile};
use conductor_domain::{Code, Refusal};
use jiff::SignedDuration;

use crate::port::{Clock, Objects, Ports, Versioned};
use crate::record::{Idempotency, Item, Subject};
use crate::resolve::Resolved;
use crate::{Causes, Engine, Error};

/// How long an idempotency key is kept.
const KEY_TIME: SignedDuration = SignedDuration::from_hours(24);

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
    /// The idempotency key, and the SHA-256 of the request, hex.
    pub idempotency: Option<(String, String)>,
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
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The deployment.
    pub deployment: DeploymentId,
    /// True where the same request with the same key had been recorded before.
    pub repeated: bool,
}

struct Submission<'a> {
    kind: DeploymentKind,
    lane: LaneKey,
    workload: Option<WorkloadName>,
    file: Option<&'a ScoreFile>,
    score: Option<&'a str>,
    options: Options,
    commit_id: Option<String>,
    metadata: Map<String, Value>,
    idempotency: Option<(String, String)>,
}

impl<P: Ports> Engine<P> {
    /// Records a deployment and starts it if its turn has come.
    pub async fn submit(&self, caller: &Caller, request: DeploymentRequest) -> Result<Submitted, Error> {
        let file = read_file(&request.score)?;
        let (application, workload) = names(&request, &file)?;
        let submission = Submission {
            kind: DeploymentKind::Apply,
            lane: LaneKey { environment: request.environment, application },
            workload: Some(workload),
            file: Some(&file),
            score: Some(&request.score),
            options: request.options,
            commit_id: request.commit_id,
            metadata: request.metadata,
            idempotency: request.idempotency,
        };
        self.record(caller, submission).await
    }

    /// Records a teardown and starts it if its turn has come.
    pub async fn teardown(&self, caller: &Caller, request: TeardownRequest) -> Result<Submitted, Error> {
        self.environment(caller, &request.environment).await?;
        self.application(caller, &request.application).await?;
        let submission = Submission {
            kind: DeploymentKind::Teardown,
            lane: LaneKey { environment: request.environment, application: request.application },
            workload: request.workload,
            file: None,
            score: None,
            options: Options::default(),
            commit_id: None,
            metadata: Map::new(),
            idempotency: None,
        };
        self.record(caller, submission).await
    }

    async fn record(&self, caller: &Caller, submission: Submission<'_>) -> Result<Submitted, Error> {
        let id = DeploymentId::from_untyped_uuid(self.clock.fresh_id());
        let mut stored = false;
        let mut tries = self.tries();
        loop {
            match self.try_record(caller, &submission, id, &mut stored).await {
                Err(Error::Conflict) => {
                    // A commit of ours whose answer was lost looks like somebody else's.
                    if self.read::<Deployment>(caller.organisation(), Item::Deployment(id)).await?.is_some() {
                        return Ok(Submitted { deployment: id, repeated: false });
                    }
                    self.again(&mut tries).await?;
                }
                Ok((Submitted { repeated: true, deployment }, _)) => {
                    return Ok(Submitted { repeated: true, deployment });
                }
                Ok((submitted, resolved)) => {
                    // The request is recorded: what goes wrong from here on, the sweeper mends.
                    if let Err(error) = self.start_now(caller, submitted.deployment, resolved).await {
                        let error = Causes(&error);
                        tracing::warn!(deployment = %id, %error, "recorded, and not started yet");
                    }
                    return Ok(submitted);
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
    ) -> Result<(Submitted, Option<Resolved>), Error> {
        let organisation = caller.organisation();
        let lane_item = Item::Lane(submission.lane.clone());
        let environment_item = Item::Environment(submission.lane.environment.clone());
        let application_item = Item::Application(submission.lane.application.clone());
        let mut items = vec![lane_item.clone(), environment_item.clone(), application_item.clone()];
        let key_item =
            submission.idempotency.as_ref().map(|(key, _)| Item::Idempotency(caller.principal.id.clone(), key.clone()));
        items.extend(key_item.clone());
        let mut batch = self.batch(organisation, items).await?;

        let used = match &key_item {
            Some(item) => batch.take::<Idempotency>(item)?,
            None => None,
        };
        let now = self.clock.now();
        if let (Some(used), Some((_, request))) = (&used, &submission.idempotency)
            && used.expires_at > now
        {
            if used.request != *request {
                return Err(Refusal::new(Code::IdempotencyKeyReused, Code::IdempotencyKeyReused.title()).into());
            }
            return Ok((Submitted { deployment: used.deployment, repeated: true }, None));
        }

        let environment: Versioned<Environment> = batch.take(&environment_item)?.ok_or_else(|| {
            let detail = format!("there is no environment {}", submission.lane.environment);
            Refusal::at(Code::EnvironmentUnknown, vec![Fault::at("/environment", detail)])
        })?;
        let resolved = match submission.file {
            Some(file) => {
                let application = &submission.lane.application;
                let resolved = self.resolve(caller, &environment, application, submission.options.upgrade, file).await;
                Some(resolved.map_err(|error| placed(error, submission.score))?)
            }
            None => None,
        };

        let score = submission.score.map(|_| format!("deployments/{id}/score"));
        if let (Some(text), Some(name), false) = (submission.score, &score, *stored) {
            self.vault.put(name, text.as_bytes().to_vec()).await?;
            *stored = true;
        }

        let lane: Option<Versioned<Lane>> = batch.take(&lane_item)?;
        let application: Option<Versioned<Application>> = batch.take(&application_item)?;
        let number = lane.as_ref().map_or(1, |lane| lane.next);
        let current = lane.as_ref().and_then(|lane| lane.current).unwrap_or(id);

        let mut draft = self.draft(caller, Some(id));
        draft.create(Deployment {
            id,
            kind: submission.kind,
            status: DeploymentStatus::Pending,
            entered_at: now,
            lane: submission.lane.clone(),
            number,
            workload: submission.workload.clone(),
            options: submission.options.clone(),
            commit_id: submission.commit_id.clone(),
            metadata: submission.metadata.clone(),
            requested_by: caller.principal.id.clone(),
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
        });
        if lane.is_none() {
            draft.check(&environment);
        }
        let key = submission.lane.clone();
        draft.put(lane.as_ref(), Lane { key: key.clone(), next: number + 1, current: Some(current) });
        draft.create(LanePlace { lane: key, number, deployment: id });
        if let Some((key, request)) = &submission.idempotency {
            let value = Idempotency {
                principal: caller.principal.id.clone(),
                key: key.clone(),
                request: request.clone(),
                deployment: id,
                expires_at: now + KEY_TIME,
            };
            draft.put(used.as_ref(), value);
        }
        let deployed = deployed(application.as_ref(), submission, now);
        match &application {
            Some(read) if read.value == deployed => draft.check(read),
            read => {
                draft.put(read.as_ref(), deployed);
            }
        }
        let action = match submission.kind {
            DeploymentKind::Apply => "deployment.submitted",
            DeploymentKind::Teardown => "teardown.submitted",
        };
        draft.audit(Subject::Deployment(id), action, submission.commit_id.clone());
        draft.commit().await?;
        Ok((Submitted { deployment: id, repeated: false }, resolved))
    }
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
fn deployed(read: Option<&Versioned<Application>>, submission: &Submission<'_>, now: jiff::Timestamp) -> Application {
    let mut application = match read {
        Some(read) => read.value.clone(),
        None => Application::new(submission.lane.application.clone(), now),
    };
    application.environments.insert(submission.lane.environment.clone());
    if let (Some(file), Some(workload)) = (submission.file, &submission.workload) {
        let ports = file.service.as_ref().map(|service| service.ports.clone()).unwrap_or_default();
        application.workloads.insert(workload.clone(), ports);
    }
    application
}

/// Reads a Score file; every problem in it is a fault with pointer, and with line and column.
pub(crate) fn read_file(text: &str) -> Result<ScoreFile, Refusal> {
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
    let problems = score::check_references(&file);
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    score::order(&file).map_err(refuse)?;
    if file.resources.len() > MAX_OPERATIONS {
        let detail = format!("the file names {} resources; {MAX_OPERATIONS} are allowed", file.resources.len());
        return Err(Refusal::new(Code::TooManyOperations, detail));
    }
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
