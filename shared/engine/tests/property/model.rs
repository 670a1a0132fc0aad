//! What can be seen of Conductor when it is at rest, and what was asked of it. Knows nothing of how it is asked: a driver
//! may speak to an engine in memory or to a stack over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::Code;
use conductor_domain::deployment::{DeploymentKind, DeploymentStatus};
use conductor_domain::identity::Mode;
use conductor_domain::operation::{Action, Effect, OperationStatus};
use conductor_domain::resource::ResourceStatus;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::step::{Ask, Asked};

/// A workload where it is deployed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// The environment.
    pub environment: String,
    /// The application.
    pub application: String,
    /// Its own name.
    pub name: String,
}

/// Who uses a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consumer {
    /// A workload, under a name in its file.
    File(Workload, String),
    /// A resource that depends on it.
    Resource(String),
    /// An application, or one of its workloads, that the API named.
    Api { environment: String, application: String, workload: Option<String> },
    /// The pool whose free member it is: environment and name.
    Pool(String, String),
}

/// A resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Where it lives.
    pub environment: String,
    /// How it is found.
    pub mode: Mode,
    /// Where it stands.
    pub status: ResourceStatus,
    /// The template's version; none for what Conductor did not make.
    pub version: Option<String>,
    /// Parameters that are shown, and the names of the others.
    pub parameters: (Map<String, Value>, Vec<String>),
    /// True where it stays without consumers.
    pub retain: bool,
    /// True where Conductor did not make it.
    pub external: bool,
    /// Ids of what it depends on.
    pub depends_on: Vec<String>,
    /// Who uses it, with the consumer's id.
    pub consumers: Vec<(String, Consumer)>,
    /// How many consumers it says that it has.
    pub counted: usize,
}

/// What a workload holds under a name.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The workload.
    pub workload: Workload,
    /// The name.
    pub name: String,
    /// The resource.
    pub resource: String,
    /// How it was found.
    pub mode: Mode,
}

/// A deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub kind: DeploymentKind,
    /// The environment.
    pub environment: String,
    /// The application, where it is one's.
    pub application: Option<String>,
    /// The workload, where it is one's.
    pub workload: Option<String>,
    /// Its number in its lane.
    pub number: u64,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// Why it did not succeed.
    pub error: Option<Code>,
    /// What it did, by number.
    pub operations: Vec<Operation>,
}

/// An operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its number.
    pub number: u32,
    /// The name in the file, or of the resource.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Where it stands.
    pub status: OperationStatus,
    /// How it ended well.
    pub effect: Option<Effect>,
    /// How it ended badly.
    pub error: Option<Code>,
    /// The resource.
    pub resource: Option<String>,
    /// Numbers of those before it.
    pub depends_on: Vec<u32>,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// A pool.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its environment.
    pub environment: String,
    /// Its name.
    pub name: String,
    /// How many free members there should be.
    pub size: u32,
    /// Ids of its free members.
    pub free: Vec<String>,
    /// Ids of those that somebody took.
    pub taken: Vec<String>,
}

/// What was made in the cloud for a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// The version of its template.
    pub version: String,
    /// What terraform got.
    pub inputs: Map<String, Value>,
}

/// Everything that can be seen at a moment.
#[derive(Debug, Default)]
pub struct Seen {
    /// All resources, also those that are gone.
    pub resources: Vec<Resource>,
    /// All deployments.
    pub deployments: Vec<Deployment>,
    /// All pools.
    pub pools: Vec<Pool>,
    /// All holdings; none where the driver cannot see them.
    pub holdings: Option<Vec<Holding>>,
    /// What is in the cloud, by resource.
    pub cloud: BTreeMap<String, Thing>,
    /// Whatever a driver saw that must not be.
    pub wrong: Vec<String>,
}

impl Seen {
    /// Resources that are not gone.
    pub fn live(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| resource.status != ResourceStatus::Deleted)
    }

    /// A resource by its id.
    pub fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    /// A deployment by its id.
    pub fn deployment(&self, id: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.id == id)
    }
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This deployment was recorded.
    Deployment(String),
    /// It was done.
    Done,
    /// A rule said no.
    Refused(Code),
}

/// A deployment that was asked for with a file.
#[derive(Debug)]
pub struct Deployed {
    /// The names in the file.
    pub names: BTreeSet<String>,
    /// Names before that live on under another one.
    pub moved: BTreeSet<String>,
    /// The file's text.
    pub text: String,
    /// What was said beside it.
    pub options: Asked,
}

/// What was asked for, and granted.
#[derive(Debug, Default)]
pub struct History {
    /// Deployments of a file.
    pub deployed: BTreeMap<String, Deployed>,
    /// Consumers that the API added to a resource, true, or removed, false. Whatever is not certain is not here.
    pub added: BTreeMap<(String, Consumer), bool>,
    /// The size that a pool shall have; none once it is deleted. Whatever is not certain is not here.
    pub pools: BTreeMap<(String, String), Option<u32>>,
    /// What was answered and must not be.
    pub wrong: Vec<String>,
}

/// What a request is about, where the order of two matters.
#[derive(Debug, PartialEq, Eq)]
enum About {
    Consumer(String, Consumer, bool),
    Pool(String, String, Option<u32>),
}

impl About {
    fn of(ask: &Ask) -> Option<Self> {
        match ask {
            Ask::AddConsumer { resource, environment, application, workload } => {
                let (environment, application) = (environment.clone(), application.clone());
                let consumer = Consumer::Api { environment, application, workload: workload.clone() };
                Some(About::Consumer(resource.clone(), consumer, true))
            }
            Ask::RemoveConsumer { resource, consumer, .. } => {
                Some(About::Consumer(resource.clone(), consumer.clone(), false))
            }
            Ask::PutPool { environment, pool, size } => {
                Some(About::Pool(environment.clone(), pool.name.to_owned(), Some(*size)))
            }
            Ask::DeletePool { environment, pool } => Some(About::Pool(environment.clone(), pool.name.to_owned(), None)),
            Ask::Deploy { .. } | Ask::Teardown { .. } | Ask::DeleteResource { .. } => None,
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (About::Consumer(a, b, _), About::Consumer(c, d, _)) => (a, b) == (c, d),
            (About::Pool(a, b, _), About::Pool(c, d, _)) => (a, b) == (c, d),
            (About::Consumer(..), About::Pool(..)) | (About::Pool(..), About::Consumer(..)) => false,
        }
    }
}

impl History {
    /// Learns what was answered to requests that were made at once.
    pub fn learn(&mut self, asks: &[Ask], answers: &[Answer]) {
        let about: Vec<About> = asks.iter().filter_map(About::of).collect();
        for (ask, answer) in asks.iter().zip(answers) {
            match (ask, answer) {
                (_, Answer::Refused(code)) => {
                    if code.status() >= 500 {
                        self.wrong.push(format!("{code} for {ask:?}"));
                    }
                }
                (Ask::Deploy { file, text, options, .. }, Answer::Deployment(id)) => {
                    let names = file.needs.keys().cloned().collect();
                    let deployed = Deployed { names, moved: file.moved(), text: text.clone(), options: *options };
                    self.deployed.insert(id.clone(), deployed);
                }
                (_, Answer::Deployment(_) | Answer::Done) => self.note(ask, &about),
            }
        }
    }

    fn note(&mut self, ask: &Ask, all: &[About]) {
        let Some(about) = About::of(ask) else { return };
        let certain = all.iter().all(|other| *other == about || !other.same(&about));
        match about {
            About::Consumer(resource, consumer, there) if certain => {
                self.added.insert((resource, consumer), there);
            }
            About::Consumer(resource, consumer, _) => {
                self.added.remove(&(resource, consumer));
            }
            About::Pool(environment, name, size) if certain => {
                self.pools.insert((environment, name), size);
            }
            About::Pool(environment, name, _) => {
                self.pools.remove(&(environment, name));
            }
        }
    }
}
