//! Everything that one try to acquire reads, and the parameters that come out of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey};
use conductor_domain::environment::Environment;
use conductor_domain::identity::{Identity, identity};
use conductor_domain::ids::ResourceId;
use conductor_domain::name::WorkloadName;
use conductor_domain::operation::{AcquireRequest, Operation};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Outputs, Parameters, Resource};
use conductor_domain::score::{self, PlaceholderError, Sharing};
use conductor_domain::template::{MAX_PARAMETERS, TemplateVersion, check_parameters};
use conductor_domain::{Code, Refusal};

use crate::claim::Claimed;
use crate::port::{Ports, StoreError, Versioned};
use crate::record::{Identified, Item};
use crate::resolve::{Known, unresolvable};
use crate::{Engine, Error};

/// Everything that was read for one try.
pub(super) struct Picture {
    pub environment: Environment,
    pub version: TemplateVersion,
    pub identity: Identity,
    pub holder: HoldingKey,
    pub found: Option<Versioned<Resource>>,
    pub stored: Option<Versioned<Parameters>>,
    pub made: bool,
    pub consumer: Option<Versioned<Consumer>>,
    pub holding: Option<Versioned<Holding>>,
    /// The resource held so far under this name, and its consumer, where another one takes its place.
    pub displaced: Option<(Versioned<Resource>, Versioned<Consumer>)>,
    pub dependencies: Vec<Versioned<Resource>>,
    pub known: Known,
}

/// Parameters with nothing left to resolve.
pub(super) struct Wish {
    pub values: Map<String, Value>,
    pub sensitive: BTreeSet<String>,
    pub hash: String,
    pub accepts: bool,
}

/// What the first read tells: enough to know what else to read.
struct Sight {
    holder: HoldingKey,
    identity: Identity,
    environment: Environment,
    asked: TemplateVersion,
    holding: Option<Versioned<Holding>>,
    found: Option<ResourceId>,
    /// Resources of the dependencies, by name in the file.
    dependencies: Vec<(String, ResourceId)>,
}

impl<P: Ports> Engine<P> {
    pub(super) async fn look(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
    ) -> Result<Picture, Error> {
        let organisation = caller.organisation();
        let deployment = &claimed.deployment;
        let id = deployment.id;
        let holder = HoldingKey {
            environment: deployment.lane.environment.clone(),
            application: deployment.lane.application.clone(),
            workload: deployment.workload.clone().unwrap_or_else(WorkloadName::main),
            resource: claimed.operation.resource.clone(),
        };
        let identity = identity(request.template.kind(), request.template.class(), &request.sharing, &holder)
            .ok_or_else(|| Refusal::new(Code::SharingModeUnavailable, Code::SharingModeUnavailable.title()))?;
        let environment_item = Item::Environment(holder.environment.clone());
        let version_item = Item::TemplateVersion(request.template.clone(), request.version.clone());
        let holding_item = Item::Holding(holder.clone());
        let identity_item = Item::Identity(identity.key.clone());
        let before: Vec<Item> =
            request.dependencies.iter().map(|dependency| Item::Operation(id, dependency.operation)).collect();
        let mut items =
            vec![environment_item.clone(), version_item.clone(), holding_item.clone(), identity_item.clone()];
        items.extend(before.iter().cloned());
        let mut batch = self.batch(organisation, items).await?;
        let gone = |what: &str| StoreError::Unreadable(format!("{what} of a running operation is gone"));
        let environment: Versioned<Environment> =
            batch.take(&environment_item)?.ok_or_else(|| gone("the environment"))?;
        let asked: Versioned<TemplateVersion> = batch.take(&version_item)?.ok_or_else(|| gone("the template"))?;
        let holding: Option<Versioned<Holding>> = batch.take(&holding_item)?;
        let found = batch.take::<Identified>(&identity_item)?.map(|identified| identified.value.resource);
        let mut dependencies = Vec::new();
        for (item, dependency) in before.iter().zip(&request.dependencies) {
            if let Some(operation) = batch.take::<Operation>(item)?
                && let Some(resource) = operation.value.resource_id
            {
                dependencies.push((dependency.name.clone(), resource));
            }
        }
        let environment = environment.value;
        let sight = Sight { holder, identity, environment, asked: asked.value, holding, found, dependencies };
        self.look_further(caller, claimed, request, sight).await
    }

    async fn look_further(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        sight: Sight,
    ) -> Result<Picture, Error> {
        let Sight { holder, identity, environment, asked, holding, found, dependencies } = sight;
        let organisation = caller.organisation();
        let me = ConsumerKey::Workload(holder.clone());
        let mut items = Vec::new();
        if let Some(id) = found {
            let consumer = Item::Consumer(id, me.clone());
            items.extend([Item::Resource(id), Item::Parameters(id), Item::Outputs(id), consumer]);
        }
        let before = holding.as_ref().map(|holding| holding.resource).filter(|held| Some(*held) != found);
        if let Some(id) = before {
            items.extend([Item::Resource(id), Item::Consumer(id, me.clone())]);
        }
        for (_, id) in &dependencies {
            items.extend([Item::Resource(*id), Item::Outputs(*id)]);
        }
        items.sort_by_key(|item| format!("{item:?}"));
        items.dedup();
        let batch = if items.is_empty() { Default::default() } else { self.batch(organisation, items).await? };

        let mut known = Known { metadata: claimed.deployment.file_metadata.clone(), ..Known::default() };
        for (name, value) in &claimed.deployment.services {
            known.shown.insert(name.clone(), value.as_object().cloned().unwrap_or_default());
        }
        let mut resources: Vec<Versioned<Resource>> = Vec::new();
        for (name, id) in &dependencies {
            if let Some(outputs) = batch.peek::<Outputs>(&Item::Outputs(*id))? {
                known.shown.insert(name.clone(), outputs.value.values.into_iter().collect());
                if uses(request, name) {
                    known.sensitive.insert(name.clone(), self.sensitive(outputs.value.object.as_deref()).await?);
                }
            }
            if let Some(resource) = batch.peek::<Resource>(&Item::Resource(*id))?
                && resources.iter().all(|other| other.id != resource.id)
            {
                resources.push(resource);
            }
        }
        let displaced = match before {
            Some(id) => {
                let resource = batch.peek::<Resource>(&Item::Resource(id))?;
                let consumer = batch.peek::<Consumer>(&Item::Consumer(id, me.clone()))?;
                resource.zip(consumer)
            }
            None => None,
        };
        let (mut resource, mut stored, mut made, mut consumer) = (None, None, false, None);
        if let Some(id) = found {
            resource = batch.peek::<Resource>(&Item::Resource(id))?;
            stored = batch.peek::<Parameters>(&Item::Parameters(id))?;
            made = batch.peek::<Outputs>(&Item::Outputs(id))?.is_some();
            consumer = batch.peek::<Consumer>(&Item::Consumer(id, me))?;
            if resource.is_none() {
                return Err(Error::Conflict);
            }
        }
        let version = match &resource {
            // An existing resource keeps its version unless the file pins another or the deployment upgrades.
            Some(resource)
                if resource.template == asked.template
                    && resource.value.version != asked.version
                    && !request.pinned
                    && !claimed.deployment.options.upgrade =>
            {
                let item = Item::TemplateVersion(resource.template.clone(), resource.value.version.clone());
                let read: Option<Versioned<TemplateVersion>> = self.read(organisation, item).await?;
                read.ok_or_else(|| StoreError::Unreadable("a template version is gone".to_owned()))?.value
            }
            _ => asked,
        };
        Ok(Picture {
            environment,
            version,
            identity,
            holder,
            found: resource,
            stored,
            made,
            consumer,
            holding,
            displaced,
            dependencies: resources,
            known,
        })
    }

    /// Resolves the parameters, and checks them against the version that the resource has or will have.
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
        let resolved = score::resolve(&Value::Object(parameters), request.dialect, &mut |reference| {
            let found = picture.known.look_up(reference)?;
            resolved_bytes += found.value.to_string().len();
            if resolved_bytes > MAX_PARAMETERS {
                let rule = "makes the parameters longer than 64 KiB";
                return Err(PlaceholderError::Invalid { placeholder: reference.source.clone(), rule });
            }
            Ok(found)
        })
        .map_err(|error| unresolvable(name, &error))?;
        let mut sensitive = resolved.sensitive_keys();
        let Value::Object(values) = resolved.value else { return Err(Error::Conflict) };
        let interface = &picture.version.interface;
        sensitive.extend(
            values.keys().filter(|key| interface.inputs.get(*key).is_some_and(|input| input.sensitive)).cloned(),
        );
        let accepts = !request.given && picture.found.is_some() && !matches!(request.sharing, Sharing::Dedicated);
        if !accepts {
            let base = format!("/resources/{name}/params");
            let faults = check_parameters(interface, &values, &BTreeSet::new(), &base);
            if !faults.is_empty() {
                return Err(Refusal::at(Code::ParametersInvalid, faults).into());
            }
        }
        if Value::Object(values.clone()).to_string().len() > MAX_PARAMETERS {
            return Err(Refusal::new(Code::ParametersTooLarge, Code::ParametersTooLarge.title()).into());
        }
        let hash = self.parameters_hash(&values).await?;
        Ok(Wish { values, sensitive, hash, accepts })
    }
}

/// True where the parameters of a request name an output of a resource.
fn uses(request: &AcquireRequest, name: &str) -> bool {
    request.has_secrets
        || request.parameters.as_ref().is_some_and(|p| Value::Object(p.clone()).to_string().contains(name))
}
