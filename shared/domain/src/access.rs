//! Who may do what: roles, the rights that they give, and where they give them. Whether a request's principal has a right
//! is asked of [`Principal::may`](crate::principal::Principal::may).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{EnvironmentName, NameError};
use crate::{Code, Refusal};

/// What somebody is in an organisation.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees everything but sensitive values and the list of tokens; the audit trail says who made and revoked which.
    Viewer,
    /// Deploys and tears down.
    Deployer,
    /// Offers what others deploy with: templates, environments, applications, pools, registered resources.
    Platform,
    /// Reads sensitive outputs.
    SecretReader,
    /// May do everything, and says who else may.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: &'static [Role] = &[Role::Viewer, Role::Deployer, Role::Platform, Role::SecretReader, Role::Admin];

    /// The role as it stands in a grant.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Deployer => "deployer",
            Role::Platform => "platform",
            Role::SecretReader => "secretReader",
            Role::Admin => "admin",
        }
    }

    /// True where it may be given for one environment only: what it gives is a right in an environment.
    fn is_for_environments(self) -> bool {
        match self {
            Role::Deployer | Role::SecretReader => true,
            Role::Viewer | Role::Platform | Role::Admin => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// To see: every GET of what is neither sensitive nor a token, in the whole organisation.
    View,
    /// To deploy, tear down, cancel, try again, consume and let go of resources in an environment; also as a dry run.
    Deploy,
    /// To read sensitive outputs of an environment's resources.
    ReadSecrets,
    /// To change environments, applications, templates and their policy, pools and registered resources.
    ManagePlatform,
    /// To make, list and revoke tokens, and to end sessions.
    Administer,
}

impl Right {
    /// All rights.
    pub const ALL: &'static [Right] =
        &[Right::View, Right::Deploy, Right::ReadSecrets, Right::ManagePlatform, Right::Administer];

    /// The roles that give it. There is no other table of this.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Right::View => Role::ALL,
            Right::Deploy => &[Role::Deployer, Role::Admin],
            Right::ReadSecrets => &[Role::SecretReader, Role::Admin],
            Right::ManagePlatform => &[Role::Platform, Role::Admin],
            Right::Administer => &[Role::Admin],
        }
    }

    /// What who does not have it is told: which role would give it, and where; nothing of what was asked for.
    pub fn refused(self, environment: Option<&EnvironmentName>) -> Refusal {
        let roles: Vec<&str> = self.roles().iter().map(|role| role.as_str()).collect();
        let place = environment.map(|name| format!(" in the environment {name}")).unwrap_or_default();
        Refusal::new(Code::Forbidden, format!("this needs the role {}{place}", roles.join(" or ")))
    }
}

/// A role that somebody has: `deployer`, or in one environment only: `deployer:staging`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The only environment where it holds; none for all of the organisation.
    pub environment: Option<EnvironmentName>,
}

impl Grant {
    /// Whether it gives a right in an environment, or everywhere where none is named. What there is to see is seen in the
    /// whole organisation, whatever the environment of the role.
    pub fn gives(&self, right: Right, environment: Option<&EnvironmentName>) -> bool {
        let holds = self.environment.is_none() || right == Right::View || self.environment.as_ref() == environment;
        holds && right.roles().contains(&self.role)
    }

    /// Whether it gives a right in any environment.
    pub fn gives_somewhere(&self, right: Right) -> bool {
        right.roles().contains(&self.role)
    }
}

/// A text that is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It names no role.
    #[error("{0:?} is no role: viewer, deployer, platform, secretReader or admin")]
    Role(String),
    /// It limits a role that is not for environments.
    #[error("the role {0} holds in the whole organisation; only deployer and secretReader may name an environment")]
    Unlimited(Role),
    /// Its environment is not a name.
    #[error(transparent)]
    Environment(#[from] NameError),
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (name, environment) = match text.split_once(':') {
            Some((name, environment)) => (name, Some(EnvironmentName::new(environment)?)),
            None => (text, None),
        };
        let role = Role::ALL.iter().copied().find(|role| role.as_str() == name);
        let role = role.ok_or_else(|| GrantError::Role(name.to_owned()))?;
        if environment.is_some() && !role.is_for_environments() {
            return Err(GrantError::Unlimited(role));
        }
        Ok(Self { role, environment })
    }
}

impl TryFrom<String> for Grant {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> String {
        grant.to_string()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.environment {
            Some(environment) => write!(f, "{}:{environment}", self.role),
            None => write!(f, "{}", self.role),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> EnvironmentName {
        name.parse().expect("a name")
    }

    fn grant(text: &str) -> Grant {
        text.parse().expect("a grant")
    }

    /// The rights that a grant gives in an environment, or everywhere.
    fn rights(grant: &Grant, environment: Option<&EnvironmentName>) -> Vec<Right> {
        Right::ALL.iter().copied().filter(|right| grant.gives(*right, environment)).collect()
    }

    #[test]
    fn this_is_who_may_do_what() {
        let row = |right: &Right| {
            let cell = |role: &Role| if right.roles().contains(role) { role.as_str() } else { "-" };
            let cells: Vec<&str> = Role::ALL.iter().map(cell).collect();
            format!("{right:?}: {}", cells.join(" "))
        };
        let table: Vec<String> = Right::ALL.iter().map(row).collect();
        let expect = [
            "View: viewer deployer platform secretReader admin",
            "Deploy: - deployer - - admin",
            "ReadSecrets: - - - secretReader admin",
            "ManagePlatform: - - platform - admin",
            "Administer: - - - - admin",
        ];
        assert_eq!(table, expect);
    }

    #[test]
    fn a_grant_for_an_environment_holds_there_alone_but_for_seeing() {
        use Right::{Administer, Deploy, ManagePlatform, ReadSecrets, View};
        let (here, elsewhere) = (environment("staging"), environment("production"));
        let check = |text: &str, in_staging: &[Right], elsewhere_or_everywhere: &[Right]| {
            let grant = grant(text);
            assert_eq!(rights(&grant, Some(&here)), in_staging, "{text} in staging");
            assert_eq!(rights(&grant, Some(&elsewhere)), elsewhere_or_everywhere, "{text} elsewhere");
            assert_eq!(rights(&grant, None), elsewhere_or_everywhere, "{text} everywhere");
            let somewhere: Vec<Right> =
                Right::ALL.iter().copied().filter(|right| grant.gives_somewhere(*right)).collect();
            assert_eq!(somewhere, in_staging, "{text} somewhere");
        };
        check("viewer", &[View], &[View]);
        check("deployer", &[View, Deploy], &[View, Deploy]);
        check("deployer:staging", &[View, Deploy], &[View]);
        check("platform", &[View, ManagePlatform], &[View, ManagePlatform]);
        check("secretReader", &[View, ReadSecrets], &[View, ReadSecrets]);
        check("secretReader:staging", &[View, ReadSecrets], &[View]);
        check("admin", Right::ALL, &[View, Deploy, ReadSecrets, ManagePlatform, Administer]);
    }

    #[test]
    fn a_grant_is_a_text_that_is_read_back() {
        for text in ["viewer", "deployer", "deployer:staging", "platform", "secretReader:a-1", "admin"] {
            let grant = grant(text);
            assert_eq!(grant.to_string(), text);
            let json = serde_json::to_string(&grant).expect("JSON");
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Grant>(&json).expect("a grant"), grant);
        }
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(role).expect("JSON"), format!("\"{role}\""));
        }
    }

    #[test]
    fn what_is_no_grant_says_why() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<Grant>().expect_err(text).to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        check("", "\"\" is no role");
        check("Admin", "\"Admin\" is no role");
        check("secret_reader", "is no role");
        check("viewer ", "is no role");
        check("owner:staging", "\"owner\" is no role");
        check("deployer:", "is not a valid name");
        check("deployer:Staging", "is not a valid name");
        check("deployer:a:b", "is not a valid name");
        check("viewer:staging", "the role viewer holds in the whole organisation");
        check("platform:staging", "the role platform holds in the whole organisation");
        check("admin:staging", "the role admin holds in the whole organisation");
    }

    #[test]
    fn a_refusal_names_the_roles_and_the_place_and_nothing_else() {
        let here = environment("staging");
        let check = |right: Right, environment: Option<&EnvironmentName>, expect: &str| {
            let refusal = right.refused(environment);
            assert_eq!((refusal.code, refusal.detail.as_str()), (Code::Forbidden, expect));
        };
        check(Right::Deploy, Some(&here), "this needs the role deployer or admin in the environment staging");
        check(Right::ReadSecrets, Some(&here), "this needs the role secretReader or admin in the environment staging");
        check(Right::ManagePlatform, None, "this needs the role platform or admin");
        check(Right::Administer, None, "this needs the role admin");
    }
}
