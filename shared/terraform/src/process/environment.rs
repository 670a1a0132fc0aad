//! Terraform's environment, built from nothing. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

/// Where `local-exec` and `external` find programs, if nothing else is said.
pub(crate) const SEARCH: &str = "/usr/bin:/bin";

/// What terraform's environment holds beside what every run needs. Nothing of this process's own environment is in it,
/// and credentials are not meant for it: they stand in a file of the work folder.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `AWS_ENDPOINT_URL`, where AWS is emulated.
    pub endpoint_url: Option<String>,
    /// `PATH`; `/usr/bin:/bin` if `None`.
    pub search: Option<String>,
    /// Anything else; wins over all but the variables that keep terraform in its place.
    pub more: BTreeMap<String, String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("endpoint_url", &self.endpoint_url)
            .field("more", &self.more.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// Every variable of a run in `work`.
    pub fn variables(&self, work: &Path, cli_config: &Path) -> BTreeMap<OsString, OsString> {
        let mut variables: BTreeMap<OsString, OsString> = BTreeMap::from([
            ("PATH".into(), self.search.as_deref().unwrap_or(SEARCH).into()),
            ("AWS_EC2_METADATA_DISABLED".into(), "true".into()),
        ]);
        variables.extend(self.more.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        if let Some(url) = &self.endpoint_url {
            variables.insert("AWS_ENDPOINT_URL".into(), url.into());
        }
        for (name, value) in [
            ("HOME", work.as_os_str()),
            ("TMPDIR", work.as_os_str()),
            ("TF_CLI_CONFIG_FILE", cli_config.as_os_str()),
            ("TF_IN_AUTOMATION", "1".as_ref()),
            ("TF_INPUT", "0".as_ref()),
            ("CHECKPOINT_DISABLE", "1".as_ref()),
        ] {
            variables.insert(name.into(), value.to_owned());
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &Environment, expect: &str) {
        let variables = environment.variables(Path::new("/w"), Path::new("/c.tfrc"));
        let lines: Vec<String> =
            variables.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        assert_eq!(lines.join(" "), expect);
    }

    #[test]
    fn defaults_and_everything_overridden() {
        check(
            &Environment::default(),
            "AWS_EC2_METADATA_DISABLED=true CHECKPOINT_DISABLE=1 HOME=/w PATH=/usr/bin:/bin TF_CLI_CONFIG_FILE=/c.tfrc \
             TF_INPUT=0 TF_IN_AUTOMATION=1 TMPDIR=/w",
        );
        let all = Environment {
            endpoint_url: Some("http://127.0.0.1:4566".to_owned()),
            search: Some("/p".to_owned()),
            more: BTreeMap::from([("HOME".to_owned(), "/root".to_owned()), ("TF_LOG".to_owned(), "debug".to_owned())]),
        };
        check(
            &all,
            "AWS_EC2_METADATA_DISABLED=true AWS_ENDPOINT_URL=http://127.0.0.1:4566 CHECKPOINT_DISABLE=1 HOME=/w PATH=/p \
             TF_CLI_CONFIG_FILE=/c.tfrc TF_INPUT=0 TF_IN_AUTOMATION=1 TF_LOG=debug TMPDIR=/w",
        );
    }
}
