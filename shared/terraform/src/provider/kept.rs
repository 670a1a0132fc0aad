//! The provider that a process keeps between its runs: one at most, so that its memory is bounded.
//!
//! It is lent to one run at a time. Whoever borrows it gives it back with how the run ended ([`Lent::after`]), and only
//! a good end keeps it; one that is not given back ends with what held it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::answers::Answers;
use super::relay::Relay;
use super::{Programs, Provider, ProviderError};
use crate::engine::Engine;
use crate::module::Needs;
use crate::process::group::Killer;
use crate::process::{Control, Environment, ProcessError, Terraform};
use crate::run::Outcome;

/// By which terraform learns of providers that run already.
const VARIABLE: &str = "TF_REATTACH_PROVIDERS";

/// Which provider, for whom, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// For whom: a provider serves one key in its life. Whoever makes keys puts into them all that tells apart whose
    /// resources it touches, and with which rights.
    pub key: String,
    /// Its full address, as the configuration has it: `registry.terraform.io/hashicorp/aws`.
    pub source: String,
    /// Its version.
    pub version: String,
    /// Its program; see [`super::program()`].
    pub program: PathBuf,
    /// The program's SHA-256, in hex.
    pub sha256: String,
    /// The work folder. A provider reads a template's relative paths in its working directory, and that is this folder
    /// for good: it is used again only for runs in the very same one, which may have got another name.
    pub work: PathBuf,
}

/// How far a kept provider may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most memory with which it is used again, in bytes.
    pub resident_bytes: u64,
    /// The most runs that it serves.
    pub uses: u32,
    /// The time until it listens.
    pub starting: Duration,
}

impl Default for Limits {
    /// The AWS provider (5.100) has 580 to 710 MB, of which 490 are its own file, and no more after 17 runs than after
    /// 2. It listens after 0.3 s; terraform would wait for a minute.
    fn default() -> Self {
        Self { resident_bytes: 1_000_000_000, uses: 100, starting: Duration::from_secs(30) }
    }
}

/// Why a kept provider is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It served somebody else.
    Key,
    /// Another provider is wanted, or another version of it.
    Program,
    /// It was started with another endpoint or search path.
    Environment,
    /// It works in another folder.
    Folder,
    /// It is dead, or cannot be reached.
    Dead,
    /// It has grown too large, or it is not known how large it is.
    Memory,
    /// It has served often enough.
    Uses,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "it served somebody else",
            Self::Program => "another one is wanted",
            Self::Environment => "it was started for another endpoint",
            Self::Folder => "it works in another folder",
            Self::Dead => "it does not answer",
            Self::Memory => "it has grown too large",
            Self::Uses => "it has served often enough",
        })
    }
}

/// The kept provider of a process, and what is needed to start one.
#[derive(Clone)]
pub struct Providers(Arc<Shelf>);

struct Shelf {
    sockets: PathBuf,
    limits: Limits,
    programs: Programs,
    kept: Mutex<Option<Kept>>,
    /// What the last one that was started has answered.
    last: Mutex<Option<Last>>,
}

struct Kept {
    provider: Provider,
    wanted: Wanted,
    /// What it was started with of terraform's.
    environment: Environment,
    /// How many runs it has served.
    uses: u32,
    answers: Arc<Answers>,
}

/// Whose answers these are: another process of that program, with that environment, has the same schemas.
struct Last {
    sha256: String,
    environment: Environment,
    answers: Arc<Answers>,
}

/// A provider that is lent to a run. Dropping it kills it.
pub struct Lent {
    shelf: Arc<Shelf>,
    kept: Kept,
    watch: Option<Watch>,
    relay: Option<Relay>,
}

impl Providers {
    /// Keeps none yet. Sockets are made in folders below `sockets`.
    pub fn new(sockets: PathBuf, limits: Limits) -> Self {
        let programs = Programs::default();
        Self(Arc::new(Shelf { sockets, limits, programs, kept: Mutex::default(), last: Mutex::default() }))
    }

    /// A provider for a run of `terraform`: the kept one, where it may be used; else that is ended and another started.
    pub async fn lend(&self, wanted: Wanted, terraform: &Terraform) -> Result<Lent, ProviderError> {
        let shelf = &self.0;
        let kept = shelf.lock().take();
        if let Some(kept) = kept {
            let Some(unfit) = judge(&kept, &wanted, &terraform.environment, shelf.limits) else {
                return Ok(Lent { shelf: Arc::clone(shelf), kept, watch: None, relay: None });
            };
            tracing::info!(source = kept.wanted.source, uses = kept.uses, %unfit, "a kept provider is ended");
            kept.provider.stop().await.map_err(ProviderError::Stop)?;
        }
        let Environment { endpoint_url, search, .. } = terraform.environment.clone();
        let environment = Environment { endpoint_url, search, ..Environment::default() };
        let Shelf { sockets, limits, programs, .. } = &**shelf;
        let provider = Provider::start(&wanted, &environment, programs, sockets, limits.starting).await?;
        tracing::info!(source = wanted.source, version = wanted.version, "a provider is running");
        let answers = shelf.answers(&wanted.sha256, &environment);
        let kept = Kept { provider, wanted, environment, uses: 0, answers };
        Ok(Lent { shelf: Arc::clone(shelf), kept, watch: None, relay: None })
    }

    /// Ends the kept one, unless it serves this key. To be called before anything runs for a key, with a provider or
    /// without: a program of a template could reach it, and with it the keys that it remembers.
    pub async fn end_unless(&self, key: &str) -> Result<(), ProcessError> {
        let other = self.0.lock().take_if(|kept| kept.wanted.key != key);
        stop(other).await
    }

    /// Ends the kept one.
    pub async fn end(&self) -> Result<(), ProcessError> {
        let kept = self.0.lock().take();
        stop(kept).await
    }
}

async fn stop(kept: Option<Kept>) -> Result<(), ProcessError> {
    match kept {
        Some(kept) => kept.provider.stop().await,
        None => Ok(()),
    }
}

impl Shelf {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known already of the answers of a provider that was started now.
    fn answers(&self, sha256: &str, environment: &Environment) -> Arc<Answers> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let same = last.take().filter(|last| last.sha256 == sha256 && last.environment == *environment);
        let answers = Arc::new(same.map(|last| last.answers.of_another()).unwrap_or_default());
        let (sha256, environment) = (sha256.to_owned(), environment.clone());
        *last = Some(Last { sha256, environment, answers: Arc::clone(&answers) });
        answers
    }
}

impl Lent {
    /// `terraform`, which uses this provider and starts none. Where it is known what its run needs, it sees no other
    /// schemas; without that it sees all. From now on what kills that terraform (`control`) kills the provider too: it
    /// must not go on with what its terraform was killed for.
    pub fn serve(
        &mut self,
        terraform: &Terraform,
        control: &watch::Receiver<Control>,
        needs: Option<Needs>,
    ) -> Terraform {
        let Kept { provider, wanted, answers, .. } = &self.kept;
        self.watch = Some(Watch::start(provider.killer(), control.clone()));
        // The one of before must be gone first: they have the same place.
        self.relay = None;
        self.relay = needs.and_then(|needs| {
            let started = provider.relay(needs, Arc::clone(answers));
            started.inspect_err(|error| tracing::warn!(%error, "a run sees all schemas")).ok()
        });
        let entry = match &self.relay {
            Some(relay) => provider.reattach_at(relay.socket()),
            None => provider.reattach(),
        };
        let source = wanted.source.as_str();
        let mut served = terraform.clone();
        served.environment.more.insert(VARIABLE.to_owned(), json!({ source: entry }).to_string());
        served
    }

    /// What becomes of it after the run: it is kept, or ended before this returns. Where a run has no outcome, drop it.
    pub async fn after(self, outcome: &Outcome) -> Result<(), ProcessError> {
        if may_stay(outcome) {
            self.give_back();
            return Ok(());
        }
        self.kept.provider.stop().await
    }

    fn give_back(self) {
        let Self { shelf, mut kept, watch, relay } = self;
        // Whatever is told to the run from now on means others.
        drop((watch, relay));
        kept.uses += 1;
        let other = shelf.lock().replace(kept);
        drop(other);
    }
}

/// Kills a provider when its terraform is killed, until it is let go.
struct Watch(JoinHandle<()>);

impl Watch {
    fn start(killer: Killer, mut control: watch::Receiver<Control>) -> Self {
        Self(tokio::spawn(async move {
            if control.wait_for(|told| *told == Control::Kill).await.is_ok() {
                killer.kill();
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a provider may be kept after such a run: only where its terraform ended by itself, and well. After anything
/// else it may be at something still, or in a state that nobody has seen.
pub fn may_stay(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Applied(_) | Outcome::WouldReplace { .. } => true,
        Outcome::Failed(_) | Outcome::Interrupted(_) => false,
    }
}

/// Whether a provider may be running already for this terraform. Not where terraform's environment says something that
/// the AWS provider would take from it: credentials, certificates (with `AWS_CA_BUNDLE` it refuses to be configured
/// twice), proxies. Nor with OpenTofu, where it was not tried.
pub fn may_serve(terraform: &Terraform) -> bool {
    let is_read = |name: &String| {
        let name = name.to_ascii_uppercase();
        name.starts_with("AWS_") || name.starts_with("SSL_CERT_") || name.ends_with("_PROXY")
    };
    terraform.engine == Engine::Terraform && !terraform.environment.more.keys().any(is_read)
}

/// What the process itself shows.
#[derive(Debug, Clone, Copy)]
struct Seen {
    answers: bool,
    /// Whether it works in the folder that is wanted.
    in_folder: bool,
    resident_bytes: Option<u64>,
}

fn judge(kept: &Kept, wanted: &Wanted, environment: &Environment, limits: Limits) -> Option<Unfit> {
    let same = (environment.endpoint_url.as_ref(), environment.search.as_ref())
        == (kept.environment.endpoint_url.as_ref(), kept.environment.search.as_ref());
    let seen = see(&kept.provider, &wanted.work);
    unfit(&kept.wanted, wanted, same, kept.uses, seen, limits)
}

fn see(provider: &Provider, work: &Path) -> Seen {
    let (answers, in_folder) = (provider.answers(), provider.works_in(work));
    Seen { answers, in_folder, resident_bytes: provider.resident_bytes() }
}

/// Why a kept provider must not be used for what is wanted; `None` where it may. Pure.
fn unfit(
    kept: &Wanted,
    wanted: &Wanted,
    same_environment: bool,
    uses: u32,
    seen: Seen,
    limits: Limits,
) -> Option<Unfit> {
    let Wanted { key, source, version, program, sha256, work: _ } = wanted;
    let reasons = [
        (Unfit::Key, *key != kept.key),
        (
            Unfit::Program,
            (source, version, program, sha256) != (&kept.source, &kept.version, &kept.program, &kept.sha256),
        ),
        (Unfit::Environment, !same_environment),
        (Unfit::Folder, !seen.in_folder),
        (Unfit::Dead, !seen.answers),
        (Unfit::Memory, seen.resident_bytes.is_none_or(|bytes| bytes > limits.resident_bytes)),
        (Unfit::Uses, uses >= limits.uses),
    ];
    reasons.into_iter().find_map(|(reason, holds)| holds.then_some(reason))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::super::answers::Call;
    use super::super::answers::tests::of;
    use super::super::schemas::tests::{bytes, number};
    use super::*;
    use crate::events::Changes;
    use crate::run::{Action, Applied, Failure, Interruption};

    fn wanted() -> Wanted {
        Wanted {
            key: "acme dev arn:aws:iam::1:role/dev eu-central-1".to_owned(),
            source: "registry.terraform.io/hashicorp/aws".to_owned(),
            version: "5.100.0".to_owned(),
            program: "/t/aa/terraform-provider-aws_v5.100.0_x5".into(),
            sha256: "8c".to_owned(),
            work: "/w".into(),
        }
    }

    #[test]
    fn a_kept_provider_is_used_only_where_all_is_as_it_was() {
        let good = Seen { answers: true, in_folder: true, resident_bytes: Some(700_000_000) };
        let limits = Limits::default();
        let check = |wanted: &Wanted, seen: Seen, uses: u32, expect: Option<Unfit>| {
            assert_eq!(unfit(&self::wanted(), wanted, true, uses, seen, limits), expect, "{wanted:?} {seen:?} {uses}");
        };
        check(&wanted(), good, 0, None);
        check(&wanted(), good, 99, None);
        check(&Wanted { work: "/another/name".into(), ..wanted() }, good, 0, None);
        check(&wanted(), good, 100, Some(Unfit::Uses));
        let others = [
            (Wanted { key: "acme prod".to_owned(), ..wanted() }, Unfit::Key),
            (Wanted { source: "registry.opentofu.org/hashicorp/aws".to_owned(), ..wanted() }, Unfit::Program),
            (Wanted { version: "5.99.0".to_owned(), ..wanted() }, Unfit::Program),
            (Wanted { program: "/t/bb/terraform-provider-aws_v5.100.0_x5".into(), ..wanted() }, Unfit::Program),
            (Wanted { sha256: "8d".to_owned(), ..wanted() }, Unfit::Program),
        ];
        for (other, reason) in others {
            check(&other, good, 0, Some(reason));
        }
        check(&wanted(), Seen { answers: false, ..good }, 0, Some(Unfit::Dead));
        check(&wanted(), Seen { in_folder: false, ..good }, 0, Some(Unfit::Folder));
        check(&wanted(), Seen { resident_bytes: Some(1_000_000_001), ..good }, 0, Some(Unfit::Memory));
        check(&wanted(), Seen { resident_bytes: None, ..good }, 0, Some(Unfit::Memory));
        assert_eq!(unfit(&wanted(), &wanted(), false, 0, good, limits), Some(Unfit::Environment));
    }

    #[test]
    fn schemas_are_known_to_the_next_process_of_the_same_program_in_the_same_environment() {
        let shelf = Providers::new("/s".into(), Limits::default()).0;
        let check = |sha256: &str, endpoint: &str, expect: bool| {
            let environment = Environment { endpoint_url: Some(endpoint.to_owned()), ..Environment::default() };
            let answers = shelf.answers(sha256, &environment);
            assert_eq!(answers.recall(Call::Schemas, &Bytes::new()).is_some(), expect, "{sha256} {endpoint}");
            answers.learn(Call::Schemas, Bytes::new(), &of(&bytes(6, &number(2, 1))));
        };
        check("8c", "http://127.0.0.1:4566", false);
        check("8c", "http://127.0.0.1:4566", true);
        check("8c", "http://127.0.0.1:4566", true);
        check("8c", "http://127.0.0.1:4567", false);
        check("8d", "http://127.0.0.1:4567", false);
        check("8d", "http://127.0.0.1:4567", true);
    }

    #[test]
    fn a_provider_is_kept_only_after_a_good_end() {
        let applied = Applied { outputs: None, changes: Changes::default() };
        let failure = Failure {
            during: Action::Create,
            diagnostics: Vec::new(),
            in_flight: Vec::new(),
            stderr: String::new(),
            killed: false,
            lock_left: false,
            errored_state: None,
        };
        let interruption =
            Interruption { in_flight: Vec::new(), finished: 0, killed: false, lock_left: false, errored_state: None };
        assert!(may_stay(&Outcome::Applied(applied)));
        assert!(may_stay(&Outcome::WouldReplace { changes: Vec::new() }));
        assert!(!may_stay(&Outcome::Failed(failure)));
        assert!(!may_stay(&Outcome::Interrupted(interruption)));
    }

    #[test]
    fn a_provider_is_not_used_where_terraforms_environment_would_have_told_it_something() {
        let check = |engine: Engine, name: Option<&str>, expect: bool| {
            let more: BTreeMap<_, _> = name.map(|name| (name.to_owned(), "x".to_owned())).into_iter().collect();
            let environment = Environment { more, ..Environment::default() };
            let terraform = Terraform { engine, binary: "/t".into(), cli_config: "/c".into(), environment };
            assert_eq!(may_serve(&terraform), expect, "{engine:?} {name:?}");
        };
        check(Engine::Terraform, None, true);
        check(Engine::Terraform, Some("TF_HTTP_PASSWORD"), true);
        check(Engine::Terraform, Some("AWS_CA_BUNDLE"), false);
        check(Engine::Terraform, Some("AWS_ACCESS_KEY_ID"), false);
        check(Engine::Terraform, Some("SSL_CERT_FILE"), false);
        check(Engine::Terraform, Some("https_proxy"), false);
        check(Engine::Tofu, None, false);
    }
}
