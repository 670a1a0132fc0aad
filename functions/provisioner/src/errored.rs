//! States that terraform could not store: kept in the stack's own bucket, whatever the backend, until the next run has
//! pushed them. They are read and written with the function's own role (`template.yaml`), and never shown.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use conductor_domain::Code;
use conductor_domain::ids::OperationId;
use conductor_domain::operation::Failure;
use conductor_engine::Job;
use conductor_terraform::state::{self, StateError};

use crate::fault::Fault;

/// How long keeping one may take: terraform is stopped 90 s before the worker's end, and the end has to be reported.
const KEEP_TIME: Duration = Duration::from_secs(30);
/// Between tries; the client itself has tried three times by then.
const PAUSE: Duration = Duration::from_secs(2);

/// Where they are.
pub struct ErroredStates {
    s3: Client,
    bucket: String,
}

/// The key of the state that a claim of an operation could not store.
pub fn key(job: &Job, operation: OperationId, epoch: u64) -> String {
    let resource = &job.resource;
    format!("errored/{}/{}/{}/{operation}-{epoch}.tfstate", job.organisation, resource.environment, resource.id)
}

impl ErroredStates {
    /// In the bucket of states.
    pub fn new(s3: Client, bucket: String) -> Self {
        Self { s3, bucket }
    }

    /// Keeps the file that a job's run left, and answers with its key; `None` where that did not work, or where the file
    /// is half of one.
    pub async fn keep(&self, job: &Job, file: &Path) -> Option<String> {
        let key = key(job, job.operation, job.epoch);
        let content = match std::fs::read(file) {
            Ok(content) => content,
            Err(error) => {
                tracing::error!(%error, "a state that could not be stored cannot be read");
                return None;
            }
        };
        // A terraform that was killed while it wrote leaves half of a file.
        if let Err(StateError::Invalid(_)) = state::parse(&content) {
            tracing::error!(bytes = content.len(), "a state that could not be stored is no state");
            return None;
        }
        match tokio::time::timeout(KEEP_TIME, self.put(&key, content)).await {
            Ok(()) => Some(key),
            Err(_) => {
                tracing::error!(key, "a state that could not be stored could not be kept either, and is lost");
                None
            }
        }
    }

    /// Until it works.
    async fn put(&self, key: &str, content: Vec<u8>) {
        loop {
            let request = self.s3.put_object().bucket(&self.bucket).key(key);
            match request.body(ByteStream::from(content.clone())).send().await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(key, code = error.code(), "a state that could not be stored is not kept yet")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What is kept under a key.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let unreadable = |why: &str| Failure::new(Code::TerraformFailed, format!("{key} cannot be read: {why}"));
        match self.s3.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => {
                let content = object.body.collect().await.map_err(|_| Fault::passes(unreadable("it broke off")))?;
                Ok(Some(content.to_vec()))
            }
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(Fault::of_call(unreadable(error.code().unwrap_or("no answer")), &error)),
        }
    }
}
