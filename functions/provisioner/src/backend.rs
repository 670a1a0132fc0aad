//! From an environment's backend to terraform's: where the resource's state is, and who may read and write it.

use std::path::{Path, PathBuf};

use conductor_domain::Code;
use conductor_domain::backend::BackendSpec;
use conductor_domain::operation::Failure;
use conductor_engine::Job;
use conductor_terraform::project::{
    AzurermBackend, Backend, BackendCredentials, CREDENTIALS_FILE, Credentials, HttpBackend, RemoteBackend, S3Backend,
};

use crate::config::Config;
use crate::credentials::Sessions;
use crate::fault::Fault;
use crate::secrets::{self, Secrets};

/// What is in a backend's secret.
const WHAT: &str = "the backend's credentials";
/// The backend of environments that name none.
static OWN: BackendSpec = BackendSpec::S3 {};

/// What the backends of a stack have in common.
pub struct Backends {
    secrets: Secrets,
    bucket: String,
    region: String,
    emulated: bool,
}

/// The backend of one operation.
pub struct Chosen {
    /// For terraform.
    pub backend: Backend,
    /// The session for the stack's own bucket, where the state is there.
    pub session: Option<Credentials>,
}

impl Backends {
    /// Of a stack.
    pub fn new(config: &Config, secrets: Secrets) -> Self {
        Self {
            secrets,
            bucket: config.names.state_bucket.clone(),
            region: config.region.clone(),
            emulated: config.endpoint_url.is_some(),
        }
    }

    /// The backend of a job whose work folder this is, with its credentials. Refuses one that is not that with which
    /// the resource was made.
    pub async fn choose(&self, sessions: &Sessions, job: &Job, folder: &Path) -> Result<Chosen, Fault> {
        let spec = job.environment.spec.backend.as_ref().unwrap_or(&OWN);
        let resource = &job.resource;
        let there = &resource.state_location;
        let here = spec.location(&self.bucket, &job.organisation, &resource.environment, resource.id);
        let stack = matches!(spec, BackendSpec::S3 {}) && there.backend == spec.kind();
        if !stack && here != *there {
            let detail = format!(
                "the state of {} is at {}; the backend of the environment says {}",
                resource.name, there.location, here.location
            );
            return Err(Failure::new(Code::Internal, detail).into());
        }
        if !spec.owns_secret(&job.organisation, &resource.environment) {
            let detail = "the environment names a secret of another environment";
            return Err(Failure::new(Code::CredentialsRefused, detail).into());
        }
        let object = spec.object(&job.organisation, &resource.environment, resource.id);
        let credentials = match spec.credentials_secret() {
            Some(secret) => self.credentials(spec.kind(), secret).await?,
            None => BackendCredentials::default(),
        };
        let backend = match spec {
            BackendSpec::S3 {} => {
                let key = key_of(&there.location);
                let session = sessions.backend(job, &key).await?;
                return Ok(Chosen { backend: Backend::S3(self.s3(key, folder)), session: Some(session) });
            }
            BackendSpec::Azurerm {
                storage_account_name,
                container_name,
                key_prefix: _,
                resource_group_name,
                subscription_id,
                tenant_id,
                credentials_secret: _,
            } => Backend::Azurerm(AzurermBackend {
                storage_account_name: storage_account_name.clone(),
                container_name: container_name.clone(),
                key: object,
                resource_group_name: resource_group_name.clone(),
                subscription_id: subscription_id.clone(),
                tenant_id: tenant_id.clone(),
                credentials,
            }),
            BackendSpec::Http { address: _, lock, credentials_secret: _ } => {
                Backend::Http(HttpBackend { address: object, lock: *lock, credentials })
            }
            BackendSpec::Remote { hostname, organization, workspace_prefix: _, credentials_secret: _ } => {
                Backend::Remote(RemoteBackend {
                    hostname: hostname.clone(),
                    organization: organization.clone(),
                    workspace: object,
                    credentials,
                })
            }
            BackendSpec::Local { path: _ } if !self.emulated => {
                let detail = "the backend `local` keeps states on the worker's own disk, which ends with the worker: it is \
                              for a stack on one machine";
                return Err(Failure::new(Code::NotAvailable, detail).into());
            }
            BackendSpec::Local { path: _ } => Backend::Local { path: PathBuf::from(object) },
        };
        Ok(Chosen { backend, session: None })
    }

    fn s3(&self, key: String, folder: &Path) -> S3Backend {
        S3Backend {
            bucket: self.bucket.clone(),
            key,
            region: self.region.clone(),
            profile: Some("backend".to_owned()),
            credentials_file: Some(folder.join(CREDENTIALS_FILE)),
            emulated: self.emulated,
        }
    }

    async fn credentials(&self, kind: &str, secret: &str) -> Result<BackendCredentials, Fault> {
        let content = self.secrets.read(WHAT, secret).await?;
        let credentials = BackendCredentials::parse(kind, &content);
        Ok(credentials.map_err(|error| secrets::unreadable(WHAT, secret, &error.to_string()))?)
    }
}

/// The key in a location such as `s3://<bucket>/<key>`.
fn key_of(location: &str) -> String {
    let path = location.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    path.map_or_else(|| location.to_owned(), |(_, key)| key.to_owned())
}
