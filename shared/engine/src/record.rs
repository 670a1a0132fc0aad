//! What is stored: one enum over all records, and the items that name them (`layout` turns them into keys).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use conductor_domain::application::Application;
use conductor_domain::audit::AuditEvent;
use conductor_domain::candidate::{Candidate, CandidateGuard, CandidateKey, GraphGuard};
use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey};
use conductor_domain::deployment::Deployment;
use conductor_domain::environment::Environment;
use conductor_domain::identity::IdentityKey;
use conductor_domain::ids::{AuditId, DeploymentId, ResourceId, TokenId};
use conductor_domain::lane::{Lane, LaneKey, LanePlace};
use conductor_domain::log::Chunk;
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::{Lease, Operation};
use conductor_domain::pool::{Member, Pool, PoolKey};
use conductor_domain::resource::{Outputs, Parameters, Resource, Waiter};
use conductor_domain::template::policy::TemplatePolicy;
use conductor_domain::template::{Pace, Template, TemplateName, TemplateVersion};
use conductor_domain::token::{Token, TokenKind};

use crate::outcome::{self, Outcome};

/// The version of the records' shape that this release writes. It reads this one and the one before.
pub const SCHEMA_VERSION: u32 = 1;

/// An operation that has not ended: deleted in the commit that ends it, so that "is anything open?" is one query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation's number.
    pub number: u32,
}

/// Which resource has an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identified {
    /// The identity.
    pub key: IdentityKey,
    /// The resource.
    pub resource: ResourceId,
}

/// A resource that lives in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resident {
    /// The environment.
    pub environment: EnvironmentName,
    /// The resource.
    pub resource: ResourceId,
}

/// What an idempotency key was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Idempotency {
    /// The principal whose key it is.
    pub principal: String,
    /// The key.
    pub key: String,
    /// SHA-256 of the request, hex.
    pub request: String,
    /// The id of what the request made.
    #[serde(alias = "deployment")]
    pub made: String,
    /// When the key may be used anew.
    pub expires_at: Timestamp,
}

/// The service tokens that have not expired, and when they do: written by everybody who makes or revokes one, so that
/// two who do it at once both count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRoll {
    /// By token.
    pub tokens: BTreeMap<TokenId, Timestamp>,
}

/// An audit event and the record whose partition it lies in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// The record.
    pub of: Subject,
    /// What was done.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// A record that has an audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// An environment.
    Environment(EnvironmentName),
    /// An application.
    Application(ApplicationName),
    /// A template.
    Template(TemplateName),
    /// A deployment.
    Deployment(DeploymentId),
    /// A resource.
    Resource(ResourceId),
    /// A pool.
    Pool(PoolKey),
    /// A service token, or a session of the dashboard.
    Token(TokenId),
    /// The policy for templates.
    TemplatePolicy,
}

/// Names a record within its organisation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// See [`Environment`].
    Environment(EnvironmentName),
    /// See [`Lane`].
    Lane(LaneKey),
    /// See [`LanePlace`].
    LanePlace(LaneKey, u64),
    /// See [`Resident`].
    Resident(EnvironmentName, ResourceId),
    /// See [`Application`].
    Application(ApplicationName),
    /// See [`Template`].
    Template(TemplateName),
    /// See [`TemplateVersion`].
    TemplateVersion(TemplateName, semver::Version),
    /// See [`Pace`].
    Pace(TemplateName, semver::Version),
    /// See [`TemplatePolicy`].
    TemplatePolicy,
    /// See [`Deployment`].
    Deployment(DeploymentId),
    /// See [`Operation`].
    Operation(DeploymentId, u32),
    /// See [`Open`].
    Open(DeploymentId, u32),
    /// See [`Lease`].
    Lease(DeploymentId, u32),
    /// See [`Resource`].
    Resource(ResourceId),
    /// See [`Parameters`].
    Parameters(ResourceId),
    /// See [`Outputs`].
    Outputs(ResourceId),
    /// See [`Consumer`].
    Consumer(ResourceId, ConsumerKey),
    /// See [`Waiter`].
    Waiter(ResourceId, Timestamp, DeploymentId, u32),
    /// See [`Holding`].
    Holding(HoldingKey),
    /// See [`Identified`].
    Identity(IdentityKey),
    /// See [`Pool`].
    Pool(PoolKey),
    /// See [`Member`]: whether it is free, and which resource.
    Member(PoolKey, bool, ResourceId),
    /// See [`Candidate`].
    Candidate(CandidateKey, Timestamp, ResourceId),
    /// See [`CandidateGuard`].
    CandidateGuard(CandidateKey),
    /// See [`GraphGuard`].
    GraphGuard,
    /// See [`Idempotency`]: principal and key.
    Idempotency(String, String),
    /// See [`Token`].
    Token(TokenId),
    /// See [`TokenRoll`].
    TokenRoll,
    /// See [`Audited`].
    Audit(Subject, Timestamp, AuditId),
    /// See [`Chunk`]: deployment, operation, epoch, number of its last line.
    Chunk(DeploymentId, u32, u64, u32),
}

/// Records that lie together and are listed in key order, strongly consistent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Set {
    /// The lanes of an environment.
    Lanes(EnvironmentName),
    /// The resources of an environment.
    Residents(EnvironmentName),
    /// The unfinished deployments of a lane, first come first.
    LanePlaces(LaneKey),
    /// The versions of a template.
    TemplateVersions(TemplateName),
    /// A deployment, its operations and its leases.
    Deployment(DeploymentId),
    /// The operations of a deployment, by number.
    Operations(DeploymentId),
    /// The markers of its operations that have not ended, by number.
    Open(DeploymentId),
    /// The consumers of a resource.
    Consumers(ResourceId),
    /// Who waits for a resource, longest first.
    Waiters(ResourceId),
    /// What an application holds in an environment; of one workload, or of all.
    Holdings(EnvironmentName, ApplicationName, Option<WorkloadName>),
    /// The pools of an environment.
    Pools(EnvironmentName),
    /// The members of a pool; the free ones, those that are not, or all.
    Members(PoolKey, Option<bool>),
    /// The candidates of a scope and template, oldest first.
    Candidates(CandidateKey),
    /// The audit trail of a record, oldest first.
    Audit(Subject),
    /// The lines of all runs of an operation: deployment, number.
    Log(DeploymentId, u32),
    /// The lines of one run, from the chunk on that has this line: deployment, operation, epoch, line.
    Run(DeploymentId, u32, u64, u32),
}

/// Lists for people: newest first, eventually consistent. Nothing is decided from them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listing {
    /// All environments.
    Environments,
    /// All applications.
    Applications,
    /// All templates.
    Templates,
    /// All deployments.
    Deployments,
    /// All resources, also those that are gone.
    Resources,
    /// All service tokens.
    Tokens,
    /// All sessions.
    Sessions,
    /// The audit events of a day, in UTC.
    Audit(jiff::civil::Date),
}

/// A record type: what the store keeps under one item.
pub trait Entity: Sized + Clone {
    /// Called before it is written over `before`: adds to it what people are told of the change, and answers with what is
    /// counted of it.
    fn told(&mut self, before: &Self, now: Timestamp) -> Vec<Outcome> {
        let _ = (before, now);
        Vec::new()
    }
    /// Its name among the records.
    fn item(&self) -> Item;
    /// As one of all records.
    fn into_record(self) -> Record;
    /// Back from one of all records; `None` where it is another type.
    fn from_record(record: Record) -> Option<Self>;
}

macro_rules! records {
    ($($type:ident => $item:expr $(, told by $told:expr)?;)*) => {
        /// Any record.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "record", content = "body", rename_all = "camelCase")]
        pub enum Record {
            $(#[doc = concat!("See [`", stringify!($type), "`].")] $type($type),)*
        }

        impl Record {
            /// Its name among the records.
            pub fn item(&self) -> Item {
                match self { $(Record::$type(body) => body.item(),)* }
            }
        }

        $(impl Entity for $type {
            $(fn told(&mut self, before: &Self, now: Timestamp) -> Vec<Outcome> {
                let told: fn(&mut $type, &$type, Timestamp) -> Vec<Outcome> = $told;
                told(self, before, now)
            })?
            fn item(&self) -> Item {
                let name: fn(&$type) -> Item = $item;
                name(self)
            }
            fn into_record(self) -> Record {
                Record::$type(self)
            }
            fn from_record(record: Record) -> Option<Self> {
                match record {
                    Record::$type(body) => Some(body),
                    _ => None,
                }
            }
        })*
    };
}

records! {
    Environment => |r| Item::Environment(r.name.clone());
    Lane => |r| Item::Lane(r.key.clone());
    LanePlace => |r| Item::LanePlace(r.lane.clone(), r.number);
    Resident => |r| Item::Resident(r.environment.clone(), r.resource);
    Application => |r| Item::Application(r.name.clone());
    Template => |r| Item::Template(r.name.clone());
    TemplateVersion => |r| Item::TemplateVersion(r.template.clone(), r.version.clone());
    Pace => |r| Item::Pace(r.template.clone(), r.version.clone());
    TemplatePolicy => |_| Item::TemplatePolicy;
    Deployment => |r| Item::Deployment(r.id), told by |r, before, now| {
        r.tell(before, now);
        outcome::of_deployment(before, r, now)
    };
    Operation => |r| Item::Operation(r.deployment, r.number), told by |r, before, now| {
        r.tell(before, now);
        outcome::of_operation(before, r, now)
    };
    Open => |r| Item::Open(r.deployment, r.number);
    Lease => |r| Item::Lease(r.deployment, r.operation);
    Resource => |r| Item::Resource(r.id);
    Parameters => |r| Item::Parameters(r.resource);
    Outputs => |r| Item::Outputs(r.resource);
    Consumer => |r| Item::Consumer(r.resource, r.key.clone());
    Waiter => |r| Item::Waiter(r.resource, r.since, r.deployment, r.number);
    Holding => |r| Item::Holding(r.key.clone());
    Identified => |r| Item::Identity(r.key.clone());
    Pool => |r| Item::Pool(r.key.clone());
    Member => |r| Item::Member(r.pool.clone(), r.free, r.resource);
    Candidate => |r| Item::Candidate(r.key.clone(), r.created_at, r.resource);
    CandidateGuard => |r| Item::CandidateGuard(r.key.clone());
    GraphGuard => |_| Item::GraphGuard;
    Idempotency => |r| Item::Idempotency(r.principal.clone(), r.key.clone());
    Token => |r| Item::Token(r.id);
    TokenRoll => |_| Item::TokenRoll;
    Audited => |r| Item::Audit(r.of.clone(), r.event.at, r.event.id);
    Chunk => |r| Item::Chunk(r.deployment, r.operation, r.epoch, r.last);
}

impl Record {
    /// When the sweeper looks at it. It may be early and is never late; `None` for what needs no clock.
    pub fn due_at(&self) -> Option<Timestamp> {
        match self {
            Record::Deployment(r) => r.due_at(),
            Record::Operation(r) => r.due_at(),
            Record::Lease(r) => Some(r.expires_at),
            Record::Resource(r) => r.due_at(),
            Record::Pool(r) => Some(r.due_at()),
            Record::Environment(_)
            | Record::Lane(_)
            | Record::LanePlace(_)
            | Record::Resident(_)
            | Record::Application(_)
            | Record::Template(_)
            | Record::TemplateVersion(_)
            | Record::Pace(_)
            | Record::TemplatePolicy(_)
            | Record::Open(_)
            | Record::Parameters(_)
            | Record::Outputs(_)
            | Record::Consumer(_)
            | Record::Waiter(_)
            | Record::Holding(_)
            | Record::Identified(_)
            | Record::Member(_)
            | Record::Candidate(_)
            | Record::CandidateGuard(_)
            | Record::GraphGuard(_)
            | Record::Idempotency(_)
            | Record::Token(_)
            | Record::TokenRoll(_)
            | Record::Audited(_)
            | Record::Chunk(_) => None,
        }
    }

    /// When the store may forget it.
    pub fn forget_at(&self) -> Option<Timestamp> {
        match self {
            Record::Idempotency(r) => Some(r.expires_at),
            Record::Token(r) => Some(r.expires_at),
            Record::Chunk(r) => Some(r.expires_at),
            _ => None,
        }
    }

    /// The list for people that it is in, and its place there.
    pub fn listing(&self) -> Option<(Listing, String)> {
        match self {
            Record::Environment(r) => Some((Listing::Environments, format!("{}#{}", r.created_at, r.name))),
            Record::Application(r) => Some((Listing::Applications, format!("{}#{}", r.created_at, r.name))),
            Record::Template(r) => Some((Listing::Templates, r.name.to_string())),
            Record::Deployment(r) => Some((Listing::Deployments, r.id.to_string())),
            Record::Resource(r) => Some((Listing::Resources, r.id.to_string())),
            Record::Token(r) => {
                let listing = match r.kind {
                    TokenKind::Service => Listing::Tokens,
                    TokenKind::Session => Listing::Sessions,
                };
                Some((listing, r.id.to_string()))
            }
            Record::Audited(r) => {
                let day = r.event.at.to_zoned(jiff::tz::TimeZone::UTC).date();
                Some((Listing::Audit(day), format!("{}#{}", r.event.at, r.event.id)))
            }
            _ => None,
        }
    }
}
