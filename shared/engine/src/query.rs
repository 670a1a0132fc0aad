//! Reading: what the API shows.

use std::collections::BTreeMap;
use std::time::Duration;

use conductor_domain::audit::AuditEvent;
use conductor_domain::consumer::Consumer;
use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::environment::Environment;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::name::{ApplicationName, EnvironmentName};
use conductor_domain::operation::{Lease, Operation};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Outputs, Parameters, Resource, ResourceStatus};
use conductor_domain::{Code, Refusal};

use crate::port::{Clock, Objects, Page, Ports, Queue, Records, StoreError, Versioned};
use crate::record::{Audited, Item, Listing, Record, Set, Subject};
use crate::{Engine, Error};

/// Pages that a filtered list reads before it answers with what it has.
const PAGES: usize = 5;
/// Time between two looks of somebody who waits.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A part of a list, newest first.
#[derive(Debug, Clone)]
pub struct List<T> {
    /// The items.
    pub items: Vec<Versioned<T>>,
    /// Where the rest begins.
    pub next: Option<String>,
}

/// A deployment with its operations, by number, and the leases of those that run.
#[derive(Debug, Clone)]
pub struct DeploymentView {
    /// The deployment.
    pub deployment: Versioned<Deployment>,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// By operation.
    pub leases: BTreeMap<u32, Lease>,
}

/// A resource with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct ResourceView {
    /// The resource.
    pub resource: Versioned<Resource>,
    /// Its parameters, once it has been given any.
    pub parameters: Option<Parameters>,
    /// Its outputs, once it has been made.
    pub outputs: Option<Outputs>,
    /// Who uses it.
    pub consumers: Vec<Consumer>,
}

/// Which deployments.
#[derive(Debug, Clone, Default)]
pub struct DeploymentFilter {
    /// Of this environment.
    pub environment: Option<EnvironmentName>,
    /// Of this application.
    pub application: Option<ApplicationName>,
    /// In this status.
    pub status: Option<DeploymentStatus>,
}

impl DeploymentFilter {
    fn admits(&self, deployment: &Deployment) -> bool {
        self.environment.as_ref().is_none_or(|wanted| deployment.lane.environment == *wanted)
            && self.application.as_ref().is_none_or(|wanted| deployment.lane.application == *wanted)
            && self.status.is_none_or(|wanted| deployment.status == wanted)
    }
}

/// Which resources.
#[derive(Debug, Clone, Default)]
pub struct ResourceFilter {
    /// Of this environment.
    pub environment: Option<EnvironmentName>,
    /// Of this type, without class.
    pub kind: Option<String>,
    /// Held by this application; wants an environment.
    pub application: Option<ApplicationName>,
    /// In this status.
    pub status: Option<ResourceStatus>,
}

impl<P: Ports> Engine<P> {
    /// A deployment with its operations.
    pub async fn deployment(&self, caller: &Caller, id: DeploymentId) -> Result<DeploymentView, Error> {
        let mut deployment = None;
        let mut operations = Vec::new();
        let mut leases = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let set = Set::Deployment(id);
            let Page { records, next } = self.records.list(caller.organisation(), &set, after.as_deref(), None).await?;
            for record in records {
                let Versioned { value, version } = record;
                match value {
                    Record::Deployment(value) => deployment = Some(Versioned { value, version }),
                    Record::Operation(value) => operations.push(value),
                    Record::Lease(value) => {
                        leases.insert(value.operation, value);
                    }
                    _ => {}
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let deployment =
            deployment.ok_or_else(|| Refusal::new(Code::DeploymentNotFound, format!("there is no deployment {id}")))?;
        operations.sort_by_key(|operation| operation.number);
        Ok(DeploymentView { deployment, operations, leases })
    }

    /// The same, once its status is another than now, it has ended, or the time is over.
    pub async fn deployment_after(
        &self,
        caller: &Caller,
        id: DeploymentId,
        time: Duration,
    ) -> Result<DeploymentView, Error> {
        let until = self.clock.monotonic() + time;
        let mut first: Option<DeploymentStatus> = None;
        loop {
            let read: Option<Versioned<Deployment>> = self.read(caller.organisation(), Item::Deployment(id)).await?;
            let status = read.map(|deployment| deployment.status);
            let ended = status.is_none_or(DeploymentStatus::is_final);
            if ended || first.is_some_and(|first| Some(first) != status) || self.clock.monotonic() >= until {
                return self.deployment(caller, id).await;
            }
            first = first.or(status);
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Deployments, newest first, without their operations.
    pub async fn deployments(
        &self,
        caller: &Caller,
        filter: &DeploymentFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<Deployment>, Error> {
        self.filtered(caller, &Listing::Deployments, after, limit, |deployment| filter.admits(deployment)).await
    }

    /// Environments, newest first.
    pub async fn environments(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<Environment>, Error> {
        self.filtered(caller, &Listing::Environments, after, limit, |_| true).await
    }

    /// Applications, newest first.
    pub async fn applications(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<conductor_domain::application::Application>, Error> {
        self.filtered(caller, &Listing::Applications, after, limit, |_| true).await
    }

    /// Templates, last name first.
    pub async fn templates(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<conductor_domain::template::Template>, Error> {
        self.filtered(caller, &Listing::Templates, after, limit, |_| true).await
    }

    /// Audit events of a day, newest first.
    pub async fn audit_of_day(
        &self,
        caller: &Caller,
        day: jiff::civil::Date,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<Audited>, Error> {
        self.filtered(caller, &Listing::Audit(day), after, limit, |_| true).await
    }

    /// Resources, newest first.
    pub async fn resources(
        &self,
        caller: &Caller,
        filter: &ResourceFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<List<Resource>, Error> {
        let held = match (&filter.application, &filter.environment) {
            (Some(application), Some(environment)) => {
                let set = Set::Holdings(environment.clone(), application.clone(), None);
                let held: Vec<Versioned<conductor_domain::consumer::Holding>> =
                    self.list_all(caller.organisation(), &set).await?;
                Some(held.iter().map(|holding| holding.resource.to_string()).collect::<Vec<_>>())
            }
            (Some(_), None) => {
                let detail = "`application` needs `environment`";
                return Err(Refusal::new(Code::QueryInvalid, detail).into());
            }
            (None, _) => None,
        };
        self.filtered(caller, &Listing::Resources, after, limit, |resource: &Resource| {
            filter.environment.as_ref().is_none_or(|wanted| resource.environment == *wanted)
                && filter.kind.as_ref().is_none_or(|wanted| resource.template.kind() == wanted)
                && filter.status.is_none_or(|wanted| resource.status == wanted)
                && held.as_ref().is_none_or(|held| held.contains(&resource.id.to_string()))
        })
        .await
    }

    /// Reads on until a page is full, the list ends, or a bounded number of pages has been read.
    async fn filtered<T: crate::record::Entity>(
        &self,
        caller: &Caller,
        listing: &Listing,
        after: Option<String>,
        limit: u32,
        admits: impl Fn(&T) -> bool,
    ) -> Result<List<T>, Error> {
        let mut items = Vec::new();
        let mut cursor = after;
        for _ in 0..PAGES {
            let missing = limit - items.len() as u32;
            let Page { records, next } =
                self.records.listing(caller.organisation(), listing, cursor.as_deref(), missing).await?;
            for record in records {
                let record = record.typed::<T>()?;
                if admits(&record.value) {
                    items.push(record);
                }
            }
            cursor = next;
            if cursor.is_none() || items.len() as u32 >= limit {
                break;
            }
        }
        Ok(List { items, next: cursor })
    }

    /// A resource with its consumers, parameters and outputs.
    pub async fn resource(&self, caller: &Caller, id: ResourceId) -> Result<ResourceView, Error> {
        let items = [Item::Resource(id), Item::Parameters(id), Item::Outputs(id)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let resource: Versioned<Resource> = batch
            .take(&items[0])?
            .ok_or_else(|| Refusal::new(Code::ResourceNotFound, format!("there is no resource {id}")))?;
        let parameters = batch.take::<Parameters>(&items[1])?.map(|read| read.value);
        let outputs = batch.take::<Outputs>(&items[2])?.map(|read| read.value);
        let consumers: Vec<Versioned<Consumer>> = self.list_all(caller.organisation(), &Set::Consumers(id)).await?;
        let consumers = consumers.into_iter().map(|read| read.value).collect();
        Ok(ResourceView { resource, parameters, outputs, consumers })
    }

    /// One output of a resource, and whether it is sensitive; reading a sensitive one is audited.
    pub async fn output(
        &self,
        caller: &Caller,
        id: ResourceId,
        name: &str,
    ) -> Result<(serde_json::Value, bool), Error> {
        let view = self.resource(caller, id).await?;
        let missing = || Refusal::new(Code::OutputNotFound, format!("the resource {id} has no output {name:?}"));
        let outputs = view.outputs.ok_or_else(missing)?;
        if let Some(value) = outputs.values.get(name) {
            return Ok((value.clone(), false));
        }
        if !outputs.sensitive.iter().any(|sensitive| sensitive == name) {
            return Err(missing().into());
        }
        let mut draft = self.draft(caller, None);
        draft.audit(Subject::Resource(id), "output.read", Some(name.to_owned()));
        draft.commit().await?;
        let value = self.sensitive(outputs.object.as_deref()).await?.remove(name).ok_or_else(missing)?;
        Ok((value, true))
    }

    /// The audit trail of a record, oldest first.
    pub async fn audit_of(
        &self,
        caller: &Caller,
        subject: Subject,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<AuditEvent>, Option<String>), Error> {
        let set = Set::Audit(subject);
        let page = self.records.list(caller.organisation(), &set, after.as_deref(), Some(limit)).await?;
        let events: Result<Vec<AuditEvent>, StoreError> =
            page.records.into_iter().map(|record| Ok(record.typed::<Audited>()?.value.event)).collect();
        Ok((events?, page.next))
    }

    /// Whether table and vault answer.
    pub async fn ready(&self, caller: &Caller) -> Result<(), Error> {
        let probe = Item::Identity(conductor_domain::identity::IdentityKey::probe());
        self.records.get_many(caller.organisation(), &[probe]).await?;
        self.vault.get("probe").await?;
        self.artifacts.get("templates/probe").await?;
        self.queue.ready().await?;
        Ok(())
    }
}
