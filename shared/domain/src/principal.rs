//! Who asks. Every use-case takes a principal, and every record change names it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::access::{Grant, Right};
use crate::name::{EnvironmentName, OrganisationName};

/// What kind of caller a principal is.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PrincipalKind {
    /// An AWS identity, as the API's IAM authorization saw it.
    Iam,
    /// A user, as an OpenID provider says.
    Oidc,
    /// A pipeline with a service token.
    Token,
    /// Whoever reaches an API that is open on purpose: the local stack.
    Local,
    /// Conductor itself: the sweeper, a worker. It may do everything.
    System,
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Who, within the organisation: an ARN, an issuer and its subject, a token's name, or a fixed word.
    pub id: String,
    /// What kind.
    pub kind: PrincipalKind,
    /// The tenant that it belongs to.
    pub organisation: OrganisationName,
    /// What it may do, and where.
    pub roles: Vec<Grant>,
}

impl Principal {
    /// Whether it has a right in an environment, or everywhere where none is named. What it may do ends with its
    /// organisation.
    pub fn may(&self, right: Right, environment: Option<&EnvironmentName>) -> bool {
        self.kind == PrincipalKind::System || self.roles.iter().any(|grant| grant.gives(right, environment))
    }

    /// Where it has a right: in these environments, or everywhere where `None`.
    pub fn reach(&self, right: Right) -> Option<BTreeSet<EnvironmentName>> {
        let there = self.roles.iter().filter(|grant| grant.gives_somewhere(right));
        (!self.may(right, None)).then(|| there.filter_map(|grant| grant.environment.clone()).collect())
    }

    /// Whether it has a right in any environment.
    pub fn may_somewhere(&self, right: Right) -> bool {
        self.kind == PrincipalKind::System || self.roles.iter().any(|grant| grant.gives_somewhere(right))
    }
}

/// A principal together with the request that it made: what the audit trail names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Which request.
    pub request_id: String,
}

impl Caller {
    /// Conductor itself, acting for an organisation.
    pub fn system(organisation: OrganisationName, request_id: impl Into<String>) -> Self {
        Self {
            principal: Principal {
                id: "conductor".to_owned(),
                kind: PrincipalKind::System,
                organisation,
                roles: Vec::new(),
            },
            request_id: request_id.into(),
        }
    }

    /// The tenant.
    pub fn organisation(&self) -> &OrganisationName {
        &self.principal.organisation
    }

    /// Refuses whoever does not have a right in an environment, or everywhere where none is named.
    pub fn demand(&self, right: Right, environment: Option<&EnvironmentName>) -> Result<(), Refusal> {
        if self.principal.may(right, environment) { Ok(()) } else { Err(right.refused(environment)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn principal(kind: PrincipalKind, roles: &[&str]) -> Principal {
        Principal {
            id: "somebody".to_owned(),
            kind,
            organisation: "acme".parse().expect("a name"),
            roles: roles.iter().map(|role| role.parse().expect("a grant")).collect(),
        }
    }

    #[test]
    fn one_of_its_roles_is_enough() {
        let staging: EnvironmentName = "staging".parse().expect("a name");
        let check = |roles: &[&str], right: Right, here: bool, everywhere: bool, somewhere: bool| {
            let principal = principal(PrincipalKind::Oidc, roles);
            let found =
                (principal.may(right, Some(&staging)), principal.may(right, None), principal.may_somewhere(right));
            assert_eq!(found, (here, everywhere, somewhere), "{roles:?} {right:?}");
        };
        check(&[], Right::View, false, false, false);
        check(&["viewer"], Right::View, true, true, true);
        check(&["viewer"], Right::Deploy, false, false, false);
        check(&["viewer", "deployer:staging"], Right::Deploy, true, false, true);
        check(&["deployer:production", "deployer:staging"], Right::Deploy, true, false, true);
        check(&["deployer:production"], Right::Deploy, false, false, true);
        check(&["deployer:production"], Right::View, true, true, true);
        check(&["deployer:production", "admin"], Right::Deploy, true, true, true);
        check(&["deployer", "platform", "secretReader"], Right::Administer, false, false, false);
    }

    #[test]
    fn a_right_reaches_the_environments_of_the_roles_that_give_it() {
        let check = |kind: PrincipalKind, roles: &[&str], expect: Option<&[&str]>| {
            let reach = principal(kind, roles).reach(Right::Deploy);
            let reach = reach.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
            let expect = expect.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(reach, expect, "{kind:?} {roles:?}");
        };
        check(PrincipalKind::System, &[], None);
        check(PrincipalKind::Token, &["deployer:staging", "deployer"], None);
        check(PrincipalKind::Oidc, &["admin"], None);
        check(PrincipalKind::Token, &["viewer", "secretReader:prod", "deployer:staging"], Some(&["staging"]));
        check(PrincipalKind::Token, &["deployer:staging", "deployer:dev"], Some(&["dev", "staging"]));
        check(PrincipalKind::Token, &["platform"], Some(&[]));
    }

    #[test]
    fn conductor_itself_may_do_everything_and_nobody_else_without_a_role() {
        use PrincipalKind::{Iam, Local, Oidc, System, Token};
        for kind in [Iam, Oidc, Token, Local, System] {
            let principal = principal(kind, &[]);
            for right in Right::ALL {
                let found = (principal.may(*right, None), principal.may_somewhere(*right));
                assert_eq!(found, (kind == System, kind == System), "{kind:?} {right:?}");
            }
        }
    }

    #[test]
    fn who_does_not_have_a_right_is_told_which_role_would_give_it() {
        let staging: EnvironmentName = "staging".parse().expect("a name");
        let principal = principal(PrincipalKind::Token, &["deployer:production"]);
        let caller = Caller { principal, request_id: "r1".to_owned() };
        let refusal = caller.demand(Right::Deploy, Some(&staging)).expect_err("it is refused");
        assert_eq!(refusal, Right::Deploy.refused(Some(&staging)));
        assert_eq!(refusal.code, Code::Forbidden);
        assert_eq!(caller.demand(Right::View, None), Ok(()));
    }

    #[test]
    fn roles_are_texts_in_json() {
        let principal = principal(PrincipalKind::Iam, &["viewer", "deployer:staging"]);
        let json = serde_json::to_value(&principal).expect("JSON");
        assert_eq!(json["roles"], serde_json::json!(["viewer", "deployer:staging"]));
        assert_eq!(serde_json::from_value::<Principal>(json).expect("a principal"), principal);
    }
}
