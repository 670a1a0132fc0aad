//! A resource's state: an object in the stack's own bucket, read with the operation's own session (nothing else could be
//! read with it); in any other backend, what terraform itself reads there.

use std::fs;
use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials as Keys;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_store::AwsConfig;
use conductor_terraform::mask::Masker;
use conductor_terraform::process::{Control, Terraform};
use conductor_terraform::project::{Backend, Credentials, S3Backend};
use conductor_terraform::pull::{PullError, pull};
use conductor_terraform::state::{self, State};
use conductor_terraform::transient;
use tokio::sync::watch;

use crate::fault::{self, Fault};
use crate::lock::LockObject;

/// The most that is kept of what terraform says about a state that it cannot read.
const MAX_TEXT: usize = 2_000;

/// The state object of one operation.
pub struct StateObject {
    s3: Client,
    bucket: String,
    key: String,
}

impl StateObject {
    /// The object of this backend, read with this session.
    pub fn new(config: &AwsConfig, session: &Credentials, backend: &S3Backend) -> Self {
        let keys =
            Keys::new(&session.access_key_id, &session.secret_access_key, session.session_token.clone(), None, "state");
        let builder = aws_sdk_s3::config::Builder::from(config)
            .credentials_provider(keys)
            .force_path_style(config.endpoint_url().is_some());
        Self { s3: Client::from_conf(builder.build()), bucket: backend.bucket.clone(), key: backend.key.clone() }
    }

    /// The lock beside it.
    pub fn lock(&self) -> LockObject {
        LockObject::new(self.s3.clone(), self.bucket.clone(), format!("{}.tflock", self.key))
    }

    /// The state; `None` where there is none.
    pub async fn read(&self) -> Result<Option<State>, Fault> {
        match self.s3.get_object().bucket(&self.bucket).key(&self.key).send().await {
            Ok(object) => {
                let broken = |_| Fault::passes(unreadable("it broke off"));
                let content = object.body.collect().await.map_err(broken)?.to_vec();
                Ok(Some(state::parse(&content).map_err(|error| unreadable(&error.to_string()))?))
            }
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(unanswered(&error)),
        }
    }

    /// Removes the empty state that a destroy leaves; its versions stay for as long as the bucket keeps them.
    pub async fn remove(&self) {
        if let Err(error) = self.s3.delete_object().bucket(&self.bucket).key(&self.key).send().await {
            tracing::warn!(code = error.code(), key = self.key, "an empty state was left behind");
        }
    }
}

/// The state that terraform reads in a prepared work folder; `None` where there is none.
pub async fn pulled(
    terraform: &Terraform,
    work: &Path,
    masker: &Masker,
    control: &mut watch::Receiver<Control>,
) -> Result<Option<State>, Fault> {
    pull(terraform, work, control).await.map_err(|error| match error {
        PullError::Failed { stderr } => {
            let shown: String = masker.apply(stderr.trim()).chars().take(MAX_TEXT).collect();
            Fault { passes: transient::passes(&[], &stderr), failure: unreadable(&shown) }
        }
        PullError::Process(error) => fault::not_ended(error),
        PullError::State(error) => Fault::lasts(unreadable(&error.to_string())),
    })
}

/// Removes the empty state that a destroy leaves in a file. On other backends it stays: terraform has no command for it.
pub fn remove_file(backend: &Backend) {
    let Backend::Local { path } = backend else { return };
    let mut backup = path.clone().into_os_string();
    backup.push(".backup");
    for file in [path.as_path(), Path::new(&backup)] {
        if let Err(error) = fs::remove_file(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %file.display(), "an empty state was left behind");
        }
    }
}

fn unanswered<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Fault {
    Fault::of_call(unreadable(error.code().unwrap_or("no answer")), error)
}

fn unreadable(why: &str) -> Failure {
    Failure::new(Code::TerraformFailed, format!("the state cannot be read: {why}"))
}
