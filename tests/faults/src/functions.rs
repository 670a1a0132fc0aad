//! The stack's functions, over Lambda's HTTP API.

use std::collections::BTreeMap;

use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use conductor_acceptance::Stack;
use reqwest::{Client, Method};
use serde_json::Value;

/// The functions of a local stack.
pub struct Functions {
    client: Client,
    endpoint: String,
    region: String,
}

impl Functions {
    /// Of a local stack: any credentials will do.
    pub fn of(stack: &Stack) -> Self {
        let client = Client::builder().no_proxy().build().expect("an HTTP client");
        let (endpoint, region) = (stack.value("awsEndpointUrl").to_owned(), stack.value("region").to_owned());
        Self { client, endpoint, region }
    }

    /// Invokes a function with an event, and answers with what it answers.
    pub async fn invoke(&self, function: &str, event: &str) -> Value {
        self.call(Method::POST, &format!("/2015-03-31/functions/{function}/invocations"), event).await
    }

    /// The environment variables that a function is configured with.
    pub async fn variables(&self, function: &str) -> BTreeMap<String, String> {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let configuration = self.call(Method::GET, &path, "").await;
        let variables = configuration["Environment"]["Variables"].as_object().expect("a function has variables");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        variables.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
    }

    async fn call(&self, method: Method, path: &str, body: &str) -> Value {
        let url = format!("{}{path}", self.endpoint);
        let mut request = self.client.request(method.clone(), &url).body(body.to_owned());
        for (name, value) in self.signature(method.as_str(), &url, body) {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let failed = answer.headers().contains_key("x-amz-function-error");
        let status = answer.status();
        let text = answer.bytes().await.expect("the whole body comes");
        let text = String::from_utf8_lossy(&text);
        // A function that is ended at its time limit is a fault like others: what it had not done is still due.
        let late = text.contains("Task timed out");
        assert!(status.is_success() && (!failed || late), "{url}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
    }

    #[expect(clippy::disallowed_methods, reason = "a signature has the time of day")]
    fn signature(&self, method: &str, url: &str, body: &str) -> Vec<(String, String)> {
        let identity = Credentials::new("test", "test", None, None, "stack.json").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("lambda")
            .time(std::time::SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .expect("all that a signature needs");
        let params = SigningParams::from(params);
        let request = SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(body.as_bytes()));
        let signed = sign(request.expect("a URL that can be signed"), &params).expect("the request can be signed");
        let (instructions, _) = signed.into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
