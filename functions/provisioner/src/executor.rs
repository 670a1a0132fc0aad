//! Runs terraform for the engine: fetches what a run needs, writes its work folder, and reads what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::operation::{Changes, Diagnostic, During, Failure};
use conductor_engine::{Control, Executor, Job, JobOutcome, Produced, Stop};
use conductor_store::AwsConfig;
use conductor_terraform::engine::{self, Engine};
use conductor_terraform::events::Severity;
use conductor_terraform::mask::{Masker, secrets_in};
use conductor_terraform::mirror::{self, MirroredProvider};
use conductor_terraform::module::Module;
use conductor_terraform::prepared::{self, Identity, Prepared};
use conductor_terraform::process::{Control as Signal, Environment, Terraform};
use conductor_terraform::project::{
    self, AwsProvider, Backend, BackendCredentials, CREDENTIALS_FILE, Credentials, Project, credentials_file,
    write_private,
};
use conductor_terraform::run::{self, Action, Outcome, RunRequest, UpdateRule};
use conductor_terraform::state::State;
use conductor_terraform::toolchain::{Artifact, Manifest, ManifestError, Tool, Toolchain, current_platform};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::artifacts::Artifacts;
use crate::backend::Backends;
use crate::config::Config;
use crate::credentials::Sessions;
use crate::state::{self, StateObject};

/// Room for unpacked toolchains: the AWS provider takes 707 MB (5.100.0, measured); the function has 4 GiB.
const TOOLCHAIN_BYTES: u64 = 2_500_000_000;
/// How long terraform waits for a state's lock. Nobody else should have it: the reservation is ours.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Diagnostics that a failure keeps, and the longest text of one: a record has 400 KB.
const MAX_DIAGNOSTICS: usize = 20;
const MAX_TEXT: usize = 4 * 1024;
/// How long `init` and reading a state may take together: a server that never answers would keep them.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(120);
/// The addresses of the provider that gets region and credentials, in the registries of both engines.
const AWS: [&str; 2] = ["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/aws"];

/// Runs terraform in this function.
pub struct Terraforming {
    worker: String,
    aws: AwsConfig,
    artifacts: Artifacts,
    sessions: Sessions,
    backends: Backends,
    toolchain: Toolchain,
    root: PathBuf,
    region: String,
    endpoint_url: Option<String>,
}

/// Everything that a run needs, in place.
pub struct Ready {
    terraform: Terraform,
    folder: WorkFolder,
    backend: Backend,
    action: Option<Action>,
    /// The state, where it is in the stack's own bucket.
    object: Option<StateObject>,
    masker: Masker,
    module: Arc<Module>,
    /// While they live, nobody evicts the binaries.
    _tools: Vec<Tool>,
}

impl Ready {
    async fn state(&self, control: &mut watch::Receiver<Signal>) -> Result<Option<State>, Failure> {
        match &self.object {
            Some(object) => object.read().await,
            None => state::pulled(&self.terraform, &self.folder.0, &self.masker, control).await,
        }
    }
}

/// A work folder that is gone when it is let go: it holds credentials.
struct WorkFolder(PathBuf);

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a work folder was left behind");
        }
    }
}

/// Engine and providers of a run, unpacked.
struct Tools {
    terraform: Tool,
    engine: Artifact,
    providers: Vec<(Artifact, Tool)>,
}

impl Terraforming {
    /// Clients and folders, made once.
    pub fn new(config: &Config, aws: &AwsConfig) -> Result<Self, std::io::Error> {
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(config.endpoint_url.is_some());
        let s3 = aws_sdk_s3::Client::from_conf(s3.build());
        for folder in ["toolchain", "work", "prepared", "mirror"] {
            fs::create_dir_all(config.root.join(folder))?;
        }
        Ok(Self {
            worker: uuid::Uuid::now_v7().to_string(),
            aws: aws.clone(),
            artifacts: Artifacts::new(s3, config.names.artifact_bucket.clone()),
            sessions: Sessions::new(
                aws_sdk_sts::Client::new(aws),
                config.state_role_arn.clone(),
                config.names.state_bucket.clone(),
                config.default_target.clone(),
            ),
            backends: Backends::new(config, aws_sdk_secretsmanager::Client::new(aws)),
            toolchain: Toolchain::new(config.root.join("toolchain"), TOOLCHAIN_BYTES),
            root: config.root.clone(),
            region: config.region.clone(),
            endpoint_url: config.endpoint_url.clone(),
        })
    }

    async fn tools(&self, job: &Job) -> Result<Tools, Failure> {
        let (engine, providers) = match self.choose(job, false).await {
            Ok(chosen) => chosen,
            // Perhaps it was packed since this function last looked.
            Err(_) => self.choose(job, true).await?,
        };
        let fetch = async |artifact: Artifact| {
            let tool = self.toolchain.ensure(&artifact, &self.artifacts).await.map_err(|error| {
                let detail = format!("{} {} cannot be fetched: {error}", artifact.name, artifact.version);
                Failure::new(Code::ToolchainUnavailable, detail)
            })?;
            Ok::<_, Failure>((artifact, tool))
        };
        let (engine, providers) =
            futures::future::try_join(fetch(engine), futures::future::try_join_all(providers.into_iter().map(&fetch)))
                .await?;
        Ok(Tools { terraform: engine.1, engine: engine.0, providers })
    }

    async fn choose(&self, job: &Job, anew: bool) -> Result<(Artifact, Vec<Artifact>), Failure> {
        let manifest = self.artifacts.manifest(anew).await?;
        let missing = |error: ManifestError| Failure::new(Code::ToolchainUnavailable, error.to_string());
        let engine = manifest.engine(&job.template.engine, &job.template.engine_version).map_err(missing)?;
        let needs = job.template.interface.providers.values();
        let providers: Result<Vec<Artifact>, _> =
            needs.map(|need| provider(&manifest, &need.source, &need.version)).collect();
        Ok((engine.clone(), providers.map_err(missing)?))
    }

    /// Where terraform finds exactly these providers.
    fn mirror(&self, tools: &Tools) -> std::io::Result<PathBuf> {
        let mut digest = Sha256::new();
        for (artifact, _) in &tools.providers {
            digest.update(artifact.sha256.as_bytes());
        }
        let mirror = self.root.join("mirror").join(hex::encode(digest.finalize()));
        let providers: Vec<MirroredProvider> = tools
            .providers
            .iter()
            .map(|(artifact, tool)| MirroredProvider {
                source: artifact.name.clone(),
                version: artifact.version.clone(),
                platform: current_platform(),
                folder: tool.path().to_path_buf(),
            })
            .collect();
        mirror::assemble(&mirror, &providers)?;
        Ok(mirror)
    }

    fn providers(
        &self,
        job: &Job,
        session: Option<&Credentials>,
        folder: &Path,
    ) -> Result<BTreeMap<String, serde_json::Map<String, Value>>, Failure> {
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

    async fn ready(&self, job: &Job) -> Result<Ready, Failure> {
        let folder = self.root.join("work").join(format!("{}-{}", job.operation, job.epoch));
        let needs_cloud = job.template.interface.providers.values().any(|need| is_aws(&need.source));
        let engine: Engine = job
            .template
            .engine
            .parse()
            .map_err(|error: engine::UnknownEngine| Failure::new(Code::ToolchainUnavailable, error.to_string()))?;
        let (tools, module, chosen, provider_session) = futures::future::try_join4(
            self.tools(job),
            async { self.artifacts.module(&job.archive(), &job.template.sha256, engine).await },
            self.backends.choose(&self.sessions, job, &folder),
            async { if needs_cloud { self.sessions.provider(job).await } else { Ok(None) } },
        )
        .await?;
        let providers = self.providers(job, provider_session.as_ref(), &folder)?;
        let (backend, backend_session) = (chosen.backend, chosen.session);
        let object = match (&backend, &backend_session) {
            (Backend::S3(s3), Some(session)) => Some(StateObject::new(&self.aws, session, s3)),
            _ => None,
        };
        let masker = masker(job, &backend);
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
        let sessions = [("backend", &backend_session), ("provider", &provider_session)];
        let profiles: Vec<(&str, &Credentials)> =
            sessions.into_iter().filter_map(|(name, session)| Some((name, session.as_ref()?))).collect();
        let configuration = project.configuration();
        let folder = self
            .write(folder, &project, &profiles, &tools)
            .map_err(|error| Failure::new(Code::Internal, format!("the work folder cannot be written: {error}")))?;
        let terraform = Terraform {
            engine,
            binary: tools.terraform.path().join(&tools.engine.name),
            cli_config: folder.0.join("cli.tfrc"),
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
        let mut ready = Ready { terraform, folder, backend, action: None, object, masker, module, _tools: held };
        let there =
            tokio::time::timeout(PREPARE_TIMEOUT, self.initialise(&ready, &identity, &configuration, job.fresh));
        let there = there.await.map_err(|_| {
            let detail = format!("the state's backend ({}) does not answer", ready.backend.kind());
            Failure::new(Code::TerraformFailed, detail)
        })??;
        ready.action = match (job.during, there) {
            (During::Destroy, true) => Some(Action::Destroy),
            (During::Destroy, false) => None,
            (During::Create | During::Update, true) => Some(Action::Update),
            (During::Create | During::Update, false) => Some(Action::Create),
        };
        Ok(ready)
    }

    /// Makes the work folder ready to run; whether there is a state. A fresh resource has none.
    async fn initialise(
        &self,
        ready: &Ready,
        identity: &Identity,
        configuration: &BTreeMap<String, Vec<u8>>,
        fresh: bool,
    ) -> Result<bool, Failure> {
        let (_go, mut control) = watch::channel(Signal::Run);
        let root = self.root.join("prepared");
        let prepared =
            Prepared::ensure(&root, identity, configuration, &ready.backend, &ready.terraform, &mut control).await;
        if let Err(error) = prepared.and_then(|prepared| prepared.copy_into(&ready.folder.0, &ready.backend)) {
            let detail = match &error {
                prepared::PrepareError::Init(exit) => first_error(&exit.summary.diagnostics, &ready.masker),
                other => other.to_string(),
            };
            return Err(Failure::new(Code::TerraformFailed, format!("init: {detail}")));
        }
        if fresh {
            return Ok(false);
        }
        Ok(ready.state(&mut control).await?.is_some())
    }

    fn write(
        &self,
        folder: PathBuf,
        project: &Project<'_>,
        profiles: &[(&str, &Credentials)],
        tools: &Tools,
    ) -> std::io::Result<WorkFolder> {
        let mirror = self.mirror(tools)?;
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let folder = WorkFolder(folder);
        project::write(&folder.0, &project.files())?;
        write_private(&folder.0.join(CREDENTIALS_FILE), credentials_file(profiles)?.as_bytes())?;
        fs::write(folder.0.join("cli.tfrc"), mirror::cli_config(&mirror))?;
        Ok(folder)
    }

    async fn attempt(job: &Job, ready: &Ready, action: Action, signal: watch::Receiver<Signal>) -> JobOutcome {
        // What an attempt that never succeeded made is nobody's yet; a tainted part of it is made anew.
        let rule = if job.allow_replace || job.during == During::Create {
            UpdateRule { protected: Some(BTreeSet::new()), ..UpdateRule::default() }
        } else {
            UpdateRule::default()
        };
        let request = || RunRequest {
            terraform: &ready.terraform,
            work: &ready.folder.0,
            action,
            rule: rule.clone(),
            lock_timeout: LOCK_TIMEOUT,
        };
        let mut outcome = run::run(request(), signal.clone(), |_| ()).await;
        if let Ok(Outcome::Failed(failure)) = &outcome
            && failure.needs_init()
        {
            tracing::warn!("the prepared folder did not serve; running init");
            let mut signal_of_init = signal.clone();
            let init = prepared::init(&ready.terraform, &ready.folder.0, &ready.backend, &mut signal_of_init, |_| ());
            if let Err(error) = init.await {
                return JobOutcome::Failed(Failure::new(Code::TerraformFailed, format!("init: {error}")));
            }
            outcome = run::run(request(), signal.clone(), |_| ()).await;
        }
        match outcome {
            Ok(Outcome::Applied(applied)) => {
                let changes = Changes {
                    add: applied.changes.add as u32,
                    change: applied.changes.change as u32,
                    destroy: applied.changes.destroy as u32,
                };
                let mut signal = signal;
                match produced(job, ready, applied.outputs, &mut signal).await {
                    Ok(outputs) => JobOutcome::Done(Produced { outputs, changes }),
                    // The state is stored: whoever goes on reads them.
                    Err(_) if *signal.borrow() != Signal::Run => JobOutcome::Interrupted,
                    Err(failure) => JobOutcome::Failed(failure),
                }
            }
            Ok(Outcome::WouldReplace { changes }) => {
                let shown = |change: &conductor_terraform::events::PlannedChange| {
                    format!("{} ({})", change.address, format!("{:?}", change.action).to_lowercase())
                };
                JobOutcome::WouldReplace(changes.iter().map(shown).collect())
            }
            Ok(Outcome::Interrupted(_)) => JobOutcome::Interrupted,
            Ok(Outcome::Failed(failure)) => JobOutcome::Failed(failed(&failure, &ready.masker)),
            Err(run::RunError::Process(error)) => {
                tracing::error!(%error, "a terraform process could not be run to its end; this function ends");
                if matches!(error, conductor_terraform::process::ProcessError::ProcessLeft { .. }) {
                    std::process::exit(1);
                }
                JobOutcome::Failed(Failure::new(Code::TerraformFailed, error.to_string()))
            }
        }
    }
}

/// The outputs: from the apply's own events where none is sensitive, else from the state.
async fn produced(
    job: &Job,
    ready: &Ready,
    told: Option<BTreeMap<String, Value>>,
    signal: &mut watch::Receiver<Signal>,
) -> Result<BTreeMap<String, (Value, bool)>, Failure> {
    if job.during == During::Destroy {
        match &ready.object {
            Some(object) => object.remove().await,
            None => state::remove_file(&ready.backend),
        }
        return Ok(BTreeMap::new());
    }
    match told {
        Some(told) if told.len() == ready.module.interface.outputs.len() => {
            Ok(told.into_iter().map(|(name, value)| (name, (value, false))).collect())
        }
        _ => {
            let state = ready.state(signal).await?;
            let outputs = state.map(|state| state.outputs).unwrap_or_default();
            Ok(outputs.into_iter().map(|(name, output)| (name, (output.value, output.sensitive))).collect())
        }
    }
}

impl Executor for Terraforming {
    type Prepared = Ready;

    fn worker(&self) -> &str {
        &self.worker
    }

    async fn prepare(&self, job: &Job) -> Result<Ready, Failure> {
        self.ready(job).await
    }

    async fn run(&self, job: &Job, ready: Ready, control: Control) -> JobOutcome {
        let Some(action) = ready.action else { return JobOutcome::Done(Produced::default()) };
        let (signals, signal) = watch::channel(Signal::Run);
        let relay = async {
            let mut control = control;
            control.reached(Stop::Terminate).await;
            signals.send_replace(Signal::Terminate);
            control.reached(Stop::Kill).await;
            signals.send_replace(Signal::Kill);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = Self::attempt(job, &ready, action, signal) => outcome,
            () = relay => JobOutcome::Interrupted,
        }
    }
}

/// Whether a provider gets region and credentials.
fn is_aws(source: &str) -> bool {
    AWS.contains(&source)
}

/// A packed provider under the address that the template has for it; the one of OpenTofu's registry may be packed under
/// the other's.
fn provider(manifest: &Manifest, source: &str, version: &str) -> Result<Artifact, ManifestError> {
    let found = manifest.provider(source, version).or_else(|missing| {
        let packed = engine::packed_address(source);
        packed.and_then(|packed| manifest.provider(&packed, version).ok()).ok_or(missing)
    })?;
    Ok(Artifact { name: source.to_owned(), ..found.clone() })
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

/// Masks what must not be shown of a job and its backend.
fn masker(job: &Job, backend: &Backend) -> Masker {
    let inputs = job.sensitive.iter().filter_map(|name| job.inputs.get(name)).flat_map(secrets_in);
    let credentials = backend.credentials().into_iter().flat_map(BackendCredentials::secrets).map(str::to_owned);
    Masker::new(inputs.chain(credentials))
}

fn first_error(diagnostics: &[conductor_terraform::events::Diagnostic], masker: &Masker) -> String {
    let first = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error);
    let text = first.map_or_else(
        || "terraform gave no reason".to_owned(),
        |diagnostic| format!("{} {}", diagnostic.summary, diagnostic.detail),
    );
    short(masker.apply(text.trim()))
}

/// A text that fits into a record.
fn short(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" … (shortened)");
    }
    text
}

fn failed(failure: &run::Failure, masker: &Masker) -> Failure {
    let errors = failure.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let diagnostics: Vec<Diagnostic> = errors
        .take(MAX_DIAGNOSTICS)
        .map(|diagnostic| {
            let masked = diagnostic.masked(masker);
            Diagnostic { summary: short(masked.summary), detail: short(masked.detail), address: masked.address }
        })
        .collect();
    let detail = match diagnostics.first() {
        Some(first) => first.summary.clone(),
        None => short(masker.apply(failure.stderr.trim())),
    };
    Failure { diagnostics, ..Failure::new(Code::TerraformFailed, detail) }
}
