//! A file against the templates and the environment: which template, version and parameters each name gets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use conductor_domain::application::Application;
use conductor_domain::code::Fault;
use conductor_domain::consumer::{Holding, HoldingKey};
use conductor_domain::environment::{Environment, TypeDefaults};
use conductor_domain::identity::{identity, mode};
use conductor_domain::ids::ResourceId;
use conductor_domain::name::{ApplicationName, EnvironmentName, PoolName, WorkloadName};
use conductor_domain::operation::Source;
use conductor_domain::pool::{Pool, PoolKey};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{MAX_DEPENDENCIES, Outputs, Resource, ResourceStatus};
use conductor_domain::score::{
    self, Dialect, PlaceholderError, Port, Reference, Requirement, ResolveError, Root, SERVICE_TYPE, ScoreFile, Sharing,
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
    /// Its metadata.
    pub metadata: Map<String, Value>,
}

/// What is known of a name before its template version is chosen.
#[derive(Default)]
struct There {
    /// The resource that it will probably take.
    resource: Option<Resource>,
    /// True where the workload holds it.
    held: bool,
    /// The outputs of one that Conductor did not make.
    outputs: Option<Vec<String>>,
}

impl<P: Ports> Engine<P> {
    /// Finds template and version for each name, and checks parameters. A handful of reads whatever the size of the file.
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
        let mut faults = Faults::of(file.dialect);
        for name in &order.order {
            if let Some(requirement) = file.resources.get(name) {
                check_shape(name, requirement, order.edges.get(name).map_or(0, BTreeMap::len), &mut faults);
            }
        }
        moved_twice(file, &mut faults);
        faults.none()?;

        let pools = self.pools_of(caller, &environment.name, file).await?;
        let there = self.there(caller, environment, application, file).await?;
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
        let versions = self.versions(caller, &made, &kept).await?;
        let services = self.services(caller, application, file).await?;

        let mut wanted = Vec::new();
        for name in &order.order {
            let (Some(requirement), Some(choice)) = (file.resources.get(name), choices.get(name.as_str())) else {
                continue;
            };
            let version = match versions.get(name.as_str()) {
                Some(Ok(version)) => Some(version.clone()),
                Some(Err(_)) if external(name).is_some() => None,
                Some(Err(refusal)) => {
                    let pinned = requirement.template_version.is_some() && refusal.code == Code::TemplateVersionUnknown;
                    let pointer = match pinned {
                        true => faults.extra(name, "templateVersion"),
                        false => format!("/resources/{name}/type"),
                    };
                    faults.add(refusal.code, pointer, refusal.detail.clone());
                    continue;
                }
                None => None,
            };
            let (parameters, sources) = choice.parameters(requirement, name, &mut faults);
            let given = parameters.clone().unwrap_or_default();
            let unresolved = unresolved(&given, file);
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
        let outputs = output_faults(file, &wanted, &services, external);
        let ports = outputs.iter().all(|fault| fault.code.as_deref() == Some(Code::ServicePortAmbiguous.as_str()));
        faults.extend(if ports { Code::ServicePortAmbiguous } else { Code::PlaceholderInvalid }, outputs);
        faults.none()?;
        Ok(Resolved { wanted, services, metadata: file.metadata.clone() })
    }

    /// The pools that a file names, with all of their parameters.
    async fn pools_of(
        &self,
        caller: &Caller,
        environment: &EnvironmentName,
        file: &ScoreFile,
    ) -> Result<BTreeMap<String, (Pool, Map<String, Value>)>, Error> {
        let names: BTreeSet<&String> = file
            .resources
            .values()
            .filter_map(|requirement| match &requirement.sharing {
                Sharing::Pool { name } => Some(name),
                _ => None,
            })
            .collect();
        let items: Vec<Item> = names
            .into_iter()
            .filter_map(|name| PoolName::new(name.as_str()).ok())
            .map(|name| Item::Pool(PoolKey { environment: environment.clone(), name }))
            .collect();
        let mut pools = BTreeMap::new();
        for pool in self.read_all::<Pool>(caller.organisation(), &items).await?.into_iter().flatten() {
            let parameters = self.pool_parameters(&pool).await?;
            pools.insert(pool.key.name.to_string(), (pool.value, parameters));
        }
        Ok(pools)
    }

    /// The resources that the names of a file will probably take: by identity, by id, or because they are held.
    async fn there<'n>(
        &self,
        caller: &Caller,
        environment: &Environment,
        application: &ApplicationName,
        file: &'n ScoreFile,
    ) -> Result<BTreeMap<&'n str, There>, Error> {
        let workload = match &file.name {
            Some(name) => WorkloadName::new(name.as_str()).unwrap_or_else(|_| WorkloadName::main()),
            None => WorkloadName::main(),
        };
        let holder = |resource: &str| HoldingKey {
            environment: environment.name.clone(),
            application: application.clone(),
            workload: workload.clone(),
            resource: resource.to_owned(),
        };
        let organisation = caller.organisation();
        let mut ids: BTreeMap<&str, ResourceId> = BTreeMap::new();
        let mut asked: Vec<(&str, Item)> = Vec::new();
        for (name, requirement) in file.resources.iter().filter(|(_, requirement)| requirement.kind != SERVICE_TYPE) {
            let template = Choice::of(requirement, environment).template;
            let old = requirement.moved_from.iter().map(|old| (name.as_str(), Item::Holding(holder(old))));
            asked.extend(old);
            asked.push((name, Item::Holding(holder(name))));
            if let Sharing::Existing { id } = &requirement.sharing {
                ids.extend(id.parse().ok().map(|id| (name.as_str(), id)));
            }
            let found = identity(template.kind(), template.class(), &requirement.sharing, &holder(name));
            asked.extend(found.map(|identity| (name.as_str(), Item::Identity(identity.key))));
        }
        let mut batch = self.batch(organisation, asked.iter().map(|(_, item)| item.clone()).collect()).await?;
        let mut held: BTreeMap<&str, ResourceId> = BTreeMap::new();
        // The last word counts: what has the identity, else what is held, else what was held under the old name.
        for (name, item) in &asked {
            let Some(requirement) = file.resources.get(*name) else { continue };
            let id = match item {
                Item::Identity(_) => batch.take::<Identified>(item)?.map(|found| found.resource),
                // What was taken in another way is not what is asked for now.
                _ => {
                    let holding = batch.take::<Holding>(item)?;
                    let id =
                        holding.filter(|found| found.mode == mode(&requirement.sharing)).map(|found| found.resource);
                    held.extend(id.map(|id| (*name, id)));
                    id
                }
            };
            let existing = matches!(requirement.sharing, Sharing::Existing { .. });
            ids.extend(id.filter(|_| !existing).map(|id| (*name, id)));
        }
        let items: Vec<Item> = ids.values().map(|id| Item::Resource(*id)).collect();
        let resources = self.read_all::<Resource>(organisation, &items).await?;
        let mut there: BTreeMap<&str, There> = ids
            .iter()
            .zip(resources)
            .map(|((name, id), read)| {
                let held = held.get(name) == Some(id);
                (*name, There { resource: read.map(|read| read.value), held, outputs: None })
            })
            .collect();
        let external: Vec<(&str, Item)> = there
            .iter()
            .filter_map(|(name, there)| {
                let resource = there.resource.as_ref().filter(|resource| resource.external.is_some())?;
                Some((*name, Item::Outputs(resource.id)))
            })
            .collect();
        let items: Vec<Item> = external.iter().map(|(_, item)| item.clone()).collect();
        let outputs = self.read_all::<Outputs>(organisation, &items).await?;
        for ((name, _), read) in external.into_iter().zip(outputs) {
            let names = read.map(|read| read.value.values.into_keys().chain(read.value.sensitive).collect());
            there.entry(name).or_default().outputs = Some(names.unwrap_or_default());
        }
        Ok(there)
    }

    async fn versions<'n>(
        &self,
        caller: &Caller,
        choices: &BTreeMap<&'n str, &Choice<'_>>,
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
    /// Parameters for what the file does not give, and those that it may not change; with where they come from.
    defaults: Option<&'a TypeDefaults>,
    pool: Option<&'a (Pool, Map<String, Value>)>,
}

impl<'a> Choice<'a> {
    fn of(requirement: &'a Requirement, environment: &'a Environment) -> Self {
        let defaults = environment.spec.defaults.get(&requirement.kind);
        let class = requirement.class.as_deref().or_else(|| defaults?.class.as_deref());
        Self {
            template: TemplateName::new(&requirement.kind, class),
            pinned: requirement.template_version.as_ref(),
            defaults,
            pool: None,
        }
    }

    /// A member of a pool is what the pool says.
    fn of_pool(
        name: &str,
        requirement: &'a Requirement,
        pool: Option<&'a (Pool, Map<String, Value>)>,
        there: Option<&There>,
        pool_name: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        let pointer = faults.extra(name, "pool");
        // Whoever has a member goes on with it when the pool is gone.
        let mine = there.and_then(|there| there.resource.as_ref()).filter(|resource| {
            resource.pool.as_ref().is_some_and(|pool| pool.name.as_str() == pool_name)
                && resource.template.kind() == requirement.kind
        });
        if let (None, Some(resource)) = (pool.filter(|(pool, _)| !pool.closing), mine) {
            let template = resource.template.clone();
            return Some(Self { template, pinned: None, defaults: None, pool: None });
        }
        let found = pool.filter(|(pool, _)| !pool.closing);
        let Some((pool, parameters)) = found else {
            faults.add(Code::PoolUnknown, pointer, format!("{name}: the environment has no such pool"));
            return None;
        };
        let template = &pool.template;
        let class = requirement.class.as_deref().unwrap_or(template.class());
        if TemplateName::new(&requirement.kind, Some(class)) != *template {
            faults.add(Code::TypeConflict, pointer, format!("{name}: the pool has {template}"));
            return None;
        }
        for (key, value) in requirement.params.iter().flatten() {
            if parameters.get(key) != Some(value) {
                let detail = format!("{name}: a member of a pool has the pool's parameters; leave {key:?} out");
                faults.add(Code::ParametersInvalid, format!("/resources/{name}/params/{key}"), detail);
            }
        }
        Some(Self { template: template.clone(), pinned: None, defaults: None, pool: found })
    }

    /// What is there already has its template; here it is only held against the file's type.
    fn of_existing(
        name: &str,
        requirement: &'a Requirement,
        environment: &'a Environment,
        there: Option<&There>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut unusable = |why: String| {
            let pointer = faults.extra(name, "reference/id");
            faults.add(Code::ResourceUnusable, pointer, format!("{name}: {why}"));
            None
        };
        let Sharing::Existing { id } = &requirement.sharing else { return None };
        let Some((there, resource)) = there.and_then(|there| Some((there, there.resource.as_ref()?))) else {
            return unusable(format!("there is no resource {id}"));
        };
        // Whoever has it may go on with it whatever became of it.
        if !there.held
            && let Some(why) = unusable_from(resource, &environment.name)
        {
            return unusable(why);
        }
        let mut choice = Self::of(requirement, environment);
        let template = &resource.template;
        let class = requirement.class.as_deref().unwrap_or(template.class());
        if TemplateName::new(&requirement.kind, Some(class)) != *template {
            let detail = format!("{name}: {} is a {template}", resource.name);
            faults.add(Code::TypeConflict, format!("/resources/{name}/type"), detail);
            return None;
        }
        choice.template = template.clone();
        Some(choice)
    }

    fn version(
        &self,
        template: Option<&Template>,
        kept: Option<&semver::Version>,
    ) -> Result<(TemplateName, semver::Version), Refusal> {
        let name = &self.template;
        let unknown = || Refusal::new(Code::ResourceTypeUnknown, format!("there is no active template for {name}"));
        let template = template.ok_or_else(unknown)?;
        let asked = self.pinned.or(kept).or_else(|| match self.pool {
            Some((pool, _)) => Some(&pool.version),
            None => self.defaults?.version.as_ref(),
        });
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

    /// Defaults of the environment, then the file's, then what the environment fixes; or the pool's. With them, where
    /// those come from that the file does not give.
    fn parameters(
        &self,
        requirement: &Requirement,
        name: &str,
        faults: &mut Faults,
    ) -> (Option<Map<String, Value>>, BTreeMap<String, Source>) {
        let nothing = Map::new();
        if let Some((_, parameters)) = self.pool {
            let sources = parameters.keys().map(|key| (key.clone(), Source::Pool)).collect();
            return (Some(parameters.clone()), sources);
        }
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
        let mut sources: BTreeMap<String, Source> = defaults
            .keys()
            .filter(|key| !given.contains_key(*key))
            .map(|key| (key.clone(), Source::EnvironmentDefault))
            .collect();
        sources.extend(fixed.keys().map(|key| (key.clone(), Source::EnvironmentFixed)));
        ((!merged.is_empty()).then_some(merged), sources)
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

/// Why a resource that a file names by id cannot be used from an environment.
pub(crate) fn unusable_from(resource: &Resource, environment: &EnvironmentName) -> Option<String> {
    if resource.environment != *environment && !resource.published {
        // Whoever may not see it is not told that it is there.
        return Some(format!("there is no resource {} here", resource.id));
    }
    match resource.status {
        ResourceStatus::Active | ResourceStatus::Updating => None,
        status => Some(format!("{} is {status:?}, not Active", resource.name)),
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
fn unresolved(parameters: &Map<String, Value>, file: &ScoreFile) -> BTreeSet<String> {
    let names: BTreeSet<&str> = file.resources.keys().map(String::as_str).collect();
    parameters
        .iter()
        .filter(|(_, value)| score::references(value, file.dialect, &names).is_ok_and(|found| !found.is_empty()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Placeholders that name an output that the template, or the service, does not have.
fn output_faults<'a>(
    file: &ScoreFile,
    wanted: &[Wanted],
    services: &BTreeMap<String, Value>,
    external: impl Fn(&str) -> Option<&'a Vec<String>>,
) -> Vec<Fault> {
    let names: BTreeSet<&str> = file.resources.keys().map(String::as_str).collect();
    let mut faults = Vec::new();
    for (base, value) in score::expandable(file) {
        for (pointer, reference) in score::references(value, file.dialect, &names).unwrap_or_default() {
            let Root::Resource { name, path } = &reference.root else { continue };
            let Some(output) = path.first() else { continue };
            let source = &reference.source;
            let known: Vec<String> = match (services.get(name), wanted.iter().find(|w| w.name == *name)) {
                (Some(outputs), _) => outputs.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect(),
                (None, Some(want)) => match &want.version {
                    Some(version) => version.interface.outputs.keys().cloned().collect(),
                    None => external(name).cloned().unwrap_or_default(),
                },
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
struct Faults {
    dialect: Dialect,
    code: Option<Code>,
    faults: Vec<Fault>,
}

impl Faults {
    fn of(dialect: Dialect) -> Self {
        Self { dialect, code: None, faults: Vec::new() }
    }

    /// Where a file of this dialect says one of Conductor's extras of a resource.
    fn extra(&self, name: &str, key: &str) -> String {
        match self.dialect {
            Dialect::Conductor => format!("/resources/{name}/{key}"),
            Dialect::ScoreV1b1 => {
                // What stands in an annotation's text has no pointer of its own.
                let kebab: String = key
                    .split('/')
                    .next()
                    .unwrap_or(key)
                    .chars()
                    .flat_map(|c| c.is_ascii_uppercase().then_some('-').into_iter().chain([c.to_ascii_lowercase()]))
                    .collect();
                format!("/resources/{name}/metadata/annotations/conductor.dev~1{kebab}")
            }
        }
    }

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
    /// In a dry run: names whose outputs are not known yet.
    pub unknown: BTreeSet<String>,
}

/// What stands for a value that is not known yet; it never leaves a dry run.
const UNKNOWN: &str = "(known after the deployment)";

impl Known {
    /// True where a placeholder names an output that is not known yet.
    pub fn is_unknown(&self, reference: &Reference) -> bool {
        matches!(&reference.root, Root::Resource { name, path } if !path.is_empty() && self.unknown.contains(name))
    }

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
                if self.unknown.contains(name) {
                    return Ok(score::Resolved { value: Value::from(UNKNOWN), sensitive: false });
                }
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
pub(crate) fn unresolvable(name: &str, parameter: &str, error: &ResolveError) -> Refusal {
    let place = format!("/resources/{name}/params/{parameter}{}", error.pointer);
    Refusal::new(Code::OutputMissing, format!("{place}: {}", error.error))
}
