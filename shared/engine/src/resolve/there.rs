//! What is there already of what a file asks for: pools, and resources by identity, by id, or because they are held.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::consumer::{Holding, HoldingKey};
use conductor_domain::environment::Environment;
use conductor_domain::identity::{identity, mode};
use conductor_domain::ids::ResourceId;
use conductor_domain::name::{ApplicationName, EnvironmentName, PoolName, WorkloadName};
use conductor_domain::pool::{Pool, PoolKey};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Outputs, Resource, ResourceStatus};
use conductor_domain::score::{Requirement, SERVICE_TYPE, ScoreFile, Sharing};
use conductor_domain::template::TemplateName;

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
    /// The pools that a file names, with all of their parameters.
    pub(super) async fn pools_of(
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
    pub(super) async fn there<'n>(
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
            let template = template_of(requirement, environment);
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
