//! Everything that a run needs: engine, providers and module, sessions, and a work folder in which `init` has run. The
//! log is told how long each step took.

mod kept;
mod tools;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::log::Level;
use conductor_domain::operation::Failure;
use conductor_engine::port::Clock;
use conductor_engine::{Causes, Job};
use conductor_store::AwsConfig;
use conductor_terraform::engine::{Engine, UnknownEngine};
use conductor_terraform::mask::Masker;
use conductor_terraform::mirror;
use conductor_terraform::module::Module;
use conductor_terraform::prepared::{Identity, PrepareError, Prepared};
use conductor_terraform::process::{Control as Signal, Environment, Terraform};
use conductor_terraform::project::{
    self, AwsProvider, Backend, BackendCredentials, CREDENTIALS_FILE, Credentials, Project,
};
use conductor_terraform::provider::{self, Lent, ProviderError, Wanted};
use conductor_terraform::state::State;
use conductor_terraform::toolchain::Tool;
use conductor_terraform::transient;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::lines::Lines;
use super::{Terraforming, words};
use crate::backend::Chosen;
use crate::credentials::Keyring;
use crate::fault::{self, Fault};
use crate::state::{self, StateObject};
use crate::{scratch, secrets, variables};
pub(super) use kept::Kept;
use tools::Tools;

/// How long `init` and reading a state may take together: a server that never answers would keep them.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(120);
/// What is in an environment's secret.
const WHAT: &str = "the environment's credentials";
/// The addresses of the provider that gets region and credentials, in the registries of both engines.
const AWS: [&str; 2] = ["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/aws"];

/// Everything that a run needs, in place.
pub struct Ready {
    pub(super) terraform: Terraform,
    /// Stands before the folder, in which it works.
    lent: Mutex<Option<Lent>>,
    pub(super) folder: WorkFolder,
    pub(super) backend: Backend,
    pub(super) keyring: Keyring,
    /// Knows what is secret by now.
    pub(super) masker: Masker,
    pub(super) module: Arc<Module>,
    /// As it was found. Nobody else may change it: the reservation is ours.
    pub(super) state: Option<State>,
    /// How long it took until engine and providers were there, and until everything was.
    pub(super) toolchain_millis: u64,
    pub(super) prepare_millis: u64,
    aws: AwsConfig,
    /// While they live, nobody evicts the binaries.
    _tools: Vec<Tool>,
}

impl Ready {
    /// The provider that runs already, for the one terraform that may use it.
    pub(super) fn lent(&self) -> Option<Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The state's object, where the state is in the stack's own bucket, with the newest keys.
    pub(super) fn object(&self) -> Option<StateObject> {
        let (Backend::S3(s3), Some(keys)) = (&self.backend, self.keyring.backend()) else { return None };
        Some(StateObject::new(&self.aws, &keys, s3))
    }

    /// The state as it is now. What of it is secret is known from then on.
    pub(super) async fn read(&self, signal: &mut watch::Receiver<Signal>) -> Result<Option<State>, Fault> {
        let state = match self.object() {
            Some(object) => object.read().await,
            None => state::pulled(&self.terraform, self.folder.path(), &self.masker, signal).await,
        }?;
        self.masker.learn(state.iter().flat_map(|state| state.secrets.iter()));
        Ok(state)
    }
}

/// A work folder that is put aside, empty, when it is let go: it holds credentials.
pub(super) struct WorkFolder {
    path: PathBuf,
    idle: PathBuf,
}

impl WorkFolder {
    /// The one that was put aside, or a new one, as `path`.
    fn take(path: PathBuf, idle: PathBuf) -> io::Result<Self> {
        scratch::remove(&path)?;
        match fs::rename(&idle, &path) {
            // A template may have changed who may do what in it.
            Ok(()) => fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new().mode(0o700).create(&path)?,
            Err(error) => return Err(error),
        }
        Ok(Self { path, idle })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let Self { path, idle } = self;
        // A template may have put a link to something else in its place.
        let is_folder = fs::symlink_metadata(&*path).is_ok_and(|metadata| metadata.is_dir());
        let emptied = if is_folder { project::empty(path) } else { Err(io::ErrorKind::NotADirectory.into()) };
        let aside = emptied.and_then(|()| fs::rename(&*path, idle));
        if let Err(error) = aside.or_else(|_| scratch::remove(path)) {
            tracing::warn!(%error, folder = %path.display(), "a work folder was left behind");
        }
    }
}

impl Terraforming {
    /// Makes everything ready for a job.
    pub(super) async fn ready(&self, job: &Job, lines: &Lines) -> Result<Ready, Fault> {
        let began = self.clock.monotonic();
        let whose = self.whose(job);
        let folder = self.scratch.run(job.operation, job.epoch);
        let cleared = async {
            self.clear().await;
            if job.template.untrusted { self.providers.end().await } else { self.providers.end_unless(&whose).await }
        };
        // What is asked of others, and stays in memory until all is cleared.
        let asked = futures::future::try_join3(
            self.backend(job, &folder, lines),
            self.session(job, lines),
            self.variables(job, lines),
        );
        // Whatever comes of one, the other is not broken off.
        let (asked, ended) = futures::future::join(asked, cleared).await;
        ended.map_err(fault::not_ended)?;
        let (chosen, provider_session, mut variables) = asked?;
        let engine: Engine = job
            .template
            .engine
            .parse()
            .map_err(|error: UnknownEngine| Failure::new(Code::ToolchainUnavailable, error.to_string()))?;
        let (tools, module) =
            futures::future::try_join(self.tools(job, lines), self.module(job, engine, lines)).await?;
        let providers = self.providers(job, provider_session.as_ref(), &folder)?;
        let backend = chosen.backend;
        let backend_session = match (&backend, chosen.session) {
            (Backend::S3(s3), Some(session)) => Some((s3.key.clone(), session)),
            _ => None,
        };
        let inputs = inputs(job);
        let versions: BTreeMap<String, String> =
            tools.providers.iter().map(|(artifact, _)| (artifact.name.clone(), artifact.version.clone())).collect();
        let project = Project {
            module: &module,
            engine_version: Some(&tools.engine.version),
            inputs: &inputs,
            sensitive_inputs: &job.sensitive,
            provider_versions: &versions,
            providers: &providers,
            backend: &backend,
        };
        let configuration = project.configuration();
        let unwritten =
            |error: io::Error| Failure::new(Code::Internal, format!("the work folder cannot be written: {error}"));
        let folder = self.write(folder, &project, &tools).map_err(unwritten)?;
        let masker = lines.masker().clone();
        let keyring = self.sessions.keyring(folder.path(), backend_session, provider_session, &masker);
        let keyring = keyring.map_err(unwritten)?;
        variables.extend(backend.environment());
        let terraform = Terraform {
            engine,
            binary: tools.terraform.path().join(&tools.engine.name),
            cli_config: folder.path().join("cli.tfrc"),
            environment: Environment {
                endpoint_url: self.endpoint_url.clone(),
                more: variables,
                ..Environment::default()
            },
        };
        let identity = Identity {
            module: job.template.sha256.clone(),
            engine: tools.engine.sha256.clone(),
            providers: tools.providers.iter().map(|(a, _)| (a.name.clone(), a.sha256.clone())).collect(),
            backend: backend.kind(),
        };
        // What is called from elsewhere may configure the provider in its own way, and one process has one configuration.
        let may_keep = !job.template.untrusted && !module.calls_others;
        let wanted = kept(&tools, whose, folder.path()).filter(|_| may_keep);
        let mut held = vec![tools.terraform];
        held.extend(tools.providers.into_iter().map(|(_, tool)| tool));
        let mut ready = Ready {
            terraform,
            lent: Mutex::default(),
            folder,
            backend,
            keyring,
            masker,
            module,
            state: None,
            toolchain_millis: tools.millis,
            prepare_millis: 0,
            aws: self.aws.clone(),
            _tools: held,
        };
        let (state, lent) = futures::future::try_join(
            self.initialise_in_time(&ready, &identity, &configuration, job, lines),
            self.lend(wanted, &ready.terraform),
        )
        .await?;
        (ready.state, ready.lent) = (state, Mutex::new(lent));
        ready.prepare_millis = self.millis_since(began);
        Ok(ready)
    }

    async fn module(&self, job: &Job, engine: Engine, lines: &Lines) -> Result<Arc<Module>, Fault> {
        let (template, began) = (&job.template, self.clock.monotonic());
        let module = self.artifacts.module(&job.archive(), &template.sha256, engine).await?;
        let millis = self.millis_since(began);
        lines.say(Level::Info, format!("template {} {} ready in {millis} ms", template.template, template.version));
        Ok(module)
    }

    async fn backend(&self, job: &Job, folder: &Path, lines: &Lines) -> Result<Chosen, Fault> {
        let began = self.clock.monotonic();
        let chosen = self.backends.choose(&self.sessions, job, folder).await?;
        lines.masker().learn(chosen.backend.credentials().into_iter().flat_map(BackendCredentials::secrets));
        let (kind, millis) = (chosen.backend.kind(), self.millis_since(began));
        lines.say(Level::Info, format!("access to the state ({kind}) taken in {millis} ms"));
        Ok(chosen)
    }

    /// The session that providers get, where there is one that needs it.
    async fn session(&self, job: &Job, lines: &Lines) -> Result<Option<Credentials>, Fault> {
        if !job.template.interface.providers.values().any(|need| is_aws(&need.source)) {
            return Ok(None);
        }
        let began = self.clock.monotonic();
        let session = self.sessions.provider(job).await?;
        if session.is_some() {
            let millis = self.millis_since(began);
            lines.say(Level::Info, format!("session of the environment's role taken in {millis} ms"));
        }
        Ok(session)
    }

    /// What terraform's environment has for providers of other clouds.
    async fn variables(&self, job: &Job, lines: &Lines) -> Result<BTreeMap<String, String>, Fault> {
        let environment = &job.environment;
        let Some(credentials) = &environment.spec.credentials else { return Ok(BTreeMap::new()) };
        let Some(secret) = credentials.secret_arn.as_deref() else { return Ok(BTreeMap::new()) };
        if !credentials.owns_secret(&job.organisation, &environment.name) {
            let detail = "the environment names a secret of another environment";
            return Err(Failure::new(Code::CredentialsRefused, detail).into());
        }
        let began = self.clock.monotonic();
        let content = self.secrets.read(WHAT, secret).await?;
        let variables =
            variables::parse(&content).map_err(|error| secrets::unreadable(WHAT, secret, &error.to_string()))?;
        lines.masker().learn(variables.values());
        let (count, millis) = (variables.len(), self.millis_since(began));
        lines.say(Level::Info, format!("{count} variables of the environment's secret taken in {millis} ms"));
        Ok(variables)
    }

    fn providers(
        &self,
        job: &Job,
        session: Option<&Credentials>,
        folder: &Path,
    ) -> Result<BTreeMap<String, Map<String, Value>>, Failure> {
        let mut configs = BTreeMap::new();
        for (name, need) in &job.template.interface.providers {
            if !is_aws(&need.source) {
                continue;
            }
            if session.is_none() {
                let default = match &job.environment.spec.credentials {
                    Some(_) => "",
                    None => ", and the stack has no default one",
                };
                let name = &job.environment.name;
                let detail = format!("the environment {name} names no role (credentials.roleArn){default}");
                return Err(Failure::new(Code::CredentialsRefused, detail));
            }
            let provider = AwsProvider {
                region: job.environment.spec.region.clone().unwrap_or_else(|| self.region.clone()),
                profile: Some("provider".to_owned()),
                credentials_file: Some(folder.join(CREDENTIALS_FILE)),
                emulated: self.endpoint_url.is_some(),
                default_tags: BTreeMap::new(),
            };
            configs.insert(name.clone(), provider.config());
        }
        Ok(configs)
    }

    fn write(&self, folder: PathBuf, project: &Project<'_>, tools: &Tools) -> io::Result<WorkFolder> {
        let mirror = self.mirror(tools)?;
        let folder = WorkFolder::take(folder, self.scratch.idle())?;
        project::write(folder.path(), &project.files())?;
        fs::write(folder.path().join("cli.tfrc"), mirror::cli_config(&mirror))?;
        Ok(folder)
    }

    /// Whose resources a run may touch, and with which rights: a kept provider serves one such key.
    fn whose(&self, job: &Job) -> String {
        let spec = &job.environment.spec;
        let region = spec.region.as_ref().unwrap_or(&self.region);
        let secret = spec.credentials.as_ref().and_then(|credentials| credentials.secret_arn.as_ref());
        let place = json!([job.organisation, job.environment.name, region]);
        json!([place, self.sessions.target(job), job.template.services, secret]).to_string()
    }

    /// A running provider for this run. Where there is none, terraform starts its own.
    async fn lend(&self, wanted: Option<Wanted>, terraform: &Terraform) -> Result<Option<Lent>, Fault> {
        let Some(wanted) = wanted.filter(|_| provider::may_serve(terraform)) else { return Ok(None) };
        match self.providers.lend(wanted, terraform).await {
            Ok(lent) => Ok(Some(lent)),
            Err(ProviderError::Stop(error)) => Err(fault::not_ended(error)),
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "no provider is kept");
                Ok(None)
            }
        }
    }

    /// [`Terraforming::initialise`], and an end to it where a server does not answer.
    async fn initialise_in_time(
        &self,
        ready: &Ready,
        identity: &Identity,
        configuration: &BTreeMap<String, Vec<u8>>,
        job: &Job,
        lines: &Lines,
    ) -> Result<Option<State>, Fault> {
        let (signals, mut signal) = watch::channel(Signal::Run);
        let late = async {
            tokio::time::sleep(PREPARE_TIMEOUT).await;
            // What runs is killed and awaited; then the other branch ends.
            signals.send_replace(Signal::Kill);
            std::future::pending::<Infallible>().await
        };
        let found = tokio::select! {
            found = self.initialise(ready, identity, configuration, job, &mut signal, lines) => found,
            never = late => match never {},
        };
        if *signals.borrow() == Signal::Run {
            return found;
        }
        found.map_err(|_| {
            let detail = format!("the state's backend ({}) does not answer", ready.backend.kind());
            Fault::passes(Failure::new(Code::TerraformFailed, detail))
        })
    }

    /// Makes the work folder ready to run, and answers with the state. A fresh resource has none.
    ///
    /// A folder is prepared for one run, and then kept for later ones. What is not trusted neither uses one of those nor
    /// adds to them.
    async fn initialise(
        &self,
        ready: &Ready,
        identity: &Identity,
        configuration: &BTreeMap<String, Vec<u8>>,
        job: &Job,
        signal: &mut watch::Receiver<Signal>,
        lines: &Lines,
    ) -> Result<Option<State>, Fault> {
        let (name, began) = (identity.digest(), self.clock.monotonic());
        let is_trusted = !job.template.untrusted;
        let is_there = is_trusted && self.kept.has(&name);
        let (root, with) = if is_there { (self.scratch.kept(), "") } else { (self.scratch.prepared(), " with `init`") };
        let prepared = Prepared::ensure(&root, identity, configuration, &ready.backend, &ready.terraform, signal).await;
        let prepared = prepared
            .and_then(|prepared| prepared.copy_into(ready.folder.path(), &ready.backend).map(|()| prepared))
            .map_err(|error| not_initialised(error, &ready.masker))?;
        if is_trusted
            && !is_there
            && let Err(error) = self.kept.take(name, prepared.folder())
        {
            tracing::warn!(%error, "a prepared folder is not kept");
        }
        lines.say(Level::Info, format!("work folder made{with} in {} ms", self.millis_since(began)));
        if job.fresh {
            lines.say(Level::Info, "the resource is new: there is no state");
            return Ok(None);
        }
        let began = self.clock.monotonic();
        let state = ready.read(signal).await?;
        let found = match &state {
            Some(state) => format!("state {} with {} objects read", state.serial, state.resources()),
            None => "no state found".to_owned(),
        };
        lines.say(Level::Info, format!("{found} in {} ms", self.millis_since(began)));
        Ok(state)
    }
}

/// Why `init` did not do its work.
pub(super) fn not_initialised(error: PrepareError, masker: &Masker) -> Fault {
    let (detail, passes) = match error {
        PrepareError::Init(exit) => {
            let diagnostics = &exit.summary.diagnostics;
            (words::first_error(diagnostics, masker), transient::passes(diagnostics, &exit.stderr))
        }
        PrepareError::Process(error) => return fault::not_ended(error),
        other @ (PrepareError::Folder(_) | PrepareError::Record) => (other.to_string(), false),
    };
    Fault { failure: Failure::new(Code::TerraformFailed, format!("init: {detail}")), passes }
}

/// The provider of a run that may be kept: AWS's, where the manifest knows its program.
fn kept(tools: &Tools, key: String, work: &Path) -> Option<Wanted> {
    let (artifact, tool) = tools.providers.iter().find(|(artifact, _)| is_aws(&artifact.name))?;
    Some(Wanted {
        key,
        source: artifact.name.clone(),
        version: artifact.version.clone(),
        sha256: artifact.program_sha256.clone()?,
        program: provider::program(tool.path(), &artifact.name)?,
        work: work.to_owned(),
    })
}

/// Whether a provider gets region and credentials.
fn is_aws(source: &str) -> bool {
    AWS.contains(&source)
}

/// The parameters, and what Conductor itself gives to a module that declares it.
fn inputs(job: &Job) -> BTreeMap<String, Value> {
    let mut inputs: BTreeMap<String, Value> =
        job.inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let resource = &job.resource;
    let mut tags = json!({
        "conductor:organisation": job.organisation,
        "conductor:environment": resource.environment,
        "conductor:resource": resource.id,
    });
    if let Some(application) = &resource.created_for {
        tags["conductor:application"] = json!(application);
    }
    let own = [
        ("conductor_resource_id", json!(resource.id)),
        ("conductor_name", json!(resource.name)),
        ("conductor_tags", tags),
    ];
    for (name, value) in own {
        if job.template.interface.inputs.contains_key(name) {
            inputs.insert(name.to_owned(), value);
        }
    }
    inputs
}
