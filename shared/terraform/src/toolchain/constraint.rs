//! Terraform's version constraints: `~> 5.100, != 5.101.0`. Small, on [`semver::Version`], because semver's own
//! requirements mean other things.

use std::fmt;
use std::str::FromStr;

use semver::{Prerelease, Version};
use thiserror::Error;

/// A list of conditions; a version satisfies all of them. Empty: any version that is no prerelease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    conditions: Vec<Condition>,
    text: String,
}

/// Why a constraint cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a version constraint")]
pub struct ConstraintError(String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    version: Version,
    /// How many of major, minor and patch were written.
    written: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Pessimistic,
}

/// Longer ones first: `>=` begins with `>`.
const OPERATORS: [(&str, Operator); 7] = [
    ("~>", Operator::Pessimistic),
    (">=", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("!=", Operator::NotEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

impl Constraint {
    /// Whether `version` satisfies it. As in terraform, a prerelease only does where it is named exactly.
    pub fn matches(&self, version: &Version) -> bool {
        let named = |condition: &Condition| condition.operator == Operator::Equal && condition.version == *version;
        if !version.pre.is_empty() && !self.conditions.iter().any(named) {
            return false;
        }
        self.conditions.iter().all(|condition| condition.matches(version))
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim);
        let conditions = if text.trim().is_empty() {
            Vec::new()
        } else {
            parts
                .map(|part| condition(part).ok_or_else(|| ConstraintError(text.to_owned())))
                .collect::<Result<Vec<_>, _>>()?
        };
        Ok(Self { conditions, text: text.to_owned() })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    fn matches(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.operator {
            Operator::Equal => version == wanted,
            Operator::NotEqual => version != wanted,
            Operator::Greater => version > wanted,
            Operator::GreaterOrEqual => version >= wanted,
            Operator::Less => version < wanted,
            Operator::LessOrEqual => version <= wanted,
            Operator::Pessimistic => version >= wanted && *version < self.next(),
        }
    }

    /// The first version that `~>` leaves out: all but the last written part stay.
    fn next(&self) -> Version {
        if self.written == 3 {
            Version::new(self.version.major, self.version.minor.saturating_add(1), 0)
        } else {
            Version::new(self.version.major.saturating_add(1), 0, 0)
        }
    }
}

fn condition(text: &str) -> Option<Condition> {
    let (operator, rest) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| text.strip_prefix(sign).map(|rest| (*operator, rest)))
        .unwrap_or((Operator::Equal, text));
    let (version, written) = version(rest.trim())?;
    Some(Condition { operator, version, written })
}

/// `5`, `5.100`, `5.100.0`, `5.100.0-beta1`; what is not written is 0.
fn version(text: &str) -> Option<(Version, usize)> {
    let text = text.split('+').next()?;
    let (core, pre) = text.split_once('-').unwrap_or((text, ""));
    let numbers = core.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let part = |index: usize| numbers.get(index).copied().unwrap_or(0);
    if numbers.len() > 3 {
        return None;
    }
    let mut version = Version::new(part(0), part(1), part(2));
    version.pre = Prerelease::new(pre).ok()?;
    Some((version, numbers.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_held_against_constraints_as_terraform_does() {
        let check = |constraint: &str, yes: &[&str], no: &[&str]| {
            let parsed: Constraint = constraint.parse().expect("a constraint");
            for version in yes {
                assert!(parsed.matches(&Version::parse(version).expect("a version")), "{constraint} takes {version}");
            }
            for version in no {
                assert!(!parsed.matches(&Version::parse(version).expect("a version")), "{constraint} leaves {version}");
            }
        };
        check("", &["0.1.0", "9.9.9"], &["1.0.0-beta1"]);
        check("5.100.0", &["5.100.0"], &["5.100.1"]);
        check("= 5.100", &["5.100.0"], &["5.100.1"]);
        check("!= 5.100.0", &["5.100.1"], &["5.100.0"]);
        check("> 5", &["5.0.1"], &["5.0.0"]);
        check(">= 1, < 2", &["1.0.0", "1.99.0"], &["2.0.0", "0.9.0"]);
        check("<= 1.5", &["1.5.0"], &["1.5.1"]);
        check("~> 5.100", &["5.100.0", "5.200.7"], &["5.99.0", "6.0.0"]);
        check("~> 5.100.1", &["5.100.1", "5.100.9"], &["5.100.0", "5.101.0"]);
        check("~> 5", &["5.0.0", "5.9.0"], &["6.0.0", "4.9.0"]);
        check(">=1.0,!=1.2.0", &["1.1.0"], &["1.2.0"]);
        check(">= 1.0.0", &[], &["2.0.0-beta1"]);
        check("= 2.0.0-beta1", &["2.0.0-beta1"], &["2.0.0"]);
    }

    #[test]
    fn what_is_no_constraint_is_refused() {
        for text in ["latest", "~>", "1.2.3.4", ">= 1,", "^1", "1.x"] {
            assert!(text.parse::<Constraint>().is_err(), "{text}");
        }
    }
}
