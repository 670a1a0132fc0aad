//! Who stands on what: the graph of an environment, and what the end of a resource would take along.
//!
//! It only shows. Whether something may go is decided where it goes, against the versions that were read.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding};
use conductor_domain::ids::ResourceId;
use conductor_domain::lane::Lane;
use conductor_domain::name::{ApplicationName, EnvironmentName, OrganisationName, WorkloadName};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Resource, ResourceStatus};
use conductor_domain::template::TemplateName;
use conductor_domain::{Code, Refusal};
use futures::future::try_join_all;

use crate::port::{Page, Ports, Records, StoreError, Versioned};
use crate::record::{Entity, Item, Resident, Set};
use crate::{Engine, Error};

/// The most nodes of a graph, and the most that an impact names.
const MAX_NODES: usize = 2_000;
/// The most edges of a graph: with all its nodes an answer has some 3 MB, half of what a Lambda function may answer.
const MAX_EDGES: usize = 10_000;
/// Sets that are listed at once; unlike single records, they cannot be read together.
const AT_ONCE: usize = 16;

/// The resources of an environment, who uses them, and what they depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Resources first, oldest first; then who uses them, by id.
    pub nodes: Vec<Node>,
    /// Between these nodes.
    pub edges: Vec<Edge>,
    /// True where there is more than is shown: 2,000 nodes and 10,000 edges.
    pub truncated: bool,
}

/// A resource, or who uses one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The id of a resource; `workload:<env>/<app>/<workload>`, `application:<env>/<app>` or `pool:<env>/<pool>`.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Of the resource, workload, application or pool.
    pub name: String,
    /// Where it lives.
    pub environment: EnvironmentName,
    /// Of a resource.
    pub template: Option<TemplateName>,
    /// Of a resource.
    pub status: Option<ResourceStatus>,
    /// Of a workload or application.
    pub application: Option<ApplicationName>,
    /// Of a workload.
    pub workload: Option<WorkloadName>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A resource.
    Resource,
    /// A workload, that its file or the API made a consumer.
    Workload,
    /// An application that the API made a consumer.
    Application,
    /// A pool, of its free members.
    Pool,
}

/// One node needs another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The id of the node that needs the other.
    pub from: String,
    /// The id of the other, always a resource.
    pub to: String,
    /// How.
    pub kind: EdgeKind,
}

/// How a node needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// It is a consumer, and no resource.
    Uses,
    /// It is a resource.
    DependsOn,
}

/// Who would lose what if a resource were deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Impact {
    /// The resource.
    pub resource: Resource,
    /// The resources that depend on it, the nearest first.
    pub dependents: Vec<Dependent>,
    /// Who uses it, or one of those, the nearest first.
    pub consumers: Vec<Affected>,
    /// True where it is there, and nobody uses it.
    pub deletable: bool,
    /// True where more is hit than is named: 2,000 resources and consumers.
    pub truncated: bool,
}

/// A resource that depends on another, directly or through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its id.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: TemplateName,
    /// Where it lives.
    pub environment: EnvironmentName,
    /// Names of the resources on a shortest way to it: from the one that would go, to itself.
    pub path: Vec<String>,
}

/// A consumer, but no resource, that would lose something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// Who.
    pub key: ConsumerKey,
    /// Names of the resources on a shortest way to it: from the one that would go, to the one that it uses.
    pub path: Vec<String>,
}

impl<P: Ports> Engine<P> {
    /// The graph of an environment: its resources, what those and its workloads use in other environments, and whoever
    /// uses its resources. Bounded, see [`Graph::truncated`].
    ///
    /// # Errors
    ///
    /// [`Code::EnvironmentNotFound`].
    pub async fn environment_graph(&self, caller: &Caller, environment: &EnvironmentName) -> Result<Graph, Error> {
        self.environment(caller, environment).await?;
        let organisation = caller.organisation();
        let (start, whole) = self.used_in(organisation, environment).await?;
        let (resources, all) = self.with_dependencies(organisation, start).await?;
        let sets: Vec<Set> = resources.values().filter(|r| r.consumers > 0).map(|r| Set::Consumers(r.id)).collect();
        let (consumers, read) = self.list_many::<Consumer>(organisation, &sets).await?;
        let mut graph = graph(environment, &resources, &consumers);
        graph.truncated |= !(whole && all && read);
        Ok(graph)
    }

    /// The graph around a resource: what it depends on and what depends on it, directly or through others, and who uses
    /// the resource itself. Bounded, see [`Graph::truncated`].
    ///
    /// # Errors
    ///
    /// [`Code::ResourceNotFound`].
    pub async fn resource_graph(&self, caller: &Caller, id: ResourceId) -> Result<Graph, Error> {
        let organisation = caller.organisation();
        let impact = self.impact(caller, id).await?;
        let (mut resources, whole) = self.with_dependencies(organisation, BTreeSet::from([id])).await?;
        let dependents: Vec<Item> = impact.dependents.iter().map(|dependent| Item::Resource(dependent.id)).collect();
        let read: Vec<Option<Versioned<Resource>>> = self.read_all(organisation, &dependents).await?;
        resources.extend(read.into_iter().flatten().map(|dependent| (dependent.id, dependent.value)));
        let (consumers, all) = self.list_many::<Consumer>(organisation, &[Set::Consumers(id)]).await?;
        let mut graph = graph(&impact.resource.environment, &resources, &consumers);
        graph.truncated |= impact.truncated || !whole || !all;
        Ok(graph)
    }

    /// The resources that live in an environment or that its workloads hold, and whether that is all of them.
    async fn used_in(
        &self,
        organisation: &OrganisationName,
        environment: &EnvironmentName,
    ) -> Result<(BTreeSet<ResourceId>, bool), Error> {
        let mut found = BTreeSet::new();
        let set = Set::Residents(environment.clone());
        let mut after: Option<String> = None;
        loop {
            let Page { records, next } = self.records.list(organisation, &set, after.as_deref(), None).await?;
            for record in records {
                found.insert(record.typed::<Resident>()?.resource);
            }
            after = next;
            if after.is_none() || found.len() > MAX_NODES {
                break;
            }
        }
        let lanes: Vec<Versioned<Lane>> = self.list_all(organisation, &Set::Lanes(environment.clone())).await?;
        let held: Vec<Set> = lanes
            .iter()
            .filter_map(|lane| Some(Set::Holdings(environment.clone(), lane.key.application_name()?.clone(), None)))
            .collect();
        let (holdings, whole) = self.list_many::<Holding>(organisation, &held).await?;
        found.extend(holdings.iter().map(|holding| holding.resource));
        Ok((found, whole && after.is_none()))
    }

    /// Resources and everything that they depend on, and whether that is all of it.
    async fn with_dependencies(
        &self,
        organisation: &OrganisationName,
        start: BTreeSet<ResourceId>,
    ) -> Result<(BTreeMap<ResourceId, Resource>, bool), Error> {
        let mut found: BTreeMap<ResourceId, Resource> = BTreeMap::new();
        let mut whole = true;
        let mut next = start;
        while !next.is_empty() {
            let room = MAX_NODES - found.len();
            whole &= next.len() <= room;
            let items: Vec<Item> = next.iter().take(room).map(|id| Item::Resource(*id)).collect();
            let read: Vec<Option<Versioned<Resource>>> = self.read_all(organisation, &items).await?;
            next = BTreeSet::new();
            for resource in read.into_iter().flatten() {
                next.extend(resource.depends_on.iter().copied());
                found.insert(resource.id, resource.value);
            }
            next.retain(|id| !found.contains_key(id));
        }
        Ok((found, whole))
    }

    /// What would happen to whom if a resource were deleted, through everything that depends on it. Bounded, see
    /// [`Impact::truncated`].
    ///
    /// # Errors
    ///
    /// [`Code::ResourceNotFound`].
    pub async fn impact(&self, caller: &Caller, id: ResourceId) -> Result<Impact, Error> {
        let organisation = caller.organisation();
        let resource: Option<Versioned<Resource>> = self.read(organisation, Item::Resource(id)).await?;
        let missing = || Refusal::new(Code::ResourceNotFound, format!("there is no resource {id}"));
        let resource = resource.ok_or_else(missing)?.value;
        let mut walk = Walk::from(&resource);
        let mut truncated = false;
        while !walk.edge.is_empty() && !truncated {
            let sets: Vec<Set> = walk.edge.iter().map(|id| Set::Consumers(*id)).collect();
            let (consumers, whole) = self.list_many::<Consumer>(organisation, &sets).await?;
            let hit = walk.hit(consumers);
            truncated = !whole || walk.dependents.len() + walk.consumers.len() + hit.len() > MAX_NODES;
            let items: Vec<Item> = hit.keys().take(MAX_NODES).map(|id| Item::Resource(*id)).collect();
            let read: Vec<Option<Versioned<Resource>>> = self.read_all(organisation, &items).await?;
            let reached = hit.into_values().zip(read).filter_map(|(through, read)| Some((through, read?.value)));
            walk.reach(reached.collect());
        }
        let Walk { mut dependents, mut consumers, .. } = walk;
        dependents.truncate(MAX_NODES);
        consumers.truncate(MAX_NODES - dependents.len());
        let unused = dependents.is_empty() && consumers.is_empty() && !truncated;
        let deletable = unused && resource.status != ResourceStatus::Deleted;
        Ok(Impact { resource, dependents, consumers, deletable, truncated })
    }

    /// Lists sets, several at once, until there is more than an answer shows; and whether that was everything.
    pub(crate) async fn list_many<T: Entity>(
        &self,
        organisation: &OrganisationName,
        sets: &[Set],
    ) -> Result<(Vec<T>, bool), StoreError> {
        let mut found: Vec<T> = Vec::new();
        for part in sets.chunks(AT_ONCE) {
            if found.len() > MAX_EDGES {
                return Ok((found, false));
            }
            let listed = try_join_all(part.iter().map(|set| self.list_all::<T>(organisation, set))).await?;
            found.extend(listed.into_iter().flatten().map(|record| record.value));
        }
        Ok((found, true))
    }
}

/// The graph of what has been read. Somebody of another environment is shown only as a user of this one's resources.
fn graph(environment: &EnvironmentName, resources: &BTreeMap<ResourceId, Resource>, consumers: &[Consumer]) -> Graph {
    let mut nodes: Vec<Node> = resources.values().map(resource_node).collect();
    let mut edges: BTreeSet<Edge> = BTreeSet::new();
    for resource in resources.values() {
        let there = resource.depends_on.iter().filter(|id| resources.contains_key(*id));
        edges.extend(there.map(|id| Edge {
            from: resource.id.to_string(),
            to: id.to_string(),
            kind: EdgeKind::DependsOn,
        }));
    }
    let mut users: BTreeMap<String, Node> = BTreeMap::new();
    let mut truncated = false;
    for consumer in consumers {
        let (Some(user), Some(resource)) = (user_node(&consumer.key), resources.get(&consumer.resource)) else {
            continue;
        };
        if user.environment != *environment && resource.environment != *environment {
            continue;
        }
        if nodes.len() + users.len() >= MAX_NODES && !users.contains_key(&user.id) {
            truncated = true;
            continue;
        }
        edges.insert(Edge { from: user.id.clone(), to: consumer.resource.to_string(), kind: EdgeKind::Uses });
        users.insert(user.id.clone(), user);
    }
    nodes.extend(users.into_values());
    truncated |= edges.len() > MAX_EDGES;
    Graph { nodes, edges: edges.into_iter().take(MAX_EDGES).collect(), truncated }
}

fn resource_node(resource: &Resource) -> Node {
    Node {
        id: resource.id.to_string(),
        kind: NodeKind::Resource,
        name: resource.name.clone(),
        environment: resource.environment.clone(),
        template: Some(resource.template.clone()),
        status: Some(resource.status),
        application: None,
        workload: None,
    }
}

/// The node of a consumer that is no resource.
fn user_node(key: &ConsumerKey) -> Option<Node> {
    let node = |id: String, kind: NodeKind, name: String, environment: &EnvironmentName| Node {
        id,
        kind,
        name,
        environment: environment.clone(),
        template: None,
        status: None,
        application: None,
        workload: None,
    };
    let of_workload = |environment: &EnvironmentName, application: &ApplicationName, workload: &WorkloadName| {
        let id = format!("workload:{environment}/{application}/{workload}");
        Node {
            application: Some(application.clone()),
            workload: Some(workload.clone()),
            ..node(id, NodeKind::Workload, workload.to_string(), environment)
        }
    };
    match key {
        ConsumerKey::Workload(key) => Some(of_workload(&key.environment, &key.application, &key.workload)),
        ConsumerKey::Api { environment, application, workload: Some(workload) } => {
            Some(of_workload(environment, application, workload))
        }
        ConsumerKey::Api { environment, application, workload: None } => {
            let id = format!("application:{environment}/{application}");
            let application = application.clone();
            let node = node(id, NodeKind::Application, application.to_string(), environment);
            Some(Node { application: Some(application), ..node })
        }
        ConsumerKey::Pool(key) => {
            let id = format!("pool:{}/{}", key.environment, key.name);
            Some(node(id, NodeKind::Pool, key.name.to_string(), &key.environment))
        }
        ConsumerKey::Resource { .. } => None,
    }
}

/// A walk from a resource to everything that is hit if it goes, step by step.
struct Walk {
    /// Names on the way to each resource that was reached.
    paths: BTreeMap<ResourceId, Vec<String>>,
    /// Those whose consumers are not known yet.
    edge: Vec<ResourceId>,
    dependents: Vec<Dependent>,
    consumers: Vec<Affected>,
}

impl Walk {
    fn from(resource: &Resource) -> Self {
        Self {
            paths: BTreeMap::from([(resource.id, vec![resource.name.clone()])]),
            edge: vec![resource.id],
            dependents: Vec::new(),
            consumers: Vec::new(),
        }
    }

    fn path(&self, id: ResourceId) -> Vec<String> {
        self.paths.get(&id).cloned().unwrap_or_default()
    }

    /// Takes the consumers of the edge. The resources among them that were not reached before, each with the one that it
    /// depends on.
    fn hit(&mut self, consumers: Vec<Consumer>) -> BTreeMap<ResourceId, ResourceId> {
        let mut new = BTreeMap::new();
        for Consumer { resource: used, key, .. } in consumers {
            match key {
                ConsumerKey::Resource { resource } => {
                    if !self.paths.contains_key(&resource) {
                        new.entry(resource).or_insert(used);
                    }
                }
                ConsumerKey::Workload(_) | ConsumerKey::Api { .. } | ConsumerKey::Pool(_) => {
                    let path = self.path(used);
                    self.consumers.push(Affected { key, path });
                }
            }
        }
        new
    }

    /// Goes on to resources, each with the one that it depends on.
    fn reach(&mut self, resources: Vec<(ResourceId, Resource)>) {
        self.edge = resources.iter().map(|(_, resource)| resource.id).collect();
        for (through, resource) in resources {
            let mut path = self.path(through);
            path.push(resource.name.clone());
            self.paths.insert(resource.id, path.clone());
            let Resource { id, name, template, environment, .. } = resource;
            self.dependents.push(Dependent { id, name, template, environment, path });
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::consumer::HoldingKey;
    use conductor_domain::ids::GenericUuid;
    use conductor_domain::pool::PoolKey;
    use jiff::Timestamp;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    /// The resource whose name is one letter.
    fn id(name: &str) -> ResourceId {
        ResourceId::from_untyped_uuid(Uuid::from_u128(u128::from(name.as_bytes()[0])))
    }

    /// Resources as `a < b c; d@prod`: `a` depends on `b` and `c`, and `d` lives in `prod` instead of `dev`.
    fn resources(shorthand: &str) -> BTreeMap<ResourceId, Resource> {
        let read = |line: &str| -> Resource {
            let (head, dependencies) = line.split_once('<').unwrap_or((line, ""));
            let (name, environment) = head.trim().split_once('@').unwrap_or((head.trim(), "dev"));
            let depends_on: Vec<_> = dependencies.split_whitespace().map(id).collect();
            let time = Timestamp::UNIX_EPOCH;
            let value = json!({
                "id": id(name), "name": name, "template": "note", "environment": environment, "mode": "dedicated",
                "identity": name, "status": "Active", "enteredAt": time, "consumers": 1, "waiters": 0,
                "dependsOn": depends_on, "stateLocation": {"backend": "s3", "location": "s3://states/x"},
                "createdAt": time, "updatedAt": time
            });
            serde_json::from_value(value).expect("a resource")
        };
        shorthand.split(';').map(read).map(|resource| (resource.id, resource)).collect()
    }

    /// A consumer as `a w shop/web`, `a api shop`, `a pool spare` or `a r b`, in `dev`, or at the end `@prod`.
    fn consumer(shorthand: &str) -> Consumer {
        let (text, environment) = shorthand.split_once('@').unwrap_or((shorthand, "dev"));
        let environment: EnvironmentName = environment.parse().expect("a name");
        let mut words = text.split_whitespace();
        let mut word = || words.next().expect("a word");
        let (resource, kind, who) = (id(word()), word(), word());
        let (application, workload) = who.split_once('/').map_or((who, None), |(a, w)| (a, w.parse().ok()));
        let key = match kind {
            "w" => ConsumerKey::Workload(HoldingKey {
                environment,
                application: application.parse().expect("a name"),
                workload: workload.expect("a workload"),
                resource: "db".to_owned(),
            }),
            "api" => ConsumerKey::Api { environment, application: application.parse().expect("a name"), workload },
            "pool" => ConsumerKey::Pool(PoolKey { environment, name: who.parse().expect("a name") }),
            _ => ConsumerKey::Resource { resource: id(who) },
        };
        Consumer { resource, key, added_at: Timestamp::UNIX_EPOCH, leaving: None }
    }

    #[test]
    fn a_graph_shows_who_uses_what_and_what_that_depends_on() {
        let check = |shorthand: &str, consumers: &[&str], expect: &[&str]| {
            let resources = resources(shorthand);
            let consumers: Vec<Consumer> = consumers.iter().map(|text| consumer(text)).collect();
            let graph = graph(&"dev".parse().expect("a name"), &resources, &consumers);
            let name = |id: &String| {
                let node = graph.nodes.iter().find(|node| node.id == *id).expect("each end of an edge is a node");
                if node.kind == NodeKind::Resource { node.name.clone() } else { node.id.clone() }
            };
            let shown = |edge: &Edge| format!("{} {:?} {}", name(&edge.from), edge.kind, name(&edge.to));
            let edges: BTreeSet<String> = graph.edges.iter().map(shown).collect();
            assert_eq!(edges.iter().map(String::as_str).collect::<Vec<_>>(), expect, "{shorthand} {consumers:?}");
            assert!(!graph.truncated);
        };
        check("a; b", &[], &[]);
        check("a < b; b", &["b r a"], &["a DependsOn b"]);
        check("a < z", &[], &[]);
        check("a", &["a w shop/web", "a w shop/web"], &["workload:dev/shop/web Uses a"]);
        check("a", &["a api shop/web"], &["workload:dev/shop/web Uses a"]);
        check("a", &["a api shop", "a pool spare"], &["application:dev/shop Uses a", "pool:dev/spare Uses a"]);
        check("a", &["a w shop/web @prod"], &["workload:prod/shop/web Uses a"]);
        check(
            "a < b; b@prod",
            &["b w shop/web @prod", "b w shop/web"],
            &["a DependsOn b", "workload:dev/shop/web Uses b"],
        );
    }

    #[test]
    fn an_impact_names_everybody_once_and_the_shortest_way_to_them() {
        let check = |shorthand: &str, consumers: &[&str], expect: &[&str]| {
            let resources = resources(shorthand);
            let consumers: Vec<Consumer> = consumers.iter().map(|text| consumer(text)).collect();
            let mut walk = Walk::from(&resources[&id("a")]);
            while !walk.edge.is_empty() {
                let users = consumers.iter().cloned();
                let dependents = resources.values().flat_map(|dependent| {
                    dependent.depends_on.iter().map(move |used| Consumer {
                        resource: *used,
                        key: ConsumerKey::Resource { resource: dependent.id },
                        added_at: Timestamp::UNIX_EPOCH,
                        leaving: None,
                    })
                });
                let all = users.chain(dependents);
                let of_edge: Vec<_> = all.filter(|consumer| walk.edge.contains(&consumer.resource)).collect();
                let hit = walk.hit(of_edge);
                walk.reach(hit.into_iter().map(|(id, through)| (through, resources[&id].clone())).collect());
            }
            let dependents = walk.dependents.iter().map(|hit| format!("{}: {}", hit.name, hit.path.join(" ")));
            let users = walk
                .consumers
                .iter()
                .map(|hit| format!("{}: {}", hit.key.label().expect("no resource"), hit.path.join(" ")));
            assert_eq!(dependents.chain(users).collect::<Vec<_>>(), expect, "{shorthand} {consumers:?}");
        };
        check("a", &[], &[]);
        check("a", &["a w shop/web"], &["shop/web in dev: a"]);
        check("a; b < a; c < b", &["c w shop/web"], &["b: a b", "c: a b c", "shop/web in dev: a b c"]);
        check("a; b < a; c < b a", &[], &["b: a b", "c: a c"]);
        check("a < c; b < a; c < b", &["c api shop @prod"], &["b: a b", "c: a b c", "shop in prod: a b c"]);
    }
}
