//! What to do with what an acquire finds under its identity. Pure.

use conductor_domain::access::Right;
use conductor_domain::ids::OperationId;
use conductor_domain::operation::During;
use conductor_domain::resource::{Resource, ResourceStatus};
use conductor_domain::template::{TemplateName, TemplateState, TemplateVersion};
use conductor_domain::{Code, Refusal};

/// What an acquire finds under its identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub resource: &'a Resource,
    /// The hash of its parameters; `None` where it never got any.
    pub hash: Option<&'a str>,
    /// True where it has been made at least once.
    pub made: bool,
    /// True where the asking workload is a consumer already.
    pub mine: bool,
    /// True where whoever asks may deploy in its environment.
    pub may_change: bool,
}

/// What an acquire asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub operation: OperationId,
    pub template: &'a TemplateName,
    /// The version that the resource should have; none for what Conductor did not make.
    pub version: Option<&'a TemplateVersion>,
    /// True where any parameters are accepted.
    pub accepts: bool,
    pub hash: &'a str,
    pub refresh: bool,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Create,
    Link,
    Unchanged,
    /// Run terraform on what is there.
    Change(During),
    /// The same, if nobody else uses it.
    ChangeIfSole(During),
    Wait,
    Refuse(Refusal),
    /// What was read does not fit together: read again.
    Stale,
}

/// The rules of `docs/score.md`: the same parameters link, others change what nobody else uses, and where nothing is to
/// do nothing is done.
pub(crate) fn decide(found: Option<Found<'_>>, ask: Ask<'_>) -> Decision {
    let Some(found) = found else {
        return match ask.version {
            Some(version) if version.state == TemplateState::Active => Decision::Create,
            Some(version) => Decision::Refuse(Refusal::new(
                Code::TemplateDeprecated,
                format!("{} {} makes no new resources", ask.template, version.version),
            )),
            None => Decision::Refuse(Refusal::new(
                Code::ResourceTypeUnknown,
                format!("what was there is gone, and there was no active template for {}", ask.template),
            )),
        };
    };
    let resource = found.resource;
    if resource.template != *ask.template {
        let detail = format!("{} is a {}, not a {}", resource.name, resource.template, ask.template);
        return Decision::Refuse(Refusal::new(Code::TypeConflict, detail));
    }
    if resource.reservation.as_ref().is_some_and(|reservation| reservation.operation != ask.operation) {
        return Decision::Wait;
    }
    let same_parameters = ask.accepts || found.hash == Some(ask.hash);
    if resource.external.is_some() {
        return match (same_parameters, found.mine) {
            (true, true) => Decision::Unchanged,
            (true, false) => Decision::Link,
            (false, _) => Decision::Refuse(Refusal::new(
                Code::ResourceExternal,
                format!("Conductor did not make {}, and does not change its parameters", resource.name),
            )),
        };
    }
    let same_version = resource.version.as_ref() == ask.version.map(|version| &version.version);
    let decision = match resource.status {
        ResourceStatus::Deleted => Decision::Stale,
        // Ours, from a claim that ended early.
        ResourceStatus::Provisioning => Decision::Change(During::Create),
        ResourceStatus::Updating => Decision::Change(During::Update),
        // What was never there cannot be taken away from anybody.
        ResourceStatus::Failed | ResourceStatus::Deleting if !found.made => Decision::Change(During::Create),
        ResourceStatus::Failed | ResourceStatus::Deleting if same_parameters && same_version => {
            Decision::Change(During::Update)
        }
        ResourceStatus::Failed | ResourceStatus::Deleting => Decision::ChangeIfSole(During::Update),
        ResourceStatus::Active => match (same_parameters && same_version, found.mine) {
            (true, _) if ask.refresh && found.may_change => Decision::Change(During::Update),
            (true, true) => Decision::Unchanged,
            (true, false) => Decision::Link,
            (false, _) => Decision::ChangeIfSole(During::Update),
        },
    };
    match decision {
        Decision::Change(_) | Decision::ChangeIfSole(_) if !found.may_change => {
            Decision::Refuse(Right::Deploy.refused(Some(&resource.environment)))
        }
        decision => decision,
    }
}

#[cfg(test)]
pub(super) mod tests;
