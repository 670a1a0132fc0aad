//! Seeking: which resource an acquire is about. The mode decides only this; everything after it is the same for all.

use conductor_domain::candidate::{Candidate, CandidateGuard, CandidateKey, Scope};
use conductor_domain::consumer::{Consumer, ConsumerKey};
use conductor_domain::identity::{Identity, Mode, by_parameters, own};
use conductor_domain::ids::{GenericUuid, ResourceId};
use conductor_domain::operation::{AcquireRequest, Weighed};
use conductor_domain::pool::{Member, Pool};
use conductor_domain::principal::Caller;
use conductor_domain::resource::ResourceStatus;
use conductor_domain::score::{Matching, Sharing};
use conductor_domain::template::TemplateVersion;
use conductor_domain::{Code, Refusal};

use super::picture::{Found, Me, Picture, Wish};
use super::weigh::{Criteria, weigh};
use crate::claim::Claimed;
use crate::port::{Clock, Ports, StoreError, Versioned};
use crate::record::{Identified, Item, Set};
use crate::resolve::unusable_from;
use crate::{Engine, Error};

/// Candidates that are read at a time.
const CANDIDATES_AT_ONCE: usize = 25;
/// Free members of a pool that are read at a time.
const MEMBERS_AT_ONCE: usize = 5;
/// Candidates that an operation's reason tells of.
const MAX_TOLD: usize = 20;

/// The resource that an acquire is about, or how to make it.
pub(super) struct Target {
    pub found: Option<Found>,
    /// The version that it has or shall have; none for what Conductor did not make.
    pub version: Option<TemplateVersion>,
    /// How it is found, should it be made.
    pub identity: Identity,
    /// Its id, should it be made.
    pub id: ResourceId,
    /// What matching looked at.
    pub candidates: Vec<Weighed>,
    /// Who makes a candidate writes its guard, as it was before the candidates were listed.
    pub guard: Option<(CandidateKey, Option<Versioned<CandidateGuard>>)>,
    /// The free member of a pool that is taken.
    pub claim: Option<Claim>,
    /// In a dry run: what it depends on whether another resource is taken.
    pub undecided: Vec<String>,
}

/// A free member of a pool, and the pool's own place in it.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub pool: Versioned<Pool>,
    pub member: Versioned<Member>,
    pub consumer: Versioned<Consumer>,
}

impl Target {
    fn new(found: Option<Found>, identity: Identity, id: ResourceId) -> Self {
        Self {
            found,
            version: None,
            identity,
            id,
            candidates: Vec::new(),
            guard: None,
            claim: None,
            undecided: Vec::new(),
        }
    }
}

impl<P: Ports> Engine<P> {
    pub(super) async fn seek(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
        wish: &Wish,
    ) -> Result<Target, Error> {
        let id = ResourceId::from_untyped_uuid(self.clock.fresh_id());
        let template = &request.template;
        let mut target = match (&picture.me, &request.sharing) {
            (Me::Pool(pool), _) => Target::new(picture.named.clone(), own(Mode::Pool, pool.name.as_str(), id), id),
            (Me::Workload(_), Sharing::Existing { id: wanted }) => self.existing(picture, wanted, id)?,
            (Me::Workload(_), Sharing::ByParameters) => {
                let environment = picture.me.environment();
                let identity = by_parameters(template.kind(), template.class(), environment, &wish.hash);
                self.with_parameters(caller, picture, identity, wish, id).await?
            }
            (Me::Workload(_), Sharing::Matching(matching)) => {
                self.matching(caller, request, picture, wish, matching, id).await?
            }
            (Me::Workload(_), Sharing::Pool { .. }) => self.member(caller, picture, id).await?,
            (
                Me::Workload(_),
                Sharing::Dedicated | Sharing::Named { .. } | Sharing::ScoreId { .. } | Sharing::Always,
            ) => {
                let identity = picture.identity.clone();
                let identity = identity.ok_or_else(|| StoreError::Unreadable("a mode without identity".to_owned()))?;
                Target::new(picture.named.clone(), identity, id)
            }
        };
        target.version = self.version_of(caller, claimed, request, picture, target.found.as_ref()).await?;
        Ok(target)
    }

    /// An existing resource keeps its version unless the file pins another or the deployment upgrades.
    async fn version_of(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
        found: Option<&Found>,
    ) -> Result<Option<TemplateVersion>, Error> {
        let Some(resource) = found.map(|found| &found.resource) else { return Ok(picture.asked.clone()) };
        if resource.external.is_some() {
            return Ok(None);
        }
        let keeps = resource.template == request.template && !request.pinned && !claimed.deployment.options.upgrade;
        match (&resource.value.version, &picture.asked) {
            (Some(version), asked) if keeps && asked.as_ref().is_none_or(|asked| asked.version != *version) => {
                let item = Item::TemplateVersion(resource.template.clone(), version.clone());
                let read: Option<Versioned<TemplateVersion>> = self.read(caller.organisation(), item).await?;
                let gone = || StoreError::Unreadable("a template version is gone".to_owned());
                Ok(Some(read.ok_or_else(gone)?.value))
            }
            (_, asked) => Ok(asked.clone()),
        }
    }

    fn existing(&self, picture: &Picture, wanted: &str, id: ResourceId) -> Result<Target, Error> {
        let unusable = |why: String| Refusal::new(Code::ResourceUnusable, why);
        let found = picture.named.clone().ok_or_else(|| unusable(format!("there is no resource {wanted}")))?;
        // Whoever uses it already may go on with it whatever became of it.
        if found.consumer.is_none()
            && let Some(why) = unusable_from(&found.resource, picture.me.environment())
        {
            return Err(unusable(why).into());
        }
        if found.resource.status == ResourceStatus::Deleted {
            return Err(unusable(format!("the resource {wanted} is gone")).into());
        }
        let identity = Identity { mode: Mode::Existing, ..own(Mode::Existing, "existing", id) };
        Ok(Target::new(Some(found), identity, id))
    }

    async fn with_parameters(
        &self,
        caller: &Caller,
        picture: &Picture,
        identity: Identity,
        wish: &Wish,
        id: ResourceId,
    ) -> Result<Target, Error> {
        let held = picture.held.as_ref().zip(picture.holding.as_ref());
        if let (Some((held, holding)), false) = (held, wish.unknown.is_empty())
            && holding.mode == Mode::Parameters
        {
            let mut target = Target::new(Some(held.clone()), identity, id);
            target.undecided = wish.unknown.iter().cloned().collect();
            return Ok(target);
        }
        let item = Item::Identity(identity.key.clone());
        let identified: Option<Versioned<Identified>> = self.read(caller.organisation(), item).await?;
        let found = match identified {
            Some(identified) => {
                let found = self.found(caller, &[identified.resource], &picture.me.key()).await?.pop();
                Some(found.ok_or(Error::Conflict)?)
            }
            None => None,
        };
        let mut target = Target::new(found, identity, id);
        target.undecided = wish.unknown.iter().cloned().collect();
        Ok(target)
    }

    /// What is held is kept while it matches; else the oldest candidate that matches. The guard is read before the
    /// candidates, so that whoever makes one knows that there was none.
    async fn matching(
        &self,
        caller: &Caller,
        request: &AcquireRequest,
        picture: &Picture,
        wish: &Wish,
        matching: &Matching,
        id: ResourceId,
    ) -> Result<Target, Error> {
        if let Some(key) = matching.match_on.iter().find(|key| wish.sensitive.contains(*key)) {
            let detail = format!("matchOn names {key:?}, whose value comes from a sensitive output");
            return Err(Refusal::new(Code::ParametersInvalid, detail).into());
        }
        let organisation = caller.organisation();
        let version = picture.asked.as_ref().map(|version| &version.version);
        let criteria = |mine| Criteria { matching, values: &wish.values, version, mine };
        let told = |found: &Found, refused| Weighed {
            resource: found.resource.id,
            name: found.resource.name.clone(),
            refused,
        };
        let template = &request.template;
        let mut target = Target::new(None, own(Mode::Matching, &template.to_string(), id), id);
        target.undecided = wish.unknown.iter().filter(|key| matching.match_on.contains(key)).cloned().collect();
        let held_by_match = picture.holding.as_ref().is_some_and(|holding| holding.mode == Mode::Matching);
        if let Some(held) = picture.held.as_ref().filter(|held| held_by_match && held.resource.template == *template) {
            let refused = weigh(&held.resource, held.stored.as_deref(), criteria(true));
            let keeps = refused.is_none() || !target.undecided.is_empty();
            target.candidates.push(told(held, refused));
            if keeps {
                target.found = Some(held.clone());
                return Ok(target);
            }
        }
        let key =
            CandidateKey { scope: Scope::of(matching.scope, picture.me.environment()), template: template.clone() };
        let guard = self.read::<CandidateGuard>(organisation, Item::CandidateGuard(key.clone())).await?;
        let candidates: Vec<Versioned<Candidate>> = self.list_all(organisation, &Set::Candidates(key.clone())).await?;
        target.guard = Some((key, guard));
        let ids: Vec<ResourceId> = candidates.iter().map(|candidate| candidate.resource).collect();
        for some in ids.chunks(CANDIDATES_AT_ONCE) {
            for found in self.found(caller, some, &picture.me.key()).await? {
                let refused = weigh(&found.resource, found.stored.as_deref(), criteria(false));
                let taken = refused.is_none();
                if target.candidates.len() < MAX_TOLD || taken {
                    target.candidates.push(told(&found, refused));
                }
                if taken {
                    target.found = Some(found);
                    return Ok(target);
                }
            }
        }
        Ok(target)
    }

    /// What is held is kept; else any free member; else one is made on demand.
    async fn member(&self, caller: &Caller, picture: &Picture, id: ResourceId) -> Result<Target, Error> {
        let unknown = || Refusal::new(Code::PoolUnknown, Code::PoolUnknown.title());
        let held = picture.held.as_ref().zip(picture.holding.as_ref());
        if let Some((held, holding)) = held
            && holding.mode == Mode::Pool
            && held.resource.status != ResourceStatus::Deleted
            && picture.pool.as_ref().is_none_or(|pool| held.resource.pool.as_ref() == Some(&pool.key))
        {
            let stem = held.resource.name.clone();
            return Ok(Target::new(Some(held.clone()), own(Mode::Pool, &stem, id), id));
        }
        let pool = picture.pool.as_ref().filter(|pool| !pool.closing).ok_or_else(unknown)?;
        let mut target = Target::new(None, own(Mode::Pool, pool.key.name.as_str(), id), id);
        if let Some((member, found)) = self.free_member(caller, pool).await? {
            let consumer = found.consumer.clone().ok_or(Error::Conflict)?;
            target.claim = Some(Claim { pool: pool.clone(), member, consumer });
            // The consumer that was read with it is the pool's.
            let mine = self.read(caller.organisation(), Item::Consumer(found.resource.id, picture.me.key())).await?;
            target.found = Some(Found { consumer: mine, ..found });
        }
        Ok(target)
    }

    /// Any member that can be claimed, of the first few rather one that nobody else uses: they are tried from a random one
    /// on, so that claimers do not fight for one.
    async fn free_member(&self, caller: &Caller, pool: &Pool) -> Result<Option<(Versioned<Member>, Found)>, Error> {
        let set = Set::Members(pool.key.clone(), Some(true));
        let mut members: Vec<Versioned<Member>> = self.list_all(caller.organisation(), &set).await?;
        let start = (self.clock.chance() * members.len() as f64) as usize;
        let middle = start.min(members.len());
        members.rotate_left(middle);
        let usable = |found: &Found| {
            found.resource.status == ResourceStatus::Active
                && found.resource.reservation.is_none()
                // The pool itself is one of its users; another may have come by the resource's id.
                && pool.room().is_none_or(|room| found.resource.users() <= room)
                && found.consumer.is_some()
        };
        for some in members.chunks(MEMBERS_AT_ONCE) {
            let ids: Vec<ResourceId> = some.iter().map(|member| member.resource).collect();
            let found = self.found(caller, &ids, &ConsumerKey::Pool(pool.key.clone())).await?;
            let best = found.into_iter().filter(usable).min_by_key(|found| found.resource.users() > 1);
            let member = best.as_ref().and_then(|best| some.iter().find(|member| member.resource == best.resource.id));
            if let (Some(member), Some(best)) = (member.cloned(), best) {
                return Ok(Some((member, best)));
            }
        }
        Ok(None)
    }
}
