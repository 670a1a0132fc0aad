//! What one try to acquire reads before it knows which resource it is about, and the parameters that come out of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey};
use conductor_domain::deployment::DeploymentKind;
use conductor_domain::environment::Environment;
use conductor_domain::identity::{Identity, identity};
use conductor_domain::ids::ResourceId;
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::{AcquireRequest, Effect, Operation, OperationStatus};
use conductor_domain::pool::{Pool, PoolKey};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Outputs, Parameters, Resource};
use conductor_domain::score::{self, PlaceholderError, Root, Sharing};
use conductor_domain::template::{MAX_PARAMETERS, TemplateVersion};
use conductor_domain::{Code, Refusal};

use crate::claim::Claimed;
use crate::commit::Batch;
use crate::port::{Ports, StoreError, Versioned};
use crate::record::{Identified, Item};
use crate::resolve::{Known, unresolvable};
use crate::{Engine, Error};

/// Who acquires.
#[derive(Debug, Clone)]
pub(super) enum Me {
    /// A workload, under a name in its file.
    Workload(HoldingKey),
    /// A pool that makes a member.
    Pool(PoolKey),
}

impl Me {
    fn of(claimed: &Claimed) -> Result<Self, Error> {
        let deployment = &claimed.deployment;
        let lane = &deployment.lane;
        match (lane.application_name(), lane.pool(), deployment.kind) {
            (Some(application), _, _) => Ok(Self::Workload(HoldingKey {
                environment: lane.environment.clone(),
                application: application.clone(),
                workload: deployment.workload.clone().unwrap_or_else(WorkloadName::main),
                resource: claimed.operation.resource.clone(),
            })),
            (None, Some(pool), DeploymentKind::Pool) => Ok(Self::Pool(pool)),
            _ => Err(StoreError::Unreadable(format!("{:?} acquires nothing", deployment.kind)).into()),
        }
    }

    pub fn key(&self) -> ConsumerKey {
        match self {
            Me::Workload(holder) => ConsumerKey::Workload(holder.clone()),
            Me::Pool(pool) => ConsumerKey::Pool(pool.clone()),
        }
    }

    pub fn holder(&self) -> Option<&HoldingKey> {
        match self {
            Me::Workload(holder) => Some(holder),
            Me::Pool(_) => None,
        }
    }

    pub fn application(&self) -> Option<&ApplicationName> {
        self.holder().map(|holder| &holder.application)
    }

    pub fn environment(&self) -> &EnvironmentName {
        match self {
            Me::Workload(holder) => &holder.environment,
            Me::Pool(pool) => &pool.environment,
        }
    }
}

/// A resource with what belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub resource: Versioned<Resource>,
    pub stored: Option<Versioned<Parameters>>,
    /// True where it has been made at least once.
    pub made: bool,
    /// Ours.
    pub consumer: Option<Versioned<Consumer>>,
}

/// What was read for one try.
pub(super) struct Picture {
    pub me: Me,
    pub environment: Environment,
    /// The version for a new resource.
    pub asked: Option<TemplateVersion>,
    pub holding: Option<Versioned<Holding>>,
    /// What is held under this name so far.
    pub held: Option<Found>,
    /// What the file's own words lead to: an identity, an id, or what this operation made before.
    pub named: Option<Found>,
    pub identity: Option<Identity>,
    pub pool: Option<Versioned<Pool>>,
    pub dependencies: Vec<Versioned<Resource>>,
    pub known: Known,
}

/// Parameters with nothing left to resolve.
pub(super) struct Wish {
    pub values: Map<String, Value>,
    pub sensitive: BTreeSet<String>,
    pub hash: String,
    /// In a dry run: parameters whose value is not known yet.
    pub unknown: BTreeSet<String>,
}

/// The items of a [`Found`].
fn items_of(id: ResourceId, consumer: &ConsumerKey) -> [Item; 4] {
    [Item::Resource(id), Item::Parameters(id), Item::Outputs(id), Item::Consumer(id, consumer.clone())]
}

fn found_in(batch: &Batch, id: ResourceId, consumer: &ConsumerKey) -> Result<Option<Found>, StoreError> {
    let [resource, parameters, outputs, mine] = items_of(id, consumer);
    let Some(resource) = batch.peek::<Resource>(&resource)? else { return Ok(None) };
    Ok(Some(Found {
        resource,
        stored: batch.peek::<Parameters>(&parameters)?,
        made: batch.peek::<Outputs>(&outputs)?.is_some(),
        consumer: batch.peek::<Consumer>(&mine)?,
    }))
}

impl<P: Ports> Engine<P> {
    /// Reads resources, each with its consumer of that key. Those that are not there are left out.
    pub(super) async fn found(
        &self,
        caller: &Caller,
        ids: &[ResourceId],
        consumer: &ConsumerKey,
    ) -> Result<Vec<Found>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let items = ids.iter().flat_map(|id| items_of(*id, consumer)).collect();
        let batch = self.batch(caller.organisation(), items).await?;
        let found: Result<Vec<Option<Found>>, StoreError> =
            ids.iter().map(|id| found_in(&batch, *id, consumer)).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Everything that can be read without knowing the parameters: two reads.
    pub(super) async fn look(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
    ) -> Result<Picture, Error> {
        let organisation = caller.organisation();
        let me = Me::of(claimed)?;
        let holder = me.holder();
        let template = &request.template;
        let identity = holder.and_then(|holder| identity(template.kind(), template.class(), &request.sharing, holder));
        let environment_item = Item::Environment(me.environment().clone());
        let version_item =
            request.version.clone().map(|version| Item::TemplateVersion(request.template.clone(), version));
        let holding_item = holder.cloned().map(Item::Holding);
        let identity_item = identity.as_ref().map(|identity| Item::Identity(identity.key.clone()));
        let pool_item = self.pool_item(&me, request);
        let before: Vec<Item> = request
            .dependencies
            .iter()
            .map(|dependency| Item::Operation(claimed.deployment.id, dependency.operation))
            .collect();
        let optional = [&version_item, &holding_item, &identity_item, &pool_item];
        let mut items = vec![environment_item.clone()];
        items.extend(optional.into_iter().flatten().cloned());
        items.extend(before.iter().cloned());
        let mut batch = self.batch(organisation, items).await?;
        let gone = |what: &str| StoreError::Unreadable(format!("{what} of an operation is gone"));
        let environment: Versioned<Environment> =
            batch.take(&environment_item)?.ok_or_else(|| gone("the environment"))?;
        let asked = match &version_item {
            Some(item) => {
                let read: Option<Versioned<TemplateVersion>> = batch.take(item)?;
                Some(read.ok_or_else(|| gone("the template version"))?.value)
            }
            None => None,
        };
        let holding: Option<Versioned<Holding>> = batch.take_if(holding_item.as_ref())?;
        let pool: Option<Versioned<Pool>> = batch.take_if(pool_item.as_ref())?;
        let identified = batch.take_if::<Identified>(identity_item.as_ref())?.map(|read| read.value.resource);
        let mut dependencies: Vec<(String, Operation, ResourceId)> = Vec::new();
        for (item, dependency) in before.iter().zip(&request.dependencies) {
            let operation = batch.take::<Operation>(item)?.map(|read| read.value);
            // One that may be missing may also have failed.
            if let Some(operation) = operation.filter(|operation| operation.status == OperationStatus::Succeeded)
                && let Some(resource) = operation.resource_id
            {
                dependencies.push((dependency.name.clone(), operation, resource));
            }
        }

        let named = match (&me, &request.sharing) {
            (Me::Pool(_), _) => claimed.operation.resource_id,
            (Me::Workload(_), Sharing::Existing { id }) => id.parse().ok(),
            (Me::Workload(_), _) => identified,
        };
        let held = holding.as_ref().map(|holding| holding.resource);
        let key = me.key();
        let mut items: Vec<Item> = named.iter().chain(&held).flat_map(|id| items_of(*id, &key)).collect();
        items.extend(dependencies.iter().flat_map(|(_, _, id)| [Item::Resource(*id), Item::Outputs(*id)]));
        items.sort_by_key(|item| format!("{item:?}"));
        items.dedup();
        let batch = if items.is_empty() { Batch::default() } else { self.batch(organisation, items).await? };
        let find = |id: Option<ResourceId>| id.map_or(Ok(None), |id| found_in(&batch, id, &key));
        let (named_found, held) = (find(named)?, find(held)?);
        if identified.is_some() && named_found.is_none() {
            return Err(Error::Conflict);
        }
        let known = self.known(claimed, request, &dependencies, &batch).await?;
        let mut resources: BTreeMap<ResourceId, Versioned<Resource>> = BTreeMap::new();
        for (_, _, id) in &dependencies {
            resources.extend(batch.peek::<Resource>(&Item::Resource(*id))?.map(|resource| (*id, resource)));
        }
        Ok(Picture {
            me,
            environment: environment.value,
            asked,
            holding,
            held,
            named: named_found,
            identity,
            pool,
            dependencies: resources.into_values().collect(),
            known,
        })
    }

    fn pool_item(&self, me: &Me, request: &AcquireRequest) -> Option<Item> {
        match (me, &request.sharing) {
            (Me::Pool(key), _) => Some(Item::Pool(key.clone())),
            (Me::Workload(holder), Sharing::Pool { name }) => {
                let name = name.parse().ok()?;
                Some(Item::Pool(PoolKey { environment: holder.environment.clone(), name }))
            }
            (Me::Workload(_), _) => None,
        }
    }

    /// What the placeholders of a request may name.
    async fn known(
        &self,
        claimed: &Claimed,
        request: &AcquireRequest,
        dependencies: &[(String, Operation, ResourceId)],
        batch: &Batch,
    ) -> Result<Known, Error> {
        let mut known = Known { metadata: claimed.deployment.file_metadata.clone(), ..Known::default() };
        for (name, value) in &claimed.deployment.services {
            known.shown.insert(name.clone(), value.as_object().cloned().unwrap_or_default());
        }
        for (name, operation, id) in dependencies {
            if self.imagining && may_change(operation) {
                known.unknown.insert(name.clone());
                continue;
            }
            if let Some(outputs) = batch.peek::<Outputs>(&Item::Outputs(*id))? {
                known.shown.insert(name.clone(), outputs.value.values.into_iter().collect());
                if uses(request, name) {
                    known.sensitive.insert(name.clone(), self.sensitive(outputs.value.object.as_deref()).await?);
                }
            }
        }
        Ok(known)
    }

    /// Resolves the parameters. Which of them are sensitive by their template is not known here yet.
    pub(super) async fn wish(
        &self,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
    ) -> Result<Wish, Error> {
        let mut parameters = request.parameters.clone().unwrap_or_default();
        if request.has_secrets {
            let mut secrets = self.sensitive(claimed.deployment.secrets.as_deref()).await?;
            if let Some(Value::Object(own)) = secrets.remove(&claimed.operation.resource) {
                parameters.extend(own);
            }
        }
        let name = &claimed.operation.resource;
        let mut resolved_bytes = 0;
        let mut unknown = BTreeSet::new();
        let mut values = Map::new();
        let mut sensitive = BTreeSet::new();
        for (key, value) in parameters {
            let mut open = false;
            let resolved = score::resolve(&value, request.dialect, &mut |reference| {
                open |= picture.known.is_unknown(reference);
                let found = picture.known.look_up(reference)?;
                resolved_bytes += found.value.to_string().len();
                if resolved_bytes > MAX_PARAMETERS {
                    let rule = "makes the parameters longer than 64 KiB";
                    return Err(PlaceholderError::Invalid { placeholder: reference.source.clone(), rule });
                }
                Ok(found)
            })
            .map_err(|error| unresolvable(name, &key, &error))?;
            if resolved.is_sensitive() {
                sensitive.insert(key.clone());
            }
            if open {
                unknown.insert(key.clone());
            }
            values.insert(key, resolved.value);
        }
        if Value::Object(values.clone()).to_string().len() > MAX_PARAMETERS {
            return Err(Refusal::new(Code::ParametersTooLarge, Code::ParametersTooLarge.title()).into());
        }
        let hash = self.parameters_hash(&values).await?;
        Ok(Wish { values, sensitive, hash, unknown })
    }
}

/// True where an operation of a dry run may give its resource other outputs.
fn may_change(operation: &Operation) -> bool {
    let undecided = operation.reason.as_ref().is_some_and(|reason| !reason.otherwise.is_empty());
    undecided || matches!(operation.effect, Some(Effect::Created | Effect::Updated))
}

/// True where the parameters of a request name a resource; those in the vault may.
fn uses(request: &AcquireRequest, name: &str) -> bool {
    let parameters = Value::Object(request.parameters.clone().unwrap_or_default());
    let found = score::references(&parameters, request.dialect, &BTreeSet::from([name])).unwrap_or_default();
    let named = |root: &Root| matches!(root, Root::Resource { name: other, .. } if other == name);
    request.has_secrets || found.iter().any(|(_, reference)| named(&reference.root))
}
