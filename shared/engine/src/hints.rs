//! What this process has lately seen of environments and templates. Nothing is decided by it: it says what may be needed,
//! so that this is read together with what certainly is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use conductor_domain::environment::Environment;
use conductor_domain::name::{EnvironmentName, OrganisationName};
use conductor_domain::score::Requirement;
use conductor_domain::template::TemplateName;

/// The most that is remembered of a kind; then it begins anew.
const MOST: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The classes that environments choose, by type.
    classes: HashMap<(OrganisationName, EnvironmentName), BTreeMap<String, String>>,
    /// The versions that were chosen last.
    versions: HashMap<(OrganisationName, TemplateName), semver::Version>,
}

impl Hints {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an environment.
    pub fn see_environment(&self, organisation: &OrganisationName, environment: &Environment) {
        let chosen = environment.spec.defaults.iter();
        let classes = chosen.filter_map(|(kind, defaults)| Some((kind.clone(), defaults.class.clone()?))).collect();
        let mut seen = self.seen();
        if seen.classes.len() >= MOST {
            seen.classes.clear();
        }
        seen.classes.insert((organisation.clone(), environment.name.clone()), classes);
    }

    /// Takes note of the version of a template that was chosen.
    pub fn see_version(&self, organisation: &OrganisationName, template: &TemplateName, version: &semver::Version) {
        let mut seen = self.seen();
        if seen.versions.len() >= MOST {
            seen.versions.clear();
        }
        seen.versions.insert((organisation.clone(), template.clone()), version.clone());
    }

    /// The template that a requirement probably gets.
    pub fn template(
        &self,
        organisation: &OrganisationName,
        environment: &EnvironmentName,
        requirement: &Requirement,
    ) -> TemplateName {
        let seen = self.seen();
        let classes = seen.classes.get(&(organisation.clone(), environment.clone()));
        let default = classes.and_then(|classes| classes.get(&requirement.kind));
        TemplateName::new(&requirement.kind, requirement.class.as_ref().or(default).map(String::as_str))
    }

    /// The version of a template that a resource probably gets.
    pub fn version(&self, organisation: &OrganisationName, template: &TemplateName) -> Option<semver::Version> {
        self.seen().versions.get(&(organisation.clone(), template.clone())).cloned()
    }
}
