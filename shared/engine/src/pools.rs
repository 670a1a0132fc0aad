//! Pools: put, shown, and kept at their size by deployments of kind `pool`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::access::Right;
use conductor_domain::code::Fault;
use conductor_domain::consumer::ConsumerKey;
use conductor_domain::deployment::DeploymentKind;
use conductor_domain::environment::Environment;
use conductor_domain::ids::ResourceId;
use conductor_domain::lane::{Lane, LaneKey, LaneOf};
use conductor_domain::name::EnvironmentName;
use conductor_domain::operation::{ReleaseRequest, Source};
use conductor_domain::pool::{MAX_POOL_SIZE, Member, Pool, PoolKey, PoolSharing};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Parameters, Resource, ResourceStatus};
use conductor_domain::score::{Dialect, Sharing};
use conductor_domain::template::{
    MAX_PARAMETERS, Template, TemplateName, TemplateState, TemplateVersion, check_parameters,
};
use conductor_domain::{Code, Refusal};

use crate::commit::Precondition;
use crate::environments::PutOutcome;
use crate::plan::{Leaving, Wanted};
use crate::port::{Clock, Objects, Ports, StoreError, Versioned};
use crate::record::{Item, Set, Subject};
use crate::submit::Submission;
use crate::{Causes, Engine, Error};

/// What a user says of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSpec {
    /// The template of its members.
    pub template: TemplateName,
    /// The version of new members; the newest Active one where none is given.
    pub version: Option<semver::Version>,
    /// The parameters of its members.
    pub parameters: Map<String, Value>,
    /// How many free members there should be, at most [`MAX_POOL_SIZE`].
    pub size: u32,
    /// How many may have a member.
    pub sharing: PoolSharing,
    /// How many may have a shared member; none for no limit.
    pub max_consumers: Option<u32>,
    /// True where members stay when their last consumer leaves.
    pub retain: bool,
}

/// A pool and how its members stand.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// The pool.
    pub pool: Versioned<Pool>,
    /// Members that can be claimed.
    pub free: u32,
    /// Members that somebody has.
    pub claimed: u32,
    /// Members that are being made.
    pub provisioning: u32,
    /// Members that could not be made; they are tried again.
    pub failed: u32,
    /// Of the claimed ones, those that were made because none was free.
    pub on_demand: u32,
}

/// Whether members that failed are tried again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// They are: somebody asked, or time has passed.
    Over,
    /// The sweeper will.
    Later,
}

/// A member with what it is like.
struct Standing {
    member: Member,
    resource: Resource,
    parameters: Option<Parameters>,
}

impl<P: Ports> Engine<P> {
    /// Makes a pool, or changes it. Free members that are not as it says are replaced.
    pub async fn put_pool(
        &self,
        caller: &Caller,
        key: PoolKey,
        spec: PoolSpec,
        precondition: &Precondition,
    ) -> Result<PutOutcome<Pool>, Error> {
        let mut tries = self.tries();
        let outcome = loop {
            match self.try_put_pool(caller, &key, &spec, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => break done?,
            }
        };
        self.settle_pool(caller, &key, Patience::Over).await;
        Ok(outcome)
    }

    async fn try_put_pool(
        &self,
        caller: &Caller,
        key: &PoolKey,
        spec: &PoolSpec,
        precondition: &Precondition,
    ) -> Result<PutOutcome<Pool>, Error> {
        let organisation = caller.organisation();
        let environment = self.environment(caller, &key.environment).await?;
        caller.demand(Right::ManagePlatform, None)?;
        let items = [Item::Pool(key.clone()), Item::Template(spec.template.clone())];
        let mut batch = self.batch(organisation, items.to_vec()).await?;
        let read: Option<Versioned<Pool>> = batch.take(&items[0])?;
        let template: Option<Versioned<Template>> = batch.take(&items[1])?;
        precondition.check(read.as_ref().map(|read| &read.version))?;
        if let Some(read) = read.as_ref().filter(|read| read.template != spec.template) {
            let detail = format!("the pool {} has {}; its type cannot change", key.name, read.template);
            return Err(Refusal::at(Code::TypeConflict, vec![Fault::at("/type", detail)]).into());
        }
        let version = self.pool_version(caller, spec, template.as_deref(), read.as_ref()).await?;
        let kept = read.as_ref().is_some_and(|read| read.value.version == version.version);
        if version.state == TemplateState::Deprecated && !kept {
            let detail = format!("{} {} makes no new resources", spec.template, version.version);
            return Err(Refusal::at(Code::TemplateDeprecated, vec![Fault::at("/templateVersion", detail)]).into());
        }
        let parameters = pool_values(spec, &environment, &version)?;
        let sensitive = |name: &String| version.interface.inputs.get(name).is_some_and(|input| input.sensitive);
        let (hidden, shown): (Map<String, Value>, Map<String, Value>) =
            parameters.into_iter().partition(|(name, _)| sensitive(name));

        let now = self.clock.now();
        let mut pool = Pool {
            key: key.clone(),
            template: spec.template.clone(),
            version: version.version.clone(),
            parameters: shown,
            sensitive: hidden.keys().cloned().collect(),
            object: None,
            size: spec.size,
            sharing: spec.sharing,
            max_consumers: spec.max_consumers,
            retain: spec.retain,
            closing: false,
            created_at: read.as_ref().map_or(now, |read| read.created_at),
            updated_at: read.as_ref().map_or(now, |read| read.updated_at),
        };
        if let Some(read) = &read {
            let same_secrets = match &read.object {
                Some(object) => self.sensitive(Some(object)).await?.into_iter().collect::<Map<_, _>>() == hidden,
                None => hidden.is_empty(),
            };
            if same_secrets {
                pool.object = read.object.clone();
            }
            if same_secrets && pool == read.value {
                return Ok(PutOutcome { record: read.clone(), created: false });
            }
        }
        if pool.object.is_none() && !hidden.is_empty() {
            let object = format!("pools/{}/{}/{}", key.environment, key.name, self.clock.fresh_id().simple());
            pool.object = self.hide(object, hidden).await?;
        }
        pool.updated_at = now;
        let object = pool.object.clone();
        let mut draft = self.draft(caller, None);
        // Whoever deletes the environment at this moment has not seen the pool.
        draft.touch(&environment);
        let record = draft.put(read.as_ref(), pool);
        let action = if read.is_some() { "pool.changed" } else { "pool.created" };
        draft.audit(Subject::Pool(key.clone()), action, None);
        draft.commit().await?;
        if let Some(object) = &object {
            self.vault.keep(object).await?;
        }
        Ok(PutOutcome { record, created: read.is_none() })
    }

    /// The version that is asked for; without one, the pool keeps what it has, and a new pool takes the newest.
    async fn pool_version(
        &self,
        caller: &Caller,
        spec: &PoolSpec,
        template: Option<&Template>,
        read: Option<&Versioned<Pool>>,
    ) -> Result<TemplateVersion, Error> {
        let name = &spec.template;
        let unknown = || {
            let detail = format!("there is no active template for {name}");
            Refusal::at(Code::ResourceTypeUnknown, vec![Fault::at("/type", detail)])
        };
        let template = template.ok_or_else(unknown)?;
        let asked = spec.version.as_ref().or_else(|| read.map(|read| &read.value.version));
        let version = asked.or_else(|| template.newest()).ok_or_else(unknown)?;
        let item = Item::TemplateVersion(name.clone(), version.clone());
        let found: Option<Versioned<TemplateVersion>> = self.read(caller.organisation(), item).await?;
        let found = found.ok_or_else(|| {
            let detail = format!("{name} has no version {version}");
            Refusal::at(Code::TemplateVersionUnknown, vec![Fault::at("/templateVersion", detail)])
        })?;
        Ok(found.value)
    }

    /// Ends a pool: its free members go, the claimed ones stay with those who have them. True where it is gone already.
    pub async fn delete_pool(
        &self,
        caller: &Caller,
        key: &PoolKey,
        precondition: &Precondition,
    ) -> Result<bool, Error> {
        let mut tries = self.tries();
        loop {
            let read = self.pool_record(caller, key).await?;
            caller.demand(Right::ManagePlatform, None)?;
            precondition.check(Some(&read.version))?;
            if read.closing {
                break;
            }
            let mut draft = self.draft(caller, None);
            draft.update(&read, Pool { closing: true, updated_at: self.clock.now(), ..read.value.clone() });
            draft.audit(Subject::Pool(key.clone()), "pool.closed", None);
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => {
                    done?;
                    break;
                }
            }
        }
        self.settle_pool(caller, key, Patience::Over).await;
        Ok(self.read::<Pool>(caller.organisation(), Item::Pool(key.clone())).await?.is_none())
    }

    async fn pool_record(&self, caller: &Caller, key: &PoolKey) -> Result<Versioned<Pool>, Error> {
        let found = self.read(caller.organisation(), Item::Pool(key.clone())).await?;
        let detail = || format!("there is no pool {} in {}", key.name, key.environment);
        found.ok_or_else(|| Refusal::new(Code::PoolNotFound, detail()).into())
    }

    /// A pool and how its members stand.
    pub async fn pool(&self, caller: &Caller, key: &PoolKey) -> Result<PoolView, Error> {
        let pool = self.pool_record(caller, key).await?;
        self.pool_view(caller, pool).await
    }

    /// The pools of an environment, by name.
    pub async fn pools(&self, caller: &Caller, environment: &EnvironmentName) -> Result<Vec<PoolView>, Error> {
        self.environment(caller, environment).await?;
        let set = Set::Pools(environment.clone());
        let pools: Vec<Versioned<Pool>> = self.list_all(caller.organisation(), &set).await?;
        let mut views = Vec::new();
        for pool in pools {
            views.push(self.pool_view(caller, pool).await?);
        }
        Ok(views)
    }

    async fn pool_view(&self, caller: &Caller, pool: Versioned<Pool>) -> Result<PoolView, Error> {
        let members = self.standing(caller, &pool.key, None).await?;
        let count = |test: fn(&Standing) -> bool| members.iter().filter(|standing| test(standing)).count() as u32;
        use ResourceStatus as S;
        Ok(PoolView {
            free: count(|s| s.member.free && s.resource.status == S::Active),
            claimed: count(|s| (!s.member.free || s.resource.consumers > 1) && s.resource.status != S::Deleted),
            provisioning: count(|s| s.member.free && matches!(s.resource.status, S::Provisioning | S::Updating)),
            failed: count(|s| s.member.free && s.resource.status == S::Failed),
            on_demand: count(|s| s.member.on_demand && s.resource.status != S::Deleted),
            pool,
        })
    }

    /// The members of a pool, each with its resource, the free ones first.
    pub async fn pool_members(&self, caller: &Caller, key: &PoolKey) -> Result<Vec<(Member, Resource)>, Error> {
        let standing = self.standing(caller, key, None).await?;
        Ok(standing.into_iter().map(|one| (one.member, one.resource)).collect())
    }

    async fn standing(&self, caller: &Caller, key: &PoolKey, free: Option<bool>) -> Result<Vec<Standing>, Error> {
        let organisation = caller.organisation();
        let members: Vec<Versioned<Member>> = self.list_all(organisation, &Set::Members(key.clone(), free)).await?;
        let both = |id: ResourceId| [Item::Resource(id), Item::Parameters(id)];
        let items: Vec<Item> = members.iter().flat_map(|member| both(member.resource)).collect();
        let mut batch = self.batch(organisation, items).await?;
        let mut standing = Vec::new();
        for member in members {
            let [resource, parameters] = both(member.resource);
            if let Some(resource) = batch.take::<Resource>(&resource)? {
                let parameters = batch.take::<Parameters>(&parameters)?.map(|read| read.value);
                standing.push(Standing { member: member.value, resource: resource.value, parameters });
            }
        }
        Ok(standing)
    }

    /// All parameters of a pool, sensitive ones too.
    pub(crate) async fn pool_parameters(&self, pool: &Pool) -> Result<Map<String, Value>, Error> {
        let mut parameters = pool.parameters.clone();
        parameters.extend(self.sensitive(pool.object.as_deref()).await?);
        Ok(parameters)
    }

    /// What a pool lacks, and what it has too much of or not as it says.
    pub(crate) async fn plan_pool(&self, caller: &Caller, key: &PoolKey) -> Result<(Vec<Wanted>, Vec<Leaving>), Error> {
        let Some(pool) = self.read::<Pool>(caller.organisation(), Item::Pool(key.clone())).await? else {
            return Ok(Default::default());
        };
        let parameters = self.pool_parameters(&pool).await?;
        let hash = self.parameters_hash(&parameters).await?;
        let free = self.standing(caller, key, Some(true)).await?;
        let upkeep = upkeep(&pool, &hash, &free);
        let leaving = upkeep
            .leaving
            .into_iter()
            .map(|resource| Leaving {
                name: resource.name.clone(),
                kind: resource.template.kind().to_owned(),
                request: ReleaseRequest { resource: resource.id, consumer: Some(ConsumerKey::Pool(key.clone())) },
                depends_on: resource.depends_on.clone(),
            })
            .collect();
        let missing = upkeep.again.into_iter().map(Some).chain((0..upkeep.lacking).map(|_| None));
        let missing: Vec<Option<ResourceId>> = missing.collect();
        if missing.is_empty() {
            return Ok((Vec::new(), leaving));
        }
        let item = Item::TemplateVersion(pool.template.clone(), pool.value.version.clone());
        let version: Option<Versioned<TemplateVersion>> = self.read(caller.organisation(), item).await?;
        let version = version.ok_or_else(|| StoreError::Unreadable("the version of a pool is gone".to_owned()))?;
        let sources: BTreeMap<String, Source> = parameters.keys().map(|name| (name.clone(), Source::Pool)).collect();
        let wanted = missing
            .into_iter()
            .zip(1..)
            .map(|(resource, number): (_, u32)| Wanted {
                name: format!("{}-{number}", key.name),
                template: pool.template.clone(),
                version: Some(version.value.clone()),
                pinned: false,
                sharing: Sharing::Pool { name: key.name.to_string() },
                dialect: Dialect::Conductor,
                parameters: Some(parameters.clone()),
                given: true,
                retain: None,
                moved_from: None,
                sources: sources.clone(),
                depends_on: BTreeMap::new(),
                resource,
            })
            .collect();
        Ok((wanted, leaving))
    }

    /// Starts a deployment for what a pool lacks, unless one runs; ends a pool that is closing and empty. A failure is
    /// logged: the sweeper looks at every pool.
    pub(crate) async fn settle_pool(&self, caller: &Caller, key: &PoolKey, patience: Patience) {
        match self.try_settle_pool(caller, key, patience).await {
            Ok(()) | Err(Error::Conflict) => {}
            Err(Error::Refused(refusal)) if refusal.code == Code::Superseded => {}
            Err(error) => {
                tracing::warn!(pool = %key.name, environment = %key.environment, error = %Causes(&error), "a pool waits");
            }
        }
    }

    async fn try_settle_pool(&self, caller: &Caller, key: &PoolKey, patience: Patience) -> Result<(), Error> {
        let organisation = caller.organisation();
        let lane = LaneKey { environment: key.environment.clone(), of: LaneOf::Pool(key.name.clone()) };
        let items = [Item::Pool(key.clone()), Item::Lane(lane.clone())];
        let mut batch = self.batch(organisation, items.to_vec()).await?;
        let Some(pool) = batch.take::<Pool>(&items[0])? else { return Ok(()) };
        let turn: Option<Versioned<Lane>> = batch.take(&items[1])?;
        if turn.as_ref().is_some_and(|lane| lane.current.is_some()) {
            return Ok(());
        }
        let parameters = self.pool_parameters(&pool).await?;
        let hash = self.parameters_hash(&parameters).await?;
        let free = self.standing(caller, key, Some(true)).await?;
        let upkeep = upkeep(&pool, &hash, &free);
        let retries = patience == Patience::Over && !upkeep.again.is_empty();
        if upkeep.lacking > 0 || !upkeep.leaving.is_empty() || retries {
            return self.record(caller, Submission::new(DeploymentKind::Pool, lane)).await.map(|_| ());
        }
        if pool.closing && free.is_empty() {
            let mut draft = self.draft(caller, None);
            if let Some(turn) = &turn {
                draft.check(turn);
            }
            draft.delete(&pool);
            draft.audit(Subject::Pool(key.clone()), "pool.deleted", None);
            draft.commit().await?;
        }
        Ok(())
    }
}

/// What is to do about a pool.
struct Upkeep<'a> {
    /// How many members to make.
    lacking: u32,
    /// Members that failed before they were made.
    again: Vec<ResourceId>,
    /// Members that the pool lets go.
    leaving: Vec<&'a Resource>,
}

/// Pure: `hash` is that of the pool's parameters, `free` are its free members.
fn upkeep<'a>(pool: &Pool, hash: &str, free: &'a [Standing]) -> Upkeep<'a> {
    let want = if pool.closing { 0 } else { pool.size as usize };
    let fits = |standing: &Standing| {
        standing.resource.version.as_ref() == Some(&pool.version)
            && standing.parameters.as_ref().is_none_or(|parameters| parameters.hash == hash)
            && standing.resource.status != ResourceStatus::Deleting
    };
    let (mut good, stale): (Vec<&Standing>, Vec<&Standing>) =
        free.iter().filter(|s| s.resource.status != ResourceStatus::Deleted).partition(|s| fits(s));
    // What failed goes first, then what nobody shares, then the newest.
    good.sort_by_key(|standing| {
        let failed = standing.resource.status == ResourceStatus::Failed;
        (failed, std::cmp::Reverse(standing.resource.consumers), standing.resource.id)
    });
    let surplus = good.split_off(want.min(good.len()));
    let failed = good.iter().filter(|standing| standing.resource.status == ResourceStatus::Failed);
    Upkeep {
        lacking: want.saturating_sub(good.len()) as u32,
        again: failed.map(|standing| standing.resource.id).collect(),
        leaving: stale.iter().chain(&surplus).map(|standing| &standing.resource).collect(),
    }
}

/// The parameters of a pool's members: the environment's defaults, the pool's own, what the environment fixes.
fn pool_values(
    spec: &PoolSpec,
    environment: &Environment,
    version: &TemplateVersion,
) -> Result<Map<String, Value>, Refusal> {
    let mut faults = Vec::new();
    if spec.size > MAX_POOL_SIZE {
        faults.push(Fault::at("/size", format!("size is {}; at most {MAX_POOL_SIZE} are possible", spec.size)));
    }
    match (spec.sharing, spec.max_consumers) {
        (_, Some(0)) => faults.push(Fault::at("/maxConsumers", "maxConsumers must be at least 1")),
        (PoolSharing::Dedicated, Some(_)) => {
            faults.push(Fault::at("/maxConsumers", "maxConsumers goes with sharing: shared"));
        }
        _ => {}
    }
    if !faults.is_empty() {
        return Err(Refusal::at(Code::BodyInvalid, faults));
    }
    let nothing = Map::new();
    let defaults = environment.spec.defaults.get(spec.template.kind());
    let (before, fixed) = defaults.map_or((&nothing, &nothing), |d| (&d.parameters, &d.fixed));
    let values: Map<String, Value> =
        before.iter().chain(&spec.parameters).chain(fixed).map(|(k, v)| (k.clone(), v.clone())).collect();
    for (name, value) in &values {
        if fixed.get(name).is_some_and(|_| spec.parameters.get(name).is_some_and(|given| given != value)) {
            faults.push(Fault::at(format!("/parameters/{name}"), format!("the environment fixes {name:?}")));
        }
        let text = value.to_string();
        if text.contains("${") || text.contains("$$") {
            let detail = format!("{name}: a pool's parameters have no placeholders, and so no `${{` and no `$$`");
            faults.push(Fault::at(format!("/parameters/{name}"), detail));
        }
    }
    faults.extend(check_parameters(&version.interface, &values, &BTreeSet::new(), "/parameters"));
    if !faults.is_empty() {
        return Err(Refusal::at(Code::ParametersInvalid, faults));
    }
    if Value::Object(values.clone()).to_string().len() > MAX_PARAMETERS {
        return Err(Refusal::new(Code::ParametersTooLarge, Code::ParametersTooLarge.title()));
    }
    Ok(values)
}
