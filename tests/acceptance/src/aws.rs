//! A look behind the API, with AWS's own SDK.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::Stack;

/// The AWS side of the stack.
pub struct Aws {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    table: String,
    queue: String,
}

/// The configuration of clients of a local stack: any credentials will do.
pub fn sdk_config(stack: &Stack) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "stack.json");
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(stack.value("region").to_owned()))
        .endpoint_url(stack.value("awsEndpointUrl"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .build()
}

impl Aws {
    /// Of a local stack.
    pub fn of(stack: &Stack) -> Self {
        let config = sdk_config(stack);
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            table: stack.value("table").to_owned(),
            queue: stack.value("queueUrl").to_owned(),
        }
    }

    /// Whether an object such as `s3://bucket/key` exists.
    pub async fn exists(&self, location: &str) -> bool {
        let path = location.strip_prefix("s3://").and_then(|path| path.split_once('/'));
        let (bucket, key) = path.unwrap_or_else(|| panic!("{location} is not s3://<bucket>/<key>"));
        match self.s3.head_object().bucket(bucket).key(key).send().await {
            Ok(_) => true,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => false,
            Err(error) => panic!("{location}: {error:?}"),
        }
    }

    /// Every record of the table, as text.
    pub async fn records(&self) -> Vec<String> {
        let items = self.dynamodb.scan().table_name(&self.table).into_paginator().items().send();
        let items = items.try_collect().await.expect("the table can be scanned");
        items.iter().map(|item| format!("{item:?}")).collect()
    }

    /// Holds back messages sent from now on for so many seconds.
    pub async fn delay_messages(&self, seconds: u32) {
        let set = self.sqs.set_queue_attributes().queue_url(&self.queue);
        let set = set.attributes(QueueAttributeName::DelaySeconds, seconds.to_string());
        set.send().await.expect("the queue's attributes can be set");
    }

    /// Loses all messages.
    pub async fn lose_messages(&self) {
        self.sqs.purge_queue().queue_url(&self.queue).send().await.expect("the queue can be purged");
    }
}
