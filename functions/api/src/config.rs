//! The API's configuration: read once, from the environment that `template.yaml` gives it.

use conductor_domain::name::OrganisationName;
use conductor_engine::Timings;
use conductor_store::Names;
use conductor_telemetry::{ConfigError, optional, required, seconds};

use crate::auth::{Authentication, Identities, SafeUrl, URL_RULE};
use crate::price::Prices;

/// What [`Config::from_env`] fails with: it names the variable.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Everything that is set from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Table, queue and buckets.
    pub names: Names,
    /// How long things take.
    pub timings: Timings,
    /// The tenant of whoever is not said to be another's.
    pub organisation: OrganisationName,
    /// How a request can be somebody's.
    pub authentication: Authentication,
    /// Who is let in, and as what.
    pub identities: Identities,
    /// What a browser sees before a path of the dashboard; as it asks where none is given.
    pub public_url: Option<SafeUrl>,
    /// What stands before `/v1` in a URL's path: the stage.
    pub stage: String,
    /// What operations cost.
    pub prices: Prices,
    /// Whether what is answered flows to the caller while it is made; otherwise the gateway waits for the end of it.
    pub streaming: bool,
}

impl Config {
    /// Reads the environment; an error names the variable.
    pub fn from_env() -> Result<Self, Error> {
        let invalid = |name, rule| ConfigError::Invalid { name, rule };
        let authentication: Authentication = required("AUTHENTICATION")?
            .parse()
            .map_err(|()| invalid("AUTHENTICATION", "open, or a list of iam, oidc and token"))?;
        let identities = Identities::read(optional("ACCESS").as_deref().unwrap_or("{}"))
            .map_err(|error| format!("the environment variable ACCESS: {error}"))?;
        if authentication.has_oidc() && identities.oidc.is_none() {
            return Err("the environment variable ACCESS: oidc is missing, and AUTHENTICATION lists it".into());
        }
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
            authentication,
            identities,
            public_url: optional("PUBLIC_URL")
                .map(SafeUrl::try_from)
                .transpose()
                .map_err(|_| invalid("PUBLIC_URL", URL_RULE))?,
            stage: required("PUBLIC_STAGE")?,
            prices: Prices::read(optional("PRICES").as_deref(), &required("PROVISIONER_MEMORY_MB")?)
                .ok_or_else(|| invalid("PRICES", "a JSON object of prices; PROVISIONER_MEMORY_MB a number"))?,
            streaming: match optional("LOG_STREAMING").as_deref() {
                Some("true") => true,
                Some("false") | None => false,
                Some(_) => return Err(invalid("LOG_STREAMING", "true or false").into()),
            },
        })
    }
}
