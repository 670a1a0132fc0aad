//! What terraform has made, read from the states themselves. The API does not show them.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use conductor_acceptance::Stack;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::Thing;

/// Where the built-in provider keeps what a module of `module.rs` got.
const INPUT: &str = "/resources/0/instances/0/attributes/input/value";

/// The states of a stack.
pub struct States {
    s3: aws_sdk_s3::Client,
}

/// What a module of `module.rs` got.
#[derive(Deserialize)]
struct Made {
    version: String,
    inputs: Map<String, Value>,
}

impl States {
    /// Of a local stack: any credentials will do.
    pub fn of(stack: &Stack) -> Self {
        let credentials = Credentials::new("test", "test", None, None, "stack.json");
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(stack.value("region").to_owned()))
            .endpoint_url(stack.value("awsEndpointUrl"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http)
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self { s3: aws_sdk_s3::Client::from_conf(s3) }
    }

    /// What is in the state at a location such as `s3://bucket/key`; none where there is no state, or nothing in it.
    pub async fn thing(&self, location: &str) -> Result<Option<Thing>, String> {
        let path = location.strip_prefix("s3://").and_then(|path| path.split_once('/'));
        let (bucket, key) = path.ok_or_else(|| format!("{location} is not s3://<bucket>/<key>"))?;
        let body = match self.s3.get_object().bucket(bucket).key(key).send().await {
            Ok(found) => found.body.collect().await.map_err(|error| format!("{location}: {error}"))?.into_bytes(),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(format!("{location}: {error:?}")),
        };
        let state: Value = serde_json::from_slice(&body).map_err(|error| format!("{location}: {error}"))?;
        let Some(input) = state.pointer(INPUT).and_then(Value::as_str) else { return Ok(None) };
        let made: Made = serde_json::from_str(input).map_err(|error| format!("{location}: {error}"))?;
        let inputs = made.inputs.into_iter().filter(|(_, value)| !value.is_null()).collect();
        Ok(Some(Thing { version: made.version, inputs }))
    }
}
