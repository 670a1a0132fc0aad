//! Version constraints in terraform's words, as the range that they leave, and whether one range lies within another.

use semver::{Prerelease, Version};

/// What a constraint admits: from a version to a version, without some. A side that is `None` is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// The lowest, and whether it is left out.
    from: Option<(Version, bool)>,
    /// The highest, and whether it is in.
    to: Option<(Version, bool)>,
    without: Vec<Version>,
}

/// Longer ones first: `>=` begins with `>`.
const OPERATORS: [&str; 7] = ["~>", ">=", "<=", "!=", ">", "<", "="];

impl Range {
    /// Of a constraint such as `~> 5.100, != 5.101.0`; empty for any version. `None` where it is no constraint.
    pub fn parse(text: &str) -> Option<Self> {
        let mut range = Self::default();
        if !text.trim().is_empty() {
            for part in text.split(',') {
                range.narrow(part.trim())?;
            }
        }
        Some(range)
    }

    fn narrow(&mut self, part: &str) -> Option<()> {
        let operator = OPERATORS.iter().find(|operator| part.starts_with(**operator)).copied();
        let (version, written) = version(part.strip_prefix(operator.unwrap_or_default())?.trim())?;
        match operator.unwrap_or("=") {
            "!=" => self.without.push(version),
            ">" => self.begin(version, true),
            ">=" => self.begin(version, false),
            "<" => self.end(version, false),
            "<=" => self.end(version, true),
            "~>" => {
                self.end(next(&version, written), false);
                self.begin(version, false);
            }
            _ => {
                self.begin(version.clone(), false);
                self.end(version, true);
            }
        }
        Some(())
    }

    fn begin(&mut self, version: Version, left_out: bool) {
        let new = Some((version, left_out));
        self.from = new.max(self.from.take());
    }

    fn end(&mut self, version: Version, included: bool) {
        let new = (version, included);
        self.to = Some(self.to.take().map_or(new.clone(), |to| to.min(new)));
    }

    /// Whether every version that it admits is one of the other's.
    pub fn is_within(&self, other: &Self) -> bool {
        // As in terraform, a pre-release is one that is named.
        if let Some(named) = self.only().filter(|version| !version.pre.is_empty()) {
            return other.only() == Some(named);
        }
        let begins = other.from.is_none() || self.from >= other.from;
        let ends = match (&self.to, &other.to) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ours), Some(theirs)) => ours <= theirs,
        };
        begins && ends && other.without.iter().all(|version| !self.admits(version))
    }

    fn admits(&self, version: &Version) -> bool {
        let begins = self.from.as_ref().is_none_or(|(from, out)| version > from || (version == from && !out));
        let ends = self.to.as_ref().is_none_or(|(to, included)| version < to || (version == to && *included));
        begins && ends && !self.without.contains(version)
    }

    /// The one version that it admits, where it is one.
    fn only(&self) -> Option<&Version> {
        match (&self.from, &self.to) {
            (Some((from, false)), Some((to, true))) if from == to => Some(from),
            _ => None,
        }
    }
}

/// The first version that `~>` leaves out: all but the last written part stay.
fn next(version: &Version, written: usize) -> Version {
    if written == 3 {
        Version::new(version.major, version.minor.saturating_add(1), 0)
    } else {
        Version::new(version.major.saturating_add(1), 0, 0)
    }
}

/// `5`, `5.100`, `5.100.0`, `5.100.0-beta1`, and how many parts were written; what is not written is 0.
fn version(text: &str) -> Option<(Version, usize)> {
    let text = text.split('+').next()?;
    let (core, pre) = text.split_once('-').unwrap_or((text, ""));
    let numbers = core.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let part = |index: usize| numbers.get(index).copied().unwrap_or(0);
    let mut version = Version::new(part(0), part(1), part(2));
    version.pre = Prerelease::new(pre).ok()?;
    (numbers.len() <= 3).then_some((version, numbers.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_lies_within_another_where_it_admits_nothing_more() {
        let check = |asked: &str, allowed: &str, expect: bool| {
            let range = |text: &str| Range::parse(text).expect("a constraint");
            assert_eq!(range(asked).is_within(&range(allowed)), expect, "{asked:?} in {allowed:?}");
        };
        check("", "", true);
        check("~> 5.100", "", true);
        check("", ">= 5.0", false);
        check("~> 5.100", ">= 5.0", true);
        check("~> 5.100", ">= 5.0, < 6.0", true);
        check("~> 5.100", ">= 5.0, <= 6.0", true);
        check("~> 5", "~> 5.100", false);
        check("~> 5.100", "~> 5", true);
        check("~> 5.100.1", "~> 5.100", true);
        check(">= 5.0", "~> 5.0", false);
        check("5.0.0", ">= 5", true);
        check("5.0.0", "> 5", false);
        check("> 5", ">= 5", true);
        check(">= 5", "> 5", false);
        check("< 6", "<= 6", true);
        check("<= 6", "< 6", false);
        check("<= 6", ">= 5, <= 6", false);
        check("~> 5.0", ">= 5.0, != 5.3.0", false);
        check("~> 5.0, != 5.3.0", ">= 5.0, != 5.3.0", true);
        check("~> 5.4", ">= 5.0, != 5.3.0", true);
        check(">= 1, >= 3, < 9, < 4", ">= 3, < 4", true);
        check("= 6.0.0-beta1", ">= 5.0", false);
        check("= 6.0.0-beta1", "6.0.0-beta1", true);
    }

    #[test]
    fn what_is_no_constraint_is_none() {
        for text in ["latest", "~>", "1.2.3.4", ">= 1,", "^1", "1.x", ",", "=="] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }
}
