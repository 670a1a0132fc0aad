//! A file against the templates and the environment: which template, version and parameters each name gets.

mod choice;
mod faults;
mod known;
mod service;
mod there;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::code::Fault;
use conductor_domain::environment::Environment;
use conductor_domain::ids::ResourceId;
use conductor_domain::name::ApplicationName;
use conductor_domain::resource::MAX_DEPENDENCIES;
use conductor_domain::score::{self, Dialect, Requirement, Root, ScoreFile, Sharing};
use conductor_domain::template::{MAX_PARAMETERS, check_parameters};
use conductor_domain::{Code, Refusal};

use crate::commit::Reads;
use crate::plan::Wanted;
use crate::port::Ports;
use crate::{Engine, Error};
use choice::Choice;
use faults::Faults;
pub(crate) use known::{Known, unresolvable};
pub(crate) use there::unusable_from;

/// A file that has been checked against the templates and the environment.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What it asks for, each after what it depends on.
    pub wanted: Vec<Wanted>,
    /// What its `service` resources are.
    pub services: BTreeMap<String, Value>,
    /// Its metadata.
    pub metadata: Map<String, Value>,
}

impl<P: Ports> Engine<P> {
    /// Finds template and version for each name, and checks parameters. A handful of reads whatever the size of the file;
    /// none of what [`Engine::foreseen`] names and has been read.
    pub(crate) async fn resolve(
        &self,
        reads: &mut Reads<'_, P>,
        environment: &Environment,
        application: &ApplicationName,
        upgrade: bool,
        file: &ScoreFile,
    ) -> Result<Resolved, Error> {
        let order = score::order(file)
            .map_err(|problems| Refusal::at(Code::ScoreInvalid, problems.into_iter().map(Fault::from).collect()))?;
        let mut faults = Faults::of(file.dialect);
        for name in &order.order {
            if let Some(requirement) = file.resources.get(name) {
                check_shape(name, requirement, order.edges.get(name).map_or(0, BTreeMap::len), &mut faults);
            }
        }
        moved_twice(file, &mut faults);
        faults.none()?;

        let pools = self.pools_of(reads, &environment.name, file).await?;
        let there = self.there(reads, environment, application, file).await?;
        let mut choices: BTreeMap<&str, Choice<'_>> = BTreeMap::new();
        for name in &order.order {
            let Some(requirement) = file.resources.get(name) else { continue };
            let there = there.get(name.as_str());
            let choice = match &requirement.sharing {
                Sharing::Pool { name: pool } => {
                    Choice::of_pool(name, requirement, pools.get(pool), there, pool, &mut faults)
                }
                Sharing::Existing { .. } => Choice::of_existing(name, requirement, environment, there, &mut faults),
                _ => Some(Choice::of(requirement, environment)),
            };
            choices.extend(choice.map(|choice| (name.as_str(), choice)));
        }
        let external = |name: &str| {
            let there = there.get(name)?;
            there.resource.as_ref().filter(|resource| resource.external.is_some())?;
            there.outputs.as_ref()
        };
        // What matching took may be left for another that has to be made.
        let may_be_made = |name: &str| {
            let matching = |requirement: &Requirement| matches!(requirement.sharing, Sharing::Matching(_));
            external(name).is_none() || file.resources.get(name).is_some_and(matching)
        };
        let kept: BTreeMap<&str, semver::Version> = choices
            .iter()
            .filter(|(_, choice)| choice.pinned.is_none() && !upgrade)
            .filter_map(|(name, choice)| {
                let resource = there.get(name)?.resource.as_ref()?;
                let version = resource.version.clone().filter(|_| resource.template == choice.template)?;
                Some((*name, version))
            })
            .collect();
        let made: BTreeMap<&str, &Choice<'_>> =
            choices.iter().filter(|(name, _)| may_be_made(name)).map(|(name, choice)| (*name, choice)).collect();
        let mut versions = self.versions(reads, &made, &kept).await?;
        let services = self.services(reads, application, file).await?;

        let names: BTreeSet<&str> = file.resources.keys().map(String::as_str).collect();
        let mut wanted = Vec::new();
        for name in &order.order {
            let (Some(requirement), Some(choice)) = (file.resources.get(name), choices.get(name.as_str())) else {
                continue;
            };
            let version = match versions.remove(name.as_str()) {
                Some(Ok(version)) => Some(version),
                Some(Err(_)) if external(name).is_some() => None,
                Some(Err(refusal)) => {
                    let pinned = requirement.template_version.is_some() && refusal.code == Code::TemplateVersionUnknown;
                    let pointer = match pinned {
                        true => faults.extra(name, "templateVersion"),
                        false => format!("/resources/{name}/type"),
                    };
                    faults.add(refusal.code, pointer, refusal.detail);
                    continue;
                }
                None => None,
            };
            let (parameters, sources) = choice.parameters(requirement, name, &mut faults);
            let given = parameters.clone().unwrap_or_default();
            let unresolved = unresolved(&given, file.dialect, &names);
            let base = format!("/resources/{name}/params");
            // A shared resource may be there already, so a file that gives no parameters may do without required ones.
            let gives = requirement.params.as_ref().is_some_and(|params| !params.is_empty());
            let own = matches!(requirement.sharing, Sharing::Dedicated) || choice.pool.is_some();
            let accepts = !gives && !own;
            if let (Some(version), false) = (&version, accepts) {
                faults
                    .extend(Code::ParametersInvalid, check_parameters(&version.interface, &given, &unresolved, &base));
            }
            if let (Some(version), Sharing::Matching(matching)) = (&version, &requirement.sharing) {
                let inputs = &version.interface.inputs;
                for key in &matching.match_on {
                    let detail = match inputs.get(key) {
                        None => format!("matchOn names {key:?}, which {} does not take", choice.template),
                        Some(input) if input.sensitive => format!("matchOn names {key:?}, which is sensitive"),
                        Some(_) => continue,
                    };
                    faults.add(Code::ParametersInvalid, faults.extra(name, "matching/matchOn"), detail);
                }
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
                retain: requirement.retain,
                moved_from: requirement.moved_from.clone(),
                sources,
                resource: None,
                depends_on: order.edges.get(name).cloned().unwrap_or_default(),
            });
        }
        let outputs = output_faults(file, &names, &wanted, &services, external);
        let ports = outputs.iter().all(|fault| fault.code.as_deref() == Some(Code::ServicePortAmbiguous.as_str()));
        faults.extend(if ports { Code::ServicePortAmbiguous } else { Code::PlaceholderInvalid }, outputs);
        faults.none()?;
        Ok(Resolved { wanted, services, metadata: file.metadata.clone() })
    }
}

/// Names that two resources want to come from, or that are still in the file.
fn moved_twice(file: &ScoreFile, faults: &mut Faults) {
    let mut seen: BTreeSet<&str> = file.resources.keys().map(String::as_str).collect();
    for (name, requirement) in &file.resources {
        if let Some(old) = requirement.moved_from.as_deref()
            && old != name
            && !seen.insert(old)
        {
            let detail =
                format!("{name}: movedFrom names {old:?}, which another resource of the file is or comes from");
            faults.add(Code::ScoreInvalid, faults.extra(name, "movedFrom"), detail);
        }
    }
}

fn check_shape(name: &str, requirement: &Requirement, dependencies: usize, faults: &mut Faults) {
    let pointer = format!("/resources/{name}");
    if let Some(old) = &requirement.moved_from
        && old == name
    {
        faults.add(Code::ScoreInvalid, faults.extra(name, "movedFrom"), format!("{name}: it has that name already"));
    }
    if let Sharing::Existing { id } = &requirement.sharing
        && id.parse::<ResourceId>().is_err()
    {
        let detail = format!("{name}: {id:?} is not the id of a resource");
        faults.add(Code::ResourceUnusable, faults.extra(name, "reference/id"), detail);
    }
    if dependencies > MAX_DEPENDENCIES {
        let detail = format!("{name} depends on {dependencies} resources; {MAX_DEPENDENCIES} are allowed");
        faults.add(Code::TooManyDependencies, pointer, detail);
    }
}

/// The names of parameters in which a placeholder stands.
fn unresolved(parameters: &Map<String, Value>, dialect: Dialect, names: &BTreeSet<&str>) -> BTreeSet<String> {
    parameters
        .iter()
        .filter(|(_, value)| score::references(value, dialect, names).is_ok_and(|found| !found.is_empty()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Placeholders that name an output that the template, or the service, does not have.
fn output_faults<'a>(
    file: &ScoreFile,
    names: &BTreeSet<&str>,
    wanted: &[Wanted],
    services: &BTreeMap<String, Value>,
    external: impl Fn(&str) -> Option<&'a Vec<String>>,
) -> Vec<Fault> {
    let wanted: BTreeMap<&str, &Wanted> = wanted.iter().map(|want| (want.name.as_str(), want)).collect();
    let mut faults = Vec::new();
    for (base, value) in score::expandable(file) {
        for (pointer, reference) in score::references(value, file.dialect, names).unwrap_or_default() {
            let Root::Resource { name, path } = &reference.root else { continue };
            let Some(output) = path.first() else { continue };
            let source = &reference.source;
            let known: Vec<&String> = match (services.get(name), wanted.get(name.as_str())) {
                (Some(outputs), _) => outputs.as_object().into_iter().flatten().map(|(key, _)| key).collect(),
                (None, Some(want)) => match &want.version {
                    Some(version) => version.interface.outputs.keys().collect(),
                    None => external(name).into_iter().flatten().collect(),
                },
                (None, None) => continue,
            };
            if known.contains(&output) {
                continue;
            }
            let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
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
