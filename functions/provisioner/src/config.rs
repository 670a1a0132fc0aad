//! The provisioner's configuration: read once, from the environment that `template.yaml` gives it.

use std::path::PathBuf;

use conductor_engine::Timings;
use conductor_store::Names;
use conductor_telemetry::{ConfigError, optional, required, seconds};

/// Everything that is set from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Table, queues and buckets.
    pub names: Names,
    /// How long things take.
    pub timings: Timings,
    /// The queue for messages that cannot be read.
    pub dead_letter_queue_url: String,
    /// The role whose sessions may touch states.
    pub state_role_arn: String,
    /// The key with which states are encrypted, where it is the customer's.
    pub kms_key_arn: Option<String>,
    /// The role for environments that name none.
    pub default_target: Option<(String, Option<String>)>,
    /// The stack's own region: of the state bucket, and of environments that name none.
    pub region: String,
    /// Where AWS is emulated.
    pub endpoint_url: Option<String>,
    /// Where toolchains and work folders are.
    pub root: PathBuf,
}

impl Config {
    /// Reads the environment; an error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            names: Names {
                table: required("TABLE_NAME")?,
                wake_queue_url: required("WAKE_QUEUE_URL")?,
                worker_queue_url: optional("WORKER_QUEUE_URL"),
                dead_letter_queue_url: None,
                vault_bucket: required("VAULT_BUCKET")?,
                artifact_bucket: required("ARTIFACT_BUCKET")?,
                state_bucket: required("STATE_BUCKET")?,
            },
            timings: conductor_store::timings(seconds)?,
            dead_letter_queue_url: required("DEAD_LETTER_QUEUE_URL")?,
            state_role_arn: required("STATE_ROLE_ARN")?,
            kms_key_arn: optional("KMS_KEY_ARN"),
            default_target: optional("DEFAULT_TARGET_ROLE_ARN")
                .map(|role| (role, optional("DEFAULT_TARGET_EXTERNAL_ID"))),
            region: required("AWS_REGION")?,
            endpoint_url: optional("AWS_ENDPOINT_URL"),
            root: std::env::temp_dir().join("conductor"),
        })
    }
}
