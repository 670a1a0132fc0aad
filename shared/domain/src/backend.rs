//! State backends: where terraform keeps the states of an environment's resources. Must not hold a credential: it names
//! the secret that does.

use serde::{Deserialize, Serialize};

use crate::code::Fault;
use crate::ids::ResourceId;
use crate::name::{EnvironmentName, OrganisationName};
use crate::resource::StateLocation;

/// What the name of every secret with credentials begins with: the provisioner's role reads no other.
pub const SECRET_PREFIX: &str = "conductor/";
/// Where Terraform Cloud is, for environments that name no host.
pub const TERRAFORM_CLOUD: &str = "app.terraform.io";
/// What a workspace's name begins with where the environment says nothing; the resource's id follows.
const WORKSPACE_PREFIX: &str = "conductor-";
/// The longest workspace name is 90 characters, and an id has 36.
const MAX_WORKSPACE_PREFIX: usize = 54;
/// The longest URL, path or prefix here, in bytes. A blob's name may have 1,024, and ours takes up to 180 of them.
const MAX_TEXT: usize = 512;

/// A state backend. Every resource has a state of its own in it, under the key
/// `<organisation>/<environment>/<resource id>.tfstate` where nothing else is said.
///
/// `credentialsSecret` names a secret of AWS Secrets Manager, in the stack's account and region, whose name begins with
/// `conductor/`. It is a JSON object of texts.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum BackendSpec {
    /// The stack's own bucket, with S3's native lock: the same as no backend at all.
    S3 {},
    /// A blob of an Azure storage account, locked by a lease on it.
    #[serde(rename_all = "camelCase")]
    Azurerm {
        /// The storage account.
        storage_account_name: String,
        /// Its container, which must be there.
        container_name: String,
        /// What stands before each key, as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_prefix: Option<String>,
        /// The account's resource group: needed unless the secret has an access key or a SAS token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource_group_name: Option<String>,
        /// The account's subscription.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subscription_id: Option<String>,
        /// The tenant of the identity in the secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant_id: Option<String>,
        /// A secret with any of `client_id`, `client_secret`, `tenant_id`, `access_key`, `sas_token`.
        credentials_secret: String,
    },
    /// A server that speaks terraform's HTTP backend. The state of a resource is at
    /// `<address>/<organisation>/<environment>/<resource id>`.
    #[serde(rename_all = "camelCase")]
    Http {
        /// An `https` or `http` URL, without user, query and fragment.
        address: String,
        /// Whether the server knows LOCK and UNLOCK, at the state's own address.
        #[serde(default = "locks")]
        lock: bool,
        /// A secret with `username` and `password`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials_secret: Option<String>,
    },
    /// Terraform Cloud, or Terraform Enterprise: a workspace for each resource, which keeps its state. Terraform runs here.
    #[serde(rename_all = "camelCase")]
    Remote {
        /// The host; `app.terraform.io` where none is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        /// The organization there.
        organization: String,
        /// What a workspace's name begins with, before the resource's id; `conductor-` where nothing is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace_prefix: Option<String>,
        /// A secret with `token`.
        credentials_secret: String,
    },
    /// Files on the worker's own disk: for development on one machine. A stack on AWS refuses to run with it.
    #[serde(rename_all = "camelCase")]
    Local {
        /// An absolute folder.
        path: String,
    },
}

fn locks() -> bool {
    true
}

impl BackendSpec {
    /// Its name in terraform's words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3 {} => "s3",
            Self::Azurerm { .. } => "azurerm",
            Self::Http { .. } => "http",
            Self::Remote { .. } => "remote",
            Self::Local { .. } => "local",
        }
    }

    /// The secret with its credentials.
    pub fn credentials_secret(&self) -> Option<&str> {
        match self {
            Self::Azurerm { credentials_secret, .. } | Self::Remote { credentials_secret, .. } => {
                Some(credentials_secret)
            }
            Self::Http { credentials_secret, .. } => credentials_secret.as_deref(),
            Self::S3 {} | Self::Local { .. } => None,
        }
    }

    /// The rules that it breaks; pointers start with `/backend`.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        match self {
            Self::S3 {} => {}
            Self::Azurerm {
                storage_account_name,
                container_name,
                key_prefix,
                resource_group_name,
                subscription_id,
                tenant_id,
                credentials_secret: _,
            } => {
                let rule = "3 to 24 characters of a-z and 0-9";
                faults.unless(is_storage_account(storage_account_name), "storageAccountName", rule);
                let rule = "3 to 63 characters of a-z, 0-9 and single inner '-'";
                faults.unless(is_container(container_name), "containerName", rule);
                let rule = "letters, digits, '-', '_', '.' and single inner '/', with no '.' or '..' between two '/'";
                faults.unless(key_prefix.as_deref().is_none_or(is_key_prefix), "keyPrefix", rule);
                let rule = "1 to 90 letters, digits, '-', '_', '.', '(' and ')', not ending with '.'";
                let group = resource_group_name.as_deref();
                faults.unless(group.is_none_or(is_resource_group), "resourceGroupName", rule);
                faults.unless(subscription_id.as_deref().is_none_or(is_uuid), "subscriptionId", "a UUID");
                faults.unless(tenant_id.as_deref().is_none_or(is_uuid), "tenantId", "a UUID");
            }
            Self::Http { address, lock: _, credentials_secret } => {
                let rule = "an https or http URL without user, query, fragment, '.', '..' and final '/'";
                let url = Url::parse(address);
                faults.unless(url.is_some(), "address", rule);
                let safe = url.is_none_or(|url| url.secure || url.is_loopback());
                let rule = "credentials over plain http go to this machine only: the address must be https";
                faults.unless(safe || credentials_secret.is_none(), "address", rule);
            }
            Self::Remote { hostname, organization, workspace_prefix, credentials_secret: _ } => {
                let rule = "a host, with a port where it needs one";
                faults.unless(hostname.as_deref().is_none_or(is_host), "hostname", rule);
                let rule = "1 to 63 letters, digits, '-' and '_'";
                let organization = is_word(organization) && (1..=63).contains(&organization.len());
                faults.unless(organization, "organization", rule);
                let rule = "at most 54 letters, digits, '-' and '_'";
                let prefix = workspace_prefix.as_deref().unwrap_or_default();
                let fits = is_word(prefix) && prefix.len() <= MAX_WORKSPACE_PREFIX;
                faults.unless(fits, "workspacePrefix", rule);
            }
            Self::Local { path } => {
                let rule = "an absolute folder without '.', '..', control characters and final '/'";
                faults.unless(is_folder(path), "path", rule);
            }
        }
        let rule = "the name of a secret: `conductor/`, then letters, digits, '/', '_', '+', '=', '.', '@' and '-'";
        faults.unless(self.credentials_secret().is_none_or(is_secret), "credentialsSecret", rule);
        faults.0
    }

    /// The prefix of the secrets that an environment may name.
    pub fn secrets_of(organisation: &OrganisationName, environment: &EnvironmentName) -> String {
        format!("{SECRET_PREFIX}{organisation}/{environment}/")
    }

    /// Whether an environment may use the secret that it names: only one of its own.
    pub fn owns_secret(&self, organisation: &OrganisationName, environment: &EnvironmentName) -> bool {
        let prefix = Self::secrets_of(organisation, environment);
        self.credentials_secret().is_none_or(|secret| secret.starts_with(&prefix))
    }

    /// What the backend itself calls the state of a resource: a key, a URL, a workspace or a path.
    pub fn object(&self, organisation: &OrganisationName, environment: &EnvironmentName, id: ResourceId) -> String {
        let key = key(organisation, environment, id);
        match self {
            Self::S3 {} => key,
            Self::Azurerm { key_prefix, .. } => format!("{}{key}", key_prefix.as_deref().unwrap_or_default()),
            Self::Http { address, .. } => format!("{address}/{organisation}/{environment}/{id}"),
            Self::Remote { workspace_prefix, .. } => {
                format!("{}{id}", workspace_prefix.as_deref().unwrap_or(WORKSPACE_PREFIX))
            }
            Self::Local { path } => format!("{path}/{key}"),
        }
    }

    /// Where the state of a resource is; `bucket` is the stack's own.
    pub fn location(
        &self,
        bucket: &str,
        organisation: &OrganisationName,
        environment: &EnvironmentName,
        id: ResourceId,
    ) -> StateLocation {
        let object = self.object(organisation, environment, id);
        let location = match self {
            Self::S3 {} => return s3_location(bucket, organisation, environment, id),
            Self::Azurerm { storage_account_name, container_name, .. } => {
                format!("https://{storage_account_name}.blob.core.windows.net/{container_name}/{object}")
            }
            Self::Http { .. } => object,
            Self::Remote { hostname, organization, .. } => {
                let hostname = hostname.as_deref().unwrap_or(TERRAFORM_CLOUD);
                format!("https://{hostname}/app/{organization}/workspaces/{object}")
            }
            Self::Local { .. } => format!("file://{object}"),
        };
        StateLocation { backend: self.kind().to_owned(), location }
    }
}

/// Where the state of a resource is in the stack's own bucket.
pub fn s3_location(
    bucket: &str,
    organisation: &OrganisationName,
    environment: &EnvironmentName,
    id: ResourceId,
) -> StateLocation {
    let location = format!("s3://{bucket}/{}", key(organisation, environment, id));
    StateLocation { backend: "s3".to_owned(), location }
}

fn key(organisation: &OrganisationName, environment: &EnvironmentName, id: ResourceId) -> String {
    format!("{organisation}/{environment}/{id}.tfstate")
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn unless(&mut self, holds: bool, field: &str, rule: &str) {
        if !holds {
            self.0.push(Fault::at(format!("/backend/{field}"), format!("{field}: {rule}")));
        }
    }
}

/// The parts of an address that rules are about.
struct Url<'a> {
    secure: bool,
    host: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\\\"<>{}|^`".contains(&byte));
        let well = plain && text.len() <= MAX_TEXT && is_host(authority) && path.is_none_or(is_path);
        well.then(|| Self { secure, host: host_of(authority) })
    }

    fn is_loopback(&self) -> bool {
        matches!(self.host, "localhost" | "127.0.0.1")
    }
}

fn host_of(authority: &str) -> &str {
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

/// A DNS name or an IPv4 address, and a port.
fn is_host(authority: &str) -> bool {
    let host = host_of(authority);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && label.len() <= 63
    };
    let port = authority.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    host.len() <= 253 && host.split('.').all(label) && port
}

/// Segments between `/`, none of them empty, `.` or `..`.
fn is_path(path: &str) -> bool {
    path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

fn is_folder(path: &str) -> bool {
    let clean = path.len() <= MAX_TEXT && !path.chars().any(char::is_control);
    clean && path.strip_prefix('/').is_some_and(is_path)
}

fn is_key_prefix(prefix: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    // The last part may be empty: it is then that of the key.
    let path = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.len() <= MAX_TEXT && prefix.bytes().all(known) && is_path(path)
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_storage_account(name: &str) -> bool {
    (3..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_container(name: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (3..=63).contains(&name.len()) && name.split('-').all(part)
}

fn is_resource_group(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte);
    (1..=90).contains(&name.len()) && name.bytes().all(known) && !name.ends_with('.')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
}

fn is_secret(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    name.len() <= MAX_TEXT
        && name.strip_prefix(SECRET_PREFIX).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(known))
}

/// The name of a secret that Conductor may read, as its ARN has it: six characters of AWS's own may stand at its end.
pub(crate) fn secret_name(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    let ["arn", partition, "secretsmanager", region, account, "secret", name] = parts.as_slice() else { return None };
    let place = [partition, region].into_iter().all(|part| !part.is_empty() && is_word(part));
    let account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (place && account && is_secret(name)).then_some(*name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::ids::GenericUuid;

    fn spec(value: Value) -> BackendSpec {
        serde_json::from_value(value).expect("a backend")
    }

    fn azurerm(field: &str, value: &str) -> Value {
        let mut spec = json!({"type": "azurerm", "storageAccountName": "states", "containerName": "tf-states",
                              "credentialsSecret": "conductor/azure"});
        spec[field] = json!(value);
        spec
    }

    #[test]
    fn each_field_has_its_rule() {
        let check = |value: Value, expect: &[&str]| {
            let pointers: Vec<String> = spec(value.clone())
                .check()
                .into_iter()
                .map(|fault| fault.pointer.replacen("/backend/", "", 1))
                .collect();
            assert_eq!(pointers, expect, "{value}");
        };
        let http = |address: &str| json!({"type": "http", "address": address});
        let secret = |address: &str| json!({"type": "http", "address": address, "credentialsSecret": "conductor/http"});
        let remote = |field: &str, value: &str| {
            let mut spec = json!({"type": "remote", "organization": "acme", "credentialsSecret": "conductor/tfc"});
            spec[field] = json!(value);
            spec
        };
        let local = |path: &str| json!({"type": "local", "path": path});
        check(json!({"type": "s3"}), &[]);

        for address in ["https://states.example.com", "http://10.0.0.1:8080/tf/states", "https://a/b%20c"] {
            check(http(address), &[]);
        }
        for address in [
            "",
            "ftp://a/b",
            "https://",
            "https:///x",
            "https://user:word@a",
            "https://a/?x=1",
            "https://a/b#c",
            "https://a/",
            "https://a/../b",
            "https://a//b",
            "https://a b",
            "https://a:0",
            "https://a:b",
            "https://ä",
            "https://a/\n",
        ] {
            check(http(address), &["address"]);
        }
        check(secret("https://states.example.com"), &[]);
        check(secret("http://127.0.0.1:9000/states"), &[]);
        check(secret("http://localhost:9000"), &[]);
        check(secret("http://states.example.com"), &["address"]);
        check(secret("http://127.0.0.1.example.com"), &["address"]);

        check(azurerm("keyPrefix", "team/a-"), &[]);
        check(azurerm("keyPrefix", "team/"), &[]);
        check(azurerm("keyPrefix", "/team"), &["keyPrefix"]);
        check(azurerm("keyPrefix", "a/../b"), &["keyPrefix"]);
        check(azurerm("storageAccountName", "St"), &["storageAccountName"]);
        check(azurerm("containerName", "a--b"), &["containerName"]);
        check(azurerm("resourceGroupName", "group (1)."), &["resourceGroupName"]);
        check(azurerm("resourceGroupName", "group_(1)"), &[]);
        check(azurerm("subscriptionId", "00000000-0000-0000-0000-000000000000"), &[]);
        check(azurerm("subscriptionId", "00000000"), &["subscriptionId"]);
        check(azurerm("tenantId", "x"), &["tenantId"]);
        for name in ["azure", "conductor/", "other/azure", "conductor/a b", "conductor/a*"] {
            check(azurerm("credentialsSecret", name), &["credentialsSecret"]);
        }

        check(remote("hostname", "tfe.example.com:8443"), &[]);
        check(remote("hostname", "https://tfe.example.com"), &["hostname"]);
        check(remote("organization", ""), &["organization"]);
        check(remote("workspacePrefix", "a b"), &["workspacePrefix"]);
        check(remote("workspacePrefix", &"a".repeat(55)), &["workspacePrefix"]);
        check(remote("workspacePrefix", ""), &[]);

        check(local("/var/lib/states"), &[]);
        for path in ["states", "/", "/a/", "/a/../b", "/a\n", ""] {
            check(local(path), &["path"]);
        }
    }

    #[test]
    fn what_a_backend_does_not_take_is_refused() {
        for value in [
            json!({}),
            json!({"type": "gcs"}),
            json!({"type": "s3", "bucket": "b"}),
            json!({"type": "http"}),
            json!({"type": "http", "address": "https://a", "password": "p"}),
            json!({"type": "remote", "organization": "acme"}),
            json!({"type": "local", "path": "/a", "lock": true}),
        ] {
            assert!(serde_json::from_value::<BackendSpec>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_read_is_written_back() {
        for value in [
            json!({"type": "s3"}),
            json!({"type": "http", "address": "https://a", "lock": false}),
            azurerm("keyPrefix", "p/"),
            json!({"type": "remote", "organization": "acme", "credentialsSecret": "conductor/tfc"}),
            json!({"type": "local", "path": "/a"}),
        ] {
            assert_eq!(serde_json::to_value(spec(value.clone())).expect("JSON"), value);
        }
    }

    #[test]
    fn a_state_has_a_place_in_each_backend() {
        let organisation = OrganisationName::new("acme").expect("a name");
        let environment = EnvironmentName::new("prod").expect("a name");
        let id = ResourceId::from_untyped_uuid(Uuid::nil());
        let check = |value: Value, object: &str, location: &str| {
            let spec = spec(value);
            let expect = StateLocation { backend: spec.kind().to_owned(), location: location.to_owned() };
            assert_eq!(spec.object(&organisation, &environment, id), object);
            assert_eq!(spec.location("own", &organisation, &environment, id), expect);
        };
        const ID: &str = "00000000-0000-0000-0000-000000000000";
        let key = format!("acme/prod/{ID}.tfstate");
        check(json!({"type": "s3"}), &key, &format!("s3://own/{key}"));
        check(
            azurerm("keyPrefix", "team/"),
            &format!("team/{key}"),
            &format!("https://states.blob.core.windows.net/tf-states/team/{key}"),
        );
        let address = format!("https://a:8080/tf/acme/prod/{ID}");
        check(json!({"type": "http", "address": "https://a:8080/tf"}), &address, &address);
        let workspace = format!("conductor-{ID}");
        check(
            json!({"type": "remote", "organization": "o", "credentialsSecret": "conductor/t"}),
            &workspace,
            &format!("https://app.terraform.io/app/o/workspaces/{workspace}"),
        );
        check(json!({"type": "local", "path": "/s"}), &format!("/s/{key}"), &format!("file:///s/{key}"));
    }
}
