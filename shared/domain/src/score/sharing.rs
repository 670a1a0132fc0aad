//! The sharing mode that a resource's extras and its `id` add up to.

use super::extras::{Extras, Placed};
use super::model::{Matching, MatchingPolicy, MatchingScope, Sharing};
use super::problem::{Problem, child, code};
use super::yaml::{Node, Position};

/// One of the ways in which a file says how a resource is shared.
struct Claim {
    key: &'static str,
    pointer: String,
    position: Option<Position>,
    sharing: Sharing,
}

/// What all of them say together; where they differ, a problem that names two of them.
pub(super) fn sharing(resource: &Node, extras: &Extras, pointer: &str, problems: &mut Vec<Problem>) -> Sharing {
    let mut claims: Vec<Claim> = id(resource, pointer).into_iter().collect();
    for (&key, placed) in extras {
        let said = match key {
            "reference" => reference(placed, problems),
            "matching" => Some(matching(&placed.node)),
            "pool" => placed.node.text().map(|name| Sharing::Pool { name: name.to_owned() }),
            "sharing" => by_word(&placed.node),
            _ => None,
        };
        claims.extend(said.map(|sharing| Claim {
            key,
            pointer: placed.pointer.clone(),
            position: placed.node.position,
            sharing,
        }));
    }
    // `sharing: shared` next to a shared name says nothing new.
    if claims.iter().any(|claim| matches!(claim.sharing, Sharing::Named { .. })) {
        claims.retain(|claim| claim.sharing != Sharing::ByParameters);
    }
    let mut claims = claims.into_iter();
    let Some(first) = claims.next() else { return Sharing::Dedicated };
    for claim in claims.filter(|claim| claim.sharing != first.sharing) {
        let detail =
            format!("`{}` and `{}` both say how the resource is shared; keep one of them", first.key, claim.key);
        problems.push(Problem::new(code::SHARING_CONFLICT, claim.pointer, detail).at(claim.position));
    }
    first.sharing
}

fn id(resource: &Node, pointer: &str) -> Option<Claim> {
    let node = resource.get("id")?;
    let id = node.text()?.to_owned();
    Some(Claim { key: "id", pointer: child(pointer, "id"), position: node.position, sharing: Sharing::ScoreId { id } })
}

fn by_word(node: &Node) -> Option<Sharing> {
    match node.text()? {
        "dedicated" => Some(Sharing::Dedicated),
        "shared" => Some(Sharing::ByParameters),
        "always" => Some(Sharing::Always),
        _ => None,
    }
}

fn reference(placed: &Placed, problems: &mut Vec<Problem>) -> Option<Sharing> {
    let mode = placed.node.get("mode").and_then(Node::text)?;
    let wanted = match mode {
        "shared" => Some("name"),
        "existing" => Some("id"),
        "dedicated" => None,
        _ => return None,
    };
    for key in ["name", "id"] {
        if Some(key) != wanted
            && let Some(node) = placed.node.get(key)
        {
            let detail = format!("`mode: {mode}` goes without `{key}`");
            let pointer = child(&placed.pointer, key);
            problems.push(Problem::new(code::CONFLICTING_KEYS, pointer, detail).at(node.position));
        }
    }
    let Some(key) = wanted else { return Some(Sharing::Dedicated) };
    let Some(node) = placed.node.get(key) else {
        let detail = format!("`mode: {mode}` needs `{key}`");
        problems.push(Problem::new(code::MISSING_KEY, placed.pointer.as_str(), detail).at(placed.node.position));
        return None;
    };
    let text = node.text()?.to_owned();
    Some(match mode {
        "shared" => Sharing::Named { name: text },
        _ => Sharing::Existing { id: text },
    })
}

fn matching(node: &Node) -> Sharing {
    let scope = match node.get("scope").and_then(Node::text) {
        Some("organisation") => MatchingScope::Organisation,
        Some("global") => MatchingScope::Global,
        _ => MatchingScope::Environment,
    };
    let policy = match node.get("sharingPolicy").and_then(Node::text) {
        Some("dedicated") => return Sharing::Dedicated,
        Some("conditional") => MatchingPolicy::Conditional,
        _ => MatchingPolicy::Shared,
    };
    let match_on = node.get("matchOn").map(Node::items).unwrap_or_default();
    Sharing::Matching(Matching {
        scope,
        policy,
        match_on: match_on.iter().filter_map(Node::text).map(str::to_owned).collect(),
        max_consumers: node.get("maxConsumers").and_then(Node::integer).and_then(|count| u32::try_from(count).ok()),
    })
}
