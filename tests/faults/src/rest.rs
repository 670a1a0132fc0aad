//! What holds at rest: nothing waits, nothing is held, and the records are what the states are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::cloud::Row;
use crate::{Faults, running};

/// How long what has ended may take to come to rest: the sweeper wakes somebody for its log after 25 s, a test of the queue
/// loses that message, and it is sent again a minute later.
const SETTLES: Duration = Duration::from_secs(150);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Statuses of deployments and operations that have ended.
const ENDED: [&str; 5] = ["Succeeded", "Failed", "Cancelled", "TimedOut", "Skipped"];

impl Faults {
    /// Checks that an environment has come to rest: every record of it in the table, its states and locks, and the
    /// processes of this machine.
    pub async fn comes_to_rest(&self, environment: &str) {
        let began = Instant::now();
        loop {
            let unrest = self.unrest(environment).await;
            if unrest.is_empty() {
                return;
            }
            assert!(began.elapsed() < SETTLES, "{environment} is not at rest: {unrest:#?}");
            self.sweep().await;
            sleep(LOOK_EVERY).await;
        }
    }

    /// The same, and that nothing is left there.
    pub async fn leaves_nothing(&self, environment: &str) {
        self.comes_to_rest(environment).await;
        for resource in self.all(&format!("/v1/resources?environment={environment}")).await {
            assert_eq!(resource["status"], "Deleted", "{resource:#}");
        }
        let states = self.cloud.states(environment).await;
        assert!(states.is_empty(), "{states:?}");
    }

    async fn unrest(&self, environment: &str) -> Vec<String> {
        let rows = self.cloud.rows().await;
        let states = self.cloud.states(environment).await;
        let picture = Picture::of(&rows, environment);
        let mut unrest = picture.work();
        unrest.extend(picture.consumers());
        unrest.extend(picture.identities());
        unrest.extend(picture.states(&states));
        let folders = running::work_folders();
        let is_at_work = |id: &str| folders.iter().any(|folder| running::is_of(folder, id));
        let mine = picture.operations.iter().filter(|row| row.body["id"].as_str().is_some_and(is_at_work));
        unrest.extend(mine.map(|row| format!("a process of {}", row.body["id"])));
        unrest
    }
}

/// The records of an environment.
struct Picture<'r> {
    environment: &'r str,
    deployments: Vec<&'r Row>,
    operations: Vec<&'r Row>,
    /// Markers and leases.
    of_work: Vec<&'r Row>,
    /// Lanes and places in them.
    lanes: Vec<&'r Row>,
    resources: BTreeMap<&'r str, &'r Row>,
    /// Consumers, waiters, identities.
    of_resources: Vec<&'r Row>,
    holdings: Vec<&'r Row>,
}

impl<'r> Picture<'r> {
    fn of(rows: &'r [Row], environment: &'r str) -> Self {
        let of = |record: &'static str| rows.iter().filter(move |row| row.record == record);
        let deployments: Vec<&Row> =
            of("deployment").filter(|r| r.body["lane"]["environment"] == environment).collect();
        let ids: BTreeSet<&str> = deployments.iter().map(|row| text(&row.body["id"])).collect();
        let resources: BTreeMap<&str, &Row> = of("resource")
            .filter(|row| row.body["environment"] == environment)
            .map(|row| (text(&row.body["id"]), row))
            .collect();
        let lanes = of("lane").filter(|row| row.body["key"]["environment"] == environment);
        let places = of("lanePlace").filter(|row| row.body["lane"]["environment"] == environment);
        let of_resources = of("consumer").chain(of("waiter")).chain(of("identified"));
        Self {
            environment,
            operations: of("operation").filter(|row| ids.contains(text(&row.body["deployment"]))).collect(),
            of_work: of("open").chain(of("lease")).filter(|row| ids.contains(text(&row.body["deployment"]))).collect(),
            lanes: lanes.chain(places).collect(),
            of_resources: of_resources.filter(|row| resources.contains_key(text(&row.body["resource"]))).collect(),
            holdings: of("holding").filter(|row| row.body["key"]["environment"] == environment).collect(),
            deployments,
            resources,
        }
    }

    /// What is still to be done.
    fn work(&self) -> Vec<String> {
        let mut unrest = Vec::new();
        for row in self.deployments.iter().chain(&self.operations) {
            let (body, ended) = (&row.body, ENDED.contains(&text(&row.body["status"])));
            let told = row.record == "deployment" || (body["settled"] == true && body["awaits"].is_null());
            if !ended || !told || row.is_due {
                unrest.push(format!("the {} {}: {body}", row.record, body["id"]));
            }
        }
        unrest.extend(self.of_work.iter().map(|row| format!("the {} {}", row.record, row.body)));
        let busy = |row: &&&Row| row.record == "lanePlace" || !row.body["current"].is_null();
        unrest.extend(self.lanes.iter().filter(busy).map(|row| format!("the {} {}", row.record, row.body)));
        for (id, row) in &self.resources {
            let status = text(&row.body["status"]);
            let at_rest = matches!(status, "Active" | "Failed" | "Deleted");
            if !at_rest || !row.body["reservation"].is_null() || row.body["waiters"] != 0 || row.is_due {
                unrest.push(format!("the resource {id}: {}", row.body));
            }
        }
        let waiters = self.of_resources.iter().filter(|row| row.record == "waiter");
        unrest.extend(waiters.map(|row| format!("the waiter {}", row.body)));
        unrest
    }

    /// Consumers mirror holdings and dependencies, and the counts count them.
    fn consumers(&self) -> Vec<String> {
        let consumers: Vec<&Value> =
            self.of_resources.iter().filter(|row| row.record == "consumer").map(|row| &row.body).collect();
        let mut unrest = Vec::new();
        for (id, row) in &self.resources {
            let mine: Vec<_> = consumers.iter().filter(|consumer| consumer["resource"] == *id).collect();
            let dependents = mine.iter().filter(|consumer| consumer["key"]["kind"] == "resource").count();
            let counted = (row.body["consumers"].as_u64(), row.body["dependents"].as_u64());
            let found = (Some(mine.len() as u64), Some(dependents as u64));
            if counted != found {
                unrest.push(format!("{id} counts {counted:?}, and there are {found:?}"));
            }
        }
        let who = |key: &'r Value, resource: &'r Value| {
            (text(&key["application"]), text(&key["workload"]), text(&key["resource"]), text(resource))
        };
        let used: BTreeSet<_> = consumers
            .iter()
            .filter(|consumer| {
                consumer["key"]["kind"] == "workload" && consumer["key"]["environment"] == self.environment
            })
            .map(|consumer| who(&consumer["key"], &consumer["resource"]))
            .collect();
        let held: BTreeSet<_> = self.holdings.iter().map(|row| who(&row.body["key"], &row.body["resource"])).collect();
        unrest.extend(used.symmetric_difference(&held).map(|one| format!("consumers do not mirror holdings: {one:?}")));

        let depends = |consumer: &&&Value| consumer["key"]["kind"] == "resource";
        let edges: BTreeSet<(&str, &str)> = consumers
            .iter()
            .filter(depends)
            .map(|consumer| (text(&consumer["key"]["resource"]), text(&consumer["resource"])))
            .collect();
        let mut named = BTreeSet::new();
        for (id, row) in self.standing() {
            let on = row.body["dependsOn"].as_array().map_or(&[] as &[Value], Vec::as_slice);
            named.extend(on.iter().map(|on| (id, text(on))));
        }
        unrest.extend(edges.symmetric_difference(&named).map(|one| format!("dependents do not mirror: {one:?}")));
        unrest
    }

    /// One resource an identity, and one identity a resource.
    fn identities(&self) -> Vec<String> {
        let identified: Vec<&Value> =
            self.of_resources.iter().filter(|row| row.record == "identified").map(|row| &row.body).collect();
        let mut found: Vec<(&str, &str)> =
            identified.iter().map(|body| (text(&body["key"]), text(&body["resource"]))).collect();
        let mut expected: Vec<(&str, &str)> =
            self.standing().map(|(id, row)| (text(&row.body["identity"]), id)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        let twice = expected.windows(2).find(|pair| pair[0].0 == pair[1].0);
        let twice = twice.map(|pair| format!("one identity of two: {pair:?}"));
        let other = (found != expected).then(|| format!("identities are {found:?}, and should be {expected:?}"));
        twice.into_iter().chain(other).collect()
    }

    /// No lock, no state without its resource, no resource in order without its state.
    fn states(&self, keys: &[String]) -> Vec<String> {
        let mut unrest = Vec::new();
        let mut with_state = BTreeSet::new();
        for key in keys {
            let id = key.rsplit_once('/').and_then(|(_, name)| name.strip_suffix(".tfstate"));
            match id.filter(|id| self.standing().any(|(standing, _)| standing == *id)) {
                Some(id) => {
                    with_state.insert(id);
                }
                None => unrest.push(format!("the object {key}")),
            }
        }
        let active =
            self.standing().filter(|(_, row)| row.body["status"] == "Active" && row.body["external"].is_null());
        unrest.extend(active.filter(|(id, _)| !with_state.contains(id)).map(|(id, _)| format!("{id} has no state")));
        unrest
    }

    /// The resources that are not gone.
    fn standing(&self) -> impl Iterator<Item = (&'r str, &'r Row)> {
        let resources = self.resources.iter().map(|(id, row)| (*id, *row));
        resources.filter(|(_, row)| row.body["status"] != "Deleted")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
