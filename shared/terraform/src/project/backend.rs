//! Where the state is. The root module's backend block stays empty, so that its hash does not depend on any of this
//! and a prepared folder serves every state; the settings travel beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A backend and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// An S3 object, with a lock object beside it.
    S3(S3Backend),
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

impl Backend {
    /// Its name in configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Local { .. } => "local",
        }
    }

    /// The `backend` block of the root module, empty.
    pub fn block(&self) -> Value {
        json!({ self.kind(): {} })
    }

    /// Its settings, by terraform's names.
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
        }
        settings
    }

    /// Its settings as `-backend-config` takes them: texts as they are, all else as an expression.
    pub fn arguments(&self) -> BTreeMap<String, String> {
        self.settings()
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, super::literal(&other).to_string()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_everything_overridden() {
        let check = |backend: Backend, expect: &[&str]| {
            let arguments: Vec<String> =
                backend.arguments().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(arguments, expect);
        };
        check(Backend::Local { path: "/w/state.json".into() }, &["path=/w/state.json"]);
        let plain =
            S3Backend { bucket: "b".into(), key: "o/e/r.tfstate".into(), region: "r".into(), ..Default::default() };
        check(Backend::S3(plain.clone()), &["bucket=b", "key=o/e/r.tfstate", "region=r", "use_lockfile=true"]);
        let all = S3Backend {
            profile: Some("backend".into()),
            credentials_file: Some("/w/credentials".into()),
            emulated: true,
            ..plain
        };
        check(
            Backend::S3(all),
            &[
                "bucket=b",
                "key=o/e/r.tfstate",
                "profile=backend",
                "region=r",
                "shared_credentials_files=[\"/w/credentials\"]",
                "skip_credentials_validation=true",
                "skip_metadata_api_check=true",
                "skip_region_validation=true",
                "skip_requesting_account_id=true",
                "use_lockfile=true",
                "use_path_style=true",
            ],
        );
    }

    #[test]
    fn the_block_is_empty() {
        assert_eq!(Backend::S3(S3Backend::default()).block(), json!({"s3": {}}));
    }
}
