//! Which candidate matches. Pure.

use serde_json::{Map, Value};

use conductor_domain::resource::{Parameters, Resource, ResourceStatus};
use conductor_domain::score::{Matching, MatchingPolicy};

use crate::secrets::canonical;

/// What a candidate must be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Criteria<'a> {
    pub matching: &'a Matching,
    pub values: &'a Map<String, Value>,
    /// The version that a new resource would have.
    pub version: Option<&'a semver::Version>,
    /// True where the one who asks is a consumer already: what is held is kept while it still matches.
    pub mine: bool,
}

/// Why a candidate does not match; `None` where it does.
pub(crate) fn weigh(resource: &Resource, parameters: Option<&Parameters>, criteria: Criteria<'_>) -> Option<String> {
    let Criteria { matching, values, version, mine } = criteria;
    match resource.status {
        ResourceStatus::Active | ResourceStatus::Provisioning | ResourceStatus::Updating => {}
        ResourceStatus::Failed | ResourceStatus::Deleting if mine => {}
        status @ (ResourceStatus::Failed | ResourceStatus::Deleting | ResourceStatus::Deleted) => {
            return Some(format!("it is {status:?}"));
        }
    }
    // What is held is moved to another version in place, not left for another resource.
    if !mine && matching.policy == MatchingPolicy::Conditional && resource.version.as_ref() != version {
        let shown = |version: Option<&semver::Version>| version.map_or("none".to_owned(), ToString::to_string);
        return Some(format!(
            "its template version is {}, wanted {}",
            shown(resource.version.as_ref()),
            shown(version)
        ));
    }
    for key in &matching.match_on {
        if parameters.is_some_and(|parameters| parameters.sensitive.contains(key)) {
            return Some(format!("its {key} is sensitive"));
        }
        let theirs = parameters.and_then(|parameters| parameters.values.get(key)).unwrap_or(&Value::Null);
        let ours = values.get(key).unwrap_or(&Value::Null);
        if canonical(theirs) != canonical(ours) {
            return Some(format!("its {key} is {theirs}, wanted {ours}"));
        }
    }
    let most = [matching.max_consumers, resource.max_consumers].into_iter().flatten().min();
    let full = most.is_some_and(|most| if mine { resource.users() > most } else { !resource.has_room(Some(most)) });
    full.then(|| {
        let waiting =
            if resource.waiters > 0 { format!(" and {} who wait for it", resource.waiters) } else { String::new() };
        format!("it has {} consumers{waiting}; {} are allowed", resource.users(), most.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests;
