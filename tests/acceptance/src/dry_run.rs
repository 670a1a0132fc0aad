//! Dry runs: what a deployment would do, which reads like a deployment.

use serde_json::{Value, json};

use crate::{Deployment, Stack};

impl Stack {
    /// What a deployment of a Score file would do.
    pub async fn foretell(&self, application: &str, environment: &str, score: &str) -> Deployment {
        self.foretell_with(application, environment, score, json!({})).await
    }

    /// The same with more fields in the body.
    pub async fn foretell_with(&self, application: &str, environment: &str, score: &str, more: Value) -> Deployment {
        let body = crate::request(application, environment, score, more);
        Deployment(self.post("/v1/deployments?dryRun=true", &body).await.expect(200).body)
    }

    /// What a teardown would do.
    pub async fn foretell_teardown(&self, application: &str, environment: &str) -> Deployment {
        let path = format!("/v1/applications/{application}/environments/{environment}?dryRun=true");
        Deployment(self.delete(&path).await.expect(200).body)
    }
}

impl Deployment {
    /// All the ways in which the operation of a name may end.
    #[track_caller]
    pub fn effects(&self, resource: &str) -> Vec<&str> {
        let effects = self.operation(resource)["effects"].as_array().expect("a dry run has effects");
        effects.iter().filter_map(Value::as_str).collect()
    }

    /// Checks that the operation of a name will end like this, whatever else happens.
    #[track_caller]
    pub fn foretells(&self, resource: &str, effect: &str) {
        let found = (self.operation(resource)["effect"].as_str(), self.effects(resource));
        assert_eq!(found, (Some(effect), vec![effect]), "{resource}: {:#}", self.0);
        assert_eq!(self.operation(resource)["decidedBy"], json!([]), "{resource}: {:#}", self.0);
    }
}
