//! Acquiring: finds the resource that a file asks for, links to it, or reserves it to be made or changed.

mod decide;
mod picture;
mod reserve;
mod seek;
mod tell;
mod weigh;

use std::collections::BTreeSet;

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey};
use conductor_domain::identity::{Mode, identity, mode};
use conductor_domain::ids::ResourceId;
use conductor_domain::operation::{
    AcquireRequest, During, Effect, Operation, OperationEvent, Prospect, Reason, ReleaseRequest, WaitingFor,
};
use conductor_domain::pool::Member;
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Resource, ResourceStatus, Waiter};
use conductor_domain::score::Sharing;
use conductor_domain::template::check_parameters;
use conductor_domain::{Code, Refusal};
use jiff::Timestamp;

use crate::claim::{Appended, Claimed};
use crate::commit::Draft;
use crate::mutant::Mutant;
use crate::pools::Patience;
use crate::port::{Clock, Ports, Versioned};
use crate::record::{Identified, Item};
use crate::work::Step;
use crate::{Engine, Error};
use decide::{Ask, Decision, decide};
use picture::{Found, Me, Picture, Wish};
use reserve::Change;
use seek::Target;
use tell::{changes, difference, found_by, prospect};

/// What a try to acquire has found out.
struct Scene<'a> {
    request: &'a AcquireRequest,
    picture: Picture,
    target: Target,
    wish: Wish,
    /// True where any parameters are accepted.
    accepts: bool,
    reason: Reason,
}

impl<P: Ports> Engine<P> {
    /// One try to acquire; [`Error::Conflict`] means try again.
    pub(crate) async fn acquire(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        deadline: Option<Timestamp>,
    ) -> Result<Step, Error> {
        if let Some(old) = &request.moved_from {
            self.move_holding(caller, claimed, request, old).await?;
        }
        let picture = self.look(caller, claimed, request).await?;
        let mut wish = self.wish(claimed, request, &picture).await?;
        let mut target = self.seek(caller, claimed, request, &picture, &wish).await?;
        let mut reason = Reason::default();
        if self.imagining {
            imagine_settled(claimed, &mut target, &mut reason);
        }
        let mine = target.found.as_ref().is_some_and(|found| is_mine(&picture, found));
        let accepts = accepts(request, &target, &picture, mine, &wish.hash);
        check_wish(&claimed.operation.resource, &target, accepts, &mut wish)?;

        let found = target.found.as_ref().map(|found| decide::Found {
            resource: &found.resource,
            hash: found.stored.as_ref().map(|stored| stored.hash.as_str()),
            made: found.made,
            mine,
            may_change: claimed.deployment.may_change_in(&found.resource.environment),
        });
        let ask = Ask {
            operation: claimed.operation.id,
            template: &request.template,
            version: target.version.as_ref(),
            accepts,
            hash: &wish.hash,
            refresh: claimed.deployment.options.refresh,
        };
        let mut decision = decide(found, ask);
        let mut users = Users::default();
        if let (Decision::ChangeIfSole(_), Some(found)) = (&decision, &target.found) {
            users = self.users(caller, &picture.me, &found.resource).await?;
        }
        reason.text = found_by(&request.sharing, target.found.as_ref().map(|found| &found.resource.value));
        reason.candidates = std::mem::take(&mut target.candidates);
        if self.imagining && !wish.unknown.is_empty() && !accepts {
            // Were the values what they are now, nothing would be to do: the run goes on with that.
            let same = decide(found, Ask { accepts: true, ..ask });
            let otherwise = prospect(&decision, users.others.is_empty());
            if same != decision && !matches!(same, Decision::Create) {
                reason.otherwise.extend(otherwise);
                reason.decided_by.extend(wish.unknown.iter().map(|name| format!("the value of {name}")));
                decision = same;
            }
        }
        if !target.undecided.is_empty() {
            reason.otherwise.extend([Prospect::Created, Prospect::Linked]);
            reason.decided_by.extend(target.undecided.iter().map(|name| format!("the value of {name}")));
        }
        let change = |during| (during, users.walked);
        let resource = target.found.as_ref().map(|found| found.resource.clone());
        let (during, walked) = match (decision, &resource) {
            (Decision::Refuse(refusal), _) => return Err(refusal.into()),
            (Decision::Stale, _) => return Err(Error::Conflict),
            (Decision::Wait, Some(resource)) => return self.wait(caller, claimed, resource).await,
            (Decision::Unchanged, Some(resource)) => {
                let scene = Scene { request, picture, target, wish, accepts, reason };
                return self.unchanged(caller, claimed, scene, resource).await;
            }
            (Decision::Link, Some(resource)) => {
                let scene = Scene { request, picture, target, wish, accepts, reason };
                return self.link(caller, claimed, scene, resource).await;
            }
            (Decision::ChangeIfSole(_), Some(resource)) if !users.others.is_empty() => {
                let stored = target.found.as_ref().and_then(|found| found.stored.as_deref());
                let version = target.version.as_ref().map(|version| &version.version);
                let detail = format!(
                    "{} is used by {}, so {} cannot change it: {}",
                    resource.name,
                    users.others.iter().cloned().collect::<Vec<_>>().join(", "),
                    claimed.operation.resource,
                    difference(&changes(stored, &wish), resource, version),
                );
                return Err(Refusal::new(Code::ParametersConflict, detail).into());
            }
            (Decision::ChangeIfSole(during) | Decision::Change(during), Some(_)) => change(during),
            (Decision::Create | Decision::Wait | Decision::Unchanged | Decision::Link, None)
            | (Decision::Create | Decision::Change(_) | Decision::ChangeIfSole(_), _) => change(During::Create),
        };
        if during == During::Update {
            let stored = target.found.as_ref().and_then(|found| found.stored.as_deref());
            reason.parameters = if accepts { Vec::new() } else { changes(stored, &wish) };
        }
        let scene = Scene { request, picture, target, wish, accepts, reason };
        self.reserve(caller, claimed, Change { scene, during, walked, deadline }).await
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
        let mut operation = claimed.operation.value.clone();
        operation.take(OperationEvent::Blocked, draft.now())?;
        operation.waiting_for = Some(WaitingFor::Resource);
        operation.awaits = Some(resource.id);
        draft.charge(claimed, &mut operation);
        draft.create(Waiter { resource: resource.id, deployment, number, since: operation.entered_at });
        if !Mutant::WaiterWithoutCheck.lives() {
            draft.update(resource, Resource { waiters: resource.waiters + 1, ..resource.value.clone() });
        }
        draft.end_claim(claimed, operation);
        Ok(())
    }

    /// Nothing to run. The file may still have other words on what the resource depends on, and whether it stays.
    async fn unchanged(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        scene: Scene<'_>,
        resource: &Versioned<Resource>,
    ) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut kept = resource.value.clone();
        let may_change = claimed.deployment.may_change_in(&resource.environment);
        if let Some(retain) = scene.request.retain
            && may_change
            && resource.external.is_none()
            && (retain || resource.consumers <= 1)
        {
            kept.retain = retain;
        }
        if !scene.accepts && may_change && resource.external.is_none() {
            self.rewire(caller, claimed, &mut draft, &scene.picture, resource, &mut kept).await?;
        }
        self.hold(&mut draft, claimed, &scene.picture, &kept, Some(&scene.wish.hash));
        if kept == resource.value {
            draft.check(resource);
        } else {
            draft.audit_resource(&kept, "resource.changed");
            draft.update(resource, kept);
        }
        let reason = Reason {
            text: format!("{}; its parameters and its template version stay", scene.reason.text),
            ..scene.reason
        };
        let operation =
            Operation { resource_id: Some(resource.id), reason: Some(reason), ..claimed.operation.value.clone() };
        let operation = draft.succeed(claimed, operation, Effect::Unchanged)?;
        draft.commit().await?;
        Ok(Step::Ended(Box::new(claimed.ended(operation))))
    }

    async fn link(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        scene: Scene<'_>,
        resource: &Versioned<Resource>,
    ) -> Result<Step, Error> {
        self.refuse_cycle(caller, resource, &scene.picture.dependencies.iter().collect::<Vec<_>>()).await?;
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut linked = resource.value.clone();
        linked.retain |= scene.request.retain == Some(true) && claimed.deployment.may_change_in(&resource.environment);
        self.consume(&mut draft, claimed, &scene.picture, &scene.target, &mut linked)?;
        self.hold(&mut draft, claimed, &scene.picture, &linked, Some(&scene.wish.hash));
        draft.audit_resource(&linked, "resource.linked");
        if !Mutant::ConsumerWithoutResource.lives() {
            draft.update(resource, linked);
        }
        let operation =
            Operation { resource_id: Some(resource.id), reason: Some(scene.reason), ..claimed.operation.value.clone() };
        let operation = draft.succeed(claimed, operation, Effect::Linked)?;
        draft.commit().await?;
        if let Some(claim) = &scene.target.claim {
            self.settle_pool(caller, &claim.pool.key, Patience::Later).await;
        }
        Ok(Step::Ended(Box::new(claimed.ended(operation))))
    }

    /// Makes us a consumer of a resource; where it is a pool's free member, in place of the pool.
    fn consume(
        &self,
        draft: &mut Draft<'_, P>,
        claimed: &Claimed,
        picture: &Picture,
        target: &Target,
        resource: &mut Resource,
    ) -> Result<(), Error> {
        match target.found.as_ref().and_then(|found| found.consumer.as_ref()) {
            Some(read) if read.leaving.is_some() => {
                draft.update(read, Consumer { leaving: None, ..read.value.clone() });
            }
            Some(_) => {}
            None => {
                resource.refuse_more()?;
                let (key, added_at) = (picture.me.key(), self.clock.now());
                draft.create(Consumer { resource: resource.id, key, added_at, leaving: None });
                resource.consumers += 1;
            }
        }
        if let Some(claim) = &target.claim {
            let claims = resource.users().saturating_sub(1);
            if claim.pool.room().is_some_and(|room| claims >= room) {
                draft.delete(&claim.consumer);
                resource.consumers -= 1;
                draft.delete(&claim.member);
                draft.create(Member { free: false, ..claim.member.value.clone() });
            }
        }
        if let (Some(held), Some(holding), Some(holder)) = (
            picture.held.as_ref().filter(|held| held.resource.id != resource.id),
            &picture.holding,
            picture.me.holder(),
        ) && let Some(consumer) = &held.consumer
        {
            let name = format!("{}~{}", holder.resource, claimed.operation.id);
            let moved = HoldingKey { resource: name.clone(), ..holder.clone() };
            let key = ConsumerKey::Workload(moved.clone());
            draft.delete(consumer);
            draft.create(Consumer { key: key.clone(), ..consumer.value.clone() });
            draft.create(Holding { key: moved, ..holding.value.clone() });
            draft.check(&held.resource);
            let request = ReleaseRequest { resource: held.resource.id, consumer: Some(key) };
            let kind = held.resource.template.kind().to_owned();
            // A cancelled deployment lets go of nothing more.
            if claimed.deployment.cancel.is_none() {
                draft.append(claimed, vec![Appended { name, kind, request, before: None }]);
            }
        }
        Ok(())
    }

    /// Writes what a workload holds now under its name; `asked` is the hash of its wish, where that is fulfilled.
    fn hold(
        &self,
        draft: &mut Draft<'_, P>,
        claimed: &Claimed,
        picture: &Picture,
        resource: &Resource,
        asked: Option<&str>,
    ) {
        let Some(holder) = picture.me.holder() else { return };
        let Some(request) = claimed.acquires() else { return };
        let read = picture.holding.as_ref();
        let same = read.filter(|read| read.resource == resource.id);
        let holding = Holding {
            key: holder.clone(),
            resource: resource.id,
            kind: resource.template.kind().to_owned(),
            mode: mode(&request.sharing),
            // What was never made is made by whoever goes on with it.
            deployment: same
                .filter(|_| resource.status != ResourceStatus::Provisioning)
                .map_or(claimed.deployment.id, |read| read.deployment),
            asked: asked.map(str::to_owned).or_else(|| same.and_then(|read| read.asked.clone())),
        };
        if read.is_none_or(|read| read.value != holding) {
            draft.put(read, holding);
        }
    }

    /// Brings what a resource of ours depends on into line with the file, where nothing else is to do.
    async fn rewire(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        draft: &mut Draft<'_, P>,
        picture: &Picture,
        resource: &Versioned<Resource>,
        kept: &mut Resource,
    ) -> Result<(), Error> {
        let wanted: BTreeSet<ResourceId> = picture.dependencies.iter().map(|dependency| dependency.id).collect();
        let there: BTreeSet<ResourceId> = resource.depends_on.iter().copied().collect();
        let edge = |id: &ResourceId| Item::Consumer(*id, ConsumerKey::Resource { resource: resource.id });
        let kept_edges: Vec<Item> = wanted.intersection(&there).map(edge).collect();
        let edges = self.read_all::<Consumer>(caller.organisation(), &kept_edges).await?;
        let leaving = edges.iter().flatten().any(|edge| edge.leaving.is_some());
        if wanted == there && !leaving {
            return Ok(());
        }
        let users = self.users(caller, &picture.me, resource).await?;
        if !users.others.is_empty() {
            return Ok(());
        }
        self.depend(caller, draft, kept, &picture.dependencies.iter().collect::<Vec<_>>(), false).await?;
        for other in &users.walked {
            draft.check(other);
        }
        let dropped: Vec<ResourceId> = there.difference(&wanted).copied().collect();
        let edges = self.edges(caller, claimed, draft, resource, &dropped).await?;
        draft.append(claimed, edges);
        Ok(())
    }

    /// Gives a holding its new name, in a commit of its own. What is not held under the old name, or not in the same way,
    /// is left alone.
    async fn move_holding(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        old: &str,
    ) -> Result<(), Error> {
        let organisation = caller.organisation();
        let lane = &claimed.deployment.lane;
        let (Some(application), Some(workload)) = (lane.application_name(), &claimed.deployment.workload) else {
            return Ok(());
        };
        let new = HoldingKey {
            environment: lane.environment.clone(),
            application: application.clone(),
            workload: workload.clone(),
            resource: claimed.operation.resource.clone(),
        };
        let old = HoldingKey { resource: old.to_owned(), ..new.clone() };
        let items = vec![Item::Holding(old.clone()), Item::Holding(new.clone())];
        let mut batch = self.batch(organisation, items.clone()).await?;
        let (from, to) = (batch.take::<Holding>(&items[0])?, batch.take::<Holding>(&items[1])?);
        let same = |holding: &Versioned<Holding>| {
            holding.kind == request.template.kind() && holding.mode == mode(&request.sharing)
        };
        let (Some(from), None) = (from.filter(same), to) else { return Ok(()) };
        let id = from.resource;
        let key = ConsumerKey::Workload(old.clone());
        let identity_of = |holder: &HoldingKey| {
            let template = &request.template;
            identity(template.kind(), template.class(), &Sharing::Dedicated, holder).map(|identity| identity.key)
        };
        let mut items = vec![Item::Resource(id), Item::Consumer(id, key)];
        let identities = (identity_of(&old), identity_of(&new));
        if from.mode == Mode::Dedicated {
            items.extend(identities.0.clone().map(Item::Identity));
            items.extend(identities.1.clone().map(Item::Identity));
        }
        let mut batch = self.batch(organisation, items.clone()).await?;
        let (Some(resource), Some(consumer)) = (batch.take::<Resource>(&items[0])?, batch.take::<Consumer>(&items[1])?)
        else {
            return Err(Error::Conflict);
        };
        if let Some(item) = items.get(3)
            && batch.take::<Identified>(item)?.is_some()
        {
            let name = &claimed.operation.resource;
            let detail =
                format!("{name} cannot take the place of {}: a resource of that name is retained", old.resource);
            return Err(Refusal::new(Code::ResourceExists, detail).into());
        }
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut moved = resource.value.clone();
        if let (Some(item), (_, Some(key))) = (items.get(2), identities) {
            let identified: Versioned<Identified> = batch.take(item)?.ok_or(Error::Conflict)?;
            draft.delete(&identified);
            draft.create(Identified { key: key.clone(), resource: id });
            moved.identity = key;
        }
        draft.delete(&consumer);
        draft.create(Consumer { key: ConsumerKey::Workload(new.clone()), ..consumer.value.clone() });
        draft.delete(&from);
        draft.create(Holding { key: new, ..from.value.clone() });
        draft.audit(
            crate::record::Subject::Resource(id),
            "resource.moved",
            Some(format!("{} → {}", old.resource, claimed.operation.resource)),
        );
        draft.check(&claimed.operation);
        draft.update(&resource, moved);
        draft.commit().await
    }
}

/// True where what was found is ours already.
fn is_mine(picture: &Picture, found: &Found) -> bool {
    let held = match &picture.me {
        Me::Workload(_) => picture.holding.as_ref().is_some_and(|holding| holding.resource == found.resource.id),
        Me::Pool(_) => true,
    };
    held && found.consumer.is_some()
}

/// True where a resource keeps its own parameters although they are not those of the wish: the file gives none, they are
/// the pool's, or matching took what is there and the wish has not changed since.
fn accepts(request: &AcquireRequest, target: &Target, picture: &Picture, mine: bool, hash: &str) -> bool {
    let Some(found) = &target.found else { return false };
    if found.stored.as_ref().is_some_and(|stored| stored.hash == hash) {
        return false;
    }
    let as_before = || picture.holding.as_ref().is_some_and(|holding| holding.asked.as_deref() == Some(hash));
    match &request.sharing {
        Sharing::Dedicated => false,
        Sharing::Pool { .. } => found.made,
        Sharing::Matching(_) => !request.given || !mine || as_before(),
        Sharing::Named { .. }
        | Sharing::ScoreId { .. }
        | Sharing::Existing { .. }
        | Sharing::ByParameters
        | Sharing::Always => !request.given,
    }
}

/// Checks the parameters against the version that the resource has or will have, and marks what that calls sensitive.
fn check_wish(name: &str, target: &Target, accepts: bool, wish: &mut Wish) -> Result<(), Error> {
    let Some(interface) = target.version.as_ref().map(|version| &version.interface) else { return Ok(()) };
    let sensitive = |key: &&String| interface.inputs.get(*key).is_some_and(|input| input.sensitive);
    wish.sensitive.extend(wish.values.keys().filter(sensitive).cloned());
    if !accepts {
        let base = format!("/resources/{name}/params");
        let faults = check_parameters(interface, &wish.values, &wish.unknown, &base);
        if !faults.is_empty() {
            return Err(Refusal::at(Code::ParametersInvalid, faults).into());
        }
    }
    Ok(())
}

/// In a dry run: takes it that whoever works on the resource will succeed, and says that this is not known.
fn imagine_settled(claimed: &Claimed, target: &mut Target, reason: &mut Reason) {
    let Some(found) = &mut target.found else { return };
    let Some(reservation) = found.resource.reservation.clone() else { return };
    // What this deployment itself works on comes to its end in the dry run too.
    if reservation.deployment == claimed.deployment.id {
        return;
    }
    reason.decided_by.push(format!("how the deployment {} ends, which works on it", reservation.deployment));
    reason.otherwise.extend([Prospect::Created, Prospect::Linked, Prospect::Updated, Prospect::Unchanged]);
    reason.otherwise.extend([Prospect::Conflict, Prospect::Failed]);
    let resource = &mut found.resource.value;
    resource.reservation = None;
    resource.status = match resource.status {
        ResourceStatus::Provisioning | ResourceStatus::Updating => ResourceStatus::Active,
        status => status,
    };
}

/// Who uses a resource.
#[derive(Default)]
struct Users {
    /// Everybody but us, for people.
    others: BTreeSet<String>,
    /// The resources that were looked at to know it; they must not have changed.
    walked: Vec<Versioned<Resource>>,
}
