//! Everything that there is, read from the records themselves.

use conductor_domain::consumer::{self, ConsumerKey, HoldingKey};
use conductor_domain::deployment;
use conductor_domain::lane::{Lane, LaneOf, LanePlace};
use conductor_domain::operation;
use conductor_domain::pool::{self, Member};
use conductor_domain::resource::{self, Parameters, Waiter};
use conductor_engine::port::{Page, Records};
use conductor_engine::{Entity, Item, Listing, Open, Record, Set};

use crate::model::{Consumer, Deployment, Holding, Operation, Pool, Resource, Seen, Workload};
use crate::step::{APPLICATIONS, ENVIRONMENTS};
use crate::world::{World, named, shown};

/// Records in a page of a list for people.
const PAGE: u32 = 100;

impl World {
    /// Everything, as it is now.
    pub async fn read_all(&self) -> Result<Seen, String> {
        let mut seen = Seen { cloud: self.cloud.things(), wrong: self.cloud.wrong(), ..Seen::default() };
        for resource in self.listed::<resource::Resource>(&Listing::Resources).await? {
            let resource = self.resource(resource, &mut seen.wrong).await?;
            seen.resources.push(resource);
        }
        for deployment in self.listed::<deployment::Deployment>(&Listing::Deployments).await? {
            let deployment = self.deployment(deployment, &mut seen.wrong).await?;
            seen.deployments.push(deployment);
        }
        let mut holdings = Vec::new();
        for environment in ENVIRONMENTS {
            for application in APPLICATIONS {
                let set = Set::Holdings(named(environment), named(application), None);
                holdings.extend(self.all::<consumer::Holding>(&set).await?.into_iter().map(|holding| Holding {
                    workload: workload(&holding.key),
                    name: holding.key.resource,
                    resource: holding.resource.to_string(),
                    mode: holding.mode,
                }));
            }
            for lane in self.all::<Lane>(&Set::Lanes(named(environment))).await? {
                let places = self.all::<LanePlace>(&Set::LanePlaces(lane.key.clone())).await?;
                if lane.current.is_some() || !places.is_empty() {
                    seen.wrong.push(format!("a lane is not free: {lane:?}, {places:?}"));
                }
            }
            for pool in self.all::<pool::Pool>(&Set::Pools(named(environment))).await? {
                seen.pools.push(self.pool(pool).await?);
            }
        }
        seen.holdings = Some(holdings);
        Ok(seen)
    }

    async fn resource(&self, resource: resource::Resource, wrong: &mut Vec<String>) -> Result<Resource, String> {
        let id = resource.id;
        let consumers = self.all::<consumer::Consumer>(&Set::Consumers(id)).await?;
        let waiters = self.all::<Waiter>(&Set::Waiters(id)).await?;
        let leaving = consumers.iter().any(|consumer| consumer.leaving.is_some());
        if resource.reservation.is_some() || resource.waiters > 0 || !waiters.is_empty() || leaving {
            wrong.push(format!("somebody is at {resource:?}: {waiters:?}, {consumers:?}"));
        }
        let parameters = self.get::<Parameters>(Item::Parameters(id)).await?;
        Ok(Resource {
            id: id.to_string(),
            name: resource.name,
            kind: resource.template.kind().to_owned(),
            environment: resource.environment.to_string(),
            mode: resource.mode,
            status: resource.status,
            version: resource.version.map(|version| version.to_string()),
            parameters: parameters.map(|stored| (stored.values, stored.sensitive)).unwrap_or_default(),
            retain: resource.retain,
            external: resource.external.is_some(),
            depends_on: resource.depends_on.iter().map(ToString::to_string).collect(),
            consumers: consumers.into_iter().map(|found| (found.key.id(), who(found.key))).collect(),
            counted: resource.consumers as usize,
        })
    }

    async fn deployment(
        &self,
        deployment: deployment::Deployment,
        wrong: &mut Vec<String>,
    ) -> Result<Deployment, String> {
        let id = deployment.id;
        let open = self.all::<Open>(&Set::Open(id)).await?;
        if !open.is_empty() {
            wrong.push(format!("markers are left: {open:?}"));
        }
        let (mut operations, mut whole) = (Vec::new(), Vec::new());
        for record in self.records(&Set::Deployment(id)).await? {
            match record {
                Record::Operation(operation) => {
                    if !operation.settled {
                        wrong.push(format!("{} of {id} is not settled", operation.resource));
                    }
                    whole.push(operation.clone());
                    operations.push(shortly(operation));
                }
                Record::Lease(lease) => wrong.push(format!("a lease is left: {lease:?}")),
                _ => {}
            }
        }
        operations.sort_by_key(|operation| operation.number);
        if deployment.log.is_some() && self.read.borrow_mut().insert(id) {
            wrong.extend(self.wrong_in_log(&deployment, &whole).await?);
        }
        let application = match &deployment.lane.of {
            LaneOf::Application(name) => Some(name.to_string()),
            LaneOf::Pool(_) | LaneOf::Resource(_) => None,
        };
        Ok(Deployment {
            id: id.to_string(),
            kind: deployment.kind,
            environment: deployment.lane.environment.to_string(),
            application,
            workload: deployment.workload.map(|workload| workload.to_string()),
            number: deployment.number,
            status: deployment.status,
            error: deployment.error.map(|failure| failure.code),
            operations,
        })
    }

    async fn pool(&self, pool: pool::Pool) -> Result<Pool, String> {
        let members = self.all::<Member>(&Set::Members(pool.key.clone(), None)).await?;
        let ids = |free: bool| -> Vec<String> {
            members.iter().filter(|m| m.free == free).map(|m| m.resource.to_string()).collect()
        };
        Ok(Pool {
            environment: pool.key.environment.to_string(),
            name: pool.key.name.to_string(),
            size: pool.size,
            free: ids(true),
            taken: ids(false),
        })
    }

    async fn get<T: Entity>(&self, item: Item) -> Result<Option<T>, String> {
        let found = self.engine.records.memory.get_many(self.caller.organisation(), &[item]).await.map_err(shown)?;
        Ok(found.into_iter().flatten().next().and_then(|record| T::from_record(record.value)))
    }

    async fn records(&self, set: &Set) -> Result<Vec<Record>, String> {
        let page = self.engine.records.memory.list(self.caller.organisation(), set, None, None).await.map_err(shown)?;
        Ok(page.records.into_iter().map(|record| record.value).collect())
    }

    async fn all<T: Entity>(&self, set: &Set) -> Result<Vec<T>, String> {
        Ok(self.records(set).await?.into_iter().filter_map(T::from_record).collect())
    }

    async fn listed<T: Entity>(&self, listing: &Listing) -> Result<Vec<T>, String> {
        let (memory, organisation) = (&self.engine.records.memory, self.caller.organisation());
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let Page { records, next } =
                memory.listing(organisation, listing, after.as_deref(), PAGE).await.map_err(shown)?;
            all.extend(records.into_iter().filter_map(|record| T::from_record(record.value)));
            after = next;
            if after.is_none() {
                all.reverse();
                return Ok(all);
            }
        }
    }
}

fn workload(key: &HoldingKey) -> Workload {
    Workload {
        environment: key.environment.to_string(),
        application: key.application.to_string(),
        name: key.workload.to_string(),
    }
}

fn who(key: ConsumerKey) -> Consumer {
    match key {
        ConsumerKey::Workload(key) => Consumer::File(workload(&key), key.resource),
        ConsumerKey::Resource { resource } => Consumer::Resource(resource.to_string()),
        ConsumerKey::Api { environment, application, workload } => Consumer::Api {
            environment: environment.to_string(),
            application: application.to_string(),
            workload: workload.map(|workload| workload.to_string()),
        },
        ConsumerKey::Pool(key) => Consumer::Pool(key.environment.to_string(), key.name.to_string()),
    }
}

fn shortly(operation: operation::Operation) -> Operation {
    Operation {
        number: operation.number,
        action: operation.action(),
        name: operation.resource,
        status: operation.status,
        effect: operation.effect,
        error: operation.error.map(|failure| failure.code),
        resource: operation.resource_id.map(|id| id.to_string()),
        depends_on: operation.depends_on.into_iter().collect(),
        started_at: operation.started_at,
        completed_at: operation.completed_at,
    }
}
