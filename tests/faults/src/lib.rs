//! What the tests of faults share: the stack `faults`, whose times are short; gates, so that a terraform is where a
//! test wants it; the processes that run it; workers, and a proxy between them and AWS.
//!
//! Everything that is asked of Conductor goes over its HTTP API. What the API cannot show is read with AWS's own SDK
//! and in `/proc`.

mod cloud;
mod functions;
mod gate;
mod module;
mod proxy;
mod rest;
mod running;
mod wait;
mod worker;

use std::ops::Deref;

use conductor_acceptance::{Deployment, Stack};
use serde_json::{Value, json};

pub use cloud::{Cloud, ORGANISATION, serials};
pub use functions::Functions;
pub use gate::Gate;
pub use module::{BUCKET, GATED, TINY, chain, file, gated, gated_address};
pub use proxy::{Fate, Proxy, Request};
pub use running::Running;
pub use wait::eventually;
pub use worker::{Worker, Workers, checkout, is_with_worker, wake};

/// What the clock sends to the sweeper.
const SCHEDULE: &str = include_str!("../../../events/sweeper-schedule.json");

/// A stack whose times are short.
pub struct Faults {
    /// The AWS side of it.
    pub cloud: Cloud,
    /// Its functions.
    pub functions: Functions,
    stack: Stack,
}

impl Deref for Faults {
    type Target = Stack;
    fn deref(&self) -> &Stack {
        &self.stack
    }
}

impl Faults {
    /// The stack that `make up-faults` left running.
    pub fn load() -> Self {
        let stack = Stack::described("stack-faults.json", "make up-faults");
        Self { cloud: Cloud::of(&stack), functions: Functions::of(&stack), stack }
    }

    /// Runs the sweeper, which its schedule does every minute.
    pub async fn sweep(&self) {
        self.functions.invoke(self.function("sweeper"), SCHEDULE).await;
    }

    /// A deployment as it stands.
    pub async fn deployment(&self, id: &str) -> Deployment {
        Deployment(self.get(&format!("/v1/deployments/{id}")).await.expect(200).body)
    }

    /// Publishes a template whose version is changed like this, such as `{"executor": "worker"}`.
    pub async fn template_with(&self, main: &str, change: &Value) -> String {
        let name = self.template(main).await;
        self.patch(&format!("/v1/resource-templates/{name}/versions/1.0.0"), change).await.expect(200);
        name
    }

    /// Publishes a template that only workers carry out.
    pub async fn template_for_workers(&self, main: &str) -> String {
        self.template_with(main, &json!({"executor": "worker"})).await
    }

    /// The terraform that runs for the operation of a name.
    pub async fn terraform_of(&self, id: &str, resource: &str) -> Running {
        let operation = self.deployment(id).await.operation(resource)["id"].as_str().expect("an id").to_owned();
        eventually(&format!("terraform runs for {resource}"), async || Running::of(&operation)).await
    }

    /// Waits until terraform is at an object of a gate, and the lease says so: `resource` is the operation's name,
    /// `name` the object's.
    pub async fn is_at(&self, id: &str, resource: &str, gate: &Gate, name: &str) -> Running {
        gate.reached(name, 1).await;
        let deployment = self.deployment(id).await;
        let index = deployment.operations().iter().position(|operation| operation["resource"] == resource);
        let number = index.expect("an operation of that name") + 1;
        let address = gated_address(name);
        let names = |lease: &Value| lease["begun"].as_array().is_some_and(|begun| begun.contains(&json!(address)));
        eventually(&format!("the lease names {address}"), async || {
            let lease = self.cloud.lease(id, number).await;
            lease.is_some_and(|lease| names(&lease)).then_some(())
        })
        .await;
        self.terraform_of(id, resource).await
    }

    /// Tears an application down.
    pub async fn torn_down(&self, application: &str, environment: &str) -> Deployment {
        let path = format!("/v1/applications/{application}/environments/{environment}");
        let id = self.delete(&path).await.expect(202).text("id");
        self.ended(&id).await.succeeded()
    }
}

/// True where the operation of a name is planned and has this text in a field.
pub fn shows(deployment: &Deployment, resource: &str, field: &str, text: &str) -> bool {
    deployment.operations().iter().any(|operation| operation["resource"] == resource && operation[field] == text)
}

/// The codes of an operation's warnings.
pub fn warnings(operation: &Value) -> Vec<&str> {
    let warnings = operation["warnings"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    warnings.iter().filter_map(|warning| warning["code"].as_str()).collect()
}

/// Where a deployment is cancelled.
pub fn cancel_path(id: &str) -> String {
    format!("/v1/deployments/{id}/cancel")
}
