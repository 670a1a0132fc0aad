//! What an environment's secret gives to providers of other clouds: variables of terraform's environment. Pure.
//!
//! It may hold credentials, and none of the variables that are known to decide what runs, where its files are or whom it speaks to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

/// The most variables that a secret may have, and the longest name and value of one, in bytes. AWS takes no secret over
/// 64 KiB.
const MAX_VARIABLES: usize = 64;
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 16 * 1024;
/// How much of a name is shown that is none.
const SHOWN: usize = 40;

/// Names that no secret may set, and why: `*` stands for any characters. The list is in `docs/operations.md` too.
const RESERVED: [(&str, &[&str]); 5] = [
    ("it tells terraform how to work", &["TF_*", "TERRAFORM_*", "TOFU_*", "CHECKPOINT_*", "PLUGIN_*"]),
    ("rights in AWS come from the environment's role", &["AWS_*"]),
    (
        "it decides which programs run",
        &[
            "PATH",
            "SHELL",
            "SHELLOPTS",
            "ENV",
            "IFS",
            "PS4",
            "BASH*",
            "LD_*",
            "DYLD_*",
            "GLIBC_TUNABLES",
            "GCONV_PATH",
            "GIT_*",
            "SSH_*",
            "OPENSSL_*",
            "HELM_*",
            "KUBECONFIG",
            "KUBE_CONFIG_PATH*",
            "DOCKER_CONFIG",
            "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES",
            "GODEBUG",
            "PYTHON*",
            "PERL*",
            "RUBY*",
            "NODE_*",
            "JAVA_*",
            "JDK_*",
        ],
    ),
    ("it decides where files are", &["HOME", "PWD", "OLDPWD", "CDPATH", "TMPDIR", "TMP", "TEMP", "XDG_*"]),
    (
        "it decides whom providers speak to",
        &[
            "*_PROXY",
            "SSL_CERT_*",
            "CURL_*",
            "REQUESTS_CA_BUNDLE",
            "DOCKER_HOST",
            "DOCKER_CONTEXT",
            "DOCKER_CERT_PATH",
            "HOSTALIASES",
            "LOCALDOMAIN",
            "RES_OPTIONS",
        ],
    ),
];

/// Why a secret gives no variables. Shows names, and nothing of a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VariablesError {
    /// It is no JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// It has too many.
    #[error("it has {0} variables; {MAX_VARIABLES} are allowed")]
    TooMany(usize),
    /// A name that is none.
    #[error("{0:?} is not a variable's name: A to Z, 0 to 9 and '_', no digit first, at most {MAX_NAME} characters")]
    Name(String),
    /// A name that is not free.
    #[error("{name} cannot be set: {why}")]
    Reserved {
        /// The variable.
        name: String,
        /// What it is for.
        why: &'static str,
    },
    /// A value that is no text, or none that an environment can have.
    #[error("{0} must be a text of 1 to {MAX_VALUE} bytes without NUL")]
    Value(String),
}

/// Reads a JSON object of texts.
pub fn parse(content: &str) -> Result<BTreeMap<String, String>, VariablesError> {
    let entries: Map<String, Value> = serde_json::from_str(content).map_err(|_| VariablesError::NotAnObject)?;
    if entries.len() > MAX_VARIABLES {
        return Err(VariablesError::TooMany(entries.len()));
    }
    entries.into_iter().map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: String, value: Value) -> Result<(String, String), VariablesError> {
    if !is_name(&name) {
        return Err(VariablesError::Name(name.chars().take(SHOWN).collect()));
    }
    if let Some(why) = reserved(&name) {
        return Err(VariablesError::Reserved { name, why });
    }
    match value {
        Value::String(text) if (1..=MAX_VALUE).contains(&text.len()) && !text.contains('\0') => Ok((name, text)),
        _ => Err(VariablesError::Value(name)),
    }
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let digit_first = name.starts_with(|first: char| first.is_ascii_digit());
    (1..=MAX_NAME).contains(&name.len()) && !digit_first && name.bytes().all(known)
}

/// What a name is for that is not free.
fn reserved(name: &str) -> Option<&'static str> {
    let is_meant = |pattern: &&str| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == *pattern,
    };
    RESERVED.iter().find(|(_, patterns)| patterns.iter().any(is_meant)).map(|(why, _)| *why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_of_other_clouds_are_taken_as_they_are() {
        let content = json!({
            "ARM_CLIENT_SECRET": "hunter2",
            "GOOGLE_CREDENTIALS": "{\n\"type\": \"service_account\"}",
            "GITHUB_TOKEN": "ghp",
            "KUBE_HOST": "https://k8s.example.com",
            "_X1": "y",
        });
        let variables = parse(&content.to_string()).expect("variables");
        assert_eq!(variables.len(), 5);
        assert_eq!(variables["GOOGLE_CREDENTIALS"], "{\n\"type\": \"service_account\"}");
        assert_eq!(parse("{}"), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_decides_over_a_run_cannot_be_set() {
        let check = |name: &str, free: bool| {
            let parsed = parse(&json!({name: "hunter2"}).to_string());
            match parsed {
                Ok(_) => assert!(free, "{name}"),
                Err(error) => {
                    assert!(!free && matches!(error, VariablesError::Reserved { .. }), "{name}: {error}");
                    let shown = error.to_string();
                    assert!(shown.starts_with(name) && !shown.contains("hunter2"), "{shown}");
                }
            }
        };
        for name in [
            "TF_LOG",
            "TF_VAR_X",
            "TF_CLI_ARGS",
            "TF_REATTACH_PROVIDERS",
            "TERRAFORM_CONFIG",
            "AWS_ACCESS_KEY_ID",
            "AWS_PROFILE",
            "PATH",
            "LD_PRELOAD",
            "BASH_ENV",
            "HOME",
            "TMPDIR",
            "HTTPS_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "GIT_SSH_COMMAND",
            "PYTHONPATH",
            "OPENSSL_CONF",
            "SSH_ASKPASS",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "KUBECONFIG",
            "KUBE_CONFIG_PATH",
            "KUBE_CONFIG_PATHS",
            "HELM_PLUGINS_PATH",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES",
        ] {
            check(name, false);
        }
        for name in [
            "PATHS",
            "ARM_TENANT_ID",
            "GITLAB_TOKEN",
            "GOOGLE_PROJECT",
            "HOMEBREW",
            "PROXY",
            "TFE_TOKEN",
            "KUBE_TOKEN",
            "DOCKER_REGISTRY_PASS",
        ] {
            check(name, true);
        }
    }

    #[test]
    fn what_is_no_variable_is_refused_and_named() {
        let long = "x".repeat(MAX_VALUE + 1);
        let check = |content: &str, expect: VariablesError| assert_eq!(parse(content), Err(expect), "{content}");
        check("", VariablesError::NotAnObject);
        check("[]", VariablesError::NotAnObject);
        check("\"text\"", VariablesError::NotAnObject);
        for name in ["", "arm_client_id", "A-B", "1A", "A=B", "A B", "Ä"] {
            check(&json!({name: "x"}).to_string(), VariablesError::Name(name.to_owned()));
        }
        let name = "A".repeat(MAX_NAME + 1);
        let shown = name[..SHOWN].to_owned();
        check(&json!({name: "x"}).to_string(), VariablesError::Name(shown));
        for value in [json!(1), json!(null), json!(["x"]), json!(""), json!("a\0b"), json!(long)] {
            check(&json!({"TOKEN": value}).to_string(), VariablesError::Value("TOKEN".to_owned()));
        }
        let many: Map<String, Value> = (0..=MAX_VARIABLES).map(|number| (format!("A{number}"), json!("x"))).collect();
        check(&Value::Object(many).to_string(), VariablesError::TooMany(MAX_VARIABLES + 1));
    }
}
