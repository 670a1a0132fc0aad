//! Acquiring: finds the resource that a file asks for, links to it, or reserves it to be made or changed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey, Origin};
use conductor_domain::environment::Environment;
use conductor_domain::identity::{Identity, identity};
use conductor_domain::ids::{GenericUuid, OperationId, ResourceId};
use conductor_domain::name::WorkloadName;
use conductor_domain::operation::{AcquireRequest, During, Effect, Operation, ReleaseRequest, WaitingFor};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{
    MAX_CONSUMERS, MAX_DEPENDENCIES, Outputs, Parameters, Reservation, Resource, ResourceEvent, ResourceStatus,
    StateLocation, Waiter,
};
use conductor_domain::score::{self, PlaceholderError, Sharing};
use conductor_domain::template::{MAX_PARAMETERS, TemplateName, TemplateState, TemplateVersion, check_parameters};
use conductor_domain::{Code, Refusal};
use jiff::{SignedDuration, Timestamp};

use crate::claim::{Appended, Claimed};
use crate::commit::Draft;
use crate::port::{Clock, Objects, Ports, StoreError, Versioned};
use crate::record::{Identified, Item, Resident, Set};
use crate::resolve::{Known, unresolvable};
use crate::work::{Job, Step};
use crate::{Engine, Error};

/// STS gives sessions of at least this long; terraform's credentials may live for so long after it began.
const SESSION_TIME: SignedDuration = SignedDuration::from_mins(15);

/// What an acquire finds under its identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub resource: &'a Resource,
    /// The hash of its parameters; `None` where it never got any.
    pub hash: Option<&'a str>,
    /// True where it has been made at least once.
    pub made: bool,
    /// True where the asking workload is a consumer already.
    pub mine: bool,
}

/// What an acquire asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub operation: OperationId,
    pub template: &'a TemplateName,
    /// The version that the resource should have.
    pub version: &'a TemplateVersion,
    /// True where any parameters are accepted.
    pub accepts: bool,
    pub hash: &'a str,
    pub refresh: bool,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Create,
    Link,
    Unchanged,
    /// Run terraform on what is there.
    Change(During),
    /// The same, if nobody else uses it.
    ChangeIfSole(During),
    Wait,
    Refuse(Refusal),
    /// What was read does not fit together: read again.
    Stale,
}

/// The rules of 2-domain.md, "Sharing with different parameters" and "Nothing to do". Pure.
pub(crate) fn decide(found: Option<Found<'_>>, ask: Ask<'_>) -> Decision {
    let Some(found) = found else {
        return match ask.version.state {
            TemplateState::Active => Decision::Create,
            TemplateState::Deprecated => Decision::Refuse(Refusal::new(
                Code::TemplateDeprecated,
                format!("{} {} makes no new resources", ask.template, ask.version.version),
            )),
        };
    };
    let resource = found.resource;
    if resource.template != *ask.template {
        let detail = format!("{} is a {}, not a {}", resource.name, resource.template, ask.template);
        return Decision::Refuse(Refusal::new(Code::TypeConflict, detail));
    }
    if resource.reservation.as_ref().is_some_and(|reservation| reservation.operation != ask.operation) {
        return Decision::Wait;
    }
    let same_parameters = ask.accepts || found.hash == Some(ask.hash);
    let same_version = resource.version == ask.version.version;
    match resource.status {
        ResourceStatus::Deleted => Decision::Stale,
        // Ours, from a claim that ended early.
        ResourceStatus::Provisioning => Decision::Change(During::Create),
        ResourceStatus::Updating => Decision::Change(During::Update),
        // What was never there cannot be taken away from anybody.
        ResourceStatus::Failed | ResourceStatus::Deleting if !found.made => Decision::Change(During::Create),
        ResourceStatus::Failed | ResourceStatus::Deleting if same_parameters && same_version => {
            Decision::Change(During::Update)
        }
        ResourceStatus::Failed | ResourceStatus::Deleting => Decision::ChangeIfSole(During::Update),
        ResourceStatus::Active => match (same_parameters && same_version, found.mine) {
            (true, _) if ask.refresh => Decision::Change(During::Update),
            (true, true) => Decision::Unchanged,
            (true, false) => Decision::Link,
            (false, _) => Decision::ChangeIfSole(During::Update),
        },
    }
}

/// Everything that was read for one try.
struct Picture {
    environment: Environment,
    version: TemplateVersion,
    identity: Identity,
    holder: HoldingKey,
    found: Option<Versioned<Resource>>,
    stored: Option<Versioned<Parameters>>,
    made: bool,
    consumer: Option<Versioned<Consumer>>,
    holding: Option<Versioned<Holding>>,
    /// The resource held so far under this name, and its consumer, where another one takes its place.
    displaced: Option<(Versioned<Resource>, Versioned<Consumer>)>,
    dependencies: Vec<Versioned<Resource>>,
    known: Known,
}

/// Parameters with nothing left to resolve.
struct Wish {
    values: Map<String, Value>,
    sensitive: BTreeSet<String>,
    hash: String,
    accepts: bool,
}

impl<P: Ports> Engine<P> {
    /// One try to acquire; [`Error::Conflict`] means try again.
    pub(crate) async fn acquire(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        deadline: Timestamp,
    ) -> Result<Step, Error> {
        let picture = self.look(caller, claimed, request).await?;
        let wish = self.wish(claimed, request, &picture).await?;
        let ask = Ask {
            operation: claimed.operation.id,
            template: &request.template,
            version: &picture.version,
            accepts: wish.accepts,
            hash: &wish.hash,
            refresh: claimed.deployment.options.refresh,
        };
        let found = picture.found.as_ref().map(|resource| Found {
            resource,
            hash: picture.stored.as_ref().map(|stored| stored.hash.as_str()),
            made: picture.made,
            mine: picture.consumer.is_some() && picture.holding.as_ref().is_some_and(|h| h.resource == resource.id),
        });
        let mut walked = Vec::new();
        let during = match (decide(found, ask), &picture.found) {
            (Decision::Refuse(refusal), _) => return Err(refusal.into()),
            (Decision::Stale, _) => return Err(Error::Conflict),
            (Decision::Wait, Some(resource)) => return self.wait(caller, claimed, resource).await,
            (Decision::Unchanged, Some(resource)) => return self.unchanged(caller, claimed, request, resource).await,
            (Decision::Link, Some(resource)) => {
                return self.link(caller, claimed, request, &picture, resource).await;
            }
            (Decision::ChangeIfSole(during), Some(resource)) => {
                walked = self.sole(caller, claimed, resource, &picture, &wish).await?;
                during
            }
            (Decision::Change(during), _) => during,
            (Decision::Create, _) | (_, None) => During::Create,
        };
        self.reserve(caller, claimed, request, picture, wish, during, walked, deadline).await
    }

    async fn look(&self, caller: &Caller, claimed: &Claimed, request: &AcquireRequest) -> Result<Picture, Error> {
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
        self.look_further(
            caller,
            claimed,
            request,
            holder,
            identity,
            environment.value,
            asked.value,
            holding,
            found,
            dependencies,
        )
        .await
    }

    #[expect(clippy::too_many_arguments, reason = "the first half of a picture, handed on once")]
    async fn look_further(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        holder: HoldingKey,
        identity: Identity,
        environment: Environment,
        asked: TemplateVersion,
        holding: Option<Versioned<Holding>>,
        found: Option<ResourceId>,
        dependencies: Vec<(String, ResourceId)>,
    ) -> Result<Picture, Error> {
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
    async fn wish(&self, claimed: &Claimed, request: &AcquireRequest, picture: &Picture) -> Result<Wish, Error> {
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

    async fn wait(&self, caller: &Caller, claimed: &Claimed, resource: &Versioned<Resource>) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        self.wait_for(&mut draft, claimed, resource)?;
        draft.commit().await?;
        Ok(Step::Waits)
    }

    /// Queues an operation for a resource that another one has reserved.
    pub(crate) fn wait_for(
        &self,
        draft: &mut Draft<'_, P>,
        claimed: &Claimed,
        resource: &Versioned<Resource>,
    ) -> Result<(), Error> {
        let (deployment, number) = (claimed.deployment.id, claimed.operation.number);
        draft.create(Waiter { resource: resource.id, deployment, number, since: self.clock.now() });
        draft.update(resource, Resource { waiters: resource.waiters + 1, ..resource.value.clone() });
        draft.block(claimed, WaitingFor::Resource)
    }

    async fn unchanged(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        resource: &Versioned<Resource>,
    ) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        draft.check(resource);
        if request.retain && !resource.retain {
            let retained = Resource { retain: true, ..resource.value.clone() };
            draft.audit_resource(&retained, "resource.retained");
            draft.update(resource, retained);
        }
        let operation = Operation { resource_id: Some(resource.id), ..claimed.operation.value.clone() };
        draft.succeed(claimed, operation, Effect::Unchanged)?;
        draft.commit().await?;
        Ok(Step::Ended)
    }

    async fn link(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
        resource: &Versioned<Resource>,
    ) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut linked = resource.value.clone();
        linked.retain |= request.retain;
        self.consume(&mut draft, claimed, picture, &mut linked)?;
        draft.audit_resource(&linked, "resource.linked");
        draft.update(resource, linked);
        let operation = Operation { resource_id: Some(resource.id), ..claimed.operation.value.clone() };
        draft.succeed(claimed, operation, Effect::Linked)?;
        draft.commit().await?;
        Ok(Step::Ended)
    }

    /// Makes the workload a consumer and holder of a resource, in place of what it held under that name.
    fn consume(
        &self,
        draft: &mut Draft<'_, P>,
        claimed: &Claimed,
        picture: &Picture,
        resource: &mut Resource,
    ) -> Result<(), Error> {
        let key = ConsumerKey::Workload(picture.holder.clone());
        let now = self.clock.now();
        let consumer = Consumer { resource: resource.id, key, origin: Origin::File, added_at: now, leaving: None };
        match &picture.consumer {
            Some(read) if read.leaving.is_some() => {
                draft.update(read, Consumer { leaving: None, ..read.value.clone() });
            }
            Some(_) => {}
            None => {
                if resource.consumers >= MAX_CONSUMERS {
                    let detail = format!("{} has {MAX_CONSUMERS} consumers; no more are allowed", resource.name);
                    return Err(Refusal::new(Code::TooManyConsumers, detail).into());
                }
                draft.create(consumer);
                resource.consumers += 1;
            }
        }
        let holding = Holding {
            key: picture.holder.clone(),
            resource: resource.id,
            kind: resource.template.kind().to_owned(),
            mode: picture.identity.mode,
            deployment: claimed.deployment.id,
        };
        match &picture.holding {
            Some(read) if read.resource == resource.id => {}
            read => {
                draft.put(read.as_ref(), holding);
            }
        }
        if let (Some((old, consumer)), Some(holding)) = (&picture.displaced, &picture.holding) {
            let name = format!("{}~{}", picture.holder.resource, claimed.operation.id);
            let moved = HoldingKey { resource: name.clone(), ..picture.holder.clone() };
            let key = ConsumerKey::Workload(moved.clone());
            draft.delete(consumer);
            draft.create(Consumer { key: key.clone(), ..consumer.value.clone() });
            draft.create(Holding { key: moved, ..holding.value.clone() });
            draft.check(old);
            let release = ReleaseRequest { resource: old.id, consumer: key };
            let kind = old.template.kind().to_owned();
            draft.append(claimed, vec![Appended { name, kind, request: release, before: None }]);
        }
        Ok(())
    }

    /// Refuses a change of a resource that somebody else uses; otherwise the resources that were walked to know it.
    async fn sole(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        resource: &Versioned<Resource>,
        picture: &Picture,
        wish: &Wish,
    ) -> Result<Vec<Versioned<Resource>>, Error> {
        let own = (&picture.holder.environment, &picture.holder.application, &picture.holder.workload);
        let mut others = BTreeSet::new();
        let mut walked = Vec::new();
        let mut seen = BTreeSet::from([resource.id.to_string()]);
        let mut open = vec![resource.id];
        while let Some(id) = open.pop() {
            let consumers: Vec<Versioned<Consumer>> = self.list_all(caller.organisation(), &Set::Consumers(id)).await?;
            for consumer in consumers {
                match &consumer.key {
                    ConsumerKey::Workload(holder) if consumer.key.workload() != Some(own) => {
                        others.insert(format!("{}/{} in {}", holder.application, holder.workload, holder.environment));
                    }
                    ConsumerKey::Workload(_) => {}
                    ConsumerKey::Resource { resource } => {
                        if seen.insert(resource.to_string()) {
                            let item = Item::Resource(*resource);
                            walked.extend(self.read::<Resource>(caller.organisation(), item).await?);
                            open.push(*resource);
                        }
                    }
                }
            }
        }
        if others.is_empty() {
            return Ok(walked);
        }
        let empty = Map::new();
        let there = picture.stored.as_ref().map_or(&empty, |stored| &stored.values);
        let difference = difference(there, wish, picture);
        let users: Vec<String> = others.into_iter().collect();
        let detail = format!(
            "{} is used by {}, so {} cannot change it: {difference}",
            resource.name,
            users.join(", "),
            claimed.operation.resource
        );
        Err(Refusal::new(Code::ParametersConflict, detail).into())
    }

    /// Reserves the resource, making its record where there is none; from here the half-made thing has an owner.
    #[expect(clippy::too_many_arguments, reason = "everything that one commit is made of")]
    async fn reserve(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: Picture,
        wish: Wish,
        during: During,
        walked: Vec<Versioned<Resource>>,
        deadline: Timestamp,
    ) -> Result<Step, Error> {
        let now = self.clock.now();
        let deployment = claimed.deployment.id;
        let mut operation = claimed.operation.value.clone();
        let fresh = picture.found.is_none();
        let mut resource = match &picture.found {
            Some(found) => found.value.clone(),
            None => self.new_resource(caller, claimed, request, &picture),
        };
        let id = resource.id;
        let was_active = resource.status == ResourceStatus::Active;
        if !fresh {
            resource.take(ResourceEvent::begun(during), now)?;
        }
        resource.updated_by = deployment;
        resource.retain |= request.retain;
        resource.reservation = Some(reservation(claimed, now, deadline));

        let mut draft = self.draft(caller, Some(deployment));
        // Only who replaces the parameters says what they need.
        let accepted = wish.accepts && picture.stored.is_some();
        let replaced = picture.stored.as_ref().is_none_or(|stored| !accepted && stored.hash != wish.hash);
        let wanted: Vec<&Versioned<Resource>> = picture.dependencies.iter().filter(|_| !accepted).collect();
        let mut depends_on: Vec<ResourceId> = wanted.iter().map(|dependency| dependency.id).collect();
        if !replaced {
            depends_on.extend(resource.depends_on.iter().filter(|id| !wanted.iter().any(|w| w.id == **id)));
        }
        self.refuse_cycle(caller, &resource, &wanted).await?;
        for dependency in wanted {
            if resource.depends_on.contains(&dependency.id) {
                continue;
            }
            if dependency.consumers >= MAX_CONSUMERS {
                let detail = format!("{} has {MAX_CONSUMERS} consumers; no more are allowed", dependency.name);
                return Err(Refusal::new(Code::TooManyConsumers, detail).into());
            }
            resource.depends_on.push(dependency.id);
            let key = ConsumerKey::Resource { resource: id };
            let (resource, origin) = (dependency.id, Origin::Dependency);
            draft.create(Consumer { resource, key, origin, added_at: now, leaving: None });
            let used = Resource { consumers: dependency.consumers + 1, ..dependency.value.clone() };
            draft.update(dependency, used);
        }
        for other in walked.iter().filter(|other| picture.dependencies.iter().all(|d| d.id != other.id)) {
            draft.check(other);
        }

        if resource.depends_on.len() > MAX_DEPENDENCIES {
            let detail = format!("{} would have over {MAX_DEPENDENCIES} dependencies", resource.name);
            return Err(Refusal::new(Code::TooManyDependencies, detail).into());
        }

        let mut parameters = None;
        let inputs = if accepted {
            self.stored_inputs(picture.stored.as_deref()).await?
        } else {
            let object = self.hide_parameters(claimed, id, &wish, &mut operation).await?;
            let shown = wish.values.iter().filter(|(name, _)| !wish.sensitive.contains(*name));
            let new = Parameters {
                resource: id,
                values: shown.map(|(name, value)| (name.clone(), value.clone())).collect(),
                sensitive: wish.sensitive.iter().cloned().collect(),
                object,
                hash: wish.hash,
            };
            // What is there keeps its parameters until the change has succeeded; what is not there yet needs them to be
            // destroyed, should it be made by half.
            if picture.made {
                parameters = Some(new);
            } else {
                draft.put(picture.stored.as_ref(), new);
                resource.version = picture.version.version.clone();
            }
            (wish.values, wish.sensitive)
        };

        operation.resource_id = Some(id);
        operation.attempts += 1;
        self.consume(&mut draft, claimed, &picture, &mut resource)?;
        match &picture.found {
            Some(found) => {
                draft.update(found, resource.clone());
            }
            None => {
                draft.create(Identified { key: picture.identity.key.clone(), resource: id });
                draft.create(Resident { environment: resource.environment.clone(), resource: id });
                draft.audit_resource(&resource, "resource.provisioning");
                draft.create(resource.clone());
            }
        }
        draft.update(&claimed.operation, operation);
        draft.commit().await?;
        Ok(Step::Run(Box::new(Job {
            organisation: caller.organisation().clone(),
            deployment,
            operation: claimed.operation.id,
            epoch: claimed.operation.epoch,
            allow_replace: claimed.deployment.options.allow_replace.contains(&claimed.operation.resource),
            depends_on,
            parameters,
            was_active,
            environment: picture.environment,
            template: picture.version,
            resource,
            during,
            fresh,
            inputs: inputs.0,
            sensitive: inputs.1,
            deadline,
        })))
    }

    /// Refuses dependencies that depend on the resource itself, with the path.
    async fn refuse_cycle(
        &self,
        caller: &Caller,
        resource: &Resource,
        dependencies: &[&Versioned<Resource>],
    ) -> Result<(), Error> {
        let mut open: Vec<(Resource, String)> = dependencies
            .iter()
            .map(|dependency| (dependency.value.clone(), format!("{} → {}", resource.name, dependency.name)))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some((next, path)) = open.pop() {
            if next.id == resource.id {
                let detail = format!("the resources would depend on each other: {path}");
                return Err(Refusal::new(Code::DependencyCycle, detail).into());
            }
            if !seen.insert(next.id.to_string()) {
                continue;
            }
            let items: Vec<Item> = next.depends_on.iter().map(|id| Item::Resource(*id)).collect();
            for found in self.read_all::<Resource>(caller.organisation(), &items).await?.into_iter().flatten() {
                let path = format!("{path} → {}", found.name);
                open.push((found.value, path));
            }
        }
        Ok(())
    }

    fn new_resource(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
    ) -> Resource {
        let id = ResourceId::from_untyped_uuid(self.clock.fresh_id());
        let now = self.clock.now();
        let environment = picture.holder.environment.clone();
        let location =
            format!("s3://{}/{}/{environment}/{id}.tfstate", self.settings.state_bucket, caller.organisation());
        Resource {
            id,
            name: picture.identity.name.clone(),
            template: request.template.clone(),
            version: picture.version.version.clone(),
            environment,
            created_for: picture.holder.application.clone(),
            mode: picture.identity.mode,
            identity: picture.identity.key.clone(),
            status: ResourceStatus::Provisioning,
            entered_at: now,
            reservation: None,
            consumers: 0,
            waiters: 0,
            depends_on: Vec::new(),
            state_location: StateLocation { backend: "s3".to_owned(), location },
            retain: request.retain,
            created_by: claimed.deployment.id,
            updated_by: claimed.deployment.id,
            created_at: now,
            updated_at: now,
        }
    }

    async fn hide_parameters(
        &self,
        claimed: &Claimed,
        id: ResourceId,
        wish: &Wish,
        operation: &mut Operation,
    ) -> Result<Option<String>, Error> {
        let hidden: Map<String, Value> = wish
            .values
            .iter()
            .filter(|(name, _)| wish.sensitive.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if hidden.is_empty() {
            return Ok(None);
        }
        let object = format!("resources/{id}/parameters/{}-{}", claimed.operation.id, claimed.operation.epoch);
        self.vault.put(&object, Value::Object(hidden).to_string().into_bytes()).await?;
        operation.pending_objects.push(object.clone());
        Ok(Some(object))
    }

    /// The inputs that a resource was last given, and the names of the sensitive ones.
    pub(crate) async fn stored_inputs(
        &self,
        stored: Option<&Parameters>,
    ) -> Result<(Map<String, Value>, BTreeSet<String>), Error> {
        let Some(stored) = stored else { return Ok(Default::default()) };
        let mut inputs = stored.values.clone();
        inputs.extend(self.sensitive(stored.object.as_deref()).await?);
        Ok((inputs, stored.sensitive.iter().cloned().collect()))
    }
}

/// The reservation of a claim.
pub(crate) fn reservation(claimed: &Claimed, now: Timestamp, deadline: Timestamp) -> Reservation {
    Reservation {
        deployment: claimed.deployment.id,
        number: claimed.operation.number,
        operation: claimed.operation.id,
        epoch: claimed.operation.epoch,
        // Credentials are taken within a minute of this.
        dead_after: deadline.max(now + SESSION_TIME + SignedDuration::from_mins(1)),
    }
}

/// True where the parameters of a request name an output of a resource.
fn uses(request: &AcquireRequest, name: &str) -> bool {
    request.has_secrets
        || request.parameters.as_ref().is_some_and(|p| Value::Object(p.clone()).to_string().contains(name))
}

/// How the wished parameters differ from those that are there; sensitive values are masked.
fn difference(there: &Map<String, Value>, wish: &Wish, picture: &Picture) -> String {
    let hidden = picture.stored.as_ref().map(|stored| stored.sensitive.as_slice()).unwrap_or_default();
    let names: BTreeSet<&String> = there.keys().chain(wish.values.keys()).chain(hidden).collect();
    let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let lines: Vec<String> = names
        .into_iter()
        .filter(|name| there.get(*name) != wish.values.get(*name))
        .map(|name| {
            if wish.sensitive.contains(name) || hidden.contains(name) {
                format!("{name} (sensitive) may differ")
            } else {
                format!("{name} is {}, wanted {}", show(there.get(name)), show(wish.values.get(name)))
            }
        })
        .collect();
    match (lines.is_empty(), picture.found.as_ref()) {
        (true, Some(found)) => {
            format!("its template version is {}, wanted {}", found.value.version, picture.version.version)
        }
        _ => lines.join("; "),
    }
}

#[cfg(test)]
mod tests;
