//! Secrets of AWS Secrets Manager: read for one operation, and kept nowhere.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use conductor_domain::Code;
use conductor_domain::operation::Failure;

use crate::fault::Fault;

/// Reads secrets with the function's own role.
#[derive(Clone)]
pub struct Secrets(Client);

impl Secrets {
    /// Over this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// The text of a secret, by its name or ARN; `what` is in it.
    pub async fn read(&self, what: &str, secret: &str) -> Result<String, Fault> {
        let unreadable = |why: &str| unreadable(what, secret, why);
        let found = self.0.get_secret_value().secret_id(secret).send().await;
        let found = found.map_err(|error| Fault::of_call(unreadable(error.code().unwrap_or("no answer")), &error))?;
        Ok(found.secret_string.ok_or_else(|| unreadable("it is not a text"))?)
    }
}

/// Why a secret is of no use; `why` must show nothing of its values.
pub fn unreadable(what: &str, secret: &str, why: &str) -> Failure {
    Failure::new(Code::CredentialsRefused, format!("{what} in the secret {secret} cannot be read: {why}"))
}
