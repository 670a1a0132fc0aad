//! Environments and applications: made, changed and ended by hand.

use conductor_domain::access::Right;
use conductor_domain::application::Application;
use conductor_domain::backend::{BackendSpec, s3_location};
use conductor_domain::consumer::Holding;
use conductor_domain::environment::{Environment, EnvironmentSpec};
use conductor_domain::ids::ResourceId;
use conductor_domain::lane::{Lane, LaneKey};
use conductor_domain::name::{ApplicationName, EnvironmentName};
use conductor_domain::pool::Pool;
use conductor_domain::principal::Caller;
use conductor_domain::resource::StateLocation;
use conductor_domain::{Code, Refusal};

use crate::commit::Precondition;
use crate::port::{Clock, Ports, Versioned};
use crate::record::{Item, Set, Subject};
use crate::{Engine, Error, Resident};

/// What a PUT did.
#[derive(Debug, Clone, PartialEq)]
pub struct PutOutcome<T> {
    /// The record as it is now.
    pub record: Versioned<T>,
    /// True where there was none.
    pub created: bool,
}

impl<P: Ports> Engine<P> {
    /// Makes an environment, or changes it. While it has resources its region, role, secret and backend stay.
    pub async fn put_environment(
        &self,
        caller: &Caller,
        name: &EnvironmentName,
        spec: EnvironmentSpec,
        precondition: &Precondition,
    ) -> Result<PutOutcome<Environment>, Error> {
        caller.demand(Right::ManagePlatform, None)?;
        let faults = spec.check(caller.organisation(), name);
        if !faults.is_empty() {
            return Err(Refusal::at(Code::BodyInvalid, faults).into());
        }
        let mut tries = self.tries();
        loop {
            match self.try_put_environment(caller, name, &spec, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_put_environment(
        &self,
        caller: &Caller,
        name: &EnvironmentName,
        spec: &EnvironmentSpec,
        precondition: &Precondition,
    ) -> Result<PutOutcome<Environment>, Error> {
        let organisation = caller.organisation();
        let read = self.read::<Environment>(organisation, Item::Environment(name.clone())).await?;
        precondition.check(read.as_ref().map(|read| &read.version))?;
        let now = self.clock.now();
        if let Some(read) = &read
            && read.spec == *spec
        {
            return Ok(PutOutcome { record: read.clone(), created: false });
        }
        let created_at = read.as_ref().map_or(now, |read| read.created_at);
        let mut draft = self.draft(caller, None);
        let moves = read.as_ref().is_some_and(|read| {
            let (old, new) = (&read.spec, spec);
            old.region != new.region || acts_as(old) != acts_as(new) || elsewhere(old) != elsewhere(new)
        });
        if moves {
            // Who starts in one of these lanes, or opens another, meets a version that is not the one it read.
            for lane in self.idle_lanes(caller, name).await? {
                draft.check(&lane);
            }
            if self.has_residents(caller, name).await? {
                return Err(in_use(name, "its region, role, secret and backend cannot change").into());
            }
        }
        let value = Environment { name: name.clone(), spec: spec.clone(), created_at, updated_at: now };
        let record = draft.put(read.as_ref(), value);
        let action = if read.is_some() { "environment.changed" } else { "environment.created" };
        draft.audit(Subject::Environment(name.clone()), action, None);
        draft.commit().await?;
        Ok(PutOutcome { record, created: read.is_none() })
    }

    /// Ends an environment that has no resources and no unfinished deployments.
    pub async fn delete_environment(
        &self,
        caller: &Caller,
        name: &EnvironmentName,
        precondition: &Precondition,
    ) -> Result<(), Error> {
        let mut tries = self.tries();
        loop {
            match self.try_delete_environment(caller, name, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_delete_environment(
        &self,
        caller: &Caller,
        name: &EnvironmentName,
        precondition: &Precondition,
    ) -> Result<(), Error> {
        let environment = self.environment(caller, name).await?;
        caller.demand(Right::ManagePlatform, None)?;
        precondition.check(Some(&environment.version))?;
        let lanes = self.idle_lanes(caller, name).await?;
        if self.has_residents(caller, name).await? {
            return Err(in_use(name, "tear its applications down first").into());
        }
        let pools: Vec<Versioned<Pool>> = self.list_first(caller.organisation(), &Set::Pools(name.clone()), 1).await?;
        if !pools.is_empty() {
            return Err(in_use(name, "delete its pools first").into());
        }
        for application in lanes.iter().filter_map(|lane| lane.key.application_name()) {
            let held = Set::Holdings(name.clone(), application.clone(), None);
            let held: Vec<Versioned<Holding>> = self.list_first(caller.organisation(), &held, 1).await?;
            if !held.is_empty() {
                let why = format!("{application} uses resources of other environments; tear it down first");
                return Err(in_use(name, &why).into());
            }
        }
        // Lanes go first where they do not fit beside the environment: a lane without turns is made anew by a submission.
        let mut draft = self.draft(caller, None);
        let mut lanes = lanes.iter().peekable();
        while let Some(lane) = lanes.next() {
            draft.delete(lane);
            if draft.room() <= 2 && lanes.peek().is_some() {
                draft.commit().await?;
                draft = self.draft(caller, None);
            }
        }
        draft.delete(&environment);
        draft.audit(Subject::Environment(name.clone()), "environment.deleted", None);
        draft.commit().await
    }

    /// Reads an environment.
    pub async fn environment(&self, caller: &Caller, name: &EnvironmentName) -> Result<Versioned<Environment>, Error> {
        let found = self.read(caller.organisation(), Item::Environment(name.clone())).await?;
        found.ok_or_else(|| Refusal::new(Code::EnvironmentNotFound, format!("there is no environment {name}")).into())
    }

    /// All lanes of an environment; refused while a deployment in one of them has not ended.
    async fn idle_lanes(&self, caller: &Caller, name: &EnvironmentName) -> Result<Vec<Versioned<Lane>>, Error> {
        let lanes: Vec<Versioned<Lane>> = self.list_all(caller.organisation(), &Set::Lanes(name.clone())).await?;
        if lanes.iter().any(|lane| lane.current.is_some()) {
            return Err(in_use(name, "a deployment in it has not ended").into());
        }
        Ok(lanes)
    }

    /// Where the state of a new resource goes.
    pub(crate) fn state_location(&self, caller: &Caller, environment: &Environment, id: ResourceId) -> StateLocation {
        let (bucket, organisation, name) = (&self.settings.state_bucket, caller.organisation(), &environment.name);
        match &environment.spec.backend {
            Some(backend) => backend.location(bucket, organisation, name, id),
            None => s3_location(bucket, organisation, name, id),
        }
    }

    async fn has_residents(&self, caller: &Caller, name: &EnvironmentName) -> Result<bool, Error> {
        let first: Vec<Versioned<Resident>> =
            self.list_first(caller.organisation(), &Set::Residents(name.clone()), 1).await?;
        Ok(!first.is_empty())
    }

    /// Makes an application; one that is there stays as it is.
    pub async fn put_application(
        &self,
        caller: &Caller,
        name: &ApplicationName,
        precondition: &Precondition,
    ) -> Result<PutOutcome<Application>, Error> {
        caller.demand(Right::ManagePlatform, None)?;
        let mut tries = self.tries();
        loop {
            let read = self.read::<Application>(caller.organisation(), Item::Application(name.clone())).await?;
            precondition.check(read.as_ref().map(|read| &read.version))?;
            if let Some(record) = read {
                return Ok(PutOutcome { record, created: false });
            }
            let mut draft = self.draft(caller, None);
            let created_at = self.clock.now();
            let record = draft.create(Application::new(name.clone(), created_at));
            draft.audit(Subject::Application(name.clone()), "application.created", None);
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done.map(|()| PutOutcome { record, created: true }),
            }
        }
    }

    /// Reads an application.
    pub async fn application(&self, caller: &Caller, name: &ApplicationName) -> Result<Versioned<Application>, Error> {
        let found = self.read(caller.organisation(), Item::Application(name.clone())).await?;
        found.ok_or_else(|| Refusal::new(Code::ApplicationNotFound, format!("there is no application {name}")).into())
    }

    /// Ends an application that holds nothing anywhere and has no unfinished deployments.
    pub async fn delete_application(
        &self,
        caller: &Caller,
        name: &ApplicationName,
        precondition: &Precondition,
    ) -> Result<(), Error> {
        let mut tries = self.tries();
        loop {
            match self.try_delete_application(caller, name, precondition).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_delete_application(
        &self,
        caller: &Caller,
        name: &ApplicationName,
        precondition: &Precondition,
    ) -> Result<(), Error> {
        let application = self.application(caller, name).await?;
        caller.demand(Right::ManagePlatform, None)?;
        precondition.check(Some(&application.version))?;
        for environment in &application.environments {
            if let Some(why) = self.application_use(caller, environment, name).await? {
                return Err(Refusal::new(
                    Code::ApplicationInUse,
                    format!("the application {name} {why} in the environment {environment}"),
                )
                .into());
            }
        }
        let mut draft = self.draft(caller, None);
        draft.delete(&application);
        draft.audit(Subject::Application(name.clone()), "application.deleted", None);
        draft.commit().await
    }

    async fn application_use(
        &self,
        caller: &Caller,
        environment: &EnvironmentName,
        name: &ApplicationName,
    ) -> Result<Option<&'static str>, Error> {
        let organisation = caller.organisation();
        let key = LaneKey::application(environment.clone(), name.clone());
        let lane: Option<Versioned<Lane>> = self.read(organisation, Item::Lane(key)).await?;
        if lane.is_some_and(|lane| lane.current.is_some()) {
            return Ok(Some("has an unfinished deployment"));
        }
        let holdings = Set::Holdings(environment.clone(), name.clone(), None);
        let held: Vec<Versioned<conductor_domain::consumer::Holding>> =
            self.list_first(organisation, &holdings, 1).await?;
        Ok((!held.is_empty()).then_some("holds resources"))
    }
}

/// The backend, where it is not the stack's own bucket.
fn elsewhere(spec: &EnvironmentSpec) -> Option<&BackendSpec> {
    spec.backend.as_ref().filter(|backend| !matches!(backend, BackendSpec::S3 {}))
}

/// Whose account its resources live in. Only who may take the role hangs on the external id.
fn acts_as(spec: &EnvironmentSpec) -> Option<(Option<&str>, Option<&str>)> {
    spec.credentials.as_ref().map(|credentials| (credentials.role_arn.as_deref(), credentials.secret_arn.as_deref()))
}

fn in_use(name: &EnvironmentName, why: &str) -> Refusal {
    Refusal::new(Code::EnvironmentInUse, format!("the environment {name} is in use: {why}"))
}
