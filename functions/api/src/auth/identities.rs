//! Who is let in, and as what: `ACCESS`, read once at the start. An error names the place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use conductor_domain::access::Grant;
use conductor_domain::name::OrganisationName;
use serde::Deserialize;

use super::iam::IdentityArn;
use super::url::SafeUrl;

/// Everybody who is somebody here, but for service tokens, which are records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Identities {
    /// AWS identities.
    pub iam: Vec<IamIdentity>,
    /// Users of an OpenID provider.
    pub oidc: Option<OidcSettings>,
}

/// What an AWS identity is here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IamIdentity {
    /// Which.
    pub arn: IdentityArn,
    /// What it may do.
    pub roles: Vec<Grant>,
    /// Whose it is; the stack's own organisation where none is given.
    pub organisation: Option<OrganisationName>,
}

/// An OpenID provider, and what its users are here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OidcSettings {
    /// The provider, as its tokens name it.
    pub issuer: SafeUrl,
    /// For whom a bearer token must be.
    pub audience: Text,
    /// The dashboard, as the provider knows it: a public client.
    pub client_id: Text,
    /// What the dashboard asks for; `openid` is needed, and some providers tell groups for a scope of their own alone.
    #[serde(default = "openid")]
    pub scope: Text,
    /// The claim that holds groups: a text or a list of texts.
    pub roles_claim: Text,
    /// What each group may do.
    pub roles: BTreeMap<String, Vec<Grant>>,
    /// The claim that says the organisation; the stack's own where none is given.
    pub organisation_claim: Option<Text>,
}

fn openid() -> Text {
    Text("openid".to_owned())
}

/// A text that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() { Err("must not be empty") } else { Ok(Self(text)) }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Identities {
    /// Reads the JSON; what is wrong comes with its place, as `iam[0].roles[1]`.
    pub fn read(text: &str) -> Result<Self, String> {
        // Serde would also fill a struct from a list.
        if !text.trim_start().starts_with('{') {
            return Err("must be a JSON object".to_owned());
        }
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        let identities: Self = serde_path_to_error::deserialize(&mut *deserializer)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
        deserializer.end().map_err(|error| error.to_string())?;
        let mut known = BTreeSet::new();
        for (number, identity) in identities.iam.iter().enumerate() {
            if !known.insert(&identity.arn) {
                return Err(format!("iam[{number}].arn: the identity is there before"));
            }
        }
        Ok(identities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OIDC: &str = r#"{"issuer": "https://idp.example", "audience": "conductor-api", "clientId": "conductor",
        "rolesClaim": "groups", "roles": {"platform-team": ["platform", "viewer"]}, "organisationClaim": null}"#;

    #[test]
    fn what_is_left_out_lets_nobody_in() {
        assert_eq!(Identities::read("{}"), Ok(Identities::default()));
    }

    #[test]
    fn it_is_read() {
        let text = format!(
            r#"{{"iam": [{{"arn": "arn:aws:iam::123456789012:role/ci", "roles": ["deployer:staging"],
                "organisation": "acme"}}], "oidc": {OIDC}}}"#
        );
        let read = Identities::read(&text).expect("identities");
        assert_eq!(read.iam[0].roles, vec!["deployer:staging".parse().expect("a grant")]);
        assert_eq!(read.iam[0].organisation.as_ref().map(OrganisationName::as_str), Some("acme"));
        let oidc = read.oidc.expect("a provider");
        let found = (oidc.issuer.as_str(), &*oidc.audience, &*oidc.client_id, &*oidc.scope, oidc.organisation_claim);
        assert_eq!(found, ("https://idp.example", "conductor-api", "conductor", "openid", None));
        assert_eq!(oidc.roles["platform-team"].len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let check = |text: &str, expect: &str| {
            let error = Identities::read(text).expect_err(text);
            assert!(error.contains(expect), "{text}: {error}");
        };
        let iam = |arn: &str, roles: &str| {
            format!(
                r#"{{"iam": [{{"arn": "arn:aws:iam::1:role/a", "roles": []}}, {{"arn": "{arn}", "roles": {roles}}}]}}"#
            )
        };
        check("", "must be a JSON object");
        check("[]", "must be a JSON object");
        check("{", "EOF");
        check("{} {}", "trailing");
        check(r#"{"tokens": []}"#, "unknown field `tokens`");
        check(&iam("arn:aws:iam::1:role/b", r#"["viewer", "root"]"#), "iam[1].roles[1]: \"root\" is no role");
        check(&iam("arn:aws:iam::1:role/b", r#"["admin:staging"]"#), "iam[1].roles[0]");
        check(&iam("arn:aws:sts::1:assumed-role/b/c", "[]"), "iam[1].arn: must be the ARN of a role");
        check(&iam("arn:aws:iam::1:role/x/a", "[]"), "iam[1].arn: the identity is there before");
        check(r#"{"iam": [{"arn": "arn:aws:iam::1:role/a"}]}"#, "missing field `roles`");
        let oidc = |from: &str, to: &str| format!(r#"{{"oidc": {}}}"#, OIDC.replace(from, to));
        check(&oidc("https://idp", "http://idp"), "oidc.issuer: must be an address with https");
        check(&oidc("\"conductor-api\"", "\"\""), "oidc.audience: must not be empty");
        check(&oidc("\"viewer\"", "\"guest\""), "oidc.roles.platform-team[1]: \"guest\" is no role");
        check(&oidc("\"clientId\"", "\"client_id\""), "oidc");
    }
}
