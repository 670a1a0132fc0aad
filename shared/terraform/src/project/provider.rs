//! Configuration of the AWS provider.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// What the AWS provider is told. It holds no credentials, only where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsProvider {
    /// Where resources are made.
    pub region: String,
    /// The profile in [`AwsProvider::credentials_file`]; the provider's own search, if `None`.
    pub profile: Option<String>,
    /// A shared credentials file.
    pub credentials_file: Option<PathBuf>,
    /// Whether AWS is emulated behind an endpoint URL: path-style addressing, and no checks that only AWS can answer.
    /// The URL itself reaches the provider as `AWS_ENDPOINT_URL`; see [`crate::process::Environment`].
    pub emulated: bool,
    /// Tags of everything that is made.
    pub default_tags: BTreeMap<String, String>,
}

impl AwsProvider {
    /// The provider block's arguments.
    pub fn config(&self) -> Map<String, Value> {
        let mut config = Map::from_iter([("region".to_owned(), json!(self.region))]);
        if let Some(profile) = &self.profile {
            config.insert("profile".to_owned(), json!(profile));
        }
        if let Some(file) = &self.credentials_file {
            config.insert("shared_credentials_files".to_owned(), json!([file.to_string_lossy()]));
        }
        if self.emulated {
            let flags = [
                "s3_use_path_style",
                "skip_credentials_validation",
                "skip_metadata_api_check",
                "skip_region_validation",
            ];
            config.extend(flags.map(|flag| (flag.to_owned(), json!(true))));
        }
        if !self.default_tags.is_empty() {
            config.insert("default_tags".to_owned(), json!({ "tags": self.default_tags }));
        }
        config
    }
}

/// A text that terraform's template language reads as itself.
pub fn escape(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_everything_overridden() {
        let plain = AwsProvider { region: "eu-central-1".to_owned(), ..AwsProvider::default() };
        assert_eq!(Value::Object(plain.config()), json!({"region": "eu-central-1"}));
        let all = AwsProvider {
            region: "eu-central-1".to_owned(),
            profile: Some("provider".to_owned()),
            credentials_file: Some("/w/credentials".into()),
            emulated: true,
            default_tags: BTreeMap::from([("owner".to_owned(), "orders".to_owned())]),
        };
        assert_eq!(
            Value::Object(all.config()),
            json!({
                "region": "eu-central-1", "profile": "provider", "shared_credentials_files": ["/w/credentials"],
                "s3_use_path_style": true, "skip_credentials_validation": true, "skip_metadata_api_check": true,
                "skip_region_validation": true, "default_tags": {"tags": {"owner": "orders"}}
            })
        );
    }

    #[test]
    fn templates_are_escaped() {
        assert_eq!(escape("a ${b} %{c} $d $${e}"), "a $${b} %%{c} $d $$${e}");
    }
}
