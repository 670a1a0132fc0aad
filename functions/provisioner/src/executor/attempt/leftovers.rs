//! What a run leaves: a lock, a state that could not be stored, objects that no state has. Of the run before it is seen to
//! first, of this one last.

use std::path::Path;

use conductor_domain::Code;
use conductor_domain::log::Level;
use conductor_domain::operation::Failure;
use conductor_engine::{JobOutcome, Ran};
use conductor_terraform::command::{Command, ForceUnlock};
use conductor_terraform::events::Event;
use conductor_terraform::process::{Exit, Status};
use conductor_terraform::project::write_private;
use conductor_terraform::push::{self, push};
use conductor_terraform::run;
use conductor_terraform::state::{self, State};
use conductor_terraform::{lock, transient};
use jiff::SignedDuration;

use super::super::{LOCK_TIMEOUT, words};
use super::{Attempt, interrupted};
use crate::errored;
use crate::fault::{self, Fault};

/// The state of the run before, while it is pushed. Terraform's own name for one that it could not store is another.
const RECOVERED: &str = "recovered.tfstate";
/// How much earlier than the run the lock of its own terraform may have been taken, by the clocks of one machine.
const SAME_MACHINE: SignedDuration = SignedDuration::from_secs(5);

impl Attempt<'_> {
    /// A run that was left behind is dead by now: the engine has waited for that. Its lock is not.
    pub(super) async fn remove_lock_left_behind(&self, ran: &mut Ran) -> Result<(), Fault> {
        if self.job.resource.left_behind.is_some()
            && let Some(object) = self.ready.object()
        {
            ran.lock_released = object.lock().remove(None).await?;
            ran.lock_gone = true;
            if let Some(id) = &ran.lock_released {
                self.lines.say(Level::Warn, format!("released the lock {id} of a run that was left behind"));
            }
        }
        Ok(())
    }

    /// Pushes what the run before could not store: what the resource names, and what a run that was left behind may have
    /// kept without saying so. The state as it is then.
    pub(super) async fn recover(&mut self, ran: &mut Ran) -> Result<Option<State>, JobOutcome> {
        let resource = &self.job.resource;
        let left = resource.left_behind.as_ref();
        let mut state = self.ready.state.clone();
        ran.unstored.extend(left.iter().flat_map(|left| self.missing(&left.begun, state.as_ref())));
        let named = resource.errored_state.clone();
        let kept = left
            .map(|left| errored::key(self.job, left.operation, left.epoch))
            .filter(|key| Some(key) != named.as_ref());
        for key in named.into_iter().chain(kept) {
            let Some(content) = self.here.errored.get(&key).await? else {
                if ran.errored_state.take_if(|named| *named == key).is_some() {
                    tracing::error!(key, "a state that could not be stored is gone");
                    self.lines.say(Level::Error, "the state that the run before could not store is gone");
                }
                continue;
            };
            ran.errored_state = Some(key);
            self.push(&content, state.as_ref(), ran).await?;
            ran.errored_state = None;
            state = self.ready.read(&mut self.signal).await?;
            ran.unstored = self.missing(&ran.unstored, state.as_ref());
        }
        ran.looked = true;
        // From here on terraform may make the same again, and then nobody could tell.
        ran.unstored = self.shown(&ran.unstored);
        if !ran.unstored.is_empty() && !self.control.misses(&ran.unstored).await {
            return Err(interrupted(0));
        }
        Ok(state)
    }

    /// Pushes one state over the one that is `stored`. Where terraform refuses, because what is stored is not what it
    /// followed, nothing is forced, and what only it has is told.
    async fn push(&mut self, content: &[u8], stored: Option<&State>, ran: &mut Ran) -> Result<(), JobOutcome> {
        let unreadable = |why: String| {
            Fault::lasts(Failure::new(
                Code::Internal,
                format!("a state that could not be stored cannot be pushed: {why}"),
            ))
        };
        let errored = state::parse(content).map_err(|error| unreadable(error.to_string()))?;
        self.ready.masker.learn(errored.secrets.iter());
        let file = self.ready.folder.path().join(RECOVERED);
        write_private(&file, content).map_err(|error| unreadable(error.to_string()))?;
        let mut exit = self.push_once(&file).await?;
        let lock = lock::in_the_way(&[], &exit.stderr);
        if self.unlock(lock, ran).await? {
            exit = self.push_once(&file).await?;
        }
        match exit.status {
            Status::Succeeded => {
                ran.recovered = true;
                self.lines.say(Level::Info, "stored the state that the run before could not store");
            }
            _ if self.is_told_to_stop() => return Err(interrupted(0)),
            _ if push::is_refused(&exit) => {
                self.lines.say(
                    Level::Warn,
                    "the state that the run before could not store is not stored now: another one is in its place",
                );
                let only_there: Vec<String> = errored.addresses.into_iter().collect();
                ran.unstored.extend(self.missing(&only_there, stored));
            }
            _ => {
                let why = words::shown(&exit.stderr, &self.ready.masker);
                let detail = format!("a state that could not be stored cannot be pushed: {why}");
                let failure = Failure::new(Code::TerraformFailed, detail);
                return Err(Fault { failure, passes: transient::passes(&[], &exit.stderr) }.into());
            }
        }
        Ok(())
    }

    async fn push_once(&mut self, file: &Path) -> Result<Exit, JobOutcome> {
        if self.is_told_to_stop() {
            return Err(interrupted(0));
        }
        let (ready, signal) = (self.ready, &mut self.signal);
        let exit = push(&ready.terraform, ready.folder.path(), file, LOCK_TIMEOUT, signal).await;
        let exit = exit.map_err(fault::not_ended)?;
        let unsure = exit.status != Status::Succeeded && lock::is_not_acquired(&[], &exit.stderr);
        self.lock_left |= lock::is_left(&exit) || (unsure && self.ready.object().is_some());
        Ok(exit)
    }

    /// Outside of the stack's own bucket only terraform can remove the lock of a run that was left behind, by the id that
    /// its error names. Once; true where it is gone.
    pub(super) async fn unlock(&mut self, lock: Option<String>, ran: &mut Ran) -> Result<bool, JobOutcome> {
        let ours =
            self.job.resource.left_behind.is_some() && ran.lock_released.is_none() && self.ready.object().is_none();
        let Some(id) = lock.filter(|_| ours && !self.is_told_to_stop()) else { return Ok(false) };
        let (ready, signal) = (self.ready, &mut self.signal);
        let command = Command::ForceUnlock(ForceUnlock { id: id.clone() });
        let exit = ready.terraform.run(&command, ready.folder.path(), signal, |_: &Event| ()).await;
        let exit = exit.map_err(fault::not_ended)?;
        if exit.status != Status::Succeeded {
            tracing::warn!(status = ?exit.status, id, "the lock of a run that was left behind was not removed");
            return Ok(false);
        }
        self.lines.say(Level::Warn, format!("released the lock {id} of a run that was left behind"));
        ran.lock_released = Some(id);
        ran.lock_gone = true;
        Ok(true)
    }

    /// Keeps a state that terraform could not store. Where it cannot be kept, or terraform was killed before it could write
    /// it, what it had begun to make is told instead.
    pub(super) async fn keep_errored_state(&mut self, ran: &mut Ran) {
        let file = run::errored_state(self.ready.folder.path());
        let kept = match &file {
            Some(file) => self.here.errored.keep(self.job, file).await,
            None => None,
        };
        match kept {
            Some(key) => {
                self.lines.say(Level::Warn, "terraform could not store its state: the next run will");
                ran.errored_state = Some(key);
            }
            None if (self.killed || file.is_some()) && !self.begun.is_empty() => {
                let begun: Vec<String> = self.begun.keys().cloned().collect();
                // What is not known may be missing.
                let state = self.ready.read(&mut self.signal).await.unwrap_or_default();
                ran.unstored.extend(self.missing(&begun, state.as_ref()));
                // Of what it was replacing, the address does not tell which one the state has.
                ran.unstored.extend(begun.into_iter().filter(|address| self.there.contains(address)));
            }
            None => {}
        }
    }

    /// Our own terraform is dead, so its lock may go, and nobody has to wait for it. One that was taken before this run is
    /// not its.
    pub(super) async fn remove_own_lock(&self, ran: &mut Ran) {
        let Some(object) = self.ready.object() else {
            tracing::warn!(backend = self.ready.backend.kind(), "a lock may have been left; the next run removes it");
            ran.lock_left = true;
            return;
        };
        match object.lock().remove(Some(self.began_at - SAME_MACHINE)).await {
            Ok(Some(id)) => {
                tracing::info!(id, "the lock of a terraform that was killed is removed");
                self.lines.say(Level::Info, format!("removed the lock {id} of the terraform that was killed"));
            }
            Ok(None) => {}
            Err(fault) => {
                tracing::warn!(detail = fault.failure.detail, "a lock was left; the next run removes it");
                ran.lock_left = true;
            }
        }
    }
}
