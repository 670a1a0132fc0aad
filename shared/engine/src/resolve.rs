//! A file against the templates and the environment: which template, version and parameters each name gets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use conductor_domain::application::Application;
use conductor_domain::code::Fault;
use conductor_domain::consumer::HoldingKey;
use conductor_domain::environment::{Environment, TypeDefaults};
use conductor_domain::identity::identity;
use conductor_domain::name::{ApplicationName, WorkloadName};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{MAX_DEPENDENCIES, Resource};
use conductor_domain::score::{
    self, PlaceholderError, Port, Reference, Requirement, ResolveError, Root, SERVICE_TYPE, ScoreFile, Sharing,
};
use conductor_domain::template::{
    MAX_PARAMETERS, Template, TemplateName, TemplateState, TemplateVersion, check_parameters,
};
use conductor_domain::{Code, Refusal};

use crate::plan::Wanted;
use crate::port::Ports;
use crate::record::{Identified, Item};
use crate::{Engine, Error};

/// A file that has been checked against the templates and the environment.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What it asks for, each after what it depends on.
    pub wanted: Vec<Wanted>,
    /// What its `service` resources are.
    pub services: BTreeMap<String, Value>,
}

impl<P: Ports> Engine<P> {
    /// Finds template and version for each name, and checks parameters. Three reads whatever the size of the file.
    pub(crate) async fn resolve(
        &self,
        caller: &Caller,
        environment: &Environment,
        application: &ApplicationName,
        upgrade: bool,
        file: &ScoreFile,
    ) -> Result<Resolved, Error> {
        let order = score::order(file)
            .map_err(|problems| Refusal::at(Code::ScoreInvalid, problems.into_iter().map(Fault::from).collect()))?;
        let mut faults = Faults::default();
        for name in &order.order {
            if let Some(requirement) = file.resources.get(name) {
                check_shape(name, requirement, order.edges.get(name).map_or(0, BTreeMap::len), &mut faults);
            }
        }
        faults.none()?;

        let choices: BTreeMap<&str, Choice<'_>> = order
            .order
            .iter()
            .filter_map(|name| Some((name.as_str(), Choice::of(file.resources.get(name)?, environment))))
            .collect();
        let kept =
            if upgrade { BTreeMap::new() } else { self.kept(caller, environment, application, file, &choices).await? };
        let versions = self.versions(caller, &choices, &kept).await?;
        let services = self.services(caller, application, file).await?;

        let mut wanted = Vec::new();
        for name in &order.order {
            let (Some(requirement), Some(choice)) = (file.resources.get(name), choices.get(name.as_str())) else {
                continue;
            };
            let version = match versions.get(name.as_str()) {
                Some(Ok(version)) => version.clone(),
                Some(Err(refusal)) => {
                    let pinned = requirement.template_version.is_some() && refusal.code == Code::TemplateVersionUnknown;
                    let key = if pinned { "templateVersion" } else { "type" };
                    faults.add(refusal.code, format!("/resources/{name}/{key}"), refusal.detail.clone());
                    continue;
                }
                None => continue,
            };
            let parameters = choice.parameters(requirement, name, &mut faults);
            let given = parameters.clone().unwrap_or_default();
            let unresolved = unresolved(&given, file);
            let base = format!("/resources/{name}/params");
            // A shared resource may be there already, so a file that gives no parameters may do without required ones.
            let gives = requirement.params.as_ref().is_some_and(|params| !params.is_empty());
            let accepts = !gives && !matches!(requirement.sharing, Sharing::Dedicated);
            if !accepts {
                faults
                    .extend(Code::ParametersInvalid, check_parameters(&version.interface, &given, &unresolved, &base));
            }
            if serde_json::to_string(&given).map_or(usize::MAX, |text| text.len()) > MAX_PARAMETERS {
                faults.add(Code::ParametersTooLarge, base, "the parameters are over 64 KiB".to_owned());
            }
            wanted.push(Wanted {
                name: name.clone(),
                template: choice.template.clone(),
                version,
                pinned: requirement.template_version.is_some(),
                sharing: requirement.sharing.clone(),
                dialect: file.dialect,
                parameters,
                given: gives,
                retain: requirement.retain.unwrap_or(false),
                depends_on: order.edges.get(name).cloned().unwrap_or_default(),
            });
        }
        let outputs = output_faults(file, &wanted, &services);
        let ports = outputs.iter().all(|fault| fault.code.as_deref() == Some(Code::ServicePortAmbiguous.as_str()));
        faults.extend(if ports { Code::ServicePortAmbiguous } else { Code::PlaceholderInvalid }, outputs);
        faults.none()?;
        Ok(Resolved { wanted, services })
    }

    /// The versions that existing resources keep, by name in the file.
    async fn kept<'n>(
        &self,
        caller: &Caller,
        environment: &Environment,
        application: &ApplicationName,
        file: &ScoreFile,
        choices: &BTreeMap<&'n str, Choice<'_>>,
    ) -> Result<BTreeMap<&'n str, semver::Version>, Error> {
        let workload = match &file.name {
            Some(name) => WorkloadName::new(name.as_str()).unwrap_or_else(|_| WorkloadName::main()),
            None => WorkloadName::main(),
        };
        let mut asked = Vec::new();
        for (name, choice) in choices.iter().filter(|(_, choice)| choice.pinned.is_none()) {
            let holder = HoldingKey {
                environment: environment.name.clone(),
                application: application.clone(),
                workload: workload.clone(),
                resource: (*name).to_owned(),
            };
            let Some(requirement) = file.resources.get(*name) else { continue };
            let found = identity(choice.template.kind(), choice.template.class(), &requirement.sharing, &holder);
            asked.extend(found.map(|identity| (*name, Item::Identity(identity.key))));
        }
        let organisation = caller.organisation();
        let items: Vec<Item> = asked.iter().map(|(_, item)| item.clone()).collect();
        let identified = self.read_all::<Identified>(organisation, &items).await?;
        let found: Vec<(&str, Item)> = asked
            .iter()
            .zip(identified)
            .filter_map(|((name, _), read)| Some((*name, Item::Resource(read?.resource))))
            .collect();
        let items: Vec<Item> = found.iter().map(|(_, item)| item.clone()).collect();
        let resources = self.read_all::<Resource>(organisation, &items).await?;
        Ok(found
            .into_iter()
            .zip(resources)
            .filter_map(|((name, _), read)| {
                let resource = read?.value;
                (resource.template == choices.get(name)?.template).then_some((name, resource.version))
            })
            .collect())
    }

    async fn versions<'n>(
        &self,
        caller: &Caller,
        choices: &BTreeMap<&'n str, Choice<'_>>,
        kept: &BTreeMap<&'n str, semver::Version>,
    ) -> Result<BTreeMap<&'n str, Result<TemplateVersion, Refusal>>, Error> {
        let organisation = caller.organisation();
        let names: BTreeSet<&TemplateName> = choices.values().map(|choice| &choice.template).collect();
        let items: Vec<Item> = names.iter().map(|name| Item::Template((*name).clone())).collect();
        let templates: BTreeMap<TemplateName, Template> = self
            .read_all::<Template>(organisation, &items)
            .await?
            .into_iter()
            .flatten()
            .map(|template| (template.value.name.clone(), template.value))
            .collect();
        let chosen: BTreeMap<&str, Result<(TemplateName, semver::Version), Refusal>> = choices
            .iter()
            .map(|(name, choice)| (*name, choice.version(templates.get(&choice.template), kept.get(name))))
            .collect();
        let needed: BTreeSet<_> = chosen.values().flatten().cloned().collect();
        let items: Vec<Item> =
            needed.iter().map(|(name, version)| Item::TemplateVersion(name.clone(), version.clone())).collect();
        let read: BTreeMap<_, TemplateVersion> = self
            .read_all::<TemplateVersion>(organisation, &items)
            .await?
            .into_iter()
            .flatten()
            .map(|found| ((found.template.clone(), found.value.version.clone()), found.value))
            .collect();
        Ok(chosen
            .into_iter()
            .map(|(name, choice)| {
                let found = choice.and_then(|key| {
                    read.get(&key).cloned().ok_or_else(|| {
                        Refusal::new(Code::TemplateVersionUnknown, format!("{} has no version {}", key.0, key.1))
                    })
                });
                (name, found)
            })
            .collect())
    }

    /// What the file's `service` resources are: workloads of this application first, then applications.
    async fn services(
        &self,
        caller: &Caller,
        application: &ApplicationName,
        file: &ScoreFile,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let wanted: BTreeMap<&String, String> = file
            .resources
            .iter()
            .filter(|(_, requirement)| requirement.kind == SERVICE_TYPE)
            .map(|(name, requirement)| {
                let target = match &requirement.sharing {
                    Sharing::ScoreId { id } => id.clone(),
                    _ => name.clone(),
                };
                (name, target)
            })
            .collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut names: BTreeSet<ApplicationName> =
            wanted.values().filter_map(|target| ApplicationName::new(target.as_str()).ok()).collect();
        names.insert(application.clone());
        let items: Vec<Item> = names.into_iter().map(Item::Application).collect();
        let applications: Vec<Application> =
            self.read_all(caller.organisation(), &items).await?.into_iter().flatten().map(|read| read.value).collect();
        Ok(wanted
            .into_iter()
            .map(|(name, target)| (name.clone(), service(&target, application, &applications)))
            .collect())
    }
}

/// The outputs of a service: `port` only where the workload publishes exactly one.
fn service(target: &str, own: &ApplicationName, applications: &[Application]) -> Value {
    let ports_of = |application: &Application, workload: &str| -> Option<BTreeMap<String, Port>> {
        application.workloads.get(&WorkloadName::new(workload).ok()?).cloned()
    };
    let named = |application: &&Application| application.name.as_str() == target;
    let ports = applications
        .iter()
        .find(|application| application.name == *own)
        .and_then(|application| ports_of(application, target))
        .or_else(|| {
            let other = applications.iter().find(named)?;
            ports_of(other, target).or_else(|| match other.workloads.len() {
                1 => other.workloads.values().next().cloned(),
                _ => None,
            })
        })
        .unwrap_or_default();
    let mut outputs = json!({"name": target, "host": target});
    let mut distinct = ports.values();
    if let (Some(port), None, Some(outputs)) = (distinct.next(), distinct.next(), outputs.as_object_mut()) {
        outputs.insert("port".to_owned(), json!(port.port));
    }
    outputs
}

/// The template and the version that a requirement and its environment choose.
struct Choice<'a> {
    template: TemplateName,
    pinned: Option<&'a semver::Version>,
    defaults: Option<&'a TypeDefaults>,
}

impl<'a> Choice<'a> {
    fn of(requirement: &'a Requirement, environment: &'a Environment) -> Self {
        let defaults = environment.spec.defaults.get(&requirement.kind);
        let class = requirement.class.as_deref().or_else(|| defaults?.class.as_deref());
        Self {
            template: TemplateName::new(&requirement.kind, class),
            pinned: requirement.template_version.as_ref(),
            defaults,
        }
    }

    fn version(
        &self,
        template: Option<&Template>,
        kept: Option<&semver::Version>,
    ) -> Result<(TemplateName, semver::Version), Refusal> {
        let name = &self.template;
        let unknown = || Refusal::new(Code::ResourceTypeUnknown, format!("there is no active template for {name}"));
        let template = template.ok_or_else(unknown)?;
        let asked = self.pinned.or(kept).or_else(|| self.defaults?.version.as_ref());
        let version = match asked {
            None => template.newest().ok_or_else(unknown)?,
            Some(version) => match template.versions.get(version) {
                // A deprecated version is refused when it would make something: existing resources go on with it.
                Some(TemplateState::Active | TemplateState::Deprecated) => version,
                None => {
                    let known: Vec<_> = template.versions.keys().map(ToString::to_string).collect();
                    let detail = format!("{name} has no version {version}; it has {}", known.join(", "));
                    return Err(Refusal::new(Code::TemplateVersionUnknown, detail));
                }
            },
        };
        Ok((name.clone(), version.clone()))
    }

    /// Defaults of the environment, then the file's, then what the environment fixes.
    fn parameters(&self, requirement: &Requirement, name: &str, faults: &mut Faults) -> Option<Map<String, Value>> {
        let nothing = Map::new();
        let (defaults, fixed) = self.defaults.map_or((&nothing, &nothing), |d| (&d.parameters, &d.fixed));
        let given = requirement.params.as_ref().unwrap_or(&nothing);
        for (key, value) in given {
            if fixed.get(key).is_some_and(|fixed| fixed != value) {
                let detail = format!("the environment fixes {key:?} for {}", self.template);
                faults.add(Code::ParametersInvalid, format!("/resources/{name}/params/{key}"), detail);
            }
        }
        let merged: Map<String, Value> =
            defaults.iter().chain(given).chain(fixed).map(|(key, value)| (key.clone(), value.clone())).collect();
        (!merged.is_empty()).then_some(merged)
    }
}

fn check_shape(name: &str, requirement: &Requirement, dependencies: usize, faults: &mut Faults) {
    let holder = placeholder_holder(name);
    let pointer = format!("/resources/{name}");
    if let Some(holder) = holder
        && identity(&requirement.kind, requirement.class.as_deref().unwrap_or("default"), &requirement.sharing, &holder)
            .is_none()
    {
        let detail = format!("{name}: this sharing mode is not available yet; use dedicated, a shared name, or an id");
        faults.add(Code::SharingModeUnavailable, pointer.clone(), detail);
    }
    if requirement.moved_from.is_some() {
        let detail = format!("{name}: movedFrom is not available yet");
        faults.add(Code::NotAvailable, pointer.clone(), detail);
    }
    if dependencies > MAX_DEPENDENCIES {
        let detail = format!("{name} depends on {dependencies} resources; {MAX_DEPENDENCIES} are allowed");
        faults.add(Code::TooManyDependencies, pointer, detail);
    }
}

/// Any holder: which modes have an identity does not depend on who asks.
fn placeholder_holder(name: &str) -> Option<HoldingKey> {
    Some(HoldingKey {
        environment: "any".parse().ok()?,
        application: "any".parse().ok()?,
        workload: WorkloadName::main(),
        resource: name.to_owned(),
    })
}

/// The names of parameters in which a placeholder stands.
fn unresolved(parameters: &Map<String, Value>, file: &ScoreFile) -> BTreeSet<String> {
    let names: BTreeSet<&str> = file.resources.keys().map(String::as_str).collect();
    parameters
        .iter()
        .filter(|(_, value)| score::references(value, file.dialect, &names).is_ok_and(|found| !found.is_empty()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Placeholders that name an output that the template, or the service, does not have.
fn output_faults(file: &ScoreFile, wanted: &[Wanted], services: &BTreeMap<String, Value>) -> Vec<Fault> {
    let names: BTreeSet<&str> = file.resources.keys().map(String::as_str).collect();
    let mut faults = Vec::new();
    for (base, value) in score::expandable(file) {
        for (pointer, reference) in score::references(value, file.dialect, &names).unwrap_or_default() {
            let Root::Resource { name, path } = &reference.root else { continue };
            let Some(output) = path.first() else { continue };
            let source = &reference.source;
            let known: Vec<String> = match (services.get(name), wanted.iter().find(|w| w.name == *name)) {
                (Some(outputs), _) => outputs.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect(),
                (None, Some(want)) => want.version.interface.outputs.keys().cloned().collect(),
                (None, None) => continue,
            };
            if known.contains(output) {
                continue;
            }
            let mut fault = Fault::at(
                format!("{base}{pointer}"),
                format!("${{{source}}}: {name} has no output {output:?}; it has: {}", known.join(", ")),
            );
            if services.contains_key(name) && output == "port" {
                fault.code = Some(Code::ServicePortAmbiguous.as_str().to_owned());
                fault.detail = format!("${{{source}}}: the service {name} does not publish exactly one port");
            }
            faults.push(fault);
        }
    }
    faults
}

/// Faults of a file, under the code of the first.
#[derive(Default)]
struct Faults {
    code: Option<Code>,
    faults: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, code: Code, pointer: String, detail: String) {
        self.extend(code, vec![Fault::at(pointer, detail)]);
    }

    fn extend(&mut self, code: Code, faults: Vec<Fault>) {
        if !faults.is_empty() {
            self.code.get_or_insert(code);
        }
        self.faults.extend(faults);
    }

    fn none(&self) -> Result<(), Refusal> {
        match self.code {
            Some(code) => Err(Refusal::at(code, self.faults.clone())),
            None => Ok(()),
        }
    }
}

/// Outputs of what a value may name, by name in the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Outputs that may be shown.
    pub shown: BTreeMap<String, Map<String, Value>>,
    /// Outputs that may not.
    pub sensitive: BTreeMap<String, BTreeMap<String, Value>>,
    /// The file's metadata.
    pub metadata: Map<String, Value>,
}

impl Known {
    /// What a placeholder names.
    pub fn look_up(&self, reference: &Reference) -> Result<score::Resolved, PlaceholderError> {
        let unknown = |resource: &str, output: String| PlaceholderError::UnknownOutput {
            placeholder: reference.source.clone(),
            resource: resource.to_owned(),
            output,
        };
        match &reference.root {
            Root::Metadata { path } => {
                let missing =
                    || PlaceholderError::UnknownMetadata { placeholder: reference.source.clone(), key: path.join(".") };
                let value = descend(path.split_first().and_then(|(key, rest)| Some((self.metadata.get(key)?, rest))));
                Ok(score::Resolved { value: value.ok_or_else(missing)?, sensitive: false })
            }
            Root::Resource { name, path } => {
                let Some((output, rest)) = path.split_first() else {
                    return Ok(score::Resolved { value: Value::from(name.as_str()), sensitive: false });
                };
                let shown = self.shown.get(name).and_then(|outputs| outputs.get(output));
                let hidden = self.sensitive.get(name).and_then(|outputs| outputs.get(output));
                let found = descend(shown.or(hidden).map(|value| (value, rest)));
                let value = found.ok_or_else(|| unknown(name, path.join(".")))?;
                Ok(score::Resolved { value, sensitive: hidden.is_some() })
            }
        }
    }
}

fn descend(start: Option<(&Value, &[String])>) -> Option<Value> {
    let (mut value, path) = start?;
    for key in path {
        value = match value {
            Value::Object(map) => map.get(key)?,
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.clone())
}

/// A placeholder that did not resolve, as a refusal: the text of the parameter is not repeated.
pub(crate) fn unresolvable(name: &str, error: &ResolveError) -> Refusal {
    Refusal::new(Code::OutputMissing, format!("/resources/{name}/params{}: {}", error.pointer, error.error))
}
