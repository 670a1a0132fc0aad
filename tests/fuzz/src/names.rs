//! Short texts that are keys, rights or rules: one on each line.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use conductor_domain::access::Grant;
use conductor_domain::name::{EnvironmentName, OrganisationName};
use conductor_domain::template::TemplateName;
use conductor_domain::token::Bearer;
use conductor_terraform::toolchain::Constraint;
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Texts that claim to be a name, a grant, a token, a version or a version constraint.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        same::<OrganisationName>(line);
        same::<EnvironmentName>(line);
        same::<Grant>(line);
        template(line);
        bearer(line);
        constraint(line);
    }
}

/// What is read is written as it was, as a text and as JSON.
fn same<T>(text: &str)
where
    T: FromStr + Display + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let Ok(read) = text.parse::<T>() else { return };
    assert_eq!(read.to_string(), text);
    let json = serde_json::to_value(&read).expect("JSON");
    assert_eq!(json.as_str(), Some(text));
    assert_eq!(serde_json::from_value::<T>(json).expect("what was written"), read);
}

fn template(text: &str) {
    let Ok(name) = text.parse::<TemplateName>() else { return };
    // The class that is not written need not be: `postgres.default` is `postgres`.
    assert_eq!(name.to_string().parse::<TemplateName>(), Ok(name.clone()), "{text:?}");
    assert_eq!(TemplateName::new(name.kind(), Some(name.class())), name, "{text:?}");
}

/// A token is taken in one spelling only, and is not printed by mistake.
fn bearer(text: &str) {
    let Some(bearer) = Bearer::parse(text) else { return };
    assert_eq!(bearer.text(), text);
    let secret = text.splitn(4, '_').nth(3).expect("a secret");
    assert!(!format!("{bearer:?}").contains(secret), "{bearer:?}");
}

fn constraint(text: &str) {
    let Ok(constraint) = text.parse::<Constraint>() else { return };
    assert_eq!(constraint.to_string(), text);
    let largest = format!("{max}.{max}.{max}", max = u64::MAX);
    for version in ["0.0.0", "1.11.4", "5.100.0-beta1", largest.as_str()] {
        let version = Version::parse(version).expect("a version");
        // A prerelease has to be named.
        let may = version.pre.is_empty() || text.contains(version.pre.as_str());
        assert!(may || !constraint.matches(&version), "{text:?} takes {version}");
    }
}
