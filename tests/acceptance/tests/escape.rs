//! What a template's own program cannot reach, although it runs with the keys of its run. Each test also shows what the
//! same program can: otherwise it would prove nothing.
//!
//! The program is `escape/thief.py`; it signs requests with the keys in the run's credentials file, opens files, and
//! leaves a process behind. What came of that it writes into a file of the test's.

use std::path::{Path, PathBuf};

use conductor_acceptance::{Deployment, Stack, TINY, sdk_config, unique};
use reqwest::Client;
use serde_json::{Value, json};

const MAIN: &str = include_str!("escape/main.tf");
const THIEF: &str = include_str!("escape/thief.py");
/// What is in an object that a test puts somewhere.
const MINE: &str = "mine";

/// What the program found.
struct Report(Value);

/// A template with the program, and the folder for its reports.
struct Thief {
    kind: String,
    folder: PathBuf,
}

impl Thief {
    /// Published once; its version is changed like this.
    async fn of(stack: &Stack, change: &Value) -> Self {
        let kind = unique("type");
        stack.publish(&kind, "1.0.0", &[("main.tf", MAIN), ("thief.py", THIEF)]).await.expect(201);
        let version = format!("/v1/resource-templates/{kind}/versions/1.0.0");
        if change.as_object().is_some_and(|change| !change.is_empty()) {
            stack.patch(&version, change).await.expect(200);
        }
        let folder = std::env::temp_dir().join(unique("thief"));
        std::fs::create_dir(&folder).expect("a folder for reports");
        Self { kind, folder }
    }

    /// Runs it in an environment.
    async fn tries(&self, stack: &Stack, environment: &str, mut plan: Value) -> (Deployment, Report) {
        plan["endpoint"] = json!(stack.value("awsEndpointUrl"));
        plan["region"] = json!(stack.value("region"));
        let report = self.folder.join(unique("report"));
        let params = json!({"plan": plan.to_string(), "report": report});
        let score = json!({"resources": {"thief": {"type": self.kind, "params": params}}}).to_string();
        let done = stack.run(&unique("app"), environment, &score).await.succeeded();
        let text = std::fs::read_to_string(&report).expect("the program has written its report");
        (done, Report(serde_json::from_str(&text).expect("a report is JSON")))
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Report {
    #[track_caller]
    fn answer(&self, request: &str) -> (u64, &str) {
        let answer = &self.0["requests"][request];
        let status = answer["status"].as_u64().unwrap_or_else(|| panic!("no request {request}: {:#}", self.0));
        (status, answer["body"].as_str().unwrap_or_default())
    }

    #[track_caller]
    fn is_answered(&self, request: &str, says: &str) {
        let (status, body) = self.answer(request);
        assert!((200..300).contains(&status) && body.contains(says), "{request}: {status} {body}");
    }

    #[track_caller]
    fn is_denied(&self, request: &str) {
        let (status, body) = self.answer(request);
        assert!(matches!(status, 400 | 403) && body.contains("AccessDenied"), "{request}: {status} {body}");
    }

    #[track_caller]
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no {name}: {:#}", self.0))
    }
}

/// A request for an object or a bucket.
fn s3(name: &str, profile: &str, method: &str, path: &str) -> Value {
    json!({"name": name, "profile": profile, "service": "s3", "method": method, "path": path})
}

fn list(name: &str, profile: &str, bucket: &str) -> Value {
    let mut request = s3(name, profile, "GET", &format!("/{bucket}"));
    request["query"] = json!("list-type=2");
    request
}

fn dynamodb(name: &str, profile: &str, operation: &str, body: &Value) -> Value {
    let target = format!("DynamoDB_20120810.{operation}");
    let headers = json!({"content-type": "application/x-amz-json-1.0", "x-amz-target": target});
    json!({"name": name, "profile": profile, "service": "dynamodb", "method": "POST", "path": "/", "headers": headers,
           "body": body.to_string()})
}

/// The lock of the run's own state, which is there while it goes on.
fn own_lock(stack: &Stack, environment: &str) -> Value {
    let path = format!("/{}/default/{environment}/{{resource}}.tfstate.tflock", stack.value("stateBucket"));
    s3("own lock", "backend", "GET", &path)
}

/// A table that is not there: who may ask is told so.
fn no_table() -> Value {
    dynamodb("no table", "provider", "DescribeTable", &json!({"TableName": unique("none")}))
}

/// A bucket of the environment's account, with an object.
struct Bucket {
    s3: aws_sdk_s3::Client,
    name: String,
}

impl Bucket {
    async fn of(stack: &Stack, name: String) -> Self {
        let config = aws_sdk_s3::config::Builder::from(&sdk_config(stack)).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        s3.create_bucket().bucket(&name).send().await.expect("a bucket is made");
        let put = s3.put_object().bucket(&name).key("object").body(MINE.as_bytes().to_vec().into());
        put.send().await.expect("an object is put");
        Self { s3, name }
    }

    fn object(&self, name: &str, profile: &str) -> Value {
        s3(name, profile, "GET", &format!("/{}/object", self.name))
    }

    async fn delete(self) {
        self.s3.delete_object().bucket(&self.name).key("object").send().await.expect("the object is deleted");
        self.s3.delete_bucket().bucket(&self.name).send().await.expect("the bucket is deleted");
    }
}

#[tokio::test]
async fn another_state_cannot_be_read_or_written() {
    let stack = Stack::load();
    let (environment, thief) = (stack.environment().await, Thief::of(&stack, &json!({})).await);
    let (tiny, bucket) = (stack.template(TINY).await, Bucket::of(&stack, unique("escape")).await);
    let score = format!("resources: {{one: {{type: {tiny}, params: {{text: hello}}}}}}");
    let other = stack.run(&unique("app"), &environment, &score).await.succeeded();
    let location = stack.resource(&other.resource_id("one")).await["stateLocation"]["location"].clone();
    let other = location.as_str().and_then(|place| place.strip_prefix("s3:/")).expect("an object").to_owned();

    let mut overwritten = s3("overwritten", "backend", "PUT", &other);
    overwritten["body"] = json!("{}");
    let requests = json!([
        own_lock(&stack, &environment),
        s3("with the backend's keys", "backend", "GET", &other),
        overwritten,
        s3("deleted", "backend", "DELETE", &other),
        bucket.object("own object", "provider"),
        s3("with the provider's keys", "provider", "GET", &other),
    ]);
    let (_, report) = thief.tries(&stack, &environment, json!({"requests": requests})).await;
    report.is_answered("own lock", "Info");
    report.is_answered("own object", MINE);
    for request in ["with the backend's keys", "overwritten", "deleted", "with the provider's keys"] {
        report.is_denied(request);
    }
    bucket.delete().await;
}

#[tokio::test]
async fn the_table_cannot_be_read() {
    let stack = Stack::load();
    let (environment, thief) = (stack.environment().await, Thief::of(&stack, &json!({})).await);
    let table = stack.value("table");
    let key = json!({"pk": {"S": "default#ENV"}, "sk": {"S": "META"}});
    let read = |name: &str, profile: &str| dynamodb(name, profile, "GetItem", &json!({"TableName": table, "Key": key}));
    let requests = json!([
        own_lock(&stack, &environment),
        read("with the backend's keys", "backend"),
        no_table(),
        read("with the provider's keys", "provider"),
        dynamodb("scanned", "provider", "Scan", &json!({"TableName": table})),
        dynamodb("described", "provider", "DescribeTable", &json!({"TableName": table})),
    ]);
    let (_, report) = thief.tries(&stack, &environment, json!({"requests": requests})).await;
    report.is_answered("own lock", "Info");
    assert!(report.answer("no table").1.contains("ResourceNotFoundException"), "{:#}", report.0);
    for request in ["with the backend's keys", "with the provider's keys", "scanned", "described"] {
        report.is_denied(request);
    }
}

#[tokio::test]
async fn the_vault_and_the_artifacts_cannot_be_read() {
    let stack = Stack::load();
    let (environment, thief) = (stack.environment().await, Thief::of(&stack, &json!({})).await);
    let bucket = Bucket::of(&stack, unique("escape")).await;
    let (vault, artifacts) = (stack.value("vaultBucket"), stack.value("artifactBucket"));
    let manifest = format!("/{artifacts}/toolchain/manifest.json");
    let mut requests = vec![own_lock(&stack, &environment), bucket.object("own object", "provider")];
    requests.push(list("own bucket", "provider", &bucket.name));
    for profile in ["backend", "provider"] {
        requests.push(list(&format!("vault, {profile}"), profile, vault));
        requests.push(list(&format!("artifacts, {profile}"), profile, artifacts));
        requests.push(s3(&format!("manifest, {profile}"), profile, "GET", &manifest));
    }
    let (_, report) = thief.tries(&stack, &environment, json!({"requests": requests})).await;
    report.is_answered("own lock", "Info");
    report.is_answered("own object", MINE);
    report.is_answered("own bucket", "object");
    for profile in ["backend", "provider"] {
        for place in ["vault", "artifacts", "manifest"] {
            report.is_denied(&format!("{place}, {profile}"));
        }
    }
    bucket.delete().await;
}

/// IAM of the emulator, which the SDKs in use here do not speak.
struct Iam<'a> {
    stack: &'a Stack,
    client: Client,
}

impl<'a> Iam<'a> {
    fn of(stack: &'a Stack) -> Self {
        Self { stack, client: Client::builder().no_proxy().build().expect("an HTTP client") }
    }

    async fn call(&self, action: &str, parameters: &[(&str, &str)]) {
        let mut body = format!("Action={action}&Version=2010-05-08");
        for (name, value) in parameters {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            body.push_str(&format!("&{name}={encoded}"));
        }
        // The emulator wants a signature, and looks at none of this key's.
        let scope = format!("Credential=test/20260101/{}/iam/aws4_request", self.stack.value("region"));
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let request = self.client.post(self.stack.value("awsEndpointUrl")).header("authorization", authorization);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.expect("the emulator answers");
        let (status, text) = (answer.status(), answer.text().await.expect("an answer"));
        assert!(status.is_success(), "{action}: {status} {text}");
    }
}

#[tokio::test]
async fn what_is_another_environments_cannot_be_reached_even_with_the_same_role() {
    let stack = Stack::load();
    let (iam, thief) = (Iam::of(&stack), Thief::of(&stack, &json!({})).await);
    let (role, external_id) = (unique("conductor-target"), unique("id"));
    let environments = [unique("env"), unique("env")];
    let mut buckets = Vec::new();
    for environment in &environments {
        buckets.push(Bucket::of(&stack, format!("{environment}-data")).await);
    }
    let account = json!({"AWS": "arn:aws:iam::000000000000:root"});
    let asked = json!({"StringEquals": {"sts:ExternalId": external_id}});
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole", "Condition": asked},
        {"Effect": "Allow", "Principal": account, "Action": "sts:TagSession"},
    ]});
    let statements: Vec<Value> = environments
        .iter()
        .map(|environment| {
            let is_its = json!({"StringEquals": {"aws:PrincipalTag/conductor:environment": environment}});
            let objects = format!("arn:aws:s3:::{environment}-data/*");
            json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": objects, "Condition": is_its})
        })
        .collect();
    let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let (trust, named) = (trust.to_string(), ("RoleName", role.as_str()));
    iam.call("CreateRole", &[named, ("AssumeRolePolicyDocument", trust.as_str())]).await;
    iam.call("PutRolePolicy", &[named, ("PolicyName", "own"), ("PolicyDocument", policy.as_str())]).await;
    let role_arn = format!("arn:aws:iam::000000000000:role/{role}");
    let credentials = json!({"roleArn": role_arn, "externalId": external_id});
    for environment in &environments {
        let path = format!("/v1/environments/{environment}");
        stack.put(&path, &json!({"credentials": credentials})).await.expect(201);
    }

    let requests = json!([buckets[0].object("first", "provider"), buckets[1].object("second", "provider")]);
    for (environment, own, other) in [(&environments[0], "first", "second"), (&environments[1], "second", "first")] {
        let (_, report) = thief.tries(&stack, environment, json!({"requests": requests})).await;
        report.is_answered(own, MINE);
        report.is_denied(other);
    }
    for bucket in buckets {
        bucket.delete().await;
    }
    iam.call("DeleteRolePolicy", &[named, ("PolicyName", "own")]).await;
    iam.call("DeleteRole", &[named]).await;
}

#[tokio::test]
async fn a_version_that_names_services_reaches_no_others() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let bucket = Bucket::of(&stack, unique("escape")).await;
    let requests = json!([bucket.object("object", "provider"), no_table(), own_lock(&stack, &environment)]);
    let plan = json!({"requests": requests});
    let (whole, narrow) =
        (Thief::of(&stack, &json!({})).await, Thief::of(&stack, &json!({"services": ["dynamodb"]})).await);
    // The wider session comes first, so that a provider that is kept would have it.
    let (_, report) = whole.tries(&stack, &environment, plan.clone()).await;
    report.is_answered("object", MINE);
    let (_, report) = narrow.tries(&stack, &environment, plan).await;
    report.is_denied("object");
    assert!(report.answer("no table").1.contains("ResourceNotFoundException"), "{:#}", report.0);
    report.is_answered("own lock", "Info");
    bucket.delete().await;
}

#[tokio::test]
async fn the_functions_variables_cannot_be_read() {
    let stack = Stack::load();
    let (environment, thief) = (stack.environment().await, Thief::of(&stack, &json!({})).await);
    let files = json!({
        "name": "/proc/{provisioner}/comm",
        "terraform's": "/proc/{terraform}/environ",
        "the function's": "/proc/{provisioner}/environ",
    });
    let (_, report) = thief.tries(&stack, &environment, json!({"files": files})).await;
    assert_eq!(report.0["provisioner"]["name"], "bootstrap", "{:#}", report.0);
    let expect = json!({"name": "opened", "terraform's": "opened", "the function's": "PermissionError"});
    assert_eq!(report.0["files"], expect);
}

#[tokio::test]
async fn the_functions_memory_cannot_be_read() {
    let stack = Stack::load();
    let (environment, thief) = (stack.environment().await, Thief::of(&stack, &json!({})).await);
    let files = json!({
        "own memory": "/proc/{own}/mem",
        "own map": "/proc/{own}/maps",
        "the function's memory": "/proc/{provisioner}/mem",
        "the function's map": "/proc/{provisioner}/maps",
    });
    let (_, report) = thief.tries(&stack, &environment, json!({"files": files})).await;
    assert_eq!(report.0["provisioner"]["name"], "bootstrap", "{:#}", report.0);
    let expect = json!({
        "own memory": "opened",
        "own map": "opened",
        "the function's memory": "PermissionError",
        "the function's map": "PermissionError",
    });
    assert_eq!(report.0["files"], expect);
}

/// Whether a process runs; one that is dead and that nobody has awaited does not.
fn runs(id: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_run_finds_no_other_ones_credentials_and_leaves_neither_its_own_nor_a_process() {
    let stack = Stack::load();
    let (environment, thief) = (stack.environment().await, Thief::of(&stack, &json!({})).await);
    let mut homes: Vec<PathBuf> = Vec::new();
    for _ in 0..2 {
        let (_, report) = thief.tries(&stack, &environment, json!({"daemon": true})).await;
        assert_eq!(report.0["credentials"].as_array().map(Vec::len), Some(1), "its own: {:#}", report.0);
        assert_eq!(report.0["daemonLives"], true, "{:#}", report.0);
        assert!(!runs(&report.0["daemon"]), "{:#}", report.0);
        homes.push(Path::new(report.text("home")).to_owned());
    }
    for home in homes {
        assert!(home.is_absolute() && !home.exists(), "{}", home.display());
    }
}

/// Whether the process still runs that a report names.
fn is_there(process: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process["id"])).unwrap_or_default();
    let began = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)?.parse::<u64>().ok());
    began.is_some() && began == process["began"].as_u64()
}

#[tokio::test]
async fn what_ran_a_version_that_is_not_trusted_runs_nothing_else() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let (trusted, untrusted) =
        (Thief::of(&stack, &json!({})).await, Thief::of(&stack, &json!({"untrusted": true})).await);
    let (_, report) = trusted.tries(&stack, &environment, json!({})).await;
    assert!(is_there(&report.0["provisioner"]), "one that has run what is trusted waits for more: {:#}", report.0);

    let (done, report) = untrusted.tries(&stack, &environment, json!({})).await;
    assert_eq!(done.attempts("thief"), 1);
    let gone = async || (!is_there(&report.0["provisioner"])).then_some(());
    stack.eventually("the process that ran what is not trusted has ended", gone).await;
}
