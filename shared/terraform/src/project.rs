//! Writes the root module of one resource: backend, providers, the template as a module, its outputs. All of it is
//! JSON, and values stand in a variables file, so no value is ever read as configuration.
//!
//! [`Project::files`] is pure; [`write()`] puts files into a folder.

mod backend;
mod credentials;
mod provider;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::module::Module;

pub use backend::{
    AzurermBackend, BACKEND_FILE, Backend, BackendCredentials, BackendCredentialsError, HttpBackend, RemoteBackend,
    S3Backend,
};
pub use credentials::{CREDENTIALS_FILE, Credentials, Profile, credentials_file, write_private};
pub use provider::{AwsProvider, escape};

/// The module call's name; a resource's address begins with `module.resource.`.
pub const MODULE: &str = "resource";

/// The folder that holds the template's files.
pub const MODULE_FOLDER: &str = "module";

/// The root module's only configuration file.
pub const ROOT_FILE: &str = "main.tf.json";

/// The values of its variables. Secret, where any of them is.
pub const VALUES_FILE: &str = "terraform.tfvars.json";

/// A root module to be written.
#[derive(Clone, Copy)]
pub struct Project<'a> {
    /// The template.
    pub module: &'a Module,
    /// The exact version of the engine that shall run it; any, if `None`.
    pub engine_version: Option<&'a str>,
    /// Values of the template's variables. Variables that are not named keep their default.
    pub inputs: &'a BTreeMap<String, Value>,
    /// Inputs that are secret although the template does not say so.
    pub sensitive_inputs: &'a BTreeSet<String>,
    /// The exact version of each provider, by its full address; any that its constraint allows, if it is not here.
    pub provider_versions: &'a BTreeMap<String, String>,
    /// Configuration of providers by local name, as JSON; texts in it are taken literally.
    pub providers: &'a BTreeMap<String, Map<String, Value>>,
    /// Where the state is.
    pub backend: &'a Backend,
}

impl Project<'_> {
    /// Path in the work folder → content.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.configuration();
        let values: Map<String, Value> =
            self.inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        files.insert(VALUES_FILE.to_owned(), pretty(&Value::Object(values)));
        files
    }

    /// The same without the values: all that `init` needs, and nothing secret.
    pub fn configuration(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files: BTreeMap<String, Vec<u8>> = self
            .module
            .files
            .iter()
            .map(|(path, content)| (format!("{MODULE_FOLDER}/{path}"), content.clone()))
            .collect();
        files.insert(ROOT_FILE.to_owned(), pretty(&self.root()));
        files
    }

    fn root(&self) -> Value {
        let mut root = Map::new();
        root.insert("terraform".to_owned(), self.settings());
        let providers: Map<String, Value> = self
            .providers
            .iter()
            .map(|(name, config)| (name.clone(), literal(&Value::Object(config.clone()))))
            .collect();
        insert_unless_empty(&mut root, "provider", providers);
        let variables = self.inputs.keys().map(|name| {
            let mut variable = Map::from_iter([("type".to_owned(), json!("any"))]);
            if self.is_sensitive(name) {
                variable.insert("sensitive".to_owned(), json!(true));
            }
            (name.clone(), Value::Object(variable))
        });
        insert_unless_empty(&mut root, "variable", variables.collect());
        let mut call = Map::from_iter([("source".to_owned(), json!(format!("./{MODULE_FOLDER}")))]);
        call.extend(self.inputs.keys().map(|name| (name.clone(), json!(format!("${{var.{name}}}")))));
        root.insert("module".to_owned(), json!({ MODULE: call }));
        insert_unless_empty(&mut root, "output", self.outputs());
        Value::Object(root)
    }

    fn settings(&self) -> Value {
        let mut settings = Map::new();
        if let Some(version) = self.engine_version {
            settings.insert("required_version".to_owned(), json!(format!("= {version}")));
        }
        let required: Map<String, Value> = self
            .module
            .interface
            .providers
            .iter()
            .map(|(name, provider)| {
                let mut entry = Map::from_iter([("source".to_owned(), json!(provider.source))]);
                if let Some(version) = self.provider_versions.get(&provider.source) {
                    entry.insert("version".to_owned(), json!(format!("= {version}")));
                }
                (name.clone(), Value::Object(entry))
            })
            .collect();
        insert_unless_empty(&mut settings, "required_providers", required);
        settings.insert("backend".to_owned(), self.backend.block());
        Value::Object(settings)
    }

    fn outputs(&self) -> Map<String, Value> {
        let interface = &self.module.interface;
        // The template's author could not know of these, so any output may be made of them; terraform refuses a root
        // output that holds a secret and does not say so.
        let undeclared = self.sensitive_inputs.iter().any(|name| {
            self.inputs.contains_key(name) && !interface.variables.get(name).is_some_and(|variable| variable.sensitive)
        });
        interface
            .outputs
            .iter()
            .map(|(name, output)| {
                let mut entry = Map::from_iter([("value".to_owned(), json!(format!("${{module.{MODULE}.{name}}}")))]);
                if output.sensitive || undeclared {
                    entry.insert("sensitive".to_owned(), json!(true));
                }
                (name.clone(), Value::Object(entry))
            })
            .collect()
    }

    fn is_sensitive(&self, name: &str) -> bool {
        let declared = self.module.interface.variables.get(name).is_some_and(|variable| variable.sensitive);
        declared || self.sensitive_inputs.contains(name)
    }
}

/// Writes files into `folder`, making it and what is below it. The values are for this user's eyes only.
pub fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for (path, content) in files {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        if path == VALUES_FILE {
            write_private(&target, content)?;
        } else {
            fs::write(&target, content)?;
        }
    }
    Ok(())
}

/// Removes all that is in `folder`. The folder itself stays, for those who work in it.
pub fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// JSON strings in configuration are templates to terraform: takes them literally, keys too.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape(text)),
        Value::Array(items) => Value::Array(items.iter().map(literal).collect()),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (escape(key), literal(value))).collect())
        }
        other => other.clone(),
    }
}

fn insert_unless_empty(into: &mut Map<String, Value>, name: &str, entries: Map<String, Value>) {
    if !entries.is_empty() {
        into.insert(name.to_owned(), Value::Object(entries));
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::module;

    const TEMPLATE: &str = r#"
        variable "name" { type = string }
        variable "password" {
          type      = string
          sensitive = true
        }
        resource "aws_s3_bucket" "it" { bucket = var.name }
        output "arn" { value = aws_s3_bucket.it.arn }
        output "password" {
          value     = var.password
          sensitive = true
        }
    "#;

    fn root(sensitive: &[&str]) -> Value {
        let files = BTreeMap::from([("main.tf".to_owned(), TEMPLATE.as_bytes().to_vec())]);
        let module = module::from_files(files, Engine::Terraform).expect("a template");
        let inputs =
            BTreeMap::from([("name".to_owned(), json!("${path.root}")), ("password".to_owned(), json!("hunter2"))]);
        let sensitive_inputs = sensitive.iter().map(|name| (*name).to_owned()).collect();
        let aws = json!({"region": "${x}", "default_tags": {"tags": {"%{k}": "$"}}});
        let project = Project {
            module: &module,
            engine_version: Some("1.11.4"),
            inputs: &inputs,
            sensitive_inputs: &sensitive_inputs,
            provider_versions: &BTreeMap::from([(
                "registry.terraform.io/hashicorp/aws".to_owned(),
                "5.100.0".to_owned(),
            )]),
            providers: &BTreeMap::from([("aws".to_owned(), aws.as_object().cloned().expect("an object"))]),
            backend: &Backend::Local { path: "state.json".into() },
        };
        let files = project.files();
        assert_eq!(files["module/main.tf"], TEMPLATE.as_bytes());
        let values: Value = serde_json::from_slice(&files[VALUES_FILE]).expect("values are JSON");
        assert_eq!(values, json!({"name": "${path.root}", "password": "hunter2"}));
        let text = String::from_utf8(files[ROOT_FILE].clone()).expect("UTF-8");
        assert!(!text.contains("hunter2") && !text.contains("path.root"), "values stay out of the configuration");
        serde_json::from_str(&text).expect("the root is JSON")
    }

    #[test]
    fn the_root_module_is_written() {
        assert_eq!(
            root(&[]),
            json!({
                "terraform": {
                    "required_version": "= 1.11.4",
                    "required_providers": {"aws": {"source": "registry.terraform.io/hashicorp/aws", "version": "= 5.100.0"}},
                    "backend": {"local": {}}
                },
                "provider": {"aws": {"region": "$${x}", "default_tags": {"tags": {"%%{k}": "$"}}}},
                "variable": {"name": {"type": "any"}, "password": {"type": "any", "sensitive": true}},
                "module": {"resource": {"source": "./module", "name": "${var.name}", "password": "${var.password}"}},
                "output": {
                    "arn": {"value": "${module.resource.arn}"},
                    "password": {"value": "${module.resource.password}", "sensitive": true}
                }
            })
        );
    }

    #[test]
    fn an_input_that_is_secret_unknown_to_the_template_makes_every_output_secret() {
        let root = root(&["name"]);
        assert_eq!(root["variable"]["name"]["sensitive"], json!(true));
        assert_eq!(root["output"]["arn"]["sensitive"], json!(true));
    }

    #[test]
    fn a_folder_is_emptied_and_stays() {
        let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::write(other.path().join("kept"), "").expect("a file elsewhere");
        fs::create_dir_all(folder.path().join("module/deep")).expect("folders");
        fs::write(folder.path().join("module/deep/a.tf"), "").expect("a file");
        fs::write(folder.path().join("credentials"), "").expect("a file");
        std::os::unix::fs::symlink(other.path(), folder.path().join("link")).expect("a link");
        std::os::unix::fs::symlink("nowhere", folder.path().join("broken")).expect("a link");
        empty(folder.path()).expect("emptied");
        assert_eq!(fs::read_dir(folder.path()).expect("it stays").count(), 0);
        assert!(other.path().join("kept").exists(), "links are not followed");
    }

    #[test]
    fn values_are_written_for_this_user_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let files =
            BTreeMap::from([(VALUES_FILE.to_owned(), b"{}".to_vec()), ("module/deep/a.tf".to_owned(), b"#".to_vec())]);
        write(folder.path(), &files).expect("files are written");
        let mode = fs::metadata(folder.path().join(VALUES_FILE)).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read(folder.path().join("module/deep/a.tf")).expect("the file"), b"#");
    }
}
