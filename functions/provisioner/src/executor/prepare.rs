//! Everything that a run needs: engine, providers and module, sessions, and a work folder in which `init` has run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_engine::Job;
use conductor_store::AwsConfig;
use conductor_terraform::engine::{self, Engine};
use conductor_terraform::mask::Masker;
use conductor_terraform::mirror::{self, MirroredProvider};
use conductor_terraform::module::Module;
use conductor_terraform::prepared::{Identity, PrepareError, Prepared};
use conductor_terraform::process::{Control as Signal, Environment, Terraform};
use conductor_terraform::project::{self, AwsProvider, Backend, CREDENTIALS_FILE, Credentials, Project};
use conductor_terraform::state::State;
use conductor_terraform::toolchain::{Artifact, Manifest, ManifestError, Tool, current_platform};
use conductor_terraform::transient;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{Terraforming, words};
use crate::credentials::Keyring;
use crate::fault::{self, Fault};
use crate::state::{self, StateObject};

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
    pub(super) masker: Masker,
    pub(super) module: Arc<Module>,
    /// As it was found. Nobody else may change it: the reservation is ours.
    pub(super) state: Option<State>,
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

    /// The state as it is now.
    pub(super) async fn read(&self, signal: &mut watch::Receiver<Signal>) -> Result<Option<State>, Fault> {
        match self.object() {
            Some(object) => object.read().await,
            None => state::pulled(&self.terraform, self.folder.path(), &self.masker, signal).await,
        }
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

/// Engine and providers of a run, unpacked.
struct Tools {
    terraform: Tool,
    engine: Artifact,
    providers: Vec<(Artifact, Tool)>,
}

impl Terraforming {
    /// Makes everything ready for a job.
    pub(super) async fn ready(&self, job: &Job) -> Result<Ready, Fault> {
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
        let backend = chosen.backend;
        let backend_session = match (&backend, chosen.session) {
            (Backend::S3(s3), Some(session)) => Some((s3.key.clone(), session)),
            _ => None,
        };
        let masker = words::masker(job, &backend);
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
        let keyring = self.sessions.keyring(folder.path(), backend_session, provider_session).map_err(unwritten)?;
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
        let (aws, state) = (self.aws.clone(), None);
        let mut ready = Ready { terraform, folder, backend, keyring, masker, module, state, aws, _tools: held };
        ready.state = self.initialise_in_time(&ready, &identity, &configuration, job.fresh).await?;
        Ok(ready)
    }

    async fn tools(&self, job: &Job) -> Result<Tools, Fault> {
        let (engine, providers) = match self.choose(job, false).await {
            Ok(chosen) => chosen,
            // Perhaps it was packed since this process last looked.
            Err(_) => self.choose(job, true).await?,
        };
        let fetch = async |artifact: Artifact| {
            let tool = self.toolchain.ensure(&artifact, &self.artifacts).await.map_err(|error| {
                let detail = format!("{} {} cannot be fetched: {error}", artifact.name, artifact.version);
                Fault { failure: Failure::new(Code::ToolchainUnavailable, detail), passes: error.passes() }
            })?;
            Ok::<_, Fault>((artifact, tool))
        };
        let (engine, providers) =
            futures::future::try_join(fetch(engine), futures::future::try_join_all(providers.into_iter().map(&fetch)))
                .await?;
        Ok(Tools { terraform: engine.1, engine: engine.0, providers })
    }

    async fn choose(&self, job: &Job, anew: bool) -> Result<(Artifact, Vec<Artifact>), Fault> {
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
    ) -> Result<Option<State>, Fault> {
        let (signals, mut signal) = watch::channel(Signal::Run);
        let late = async {
            tokio::time::sleep(PREPARE_TIMEOUT).await;
            // What runs is killed and awaited; then the other branch ends.
            signals.send_replace(Signal::Kill);
            std::future::pending::<Infallible>().await
        };
        let found = tokio::select! {
            found = self.initialise(ready, identity, configuration, fresh, &mut signal) => found,
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
    ) -> Result<Option<State>, Fault> {
        let root = self.root.join("prepared");
        let prepared = Prepared::ensure(&root, identity, configuration, &ready.backend, &ready.terraform, signal).await;
        prepared
            .and_then(|prepared| prepared.copy_into(ready.folder.path(), &ready.backend))
            .map_err(|error| not_initialised(error, &ready.masker))?;
        if fresh { Ok(None) } else { ready.read(signal).await }
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
