//! The types of resources that a run may need of its providers: those that its template names, in every module that it
//! calls, and those that its state holds. Pure. Where that cannot be known for sure, there is no answer.

use std::collections::BTreeSet;

use super::Module;
use super::syntax::Section;
use super::tree;
use crate::engine::Engine;
use crate::state::State;

/// Types by what they are types of. Those of other providers are among them, and do no harm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Of resources.
    pub resources: BTreeSet<String>,
    /// Of data sources.
    pub data: BTreeSet<String>,
    /// Of ephemeral resources.
    pub ephemeral: BTreeSet<String>,
}

impl Needs {
    /// What terraform needs to run this template, where this is what the state holds. `None` where a module is called
    /// that is not in the archive, or something else is there that may need types which are not named: an `import` may
    /// make resources of another type than its own.
    pub fn of(module: &Module, state: Option<&State>) -> Option<Self> {
        if module.calls_others {
            return None;
        }
        let mut needs = Self::default();
        for folder in tree::read(&module.files, Engine::Terraform).ok()? {
            for (_, parsed) in &folder.files {
                for section in parsed.sections() {
                    needs.read(&section)?;
                }
            }
        }
        if let Some(state) = state {
            needs.resources.extend(state.managed_types.iter().cloned());
            needs.data.extend(state.data_types.iter().cloned());
        }
        Some(needs)
    }

    fn read(&mut self, section: &Section<'_>) -> Option<()> {
        match (section.kind, section.labels.as_slice()) {
            ("resource", [kind, _]) => {
                self.resources.insert((*kind).to_owned());
            }
            ("data", [kind, _]) => {
                self.data.insert((*kind).to_owned());
            }
            ("ephemeral", [kind, _]) => {
                self.ephemeral.insert((*kind).to_owned());
            }
            ("check", _) => {
                section.sections.iter().filter(|inner| inner.kind == "data").try_for_each(|data| self.read(data))?
            }
            // What is moved or removed is in the state; where it is moved to another type, that is in the template.
            ("module" | "terraform" | "variable" | "locals" | "output" | "moved" | "removed", _) => {}
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::module;
    use crate::state;

    fn needs(entries: &[(&str, &str)], state: Option<&State>) -> Option<Needs> {
        let files = entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        Needs::of(&module::from_files(files, Engine::Terraform).expect("a template"), state)
    }

    #[track_caller]
    fn check(entries: &[(&str, &str)], resources: &[&str], data: &[&str], ephemeral: &[&str]) {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expect = Needs { resources: set(resources), data: set(data), ephemeral: set(ephemeral) };
        assert_eq!(needs(entries, None), Some(expect));
    }

    #[track_caller]
    fn is_unknown(entries: &[(&str, &str)]) {
        assert_eq!(needs(entries, None), None, "{entries:?}");
    }

    const HCL: &str = r#"
        terraform {
          required_providers { aws = { source = "hashicorp/aws" } }
        }
        variable "name" { type = string }
        locals { name = "${var.name}-${data.aws_region.here.name}" }
        resource "aws_s3_bucket" "it" {
          bucket = local.name
          lifecycle { create_before_destroy = true }
        }
        resource aws_s3_bucket_policy it {}
        data "aws_region" "here" {}
        ephemeral "aws_secretsmanager_secret_version" "it" { secret_id = "x" }
        output "name" { value = aws_s3_bucket.it.bucket }
        moved {
          from = aws_s3_bucket.old
          to   = aws_s3_bucket.it
        }
        removed {
          from = aws_sqs_queue.old
          lifecycle { destroy = false }
        }
    "#;

    const JSON: &str = r#"{
        "//": "a comment",
        "variable": {"name": {"type": "string"}},
        "locals": {"name": "x"},
        "resource": [
            {"aws_s3_bucket": {"it": [{"bucket": "${var.name}"}]}},
            {"aws_s3_bucket_policy": {"it": {}}}
        ],
        "data": {"aws_region": {"here": {}}},
        "ephemeral": {"aws_secretsmanager_secret_version": {"it": {"secret_id": "x"}}},
        "moved": [{"from": "aws_s3_bucket.old", "to": "aws_s3_bucket.it"}]
    }"#;

    #[test]
    fn both_forms_name_their_types() {
        let resources = ["aws_s3_bucket", "aws_s3_bucket_policy"];
        for (file, text) in [("main.tf", HCL), ("main.tf.json", JSON)] {
            check(&[(file, text)], &resources, &["aws_region"], &["aws_secretsmanager_secret_version"]);
        }
    }

    #[test]
    fn modules_inside_of_the_archive_are_followed() {
        let entries = [
            ("main.tf", "module \"a\" {\n source = \"./parts/a\"\n}\n"),
            ("main_override.tf", "module \"a\" {\n count = 2\n}\n"),
            ("parts/a/main.tf", "resource \"aws_sqs_queue\" \"q\" {}\nmodule \"b\" {\n source = \"../b\"\n}\n"),
            ("parts/b/main.tf.json", r#"{"data": {"aws_region": {"r": {}}}, "module": {"a": {"source": "../a"}}}"#),
            ("examples/main.tf", "provider \"aws\" {}\nresource \"aws_instance\" \"i\" {}\n"),
        ];
        check(&entries, &["aws_sqs_queue"], &["aws_region"], &[]);
    }

    #[test]
    fn a_check_reads_data_sources() {
        let assert = " assert {\n condition = true\n error_message = \"x\"\n }\n";
        let text = format!("check \"up\" {{\n data \"http\" \"page\" {{}}\n{assert}}}\n");
        check(&[("main.tf", &text)], &[], &["http"], &[]);
        let text = r#"{"check": {"up": {"data": {"http": {"page": {}}}, "assert": {"condition": true}}}}"#;
        check(&[("main.tf.json", text)], &[], &["http"], &[]);
    }

    #[test]
    fn what_the_state_holds_is_needed_too() {
        let content = json!({"version": 4, "serial": 1, "resources": [
            {"mode": "managed", "type": "aws_sqs_queue", "name": "gone", "instances": [{}]},
            {"mode": "data", "type": "aws_caller_identity", "name": "me", "instances": [{}]},
        ]});
        let state = state::parse(content.to_string().as_bytes()).expect("a state");
        let found = needs(&[("main.tf", "resource \"aws_s3_bucket\" \"it\" {}\n")], Some(&state)).expect("known");
        assert_eq!(found.resources.iter().collect::<Vec<_>>(), ["aws_s3_bucket", "aws_sqs_queue"]);
        assert_eq!(found.data.iter().collect::<Vec<_>>(), ["aws_caller_identity"]);
        assert!(found.ephemeral.is_empty());
    }

    #[test]
    fn what_is_not_all_known_has_no_answer() {
        is_unknown(&[("main.tf", "module \"a\" {\n source = \"terraform-aws-modules/s3-bucket/aws\"\n}\n")]);
        is_unknown(&[("main.tf", "module \"a\" {\n source = \"git::https://example.com/a.git\"\n}\n")]);
        is_unknown(&[("main.tf.json", r#"{"module": {"a": {"source": "hashicorp/consul/aws"}}}"#)]);
        is_unknown(&[
            ("main.tf", "module \"a\" {\n source = \"./a\"\n}\n"),
            ("a/main.tf", "module \"b\" {\n source = \"example.com/b\"\n}\n"),
        ]);
        is_unknown(&[("main.tf", "import {\n to = aws_s3_bucket.it\n id = \"it\"\n}\n")]);
        is_unknown(&[("main.tf", "action \"aws_lambda_invoke\" \"it\" {}\n")]);
        is_unknown(&[("main.tf.json", r#"{"import": [{"to": "aws_s3_bucket.it", "id": "it"}]}"#)]);
        is_unknown(&[("main.tf.json", r#"{"whatever": {}}"#)]);
    }
}
