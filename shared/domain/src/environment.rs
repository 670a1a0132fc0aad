//! Environments: where resources live.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::backend::{BackendSpec, secret_name};
use crate::code::Fault;
use crate::name::{EnvironmentName, OrganisationName};

/// With whose rights the operations of an environment work: a role of AWS, a secret for providers of other clouds, or
/// both.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// ARN of the role in the environment's account, which the provider's session of an operation assumes. AWS's provider
    /// has none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// ARN of a secret of AWS Secrets Manager, in the stack's account and region, whose name begins with
    /// `conductor/<organisation>/<environment>/`. It is a JSON object of texts: variables of terraform's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_arn: Option<String>,
}

impl Credentials {
    /// What breaks a rule; pointers begin with `/credentials`.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut unless = |holds: bool, field: &str, rule: &str| {
            if !holds {
                faults.push(Fault::at(format!("/credentials{field}"), format!("credentials{field}: {rule}")));
            }
        };
        unless(self.role_arn.is_some() || self.secret_arn.is_some(), "", "a roleArn, a secretArn, or both");
        unless(self.role_arn.as_deref() != Some(""), "/roleArn", "the ARN of a role");
        unless(self.external_id.is_none() || self.role_arn.is_some(), "/externalId", "it goes with a roleArn");
        let rule = "the ARN of a secret whose name is `conductor/`, then letters, digits, '/', '_', '+', '=', '.', '@' \
                    and '-'";
        unless(self.secret_arn.as_deref().is_none_or(|arn| secret_name(arn).is_some()), "/secretArn", rule);
        faults
    }

    /// Whether an environment may use the secret that it names: only one of its own.
    pub fn owns_secret(&self, organisation: &OrganisationName, environment: &EnvironmentName) -> bool {
        let prefix = BackendSpec::secrets_of(organisation, environment);
        let owns = |arn: &str| secret_name(arn).is_some_and(|name| name.starts_with(&prefix));
        self.secret_arn.as_deref().is_none_or(owns)
    }
}

/// What an environment says of one resource type.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypeDefaults {
    /// The class for files that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The template version for new resources of files that pin none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub version: Option<semver::Version>,
    /// Parameters for files that do not give them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub parameters: Map<String, Value>,
    /// Parameters that no file may change.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub fixed: Map<String, Value>,
}

/// What a user says of an environment; the body of its PUT.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Such as `production`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The cloud region; the stack's own where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// With whose rights operations work; with those of the stack's default target role where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Where the states of its resources are; the stack's own bucket where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendSpec>,
    /// Refuses to destroy anything that a request does not allow by name.
    #[serde(default)]
    pub protected: bool,
    /// When it ends. Kept, and not yet enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub expires_at: Option<Timestamp>,
    /// For each resource type: template version and parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, TypeDefaults>,
}

impl EnvironmentSpec {
    /// What of it an environment of this name may not say.
    pub fn check(&self, organisation: &OrganisationName, name: &EnvironmentName) -> Vec<Fault> {
        let mut faults = self.backend.as_ref().map(BackendSpec::check).unwrap_or_default();
        faults.extend(self.credentials.iter().flat_map(Credentials::check));
        if faults.is_empty() {
            let rule = format!("the secret's name must begin with {}", BackendSpec::secrets_of(organisation, name));
            if self.backend.as_ref().is_some_and(|backend| !backend.owns_secret(organisation, name)) {
                faults.push(Fault::at("/backend/credentialsSecret", rule.clone()));
            }
            if self.credentials.as_ref().is_some_and(|credentials| !credentials.owns_secret(organisation, name)) {
                faults.push(Fault::at("/credentials/secretArn", rule));
            }
        }
        faults
    }
}

/// An environment of an organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Its name, unique in the organisation.
    pub name: EnvironmentName,
    /// What the user said.
    #[serde(flatten)]
    pub spec: EnvironmentSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A secret in the account and region of the tests.
    fn arn(name: &str) -> String {
        format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}")
    }

    fn faults(spec: Value) -> Vec<String> {
        let spec: EnvironmentSpec = serde_json::from_value(spec).expect("a spec");
        let organisation = OrganisationName::new("acme").expect("a name");
        let name = EnvironmentName::new("prod").expect("a name");
        spec.check(&organisation, &name).into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn credentials_are_a_role_or_a_secret_of_the_environments_own() {
        let check = |credentials: Value, expect: &[&str]| {
            assert_eq!(faults(json!({"credentials": credentials})), expect, "{credentials}");
        };
        let own = arn("conductor/acme/prod/azure-AbCdEf");
        check(json!({"roleArn": "arn:aws:iam::123456789012:role/conductor-target"}), &[]);
        check(json!({"roleArn": "arn:aws:iam::123456789012:role/conductor-target", "externalId": "x"}), &[]);
        check(json!({"secretArn": own}), &[]);
        check(json!({"roleArn": "arn:aws:iam::123456789012:role/conductor-target", "secretArn": own}), &[]);
        check(json!({}), &["/credentials"]);
        check(json!({"roleArn": ""}), &["/credentials/roleArn"]);
        check(json!({"secretArn": own, "externalId": "x"}), &["/credentials/externalId"]);
    }

    #[test]
    fn a_secret_of_another_environment_is_refused() {
        let check = |secret: &str, expect: &[&str]| {
            assert_eq!(faults(json!({"credentials": {"secretArn": secret}})), expect, "{secret}");
        };
        let at = ["/credentials/secretArn"];
        check(&arn("conductor/acme/prod/azure"), &[]);
        for name in [
            "conductor/acme/prod",
            "conductor/acme/production/azure",
            "conductor/acme/dev/azure",
            "conductor/other/prod/azure",
            "conductor/",
            "other/acme/prod/azure",
            "conductor/acme/prod/a b",
            "conductor/acme/prod/a:b",
        ] {
            check(&arn(name), &at);
        }
        for secret in [
            "",
            "conductor/acme/prod/azure",
            "arn:aws:secretsmanager:eu-central-1:1:secret:conductor/acme/prod/azure",
            "arn:aws:secretsmanager::123456789012:secret:conductor/acme/prod/azure",
            "arn:aws:ssm:eu-central-1:123456789012:secret:conductor/acme/prod/azure",
            "arn::secretsmanager:eu-central-1:123456789012:secret:conductor/acme/prod/azure",
        ] {
            check(secret, &at);
        }
    }

    #[test]
    fn a_backend_is_checked_with_it() {
        let http =
            |secret: &str| json!({"backend": {"type": "http", "address": "https://a", "credentialsSecret": secret}});
        assert!(faults(http("conductor/acme/prod/http")).is_empty());
        assert_eq!(faults(http("conductor/acme/dev/http")), ["/backend/credentialsSecret"]);
        assert_eq!(faults(http("http")), ["/backend/credentialsSecret"]);
    }

    #[test]
    fn what_was_written_before_there_were_secrets_is_read() {
        let written = json!({"roleArn": "arn:aws:iam::123456789012:role/x", "externalId": "y"});
        let read: Credentials = serde_json::from_value(written.clone()).expect("credentials");
        assert_eq!(serde_json::to_value(read).expect("JSON"), written);
    }
}
