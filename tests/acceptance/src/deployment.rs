//! A deployment as the API shows it, with what tests ask of it.

use serde_json::Value;

/// A deployment.
#[derive(Debug, Clone)]
pub struct Deployment(pub Value);

impl Deployment {
    /// Its id.
    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    /// Its status.
    pub fn status(&self) -> &str {
        self.0["status"].as_str().unwrap_or_default()
    }

    /// The same, if it succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status(), "Succeeded", "{:#}", self.0);
        self
    }

    /// The same, if it failed with this code.
    #[track_caller]
    pub fn failed(self, code: &str) -> Self {
        assert_eq!((self.status(), self.error()), ("Failed", code), "{:#}", self.0);
        self
    }

    /// The code of its error, or an empty text.
    pub fn error(&self) -> &str {
        self.0["error"]["code"].as_str().unwrap_or_default()
    }

    /// Its operations.
    pub fn operations(&self) -> &[Value] {
        self.0["operations"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The operation of a name in the file.
    #[track_caller]
    pub fn operation(&self, resource: &str) -> &Value {
        let found = self.operations().iter().find(|operation| operation["resource"] == resource);
        found.unwrap_or_else(|| panic!("no operation for {resource} in {:#}", self.0))
    }

    /// How the operation of a name ended: its effect, or its status where it has none.
    #[track_caller]
    pub fn outcome(&self, resource: &str) -> &str {
        let operation = self.operation(resource);
        operation["effect"].as_str().or_else(|| operation["status"].as_str()).unwrap_or_default()
    }

    /// How often terraform was started for a name.
    #[track_caller]
    pub fn attempts(&self, resource: &str) -> u64 {
        self.operation(resource)["attempts"].as_u64().unwrap_or_default()
    }

    /// The resource behind a name.
    #[track_caller]
    pub fn resource_id(&self, resource: &str) -> String {
        let id = self.operation(resource)["resourceId"].as_str();
        id.unwrap_or_else(|| panic!("no resource behind {resource} in {:#}", self.0)).to_owned()
    }

    /// The releases of a resource, whatever they are named after.
    pub fn releases(&self, id: &str) -> Vec<&Value> {
        let releases = |operation: &&Value| operation["action"] == "release" && operation["resourceId"] == id;
        self.operations().iter().filter(releases).collect()
    }
}
