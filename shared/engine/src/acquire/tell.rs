//! What an operation says of itself: why it ended as it did, and what changes. Pure; sensitive values are never shown.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use conductor_domain::operation::{ParameterChange, Prospect};
use conductor_domain::resource::{Parameters, Resource};
use conductor_domain::score::Sharing;

use super::decide::Decision;
use super::picture::Wish;

/// How the wished parameters differ from those that are there.
pub(super) fn changes(there: Option<&Parameters>, wish: &Wish) -> Vec<ParameterChange> {
    let empty = Map::new();
    let shown = there.map_or(&empty, |there| &there.values);
    let hidden = there.map(|there| there.sensitive.as_slice()).unwrap_or_default();
    let names: BTreeSet<&String> = shown.keys().chain(wish.values.keys()).chain(hidden).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let sensitive = wish.sensitive.contains(name) || hidden.contains(name);
            let (from, to) = (shown.get(name), wish.values.get(name));
            let differs = sensitive || from != to;
            let show = |value: Option<&Value>| value.filter(|_| !sensitive).cloned().unwrap_or(Value::Null);
            let to = if wish.unknown.contains(name) { Value::Null } else { show(to) };
            differs.then(|| ParameterChange { name: name.clone(), from: show(from), to, sensitive })
        })
        .collect()
}

/// The difference in words.
pub(super) fn difference(
    changes: &[ParameterChange],
    resource: &Resource,
    version: Option<&semver::Version>,
) -> String {
    let show = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    let lines: Vec<String> = changes
        .iter()
        .map(|change| {
            if change.sensitive {
                format!("{} (sensitive) may differ", change.name)
            } else {
                format!("{} is {}, wanted {}", change.name, show(&change.from), show(&change.to))
            }
        })
        .collect();
    if lines.is_empty() {
        let shown = |version: Option<&semver::Version>| version.map_or("none".to_owned(), ToString::to_string);
        return format!("its template version is {}, wanted {}", shown(resource.version.as_ref()), shown(version));
    }
    lines.join("; ")
}

/// Why this resource, or why a new one.
pub(super) fn found_by(sharing: &Sharing, found: Option<&Resource>) -> String {
    match (sharing, found) {
        (Sharing::Dedicated, Some(resource)) => format!("{} is the workload's own", resource.name),
        (Sharing::Dedicated, None) => "the workload has none of its own under this name yet".to_owned(),
        (Sharing::Named { name }, Some(_)) => format!("it is shared by the name {name}"),
        (Sharing::Named { name }, None) => format!("nothing is shared by the name {name} yet"),
        (Sharing::ScoreId { id }, Some(_)) => format!("it is shared by the id {id}"),
        (Sharing::ScoreId { id }, None) => format!("nothing is shared by the id {id} yet"),
        (Sharing::Existing { id }, _) => format!("the file names the resource {id}"),
        (Sharing::ByParameters, Some(resource)) => format!("{} has the same parameters", resource.name),
        (Sharing::ByParameters, None) => "none with the same parameters is shared yet".to_owned(),
        (Sharing::Matching(_), Some(resource)) => format!("{} matches", resource.name),
        (Sharing::Matching(_), None) => "no candidate matches".to_owned(),
        (Sharing::Always, Some(_)) => "there is one of its type for all in the environment".to_owned(),
        (Sharing::Always, None) => "there is none of its type in the environment yet".to_owned(),
        (Sharing::Pool { name }, Some(resource)) => format!("{} is of the pool {name}", resource.name),
        (Sharing::Pool { name }, None) => format!("the pool {name} has no free member"),
    }
}

/// What a decision comes to, if it is carried out; `sole` tells whether nobody else uses the resource.
pub(super) fn prospect(decision: &Decision, sole: bool) -> Option<Prospect> {
    use conductor_domain::operation::During;
    match decision {
        Decision::Create | Decision::Change(During::Create) => Some(Prospect::Created),
        Decision::Link => Some(Prospect::Linked),
        Decision::Unchanged => Some(Prospect::Unchanged),
        Decision::Change(During::Update | During::Destroy) => Some(Prospect::Updated),
        Decision::ChangeIfSole(_) if sole => Some(Prospect::Updated),
        Decision::ChangeIfSole(_) | Decision::Refuse(_) => Some(Prospect::Conflict),
        Decision::Wait | Decision::Stale => None,
    }
}
