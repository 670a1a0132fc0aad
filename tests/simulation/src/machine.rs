//! Who acts: workers that take messages, sweepers, and the API with what it is asked. Each has a machine of its own, with
//! an engine, a clock, and an end.

use conductor_domain::deployment::Options;
use conductor_domain::ids::DeploymentId;
use conductor_domain::principal::Caller;
use conductor_engine::port::{Meter, Wake};
use conductor_engine::{
    CancelRequest, Causes, Control, DeploymentRequest, Engine, Error, IdempotencyKey, Settings, TeardownRequest,
    Timings,
};
use futures::future::LocalBoxFuture;
use serde_json::{Map, json};

use crate::catalog::{ENVIRONMENT, named, organisation};
use crate::clock::{MINUTE, SECOND, time_of_day};
use crate::cloud::Pid;
use crate::executor::Terraform;
use crate::script::What;
use crate::terraform::terraform;
use crate::world::{Actor, ActorId, Core, INVOCATION, Kind, Port, Simulated, Timer};

/// How long a message stays hidden that a worker has taken.
const VISIBILITY: u64 = INVOCATION + MINUTE;
/// Receives of a message, before it goes to the dead-letter queue.
const RECEIVES: u32 = 5;

fn engine(port: &Port) -> Engine<Simulated> {
    let (timings, meter) = (Timings::default(), Meter::default());
    let settings = Settings { state_bucket: "states".to_owned(), workers: false, timings, meter };
    Engine::new(port.clone(), port.clone(), port.clone(), port.clone(), port.clone(), settings)
}

/// What an actor lives for.
pub(crate) enum Life {
    /// A message.
    Work(Wake),
    /// A sweep.
    Sweep,
    /// A request to the API.
    Ask(usize),
    /// A process of its worker.
    Terraform(Pid, Control),
}

impl Life {
    /// All that the actor does.
    pub fn begin(self, port: Port) -> LocalBoxFuture<'static, ()> {
        match self {
            Life::Work(wake) => Box::pin(work(port, wake)),
            Life::Sweep => Box::pin(sweep(port)),
            Life::Ask(number) => Box::pin(ask(port, number)),
            Life::Terraform(pid, control) => Box::pin(terraform(port, pid, control)),
        }
    }
}

async fn work(port: Port, wake: Wake) {
    let engine = engine(&port);
    let (name, deadline) = {
        let core = port.core();
        let worker = &core.actors[port.actor];
        (worker.name.clone(), time_of_day(worker.deadline, worker.skew))
    };
    let executor = Terraform { port: port.clone(), name };
    let done = engine.work(wake, &executor, Some(deadline)).await;
    port.core().worked(port.actor, &done);
}

async fn sweep(port: Port) {
    let engine = engine(&port);
    let calm = port.core().calm;
    let done = engine.sweep().await;
    port.core().swept(port.actor, calm, &done);
}

async fn ask(port: Port, number: usize) {
    let engine = engine(&port);
    let what = port.core().begin_ask(port.actor, number);
    let answer = match what {
        Some(what) => perform(&engine, number, what).await,
        None => return,
    };
    port.core().answered(port.actor, number, answer);
}

/// What is asked, once it is known of which deployment.
enum Known {
    Deploy { application: &'static str, text: String },
    Teardown { application: &'static str, workload: Option<&'static str> },
    Cancel(DeploymentId, CancelRequest),
    Retry(DeploymentId),
}

async fn perform(engine: &Engine<Simulated>, number: usize, what: Known) -> Result<Option<DeploymentId>, Error> {
    let caller = Caller::system(organisation().clone(), format!("ask-{number}"));
    match what {
        Known::Deploy { application, text } => {
            let request = DeploymentRequest {
                application: Some(named(application)),
                environment: named(ENVIRONMENT),
                score: text,
                options: Options::default(),
                commit_id: None,
                metadata: Map::from_iter([("ask".to_owned(), json!(number))]),
                idempotency: Some(IdempotencyKey { key: format!("ask-{number}"), request: number.to_string() }),
                supersede: false,
            };
            engine.submit(&caller, request).await.map(|submitted| Some(submitted.deployment))
        }
        Known::Teardown { application, workload } => {
            let request = TeardownRequest {
                environment: named(ENVIRONMENT),
                application: named(application),
                workload: workload.map(named),
                allow_destroy: Vec::new(),
                idempotency: None,
            };
            engine.teardown(&caller, request).await.map(|submitted| Some(submitted.deployment))
        }
        Known::Cancel(id, request) => engine.cancel(&caller, id, request).await.map(|_| None),
        Known::Retry(id) => engine.retry(&caller, id, None).await.map(|submitted| Some(submitted.deployment)),
    }
}

impl Core {
    /// A worker takes a message.
    pub(crate) fn start_worker(&mut self, worker: Actor, message: (u64, u64)) {
        let Some((wake, copy)) = self.take(message) else { return };
        let worker = Actor { message: copy, ..worker };
        let (id, operation) = (wake.deployment_id, wake.operation.unwrap_or_default());
        let actor = self.start_machine(worker, Life::Work(wake));
        self.note(actor, || format!("begins with {id}#{operation}"));
    }

    /// Somebody sweeps.
    pub(crate) fn start_sweeper(&mut self, sweeper: Actor) {
        self.start_machine(sweeper, Life::Sweep);
    }

    fn start_machine(&mut self, actor: Actor, life: Life) -> ActorId {
        let deadline = self.now + INVOCATION;
        let actor = self.spawn(Actor { deadline, ..actor }, life);
        self.actors[actor].timer = Some(self.at(deadline, Timer::Deadline(actor)));
        actor
    }

    /// Somebody asks the API.
    pub(crate) fn start_ask(&mut self, number: usize) -> ActorId {
        self.spawn(Actor { ask: Some(number), ..Actor::new(Kind::Api) }, Life::Ask(number))
    }

    /// Takes a message: a copy comes back unless the worker ends well.
    fn take(&mut self, key: (u64, u64)) -> Option<(Wake, Option<(u64, u64)>)> {
        let mut message = self.messages.remove(&key)?;
        message.receives += 1;
        let wake = message.wake.clone();
        if message.receives >= RECEIVES {
            return Some((wake, None));
        }
        self.sequence += 1;
        let copy = (self.now + VISIBILITY, self.sequence);
        self.messages.insert(copy, message);
        Some((wake, Some(copy)))
    }

    /// What an actor has to ask; nothing where it is not known yet of what, and then somebody asks later.
    fn begin_ask(&mut self, actor: ActorId, number: usize) -> Option<Known> {
        /// Times that somebody waits for an id to be known.
        const PATIENCE: u32 = 20;
        self.asks[number].tries += 1;
        let (what, tries) = (self.asks[number].what.clone(), self.asks[number].tries);
        self.note(actor, || format!("is asked {what:?}"));
        let known = |of: usize| self.asks[of].deployment;
        match what {
            What::Deploy { application, text, .. } => Some(Known::Deploy { application, text }),
            What::Teardown { application, workload } => Some(Known::Teardown { application, workload }),
            What::Cancel { of, rollback, force } => match known(of) {
                Some(id) => Some(Known::Cancel(id, CancelRequest { rollback, force })),
                None => self.ask_once_known(actor, number, tries < PATIENCE),
            },
            What::Retry { of } => match known(of) {
                Some(id) => Some(Known::Retry(id)),
                None => self.ask_once_known(actor, number, tries < PATIENCE),
            },
        }
    }

    fn ask_once_known(&mut self, actor: ActorId, number: usize, patient: bool) -> Option<Known> {
        if patient {
            self.ask_again(actor);
        } else {
            self.asks[number].done = true;
        }
        None
    }

    /// Whoever got no answer asks again.
    pub(crate) fn ask_again(&mut self, actor: ActorId) {
        if let Some(number) = self.actors[actor].ask.take() {
            let at = self.now + self.chance.between(SECOND, 20 * SECOND);
            self.at(at, Timer::Ask(number));
        }
    }

    fn answered(&mut self, actor: ActorId, number: usize, answer: Result<Option<DeploymentId>, Error>) {
        match answer {
            Ok(made) => {
                self.note(actor, || format!("answers {made:?}"));
                self.asks[number].done = true;
                self.asks[number].deployment = made;
            }
            Err(Error::Refused(refusal)) => {
                self.note(actor, || format!("refuses: {refusal}"));
                self.asks[number].done = true;
                if let What::Deploy { .. } = self.asks[number].what {
                    self.violate("every_request_is_a_deployment", refusal.to_string());
                }
            }
            Err(error) => {
                self.note(actor, || format!("has no answer: {}", Causes(&error)));
                self.judge(&error);
                self.ask_again(actor);
            }
        }
    }
}
