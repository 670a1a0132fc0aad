//! Reading: what the API shows.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use conductor_domain::access::Right;
use conductor_domain::audit::AuditEvent;
use conductor_domain::consumer::Consumer;
use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::environment::Environment;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::lane::LaneOf;
use conductor_domain::name::{ApplicationName, EnvironmentName};
use conductor_domain::operation::{Lease, Operation};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Outputs, Parameters, Resource, ResourceStatus};
use conductor_domain::{Code, Refusal};
use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::port::{Clock, Objects, Page, Ports, Queue, Records, StoreError, Versioned};
use crate::record::{Audited, Item, Listing, Record, Set, Subject};
use crate::{Engine, Error};

/// Pages that a filtered list reads before it answers with what it has.
const PAGES: usize = 5;
/// Pages that a list of audit events reads before it answers with what it has: a month in which nothing happened.
const AUDIT_PAGES: usize = 31;
/// The most days between the first and the last of a list of audit events.
const MAX_DAYS: i64 = 366;
/// The most entries of a resource's lineage.
const MAX_LINEAGE: usize = 50;
/// Pages of a resource's audit trail that are read for its lineage; a page of DynamoDB is 1 MB, some 2,000 events.
const LINEAGE_PAGES: usize = 5;
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
    /// How long those should take that have not ended, in seconds, as far as that is known.
    pub expected: BTreeMap<u32, u32>,
}

impl DeploymentView {
    /// Of one that nobody has gone on with yet.
    pub(crate) fn of(
        deployment: Versioned<Deployment>,
        operations: Vec<Operation>,
        expected: BTreeMap<u32, u32>,
    ) -> Self {
        Self { deployment, operations, leases: BTreeMap::new(), expected }
    }
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
    /// What deployments did to it, newest first: the last 50 of its audit events that name a deployment.
    pub lineage: Vec<AuditEvent>,
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
    /// With an id that begins or ends with this text, or with the text in the name of its environment, application, pool
    /// or workload, or in its commit, whatever the case of letters.
    pub text: Option<String>,
}

impl DeploymentFilter {
    fn admits(&self, deployment: &Deployment) -> bool {
        self.environment.as_ref().is_none_or(|wanted| deployment.lane.environment == *wanted)
            && self.application.as_ref().is_none_or(|wanted| deployment.lane.application_name() == Some(wanted))
            && self.status.is_none_or(|wanted| deployment.status == wanted)
            && self.text.as_deref().is_none_or(|text| is_named(deployment, &text.to_lowercase()))
    }
}

fn is_named(deployment: &Deployment, text: &str) -> bool {
    let of = match &deployment.lane.of {
        LaneOf::Application(name) => Some(name.as_str()),
        LaneOf::Pool(name) => Some(name.as_str()),
        LaneOf::Resource(_) => None,
    };
    let workload = deployment.workload.as_ref().map(|workload| workload.as_str());
    let mut names = [Some(deployment.lane.environment.as_str()), of, workload, deployment.commit_id.as_deref()]
        .into_iter()
        .flatten();
    let id = deployment.id.to_string();
    id.starts_with(text) || id.ends_with(text) || names.any(|name| name.to_lowercase().contains(text))
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
    /// With this text in its name, its template's name or its id, whatever the case of letters.
    pub text: Option<String>,
}

impl ResourceFilter {
    /// All but `application`, for which the holdings must be read.
    fn admits(&self, resource: &Resource) -> bool {
        let names = |text: &str| {
            let mut names = [resource.name.clone(), resource.template.to_string(), resource.id.to_string()].into_iter();
            names.any(|name| name.to_lowercase().contains(&text.to_lowercase()))
        };
        self.environment.as_ref().is_none_or(|wanted| resource.environment == *wanted)
            && self.kind.as_ref().is_none_or(|wanted| resource.template.kind() == wanted)
            && self.status.is_none_or(|wanted| resource.status == wanted)
            && self.text.as_deref().is_none_or(names)
    }
}

/// Which audit events.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this day in UTC and later ones.
    pub from: Option<Date>,
    /// Of this day in UTC and earlier ones.
    pub to: Option<Date>,
    /// About this kind of record, such as `resource`.
    pub noun: Option<String>,
    /// About the record with this id or name; of a pool: `<environment>/<name>`.
    pub subject: Option<String>,
    /// By this principal.
    pub principal: Option<String>,
    /// With this action, such as `resource.created`.
    pub action: Option<String>,
    /// Done for this deployment.
    pub deployment: Option<DeploymentId>,
    /// From this request.
    pub request_id: Option<String>,
}

impl AuditFilter {
    fn admits(&self, event: &AuditEvent) -> bool {
        let day = event.at.to_zoned(TimeZone::UTC).date();
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
            && is(&self.noun, &event.noun)
            && is(&self.subject, &event.subject)
            && is(&self.principal, &event.principal)
            && is(&self.action, &event.action)
            && is(&self.request_id, &event.request_id)
            && self.deployment.is_none_or(|wanted| event.deployment == Some(wanted))
    }

    /// The first and the last day, where a list goes back to: the filter's, else the cursor's or today alone.
    fn days(&self, today: Date, cursor: Option<Date>) -> Result<(Date, Date), Error> {
        let to = self.to.unwrap_or(today);
        let from = self.from.unwrap_or(cursor.unwrap_or(to).min(to));
        let invalid = |detail: String| Err(Refusal::new(Code::QueryInvalid, detail).into());
        if from > to {
            return invalid(format!("from ({from}) is after to ({to})"));
        }
        if to.duration_since(from) > SignedDuration::from_hours(24 * MAX_DAYS) {
            return invalid(format!("from {from} to {to} are over {MAX_DAYS} days"));
        }
        if cursor.is_some_and(|day| day < from || day > to) {
            return Err(StoreError::Cursor.into());
        }
        Ok((from, to))
    }
}

/// The cursor of a list over days: the day, and where the list goes on there.
fn day_cursor(cursor: &str) -> Result<(Date, Option<String>), StoreError> {
    let (day, rest) = cursor.split_once('.').ok_or(StoreError::Cursor)?;
    let day = day.parse().map_err(|_| StoreError::Cursor)?;
    Ok((day, (!rest.is_empty()).then(|| rest.to_owned())))
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
        let expected = self.expected(caller, &operations).await?;
        Ok(DeploymentView { deployment, operations, leases, expected })
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

    /// Audit events of all records, newest first, and where the rest begins. Without days: of today.
    ///
    /// # Errors
    ///
    /// [`Code::QueryInvalid`] for days the wrong way round, or over 366 of them.
    pub async fn audit_events(
        &self,
        caller: &Caller,
        filter: &AuditFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<AuditEvent>, Option<String>), Error> {
        let start = after.as_deref().map(day_cursor).transpose()?;
        let today = self.clock.now().to_zoned(TimeZone::UTC).date();
        let (from, to) = filter.days(today, start.as_ref().map(|(day, _)| *day))?;
        let (mut day, mut after) = start.unwrap_or((to, None));
        let mut events = Vec::new();
        for _ in 0..AUDIT_PAGES {
            let missing = limit - events.len() as u32;
            let page =
                self.records.listing(caller.organisation(), &Listing::Audit(day), after.as_deref(), missing).await?;
            take_events(page.records, filter, &mut events)?;
            after = page.next;
            if after.is_none() {
                match day.yesterday() {
                    Ok(before) if before >= from => day = before,
                    Ok(_) | Err(_) => return Ok((events, None)),
                }
            }
            if events.len() as u32 >= limit {
                break;
            }
        }
        Ok((events, Some(format!("{day}.{}", after.unwrap_or_default()))))
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
            filter.admits(resource) && held.as_ref().is_none_or(|held| held.contains(&resource.id.to_string()))
        })
        .await
    }

    /// Reads on until a page is full, the list ends, or a bounded number of pages has been read.
    pub(crate) async fn filtered<T: crate::record::Entity>(
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

    /// A resource with its consumers, parameters, outputs and lineage.
    pub async fn resource(&self, caller: &Caller, id: ResourceId) -> Result<ResourceView, Error> {
        let items = [Item::Resource(id), Item::Parameters(id), Item::Outputs(id)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let resource: Versioned<Resource> = batch.take(&items[0])?.ok_or_else(|| no_resource(id))?;
        let parameters = batch.take::<Parameters>(&items[1])?.map(|read| read.value);
        let outputs = batch.take::<Outputs>(&items[2])?.map(|read| read.value);
        let consumers: Vec<Versioned<Consumer>> = self.list_all(caller.organisation(), &Set::Consumers(id)).await?;
        let consumers = consumers.into_iter().map(|read| read.value).collect();
        let lineage = self.lineage(caller, id).await?;
        Ok(ResourceView { resource, parameters, outputs, consumers, lineage })
    }

    async fn lineage(&self, caller: &Caller, id: ResourceId) -> Result<Vec<AuditEvent>, Error> {
        let set = Set::Audit(Subject::Resource(id));
        let mut newest: VecDeque<AuditEvent> = VecDeque::new();
        let mut after: Option<String> = None;
        for _ in 0..LINEAGE_PAGES {
            let Page { records, next } = self.records.list(caller.organisation(), &set, after.as_deref(), None).await?;
            for record in records {
                let event = record.typed::<Audited>()?.value.event;
                if event.deployment.is_some() {
                    newest.truncate(MAX_LINEAGE - 1);
                    newest.push_front(event);
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(newest.into())
    }

    /// One output of a resource, and whether it is sensitive; reading a sensitive one needs the right to, and is audited.
    pub async fn output(
        &self,
        caller: &Caller,
        id: ResourceId,
        name: &str,
    ) -> Result<(serde_json::Value, bool), Error> {
        let items = [Item::Resource(id), Item::Outputs(id)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let resource: Versioned<Resource> = batch.take(&items[0])?.ok_or_else(|| no_resource(id))?;
        let missing = || Refusal::new(Code::OutputNotFound, format!("the resource {id} has no output {name:?}"));
        let outputs: Versioned<Outputs> = batch.take(&items[1])?.ok_or_else(missing)?;
        if let Some(value) = outputs.values.get(name) {
            return Ok((value.clone(), false));
        }
        if !outputs.sensitive.iter().any(|sensitive| sensitive == name) {
            return Err(missing().into());
        }
        caller.demand(Right::ReadSecrets, Some(&resource.environment))?;
        let mut draft = self.draft(caller, None);
        draft.audit(Subject::Resource(id), "output.read", Some(name.to_owned()));
        draft.commit().await?;
        let value = self.sensitive(outputs.object.as_deref()).await?.remove(name).ok_or_else(missing)?;
        Ok((value, true))
    }

    /// The audit trail of a record, oldest first, and where the rest begins.
    pub async fn audit_of(
        &self,
        caller: &Caller,
        subject: Subject,
        filter: &AuditFilter,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<AuditEvent>, Option<String>), Error> {
        let set = Set::Audit(subject);
        let mut events = Vec::new();
        let mut after = after;
        for _ in 0..PAGES {
            let missing = limit - events.len() as u32;
            let page = self.records.list(caller.organisation(), &set, after.as_deref(), Some(missing)).await?;
            take_events(page.records, filter, &mut events)?;
            after = page.next;
            if after.is_none() || events.len() as u32 >= limit {
                break;
            }
        }
        Ok((events, after))
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

fn no_resource(id: ResourceId) -> Refusal {
    Refusal::new(Code::ResourceNotFound, format!("there is no resource {id}"))
}

/// Adds the audit events that a filter admits.
fn take_events(
    records: Vec<Versioned<Record>>,
    filter: &AuditFilter,
    events: &mut Vec<AuditEvent>,
) -> Result<(), StoreError> {
    for record in records {
        let event = record.typed::<Audited>()?.value.event;
        if filter.admits(&event) {
            events.push(event);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use conductor_domain::ids::{AuditId, GenericUuid};
    use uuid::Uuid;

    use super::*;

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    #[test]
    fn a_filter_admits_what_it_says() {
        let deployment = DeploymentId::from_untyped_uuid(Uuid::from_u128(1));
        let event = AuditEvent {
            id: AuditId::from_untyped_uuid(Uuid::nil()),
            at: "2026-11-22T23:59:59Z".parse().expect("a time"),
            principal: "local".to_owned(),
            request_id: "r1".to_owned(),
            action: "resource.created".to_owned(),
            noun: "resource".to_owned(),
            subject: "x".to_owned(),
            deployment: Some(deployment),
            detail: None,
        };
        let check = |filter: AuditFilter, expect: bool| assert_eq!(filter.admits(&event), expect, "{filter:?}");
        let text = |text: &str| Some(text.to_owned());
        let other = DeploymentId::from_untyped_uuid(Uuid::nil());
        let any = AuditFilter::default;
        check(any(), true);
        check(AuditFilter { from: Some(day("2026-11-22")), to: Some(day("2026-11-22")), ..any() }, true);
        check(AuditFilter { from: Some(day("2026-11-23")), ..any() }, false);
        check(AuditFilter { to: Some(day("2026-11-21")), ..any() }, false);
        check(AuditFilter { noun: text("resource"), subject: text("x"), ..any() }, true);
        check(AuditFilter { noun: text("deployment"), ..any() }, false);
        check(AuditFilter { subject: text("y"), ..any() }, false);
        check(AuditFilter { principal: text("local"), action: text("resource.created"), ..any() }, true);
        check(AuditFilter { principal: text("conductor"), ..any() }, false);
        check(AuditFilter { action: text("resource"), ..any() }, false);
        check(AuditFilter { deployment: Some(deployment), request_id: text("r1"), ..any() }, true);
        check(AuditFilter { deployment: Some(other), ..any() }, false);
        check(AuditFilter { request_id: text("r2"), ..any() }, false);
    }

    #[test]
    fn a_text_finds_resources_by_their_name_template_and_id() {
        let resource: Resource = serde_json::from_value(serde_json::json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "name": "Orders", "template": "postgres.large",
            "environment": "dev", "mode": "dedicated", "identity": "x", "status": "Active",
            "enteredAt": "2026-11-22T00:00:00Z", "consumers": 1, "waiters": 0,
            "stateLocation": {"backend": "s3", "location": "s3://states/x"},
            "createdAt": "2026-11-22T00:00:00Z", "updatedAt": "2026-11-22T00:00:00Z"
        }))
        .expect("a resource");
        let check = |text: &str, expect: bool| {
            let filter = ResourceFilter { text: Some(text.to_owned()), ..ResourceFilter::default() };
            assert_eq!(filter.admits(&resource), expect, "{text}");
        };
        check("", true);
        check("orders", true);
        check("RDE", true);
        check("gres.l", true);
        check("774b-bcce", true);
        check("dev", false);
        check("orderss", false);
    }

    #[test]
    fn a_text_finds_deployments_by_the_ends_of_their_id_and_by_their_names() {
        let deployment: Deployment = serde_json::from_value(serde_json::json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "kind": "apply", "status": "Succeeded",
            "enteredAt": "2026-11-22T00:00:00Z", "createdAt": "2026-11-22T00:00:00Z", "commitId": "9FCEB02",
            "lane": {"environment": "staging", "of": {"application": "orders"}}, "number": 1, "workload": "web",
            "options": {"prune": true, "refresh": false, "upgrade": false, "allowReplace": []},
            "requestedBy": "local", "requestId": "r1", "operations": 0, "acquires": 0, "releases": "go"
        }))
        .expect("a deployment");
        let check = |text: &str, expect: bool| {
            let filter = DeploymentFilter { text: Some(text.to_owned()), ..DeploymentFilter::default() };
            assert_eq!(filter.admits(&deployment), expect, "{text}");
        };
        check("", true);
        check("01890A5D-ac", true);
        check("099A8057", true);
        check("774b", false);
        check("Order", true);
        check("stag", true);
        check("web", true);
        check("9fceb", true);
        check("local", false);
    }

    #[test]
    fn a_list_of_audit_events_goes_over_the_days_that_are_asked_for() {
        let check = |from: Option<&str>, to: Option<&str>, cursor: Option<&str>, expect: &str| {
            let filter = AuditFilter { from: from.map(day), to: to.map(day), ..AuditFilter::default() };
            let found = match filter.days(day("2026-11-22"), cursor.map(day)) {
                Ok((from, to)) => format!("{from} {to}"),
                Err(error) => error.refusal().code.to_string(),
            };
            assert_eq!(found, expect, "{from:?} {to:?} {cursor:?}");
        };
        check(None, None, None, "2026-11-22 2026-11-22");
        check(None, None, Some("2026-11-21"), "2026-11-21 2026-11-22");
        check(None, None, Some("2026-11-23"), "cursor_invalid");
        check(Some("2026-11-01"), None, Some("2026-11-02"), "2026-11-01 2026-11-22");
        check(None, Some("2026-01-31"), None, "2026-01-31 2026-01-31");
        check(Some("2025-11-22"), None, None, "2025-11-22 2026-11-22");
        check(Some("2025-11-20"), None, None, "query_invalid");
        check(Some("2026-11-23"), None, None, "query_invalid");
        check(Some("2026-11-20"), Some("2026-11-21"), Some("2026-11-19"), "cursor_invalid");
    }

    #[test]
    fn a_cursor_names_the_day_and_the_place_in_it() {
        let check = |cursor: &str, expect: Option<(&str, Option<&str>)>| {
            let found = day_cursor(cursor).ok();
            assert_eq!(found, expect.map(|(text, rest)| (day(text), rest.map(str::to_owned))), "{cursor}");
        };
        check("2026-11-22.", Some(("2026-11-22", None)));
        check("2026-11-22.eyJ9", Some(("2026-11-22", Some("eyJ9"))));
        check("2026-11-22", None);
        check("nonsense", None);
        check("today.x", None);
    }
}
