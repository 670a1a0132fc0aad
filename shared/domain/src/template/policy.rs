//! What the templates of an organisation may do: what was found in a module is judged by the organisation's policy.

mod versions;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::code::Fault;
use versions::Range;

/// The most findings that a version keeps, and that a refusal names.
pub const MAX_FINDINGS: usize = 100;

/// The most providers, and the most module sources, of a policy.
const MAX_LISTED: usize = 100;
/// The longest text of a policy's lists, in bytes.
const MAX_TEXT: usize = 256;

/// What a rule does with what it finds.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing.
    Allow,
    /// The version is published, and the finding stays with it.
    Warn,
    /// The version is refused.
    Deny,
}

/// A rule of a policy.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Programs that run where terraform runs.
    LocalExec,
    /// Programs and files that are sent to another machine.
    RemoteExec,
    /// Data that a program gives.
    ExternalData,
    /// Data that an HTTP server gives.
    HttpData,
    /// Called modules that are not in the archive and not on the list.
    ModuleSources,
    /// Files outside of the module.
    Files,
    /// Providers that are not on the list, and settings for providers.
    Providers,
}

impl Rule {
    /// The code of its findings in a refusal.
    pub fn code(self) -> &'static str {
        match self {
            Rule::LocalExec => "local_exec",
            Rule::RemoteExec => "remote_exec",
            Rule::ExternalData => "external_data",
            Rule::HttpData => "http_data",
            Rule::ModuleSources => "module_sources",
            Rule::Files => "files",
            Rule::Providers => "providers",
        }
    }
}

/// What each rule does.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rules {
    /// `provisioner "local-exec"`, `local_command`; `deny` where nothing is said.
    pub local_exec: Verdict,
    /// `provisioner "remote-exec"`, `provisioner "file"`, `connection`; `deny` where nothing is said.
    pub remote_exec: Verdict,
    /// `data "external"`; `deny` where nothing is said.
    pub external_data: Verdict,
    /// `data "http"`; `warn` where nothing is said.
    pub http_data: Verdict,
    /// Called modules that are neither in the archive nor listed; `deny` where nothing is said.
    pub module_sources: Verdict,
    /// Files and states outside of the module; `deny` where nothing is said.
    pub files: Verdict,
    /// Providers that are not listed; `warn` where nothing is said.
    pub providers: Verdict,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            local_exec: Verdict::Deny,
            remote_exec: Verdict::Deny,
            external_data: Verdict::Deny,
            http_data: Verdict::Warn,
            module_sources: Verdict::Deny,
            files: Verdict::Deny,
            providers: Verdict::Warn,
        }
    }
}

impl Rules {
    /// What a rule does.
    pub fn action(&self, rule: Rule) -> Verdict {
        match rule {
            Rule::LocalExec => self.local_exec,
            Rule::RemoteExec => self.remote_exec,
            Rule::ExternalData => self.external_data,
            Rule::HttpData => self.http_data,
            Rule::ModuleSources => self.module_sources,
            Rule::Files => self.files,
            Rule::Providers => self.providers,
        }
    }
}

/// A provider that templates may need.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedProvider {
    /// Full source address, such as `registry.terraform.io/hashicorp/aws`.
    pub source: String,
    /// What a template's version constraint must lie within, in terraform's words; any where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<String>,
}

/// What a user says of the templates of an organisation; the body of the policy's PUT.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PolicySpec {
    /// What each rule does.
    pub rules: Rules,
    /// The providers that templates may need; where there is none, every provider.
    pub providers: Vec<AllowedProvider>,
    /// What the source of a called module may begin with, as the module writes it: `app.terraform.io/acme/`.
    pub module_sources: Vec<String>,
}

/// The policy of an organisation for its templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplatePolicy {
    /// What the user said.
    #[serde(flatten)]
    pub spec: PolicySpec,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Something that a module does, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What it does.
    pub what: What,
    /// The file in the archive.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// What stands there, for a person.
    pub detail: String,
}

/// What a module can do that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Runs a program where terraform runs.
    LocalExec,
    /// Works on another machine.
    RemoteExec,
    /// Takes data from a program.
    ExternalData,
    /// Takes data from an HTTP server.
    HttpData,
    /// Calls a module that is not in the archive.
    ModuleSource {
        /// Where it comes from, as the module writes it.
        source: String,
    },
    /// Reaches files outside of the module.
    Files,
    /// Needs a provider.
    Provider {
        /// Full source address.
        source: String,
        /// Version constraint in terraform's words; empty for any.
        versions: String,
    },
    /// Sends settings of its own to a provider.
    ProviderSettings,
}

impl What {
    fn rule(&self) -> Rule {
        match self {
            What::LocalExec => Rule::LocalExec,
            What::RemoteExec => Rule::RemoteExec,
            What::ExternalData => Rule::ExternalData,
            What::HttpData => Rule::HttpData,
            What::ModuleSource { .. } => Rule::ModuleSources,
            What::Files => Rule::Files,
            What::Provider { .. } | What::ProviderSettings => Rule::Providers,
        }
    }
}

/// What a rule found in a template.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What it did.
    pub action: Verdict,
    /// The file in the archive.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// What was found.
    pub detail: String,
}

impl From<&Finding> for Fault {
    fn from(finding: &Finding) -> Self {
        let Finding { rule, file, line, detail, .. } = finding;
        Fault {
            code: Some(rule.code().to_owned()),
            line: Some(*line),
            ..Fault::at(format!("{file}:{line}"), format!("{file}:{line}: {detail}"))
        }
    }
}

impl PolicySpec {
    /// What is to be said of a module that does this; what is allowed is not.
    pub fn judge(&self, uses: &[Use]) -> Vec<Finding> {
        uses.iter().filter_map(|made| self.finding(made)).collect()
    }

    fn finding(&self, made: &Use) -> Option<Finding> {
        let rule = made.what.rule();
        let action = self.rules.action(rule);
        if action == Verdict::Allow {
            return None;
        }
        let more = match &made.what {
            What::ModuleSource { source } => self.module_fault(source)?,
            What::Provider { source, versions } => self.provider_fault(source, versions)?,
            _ => String::new(),
        };
        let detail = format!("{}{more}", made.detail);
        Some(Finding { rule, action, file: made.file.clone(), line: made.line, detail })
    }

    fn module_fault(&self, source: &str) -> Option<String> {
        let rest = self.module_sources.iter().find_map(|listed| source.strip_prefix(listed.as_str()));
        match rest {
            Some(rest) if stays_below(rest) => None,
            _ => Some(", which is neither in the archive nor on the policy's list".to_owned()),
        }
    }

    fn provider_fault(&self, source: &str, versions: &str) -> Option<String> {
        if self.providers.is_empty() {
            return None;
        }
        let Some(listed) = self.providers.iter().find(|listed| listed.source == source) else {
            return Some(", which is not on the policy's list".to_owned());
        };
        let allowed = listed.versions.as_deref()?;
        let within = Range::parse(versions).zip(Range::parse(allowed));
        if within.is_some_and(|(asked, allowed)| asked.is_within(&allowed)) {
            return None;
        }
        let asked = if versions.is_empty() { "any version".to_owned() } else { format!("versions {versions}") };
        Some(format!(" in {asked}; the policy allows {allowed}"))
    }

    /// What is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, listed) in [("providers", self.providers.len()), ("moduleSources", self.module_sources.len())] {
            if listed > MAX_LISTED {
                faults.push(Fault {
                    code: Some("too_many_listed".to_owned()),
                    ..Fault::at(format!("/{name}"), format!("has {listed} entries; {MAX_LISTED} are allowed"))
                });
            }
        }
        let mut sources = BTreeSet::new();
        for (index, AllowedProvider { source, versions }) in self.providers.iter().enumerate() {
            let at = |field: &str| format!("/providers/{index}/{field}");
            if !is_address(source) {
                let rule = "must be a full source address in lower case, such as registry.terraform.io/hashicorp/aws";
                faults.push(Fault::at(at("source"), rule));
            } else if !sources.insert(source) {
                faults.push(Fault::at(at("source"), format!("{source} is listed twice")));
            }
            let constraint = |text: &str| text.len() <= MAX_TEXT && Range::parse(text).is_some();
            if versions.as_deref().is_some_and(|text| !constraint(text)) {
                faults.push(Fault::at(at("versions"), "must be a version constraint, such as >= 5.0, < 6.0"));
            }
        }
        for (index, source) in self.module_sources.iter().enumerate() {
            let text = source.len() <= MAX_TEXT && source.chars().all(|c| c.is_ascii_graphic());
            if !text || source.trim_end_matches('/').is_empty() || !source.ends_with('/') || source.starts_with('.') {
                let rule = "must be what sources of modules begin with, and end with a slash: app.terraform.io/acme/";
                faults.push(Fault::at(format!("/moduleSources/{index}"), rule));
            }
        }
        faults
    }
}

/// Whether what follows a listed beginning can only name something below it: nothing in it goes up, is encoded, or
/// names another host.
fn stays_below(rest: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/?=&+".contains(c);
    !rest.is_empty() && rest.chars().all(plain) && !rest.contains("..")
}

/// `host/namespace/type`, in lower case.
fn is_address(source: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.:".contains(c);
    let parts: Vec<&str> = source.split('/').collect();
    source.len() <= MAX_TEXT && parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(spec: Value) -> PolicySpec {
        serde_json::from_value(spec).expect("a policy")
    }

    fn made(what: What) -> Use {
        Use { what, file: "main.tf".to_owned(), line: 7, detail: "it does something".to_owned() }
    }

    fn provider(versions: &str) -> What {
        What::Provider { source: "registry.terraform.io/hashicorp/aws".to_owned(), versions: versions.to_owned() }
    }

    #[test]
    fn where_nothing_is_said_programs_files_and_foreign_modules_are_denied() {
        let check = |what: What, expect: Option<Verdict>| {
            let found = PolicySpec::default().judge(&[made(what.clone())]);
            assert_eq!(found.first().map(|finding| finding.action), expect, "{what:?}");
        };
        check(What::LocalExec, Some(Verdict::Deny));
        check(What::RemoteExec, Some(Verdict::Deny));
        check(What::ExternalData, Some(Verdict::Deny));
        check(What::HttpData, Some(Verdict::Warn));
        check(What::ModuleSource { source: "acme/vpc/aws".to_owned() }, Some(Verdict::Deny));
        check(What::Files, Some(Verdict::Deny));
        check(What::ProviderSettings, Some(Verdict::Warn));
        check(provider(""), None);
    }

    #[test]
    fn each_rule_does_what_the_policy_says_and_no_other_rule_does() {
        let cases = [
            (Rule::LocalExec, What::LocalExec),
            (Rule::RemoteExec, What::RemoteExec),
            (Rule::ExternalData, What::ExternalData),
            (Rule::HttpData, What::HttpData),
            (Rule::ModuleSources, What::ModuleSource { source: "acme/vpc/aws".to_owned() }),
            (Rule::Files, What::Files),
            (Rule::Providers, What::ProviderSettings),
        ];
        for (rule, what) in &cases {
            for (action, expect) in [("allow", None), ("warn", Some(Verdict::Warn)), ("deny", Some(Verdict::Deny))] {
                let mut rules: serde_json::Map<String, Value> = cases
                    .iter()
                    .map(|(rule, _)| (serde_json::to_value(rule).expect("a name"), json!("allow")))
                    .map(|(name, action)| (name.as_str().expect("a text").to_owned(), action))
                    .collect();
                let name = serde_json::to_value(rule).expect("a name");
                rules.insert(name.as_str().expect("a text").to_owned(), json!(action));
                let found = policy(json!({"rules": rules})).judge(&[made(what.clone())]);
                let found = found.first().map(|finding| (finding.rule, finding.action));
                assert_eq!(found, expect.map(|action| (*rule, action)), "{rule:?} {action}");
            }
        }
    }

    #[test]
    fn a_provider_on_the_list_is_no_finding_while_its_versions_are_allowed() {
        let check = |listed: Value, versions: &str, expect: bool| {
            let found = policy(json!({"providers": listed})).judge(&[made(provider(versions))]);
            assert_eq!(found.is_empty(), expect, "{listed} {versions:?}: {found:?}");
        };
        let aws = "registry.terraform.io/hashicorp/aws";
        check(json!([]), "", true);
        check(json!([{"source": aws}]), "", true);
        check(json!([{"source": "registry.terraform.io/hashicorp/random"}]), "", false);
        check(json!([{"source": "registry.opentofu.org/hashicorp/aws"}]), "", false);
        check(json!([{"source": aws, "versions": ">= 5.0"}]), "~> 5.100", true);
        check(json!([{"source": aws, "versions": ">= 5.0"}]), ">= 4.0", false);
        check(json!([{"source": aws, "versions": ">= 5.0"}]), "", false);
        check(json!([{"source": aws, "versions": ">= 5.0"}]), "no constraint", false);
    }

    #[test]
    fn a_module_is_on_the_list_only_where_nothing_after_the_beginning_leads_elsewhere() {
        let check = |listed: &str, source: &str, expect: bool| {
            let what = What::ModuleSource { source: source.to_owned() };
            let found = policy(json!({"moduleSources": [listed]})).judge(&[made(what)]);
            assert_eq!(found.is_empty(), expect, "{listed} {source}");
        };
        check("app.terraform.io/acme/", "app.terraform.io/acme/vpc/aws", true);
        check("app.terraform.io/acme/", "app.terraform.io/acme-evil/vpc/aws", false);
        check("app.terraform.io/acme/", "app.terraform.io/acme/", false);
        check("git::https://git.acme.example/", "git::https://git.acme.example/vpc.git//sub?ref=v1.2", true);
        check("git::https://git.acme.example/", "git::https://git.acme.example.evil/vpc.git", false);
        check("git::https://git.acme.example/ops/", "git::https://git.acme.example/ops/../evil/vpc.git", false);
        check("git::https://git.acme.example/ops/", "git::https://git.acme.example/ops/%2e%2e/evil/vpc.git", false);
        check("git::https://git.acme.example/ops/", "git::https://git.acme.example/ops/\\..\\evil", false);
        check("git::https://", "git::https://user@evil/vpc.git", false);
    }

    #[test]
    fn a_finding_names_file_and_line() {
        let found = PolicySpec::default().judge(&[made(What::LocalExec)]);
        let fault = Fault::from(&found[0]);
        let expect = Fault {
            pointer: "main.tf:7".to_owned(),
            detail: "main.tf:7: it does something".to_owned(),
            code: Some("local_exec".to_owned()),
            line: Some(7),
            column: None,
        };
        assert_eq!(fault, expect);
    }

    #[test]
    fn a_policy_that_could_not_mean_what_it_says_is_refused() {
        let check = |spec: Value, expect: &[&str]| {
            let faults = policy(spec.clone()).faults();
            let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(found, expect, "{spec}");
        };
        let aws = json!({"source": "registry.terraform.io/hashicorp/aws", "versions": "~> 5.0"});
        check(json!({}), &[]);
        check(json!({"providers": [aws], "moduleSources": ["acme/", "git::ssh://git@acme.example/"]}), &[]);
        check(json!({"providers": [aws, aws]}), &["/providers/1/source"]);
        check(json!({"providers": [{"source": "hashicorp/aws"}]}), &["/providers/0/source"]);
        check(json!({"providers": [{"source": "registry.terraform.io/HashiCorp/aws"}]}), &["/providers/0/source"]);
        check(json!({"providers": [{"source": "a/b/c", "versions": "latest"}]}), &["/providers/0/versions"]);
        for source in ["", "/", "acme", "./", "../x/", "a b/"] {
            check(json!({"moduleSources": [source]}), &["/moduleSources/0"]);
        }
        check(json!({"moduleSources": vec!["a/"; 101]}), &["/moduleSources"]);
        let unknown = json!({"rules": {"localExec": "deny", "exec": "deny"}});
        assert!(serde_json::from_value::<PolicySpec>(unknown).is_err());
    }
}
