//! AWS identities: who signed a request, as the gateway says, and what that identity is here.

use conductor_domain::name::OrganisationName;
use conductor_domain::principal::{Principal, PrincipalKind};
use serde::Deserialize;

use super::identities::IamIdentity;

/// What `ACCESS` can name, in the words of an error.
const ARN_RULE: &str = "the ARN of a role (arn:aws:iam::<account>:role/<name>), a user, a federated user or root";

/// The ARN of an identity that lasts: a role instead of its sessions, and without its path, which its sessions do not
/// have either. A role's name is unique in its account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct IdentityArn(String);

impl TryFrom<String> for IdentityArn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Who names one session would let in all of them.
        let is_session = text.contains(":assumed-role/");
        let found = identity(&text).filter(|_| !is_session);
        found.ok_or_else(|| format!("must be {ARN_RULE}"))
    }
}

/// The identity behind a caller's ARN; none where it is no ARN of somebody.
fn identity(arn: &str) -> Option<IdentityArn> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts[..] else { return None };
    let names: Vec<&str> = resource.split('/').collect();
    let is_given = [partition, account].iter().chain(&names).all(|part| !part.is_empty());
    let found = match (service, &names[..]) {
        ("iam", ["role", .., name]) | ("sts", ["assumed-role", name, _]) => {
            format!("arn:{partition}:iam::{account}:role/{name}")
        }
        ("iam", ["user", .., _] | ["root"]) | ("sts", ["federated-user", _]) => arn.to_owned(),
        _ => return None,
    };
    is_given.then_some(IdentityArn(found))
}

/// The principal that signed a request. Whoever `ACCESS` does not name has no role.
pub fn principal(arn: String, identities: &[IamIdentity], organisation: &OrganisationName) -> Principal {
    let identity = identity(&arn);
    let found = identities.iter().find(|one| Some(&one.arn) == identity.as_ref());
    let organisation = found.and_then(|one| one.organisation.as_ref()).unwrap_or(organisation).clone();
    let roles = found.map(|one| one.roles.clone()).unwrap_or_default();
    Principal { id: arn, kind: PrincipalKind::Iam, organisation, roles }
}

#[cfg(test)]
mod tests {
    use super::super::identities::Identities;
    use super::*;

    const ACCESS: &str = r#"{"iam": [
        {"arn": "arn:aws:iam::123456789012:role/teams/a/ci", "roles": ["deployer:staging"]},
        {"arn": "arn:aws:iam::123456789012:user/ada", "roles": ["admin"], "organisation": "acme"},
        {"arn": "arn:aws-cn:iam::123456789012:role/ci", "roles": ["viewer"]}
    ]}"#;

    #[test]
    fn a_session_is_its_role_and_another_account_is_somebody_else() {
        let identities = Identities::read(ACCESS).expect("identities");
        let here: OrganisationName = "home".parse().expect("a name");
        let check = |arn: &str, organisation: &str, expect: &[&str]| {
            let found = principal(arn.to_owned(), &identities.iam, &here);
            let roles: Vec<String> = found.roles.iter().map(ToString::to_string).collect();
            assert_eq!((found.id.as_str(), found.kind), (arn, PrincipalKind::Iam));
            assert_eq!(found.organisation.as_str(), organisation, "{arn}");
            assert_eq!(roles, expect, "{arn}");
        };
        check("arn:aws:sts::123456789012:assumed-role/ci/build-7", "home", &["deployer:staging"]);
        check("arn:aws:iam::123456789012:role/ci", "home", &["deployer:staging"]);
        check("arn:aws:iam::123456789012:user/ada", "acme", &["admin"]);
        check("arn:aws-cn:sts::123456789012:assumed-role/ci/x", "home", &["viewer"]);
        check("arn:aws:sts::210987654321:assumed-role/ci/build-7", "home", &[]);
        check("arn:aws:sts::123456789012:assumed-role/CI/build-7", "home", &[]);
        check("arn:aws:sts::123456789012:assumed-role/ci2/ci", "home", &[]);
        check("arn:aws:sts::123456789012:assumed-role/x/ci", "home", &[]);
        check("arn:aws:iam::123456789012:user/ci", "home", &[]);
        check("arn:aws:iam::123456789012:user/x/ada", "home", &[]);
        check("arn:aws:iam::123456789012:root", "home", &[]);
        check("ci", "home", &[]);
        check("", "home", &[]);
    }

    #[test]
    fn an_identity_that_lasts_can_be_named() {
        let check = |arn: &str, expect: Option<&str>| {
            let found = IdentityArn::try_from(arn.to_owned()).ok();
            assert_eq!(found.as_ref().map(|arn| arn.0.as_str()), expect, "{arn}");
        };
        check("arn:aws:iam::123456789012:role/ci", Some("arn:aws:iam::123456789012:role/ci"));
        check("arn:aws:iam::123456789012:role/a/b/ci", Some("arn:aws:iam::123456789012:role/ci"));
        check("arn:aws:iam::123456789012:user/a/ada", Some("arn:aws:iam::123456789012:user/a/ada"));
        check("arn:aws:iam::123456789012:root", Some("arn:aws:iam::123456789012:root"));
        check("arn:aws:sts::123456789012:federated-user/ada", Some("arn:aws:sts::123456789012:federated-user/ada"));
        check("arn:aws:sts::123456789012:assumed-role/ci/build-7", None);
        check("arn:aws:iam::123456789012:role/", None);
        check("arn:aws:iam::123456789012:role", None);
        check("arn:aws:iam:::role/ci", None);
        check("arn:aws:iam::123456789012:policy/ci", None);
        check("arn:aws:s3:::bucket", None);
        check("*", None);
        check("", None);
    }
}
