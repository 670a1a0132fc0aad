//! How long a template version's runs take, by those that there were.

use serde::{Deserialize, Serialize};

use super::TemplateName;
use crate::operation::During;

/// How much a run counts against those before it.
const WEIGHT: f64 = 0.3;
/// A run that took this much longer or shorter, as a share and in seconds, teaches nothing.
const NEAR: f64 = 0.25;
const NEAR_SECONDS: f64 = 2.0;

/// How long runs of a template version take, in seconds; a moving average that leans to the last ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// The template.
    pub template: TemplateName,
    /// The version.
    pub version: semver::Version,
    /// To make a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<u32>,
    /// To change one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<u32>,
    /// To destroy one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy: Option<u32>,
}

impl Pace {
    /// Nothing known.
    pub fn new(template: TemplateName, version: semver::Version) -> Self {
        Self { template, version, create: None, update: None, destroy: None }
    }

    /// How long such a run takes.
    pub fn of(&self, during: During) -> Option<u32> {
        match during {
            During::Create => self.create,
            During::Update => self.update,
            During::Destroy => self.destroy,
        }
    }

    /// What a run of so many seconds changes of it; `None` where that is what was expected.
    pub fn learn(&self, during: During, seconds: f64) -> Option<Self> {
        let next = match self.of(during).map(f64::from) {
            Some(known) if (seconds - known).abs() <= (known * NEAR).max(NEAR_SECONDS) => return None,
            Some(known) => known + (seconds - known) * WEIGHT,
            None => seconds,
        };
        // Whole seconds; the cast saturates.
        let next = Some(next.round().max(1.0) as u32);
        let mut pace = self.clone();
        match during {
            During::Create => pace.create = next,
            During::Update => pace.update = next,
            During::Destroy => pace.destroy = next,
        }
        (pace != *self).then_some(pace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_follows_the_runs_and_not_their_noise() {
        let pace = Pace::new(TemplateName::new("s3", None), semver::Version::new(1, 0, 0));
        let check = |known: Option<u32>, seconds: f64, expect: Option<u32>| {
            let pace = Pace { update: known, ..pace.clone() };
            let learned = pace.learn(During::Update, seconds);
            assert_eq!(learned.and_then(|pace| pace.update), expect, "{known:?}, then {seconds}");
        };
        check(None, 7.4, Some(7));
        check(None, 0.2, Some(1));
        check(Some(7), 8.5, None);
        check(Some(100), 124.0, None);
        check(Some(100), 200.0, Some(130));
        check(Some(100), 10.0, Some(73));
        check(Some(3), 0.4, Some(2));
    }
}
