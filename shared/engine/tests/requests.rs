//! What a deployment asks of the ports, request by request, and that nothing goes wrong where what is taken for known is
//! not so any more.

mod common;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conductor_domain::deployment::{CancelOutcome, DeploymentStatus, Options};
use conductor_domain::environment::{EnvironmentSpec, TypeDefaults};
use conductor_domain::ids::DeploymentId;
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::ExecutorKind;
use conductor_domain::principal::Caller;
use conductor_domain::template::{Interface, TemplateName};
use conductor_engine::imagine::{Collected, Nothing, ObjectsOver, Overlay};
use conductor_engine::port::{
    Change, CommitError, Depths, Meter, Objects, Page, Ports, Queue, Records, StoreError, Version, Versioned, Wake,
};
use conductor_engine::{
    CancelRequest, Control, DeploymentRequest, DeploymentView, Engine, Executor, Item, Job, JobOutcome, Listing, Log,
    NewVersion, Precondition, Produced, Ran, Record, Set, Settings, Submitted, Timings,
};
use jiff::Timestamp;
use serde_json::{Map, json};

use common::{TestClock, named, run};

const ENVIRONMENT: &str = "dev";

/// A deployment of one resource, the first of its application.
const SUBMITTED: [&str; 6] = ["read", "put", "commit", "keep", "commit", "send"];
/// Its only operation, from the claim to the end of the deployment.
const CARRIED_OUT: [&str; 7] = ["read", "read", "commit", "heartbeat", "commit", "read", "commit"];

#[test]
fn a_new_resource_takes_twelve_requests_and_a_heartbeat() {
    for class in [None, Some("large")] {
        run(move || async move {
            let world = World::new(class).await;
            let submitted = world.submit("two").await;
            assert_eq!(world.asked(), SUBMITTED, "{class:?}");
            let view = submitted.view.expect("what was committed is known");
            let read = world.read(submitted.deployment).await;
            assert_eq!(world.asked(), ["list"], "{class:?}");
            assert_eq!(view.deployment, read.deployment);
            assert_eq!((&view.operations, &view.expected), (&read.operations, &read.expected));
            assert_eq!((view.operations.len(), view.expected.len(), view.leases.len()), (1, 1, 0));
            world.carry_out(&Worker::default()).await;
            assert_eq!(world.asked(), CARRIED_OUT, "{class:?}");
            assert_eq!(world.read(submitted.deployment).await.deployment.status, DeploymentStatus::Succeeded);
        });
    }
}

#[test]
fn what_somebody_has_written_meanwhile_is_read() {
    run(|| async {
        let world = World::new(None).await;
        let submitted = world.submit("two").await;
        let meanwhile = Some((world.engine.clone(), submitted.deployment));
        world.carry_out(&Worker { meanwhile }).await;
        let deployment = world.read(submitted.deployment).await.deployment.value;
        let outcome = deployment.cancel.and_then(|cancel| cancel.outcome);
        assert_eq!((deployment.status, outcome), (DeploymentStatus::Succeeded, Some(CancelOutcome::TooLate)));
    });
}

#[test]
fn who_comes_after_it_has_its_turn() {
    run(|| async {
        let world = World::new(None).await;
        let (one, other) = (world.submit("two").await, world.submit("two").await);
        let view = other.view.expect("what was committed is known");
        assert_eq!((view.deployment.status, view.operations.len()), (DeploymentStatus::Pending, 0));
        assert_eq!(view.deployment, world.read(other.deployment).await.deployment);
        world.carry_out(&Worker::default()).await;
        for submitted in [one.deployment, other.deployment] {
            assert_eq!(world.read(submitted).await.deployment.status, DeploymentStatus::Succeeded);
        }
    });
}

#[test]
fn whose_turn_has_come_is_looked_at_soon_however_long_it_has_waited() {
    run(|| async {
        let world = World::new(None).await;
        let (one, other) = (world.submit("two").await, world.submit("two").await);
        tokio::time::sleep(Duration::from_mins(20)).await;
        // Now it is not due for another 15 minutes.
        world.engine.sweep().await.expect("a sweep");
        for wake in world.messages() {
            world.engine.work(wake, &Worker::default(), None).await.expect("it can be worked");
        }
        assert_eq!(world.read(one.deployment).await.deployment.status, DeploymentStatus::Succeeded);
        assert!(!world.messages().is_empty(), "the wake-up that is lost");
        assert_eq!(world.read(other.deployment).await.deployment.status, DeploymentStatus::Pending);
        tokio::time::sleep(Duration::from_mins(1)).await;
        world.engine.sweep().await.expect("a sweep");
        world.carry_out(&Worker::default()).await;
        assert_eq!(world.read(other.deployment).await.deployment.status, DeploymentStatus::Succeeded);
    });
}

fn caller() -> Caller {
    Caller::system(named("acme"), "requests")
}

/// An engine, and what it asked of its ports.
struct World {
    engine: Arc<Engine<Memory>>,
    asked: Asked,
}

impl World {
    /// A process that has carried out one deployment, in an environment that chooses this class.
    async fn new(class: Option<&str>) -> Self {
        let asked = Asked::default();
        let (timings, meter) = (Timings::default(), Meter::default());
        let settings = Settings { state_bucket: "states".to_owned(), workers: false, timings, meter };
        let engine = Engine::new(
            Noted { inner: Overlay::new(Nothing), asked: asked.clone() },
            Noted { inner: ObjectsOver::new(Nothing), asked: asked.clone() },
            ObjectsOver::new(Nothing),
            Noted { inner: Collected::default(), asked: asked.clone() },
            TestClock::new(),
            settings,
        );
        let world = Self { engine: Arc::new(engine), asked };
        world.furnish(class).await;
        world.submit("one").await;
        world.carry_out(&Worker::default()).await;
        world.asked();
        world
    }

    async fn furnish(&self, class: Option<&str>) {
        let mut spec = EnvironmentSpec::default();
        let defaults = TypeDefaults { class: class.map(str::to_owned), ..TypeDefaults::default() };
        spec.defaults.insert("postgres".to_owned(), defaults);
        let made = self.engine.put_environment(&caller(), &named(ENVIRONMENT), spec, &Precondition::None).await;
        made.expect("an environment");
        let version = NewVersion {
            template: TemplateName::new("postgres", class),
            version: named("1.0.0"),
            archive: Vec::new(),
            sha256: "1".to_owned(),
            interface: Interface::default(),
            engine: "terraform".to_owned(),
            engine_version: String::new(),
            uses: Vec::new(),
        };
        self.engine.publish(&caller(), version).await.expect("a template");
    }

    async fn submit(&self, application: &str) -> Submitted {
        let request = DeploymentRequest {
            application: Some(named(application)),
            environment: named(ENVIRONMENT),
            score: json!({"resources": {"db": {"type": "postgres"}}}).to_string(),
            options: Options::default(),
            commit_id: None,
            metadata: Map::new(),
            idempotency: None,
            supersede: false,
        };
        self.engine.submit(&caller(), request).await.expect("a deployment")
    }

    async fn read(&self, id: DeploymentId) -> DeploymentView {
        self.engine.deployment(&caller(), id).await.expect("a deployment")
    }

    /// The messages, which are not there any more.
    fn messages(&self) -> Vec<Wake> {
        std::iter::from_fn(|| self.engine.queue.inner.take()).collect()
    }

    /// Works until there is no message left.
    async fn carry_out(&self, worker: &Worker) {
        while let Some(wake) = self.engine.queue.inner.take() {
            self.engine.work(wake, worker, None).await.expect("it can be worked");
        }
    }

    /// What was asked since the last call.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whose runs succeed at once.
#[derive(Default)]
struct Worker {
    /// A deployment that is cancelled while it runs.
    meanwhile: Option<(Arc<Engine<Memory>>, DeploymentId)>,
}

impl Executor for Worker {
    type Prepared = ();

    fn worker(&self) -> &str {
        "worker"
    }

    fn kind(&self) -> ExecutorKind {
        ExecutorKind::Lambda
    }

    async fn prepare(&self, _: &Job, _: &Log) -> Result<(), JobOutcome> {
        Ok(())
    }

    async fn run(&self, _: &Job, (): (), _: Control) -> Ran {
        if let Some((engine, id)) = &self.meanwhile {
            engine.cancel(&caller(), *id, CancelRequest::default()).await.expect("it has not ended");
        }
        Ran::from(JobOutcome::Done(Produced::default()))
    }
}

/// The ports.
enum Memory {}

impl Ports for Memory {
    type Records = Noted<Overlay<Nothing>>;
    type Vault = Noted<ObjectsOver<Nothing>>;
    type Artifacts = ObjectsOver<Nothing>;
    type Queue = Noted<Collected>;
    type Clock = TestClock;
}

#[derive(Debug, Clone, Default)]
struct Asked(Arc<Mutex<Vec<&'static str>>>);

/// A port whose requests are noted.
#[derive(Debug, Clone)]
struct Noted<T> {
    inner: T,
    asked: Asked,
}

impl<T> Noted<T> {
    fn note(&self, what: &'static str) -> &T {
        self.asked.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        &self.inner
    }
}

fn kind(changes: &[Change]) -> &'static str {
    match changes {
        [alone] if matches!(alone.item(), Item::Lease(..)) => "heartbeat",
        _ => "commit",
    }
}

impl<T: Records> Records for Noted<T> {
    async fn get_many(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        self.note("read").get_many(organisation, items).await
    }

    async fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page, StoreError> {
        self.note("list").list(organisation, set, after, limit).await
    }

    async fn listing(
        &self,
        organisation: &OrganisationName,
        listing: &Listing,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.note("listing").listing(organisation, listing, after, limit).await
    }

    async fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        self.note("due").due(shard, until, limit).await
    }

    async fn postpone(
        &self,
        organisation: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> Result<(), CommitError> {
        self.note("postpone").postpone(organisation, item, version, until).await
    }

    async fn commit(&self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<(), CommitError> {
        self.note(kind(&changes)).commit(organisation, changes).await
    }
}

impl<T: Objects> Objects for Noted<T> {
    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        self.note("put").put(name, content).await
    }

    async fn put_once(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.note("put once").put_once(name, content).await
    }

    async fn keep(&self, name: &str) -> Result<(), StoreError> {
        self.note("keep").keep(name).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.note("get").get(name).await
    }
}

impl<T: Queue> Queue for Noted<T> {
    async fn send(&self, wakes: &[Wake], after: Duration) -> Result<(), StoreError> {
        self.note("send").send(wakes, after).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        self.inner.depths().await
    }
}
