//! Which template, version and parameters a requirement and its environment choose.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use conductor_domain::environment::{Environment, TypeDefaults};
use conductor_domain::operation::Source;
use conductor_domain::pool::Pool;
use conductor_domain::score::{Requirement, Sharing};
use conductor_domain::template::{Template, TemplateName, TemplateState, TemplateVersion};
use conductor_domain::{Code, Refusal};

use super::faults::Faults;
use super::there::{There, template_of, unusable_from};
use crate::commit::Reads;
use crate::port::Ports;
use crate::record::Item;
use crate::{Engine, Error};

/// The template and the version that a requirement and its environment choose.
pub(super) struct Choice<'a> {
    pub template: TemplateName,
    pub pinned: Option<&'a semver::Version>,
    /// Parameters for what the file does not give, and those that it may not change; with where they come from.
    defaults: Option<&'a TypeDefaults>,
    pub pool: Option<&'a (Pool, Map<String, Value>)>,
}

impl<'a> Choice<'a> {
    pub fn of(requirement: &'a Requirement, environment: &'a Environment) -> Self {
        Self {
            template: template_of(requirement, environment),
            pinned: requirement.template_version.as_ref(),
            defaults: environment.spec.defaults.get(&requirement.kind),
            pool: None,
        }
    }

    /// A member of a pool is what the pool says.
    pub fn of_pool(
        name: &str,
        requirement: &'a Requirement,
        pool: Option<&'a (Pool, Map<String, Value>)>,
        there: Option<&There>,
        pool_name: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        let pointer = faults.extra(name, "pool");
        // Whoever has a member goes on with it when the pool is gone.
        let mine = there.and_then(|there| there.resource.as_ref()).filter(|resource| {
            resource.pool.as_ref().is_some_and(|pool| pool.name.as_str() == pool_name)
                && resource.template.kind() == requirement.kind
        });
        if let (None, Some(resource)) = (pool.filter(|(pool, _)| !pool.closing), mine) {
            let template = resource.template.clone();
            return Some(Self { template, pinned: None, defaults: None, pool: None });
        }
        let found = pool.filter(|(pool, _)| !pool.closing);
        let Some((pool, parameters)) = found else {
            faults.add(Code::PoolUnknown, pointer, format!("{name}: the environment has no such pool"));
            return None;
        };
        let template = &pool.template;
        let class = requirement.class.as_deref().unwrap_or(template.class());
        if TemplateName::new(&requirement.kind, Some(class)) != *template {
            faults.add(Code::TypeConflict, pointer, format!("{name}: the pool has {template}"));
            return None;
        }
        for (key, value) in requirement.params.iter().flatten() {
            if parameters.get(key) != Some(value) {
                let detail = format!("{name}: a member of a pool has the pool's parameters; leave {key:?} out");
                faults.add(Code::ParametersInvalid, format!("/resources/{name}/params/{key}"), detail);
            }
        }
        Some(Self { template: template.clone(), pinned: None, defaults: None, pool: found })
    }

    /// What is there already has its template; here it is only held against the file's type.
    pub fn of_existing(
        name: &str,
        requirement: &'a Requirement,
        environment: &'a Environment,
        there: Option<&There>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let mut unusable = |why: String| {
            let pointer = faults.extra(name, "reference/id");
            faults.add(Code::ResourceUnusable, pointer, format!("{name}: {why}"));
            None
        };
        let Sharing::Existing { id } = &requirement.sharing else { return None };
        let Some((there, resource)) = there.and_then(|there| Some((there, there.resource.as_ref()?))) else {
            return unusable(format!("there is no resource {id}"));
        };
        // Whoever has it may go on with it whatever became of it.
        if !there.held
            && let Some(why) = unusable_from(resource, &environment.name)
        {
            return unusable(why);
        }
        let mut choice = Self::of(requirement, environment);
        let template = &resource.template;
        let class = requirement.class.as_deref().unwrap_or(template.class());
        if TemplateName::new(&requirement.kind, Some(class)) != *template {
            let detail = format!("{name}: {} is a {template}", resource.name);
            faults.add(Code::TypeConflict, format!("/resources/{name}/type"), detail);
            return None;
        }
        choice.template = template.clone();
        Some(choice)
    }

    fn version(
        &self,
        template: Option<&Template>,
        kept: Option<&semver::Version>,
    ) -> Result<(TemplateName, semver::Version), Refusal> {
        let name = &self.template;
        let unknown = || Refusal::new(Code::ResourceTypeUnknown, format!("there is no active template for {name}"));
        let template = template.ok_or_else(unknown)?;
        let asked = self.pinned.or(kept).or_else(|| match self.pool {
            Some((pool, _)) => Some(&pool.version),
            None => self.defaults?.version.as_ref(),
        });
        let version = match asked {
            None => template.newest().ok_or_else(unknown)?,
            Some(version) => match template.versions.get(version) {
                // A deprecated version is refused when it would make something: existing resources go on with it.
                Some(TemplateState::Active | TemplateState::Deprecated) => version,
                None => {
                    let known: Vec<_> = template.versions.keys().map(ToString::to_string).collect();
                    let detail = format!("{name} has no version {version}; it has {}", known.join(", "));
                    return Err(Refusal::new(Code::TemplateVersionUnknown, detail));
                }
            },
        };
        Ok((name.clone(), version.clone()))
    }

    /// Defaults of the environment, then the file's, then what the environment fixes; or the pool's. With them, where
    /// those come from that the file does not give.
    pub fn parameters(
        &self,
        requirement: &Requirement,
        name: &str,
        faults: &mut Faults,
    ) -> (Option<Map<String, Value>>, BTreeMap<String, Source>) {
        let nothing = Map::new();
        if let Some((_, parameters)) = self.pool {
            let sources = parameters.keys().map(|key| (key.clone(), Source::Pool)).collect();
            return (Some(parameters.clone()), sources);
        }
        let (defaults, fixed) = self.defaults.map_or((&nothing, &nothing), |d| (&d.parameters, &d.fixed));
        let given = requirement.params.as_ref().unwrap_or(&nothing);
        for (key, value) in given {
            if fixed.get(key).is_some_and(|fixed| fixed != value) {
                let detail = format!("the environment fixes {key:?} for {}", self.template);
                faults.add(Code::ParametersInvalid, format!("/resources/{name}/params/{key}"), detail);
            }
        }
        let merged: Map<String, Value> =
            defaults.iter().chain(given).chain(fixed).map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut sources: BTreeMap<String, Source> = defaults
            .keys()
            .filter(|key| !given.contains_key(*key))
            .map(|key| (key.clone(), Source::EnvironmentDefault))
            .collect();
        sources.extend(fixed.keys().map(|key| (key.clone(), Source::EnvironmentFixed)));
        ((!merged.is_empty()).then_some(merged), sources)
    }
}

impl<P: Ports> Engine<P> {
    /// The versions that the names of a file get, each read once.
    pub(super) async fn versions<'n>(
        &self,
        reads: &mut Reads<'_, P>,
        choices: &BTreeMap<&'n str, &Choice<'_>>,
        kept: &BTreeMap<&'n str, semver::Version>,
    ) -> Result<BTreeMap<&'n str, Result<TemplateVersion, Refusal>>, Error> {
        let names: BTreeSet<&TemplateName> = choices.values().map(|choice| &choice.template).collect();
        let items: Vec<Item> = names.iter().map(|name| Item::Template((*name).clone())).collect();
        let templates: BTreeMap<TemplateName, Template> = reads
            .all::<Template>(&items)
            .await?
            .into_iter()
            .flatten()
            .map(|template| (template.value.name.clone(), template.value))
            .collect();
        let chosen: BTreeMap<&str, Result<(TemplateName, semver::Version), Refusal>> = choices
            .iter()
            .map(|(name, choice)| (*name, choice.version(templates.get(&choice.template), kept.get(name))))
            .collect();
        let needed: BTreeSet<_> = chosen.values().flatten().cloned().collect();
        let items: Vec<Item> =
            needed.iter().map(|(name, version)| Item::TemplateVersion(name.clone(), version.clone())).collect();
        self.read_with_paces(reads, &items, &needed).await?;
        for (name, version) in &needed {
            self.hints.see_version(reads.organisation(), name, version);
        }
        let read: BTreeMap<_, TemplateVersion> = reads
            .all::<TemplateVersion>(&items)
            .await?
            .into_iter()
            .flatten()
            .map(|found| ((found.template.clone(), found.value.version.clone()), found.value))
            .collect();
        Ok(chosen
            .into_iter()
            .map(|(name, choice)| {
                let found = choice.and_then(|key| {
                    read.get(&key).cloned().ok_or_else(|| {
                        Refusal::new(Code::TemplateVersionUnknown, format!("{} has no version {}", key.0, key.1))
                    })
                });
                (name, found)
            })
            .collect())
    }
}
