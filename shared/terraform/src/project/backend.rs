//! Where the state is. The root module's backend block stays empty, so that its hash does not depend on any of this
//! and a prepared folder serves every state; the settings stand in a file of their own beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::engine::Engine;

/// The file with the settings in the work folder, for `init`. Secret, where the backend has credentials.
pub const BACKEND_FILE: &str = "conductor.tfbackend.json";

/// A backend and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// An S3 object, with a lock object beside it.
    S3(S3Backend),
    /// A blob of an Azure storage account, with a lease on it.
    Azurerm(AzurermBackend),
    /// A URL that is read with GET, written with POST, and locked with LOCK and UNLOCK.
    Http(HttpBackend),
    /// A workspace of Terraform Cloud or Terraform Enterprise. Terraform runs here all the same, see
    /// [`Backend::environment`].
    Remote(RemoteBackend),
    /// A file.
    Local {
        /// Its path.
        path: PathBuf,
    },
}

/// Settings of the S3 backend. They hold no credentials, only where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Backend {
    /// The bucket.
    pub bucket: String,
    /// The object; its lock is `<key>.tflock`.
    pub key: String,
    /// The bucket's region.
    pub region: String,
    /// The profile in [`S3Backend::credentials_file`]; the backend's own search, if `None`.
    pub profile: Option<String>,
    /// A shared credentials file.
    pub credentials_file: Option<PathBuf>,
    /// Whether S3 is emulated behind an endpoint URL: path-style addressing, and no checks that only AWS can answer.
    /// The URL itself reaches the backend as `AWS_ENDPOINT_URL`; see [`crate::process::Environment`].
    pub emulated: bool,
}

/// Settings of the azurerm backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AzurermBackend {
    /// The storage account.
    pub storage_account_name: String,
    /// Its container.
    pub container_name: String,
    /// The blob.
    pub key: String,
    /// The account's resource group.
    pub resource_group_name: Option<String>,
    /// The account's subscription.
    pub subscription_id: Option<String>,
    /// The tenant; one in the credentials wins.
    pub tenant_id: Option<String>,
    /// Who reads and writes it.
    pub credentials: BackendCredentials,
}

/// Settings of the HTTP backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpBackend {
    /// The state's URL.
    pub address: String,
    /// Whether it is locked, at the same URL.
    pub lock: bool,
    /// Who reads and writes it.
    pub credentials: BackendCredentials,
}

/// Settings of the remote backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteBackend {
    /// The host; terraform's own default, if `None`.
    pub hostname: Option<String>,
    /// The organization there.
    pub organization: String,
    /// The workspace; terraform makes it.
    pub workspace: String,
    /// Who reads and writes it.
    pub credentials: BackendCredentials,
}

/// Credentials of a backend, by terraform's names of its settings. [`fmt::Debug`] shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BackendCredentials(BTreeMap<String, String>);

/// Why a text holds no credentials of a backend. Shows nothing of the text but names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackendCredentialsError {
    /// It is no JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// It has an entry that the backend has no use for, or one that is no text.
    #[error("`{name}` is not one of its texts: {known}")]
    Entry {
        /// The entry.
        name: String,
        /// The entries that there may be.
        known: String,
    },
}

/// The credentials of each backend, and whether they are secret.
const HTTP: [(&str, bool); 2] = [("username", false), ("password", true)];
const REMOTE: [(&str, bool); 1] = [("token", true)];
const AZURERM: [(&str, bool); 5] =
    [("client_id", false), ("client_secret", true), ("tenant_id", false), ("access_key", true), ("sas_token", true)];

impl BackendCredentials {
    /// Reads a JSON object of texts; `backend` is a [`Backend::kind`].
    pub fn parse(backend: &str, content: &str) -> Result<Self, BackendCredentialsError> {
        let known: &[(&str, bool)] = match backend {
            "http" => &HTTP,
            "remote" => &REMOTE,
            "azurerm" => &AZURERM,
            _ => &[],
        };
        let entries: Map<String, Value> =
            serde_json::from_str(content).map_err(|_| BackendCredentialsError::NotAnObject)?;
        let entries = entries.into_iter().map(|(name, value)| match value {
            Value::String(text) if known.iter().any(|(known, _)| *known == name) => Ok((name, text)),
            _ => {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                Err(BackendCredentialsError::Entry { name, known: names.join(", ") })
            }
        });
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// Those that must not be shown anywhere.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret =
            |name: &str| HTTP.iter().chain(&REMOTE).chain(&AZURERM).any(|(known, secret)| *known == name && *secret);
        self.0.iter().filter(move |(name, _)| secret(name)).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for BackendCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Backend {
    /// Its name in configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Azurerm(_) => "azurerm",
            Self::Http(_) => "http",
            Self::Remote(_) => "remote",
            Self::Local { .. } => "local",
        }
    }

    /// The `backend` block of the root module, empty.
    pub fn block(&self) -> Value {
        json!({ self.kind(): {} })
    }

    /// Its credentials; none where they are elsewhere.
    pub fn credentials(&self) -> Option<&BackendCredentials> {
        match self {
            Self::Azurerm(azurerm) => Some(&azurerm.credentials),
            Self::Http(http) => Some(&http.credentials),
            Self::Remote(remote) => Some(&remote.credentials),
            Self::S3(_) | Self::Local { .. } => None,
        }
    }

    /// What terraform's environment needs for it.
    pub fn environment(&self) -> BTreeMap<String, String> {
        match self {
            // Without it terraform would run in the workspace, where neither work folder nor providers' sessions are.
            Self::Remote(_) => BTreeMap::from([("TF_FORCE_LOCAL_BACKEND".to_owned(), "1".to_owned())]),
            Self::S3(_) | Self::Azurerm(_) | Self::Http(_) | Self::Local { .. } => BTreeMap::new(),
        }
    }

    /// Its settings, by terraform's names. May hold secrets.
    pub fn settings(&self) -> BTreeMap<String, Value> {
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: Value| {
            settings.insert(name.to_owned(), value);
        };
        match self {
            Self::Local { path } => set("path", json!(path.to_string_lossy())),
            Self::S3(s3) => {
                set("bucket", json!(s3.bucket));
                set("key", json!(s3.key));
                set("region", json!(s3.region));
                set("use_lockfile", json!(true));
                if let Some(profile) = &s3.profile {
                    set("profile", json!(profile));
                }
                if let Some(file) = &s3.credentials_file {
                    set("shared_credentials_files", json!([file.to_string_lossy()]));
                }
                if s3.emulated {
                    for flag in [
                        "use_path_style",
                        "skip_credentials_validation",
                        "skip_metadata_api_check",
                        "skip_region_validation",
                        "skip_requesting_account_id",
                    ] {
                        set(flag, json!(true));
                    }
                }
            }
            Self::Azurerm(azurerm) => {
                set("storage_account_name", json!(azurerm.storage_account_name));
                set("container_name", json!(azurerm.container_name));
                set("key", json!(azurerm.key));
                for (name, value) in [
                    ("resource_group_name", &azurerm.resource_group_name),
                    ("subscription_id", &azurerm.subscription_id),
                    ("tenant_id", &azurerm.tenant_id),
                ] {
                    if let Some(value) = value {
                        set(name, json!(value));
                    }
                }
            }
            Self::Http(http) => {
                set("address", json!(http.address));
                if http.lock {
                    set("lock_address", json!(http.address));
                    set("unlock_address", json!(http.address));
                }
            }
            Self::Remote(remote) => {
                if let Some(hostname) = &remote.hostname {
                    set("hostname", json!(hostname));
                }
                set("organization", json!(remote.organization));
                set("workspaces", json!({ "name": remote.workspace }));
            }
        }
        let credentials = self.credentials().into_iter().flat_map(|credentials| &credentials.0);
        settings.extend(credentials.map(|(name, value)| (name.clone(), json!(value))));
        settings
    }

    /// The content of [`BACKEND_FILE`] for this engine, by which all texts are taken as they are.
    pub fn file(&self, engine: Engine) -> Vec<u8> {
        let settings = json!(self.settings());
        let settings = if engine.evaluates_backend_settings() { super::literal(&settings) } else { settings };
        settings.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(backend: &str, content: Value) -> BackendCredentials {
        BackendCredentials::parse(backend, &content.to_string()).expect("credentials")
    }

    #[test]
    fn defaults_and_everything_overridden() {
        let check = |backend: Backend, expect: Value| {
            let file: Value = serde_json::from_slice(&backend.file(Engine::Terraform)).expect("JSON");
            assert_eq!(file, expect);
        };
        check(Backend::Local { path: "/w/state.json".into() }, json!({"path": "/w/state.json"}));
        let plain =
            S3Backend { bucket: "b".into(), key: "o/e/r.tfstate".into(), region: "r".into(), ..Default::default() };
        check(
            Backend::S3(plain.clone()),
            json!({"bucket": "b", "key": "o/e/r.tfstate", "region": "r", "use_lockfile": true}),
        );
        let all = S3Backend {
            profile: Some("backend".into()),
            credentials_file: Some("/w/credentials".into()),
            emulated: true,
            ..plain
        };
        check(
            Backend::S3(all),
            json!({
                "bucket": "b", "key": "o/e/r.tfstate", "region": "r", "use_lockfile": true, "profile": "backend",
                "shared_credentials_files": ["/w/credentials"], "use_path_style": true,
                "skip_credentials_validation": true, "skip_metadata_api_check": true, "skip_region_validation": true,
                "skip_requesting_account_id": true
            }),
        );
        let plain = HttpBackend { address: "https://a/o/e/r".into(), ..Default::default() };
        check(Backend::Http(plain.clone()), json!({"address": "https://a/o/e/r"}));
        let credentials_of_http = credentials("http", json!({"username": "u", "password": "${p}"}));
        check(
            Backend::Http(HttpBackend { lock: true, credentials: credentials_of_http, ..plain }),
            json!({
                "address": "https://a/o/e/r", "lock_address": "https://a/o/e/r", "unlock_address": "https://a/o/e/r",
                "username": "u", "password": "${p}"
            }),
        );
        let plain = RemoteBackend { organization: "o".into(), workspace: "conductor-r".into(), ..Default::default() };
        check(Backend::Remote(plain.clone()), json!({"organization": "o", "workspaces": {"name": "conductor-r"}}));
        let all = RemoteBackend {
            hostname: Some("tfe.example.com".into()),
            credentials: credentials("remote", json!({"token": "t"})),
            ..plain
        };
        check(
            Backend::Remote(all),
            json!({
                "hostname": "tfe.example.com", "organization": "o", "workspaces": {"name": "conductor-r"}, "token": "t"
            }),
        );
        let plain = AzurermBackend {
            storage_account_name: "s".into(),
            container_name: "c".into(),
            key: "k".into(),
            ..Default::default()
        };
        check(Backend::Azurerm(plain.clone()), json!({"storage_account_name": "s", "container_name": "c", "key": "k"}));
        let all = AzurermBackend {
            resource_group_name: Some("g".into()),
            subscription_id: Some("i".into()),
            tenant_id: Some("t".into()),
            credentials: credentials(
                "azurerm",
                json!({"client_id": "n", "client_secret": "x", "tenant_id": "u", "access_key": "y", "sas_token": "z"}),
            ),
            ..plain
        };
        check(
            Backend::Azurerm(all),
            json!({
                "storage_account_name": "s", "container_name": "c", "key": "k", "resource_group_name": "g",
                "subscription_id": "i", "tenant_id": "u", "client_id": "n", "client_secret": "x", "access_key": "y",
                "sas_token": "z"
            }),
        );
    }

    #[test]
    fn a_text_is_no_template_to_either_engine() {
        let credentials = credentials("http", json!({"password": "a${b}%{c}"}));
        let backend = Backend::Http(HttpBackend { credentials, ..Default::default() });
        let check = |engine: Engine, expect: &str| {
            let file: Value = serde_json::from_slice(&backend.file(engine)).expect("JSON");
            assert_eq!(file["password"], expect);
        };
        check(Engine::Terraform, "a${b}%{c}");
        check(Engine::Tofu, "a$${b}%%{c}");
        assert_eq!(backend.settings()["password"], "a${b}%{c}", "the record of the backend holds values");
    }

    #[test]
    fn credentials_are_texts_that_the_backend_knows() {
        let check = |backend: &str, content: &str, expect: &str| {
            let error = BackendCredentials::parse(backend, content).expect_err("refused");
            assert_eq!(error.to_string(), expect);
        };
        check("http", "hunter2", "it is not a JSON object");
        check("http", "\"hunter2\"", "it is not a JSON object");
        check("http", r#"{"token": "hunter2"}"#, "`token` is not one of its texts: username, password");
        check("http", r#"{"password": 12345}"#, "`password` is not one of its texts: username, password");
        check("remote", r#"{"password": "hunter2"}"#, "`password` is not one of its texts: token");
        assert!(BackendCredentials::parse("http", "{}").is_ok());
    }

    #[test]
    fn secrets_are_known_and_not_shown() {
        let credentials = credentials("http", json!({"username": "conductor", "password": "hunter2"}));
        assert_eq!(credentials.secrets().collect::<Vec<_>>(), ["hunter2"]);
        let backend = Backend::Http(HttpBackend { credentials, ..Default::default() });
        assert!(!format!("{backend:?}").contains("hunter2"));
    }

    #[test]
    fn only_the_remote_backend_needs_a_variable() {
        let variables = Backend::Remote(RemoteBackend::default()).environment();
        assert_eq!(variables["TF_FORCE_LOCAL_BACKEND"], "1");
        assert!(Backend::Http(HttpBackend::default()).environment().is_empty());
    }

    #[test]
    fn the_block_is_empty() {
        assert_eq!(Backend::S3(S3Backend::default()).block(), json!({"s3": {}}));
        assert_eq!(Backend::Remote(RemoteBackend::default()).block(), json!({"remote": {}}));
    }
}
