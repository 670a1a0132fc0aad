//! Requests to an instance of the API, in the gateway's words.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conductor_acceptance::{template_zip, unique};
use conductor_runtime::Function;
use serde_json::{Value, json};

/// How long the gateway waits.
const TIME: Duration = Duration::from_secs(29);

/// An instance of the API.
pub struct Api(pub Function);

/// What it answers.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// A text in it.
    #[track_caller]
    pub fn text(self, status: u16, name: &str) -> String {
        let body = self.expect(status);
        body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body:#}")).to_owned()
    }
}

impl Api {
    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    /// PUT of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, Some(("application/json", body.to_string().as_bytes()))).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(("application/json", body.to_string().as_bytes()))).await
    }

    /// Publishes a template of one file under a fresh type, and answers with that.
    pub async fn publish(&self, main: &str) -> String {
        let (name, archive) = (unique("type"), template_zip(&[("main.tf", main)]));
        let path = format!("/v1/resource-templates/{name}/versions/1.0.0");
        self.ask("PUT", &path, Some(("application/zip", archive.as_slice()))).await.expect(201);
        name
    }

    /// Makes a fresh environment, and answers with its name.
    pub async fn environment(&self) -> String {
        let name = unique("env");
        self.put(&format!("/v1/environments/{name}"), &json!({})).await.expect(201);
        name
    }

    /// Registers resources that are there already, of a type without a template, and answers with their names.
    pub async fn register(&self, environment: &str, kind: &str, count: usize) -> Vec<String> {
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            let name = unique("there");
            let body = json!({
                "environment": environment, "type": kind, "name": name, "existingResourceId": name,
                "outputs": {"id": name},
            });
            self.post("/v1/resources", &body).await.expect(201);
            names.push(name);
        }
        names
    }

    async fn ask(&self, method: &str, path: &str, content: Option<(&str, &[u8])>) -> Answer {
        let event = event(method, path, content).to_string();
        let answer = self.0.invoke(event.into_bytes(), TIME).await.bytes().await;
        let answer: Value = serde_json::from_slice(&answer).expect("the function answers in JSON");
        let status = answer["statusCode"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(0);
        let body = answer["body"].as_str().unwrap_or_default();
        Answer { status, body: serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)) }
    }
}

/// A request as the gateway hands it on: text as text, anything else in base64.
fn event(method: &str, target: &str, content: Option<(&str, &[u8])>) -> Value {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = BTreeMap::from([("accept", "application/json")]);
    headers.extend(content.map(|(kind, _)| ("content-type", kind)));
    let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let lists = |one: &BTreeMap<&str, &str>| -> BTreeMap<String, Vec<String>> {
        one.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
    };
    let is_text = content.is_none_or(|(kind, _)| kind == "application/json");
    let body = content.map(
        |(_, bytes)| {
            if is_text { String::from_utf8_lossy(bytes).into_owned() } else { STANDARD.encode(bytes) }
        },
    );
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": lists(&headers),
        "queryStringParameters": query,
        "multiValueQueryStringParameters": lists(&query),
        "pathParameters": {"proxy": path.trim_start_matches('/')},
        "stageVariables": null,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "emulated",
            "httpMethod": method,
            "identity": {"sourceIp": "127.0.0.1"},
            "path": format!("/live{path}"),
            "protocol": "HTTP/1.1",
            "requestId": unique("request"),
            "resourceId": "emulated",
            "resourcePath": "/{proxy+}",
            "stage": "live",
        },
        "body": body,
        "isBase64Encoded": !is_text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_request_as_the_gateway_gives_it() {
        let asked = event("GET", "/v1/deployments?limit=5&status=Failed", None);
        assert_eq!((&asked["path"], &asked["body"]), (&json!("/v1/deployments"), &Value::Null));
        assert_eq!(asked["multiValueQueryStringParameters"], json!({"limit": ["5"], "status": ["Failed"]}));
        assert_eq!(asked["headers"], json!({"accept": "application/json"}));
        let posted = event("POST", "/v1/deployments", Some(("application/json", b"{}".as_slice())));
        assert_eq!((&posted["body"], &posted["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        assert_eq!(posted["multiValueHeaders"]["content-type"], json!(["application/json"]));
        let zip = event("PUT", "/v1/resource-templates/a/versions/1", Some(("application/zip", b"PK".as_slice())));
        assert_eq!((&zip["body"], &zip["isBase64Encoded"]), (&json!("UEs="), &json!(true)));
    }
}
