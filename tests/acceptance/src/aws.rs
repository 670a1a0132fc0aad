//! A look behind the API, with AWS's own SDK.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use jiff::Timestamp;
use reqwest::{Client, Method};
use serde_json::json;

use crate::{Stack, http};

/// The AWS side of the stack.
pub struct Aws {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    http: Client,
    endpoint: String,
    region: String,
    table: String,
    vault: String,
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
            http: Client::builder().no_proxy().build().expect("an HTTP client"),
            endpoint: stack.value("awsEndpointUrl").to_owned(),
            region: stack.value("region").to_owned(),
            table: stack.value("table").to_owned(),
            vault: stack.value("vaultBucket").to_owned(),
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

    /// The objects of the vault whose names begin like this, as texts.
    pub async fn vault(&self, prefix: &str) -> BTreeMap<String, String> {
        let pages = self.s3.list_objects_v2().bucket(&self.vault).prefix(prefix).into_paginator().send();
        let pages = pages.try_collect().await.expect("the vault can be listed");
        let mut objects = BTreeMap::new();
        for name in pages.iter().flat_map(|page| page.contents()).filter_map(|object| object.key()) {
            let object =
                self.s3.get_object().bucket(&self.vault).key(name).send().await.expect("an object can be read");
            let content = object.body.collect().await.expect("the whole object comes").to_vec();
            objects.insert(name.to_owned(), String::from_utf8_lossy(&content).into_owned());
        }
        objects
    }

    /// What a function has written into its log since then: that of an invocation is there once it has ended.
    pub async fn function_log(&self, function: &str, since: Timestamp) -> Vec<String> {
        // The emulator wants a signature, and looks at none.
        let scope = format!("Credential=test/20260101/{}/logs/aws4_request", self.region);
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "Logs_20140328.FilterLogEvents"),
        ];
        let asked = json!({"logGroupName": format!("/aws/lambda/{function}"), "startTime": since.as_millisecond()});
        let asked = asked.to_string().into_bytes();
        let answer = http::send(&self.http, Method::POST, &self.endpoint, &headers, asked).await;
        let events = answer.expect(200).body["events"].as_array().expect("a log has events").clone();
        events.iter().filter_map(|event| event["message"].as_str()).map(str::to_owned).collect()
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
