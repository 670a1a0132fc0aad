//! Everything that there is, read over HTTP once it is at rest.

use conductor_acceptance::time;
use conductor_domain::deployment::DeploymentStatus;
use conductor_domain::resource::ResourceStatus;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::graph;
use crate::model::{Deployment, Pool, Seen, Thing};
use crate::step::ENVIRONMENTS;
use crate::view::{DeploymentView, GraphView, List, PoolView, ResourceView, parsed};
use crate::world::World;

/// Records that are read at a time: each request keeps a function busy.
const AT_ONCE: usize = 3;

/// A resource, and what is in its state.
#[derive(Clone)]
pub struct Standing {
    view: ResourceView,
    thing: Option<Thing>,
}

impl World {
    /// Everything, once all deployments have ended, the pools are filled, and nothing is on its way.
    pub async fn settle(&self) -> Result<Seen, String> {
        self.stack.eventually("everything is at rest", async || self.rest().await.transpose()).await
    }

    /// Everything as it is, or none while it is not at rest.
    async fn rest(&self) -> Result<Option<Seen>, String> {
        let Some(deployments) = self.deployments().await? else { return Ok(None) };
        let pools = self.pools().await?;
        if let Some(pool) = pools.iter().find(|pool| !pool.is_settled()) {
            return self.not_yet(format!("{pool:?}"));
        }
        let standing = self.resources().await?;
        let moving = |resource: &&ResourceView| {
            use ResourceStatus as S;
            let leaves = resource.consumers.iter().any(|consumer| consumer.leaving);
            leaves || matches!(resource.status, S::Provisioning | S::Updating | S::Deleting)
        };
        let resources: Vec<&ResourceView> = standing.iter().map(|one| &one.view).collect();
        if let Some(resource) = resources.iter().copied().find(moving) {
            return self.not_yet(format!("{resource:?}"));
        }

        let mut seen = Seen { deployments, ..Seen::default() };
        for environment in ENVIRONMENTS {
            let environment = self.names.own(environment);
            let found = self.stack.get(&format!("/v1/environments/{environment}/graph")).await.expect(200);
            let drawn: GraphView = parsed(&found.body)?;
            seen.wrong.extend(graph::differences(&environment, &drawn, &resources));
        }
        for pool in &pools {
            let (pool, count) = (self.pool(pool, &resources), pool.free as usize);
            if pool.free.len() != count {
                seen.wrong.push(format!("a pool shows {count} free members: {pool:?}"));
            }
            seen.pools.push(pool);
        }
        for Standing { view, thing } in standing {
            seen.cloud.extend(thing.map(|thing| (view.id.clone(), thing)));
            seen.resources.push(view.told(&self.names));
        }
        Ok(Some(seen))
    }

    fn not_yet<T>(&self, why: String) -> Result<Option<T>, String> {
        if self.waits_for.replace(why.clone()) != why {
            println!("{}: not at rest: {why}", self.names.own("run"));
        }
        Ok(None)
    }

    /// All deployments of the run, the oldest first, or none where one of them had to be waited for.
    async fn deployments(&self) -> Result<Option<Vec<Deployment>>, String> {
        let mut all = Vec::new();
        let mut waited = None;
        for item in self.newest("/v1/deployments").await {
            let id = item["id"].as_str().unwrap_or_default().to_owned();
            let known = self.ended.borrow().get(&id).cloned();
            if let Some(known) = known {
                all.push(known);
                continue;
            }
            if !parsed::<DeploymentStatus>(&item["status"])?.is_final() {
                waited = Some(id.clone());
            }
            let ended: DeploymentView = parsed(&self.stack.finished(&id).await.0)?;
            let ended = ended.told(&self.names);
            self.ended.borrow_mut().insert(id, ended.clone());
            all.push(ended);
        }
        if let Some(id) = waited {
            return self.not_yet(format!("the deployment {id} has only just ended"));
        }
        let missing = self.started.borrow().iter().find(|id| !self.ended.borrow().contains_key(*id)).cloned();
        match missing {
            Some(id) => self.not_yet(format!("the deployment {id} is not listed")),
            None => Ok(Some(all)),
        }
    }

    async fn pools(&self) -> Result<Vec<PoolView>, String> {
        let mut all = Vec::new();
        for environment in ENVIRONMENTS {
            let path = format!("/v1/environments/{}/pools", self.names.own(environment));
            let list: List<PoolView> = parsed(&self.stack.get(&path).await.expect(200).body)?;
            all.extend(list.items);
        }
        Ok(all)
    }

    fn pool(&self, pool: &PoolView, resources: &[&ResourceView]) -> Pool {
        let live = resources.iter().filter(|resource| resource.status != ResourceStatus::Deleted);
        let (free, others): (Vec<&ResourceView>, Vec<&ResourceView>) =
            live.copied().partition(|resource| resource.is_free_in(pool));
        let is_member = |resource: &&ResourceView| {
            resource.environment == pool.environment && resource.pool.as_ref() == Some(&pool.name)
        };
        Pool {
            environment: self.names.plain(&pool.environment),
            name: pool.name.clone(),
            size: pool.size,
            free: free.iter().map(|resource| resource.id.clone()).collect(),
            taken: others.into_iter().filter(is_member).map(|resource| resource.id.clone()).collect(),
        }
    }

    /// All resources of the run, the oldest first, also those that are gone.
    async fn resources(&self) -> Result<Vec<Standing>, String> {
        let listed = self.newest("/v1/resources").await;
        let ids = listed.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned());
        stream::iter(ids.map(|id| self.resource(id))).buffered(AT_ONCE).try_collect().await
    }

    async fn resource(&self, id: String) -> Result<Standing, String> {
        let known = self.gone.borrow().get(&id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let view: ResourceView = parsed(&self.stack.resource(&id).await)?;
        let location = &view.state_location.location;
        let thing = if view.is_external() { None } else { self.states.thing(location).await? };
        let standing = Standing { view, thing };
        if standing.view.status == ResourceStatus::Deleted && standing.thing.is_none() {
            self.gone.borrow_mut().insert(id, standing.clone());
        }
        Ok(standing)
    }

    /// The run's part of a list of everybody's, the oldest first. What is older than the run is not read.
    async fn newest(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut next = format!("{path}?limit=100");
        loop {
            let page = self.stack.get(&next).await.expect(200).body;
            let items = page["items"].as_array().expect("a list has items");
            let is_own = |item: &&Value| item["environment"].as_str().is_some_and(|name| self.names.is_own(name));
            found.extend(items.iter().filter(is_own).cloned());
            let is_older = items.iter().any(|item| time(&item["createdAt"]) < self.began);
            match page["nextCursor"].as_str().filter(|_| !is_older) {
                Some(cursor) => next = format!("{path}?limit=100&cursor={cursor}"),
                None => break,
            }
        }
        found.reverse();
        found
    }
}
