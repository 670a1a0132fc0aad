//! The real engine in a world of its own: a store in memory, a cloud that is a map, several workers and sweepers at once,
//! messages that are lost, repeated and out of order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use conductor_domain::deployment::Options;
use conductor_domain::environment::{EnvironmentSpec, TypeDefaults};
use conductor_domain::ids::DeploymentId;
use conductor_domain::name::OrganisationName;
use conductor_domain::pool::{PoolKey, PoolSharing};
use conductor_domain::principal::Caller;
use conductor_domain::template::TemplateName;
use conductor_engine::imagine::{Collected, Nothing, ObjectsOver};
use conductor_engine::port::{Clock, Meter, Wake};
use conductor_engine::{
    Causes, DeploymentRequest, DryRun, Engine, Error, Foreseen, NewConsumer, NewVersion, PoolSpec, Precondition,
    Settings, TeardownRequest, Timings,
};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use jiff::SignedDuration;
use serde_json::{Map, json};

use crate::catalog::{KINDS, interface, versions};
use crate::clock::VirtualClock;
use crate::cloud::Cloud;
use crate::foresight::{Foresight, Told};
use crate::model::{Answer, Seen, Workload};
use crate::play::Driver;
use crate::step::{Ask, ENVIRONMENTS};
use crate::store::{Simulated, Unfair};

/// Futures that are polled at a time.
const AT_ONCE: usize = 6;
/// How often a message is lost, and how often it comes twice.
const LOST: f64 = 0.03;
/// How often somebody sweeps while others work.
const SWEPT: f64 = 0.04;
/// How long a worker's invocation may last.
const INVOCATION: SignedDuration = SignedDuration::from_mins(15);
/// When the first sweep after a request is: a lost message is sent again then.
const SOON: Duration = Duration::from_secs(30);
/// Time between the sweeps after it: longer than any due record is postponed.
const LATER: Duration = Duration::from_secs(16 * 60);
/// Sweeps until a world must be at rest.
const SWEEPS: usize = 40;

/// A world.
pub struct World {
    pub(crate) engine: Arc<Engine<Simulated>>,
    pub(crate) caller: Caller,
    pub(crate) cloud: Cloud,
    /// Deployments whose log was looked at.
    pub(crate) read: RefCell<BTreeSet<DeploymentId>>,
    clock: VirtualClock,
    backlog: RefCell<Vec<Wake>>,
    workers: Cell<u32>,
}

/// What is done at once in a world: requests, with their place among them, and work, which answers nothing.
type Busy<'a> = FuturesUnordered<LocalBoxFuture<'a, Result<Option<(usize, Answer)>, String>>>;

/// A name or an id that is one.
pub(crate) fn named<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a name, a version or an id")
}

/// An error with its causes.
pub(crate) fn shown(error: impl std::error::Error + 'static) -> String {
    Causes(&error).to_string()
}

impl World {
    /// A world with templates and environments, and nothing else. The same schedule is the same course of events.
    pub async fn new(schedule: u64) -> Result<Self, String> {
        let clock = VirtualClock::new(schedule);
        let (timings, meter) = (Timings::default(), Meter::default());
        let settings = Settings { state_bucket: "states".to_owned(), workers: false, timings, meter };
        let records = Unfair::new(clock.clone());
        let cloud = Cloud::new(records.memory.clone(), clock.clone());
        let engine = Engine::new(
            records,
            ObjectsOver::new(Nothing),
            ObjectsOver::new(Nothing),
            Collected::default(),
            clock.clone(),
            settings,
        );
        let organisation: OrganisationName = named("acme");
        let caller = Caller::system(organisation, "property");
        let engine = Arc::new(engine);
        let (read, backlog) = (RefCell::default(), RefCell::default());
        let world = Self { engine, caller, cloud, read, clock, backlog, workers: Cell::default() };
        world.furnish().await.map_err(shown)?;
        Ok(world)
    }

    async fn furnish(&self) -> Result<(), Error> {
        for kind in KINDS {
            for version in versions(kind) {
                let new = NewVersion {
                    template: TemplateName::new(kind, None),
                    version: named(version),
                    archive: Vec::new(),
                    sha256: format!("{kind}-{version}"),
                    interface: interface(kind),
                    engine: "terraform".to_owned(),
                    engine_version: String::new(),
                    uses: Vec::new(),
                };
                self.engine.publish(&self.caller, new).await?;
            }
        }
        for environment in ENVIRONMENTS {
            let mut spec = EnvironmentSpec::default();
            if environment == "prod" {
                let parameters = Map::from_iter([("size".to_owned(), json!(3))]);
                spec.defaults.insert("db".to_owned(), TypeDefaults { parameters, ..TypeDefaults::default() });
            }
            self.engine.put_environment(&self.caller, &named(environment), spec, &Precondition::None).await?;
        }
        Ok(())
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer, String> {
        match self.try_ask(ask).await {
            Err(Error::Refused(refusal)) => Ok(Answer::Refused(refusal.code)),
            Err(error) => Err(format!("a request fails: {}", shown(error))),
            Ok(answer) => Ok(answer),
        }
    }

    async fn try_ask(&self, ask: &Ask) -> Result<Answer, Error> {
        let (engine, caller) = (&self.engine, &self.caller);
        match ask {
            Ask::Deploy { .. } | Ask::Teardown { .. } => {
                let submitted = match (deployment(ask), teardown(ask)) {
                    (Some(request), _) => engine.submit(caller, request).await?,
                    (None, Some(request)) => engine.teardown(caller, request).await?,
                    (None, None) => return Ok(Answer::Done),
                };
                return Ok(Answer::Deployment(submitted.deployment.to_string()));
            }
            Ask::AddConsumer { resource, environment, application, workload } => {
                let new = NewConsumer {
                    environment: named(environment),
                    application: named(application),
                    workload: workload.as_deref().map(named),
                };
                engine.add_consumer(caller, named(resource), new, None).await?;
            }
            Ask::RemoveConsumer { resource, id, .. } => {
                engine.remove_consumer(caller, named(resource), id, false).await?;
            }
            Ask::DeleteResource { resource } => {
                engine.delete_resource(caller, named(resource), false, &Precondition::None).await?;
            }
            Ask::PutPool { environment, pool, size } => {
                let dedicated = pool.most == 1;
                let spec = PoolSpec {
                    template: TemplateName::new(pool.kind, None),
                    version: None,
                    parameters: pool.parameters(),
                    size: *size,
                    sharing: if dedicated { PoolSharing::Dedicated } else { PoolSharing::Shared },
                    max_consumers: (!dedicated).then_some(pool.most as u32),
                    retain: false,
                };
                let key = PoolKey { environment: named(environment), name: named(pool.name) };
                engine.put_pool(caller, key, spec, &Precondition::None).await?;
            }
            Ask::DeletePool { environment, pool } => {
                let key = PoolKey { environment: named(environment), name: named(pool.name) };
                engine.delete_pool(caller, &key, &Precondition::None).await?;
            }
        }
        Ok(Answer::Done)
    }

    /// The next message, in any order. While `lossy`, some are lost and some come again.
    fn wake(&self, lossy: bool) -> Option<Wake> {
        let mut backlog = self.backlog.borrow_mut();
        backlog.extend(self.engine.queue.drain());
        while !backlog.is_empty() {
            let index = self.clock.below(backlog.len());
            if lossy && self.clock.sometimes(LOST) {
                return backlog.get(index).cloned();
            }
            let wake = backlog.swap_remove(index);
            if !(lossy && self.clock.sometimes(LOST)) {
                return Some(wake);
            }
        }
        None
    }

    async fn work(&self, wake: Wake) -> Result<(), String> {
        let number = self.workers.get() + 1;
        self.workers.set(number);
        let worker = self.cloud.worker(format!("worker-{number}"));
        let deadline = self.clock.now() + INVOCATION;
        match self.engine.work(wake, &worker, Some(deadline)).await {
            // Whoever was faster goes on with it.
            Ok(()) | Err(Error::Conflict) => Ok(()),
            Err(error) => Err(format!("a worker fails: {}", shown(error))),
        }
    }

    async fn sweep(&self) -> Result<(), String> {
        let swept = self.engine.sweep().await.map_err(shown)?;
        if swept.failed == 0 { Ok(()) } else { Err(format!("a sweep fails: {swept:?}")) }
    }

    /// Makes requests, and works until there is no message left.
    async fn run(&self, asks: &[Ask], lossy: bool) -> Result<Vec<Answer>, String> {
        let mut busy: Busy<'_> = FuturesUnordered::new();
        for (index, ask) in asks.iter().enumerate() {
            busy.push(Box::pin(async move { self.ask(ask).await.map(|answer| Some((index, answer))) }));
        }
        let mut answers = BTreeMap::new();
        loop {
            while busy.len() < AT_ONCE
                && let Some(wake) = self.wake(lossy)
            {
                busy.push(Box::pin(async move { self.work(wake).await.map(|()| None) }));
            }
            if lossy && self.clock.sometimes(SWEPT) {
                busy.push(Box::pin(async move { self.sweep().await.map(|()| None) }));
            }
            match busy.next().await {
                Some(done) => answers.extend(done?),
                None => return Ok(answers.into_values().collect()),
            }
        }
    }

    /// Sweeps and works until a sweep finds nothing to do.
    async fn settle(&self) -> Result<(), String> {
        for number in 0..SWEEPS {
            let before = self.engine.records.commits();
            self.clock.sleep(if number == 0 { SOON } else { LATER }).await;
            self.sweep().await?;
            self.run(&[], false).await?;
            if number > 0 && self.engine.records.commits() == before {
                return Ok(());
            }
        }
        Err(format!("it is not at rest after {SWEEPS} sweeps"))
    }
}

fn deployment(ask: &Ask) -> Option<DeploymentRequest> {
    let Ask::Deploy { workload: Workload { environment, application, .. }, text, options, .. } = ask else {
        return None;
    };
    let asked =
        Options { prune: options.prune, refresh: options.refresh, upgrade: options.upgrade, ..Options::default() };
    Some(DeploymentRequest {
        application: Some(named(application)),
        environment: named(environment),
        score: text.clone(),
        options: asked,
        commit_id: None,
        metadata: Map::new(),
        idempotency: None,
        supersede: options.supersede,
    })
}

fn teardown(ask: &Ask) -> Option<TeardownRequest> {
    let Ask::Teardown { environment, application, workload } = ask else { return None };
    Some(TeardownRequest {
        environment: named(environment),
        application: named(application),
        workload: workload.as_deref().map(named),
        allow_destroy: Vec::new(),
        idempotency: None,
    })
}

fn told(foreseen: Foreseen) -> Told {
    let Foreseen { operation, prospects, decided_by } = foreseen;
    Told { name: operation.resource.clone(), action: operation.action(), prospects, decided_by }
}

impl Driver for World {
    async fn foresee(&self, ask: &Ask) -> Result<Option<Foresight>, String> {
        let before = self.engine.records.commits();
        let told_of = match (deployment(ask), teardown(ask)) {
            (Some(request), _) => self.engine.dry_run(&self.caller, request).await,
            (None, Some(request)) => self.engine.dry_run_teardown(&self.caller, request).await,
            (None, None) => return Ok(None),
        };
        if self.engine.records.commits() != before || !self.engine.queue.drain().is_empty() {
            return Err("a dry run does something".to_owned());
        }
        match told_of {
            Ok(DryRun { deployment, operations, waits_for }) => Ok(Some(Foresight::Told {
                operations: operations.into_iter().map(told).collect(),
                error: deployment.error.map(|failure| failure.code),
                waits: !waits_for.is_empty(),
            })),
            Err(Error::Refused(refusal)) => Ok(Some(Foresight::Refused(refusal.code))),
            Err(error) => Err(format!("a dry run fails: {}", shown(error))),
        }
    }

    async fn carry_out(&self, asks: &[Ask]) -> Result<Vec<Answer>, String> {
        let answers = self.run(asks, true).await?;
        self.settle().await?;
        Ok(answers)
    }

    async fn look(&self) -> Result<Seen, String> {
        self.read_all().await
    }
}
