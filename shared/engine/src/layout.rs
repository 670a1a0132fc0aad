//! Table keys: the one place that knows how records are laid out (ARCHITECTURE.md shows the table). Every store keeps
//! this order, so that a set lists the same everywhere.

use conductor_domain::candidate::{CandidateKey, Scope};
use conductor_domain::consumer::ConsumerKey;
use conductor_domain::ids::DeploymentId;
use conductor_domain::lane::{LaneKey, LaneOf};
use conductor_domain::name::OrganisationName;
use conductor_domain::pool::PoolKey;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::port::DUE_SHARDS;
use crate::record::{Item, Listing, Set, Subject};

/// A record's place in the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition key; begins with the organisation.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

/// Which sort keys of a partition belong to a set: from the first to the last, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Partition key.
    pub pk: String,
    /// Lowest sort key.
    pub from: String,
    /// Highest sort key.
    pub to: String,
}

const META: &str = "META";
const TEMPLATE_POLICY: &str = "POLICY#TEMPLATES";
/// Sorts before everything that a key is made of; a sort key cannot be empty.
const FIRST: &str = " ";
/// Sorts after everything that a key is made of.
const LAST: &str = "~";

/// A time whose text sorts as the time does.
fn sortable(time: Timestamp) -> String {
    format!("{time:.9}")
}

fn number(number: u32) -> String {
    format!("{number:06}")
}

fn log(deployment: DeploymentId, operation: u32) -> String {
    format!("LOG#{deployment}#{}", number(operation))
}

fn lane_of(of: &LaneOf) -> String {
    match of {
        LaneOf::Application(name) => format!("A#{name}"),
        LaneOf::Pool(name) => format!("P#{name}"),
        LaneOf::Resource(id) => format!("R#{id}"),
    }
}

fn lane(key: &LaneKey) -> String {
    format!("LANE#{}#{}", key.environment, lane_of(&key.of))
}

fn pool(key: &PoolKey) -> String {
    format!("POOL#{}#{}", key.environment, key.name)
}

fn candidates(key: &CandidateKey) -> String {
    let scope = match &key.scope {
        Scope::Environment(name) => format!("E#{name}"),
        Scope::Organisation => "O".to_owned(),
        Scope::Global => "G".to_owned(),
    };
    format!("CAND#{scope}#{}", key.template)
}

const FREE: &str = "FREE#";
const TAKEN: &str = "TAKEN#";

fn consumer(key: &ConsumerKey) -> String {
    match key {
        ConsumerKey::Workload(h) => format!("W#{}#{}#{}#{}", h.environment, h.application, h.workload, h.resource),
        ConsumerKey::Resource { resource } => format!("R#{resource}"),
        ConsumerKey::Api { environment, application, workload } => {
            let workload = workload.as_ref().map_or("", |workload| workload.as_str());
            format!("A#{environment}#{application}#{workload}")
        }
        ConsumerKey::Pool(key) => format!("P#{}#{}", key.environment, key.name),
    }
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Environment(name) => format!("ENV#{name}"),
        Subject::Application(name) => format!("APP#{name}"),
        Subject::Template(name) => format!("TMPL#{name}"),
        Subject::Deployment(id) => format!("DEP#{id}"),
        Subject::Resource(id) => format!("RES#{id}"),
        Subject::Pool(key) => pool(key),
        Subject::Token(id) => format!("TOKEN#{id}"),
        Subject::TemplatePolicy => TEMPLATE_POLICY.to_owned(),
    }
}

/// Where a record lies.
pub fn key(organisation: &OrganisationName, item: &Item) -> Key {
    let (partition, sk) = match item {
        Item::Environment(name) => (format!("ENV#{name}"), META.to_owned()),
        Item::Lane(key) => (format!("ENV#{}", key.environment), format!("LANE#{}", lane_of(&key.of))),
        Item::LanePlace(key, place) => (lane(key), format!("{place:020}")),
        Item::Resident(environment, id) => (format!("ENV#{environment}"), format!("RES#{id}")),
        Item::Application(name) => (format!("APP#{name}"), META.to_owned()),
        Item::Template(name) => (format!("TMPL#{name}"), META.to_owned()),
        Item::TemplateVersion(name, version) => (format!("TMPL#{name}"), format!("VER#{version}")),
        Item::Pace(name, version) => (format!("TMPL#{name}"), format!("PACE#{version}")),
        Item::TemplatePolicy => (TEMPLATE_POLICY.to_owned(), META.to_owned()),
        Item::Deployment(id) => (format!("DEP#{id}"), META.to_owned()),
        Item::Operation(id, n) => (format!("DEP#{id}"), format!("OP#{}", number(*n))),
        Item::Open(id, n) => (format!("DEP#{id}"), format!("OPEN#{}", number(*n))),
        Item::Lease(id, n) => (format!("DEP#{id}"), format!("LEASE#{}", number(*n))),
        Item::Resource(id) => (format!("RES#{id}"), META.to_owned()),
        Item::Parameters(id) => (format!("RES#{id}"), "PARAMS".to_owned()),
        Item::Outputs(id) => (format!("RES#{id}"), "OUTPUTS".to_owned()),
        Item::Consumer(id, key) => (format!("RES#{id}"), format!("CONS#{}", consumer(key))),
        Item::Waiter(id, since, deployment, n) => {
            (format!("RES#{id}"), format!("WAIT#{}#{deployment}#{}", sortable(*since), number(*n)))
        }
        Item::Holding(key) => {
            (format!("HELD#{}#{}", key.environment, key.application), format!("{}#{}", key.workload, key.resource))
        }
        Item::Pool(key) => (format!("ENV#{}", key.environment), format!("POOL#{}", key.name)),
        Item::Member(key, free, id) => (pool(key), format!("{}{id}", if *free { FREE } else { TAKEN })),
        Item::Candidate(key, created_at, id) => (candidates(key), format!("C#{}#{id}", sortable(*created_at))),
        Item::CandidateGuard(key) => (candidates(key), "GUARD".to_owned()),
        Item::GraphGuard => ("GRAPH".to_owned(), "GUARD".to_owned()),
        Item::Identity(key) => (format!("IDENT#{}", key.as_str()), META.to_owned()),
        Item::Idempotency(principal, key) => (format!("IDEM#{}#{}", digest(principal), digest(key)), META.to_owned()),
        Item::Token(id) => (format!("TOKEN#{id}"), META.to_owned()),
        Item::TokenRoll => ("TOKENS".to_owned(), META.to_owned()),
        Item::Audit(of, at, id) => (subject(of), format!("AUDIT#{}#{id}", sortable(*at))),
        Item::Chunk(id, n, epoch, last) => (log(*id, *n), format!("{epoch:010}#{last:010}")),
    };
    Key { pk: format!("{organisation}#{partition}"), sk }
}

/// Where a set lies.
pub fn range(organisation: &OrganisationName, set: &Set) -> Range {
    let all = |partition: String, prefix: &str| {
        let from = if prefix.is_empty() { FIRST } else { prefix };
        (partition, from.to_owned(), format!("{prefix}{LAST}"))
    };
    let (partition, from, to) = match set {
        Set::Lanes(environment) => all(format!("ENV#{environment}"), "LANE#"),
        Set::Residents(environment) => all(format!("ENV#{environment}"), "RES#"),
        Set::LanePlaces(key) => all(lane(key), ""),
        Set::TemplateVersions(name) => all(format!("TMPL#{name}"), "VER#"),
        // LEASE#, META and OP#, which lie side by side; OPEN# comes after them.
        Set::Deployment(id) => (format!("DEP#{id}"), "LEASE#".to_owned(), format!("OP#{LAST}")),
        Set::Operations(id) => all(format!("DEP#{id}"), "OP#"),
        Set::Open(id) => all(format!("DEP#{id}"), "OPEN#"),
        Set::Consumers(id) => all(format!("RES#{id}"), "CONS#"),
        Set::Waiters(id) => all(format!("RES#{id}"), "WAIT#"),
        Set::Holdings(environment, application, workload) => {
            let prefix = workload.as_ref().map_or_else(String::new, |workload| format!("{workload}#"));
            all(format!("HELD#{environment}#{application}"), &prefix)
        }
        Set::Pools(environment) => all(format!("ENV#{environment}"), "POOL#"),
        Set::Members(key, None) => (pool(key), FREE.to_owned(), format!("{TAKEN}{LAST}")),
        Set::Members(key, Some(free)) => all(pool(key), if *free { FREE } else { TAKEN }),
        Set::Candidates(key) => all(candidates(key), "C#"),
        Set::Audit(of) => all(subject(of), "AUDIT#"),
        Set::Log(id, n) => all(log(*id, *n), ""),
        Set::Run(id, n, epoch, line) => {
            (log(*id, *n), format!("{epoch:010}#{line:010}"), format!("{epoch:010}#{LAST}"))
        }
    };
    Range { pk: format!("{organisation}#{partition}"), from, to }
}

/// The partition of a list for people.
pub fn listing(organisation: &OrganisationName, listing: &Listing) -> String {
    let name = match listing {
        Listing::Environments => "ENVIRONMENTS".to_owned(),
        Listing::Applications => "APPLICATIONS".to_owned(),
        Listing::Templates => "TEMPLATES".to_owned(),
        Listing::Deployments => "DEPLOYMENTS".to_owned(),
        Listing::Resources => "RESOURCES".to_owned(),
        Listing::Tokens => "TOKENS".to_owned(),
        Listing::Sessions => "SESSIONS".to_owned(),
        Listing::Audit(day) => format!("AUDIT#{day}"),
    };
    format!("{organisation}#{name}")
}

/// The partition of a due shard.
pub fn due_shard(shard: u8) -> String {
    format!("DUE#{shard}")
}

/// The shard that a partition's records are due in.
pub fn shard_of(pk: &str) -> u8 {
    Sha256::digest(pk.as_bytes())[0] % DUE_SHARDS
}

/// The organisation that a partition belongs to.
pub fn organisation(pk: &str) -> Option<OrganisationName> {
    OrganisationName::new(pk.split('#').next()?).ok()
}

#[cfg(test)]
mod tests {
    use conductor_domain::ids::GenericUuid;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_set_holds_its_own_records_and_no_others() {
        let organisation: OrganisationName = "acme".parse().expect("a name");
        let id = DeploymentId::from_untyped_uuid(Uuid::nil());
        let check = |item: &Item, set: &Set, expect: bool| {
            let (key, range) = (key(&organisation, item), range(&organisation, set));
            let inside = key.pk == range.pk && range.from <= key.sk && key.sk <= range.to;
            assert_eq!(inside, expect, "{item:?} in {set:?}");
        };
        check(&Item::Operation(id, 7), &Set::Operations(id), true);
        check(&Item::Open(id, 7), &Set::Operations(id), false);
        check(&Item::Open(id, 999_999), &Set::Open(id), true);
        check(&Item::Deployment(id), &Set::Deployment(id), true);
        check(&Item::Operation(id, 999_999), &Set::Deployment(id), true);
        check(&Item::Lease(id, 1), &Set::Deployment(id), true);
        check(&Item::Open(id, 1), &Set::Deployment(id), false);
        check(&Item::Chunk(id, 1, 2, 9), &Set::Run(id, 1, 2, 9), true);
        check(&Item::Chunk(id, 1, 2, 9), &Set::Run(id, 1, 2, 10), false);
        check(&Item::Chunk(id, 1, 12, 9), &Set::Run(id, 1, 1, 1), false);
        check(&Item::Chunk(id, 500, 12, u32::MAX), &Set::Log(id, 500), true);
    }

    #[test]
    fn times_sort_as_text() {
        let check = |a: &str, b: &str| {
            let (a, b): (Timestamp, Timestamp) = (a.parse().expect("a time"), b.parse().expect("a time"));
            assert_eq!(a.cmp(&b), sortable(a).cmp(&sortable(b)));
        };
        check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z");
        check("2026-01-01T00:00:00.12Z", "2026-01-01T00:00:00.123Z");
        check("2025-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00Z");
    }
}
