//! The deployed stack, with templates, environments and applications of a run alone: the driver that speaks HTTP.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use conductor_acceptance::{Answer as Response, Stack, pool_path, time};
use futures::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::catalog::{KINDS, POOLS, versions};
use crate::foresight::Foresight;
use crate::model::{Answer, Consumer, Deployment, Resource, Seen};
use crate::module::main_tf;
use crate::names::Names;
use crate::play::Driver;
use crate::reading::Standing;
use crate::states::States;
use crate::step::{APPLICATIONS, Ask, ENVIRONMENTS};
use crate::view::{DryRunView, Problem, parsed};

/// Lists are in the order of time, but not to the second.
const LAG: SignedDuration = SignedDuration::from_secs(10);
/// How often a run lets go of what is left of it: a resource goes after those that depend on it.
const ROUNDS: usize = 6;

/// The stack, and what is known of a run there.
pub struct World {
    pub(crate) stack: Stack,
    pub(crate) states: States,
    pub(crate) names: Names,
    /// Nothing of the run is older.
    pub(crate) began: Timestamp,
    /// Deployments that requests were answered with.
    pub(crate) started: RefCell<BTreeSet<String>>,
    /// Deployments that have ended: they do not change any more.
    pub(crate) ended: RefCell<BTreeMap<String, Deployment>>,
    /// Resources that are gone, and their states with them.
    pub(crate) gone: RefCell<BTreeMap<String, Standing>>,
    /// Why it was not at rest, at the last look.
    pub(crate) waits_for: RefCell<String>,
    /// What was seen when it came to rest.
    seen: RefCell<Option<Seen>>,
}

impl World {
    /// A world with templates and environments, and nothing else.
    pub async fn new() -> Self {
        let (stack, names) = (Stack::load(), Names::fresh());
        let mut made = Vec::new();
        for environment in ENVIRONMENTS {
            let path = format!("/v1/environments/{}", names.own(environment));
            // As in the run in memory.
            let spec = match environment {
                "prod" => json!({"defaults": {(names.own("db")): {"parameters": {"size": 3}}}}),
                _ => json!({}),
            };
            let answer = stack.put(&path, &spec).await.expect(201);
            made.push(time(&answer.body["createdAt"]));
        }
        for kind in KINDS {
            for version in versions(kind) {
                let module = main_tf(kind, version);
                stack.publish(&names.own(kind), version, &[("main.tf", &module)]).await.expect(201);
            }
        }
        Self {
            states: States::of(&stack),
            stack,
            names,
            began: made.into_iter().min().expect("an environment") - LAG,
            started: RefCell::default(),
            ended: RefCell::default(),
            gone: RefCell::default(),
            waits_for: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer, String> {
        let response = self.send(ask).await;
        if !(200..300).contains(&response.status) {
            return Ok(Answer::Refused(parsed::<Problem>(&response.body)?.code));
        }
        // A release, too, is answered with its deployment; a pool has no id.
        let id = response.body["id"].as_str().filter(|_| response.status == 202).map(str::to_owned);
        self.started.borrow_mut().extend(id.clone());
        match (ask, id) {
            (Ask::Deploy { .. } | Ask::Teardown { .. }, Some(id)) => Ok(Answer::Deployment(id)),
            (Ask::Deploy { .. } | Ask::Teardown { .. }, None) => Err(format!("no deployment: {response:#?}")),
            _ => Ok(Answer::Done),
        }
    }

    async fn send(&self, ask: &Ask) -> Response {
        let (stack, names) = (&self.stack, &self.names);
        match ask {
            Ask::Deploy { .. } | Ask::Teardown { .. } => self.deploy(ask, false).await,
            Ask::AddConsumer { resource, environment, application, workload } => {
                let body = json!({
                    "environment": names.own(environment),
                    "application": names.own(application),
                    "workload": workload,
                });
                stack.post(&format!("/v1/resources/{resource}/consumers"), &body).await
            }
            Ask::RemoveConsumer { resource, id, .. } => {
                stack.delete(&format!("/v1/resources/{resource}/consumers/{id}")).await
            }
            Ask::DeleteResource { resource } => stack.delete(&format!("/v1/resources/{resource}")).await,
            Ask::PutPool { environment, pool, size } => {
                let mut body = json!({"type": names.own(pool.kind), "parameters": pool.parameters(), "size": size});
                if pool.most > 1 {
                    body["sharing"] = json!("shared");
                    body["maxConsumers"] = json!(pool.most);
                }
                stack.put_pool(&names.own(environment), pool.name, &body).await
            }
            Ask::DeletePool { environment, pool } => stack.delete(&pool_path(&names.own(environment), pool.name)).await,
        }
    }

    /// Deploys or tears down, or asks what that would do.
    async fn deploy(&self, ask: &Ask, dry_run: bool) -> Response {
        match ask {
            Ask::Deploy { workload, text, options, .. } => {
                let body = json!({
                    "environment": self.names.own(&workload.environment),
                    "application": self.names.own(&workload.application),
                    "score": self.names.file(text),
                    "prune": options.prune,
                    "refresh": options.refresh,
                    "upgrade": options.upgrade,
                    "queue": if options.supersede { "supersede" } else { "wait" },
                });
                let query = if dry_run { "?dryRun=true" } else { "" };
                self.stack.post(&format!("/v1/deployments{query}"), &body).await
            }
            Ask::Teardown { environment, application, workload } => {
                let (environment, application) = (self.names.own(environment), self.names.own(application));
                let workload = workload.as_ref().map(|workload| format!("&workload={workload}")).unwrap_or_default();
                let query = format!("?dryRun={dry_run}{workload}");
                let path = format!("/v1/applications/{application}/environments/{environment}{query}");
                self.stack.delete(&path).await
            }
            other => panic!("no deployment: {other:?}"),
        }
    }

    /// Tears everything down. Types and their templates stay: nothing removes them.
    pub async fn clear(&self) -> Result<(), String> {
        let mut paths = Vec::new();
        for environment in ENVIRONMENTS.map(|environment| self.names.own(environment)) {
            let of = |application: &str| {
                format!("/v1/applications/{}/environments/{environment}", self.names.own(application))
            };
            paths.extend(APPLICATIONS.map(of));
            paths.extend(POOLS.iter().map(|pool| pool_path(&environment, pool.name)));
        }
        // Not all of them are there.
        join_all(paths.iter().map(|path| self.stack.delete(path))).await;
        for _ in 0..ROUNDS {
            let seen = self.settle().await?;
            let left: Vec<String> = seen.live().flat_map(unused).collect();
            if left.is_empty() {
                break;
            }
            join_all(left.iter().map(|path| self.stack.delete(path))).await;
        }
        for application in APPLICATIONS {
            self.stack.delete(&format!("/v1/applications/{}", self.names.own(application))).await;
        }
        for environment in ENVIRONMENTS {
            let path = format!("/v1/environments/{}", self.names.own(environment));
            let answer = self.stack.delete(&path).await;
            if answer.status != 204 {
                return Err(format!("something is left of {path}: {:#}", answer.body));
            }
        }
        Ok(())
    }
}

/// What can be deleted at a resource: the consumers that the API added, and itself where it has no consumers.
fn unused(resource: &Resource) -> Vec<String> {
    let path = format!("/v1/resources/{}", resource.id);
    if resource.consumers.is_empty() {
        return vec![path];
    }
    let added = resource.consumers.iter().filter(|(_, consumer)| matches!(consumer, Consumer::Api { .. }));
    added.map(|(id, _)| format!("{path}/consumers/{id}")).collect()
}

impl Driver for World {
    async fn foresee(&self, ask: &Ask) -> Result<Option<Foresight>, String> {
        if !matches!(ask, Ask::Deploy { .. } | Ask::Teardown { .. }) {
            return Ok(None);
        }
        let response = self.deploy(ask, true).await;
        if response.status == 200 {
            return Ok(Some(parsed::<DryRunView>(&response.body)?.told()));
        }
        Ok(Some(Foresight::Refused(parsed::<Problem>(&response.body)?.code)))
    }

    async fn carry_out(&self, asks: &[Ask]) -> Result<Vec<Answer>, String> {
        let answers = try_join_all(asks.iter().map(|ask| self.ask(ask))).await?;
        let seen = self.settle().await?;
        self.seen.replace(Some(seen));
        Ok(answers)
    }

    async fn look(&self) -> Result<Seen, String> {
        match self.seen.take() {
            Some(seen) => Ok(seen),
            None => self.settle().await,
        }
    }
}
