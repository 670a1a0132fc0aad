//! Resource templates: published once, as the organisation's policy allows it, and immutable from then on; only a
//! version's state changes.

use std::collections::BTreeMap;

use conductor_domain::access::Right;
use conductor_domain::code::Fault;
use conductor_domain::operation::{ExecutorKind, Limits};
use conductor_domain::principal::Caller;
use conductor_domain::template::policy::{Finding, MAX_FINDINGS, PolicySpec, TemplatePolicy, Use, Verdict};
use conductor_domain::template::{
    Interface, MAX_VERSION, Template, TemplateName, TemplateState, TemplateVersion, check_services,
};
use conductor_domain::{Code, Refusal};

use crate::commit::Precondition;
use crate::environments::PutOutcome;
use crate::port::{Clock, Objects, Ports, Versioned};
use crate::record::{Item, Set, Subject};
use crate::{Engine, Error};

/// A version about to be published: an archive that has been opened and found safe.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Which template.
    pub template: TemplateName,
    /// Which version.
    pub version: semver::Version,
    /// The zip archive as it came.
    pub archive: Vec<u8>,
    /// Its SHA-256, hex.
    pub sha256: String,
    /// What the module takes and gives.
    pub interface: Interface,
    /// The engine that runs it, such as `terraform`.
    pub engine: String,
    /// The engine's version constraint, from the module's `required_version`.
    pub engine_version: String,
    /// What was found in this archive that a policy may forbid.
    pub uses: Vec<Use>,
}

/// What can be changed of a version.
#[derive(Debug, Clone, Default)]
pub struct TemplateChange {
    /// Whether it makes new resources.
    pub state: Option<TemplateState>,
    /// Whether those stay when their last consumer leaves.
    pub retain: Option<bool>,
    /// Who runs it.
    pub executor: Option<ExecutorKind>,
    /// How often and how long its operations may be tried.
    pub limits: Option<Limits>,
    /// The AWS services that it uses.
    pub services: Option<Vec<String>>,
    /// Whether nothing else may run where it has run.
    pub untrusted: Option<bool>,
}

/// The artifact's name of a template archive.
pub(crate) fn archive_name(sha256: &str) -> String {
    format!("templates/{sha256}.zip")
}

impl<P: Ports> Engine<P> {
    /// Publishes a version. The same version with the same content and engine is no change; with another it is refused.
    pub async fn publish(&self, caller: &Caller, new: NewVersion) -> Result<PutOutcome<TemplateVersion>, Error> {
        caller.demand(Right::ManagePlatform, None)?;
        let mut tries = self.tries();
        let mut stored = false;
        loop {
            match self.try_publish(caller, &new, &mut stored).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_publish(
        &self,
        caller: &Caller,
        new: &NewVersion,
        stored: &mut bool,
    ) -> Result<PutOutcome<TemplateVersion>, Error> {
        let organisation = caller.organisation();
        let item = Item::TemplateVersion(new.template.clone(), new.version.clone());
        let (parent, policy) = (Item::Template(new.template.clone()), Item::TemplatePolicy);
        let mut batch = self.batch(organisation, vec![item.clone(), parent.clone(), policy.clone()]).await?;
        if let Some(record) = batch.take::<TemplateVersion>(&item)? {
            if record.sha256 != new.sha256 || record.engine != new.engine {
                return Err(Refusal::new(
                    Code::TemplateVersionExists,
                    format!(
                        "{} {} is published with another content or engine; publish a new version",
                        new.template, new.version
                    ),
                )
                .into());
            }
            return Ok(PutOutcome { record, created: false });
        }
        let policy: Option<Versioned<TemplatePolicy>> = batch.take(&policy)?;
        let findings =
            admit(&policy.as_ref().map_or_else(PolicySpec::default, |policy| policy.spec.clone()), &new.uses)?;
        let version = TemplateVersion {
            template: new.template.clone(),
            version: new.version.clone(),
            state: TemplateState::Active,
            sha256: new.sha256.clone(),
            bytes: new.archive.len() as u64,
            interface: new.interface.clone(),
            engine: new.engine.clone(),
            engine_version: new.engine_version.clone(),
            retain: false,
            executor: ExecutorKind::default(),
            limits: Limits::default(),
            services: Vec::new(),
            untrusted: false,
            findings,
            created_at: self.clock.now(),
            created_by: caller.principal.id.clone(),
        };
        if serde_json::to_string(&version).map_or(usize::MAX, |text| text.len()) > MAX_VERSION {
            let code = Code::TemplateInterfaceTooLarge;
            return Err(Refusal::new(code, code.title()).into());
        }
        if !*stored {
            self.artifacts.put_once(&archive_name(&new.sha256), new.archive.clone()).await?;
            *stored = true;
        }
        let template: Option<Versioned<Template>> = batch.take(&parent)?;
        let mut draft = self.draft(caller, None);
        let record = draft.create(version);
        let mut versions = template.as_ref().map_or_else(BTreeMap::new, |template| template.versions.clone());
        versions.insert(new.version.clone(), TemplateState::Active);
        draft.put(template.as_ref(), Template { name: new.template.clone(), versions });
        match &policy {
            Some(policy) => draft.check(policy),
            // The organisation may say its first one at this moment.
            None => draft.check_absent(Item::TemplatePolicy),
        }
        draft.audit(Subject::Template(new.template.clone()), "template.published", Some(new.version.to_string()));
        draft.commit().await?;
        Ok(PutOutcome { record, created: true })
    }

    /// Changes what can be changed of a version: all but what it is.
    pub async fn change_template_version(
        &self,
        caller: &Caller,
        name: &TemplateName,
        version: &semver::Version,
        change: &TemplateChange,
        precondition: &Precondition,
    ) -> Result<Versioned<TemplateVersion>, Error> {
        let mut tries = self.tries();
        loop {
            match self.try_change_template_version(caller, name, version, change, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_change_template_version(
        &self,
        caller: &Caller,
        name: &TemplateName,
        version: &semver::Version,
        change: &TemplateChange,
        precondition: &Precondition,
    ) -> Result<Versioned<TemplateVersion>, Error> {
        let read = self.template_version(caller, name, version).await?;
        caller.demand(Right::ManagePlatform, None)?;
        precondition.check(Some(&read.version))?;
        let limits = change.limits.unwrap_or(read.limits);
        if let Some((name, least, most)) = limits.fault() {
            let fault = Fault::at(format!("/limits/{name}"), format!("must be {least} to {most}"));
            return Err(Refusal::at(Code::BodyInvalid, vec![fault]).into());
        }
        let mut services = change.services.clone().unwrap_or_else(|| read.services.clone());
        let faults = check_services(&services, "/services");
        if !faults.is_empty() {
            return Err(Refusal::at(Code::BodyInvalid, faults).into());
        }
        services.sort();
        services.dedup();
        let state = change.state.unwrap_or(read.state);
        let changed = TemplateVersion {
            state,
            retain: change.retain.unwrap_or(read.retain),
            executor: change.executor.unwrap_or(read.executor),
            limits,
            services,
            untrusted: change.untrusted.unwrap_or(read.untrusted),
            ..read.value.clone()
        };
        if changed == read.value {
            return Ok(read);
        }
        let detail = described(&changed);
        let template = self.template(caller, name).await?;
        let mut draft = self.draft(caller, None);
        let record = draft.update(&read, changed);
        let mut versions = template.value.clone();
        versions.versions.insert(version.clone(), state);
        draft.update(&template, versions);
        draft.audit(Subject::Template(name.clone()), "template.changed", Some(detail));
        draft.commit().await?;
        Ok(record)
    }

    /// The organisation's policy for templates, where one was ever said; what holds until then is the default.
    pub async fn template_policy(&self, caller: &Caller) -> Result<Option<Versioned<TemplatePolicy>>, Error> {
        Ok(self.read(caller.organisation(), Item::TemplatePolicy).await?)
    }

    /// Says what templates may do. It holds for what is published from then on.
    pub async fn put_template_policy(
        &self,
        caller: &Caller,
        spec: PolicySpec,
        precondition: &Precondition,
    ) -> Result<Versioned<TemplatePolicy>, Error> {
        let mut tries = self.tries();
        loop {
            match self.try_put_template_policy(caller, &spec, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_put_template_policy(
        &self,
        caller: &Caller,
        spec: &PolicySpec,
        precondition: &Precondition,
    ) -> Result<Versioned<TemplatePolicy>, Error> {
        let read = self.template_policy(caller).await?;
        caller.demand(Right::ManagePlatform, None)?;
        precondition.check(read.as_ref().map(|read| &read.version))?;
        let faults = spec.faults();
        if !faults.is_empty() {
            return Err(Refusal::at(Code::BodyInvalid, faults).into());
        }
        if let Some(read) = &read
            && read.spec == *spec
        {
            return Ok(read.clone());
        }
        let mut draft = self.draft(caller, None);
        let record = draft.put(read.as_ref(), TemplatePolicy { spec: spec.clone(), updated_at: self.clock.now() });
        draft.audit(Subject::TemplatePolicy, "policy.changed", None);
        draft.commit().await?;
        Ok(record)
    }

    /// Reads a template.
    pub async fn template(&self, caller: &Caller, name: &TemplateName) -> Result<Versioned<Template>, Error> {
        let found = self.read(caller.organisation(), Item::Template(name.clone())).await?;
        found
            .ok_or_else(|| Refusal::new(Code::TemplateNotFound, format!("there is no resource template {name}")).into())
    }

    /// Reads a version of a template.
    pub async fn template_version(
        &self,
        caller: &Caller,
        name: &TemplateName,
        version: &semver::Version,
    ) -> Result<Versioned<TemplateVersion>, Error> {
        let item = Item::TemplateVersion(name.clone(), version.clone());
        let found = self.read(caller.organisation(), item).await?;
        found.ok_or_else(|| {
            Refusal::new(Code::TemplateNotFound, format!("there is no version {version} of {name}")).into()
        })
    }

    /// All versions of a template, newest first.
    pub async fn template_versions(
        &self,
        caller: &Caller,
        name: &TemplateName,
    ) -> Result<Vec<Versioned<TemplateVersion>>, Error> {
        self.template(caller, name).await?;
        let set = Set::TemplateVersions(name.clone());
        let mut versions: Vec<Versioned<TemplateVersion>> = self.list_all(caller.organisation(), &set).await?;
        versions.sort_by(|a, b| b.value.version.cmp(&a.value.version));
        Ok(versions)
    }
}

/// What a version is published with that does this; refused where the policy denies any of it.
fn admit(policy: &PolicySpec, uses: &[Use]) -> Result<Vec<Finding>, Refusal> {
    let (denied, mut warned): (Vec<_>, Vec<_>) =
        policy.judge(uses).into_iter().partition(|finding| finding.action == Verdict::Deny);
    if !denied.is_empty() {
        return Err(Refusal::at(Code::TemplatePolicy, denied.iter().map(Fault::from).collect()));
    }
    warned.truncate(MAX_FINDINGS);
    Ok(warned)
}

/// A version after a change, for the audit trail.
fn described(version: &TemplateVersion) -> String {
    let mut detail = format!("{} {:?}", version.version, version.state);
    if version.retain {
        detail.push_str(", retained");
    }
    if version.untrusted {
        detail.push_str(", untrusted");
    }
    if !version.services.is_empty() {
        detail.push_str(&format!(", services {}", version.services.join(" ")));
    }
    detail
}

#[cfg(test)]
pub(crate) mod tests;
