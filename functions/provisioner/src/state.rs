//! A resource's state object, with the operation's own session: nothing else could be read with it.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials as Keys;
use aws_sdk_s3::error::ProvideErrorMetadata;
use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_store::AwsConfig;
use conductor_terraform::project::Credentials;
use conductor_terraform::state::{self, State};

/// The state object of one operation.
pub struct StateObject {
    s3: Client,
    bucket: String,
    key: String,
}

impl StateObject {
    /// The object under this key, read with this session.
    pub fn new(config: &AwsConfig, session: &Credentials, bucket: String, key: String) -> Self {
        let keys =
            Keys::new(&session.access_key_id, &session.secret_access_key, session.session_token.clone(), None, "state");
        let builder = aws_sdk_s3::config::Builder::from(config)
            .credentials_provider(keys)
            .force_path_style(config.endpoint_url().is_some());
        Self { s3: Client::from_conf(builder.build()), bucket, key }
    }

    /// The state; `None` where there is none.
    pub async fn read(&self) -> Result<Option<State>, Failure> {
        let failed = |why: &str| Failure::new(Code::TerraformFailed, format!("the state cannot be read: {why}"));
        match self.s3.get_object().bucket(&self.bucket).key(&self.key).send().await {
            Ok(object) => {
                let content = object.body.collect().await.map_err(|_| failed("it broke off"))?.to_vec();
                state::parse(&content).map(Some).map_err(|error| failed(&error.to_string()))
            }
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(failed(error.code().unwrap_or("no answer"))),
        }
    }

    /// Removes the empty state that a destroy leaves; its versions stay for as long as the bucket keeps them.
    pub async fn remove(&self) {
        if let Err(error) = self.s3.delete_object().bucket(&self.bucket).key(&self.key).send().await {
            tracing::warn!(code = error.code(), key = self.key, "an empty state was left behind");
        }
    }
}
