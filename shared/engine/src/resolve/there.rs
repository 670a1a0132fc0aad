//! What is there already of what a file asks for: pools, and resources by identity, by id, or because they are held.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value};

use conductor_domain::consumer::{Holding, HoldingKey};
use conductor_domain::environment::Environment;
use conductor_domain::identity::{identity, mode};
use conductor_domain::ids::ResourceId;
use conductor_domain::name::{ApplicationName, EnvironmentName, OrganisationName, PoolName, WorkloadName};
use conductor_domain::pool::{Pool, PoolKey};
use conductor_domain::resource::{Outputs, Resource, ResourceStatus};
use conductor_domain::score::{Requirement, SERVICE_TYPE, ScoreFile, Sharing};
use conductor_domain::template::TemplateName;

use crate::commit::Reads;
use crate::port::Ports;
use crate::record::{Identified, Item};
use crate::{Engine, Error};

/// What is known of a name before its template version is chosen.
#[derive(Default)]
pub(super) struct There {
    /// The resource that it will probably take.
    pub resource: Option<Resource>,
    /// True where the workload holds it.
    pub held: bool,
    /// The outputs of one that Conductor did not make.
    pub outputs: Option<Vec<String>>,
}

impl<P: Ports> Engine<P> {
    /// What [`Engine::resolve`] will read for a file, as far as it can be told before anything is known. What is guessed
    /// wrong here is read when it turns out to be missing.
    pub(crate) fn foreseen(
        &self,
        organisation: &OrganisationName,
        environment: &EnvironmentName,
        application: &ApplicationName,
        file: &ScoreFile,
    ) -> Vec<Item> {
        let template = |requirement: &Requirement| self.hints.template(organisation, environment, requirement);
        let mut items: Vec<Item> =
            asked(environment, application, file, template).into_iter().map(|(_, item)| item).collect();
        items.extend(pool_items(environment, file));
        for requirement in file.resources.values().filter(|requirement| requirement.kind != SERVICE_TYPE) {
            let template = template(requirement);
            let version = requirement.template_version.clone();
            if let Some(version) = version.or_else(|| self.hints.version(organisation, &template)) {
                items.push(Item::TemplateVersion(template.clone(), version.clone()));
                items.push(Item::Pace(template.clone(), version));
            }
            items.push(Item::Template(template));
            if let Sharing::Existing { id } = &requirement.sharing {
                items.extend(id.parse().ok().map(Item::Resource));
            }
        }
        let mut seen = HashSet::new();
        items.retain(|item| seen.insert(item.clone()));
        items
    }

    /// The pools that a file names, with all of their parameters.
    pub(super) async fn pools_of(
        &self,
        reads: &mut Reads<'_, P>,
        environment: &EnvironmentName,
        file: &ScoreFile,
    ) -> Result<BTreeMap<String, (Pool, Map<String, Value>)>, Error> {
        let mut pools = BTreeMap::new();
        for pool in reads.all::<Pool>(&pool_items(environment, file)).await?.into_iter().flatten() {
            let parameters = self.pool_parameters(&pool).await?;
            pools.insert(pool.key.name.to_string(), (pool.value, parameters));
        }
        Ok(pools)
    }

    /// The resources that the names of a file will probably take: by identity, by id, or because they are held.
    pub(super) async fn there<'n>(
        &self,
        reads: &mut Reads<'_, P>,
        environment: &Environment,
        application: &ApplicationName,
        file: &'n ScoreFile,
    ) -> Result<BTreeMap<&'n str, There>, Error> {
        let asked = asked(&environment.name, application, file, |requirement| template_of(requirement, environment));
        reads.ahead(&asked.iter().map(|(_, item)| item.clone()).collect::<Vec<_>>()).await?;
        let mut ids: BTreeMap<&str, ResourceId> = BTreeMap::new();
        for (name, requirement) in file.resources.iter().filter(|(_, requirement)| requirement.kind != SERVICE_TYPE) {
            if let Sharing::Existing { id } = &requirement.sharing {
                ids.extend(id.parse().ok().map(|id| (name.as_str(), id)));
            }
        }
        let mut held: BTreeMap<&str, ResourceId> = BTreeMap::new();
        // The last word counts: what has the identity, else what is held, else what was held under the old name.
        for (name, item) in &asked {
            let Some(requirement) = file.resources.get(*name) else { continue };
            let id = match item {
                Item::Identity(_) => reads.get::<Identified>(item)?.map(|found| found.resource),
                // What was taken in another way is not what is asked for now.
                _ => {
                    let holding = reads.get::<Holding>(item)?;
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
        let resources = reads.all::<Resource>(&items).await?;
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
        let outputs = reads.all::<Outputs>(&items).await?;
        for ((name, _), read) in external.into_iter().zip(outputs) {
            let names = read.map(|read| read.value.values.into_keys().chain(read.value.sensitive).collect());
            there.entry(name).or_default().outputs = Some(names.unwrap_or_default());
        }
        Ok(there)
    }
}

/// The items that say which resources the names of a file will probably take, given the template of each.
fn asked<'n>(
    environment: &EnvironmentName,
    application: &ApplicationName,
    file: &'n ScoreFile,
    template: impl Fn(&Requirement) -> TemplateName,
) -> Vec<(&'n str, Item)> {
    let workload = match &file.name {
        Some(name) => WorkloadName::new(name.as_str()).unwrap_or_else(|_| WorkloadName::main()),
        None => WorkloadName::main(),
    };
    let holder = |resource: &str| HoldingKey {
        environment: environment.clone(),
        application: application.clone(),
        workload: workload.clone(),
        resource: resource.to_owned(),
    };
    let mut asked: Vec<(&str, Item)> = Vec::new();
    for (name, requirement) in file.resources.iter().filter(|(_, requirement)| requirement.kind != SERVICE_TYPE) {
        let template = template(requirement);
        let old = requirement.moved_from.iter().map(|old| (name.as_str(), Item::Holding(holder(old))));
        asked.extend(old);
        asked.push((name, Item::Holding(holder(name))));
        let found = identity(template.kind(), template.class(), &requirement.sharing, &holder(name));
        asked.extend(found.map(|identity| (name.as_str(), Item::Identity(identity.key))));
    }
    asked
}

/// The pools that a file names.
fn pool_items(environment: &EnvironmentName, file: &ScoreFile) -> Vec<Item> {
    let names: BTreeSet<&String> = file
        .resources
        .values()
        .filter_map(|requirement| match &requirement.sharing {
            Sharing::Pool { name } => Some(name),
            _ => None,
        })
        .collect();
    names
        .into_iter()
        .filter_map(|name| PoolName::new(name.as_str()).ok())
        .map(|name| Item::Pool(PoolKey { environment: environment.clone(), name }))
        .collect()
}

/// The template of a requirement: its class is the file's, else the environment's.
pub(super) fn template_of(requirement: &Requirement, environment: &Environment) -> TemplateName {
    let defaults = environment.spec.defaults.get(&requirement.kind);
    let class = requirement.class.as_deref().or_else(|| defaults?.class.as_deref());
    TemplateName::new(&requirement.kind, class)
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
