//! Working: the life of one wake-up in a worker, from claim to report. The same code runs in the provisioner, with real
//! terraform, and in the simulation, with another [`Executor`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use conductor_domain::environment::Environment;
use conductor_domain::ids::{DeploymentId, OperationId, ResourceId};
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{
    Changes, During, ExecutorKind, Failure, InFlight, Lease, Operation, OperationEvent, Request,
};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Parameters, Resource};
use conductor_domain::template::TemplateVersion;
use jiff::{SignedDuration, Timestamp};
use tracing::{Instrument, Span};

use crate::claim::{Claim, Claimed, Ended};
use crate::lease::{Control, Keeper, Start};
use crate::log::Log;
use crate::port::{Clock, Ports, Versioned, Wake};
use crate::report::Reported;
use crate::{Causes, Engine, Error};

/// When a wake-up comes again for which too little time was left: an invocation that never has enough must not spin.
const NOT_AT_ONCE: Duration = Duration::from_secs(30);
/// Reporting is given up so long before the worker's deadline.
const REPORT_MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// One terraform run. It has no `Debug`, because it holds secrets.
#[derive(Clone)]
pub struct Job {
    /// The tenant.
    pub organisation: OrganisationName,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation.
    pub operation: OperationId,
    /// The claim.
    pub epoch: u64,
    /// The resource, reserved for this claim.
    pub resource: Resource,
    /// What it depends on from now on.
    pub depends_on: Vec<ResourceId>,
    /// The parameters that it has once the run has succeeded, where they are not the stored ones already.
    pub parameters: Option<Parameters>,
    /// Where it lives.
    pub environment: Environment,
    /// The template version that runs.
    pub template: TemplateVersion,
    /// What to do.
    pub during: During,
    /// True where this claim made the record, so that there cannot be a state.
    pub fresh: bool,
    /// True where the plan may delete or replace.
    pub allow_replace: bool,
    /// The resolved parameters.
    pub inputs: Map<String, Value>,
    /// Names of the sensitive ones.
    pub sensitive: BTreeSet<String>,
    /// When the worker ends; none where it does not.
    pub deadline: Option<Timestamp>,
}

impl Job {
    /// The artifact with the template's archive.
    pub fn archive(&self) -> String {
        crate::templates::archive_name(&self.template.sha256)
    }
}

/// What a run produced; it may hold secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Produced {
    /// Outputs, and whether they are sensitive.
    pub outputs: BTreeMap<String, (Value, bool)>,
    /// What terraform did.
    pub changes: Changes,
}

/// How a run ended.
#[derive(Clone, PartialEq)]
pub enum JobOutcome {
    /// As asked.
    Done(Produced),
    /// Not begun: the plan deletes or replaces these objects.
    WouldReplace(Vec<String>),
    /// Badly: another attempt would end like this one.
    Failed(Failure),
    /// Badly, for a reason that passes.
    Hindered(Failure),
    /// It was asked to stop, and stored its state.
    Interrupted(Interruption),
}

/// What a run that was stopped had done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interruption {
    /// What it had begun and not finished.
    pub in_flight: Vec<InFlight>,
    /// How many other objects it had finished with.
    pub finished: u32,
}

/// How a run ended, and what it met.
#[derive(Clone, PartialEq)]
pub struct Ran {
    /// True where it came as far as [`Executor::run`].
    pub started: bool,
    /// How it ended.
    pub outcome: JobOutcome,
    /// True where it has looked for what a left-behind run had begun to make, and for a state that it had kept.
    pub looked: bool,
    /// True where no lock of a left-behind run can be there any more.
    pub lock_gone: bool,
    /// The id of a left-behind run's lock that it removed.
    pub lock_released: Option<String>,
    /// What a left-behind run had begun to make and the state does not have.
    pub unstored: Vec<String>,
    /// True where it leaves a lock that the next run has to remove.
    pub lock_left: bool,
    /// Where a state is kept that it could not store; none also where it pushed the one of the run before.
    pub errored_state: Option<String>,
    /// True where it pushed the state that the run before could not store.
    pub recovered: bool,
}

impl From<JobOutcome> for Ran {
    fn from(outcome: JobOutcome) -> Self {
        Self {
            outcome,
            started: false,
            looked: false,
            lock_gone: false,
            lock_released: None,
            unstored: Vec::new(),
            lock_left: false,
            errored_state: None,
            recovered: false,
        }
    }
}

/// Whoever runs terraform.
pub trait Executor: Send + Sync {
    /// What preparing makes.
    type Prepared: Send;

    /// A name for this worker, unique among those that live.
    fn worker(&self) -> &str;

    /// Which operations it takes.
    fn kind(&self) -> ExecutorKind;

    /// Fetches and writes everything that a run needs, and says so in its log. Terraform does not start here, and nothing
    /// is written beside the work folder. An error is [`JobOutcome::Failed`] or [`JobOutcome::Hindered`].
    fn prepare(&self, job: &Job, log: &Log) -> impl Future<Output = Result<Self::Prepared, JobOutcome>> + Send;

    /// Runs terraform. When this ends, no process of it lives.
    ///
    /// Before it, it removes the lock that a left-behind run left ([`Resource::left_behind`]) and pushes the state that
    /// the run before could not store ([`Resource::errored_state`]).
    fn run(&self, job: &Job, prepared: Self::Prepared, control: Control) -> impl Future<Output = Ran> + Send;
}

/// What became of an operation in its first step.
pub(crate) enum Step {
    /// It ended without terraform.
    Ended(Box<Ended>),
    /// It waits for somebody else.
    Waits,
    /// Terraform has to run.
    Run(Box<Job>, Box<Reserved>),
}

/// What was committed before terraform runs: as long as nobody else writes it, it is so.
pub(crate) struct Reserved {
    pub operation: Versioned<Operation>,
    pub lease: Versioned<Lease>,
    pub resource: Versioned<Resource>,
}

impl<P: Ports> Engine<P> {
    /// Does what a wake-up asks for, and then, while there is time, what became ready by it.
    ///
    /// `deadline` is when the worker ends; none where it does not.
    pub async fn work<E: Executor>(&self, wake: Wake, executor: &E, deadline: Option<Timestamp>) -> Result<(), Error> {
        if wake.operation.is_some() && !self.worth_starting(deadline) {
            tracing::info!(deployment = %wake.deployment_id, "too little time is left to start");
            self.send_after(&[wake], NOT_AT_ONCE).await;
            return Ok(());
        }
        let mut next = Some(wake);
        while let Some(wake) = next.take() {
            let request = format!("{}/{}", wake.deployment_id, wake.operation.unwrap_or_default());
            let caller = Caller::system(wake.organisation.clone(), request);
            let (deployment, operation) = (wake.deployment_id, wake.operation);
            let span = tracing::info_span!("work", %deployment, operation, epoch = tracing::field::Empty);
            let settled = async {
                match operation {
                    None => self.settle_whole(&caller, deployment).await,
                    Some(number) => self.operate(&caller, &wake, number, executor, deadline).await,
                }
            };
            let mut wakes = settled.instrument(span).await?;
            let takes = |wake: &Wake| wake.operation.is_some() && wake.executor == executor.kind();
            if self.worth_starting(deadline)
                && let Some(index) = wakes.iter().position(takes)
            {
                next = Some(wakes.swap_remove(index));
            }
            self.send(&wakes).await;
        }
        Ok(())
    }

    fn worth_starting(&self, deadline: Option<Timestamp>) -> bool {
        let timings = &self.settings.timings;
        let needed = timings.stop_before_deadline + timings.worth_starting;
        let in_time = deadline.is_none_or(|deadline| self.clock.now() + needed < deadline);
        in_time && !self.stopping.load(Ordering::Relaxed)
    }

    async fn operate<E: Executor>(
        &self,
        caller: &Caller,
        wake: &Wake,
        number: u32,
        executor: &E,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<Wake>, Error> {
        match self.claim(caller, wake.deployment_id, number, (executor.worker(), executor.kind())).await? {
            Claim::Nothing => Ok(Vec::new()),
            Claim::Unsettled => self.settle_after(caller, wake.deployment_id, number).await,
            Claim::Ours(claimed) => {
                Span::current().record("epoch", claimed.operation.epoch);
                match self.carry_out(caller, *claimed, executor, deadline).await? {
                    Some(ended) => self.settle_ended(caller, ended).await,
                    None => Ok(Vec::new()),
                }
            }
        }
    }

    /// Settles everything that hangs on an operation that has ended.
    pub(crate) async fn settle_after(
        &self,
        caller: &Caller,
        id: DeploymentId,
        number: u32,
    ) -> Result<Vec<Wake>, Error> {
        let mut wakes = self.settle_operation(caller, id, number).await?;
        wakes.extend(self.settle_deployment(caller, id).await?);
        Ok(wakes)
    }

    /// Carries out a claimed operation, and answers with its end, if it has ended.
    async fn carry_out<E: Executor>(
        &self,
        caller: &Caller,
        claimed: Claimed,
        executor: &E,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Ended>, Error> {
        let mut claimed = claimed;
        let mut tries = self.tries();
        let (job, reserved) = loop {
            let request = claimed.operation.request.clone();
            let step = match &request {
                Request::Acquire(request) => self.acquire(caller, &claimed, request, deadline).await,
                Request::Release(request) => self.release(caller, &claimed, request, deadline).await,
            };
            let failed = match step {
                Ok(Step::Ended(ended)) => return Ok(Some(*ended)),
                Ok(Step::Waits) => return Ok(None),
                Ok(Step::Run(job, reserved)) => break (job, reserved),
                Err(error) if error.is_permanent() => {
                    tracing::warn!(operation = number(&claimed), error = %Causes(&error), "an operation cannot be done");
                    self.fail(caller, &claimed, error.refusal().into()).await
                }
                Err(error) => Err(error),
            };
            match failed {
                Ok(ended) => return Ok(Some(ended)),
                Err(Error::Conflict) => {
                    self.again(&mut tries).await?;
                    let (id, number) = (claimed.deployment.id, number(&claimed));
                    match self.claim(caller, id, number, (executor.worker(), executor.kind())).await? {
                        Claim::Nothing => return Ok(None),
                        // Who has ended it may be gone.
                        Claim::Unsettled => {
                            let wakes = self.settle_after(caller, id, number).await?;
                            self.send(&wakes).await;
                            return Ok(None);
                        }
                        Claim::Ours(again) => claimed = Claimed { metered: claimed.metered, ..*again },
                    }
                }
                Err(error) => return Err(error),
            }
        };
        self.run(caller, claimed, *job, *reserved, executor).await
    }

    async fn fail(&self, caller: &Caller, claimed: &Claimed, failure: Failure) -> Result<Ended, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let (resource, left) = self.left(caller, &claimed.operation, claimed.lease.as_deref(), draft.now()).await?;
        let freed = draft.let_go(resource.as_ref(), left)?;
        let operation = draft.fail(claimed, claimed.operation.value.clone(), OperationEvent::Failed, failure)?;
        draft.commit().await?;
        if let Some(resource) = resource.filter(|_| freed) {
            let wakes = self.settle_resource(caller, resource.id).await?;
            self.send(&wakes).await;
        }
        Ok(claimed.ended(operation))
    }

    /// Runs terraform under a lease that is kept, and reports. Answers with the operation's end, if it has ended.
    async fn run<E: Executor>(
        &self,
        caller: &Caller,
        claimed: Claimed,
        job: Job,
        reserved: Reserved,
        executor: &E,
    ) -> Result<Option<Ended>, Error> {
        let operation = Operation { limits: job.template.limits, ..claimed.operation.value.clone() };
        let keeper = Keeper::new(self, caller, reserved.lease.clone(), &operation, job.deadline);
        let control = keeper.control();
        let (began, taught) = (self.clock.monotonic(), AtomicBool::new(false));
        let reported = keeper
            .while_running(async {
                let ran = match executor.prepare(&job, keeper.log()).await {
                    Err(outcome) => Ran::from(outcome),
                    Ok(prepared) => match keeper.start().await {
                        Ok(Start::Go) => Ran { started: true, ..executor.run(&job, prepared, control).await },
                        Ok(Start::Stopped) => Ran::from(JobOutcome::Interrupted(Interruption::default())),
                        Err(Error::Conflict) => return Ok(Reported::Lost),
                        // Nothing was started, so somebody may start at once.
                        Err(error) => {
                            tracing::warn!(error = %Causes(&error), "terraform was not started");
                            Ran::from(JobOutcome::Interrupted(Interruption::default()))
                        }
                    },
                };
                keeper.finish_log(job.deadline).await;
                let whole = ran.started && operation.attempts == 0 && matches!(ran.outcome, JobOutcome::Done(_));
                taught.store(whole, Ordering::Relaxed);
                let known = match (&ran.outcome, keeper.held()) {
                    (JobOutcome::Done(_), Some(lease)) => Some(Reserved { lease, ..reserved }),
                    _ => None,
                };
                self.report_until_told(caller, &claimed, &job, &ran, known).await
            })
            .await;
        let took = self.clock.monotonic().saturating_sub(began);
        let (ended, is_waited_for) = match reported {
            Ok(Reported::Ended { ended, is_waited_for }) => (Some(*ended), is_waited_for),
            Ok(Reported::GivenBack) => (None, false),
            Ok(Reported::Lost) => return Ok(None),
            Err(error) => {
                // At least whoever takes over need not wait for a terraform that has ended.
                if let Err(error) = keeper.beat(|lease| lease.terraform_ended_at = Some(lease.heartbeat_at)).await {
                    tracing::warn!(error = %Causes(&error), "the end of terraform was not recorded");
                }
                if !error.is_permanent() {
                    return Err(error);
                }
                // Another attempt would end like this one.
                tracing::error!(operation = number(&claimed), error = %Causes(&error), "a run cannot be reported");
                let Some(current) = self.still_ours(caller, &claimed).await? else { return Ok(None) };
                return self.fail(caller, &current, error.refusal().into()).await.map(Some);
            }
        };
        if is_waited_for {
            let wakes = self.settle_resource(caller, job.resource.id).await?;
            self.send(&wakes).await;
        }
        if taught.into_inner() {
            self.learn(caller, &job, took).await;
        }
        Ok(ended)
    }

    /// Reports, again and again while the store fails or races are lost.
    ///
    /// `known` is what this claim itself wrote last: first it is taken for what is there. Where that is not so the commit
    /// fails, and everything is read.
    async fn report_until_told(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        job: &Job,
        ran: &Ran,
        known: Option<Reserved>,
    ) -> Result<Reported, Error> {
        if let Some(Reserved { operation, lease, resource }) = known {
            let current = Claimed { operation, lease: Some(lease), ..claimed.clone() };
            match self.report(caller, &current, job, ran, Some(resource)).await {
                Ok(reported) => return Ok(reported),
                Err(Error::Conflict) => {}
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => tracing::debug!(error = %Causes(&error), "reporting again"),
            }
        }
        let late = || job.deadline.is_some_and(|deadline| self.clock.now() + REPORT_MARGIN > deadline);
        let mut tries = self.tries();
        loop {
            // Reserving and heartbeats changed what was claimed, and others may have changed the deployment.
            let told = match self.still_ours(caller, claimed).await {
                Ok(None) => return Ok(Reported::Lost),
                Ok(Some(current)) => self.report(caller, &current, job, ran, None).await,
                Err(error) => Err(error),
            };
            match told {
                Ok(reported) => return Ok(reported),
                Err(error) if error.is_permanent() || late() => return Err(error),
                Err(error) => {
                    tracing::debug!(error = %Causes(&error), "reporting again");
                    self.pause(&mut tries).await;
                }
            }
        }
    }
}

fn number(claimed: &Claimed) -> u32 {
    claimed.operation.number
}
