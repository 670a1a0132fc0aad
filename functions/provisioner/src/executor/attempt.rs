//! One run: sees to what the run before left, runs terraform, and sees to what this one leaves.

mod heard;
mod leftovers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::log::Level;
use conductor_domain::operation::{Changes, During, Failure, InFlight};
use conductor_engine::port::{Clock, Objects, StoreError};
use conductor_engine::{Causes, Control, Error, Interruption, Job, JobOutcome, Produced, Ran};
use conductor_terraform::events::{Body, Event};
use conductor_terraform::module::Needs;
use conductor_terraform::prepared::{self, PrepareError};
use conductor_terraform::process::{Control as Signal, Status, Terraform};
use conductor_terraform::provider;
use conductor_terraform::run::{self, Action, Applied, Outcome, RunError, RunRequest, UpdateRule};
use conductor_terraform::state::{self as states, State};
use conductor_terraform::{lock, transient};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::lines::Lines;
use super::prepare::{Ready, not_initialised};
use super::{LOCK_TIMEOUT, Terraforming, millis, words};
use crate::fault::{self, Fault};
use crate::state;
use heard::Heard;

/// One run of one job.
pub struct Attempt<'a> {
    here: &'a Terraforming,
    job: &'a Job,
    ready: &'a Ready,
    control: &'a Control,
    lines: &'a Lines,
    signal: watch::Receiver<Signal>,
    began_at: Timestamp,
    /// For how long terraform has run.
    ran: Duration,
    /// What terraform has begun to make in it, and by which name the lease knows it.
    begun: BTreeMap<String, String>,
    /// Of which types a kept provider is asked for schemas; all, where that is not known.
    needs: Option<Needs>,
    /// What the state had when terraform started.
    there: BTreeSet<String>,
    /// True where a terraform of it was killed, so that its last state may be lost.
    killed: bool,
    /// True where a terraform of it may have left its lock.
    lock_left: bool,
    /// True where all is known that is secret of what it has made.
    secrets_known: bool,
}

impl<'a> Attempt<'a> {
    /// A run that is told by `signal` when to stop.
    pub fn new(
        here: &'a Terraforming,
        job: &'a Job,
        ready: &'a Ready,
        control: &'a Control,
        lines: &'a Lines,
        signal: watch::Receiver<Signal>,
    ) -> Self {
        Self {
            here,
            job,
            ready,
            control,
            lines,
            signal,
            began_at: here.clock.now(),
            ran: Duration::ZERO,
            begun: BTreeMap::new(),
            needs: None,
            there: BTreeSet::new(),
            killed: false,
            lock_left: false,
            secrets_known: true,
        }
    }

    /// Runs to the end; no process of it lives then.
    pub async fn run(mut self) -> Ran {
        let mut ran = Ran::from(interrupted(0));
        ran.errored_state = self.job.resource.errored_state.clone();
        let outcome = match self.steps(&mut ran).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        self.keep_errored_state(&mut ran).await;
        if self.lock_left {
            self.remove_own_lock(&mut ran).await;
        }
        tracing::info!(
            outcome = "run",
            terraformMs = millis(self.ran),
            toolchainMs = self.ready.toolchain_millis,
            prepareMs = self.ready.prepare_millis,
            lockReleased = u64::from(ran.lock_released.is_some()),
            "terraform has run"
        );
        Ran { outcome, unstored: self.shown(&ran.unstored), ..ran }
    }

    /// An error is where the run ends before terraform has been asked for what the job wants.
    async fn steps(&mut self, ran: &mut Ran) -> Result<JobOutcome, JobOutcome> {
        if !self.here.sessions.refresh(self.job, &self.ready.keyring, self.control).await? {
            return Err(interrupted(0));
        }
        self.remove_lock_left_behind(ran).await?;
        let state = self.recover(ran).await?;
        self.needs = Needs::of(&self.ready.module, state.as_ref());
        let Some(action) = action(self.job.during, state.is_some()) else {
            return Ok(JobOutcome::Done(Produced::default()));
        };
        let rule = self.rule(state.as_ref()).await?;
        self.there = state.map(|state| state.addresses.into_iter().collect()).unwrap_or_default();
        let outcome = self.terraform(action, &rule, ran).await?;
        Ok(self.judge(outcome).await)
    }

    /// What terraform may not replace or destroy. Of an update that is everything that was in the state when its operation
    /// began, tainted or not: what attempts of the same operation have made since, and left tainted, is its own to remake.
    /// What a creation that never succeeded made is nobody's yet, so of it nothing is protected.
    async fn rule(&self, state: Option<&State>) -> Result<UpdateRule, Fault> {
        let protected = match self.job.during {
            During::Update if !self.job.allow_replace => self.protected(state).await?,
            During::Create | During::Update | During::Destroy => BTreeSet::new(),
        };
        Ok(UpdateRule { protected: Some(protected), allowed: BTreeSet::new() })
    }

    /// What was in the state at the operation's first attempt. That attempt wrote it; the others read it.
    async fn protected(&self, state: Option<&State>) -> Result<BTreeSet<String>, Fault> {
        let now: Vec<&String> = state.map(|state| state.addresses.iter().collect()).unwrap_or_default();
        let name = format!("operations/{}/protected", self.job.operation);
        let unreadable = |error: serde_json::Error| {
            // Its own words would quote what it could not read.
            tracing::error!(line = error.line(), name, "what an update must leave alone cannot be read");
            Fault::lasts(Failure::new(Code::Internal, Code::Internal.title()))
        };
        let content = serde_json::to_vec(&now).map_err(unreadable)?;
        let first = self.here.vault.put_once(&name, content).await.map_err(unstored)?;
        serde_json::from_slice(&first).map_err(unreadable)
    }

    async fn terraform(&mut self, action: Action, rule: &UpdateRule, ran: &mut Ran) -> Result<Outcome, JobOutcome> {
        let mut outcome = self.once(action, rule).await?;
        if matches!(&outcome, Outcome::Failed(failure) if failure.needs_init()) {
            tracing::warn!("the prepared folder did not serve; running init");
            self.lines.say(Level::Info, "the prepared folder does not serve: `init` runs");
            self.initialise().await?;
            outcome = self.once(action, rule).await?;
        }
        let lock = match &outcome {
            Outcome::Failed(failure) => lock::in_the_way(&failure.diagnostics, &failure.stderr),
            _ => None,
        };
        let unsure = matches!(&outcome, Outcome::Failed(f) if lock::is_not_acquired(&f.diagnostics, &f.stderr));
        self.lock_left |= unsure && self.ready.object().is_some();
        if self.unlock(lock, ran).await? {
            outcome = self.once(action, rule).await?;
        }
        Ok(outcome)
    }

    /// Runs terraform with the provider that runs already, where there is one, and once more without it where that fails
    /// by it.
    async fn once(&mut self, action: Action, rule: &UpdateRule) -> Result<Outcome, JobOutcome> {
        let ready = self.ready;
        let Some(mut lent) = ready.lent() else { return self.with(&ready.terraform, false, action, rule).await };
        let served = lent.serve(&ready.terraform, &self.signal, self.needs.take());
        let outcome = self.with(&served, true, action, rule).await?;
        lent.after(&outcome).await.map_err(fault::not_ended)?;
        if !fails_by_kept(&outcome) {
            return Ok(outcome);
        }
        tracing::warn!("the kept provider did not serve; terraform starts its own");
        self.lines.say(Level::Info, "the provider that was running does not serve: terraform starts its own");
        self.with(&ready.terraform, false, action, rule).await
    }

    async fn with(
        &mut self,
        terraform: &Terraform,
        is_kept: bool,
        action: Action,
        rule: &UpdateRule,
    ) -> Result<Outcome, JobOutcome> {
        let request = RunRequest {
            terraform,
            work: self.ready.folder.path(),
            action,
            rule: rule.clone(),
            lock_timeout: LOCK_TIMEOUT,
        };
        let mut heard = Heard {
            action,
            lines: self.lines,
            control: self.control,
            begun: &mut self.begun,
            there: &self.there,
            commands: 0,
            changes: false,
            late: Vec::new(),
        };
        let began = self.here.clock.monotonic();
        let outcome = run::run(request, self.signal.clone(), |event: &Event| heard.event(event)).await;
        let Heard { changes, late, .. } = heard;
        self.ran += self.here.clock.monotonic().saturating_sub(began);
        let outcome = outcome.map_err(|RunError::Process(error)| fault::not_ended(error))?;
        let (killed, lock_left) = match &outcome {
            Outcome::Failed(failure) => (failure.killed, failure.lock_left),
            Outcome::Interrupted(interruption) => (interruption.killed, interruption.lock_left),
            Outcome::Applied(_) | Outcome::WouldReplace { .. } => (false, false),
        };
        let is_quiet = late.is_empty() && matches!(outcome, Outcome::Applied(_));
        if changes && !is_quiet {
            self.secrets_known = self.learn(!killed && !late.iter().any(is_not_stored)).await;
        }
        // What is met by another run is no error.
        let needs_init = matches!(&outcome, Outcome::Failed(failure) if failure.needs_init());
        if !(needs_init || is_kept && fails_by_kept(&outcome)) {
            self.tell(&late);
        }
        if killed {
            self.lines.say(Level::Warn, "terraform was killed: what it did last may not be in the state");
        }
        self.killed |= killed;
        self.lock_left |= lock_left;
        Ok(outcome)
    }

    /// Says terraform's diagnostics, or only that there are some.
    fn tell(&self, diagnostics: &[Event]) {
        for event in diagnostics {
            if self.secrets_known {
                self.lines.event(event);
            } else {
                self.lines.event(&words::withheld_event(event));
            }
        }
    }

    /// Learns what is secret of what this run has made: terraform's errors may quote it. True where all of it is known
    /// then: from the state that terraform could not store, or, where it has stored all, from the state itself.
    async fn learn(&mut self, is_stored: bool) -> bool {
        let unstored = run::errored_state(self.ready.folder.path());
        let content = unstored.as_ref().and_then(|file| std::fs::read(file).ok());
        if let Some(state) = content.and_then(|content| states::parse(&content).ok()) {
            self.ready.masker.learn(state.secrets.iter());
            return true;
        }
        // A terraform that reads it would be stopped at once.
        if self.ready.object().is_none() && self.is_told_to_stop() {
            return false;
        }
        match self.ready.read(&mut self.signal).await {
            Ok(_) => is_stored && unstored.is_none(),
            Err(fault) => {
                tracing::warn!(detail = fault.failure.detail, "what is secret in the state is not known");
                false
            }
        }
    }

    async fn initialise(&mut self) -> Result<(), JobOutcome> {
        let (ready, lines, signal) = (self.ready, self.lines, &mut self.signal);
        let heard = |event: &Event| lines.event(event);
        let exit = prepared::init(&ready.terraform, ready.folder.path(), &ready.backend, signal, heard).await;
        let failed = match exit {
            Ok(exit) if exit.status == Status::Succeeded => return Ok(()),
            Ok(_) if self.is_told_to_stop() => return Err(interrupted(0)),
            Ok(exit) => PrepareError::Init(Box::new(exit)),
            Err(error) => error,
        };
        Err(not_initialised(failed, &self.ready.masker).into())
    }

    /// What an end of terraform means.
    async fn judge(&mut self, outcome: Outcome) -> JobOutcome {
        match outcome {
            Outcome::Applied(applied) => self.finish(applied).await,
            Outcome::WouldReplace { changes } => {
                let masker = &self.ready.masker;
                let changes: Vec<String> = changes.iter().map(|change| words::change(change, masker)).collect();
                self.lines.say(Level::Warn, format!("not applied: the plan has {}", changes.join(", ")));
                JobOutcome::WouldReplace(changes)
            }
            Outcome::Interrupted(interruption) => {
                let shown = |address: &str| self.ready.masker.apply(address);
                let in_flight = interruption.in_flight.iter();
                let in_flight = in_flight
                    .map(|one| InFlight { address: shown(&one.address), seconds: one.elapsed_seconds })
                    .collect();
                JobOutcome::Interrupted(Interruption { in_flight, finished: interruption.finished })
            }
            Outcome::Failed(failure) => {
                let passes = transient::passes(&failure.diagnostics, &failure.stderr);
                let failure = if self.secrets_known { failure } else { words::withheld(&failure) };
                Fault { failure: words::failure(&failure, &self.ready.masker), passes }.into()
            }
        }
    }

    async fn finish(&mut self, applied: Applied) -> JobOutcome {
        let changes = Changes {
            add: applied.changes.add as u32,
            change: applied.changes.change as u32,
            destroy: applied.changes.destroy as u32,
        };
        match self.outputs(applied.outputs).await {
            Ok(outputs) => JobOutcome::Done(Produced { outputs, changes }),
            // The state is stored: whoever goes on reads them.
            Err(_) if self.is_told_to_stop() => interrupted(changes.add + changes.change + changes.destroy),
            Err(fault) => fault.into(),
        }
    }

    /// The outputs: from the apply's own events where none is sensitive, else from the state.
    async fn outputs(
        &mut self,
        told: Option<BTreeMap<String, Value>>,
    ) -> Result<BTreeMap<String, (Value, bool)>, Fault> {
        if self.job.during == During::Destroy {
            self.remove_empty_state().await;
            return Ok(BTreeMap::new());
        }
        match told {
            Some(told) if told.len() == self.ready.module.interface.outputs.len() => {
                Ok(told.into_iter().map(|(name, value)| (name, (value, false))).collect())
            }
            _ => {
                let state = self.ready.read(&mut self.signal).await?;
                let outputs = state.map(|state| state.outputs).unwrap_or_default();
                Ok(outputs.into_iter().map(|(name, output)| (name, (output.value, output.sensitive))).collect())
            }
        }
    }

    /// An empty state that is left does no harm; one that somebody else writes by now must not go.
    async fn remove_empty_state(&self) {
        if self.is_told_to_stop() {
            return;
        }
        match self.ready.object() {
            Some(object) => object.remove().await,
            None => state::remove_file(&self.ready.backend),
        }
    }

    fn is_told_to_stop(&self) -> bool {
        *self.signal.borrow() != Signal::Run
    }

    /// Addresses as they may leave this process, each once: the keys in them may be secrets.
    fn shown(&self, addresses: &[String]) -> Vec<String> {
        let shown: BTreeSet<String> = addresses.iter().map(|address| self.ready.masker.apply(address)).collect();
        shown.into_iter().collect()
    }

    /// Those that the state does not have. What a lease says is masked already.
    fn missing(&self, addresses: &[String], state: Option<&State>) -> Vec<String> {
        if addresses.is_empty() {
            return Vec::new();
        }
        let there: Vec<String> = state.iter().flat_map(|state| &state.addresses).cloned().collect();
        let shown = self.shown(&there);
        let is_there = |address: &String| there.contains(address) || shown.contains(address);
        addresses.iter().filter(|address| !is_there(address)).cloned().collect()
    }
}

/// What to do; nothing, where there is nothing to destroy.
fn action(during: During, is_there: bool) -> Option<Action> {
    match (during, is_there) {
        (During::Destroy, true) => Some(Action::Destroy),
        (During::Destroy, false) => None,
        (During::Create | During::Update, true) => Some(Action::Update),
        (During::Create | During::Update, false) => Some(Action::Create),
    }
}

/// Whether terraform failed by the provider that it was given, and the state has all that it did.
fn fails_by_kept(outcome: &Outcome) -> bool {
    let Outcome::Failed(failure) = outcome else { return false };
    let is_stored = failure.errored_state.is_none() && !failure.killed;
    is_stored && provider::runs_again(&failure.diagnostics, &failure.stderr)
}

/// Whether terraform says that it could not store its state.
fn is_not_stored(event: &Event) -> bool {
    matches!(&event.body, Body::Diagnostic(diagnostic) if diagnostic.summary == transient::NOT_STORED)
}

fn interrupted(finished: u32) -> JobOutcome {
    JobOutcome::Interrupted(Interruption { in_flight: Vec::new(), finished })
}

fn unstored(error: StoreError) -> Fault {
    let error = Error::from(error);
    tracing::warn!(error = %Causes(&error), "what an update must leave alone is not known");
    Fault { passes: !error.is_permanent(), failure: error.refusal().into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_that_was_not_stored_is_told_from_other_errors() {
        let check = |kind: &str, summary: &str, expect: bool| {
            let event = json!({"@level": "error", "@message": summary, "type": kind,
                               "diagnostic": {"severity": "error", "summary": summary, "detail": ""}});
            assert_eq!(is_not_stored(&Event::parse(event.to_string().as_bytes())), expect, "{kind}: {summary}");
        };
        check("diagnostic", "Failed to persist state to backend", true);
        check("diagnostic", "Failed to save state", false);
        check("log", "Failed to persist state to backend", false);
    }
}
