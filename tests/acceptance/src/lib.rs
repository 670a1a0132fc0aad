//! What the acceptance tests share: a client of the deployed local stack, names that nobody else uses, archives.
//!
//! Everything goes over HTTP, as any client of the API would do it; [`Aws`] looks at what the API cannot show: whether
//! a state is gone from S3, what the table holds. Nothing here knows the project's own types.

mod archive;
mod aws;
mod deployment;
mod dialect;
mod dry_run;
mod http;
mod pool;

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

pub use archive::{template_zip, zip_of, zip_with_symlink};
pub use aws::{Aws, sdk_config};
pub use deployment::Deployment;
pub use dialect::Dialect;
pub use http::Answer;
pub use pool::pool_path;

/// How long a deployment may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(120);
/// How often a condition is looked at that cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A template as small as a template can be: one text in, the same text out, nothing to download.
pub const TINY: &str = r#"
variable "text" {
  type    = string
  default = ""
}
resource "terraform_data" "this" {
  input = var.text
}
output "text" {
  value = terraform_data.this.output
}
"#;

/// A template whose creation takes as many seconds as it is told.
pub const SLOW: &str = r#"
variable "seconds" {
  type = number
}
resource "terraform_data" "this" {
  input = var.seconds
  provisioner "local-exec" {
    command = "sleep ${self.input}"
  }
}
output "seconds" {
  value = terraform_data.this.output
}
"#;

/// The deployed local stack.
pub struct Stack {
    client: Client,
    description: Value,
}

impl Stack {
    /// The stack that `make up` left running.
    pub fn load() -> Self {
        Self::described("stack.json", "make up")
    }

    /// The stack that a file in `.local` describes; `how` is the command that leaves it running.
    pub fn described(file: &str, how: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local").join(file);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("no stack: run `{how}` first ({}: {error})", path.display()));
        let description = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file} is not JSON: {error}"));
        // A proxy of the machine is not for 127.0.0.1; the gateway answers within 29 seconds.
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(40)).build().expect("an HTTP client");
        Self { client, description }
    }

    /// A value of `stack.json`.
    pub fn value(&self, name: &str) -> &str {
        self.description[name].as_str().unwrap_or_else(|| panic!("stack.json has no {name}"))
    }

    /// The name of a function: `api`, `stream`, `provisioner` or `sweeper`.
    pub fn function(&self, name: &str) -> &str {
        self.description["functions"][name].as_str().unwrap_or_else(|| panic!("stack.json has no function {name}"))
    }

    /// GET a path such as `/v1/environments`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    /// DELETE a path.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    /// PUT JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::PUT, path, &[], body).await
    }

    /// POST JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, &[], body).await
    }

    /// PATCH with JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::PATCH, path, &[], body).await
    }

    /// Sends JSON with headers.
    pub async fn json(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send(method, path, &all, body.to_string().into_bytes()).await
    }

    /// Sends anything to a path of the API.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let url = format!("{}{path}", self.value("apiUrl"));
        http::send(&self.client, method, &url, headers, body).await
    }

    /// GETs what a `Location` header names.
    pub async fn follow(&self, location: &str) -> Answer {
        let base = reqwest::Url::parse(self.value("apiUrl")).expect("apiUrl is a URL");
        let url = base.join(location).expect("a location is a URL or a path");
        http::send(&self.client, Method::GET, url.as_str(), &[], Vec::new()).await
    }

    /// All items of a list: follows `nextCursor` to the end.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = format!("{path}{separator}limit=100");
        loop {
            let page = self.get(&next).await.expect(200).body;
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["nextCursor"].as_str() {
                Some(cursor) => next = format!("{path}{separator}limit=100&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// A fresh environment.
    pub async fn environment(&self) -> String {
        let name = unique("env");
        self.put(&format!("/v1/environments/{name}"), &json!({})).await.expect(201);
        name
    }

    /// Publishes version 1.0.0 of a template of one file under a fresh type name.
    pub async fn template(&self, main: &str) -> String {
        let name = unique("type");
        self.publish(&name, "1.0.0", &[("main.tf", main)]).await.expect(201);
        name
    }

    /// Publishes a version of a template.
    pub async fn publish(&self, name: &str, version: &str, files: &[(&str, &str)]) -> Answer {
        self.publish_archive(name, version, template_zip(files)).await
    }

    /// The same with an archive as it is.
    pub async fn publish_archive(&self, name: &str, version: &str, archive: Vec<u8>) -> Answer {
        let path = format!("/v1/resource-templates/{name}/versions/{version}");
        self.send(Method::PUT, &path, &[("content-type", "application/zip")], archive).await
    }

    /// Submits a Score file; answers with the deployment's id.
    pub async fn deploy(&self, application: &str, environment: &str, score: &str) -> String {
        self.deploy_with(application, environment, score, json!({})).await
    }

    /// The same with more fields in the body, such as `prune`.
    pub async fn deploy_with(&self, application: &str, environment: &str, score: &str, more: Value) -> String {
        let body = request(application, environment, score, more);
        self.post("/v1/deployments", &body).await.expect(202).text("id")
    }

    /// Submits a Score file that is refused.
    pub async fn refused(&self, application: &str, environment: &str, score: &str) -> Answer {
        self.post("/v1/deployments", &request(application, environment, score, json!({}))).await
    }

    /// A deployment once it has ended.
    pub async fn finished(&self, id: &str) -> Deployment {
        let ended = async {
            loop {
                let body = self.get(&format!("/v1/deployments/{id}?wait=20")).await.expect(200).body;
                if !matches!(body["status"].as_str(), Some("Pending" | "InProgress")) {
                    return Deployment(body);
                }
            }
        };
        let ended = tokio::time::timeout(DEADLINE, ended).await;
        ended.unwrap_or_else(|_| panic!("the deployment {id} has not ended after {DEADLINE:?}"))
    }

    /// Deploys and waits for the end, whatever it is.
    pub async fn run(&self, application: &str, environment: &str, score: &str) -> Deployment {
        self.run_with(application, environment, score, json!({})).await
    }

    /// The same with more fields in the body.
    pub async fn run_with(&self, application: &str, environment: &str, score: &str, more: Value) -> Deployment {
        let id = self.deploy_with(application, environment, score, more).await;
        self.finished(&id).await
    }

    /// Tears an application down and waits for the end.
    pub async fn teardown(&self, application: &str, environment: &str) -> Deployment {
        let path = format!("/v1/applications/{application}/environments/{environment}");
        let id = self.delete(&path).await.expect(202).text("id");
        self.finished(&id).await
    }

    /// Checks that what was refused left no trace of its application.
    pub async fn knows_nothing_of(&self, application: &str) {
        self.get(&format!("/v1/applications/{application}")).await.is_problem(404, "application_not_found");
        let deployments = self.all(&format!("/v1/deployments?application={application}")).await;
        assert!(deployments.is_empty(), "{deployments:#?}");
    }

    /// A resource.
    pub async fn resource(&self, id: &str) -> Value {
        self.get(&format!("/v1/resources/{id}")).await.expect(200).body
    }

    /// A resource's consumers.
    pub async fn consumers(&self, id: &str) -> Vec<Value> {
        self.resource(id).await["consumers"].as_array().expect("a resource has consumers").clone()
    }

    /// What a look finds at last.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let found = tokio::time::timeout(DEADLINE, found).await;
        found.unwrap_or_else(|_| panic!("not after {DEADLINE:?}: {what}"))
    }

    /// A deployment once a condition holds for it.
    pub async fn until(&self, id: &str, what: &str, holds: impl Fn(&Deployment) -> bool) -> Deployment {
        let held = async {
            loop {
                let deployment = Deployment(self.get(&format!("/v1/deployments/{id}")).await.expect(200).body);
                if holds(&deployment) {
                    return deployment;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let held = tokio::time::timeout(DEADLINE, held).await;
        held.unwrap_or_else(|_| panic!("the deployment {id}: not {what} after {DEADLINE:?}"))
    }
}

/// The body of a deployment's request.
fn request(application: &str, environment: &str, score: &str, more: Value) -> Value {
    let mut body = json!({"application": application, "environment": environment, "score": score});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// A name that nobody else uses: tests run in parallel, and again on the same stack.
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..12])
}

/// A time in the JSON of the API. Its text does not sort: trailing zeros are not written.
#[track_caller]
pub fn time(value: &Value) -> jiff::Timestamp {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| panic!("{value} is not a time"))
}
