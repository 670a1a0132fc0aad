//! The AWS clients' configuration: made once per process.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one attempt of a call may take: a part of a toolchain is 8 MiB, everything else is small.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The configuration that all AWS clients share.
pub type AwsConfig = aws_config::SdkConfig;

/// Loads region, credentials and endpoint from the environment of the process, as AWS's own tools do.
pub async fn load_config() -> AwsConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).timeout_config(timeouts).load().await
}

/// The HTTP client that all AWS clients use: rustls on ring.
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// An S3 client; with an endpoint of its own the bucket is in the path, as emulators want it.
pub(crate) fn s3(config: &AwsConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
    aws_sdk_s3::Client::from_conf(builder.build())
}
