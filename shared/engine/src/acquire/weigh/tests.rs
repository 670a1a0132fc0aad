use conductor_domain::resource::Parameters;
use conductor_domain::score::MatchingScope;
use serde_json::json;

use super::*;
use crate::acquire::decide::tests::resource;

/// A candidate, changed by `change`, against a wish for `tier: gold`; what is wrong with it, or nothing.
fn weighed(change: impl Fn(&mut Resource), matching: &Matching, mine: bool) -> Option<String> {
    let mut candidate = resource(ResourceStatus::Active, None);
    change(&mut candidate);
    let parameters = Parameters {
        resource: candidate.id,
        values: Map::from_iter([("tier".to_owned(), json!("gold")), ("size".to_owned(), json!(1.0))]),
        sensitive: vec!["password".to_owned()],
        object: None,
        hash: String::new(),
    };
    let values = Map::from_iter([("tier".to_owned(), json!("gold")), ("size".to_owned(), json!(1))]);
    let version = semver::Version::new(1, 0, 0);
    weigh(&candidate, Some(&parameters), Criteria { matching, values: &values, version: Some(&version), mine })
}

fn matching(match_on: &[&str], max_consumers: Option<u32>, policy: MatchingPolicy) -> Matching {
    let match_on = match_on.iter().map(|key| (*key).to_owned()).collect();
    Matching { scope: MatchingScope::Environment, policy, match_on, max_consumers }
}

#[test]
fn a_candidate_matches_or_says_why_not() {
    use MatchingPolicy::{Conditional, Shared};
    use ResourceStatus as S;
    let check = |change: fn(&mut Resource), matching: Matching, mine: bool, expect: Option<&str>| {
        assert_eq!(weighed(change, &matching, mine).as_deref(), expect, "{matching:?}, mine: {mine}");
    };
    let same: fn(&mut Resource) = |_| ();
    check(same, matching(&[], None, Shared), false, None);
    check(same, matching(&["tier"], None, Shared), false, None);
    check(same, matching(&["size"], None, Shared), false, None);
    check(same, matching(&["zone"], None, Shared), false, None);
    check(same, matching(&["password"], None, Shared), false, Some("its password is sensitive"));
    check(same, matching(&[], None, Conditional), false, None);
    let newer: fn(&mut Resource) = |candidate| candidate.version = Some(semver::Version::new(2, 0, 0));
    check(newer, matching(&[], None, Conditional), false, Some("its template version is 2.0.0, wanted 1.0.0"));
    check(newer, matching(&[], None, Shared), false, None);

    let on_its_way: fn(&mut Resource) = |candidate| candidate.status = S::Provisioning;
    check(on_its_way, matching(&[], None, Shared), false, None);
    let failed: fn(&mut Resource) = |candidate| candidate.status = S::Failed;
    check(failed, matching(&[], None, Shared), false, Some("it is Failed"));
    check(failed, matching(&[], None, Shared), true, None);
    let gone: fn(&mut Resource) = |candidate| candidate.status = S::Deleted;
    check(gone, matching(&[], None, Shared), true, Some("it is Deleted"));
}

#[test]
fn there_is_room_or_not() {
    let check = |consumers: u32, waiters: u32, own: Option<u32>, asked: Option<u32>, mine: bool, expect: bool| {
        let change = |candidate: &mut Resource| {
            (candidate.consumers, candidate.waiters, candidate.max_consumers) = (consumers, waiters, own);
        };
        let refused = weighed(change, &matching(&[], asked, MatchingPolicy::Shared), mine);
        assert_eq!(refused.is_none(), expect, "{consumers}+{waiters} of {own:?} and {asked:?}: {refused:?}");
    };
    check(1, 0, None, None, false, true);
    check(999, 0, None, None, false, true);
    check(1, 0, None, Some(2), false, true);
    check(2, 0, None, Some(2), false, false);
    check(1, 1, None, Some(2), false, false);
    check(2, 0, Some(2), Some(9), false, false);
    check(2, 0, Some(9), None, false, true);
    check(2, 5, None, Some(2), true, true);
    check(3, 0, None, Some(2), true, false);
}

#[test]
fn what_differs_is_named() {
    let values = Map::from_iter([("tier".to_owned(), json!("silver"))]);
    let candidate = resource(ResourceStatus::Active, None);
    let rules = matching(&["tier"], None, MatchingPolicy::Shared);
    let criteria = Criteria { matching: &rules, values: &values, version: None, mine: false };
    let refused = weigh(&candidate, None, criteria);
    assert_eq!(refused.as_deref(), Some("its tier is null, wanted \"silver\""));
}
