//! Releasing: a consumer leaves a resource; the last one takes it along, unless it is retained.

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding};
use conductor_domain::environment::Environment;
use conductor_domain::operation::{During, Effect, Operation, ReleaseRequest};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Parameters, Resource, ResourceEvent, ResourceStatus};
use conductor_domain::template::TemplateVersion;
use jiff::Timestamp;

use crate::acquire::reservation;
use crate::claim::Claimed;
use crate::port::{Ports, StoreError, Versioned};
use crate::record::Item;
use crate::work::{Job, Step};
use crate::{Engine, Error};

/// What to do about a consumer that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is gone already.
    Gone,
    /// Somebody works on the resource.
    Wait,
    /// Others still use it.
    Leave,
    /// It was the last, and the resource stays.
    Retain,
    /// It is the last.
    Destroy,
}

/// The last consumer takes the resource along, unless it is retained. Pure.
pub(crate) fn decide(resource: &Resource, is_consumer: bool, claimed: &Claimed) -> Decision {
    let reserved = resource.reservation.as_ref();
    if resource.status == ResourceStatus::Deleted || !is_consumer {
        Decision::Gone
    } else if reserved.is_some_and(|reservation| reservation.operation != claimed.operation.id) {
        Decision::Wait
    } else if resource.consumers > 1 {
        Decision::Leave
    } else if resource.retain {
        Decision::Retain
    } else {
        Decision::Destroy
    }
}

impl<P: Ports> Engine<P> {
    /// One try to release; [`Error::Conflict`] means try again.
    pub(crate) async fn release(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &ReleaseRequest,
        deadline: Timestamp,
    ) -> Result<Step, Error> {
        let organisation = caller.organisation();
        let id = request.resource;
        let resource_item = Item::Resource(id);
        let consumer_item = Item::Consumer(id, request.consumer.clone());
        let parameters_item = Item::Parameters(id);
        let holding_item = match &request.consumer {
            ConsumerKey::Workload(key) => Some(Item::Holding(key.clone())),
            ConsumerKey::Resource { .. } => None,
        };
        let mut items = vec![resource_item.clone(), consumer_item.clone(), parameters_item.clone()];
        items.extend(holding_item.clone());
        let mut batch = self.batch(organisation, items).await?;
        let resource: Versioned<Resource> = batch
            .take(&resource_item)?
            .ok_or_else(|| StoreError::Unreadable(format!("the resource {id} is gone without a trace")))?;
        let consumer: Option<Versioned<Consumer>> = batch.take(&consumer_item)?;
        let parameters: Option<Versioned<Parameters>> = batch.take(&parameters_item)?;
        let holding: Option<Versioned<Holding>> = match &holding_item {
            Some(item) => batch.take(item)?,
            None => None,
        };
        let holding = holding.filter(|holding| holding.resource == id);

        let decision = decide(&resource, consumer.is_some(), claimed);
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let operation = claimed.operation.value.clone();
        let effect = match (decision, &consumer) {
            (Decision::Wait, _) => {
                self.wait_for(&mut draft, claimed, &resource)?;
                draft.commit().await?;
                return Ok(Step::Waits);
            }
            (Decision::Destroy, Some(consumer)) => {
                return self.reserve_destroy(caller, claimed, resource, consumer, parameters, deadline).await;
            }
            (Decision::Leave | Decision::Retain, Some(consumer)) => {
                draft.delete(consumer);
                let left = Resource { consumers: resource.consumers.saturating_sub(1), ..resource.value.clone() };
                draft.audit_resource(&left, "resource.released");
                draft.update(&resource, left);
                if decision == Decision::Leave { Effect::Released } else { Effect::Retained }
            }
            (Decision::Gone | Decision::Leave | Decision::Retain | Decision::Destroy, _) => Effect::Released,
        };
        if let Some(holding) = &holding {
            draft.delete(holding);
        }
        draft.succeed(claimed, operation, effect)?;
        draft.commit().await?;
        Ok(Step::Ended)
    }

    async fn reserve_destroy(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        read: Versioned<Resource>,
        consumer: &Versioned<Consumer>,
        parameters: Option<Versioned<Parameters>>,
        deadline: Timestamp,
    ) -> Result<Step, Error> {
        let organisation = caller.organisation();
        let environment_item = Item::Environment(read.environment.clone());
        let version_item = Item::TemplateVersion(read.template.clone(), read.value.version.clone());
        let mut batch = self.batch(organisation, vec![environment_item.clone(), version_item.clone()]).await?;
        let gone = |what: &str| StoreError::Unreadable(format!("{what} of the resource {} is gone", read.id));
        let environment: Versioned<Environment> =
            batch.take(&environment_item)?.ok_or_else(|| gone("the environment"))?;
        let template: Versioned<TemplateVersion> =
            batch.take(&version_item)?.ok_or_else(|| gone("the template version"))?;
        let (inputs, sensitive) = self.stored_inputs(parameters.as_deref()).await?;

        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let now = draft.now();
        let mut resource = read.value.clone();
        resource.take(ResourceEvent::DestroyBegun, now)?;
        resource.updated_by = claimed.deployment.id;
        resource.reservation = Some(reservation(claimed, now, deadline));
        draft.update(&read, resource.clone());
        draft.update(consumer, Consumer { leaving: Some(claimed.operation.id), ..consumer.value.clone() });
        let operation = claimed.operation.value.clone();
        draft.update(&claimed.operation, Operation { attempts: operation.attempts + 1, ..operation });
        draft.commit().await?;
        Ok(Step::Run(Box::new(Job {
            organisation: organisation.clone(),
            deployment: claimed.deployment.id,
            operation: claimed.operation.id,
            epoch: claimed.operation.epoch,
            allow_replace: true,
            depends_on: Vec::new(),
            parameters: None,
            was_active: false,
            environment: environment.value,
            template: template.value,
            resource,
            during: During::Destroy,
            fresh: false,
            inputs,
            sensitive,
            deadline,
        })))
    }
}
