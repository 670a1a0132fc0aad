//! How a worker runs terraform: it prepares, starts a process, tells it to stop, and reaps it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use conductor_domain::Code;
use conductor_domain::log::Level;
use conductor_domain::operation::{Changes, During, ExecutorKind, Failure};
use conductor_engine::port::Clock;
use conductor_engine::{Control, Executor, Interruption, Job, JobOutcome, Log, Produced, Ran, Stop};
use futures::future::{Either, select};
use jiff::SignedDuration;

use crate::catalog;
use crate::clock::{MINUTE, SECOND};
use crate::cloud::{Exit, Order, Pid};
use crate::machine::Life;
use crate::world::{Actor, Kind, Port};

/// How long credentials live: the shortest session of STS.
const SESSION: u64 = 15 * MINUTE;
/// Credentials have ended so long before `dead_after`.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// A worker's terraform.
pub(crate) struct Terraform {
    /// The worker.
    pub port: Port,
    /// Its name.
    pub name: String,
}

fn hindered(why: &str) -> JobOutcome {
    JobOutcome::Hindered(Failure::new(Code::TerraformFailed, why))
}

impl Executor for Terraform {
    /// When the credentials end.
    type Prepared = u64;

    fn worker(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ExecutorKind {
        ExecutorKind::Lambda
    }

    /// Takes the credentials: before the fence, so that whatever is stopped after it cannot take fresh ones.
    async fn prepare(&self, job: &Job, log: &Log) -> Result<u64, JobOutcome> {
        if self.port.scripted() {
            return Ok(self.port.core().now + SESSION);
        }
        log.say(Level::Info, "prepares");
        self.port.pass("prepares").await;
        let (hiccup, time) = {
            let mut core = self.port.core();
            let share = core.weather.hiccup;
            (core.chance.sometimes(share), core.chance.between(SECOND / 10, 3 * SECOND))
        };
        self.port.nap(time).await;
        if hiccup {
            return Err(hindered("the registry has a hiccup"));
        }
        self.port.pass("takes credentials").await;
        let until = self.port.now() + SignedDuration::from_nanos(SESSION as i64);
        match &job.resource.reservation {
            Some(reservation) if until + MARGIN <= reservation.dead_after => Ok(self.port.core().now + SESSION),
            _ => Err(hindered("credentials would outlive the reservation")),
        }
    }

    async fn run(&self, job: &Job, credentials_end: u64, control: Control) -> Ran {
        if self.port.scripted() {
            self.port.pass("terraform").await;
            return self.at_once(job, credentials_end);
        }
        let pid = self.port.core().begin_process(self.port.actor, Order::of(job), credentials_end);
        let mut ran = Ran::from(hindered("nothing came of it"));
        if job.resource.left_behind.is_some() {
            self.port.pass("removes the lock that was left").await;
            ran.lock_released = self.port.core().remove_left_lock(pid);
            ran.lock_gone = true;
        }
        let mut kept = None;
        if let Some(name) = &job.resource.errored_state {
            self.port.pass("pushes the state that was kept").await;
            let pushed = self.port.core().push(pid, name);
            ran.recovered = pushed == Some(true);
            kept = pushed.is_none().then(|| name.clone());
        }
        if let Some(left) = &job.resource.left_behind {
            let core = self.port.core();
            let state = core.cloud.states.get(&job.resource.id);
            let stored = |address: &str| state.is_some_and(|state| state.objects.contains_key(address));
            ran.unstored = left.begun.iter().filter(|address| !stored(address)).cloned().collect();
        }
        ran.looked = true;
        if !ran.unstored.is_empty() && !control.misses(&ran.unstored).await {
            ran.outcome = JobOutcome::Interrupted(Interruption::default());
            self.port.core().exited(pid, Exit::Killed);
            return ran;
        }
        if kept.is_some() {
            ran.errored_state = kept;
            ran.outcome = hindered("the state that was kept cannot be pushed");
            self.port.core().exited(pid, Exit::Killed);
            return ran;
        }
        control.log().say(Level::Info, "terraform runs");
        let log = control.log().clone();
        let exit = self.watch(pid, control).await;
        log.say(Level::Info, format!("terraform has ended: {exit:?}"));
        if matches!(exit, Exit::Killed | Exit::Expired) {
            self.port.pass("removes its own lock").await;
            let mut core = self.port.core();
            core.unlock(pid);
            let lost = core.unstored(pid);
            ran.unstored.extend(lost);
        }
        ran.outcome = match exit {
            Exit::Done(changes) => JobOutcome::Done(produced(job, changes)),
            Exit::Locked => hindered("somebody has the lock"),
            Exit::WouldReplace(objects) => JobOutcome::WouldReplace(objects),
            Exit::Failed => JobOutcome::Failed(Failure::new(Code::TerraformFailed, "it fails")),
            Exit::Hindered => hindered("throttled"),
            Exit::Stopped(interruption) => JobOutcome::Interrupted(interruption),
            Exit::NotStored(name) => {
                ran.errored_state = Some(name);
                hindered("the state cannot be stored")
            }
            Exit::Expired => hindered("the credentials have ended"),
            Exit::Killed => hindered("terraform was killed"),
        };
        ran
    }
}

fn produced(job: &Job, changes: Changes) -> Produced {
    let kind = job.template.template.kind();
    let outputs = match job.during {
        During::Create | During::Update => catalog::outputs(kind, &job.resource.id.to_string(), &job.inputs),
        During::Destroy => Default::default(),
    };
    Produced { outputs, changes }
}

impl Terraform {
    /// Starts the process and waits for its end. When this ends, it is dead.
    async fn watch(&self, pid: Pid, control: Control) -> Exit {
        let (told, mut soft, mut hard) = (control.clone(), control.clone(), control);
        let process = Actor { process: Some(pid), name: format!("terraform-{pid}"), ..Actor::new(Kind::Terraform) };
        {
            let mut core = self.port.core();
            let actor = core.spawn(process, Life::Terraform(pid, told));
            core.cloud.processes[pid].actor = Some(actor);
        }
        let exit = pin!(self.exit(pid));
        let asked = pin!(soft.reached(Stop::Terminate));
        let exit = match select(exit, asked).await {
            Either::Left((exit, _)) => return exit,
            Either::Right(((), exit)) => exit,
        };
        self.port.core().stop(pid);
        let killed = pin!(hard.reached(Stop::Kill));
        match select(exit, killed).await {
            Either::Left((exit, _)) => exit,
            Either::Right(_) => {
                self.port.core().kill(pid);
                Exit::Killed
            }
        }
    }

    async fn exit(&self, pid: Pid) -> Exit {
        poll_fn(|_| match self.port.core().cloud.processes[pid].exit.take() {
            Some(exit) => Poll::Ready(exit),
            None => Poll::Pending,
        })
        .await
    }

    /// The whole run as one step.
    fn at_once(&self, job: &Job, credentials_end: u64) -> Ran {
        let mut core = self.port.core();
        let pid = core.begin_process(self.port.actor, Order::of(job), credentials_end);
        let mut ran = Ran::from(JobOutcome::Interrupted(Interruption::default()));
        if job.resource.left_behind.is_some() {
            ran.lock_released = core.remove_left_lock(pid);
        }
        let changes = core.apply_at_once(pid);
        core.exited(pid, Exit::Done(changes));
        ran.looked = true;
        ran.outcome = JobOutcome::Done(produced(job, changes));
        ran
    }
}
