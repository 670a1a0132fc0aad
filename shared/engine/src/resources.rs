//! Resources by hand: registered, published, consumed and let go over the API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::access::Right;
use conductor_domain::candidate::{Candidate, CandidateGuard, CandidateKey, Scope};
use conductor_domain::code::Fault;
use conductor_domain::consumer::{Consumer, ConsumerKey};
use conductor_domain::environment::Environment;
use conductor_domain::identity::{IdentityKey, Mode, external};
use conductor_domain::ids::{DeploymentId, GenericUuid, OperationId, ResourceId};
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{
    MAX_OUTPUT, MAX_OUTPUTS, Outputs, Parameters, Resource, ResourceEvent, ResourceStatus, StateLocation,
};
use conductor_domain::template::{MAX_PARAMETERS, Template, TemplateName, TemplateVersion};
use conductor_domain::{Code, Refusal};

use crate::commit::Precondition;
use crate::idempotency::IdempotencyKey;
use crate::port::{Clock, Objects, Ports, StoreError, Versioned};
use crate::record::{Identified, Item, Resident, Set, Subject};
use crate::submit::Submission;
use crate::{Engine, Error};

/// The longest name of a registered resource, and of its id where it lives.
const MAX_TEXT: usize = 255;

/// A resource that Conductor did not make.
#[derive(Debug, Clone)]
pub struct NewExternal {
    /// Where it lives.
    pub environment: EnvironmentName,
    /// Its type and class; a template of that name need not exist.
    pub template: TemplateName,
    /// The name by which files share it; without one it is found by its id only.
    pub name: Option<String>,
    /// Its id where it lives, such as an ARN.
    pub existing_id: String,
    /// What it is like, for files that ask for it with parameters.
    pub parameters: Map<String, Value>,
    /// What it gives, and whether it is sensitive.
    pub outputs: BTreeMap<String, (Value, bool)>,
}

/// What can be said of a resource.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResourceChange {
    /// Whether matching with the scope `global` finds it, and every environment may name it.
    pub published: Option<bool>,
    /// True where a person has looked for what no state has.
    pub reconciled: bool,
}

/// A consumer that no file names.
#[derive(Debug, Clone)]
pub struct NewConsumer {
    /// The environment.
    pub environment: EnvironmentName,
    /// The application.
    pub application: ApplicationName,
    /// One of its workloads; none for the whole application.
    pub workload: Option<WorkloadName>,
}

impl<P: Ports> Engine<P> {
    /// Registers a resource that Conductor did not make: it can be consumed, is never changed and never destroyed.
    pub async fn register(
        &self,
        caller: &Caller,
        new: NewExternal,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<ResourceId, Error> {
        caller.demand(Right::ManagePlatform, None)?;
        check_external(&new)?;
        let id = ResourceId::from_untyped_uuid(self.clock.fresh_id());
        let mut tries = self.tries();
        loop {
            match self.try_register(caller, id, &new, idempotency.as_ref()).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_register(
        &self,
        caller: &Caller,
        id: ResourceId,
        new: &NewExternal,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<ResourceId, Error> {
        let (used, made) = self.repeated(caller, idempotency).await?;
        if let Some(made) = made {
            return made.parse().map_err(|_| StoreError::Unreadable(format!("{made:?} is not a resource")).into());
        }
        let new = new.clone();
        let environment_item = Item::Environment(new.environment.clone());
        let environment: Option<Versioned<Environment>> = self.read(caller.organisation(), environment_item).await?;
        let environment = environment.ok_or_else(|| {
            let detail = format!("there is no environment {}", new.environment);
            Refusal::at(Code::EnvironmentUnknown, vec![Fault::at("/environment", detail)])
        })?;
        let kind = new.template.kind().to_owned();
        let (mode, identity) = match &new.name {
            Some(name) => (Mode::Shared, IdentityKey::shared(&new.environment, name)),
            None => (Mode::Existing, external(&new.environment, &kind, &new.existing_id)),
        };
        let name = new.name.clone().unwrap_or_else(|| new.existing_id.clone());
        if self.read::<Identified>(caller.organisation(), Item::Identity(identity.clone())).await?.is_some() {
            return Err(
                Refusal::new(Code::ResourceExists, format!("{name} is known already in the environment")).into()
            );
        }
        let now = self.clock.now();
        let resource = Resource {
            id,
            name,
            template: new.template,
            version: None,
            environment: new.environment.clone(),
            created_for: None,
            mode,
            identity: identity.clone(),
            status: ResourceStatus::Active,
            entered_at: now,
            reservation: None,
            left_behind: None,
            errored_state: None,
            unstored: None,
            consumers: 0,
            dependents: 0,
            waiters: 0,
            max_consumers: None,
            candidate: None,
            published: false,
            pool: None,
            external: Some(new.existing_id.clone()),
            depends_on: Vec::new(),
            state_location: StateLocation { backend: "none".to_owned(), location: new.existing_id },
            retain: true,
            created_by: None,
            updated_by: None,
            created_at: now,
            updated_at: now,
        };
        let (hidden, shown): (BTreeMap<_, _>, BTreeMap<_, _>) =
            new.outputs.into_iter().partition(|(_, (_, sensitive))| *sensitive);
        let sensitive: Vec<String> = hidden.keys().cloned().collect();
        let hidden = hidden.into_iter().map(|(name, (value, _))| (name, value)).collect();
        let object = self.hide(format!("resources/{id}/outputs/registered"), hidden).await?;
        let values = shown.into_iter().map(|(name, (value, _))| (name, value)).collect();
        let outputs = Outputs { resource: id, values, sensitive, object };

        let hash = self.parameters_hash(&new.parameters).await?;
        let secret = self.secret_inputs(caller, &resource.template).await?;
        let (hidden, values): (Map<String, Value>, Map<String, Value>) =
            new.parameters.into_iter().partition(|(name, _)| secret.contains(name));
        let sensitive = hidden.keys().cloned().collect();
        let object = self.hide(format!("resources/{id}/parameters/registered"), hidden).await?;
        let parameters = Parameters { resource: id, values, sensitive, object, hash };
        let objects: Vec<String> = outputs.object.iter().chain(&parameters.object).cloned().collect();
        let mut draft = self.draft(caller, None);
        // Whoever deletes or moves the environment at this moment has not seen the resource.
        draft.touch(&environment);
        draft.create(Identified { key: identity, resource: id });
        draft.create(Resident { environment: new.environment, resource: id });
        draft.create(outputs);
        draft.create(parameters);
        draft.audit_resource(&resource, "resource.registered");
        draft.create(resource);
        draft.remember(idempotency, used.as_ref(), id);
        draft.commit().await?;
        for object in &objects {
            self.vault.keep(object).await?;
        }
        Ok(id)
    }

    /// The inputs that a type calls sensitive, where it has a template.
    async fn secret_inputs(&self, caller: &Caller, name: &TemplateName) -> Result<BTreeSet<String>, Error> {
        let template: Option<Versioned<Template>> =
            self.read(caller.organisation(), Item::Template(name.clone())).await?;
        let newest = template.and_then(|template| template.versions.keys().next_back().cloned());
        let Some(version) = newest else { return Ok(BTreeSet::new()) };
        let item = Item::TemplateVersion(name.clone(), version);
        let version: Option<Versioned<TemplateVersion>> = self.read(caller.organisation(), item).await?;
        let inputs = version.map(|version| version.value.interface.inputs).unwrap_or_default();
        Ok(inputs.into_iter().filter(|(_, input)| input.sensitive).map(|(name, _)| name).collect())
    }

    /// Ends a resource that nobody uses: one that was registered is forgotten at once, any other is destroyed by a
    /// deployment, also where it is retained. `allow_destroy`: also where its environment is protected.
    pub async fn delete_resource(
        &self,
        caller: &Caller,
        id: ResourceId,
        allow_destroy: bool,
        precondition: &Precondition,
    ) -> Result<Option<DeploymentId>, Error> {
        let mut tries = self.tries();
        loop {
            let read = self.resource_record(caller, id).await?;
            caller.demand(Right::Deploy, Some(&read.environment))?;
            precondition.check(Some(&read.version))?;
            let consumer = self.left_behind(caller, &read).await?;
            if read.consumers > u32::from(consumer.is_some()) {
                return Err(self.in_use(caller, &read).await?.into());
            }
            if consumer.is_some() && read.retain {
                let mut draft = self.draft(caller, None);
                let released = Resource { retain: false, ..read.value.clone() };
                draft.audit_resource(&released, "resource.changed");
                draft.update(&read, released);
                match draft.commit().await {
                    Err(Error::Conflict) => {
                        self.again(&mut tries).await?;
                        continue;
                    }
                    done => done?,
                }
            }
            if read.external.is_none() {
                let submission = Submission::release(&read, consumer, allow_destroy);
                return self.record(caller, submission).await.map(|submitted| Some(submitted.deployment));
            }
            let mut draft = self.draft(caller, None);
            let mut going = read.clone();
            going.value.take(ResourceEvent::DestroyBegun, draft.now())?;
            self.erase(caller, &mut draft, &going, going.value.clone()).await?;
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done.map(|()| None),
            }
        }
    }

    /// The edge of a resource that is gone, whose release did not succeed: the only consumer that may be left.
    async fn left_behind(&self, caller: &Caller, resource: &Resource) -> Result<Option<ConsumerKey>, Error> {
        let consumers: Vec<Versioned<Consumer>> =
            self.list_first(caller.organisation(), &Set::Consumers(resource.id), 2).await?;
        let [only] = consumers.as_slice() else { return Ok(None) };
        let ConsumerKey::Resource { resource } = &only.key else { return Ok(None) };
        let dependent: Option<Versioned<Resource>> =
            self.read(caller.organisation(), Item::Resource(*resource)).await?;
        let gone = dependent.is_none_or(|dependent| dependent.status == ResourceStatus::Deleted);
        Ok((gone && only.leaving.is_some()).then(|| only.key.clone()))
    }

    async fn resource_record(&self, caller: &Caller, id: ResourceId) -> Result<Versioned<Resource>, Error> {
        let found = self.resource_ever(caller, id).await?;
        if found.status == ResourceStatus::Deleted {
            return Err(no_resource(id).into());
        }
        Ok(found)
    }

    async fn resource_ever(&self, caller: &Caller, id: ResourceId) -> Result<Versioned<Resource>, Error> {
        let found: Option<Versioned<Resource>> = self.read(caller.organisation(), Item::Resource(id)).await?;
        found.ok_or_else(|| no_resource(id).into())
    }

    async fn in_use(&self, caller: &Caller, resource: &Resource) -> Result<Refusal, Error> {
        let consumers: Vec<Versioned<Consumer>> =
            self.list_all(caller.organisation(), &Set::Consumers(resource.id)).await?;
        let users = self.labels(caller, consumers.iter().map(|consumer| &consumer.key)).await?;
        Ok(Refusal::new(Code::ResourceInUse, format!("{} is used: {}", resource.name, users.join(", "))))
    }

    /// Changes what can be said of a resource.
    pub async fn change_resource(
        &self,
        caller: &Caller,
        id: ResourceId,
        change: ResourceChange,
        precondition: &Precondition,
    ) -> Result<Versioned<Resource>, Error> {
        let mut tries = self.tries();
        loop {
            match self.try_change_resource(caller, id, change, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_change_resource(
        &self,
        caller: &Caller,
        id: ResourceId,
        change: ResourceChange,
        precondition: &Precondition,
    ) -> Result<Versioned<Resource>, Error> {
        let read = match change.published {
            Some(_) => self.resource_record(caller, id).await?,
            // What a resource left is looked for also when it is gone.
            None => self.resource_ever(caller, id).await?,
        };
        caller.demand(Right::ManagePlatform, None)?;
        precondition.check(Some(&read.version))?;
        let published = change.published.unwrap_or(read.published);
        let unstored = read.unstored.clone().filter(|_| !change.reconciled);
        let changed = Resource { published, unstored, ..read.value.clone() };
        if changed == read.value {
            return Ok(read);
        }
        let mut draft = self.draft(caller, None);
        if let Some(seen_to) = read.unstored.as_ref().filter(|_| change.reconciled) {
            draft.audit(Subject::Resource(id), "resource.reconciled", Some(seen_to.objects.join(", ")));
        }
        let made_global = read.candidate == Some(Scope::Global);
        let key = CandidateKey { scope: Scope::Global, template: read.template.clone() };
        if published != read.published && !made_global {
            let items = [Item::CandidateGuard(key.clone()), Item::Candidate(key.clone(), read.created_at, id)];
            let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
            let guard: Option<Versioned<CandidateGuard>> = batch.take(&items[0])?;
            let candidate: Option<Versioned<Candidate>> = batch.take(&items[1])?;
            if published {
                let added = guard.as_ref().map_or(0, |guard| guard.added) + 1;
                draft.put(guard.as_ref(), CandidateGuard { key: key.clone(), added });
                draft.put(candidate.as_ref(), Candidate { key, created_at: read.created_at, resource: id });
            } else if let Some(candidate) = &candidate {
                draft.delete(candidate);
            }
        }
        if published != read.published {
            draft.audit_resource(&changed, if published { "resource.published" } else { "resource.unpublished" });
        }
        let written = draft.update(&read, changed);
        draft.commit().await?;
        Ok(written)
    }

    /// Adds a consumer that no file names; false where it was there.
    pub async fn add_consumer(
        &self,
        caller: &Caller,
        id: ResourceId,
        new: NewConsumer,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(Consumer, bool), Error> {
        let environment = self.read::<Environment>(caller.organisation(), Item::Environment(new.environment.clone()));
        if environment.await?.is_none() {
            let detail = format!("there is no environment {}", new.environment);
            return Err(Refusal::at(Code::EnvironmentUnknown, vec![Fault::at("/environment", detail)]).into());
        }
        let key =
            ConsumerKey::Api { environment: new.environment, application: new.application, workload: new.workload };
        let mut tries = self.tries();
        loop {
            let (used, made) = self.repeated(caller, idempotency.as_ref()).await?;
            let read = self.resource_record(caller, id).await?;
            demand_of(caller, &read, &key)?;
            let item = Item::Consumer(id, key.clone());
            let there: Option<Versioned<Consumer>> = self.read(caller.organisation(), item).await?;
            if let Some(there) = there.as_ref().filter(|there| there.leaving.is_none()) {
                // The same request is answered as it was.
                return Ok((there.value.clone(), made.is_some()));
            }
            if !matches!(read.status, ResourceStatus::Active | ResourceStatus::Updating) {
                let detail = format!("{} is {:?}; only what is Active can be consumed", read.name, read.status);
                return Err(Refusal::new(Code::ResourceUnusable, detail).into());
            }
            if there.is_none() {
                read.refuse_more()?;
            }
            let mut draft = self.draft(caller, None);
            let consumer = Consumer { resource: id, key: key.clone(), added_at: self.clock.now(), leaving: None };
            // One that was about to leave stays instead.
            let more = u32::from(there.is_none());
            draft.put(there.as_ref(), consumer.clone());
            let taken = Resource { consumers: read.consumers + more, ..read.value.clone() };
            draft.audit_resource(&taken, "consumer.added");
            draft.update(&read, taken);
            draft.remember(idempotency.as_ref(), used.as_ref(), key.id());
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done.map(|()| (consumer, true)),
            }
        }
    }

    /// Removes a consumer that [`Engine::add_consumer`] made. The last one takes the resource along, unless it is
    /// retained: by a deployment, whose id is the answer. `allow_destroy`: also where its environment is protected.
    pub async fn remove_consumer(
        &self,
        caller: &Caller,
        id: ResourceId,
        consumer: &str,
        allow_destroy: bool,
    ) -> Result<Option<DeploymentId>, Error> {
        let mut tries = self.tries();
        loop {
            let read = self.resource_record(caller, id).await?;
            let consumers: Vec<Versioned<Consumer>> = self.list_all(caller.organisation(), &Set::Consumers(id)).await?;
            let found = consumers.iter().find(|one| one.key.id() == consumer).ok_or_else(|| {
                Refusal::new(Code::ConsumerNotFound, format!("{} has no consumer {consumer}", read.name))
            })?;
            demand_of(caller, &read, &found.key)?;
            match &found.key {
                ConsumerKey::Api { .. } => {}
                ConsumerKey::Workload(_) => {
                    let detail = format!("{} comes from a Score file", found.key.label().unwrap_or_default());
                    return Err(Refusal::new(Code::ConsumerFromFile, detail).into());
                }
                ConsumerKey::Resource { .. } | ConsumerKey::Pool(_) => {
                    return Err(self.in_use(caller, &read).await?.into());
                }
            }
            if read.consumers <= 1 && !read.retain {
                if found.leaving.is_none() {
                    let mut draft = self.draft(caller, None);
                    let leaving = OperationId::from_untyped_uuid(draft.fresh_id());
                    draft.update(found, Consumer { leaving: Some(leaving), ..found.value.clone() });
                    draft.audit_resource(&read, "consumer.leaves");
                    draft.check(&read);
                    match draft.commit().await {
                        Err(Error::Conflict) => {
                            self.again(&mut tries).await?;
                            continue;
                        }
                        done => done?,
                    }
                }
                let submission = Submission::release(&read, Some(found.key.clone()), allow_destroy);
                return self.record(caller, submission).await.map(|submitted| Some(submitted.deployment));
            }
            let mut draft = self.draft(caller, None);
            draft.delete(found);
            let left = Resource { consumers: read.consumers.saturating_sub(1), ..read.value.clone() };
            draft.audit_resource(&left, "consumer.removed");
            draft.update(&read, left);
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done.map(|()| None),
            }
        }
    }
}

/// A consumer binds a resource for an environment: whoever adds or removes one deploys in that of each.
fn demand_of(caller: &Caller, resource: &Resource, consumer: &ConsumerKey) -> Result<(), Refusal> {
    caller.demand(Right::Deploy, Some(&resource.environment))?;
    match consumer {
        ConsumerKey::Api { environment, .. } => caller.demand(Right::Deploy, Some(environment)),
        ConsumerKey::Workload(_) | ConsumerKey::Resource { .. } | ConsumerKey::Pool(_) => Ok(()),
    }
}

fn no_resource(id: ResourceId) -> Refusal {
    Refusal::new(Code::ResourceNotFound, format!("there is no resource {id}"))
}

fn check_external(new: &NewExternal) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    let texts = [("/existingResourceId", Some(&new.existing_id)), ("/name", new.name.as_ref())];
    for (pointer, text) in texts.into_iter().filter_map(|(pointer, text)| Some((pointer, text?))) {
        if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            faults.push(Fault::at(pointer, format!("must be 1 to {MAX_TEXT} characters, none of them a control one")));
        }
    }
    if !faults.is_empty() {
        return Err(Refusal::at(Code::BodyInvalid, faults));
    }
    if Value::Object(new.parameters.clone()).to_string().len() > MAX_PARAMETERS {
        return Err(Refusal::new(Code::ParametersTooLarge, Code::ParametersTooLarge.title()));
    }
    let sizes: Vec<usize> = new.outputs.values().map(|(value, _)| value.to_string().len()).collect();
    if sizes.iter().any(|size| *size > MAX_OUTPUT) || sizes.iter().sum::<usize>() > MAX_OUTPUTS {
        return Err(Refusal::new(Code::OutputTooLarge, Code::OutputTooLarge.title()));
    }
    Ok(())
}
