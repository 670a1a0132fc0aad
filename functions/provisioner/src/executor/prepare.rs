//! Everything that a run needs: engine, providers and module, sessions, and a work folder in which `init` has run. The
//! log is told how long each step took.

mod tools;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::log::Level;
use conductor_domain::operation::Failure;
use conductor_engine::Job;
use conductor_engine::port::Clock;
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
use tools::Tools;

/// How long `init` and reading a state may take together: a server that never answers would keep them.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(120);
/// The addresses of the provider that gets region and credentials, in the registries of both engines.
const AWS: [&str; 2] = ["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/aws"];

/// Everything that a run needs, in place.
pub struct Ready {
    pub(super) terraform: Terraform,
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

/// A work folder that is gone when it is let go: it holds credentials.
pub(super) struct WorkFolder(PathBuf);

impl WorkFolder {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a work folder was left behind");
        }
    }
}

impl Terraforming {
    /// Makes everything ready for a job.
    pub(super) async fn ready(&self, job: &Job, lines: &Lines) -> Result<Ready, Fault> {
        let began = self.clock.monotonic();
        let folder = self.root.join("work").join(format!("{}-{}", job.operation, job.epoch));
        let engine: Engine = job
            .template
            .engine
            .parse()
            .map_err(|error: UnknownEngine| Failure::new(Code::ToolchainUnavailable, error.to_string()))?;
        let (tools, module, chosen, provider_session) = futures::future::try_join4(
            self.tools(job, lines),
            self.module(job, engine, lines),
            self.backend(job, &folder, lines),
            self.session(job, lines),
        )
        .await?;
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
            |error: std::io::Error| Failure::new(Code::Internal, format!("the work folder cannot be written: {error}"));
        let folder = self.write(folder, &project, &tools).map_err(unwritten)?;
        let masker = lines.masker().clone();
        let keyring = self.sessions.keyring(folder.path(), backend_session, provider_session, &masker);
        let keyring = keyring.map_err(unwritten)?;
        let terraform = Terraform {
            engine,
            binary: tools.terraform.path().join(&tools.engine.name),
            cli_config: folder.path().join("cli.tfrc"),
            environment: Environment {
                endpoint_url: self.endpoint_url.clone(),
                more: backend.environment(),
                ..Environment::default()
            },
        };
        let identity = Identity {
            module: job.template.sha256.clone(),
            engine: tools.engine.sha256.clone(),
            providers: tools.providers.iter().map(|(a, _)| (a.name.clone(), a.sha256.clone())).collect(),
            backend: backend.kind(),
        };
        let mut held = vec![tools.terraform];
        held.extend(tools.providers.into_iter().map(|(_, tool)| tool));
        let mut ready = Ready {
            terraform,
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
        ready.state = self.initialise_in_time(&ready, &identity, &configuration, job.fresh, lines).await?;
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
                let detail = format!(
                    "the environment {} names no role (credentials.roleArn), and the stack has no default one",
                    job.environment.name
                );
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

    fn write(&self, folder: PathBuf, project: &Project<'_>, tools: &Tools) -> std::io::Result<WorkFolder> {
        let mirror = self.mirror(tools)?;
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let folder = WorkFolder(folder);
        project::write(folder.path(), &project.files())?;
        fs::write(folder.path().join("cli.tfrc"), mirror::cli_config(&mirror))?;
        Ok(folder)
    }

    /// [`Terraforming::initialise`], and an end to it where a server does not answer.
    async fn initialise_in_time(
        &self,
        ready: &Ready,
        identity: &Identity,
        configuration: &BTreeMap<String, Vec<u8>>,
        fresh: bool,
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
            found = self.initialise(ready, identity, configuration, fresh, &mut signal, lines) => found,
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
    async fn initialise(
        &self,
        ready: &Ready,
        identity: &Identity,
        configuration: &BTreeMap<String, Vec<u8>>,
        fresh: bool,
        signal: &mut watch::Receiver<Signal>,
        lines: &Lines,
    ) -> Result<Option<State>, Fault> {
        let (root, began) = (self.root.join("prepared"), self.clock.monotonic());
        let with = if root.join(identity.digest()).is_dir() { "" } else { " with `init`" };
        let prepared = Prepared::ensure(&root, identity, configuration, &ready.backend, &ready.terraform, signal).await;
        prepared
            .and_then(|prepared| prepared.copy_into(ready.folder.path(), &ready.backend))
            .map_err(|error| not_initialised(error, &ready.masker))?;
        lines.say(Level::Info, format!("work folder made{with} in {} ms", self.millis_since(began)));
        if fresh {
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
