//! The API's configuration: read once, from the environment that `template.yaml` gives it.

use conductor_domain::name::OrganisationName;
use conductor_engine::Timings;
use conductor_store::Names;
use conductor_telemetry::{ConfigError, optional, required, seconds};

use crate::price::Prices;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// Whom the gateway has let in by IAM.
    Iam,
    /// Whoever reaches it: the local stack, on 127.0.0.1.
    Open,
}

/// Everything that is set from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Table, queue and buckets.
    pub names: Names,
    /// How long things take.
    pub timings: Timings,
    /// The tenant that this stack serves.
    pub organisation: OrganisationName,
    /// Who may call.
    pub authorization: Authorization,
    /// What stands before `/v1` in a URL's path: the stage.
    pub stage: String,
    /// What operations cost.
    pub prices: Prices,
    /// Whether what is answered flows to the caller while it is made; otherwise the gateway waits for the end of it.
    pub streaming: bool,
}

impl Config {
    /// Reads the environment; an error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        let invalid = |name, rule| ConfigError::Invalid { name, rule };
        Ok(Self {
            names: Names {
                table: required("TABLE_NAME")?,
                wake_queue_url: required("WAKE_QUEUE_URL")?,
                worker_queue_url: optional("WORKER_QUEUE_URL"),
                dead_letter_queue_url: optional("DEAD_LETTER_QUEUE_URL"),
                vault_bucket: required("VAULT_BUCKET")?,
                artifact_bucket: required("ARTIFACT_BUCKET")?,
                // No operation runs here, so no state is ever located.
                state_bucket: String::new(),
            },
            timings: conductor_store::timings(seconds)?,
            organisation: required("ORGANISATION")?
                .parse()
                .map_err(|_| invalid("ORGANISATION", "a name of a-z, 0-9 and '-'"))?,
            authorization: match required("API_AUTHORIZATION")?.as_str() {
                "AWS_IAM" => Authorization::Iam,
                "NONE" => Authorization::Open,
                _ => return Err(invalid("API_AUTHORIZATION", "AWS_IAM or NONE")),
            },
            stage: required("PUBLIC_STAGE")?,
            prices: Prices::read(optional("PRICES").as_deref(), &required("PROVISIONER_MEMORY_MB")?)
                .ok_or_else(|| invalid("PRICES", "a JSON object of prices; PROVISIONER_MEMORY_MB a number"))?,
            streaming: match optional("LOG_STREAMING").as_deref() {
                Some("true") => true,
                Some("false") | None => false,
                Some(_) => return Err(invalid("LOG_STREAMING", "true or false")),
            },
        })
    }
}
