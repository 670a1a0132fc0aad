//! What the claims of a token are here: the subject a principal, its groups roles.

use std::collections::BTreeSet;

use conductor_domain::Code;
use conductor_domain::access::Grant;
use conductor_domain::name::OrganisationName;
use conductor_domain::principal::{Principal, PrincipalKind};
use serde_json::Value;

use super::jwt::Claims;
use crate::auth::identities::OidcSettings;
use crate::problem::Refused;

/// The longest subject (OpenID Connect Core, section 2), in bytes.
const MAX_SUBJECT: usize = 255;

/// The principal that claims tell of. Whose groups `ACCESS` does not name has no role.
pub fn principal(
    claims: &Claims,
    settings: &OidcSettings,
    organisation: &OrganisationName,
) -> Result<Principal, Refused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_subject = |text: &&str| (1..=MAX_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control);
    let subject = text("sub").filter(is_subject);
    let subject = subject.ok_or_else(|| Refused::new(Code::Unauthorized, "the token's subject is not usable"))?;
    let organisation = match settings.organisation_claim.as_deref() {
        Some(claim) => text(claim).and_then(|name| name.parse().ok()).ok_or_else(|| {
            Refused::new(Code::Forbidden, format!("the token's claim {claim:?} names no organisation"))
        })?,
        None => organisation.clone(),
    };
    let groups = match claims.get(&*settings.roles_claim) {
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(group)) => vec![group.as_str()],
        _ => Vec::new(),
    };
    let roles: BTreeSet<&Grant> = groups.iter().filter_map(|group| settings.roles.get(*group)).flatten().collect();
    Ok(Principal {
        id: format!("{}|{subject}", settings.issuer.as_str()),
        kind: PrincipalKind::Oidc,
        organisation,
        roles: roles.into_iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::settings;
    use super::*;
    use crate::auth::identities::Text;

    fn read(claims: Value, organisation_claim: Option<&str>) -> Result<Principal, Code> {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        let claim = organisation_claim.map(|name| Text::try_from(name.to_owned()).expect("a text"));
        let settings = OidcSettings { organisation_claim: claim, ..settings("https://idp.example") };
        principal(&claims, &settings, &"home".parse().expect("a name")).map_err(|refused| refused.0.code)
    }

    #[test]
    fn groups_are_roles() {
        let check = |groups: Value, expect: &[&str]| {
            let found = read(json!({"sub": "ada", "groups": groups}), None).expect("a principal");
            let roles: Vec<String> = found.roles.iter().map(ToString::to_string).collect();
            assert_eq!(roles, expect, "{groups}");
        };
        check(json!(["platform-team"]), &["viewer", "platform"]);
        check(json!("platform-team"), &["viewer", "platform"]);
        check(json!(["shop-team", "platform-team", "others"]), &["viewer", "deployer:staging", "platform"]);
        check(json!([["platform-team"], 7, null, {"platform-team": true}]), &[]);
        check(json!("platform-team shop-team"), &[]);
        check(json!("Platform-Team"), &[]);
        check(json!([]), &[]);
        check(json!(null), &[]);
        // What a token says of roles itself counts for nothing.
        let claims = json!({"sub": "ada", "roles": ["admin"], "groups": ["admin"]});
        assert_eq!(read(claims, None).map(|found| found.roles), Ok(Vec::new()));
    }

    #[test]
    fn the_issuer_is_part_of_who_somebody_is() {
        let found = read(json!({"sub": "auth0|ada", "email": "eve@example"}), None).expect("a principal");
        assert_eq!((found.id.as_str(), found.kind), ("https://idp.example|auth0|ada", PrincipalKind::Oidc));
        for subject in [json!(""), json!(7), json!(null), json!("a\nb"), json!("a".repeat(256))] {
            assert_eq!(read(json!({"sub": subject}), None), Err(Code::Unauthorized), "{subject}");
        }
    }

    #[test]
    fn the_organisation_is_the_stacks_own_or_a_claims_and_nothing_else() {
        let check = |claims: Value, claim: Option<&str>, expect: Result<&str, Code>| {
            let found = read(claims.clone(), claim).map(|found| found.organisation.to_string());
            assert_eq!(found.as_deref().map_err(|code| *code), expect, "{claims} {claim:?}");
        };
        check(json!({"sub": "ada", "org": "acme"}), None, Ok("home"));
        check(json!({"sub": "ada", "org": "acme"}), Some("org"), Ok("acme"));
        check(json!({"sub": "ada"}), Some("org"), Err(Code::Forbidden));
        check(json!({"sub": "ada", "org": "Acme_1"}), Some("org"), Err(Code::Forbidden));
        check(json!({"sub": "ada", "org": ["acme"]}), Some("org"), Err(Code::Forbidden));
    }
}
