//! Names that people give: checked once, at the edge, and carried as types from there on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in characters: a DNS label.
pub const MAX_NAME: usize = 63;

/// What a name must look like, in the words of an error.
pub const NAME_RULE: &str = "1 to 63 characters of a-z, 0-9 and '-', not starting or ending with '-'";

/// A name that does not follow [`NAME_RULE`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not a valid name: {NAME_RULE}")]
pub struct NameError {
    what: &'static str,
    given: String,
}

/// True when the text is `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
pub fn is_name(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            bytes.len() <= MAX_NAME && edge(*first) && edge(*last) && bytes.iter().all(|b| edge(*b) || *b == b'-')
        }
        _ => false,
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text against [`NAME_RULE`].
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if is_name(&text) { Ok(Self(text)) } else { Err(NameError { what: $what, given: text }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// The tenant; every key starts with it.
    OrganisationName, "organisation";
    /// An environment of an organisation.
    EnvironmentName, "environment";
    /// An application of an organisation.
    ApplicationName, "application";
    /// A workload of an application: a Score file's `metadata.name`, or `main`.
    WorkloadName, "workload";
    /// A pool of an environment.
    PoolName, "pool";
}

impl WorkloadName {
    /// The workload of a file that names none.
    pub fn main() -> Self {
        Self("main".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        let check = |text: &str, expect: bool| assert_eq!(is_name(text), expect, "{text:?}");
        check("a", true);
        check("orders-2", true);
        check(&"a".repeat(63), true);
        check(&"a".repeat(64), false);
        check("", false);
        check("-a", false);
        check("a-", false);
        check("A", false);
        check("a_b", false);
        check("ä", false);
    }
}
