//! Every request that changes something, reads something sensitive, or says what would change: what it takes, and a world
//! in which each of them can succeed.

use conductor_domain::access::Right;
use conductor_domain::deployment::{DeploymentStatus, Options};
use conductor_domain::environment::EnvironmentSpec;
use conductor_domain::ids::{DeploymentId, GenericUuid, ResourceId, TokenId};
use conductor_domain::pool::{PoolKey, PoolSharing};
use conductor_domain::principal::Caller;
use conductor_domain::template::{Interface, TemplateName};
use conductor_engine::{
    CancelRequest, DeploymentRequest, Error, NewConsumer, NewExternal, NewToken, NewVersion, PoolSpec, Precondition,
    ResourceChange, TeardownRequest, TemplateChange,
};
use jiff::SignedDuration;
use serde_json::{Map, json};
use uuid::Uuid;

use crate::common::named;
use crate::memory::{World, caller};

/// The environment of everything in the world.
pub const HERE: &str = "staging";
/// Another one.
pub const ELSEWHERE: &str = "production";

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    PutEnvironment,
    DeleteEnvironment,
    PutApplication,
    DeleteApplication,
    Publish,
    ChangeTemplateVersion,
    PutPool,
    DeletePool,
    Register,
    ChangeResource,
    Submit,
    DryRun,
    Teardown,
    DryRunTeardown,
    Retry,
    Cancel,
    AddConsumer,
    RemoveConsumer,
    DeleteResource,
    ReadSecret,
    CreateToken,
    ListTokens,
    GetToken,
    RevokeToken,
    EndSessions,
}

/// All of them, each with the right that it takes.
pub const REQUESTS: &[(Request, Right)] = &[
    (Request::PutEnvironment, Right::ManagePlatform),
    (Request::DeleteEnvironment, Right::ManagePlatform),
    (Request::PutApplication, Right::ManagePlatform),
    (Request::DeleteApplication, Right::ManagePlatform),
    (Request::Publish, Right::ManagePlatform),
    (Request::ChangeTemplateVersion, Right::ManagePlatform),
    (Request::PutPool, Right::ManagePlatform),
    (Request::DeletePool, Right::ManagePlatform),
    (Request::Register, Right::ManagePlatform),
    (Request::ChangeResource, Right::ManagePlatform),
    (Request::Submit, Right::Deploy),
    (Request::DryRun, Right::Deploy),
    (Request::Teardown, Right::Deploy),
    (Request::DryRunTeardown, Right::Deploy),
    (Request::Retry, Right::Deploy),
    (Request::Cancel, Right::Deploy),
    (Request::AddConsumer, Right::Deploy),
    (Request::RemoveConsumer, Right::Deploy),
    (Request::DeleteResource, Right::Deploy),
    (Request::ReadSecret, Right::ReadSecrets),
    (Request::CreateToken, Right::Administer),
    (Request::ListTokens, Right::Administer),
    (Request::GetToken, Right::Administer),
    (Request::RevokeToken, Right::Administer),
    (Request::EndSessions, Right::Administer),
];

/// What requests name.
#[derive(Debug, Clone)]
pub struct Known {
    /// A registered resource that nobody uses.
    pub spare: ResourceId,
    /// One that has a consumer.
    pub used: ResourceId,
    /// That consumer.
    pub consumer: String,
    /// A deployment that has not ended.
    pub running: DeploymentId,
    /// One that was cancelled.
    pub cancelled: DeploymentId,
    /// A service token.
    pub token: TokenId,
}

impl Known {
    /// Ids of nothing.
    pub fn nothing() -> Self {
        let nil = Uuid::nil();
        Self {
            spare: ResourceId::from_untyped_uuid(nil),
            used: ResourceId::from_untyped_uuid(nil),
            consumer: "0".repeat(24),
            running: DeploymentId::from_untyped_uuid(nil),
            cancelled: DeploymentId::from_untyped_uuid(nil),
            token: TokenId::from_untyped_uuid(nil),
        }
    }
}

/// A world of `acme` in which every request can succeed.
pub async fn furnished() -> (World, Known) {
    let world = World::new();
    let known = furnish(&world).await.expect("an administrator may do all of it");
    world.written();
    (world, known)
}

async fn furnish(world: &World) -> Result<Known, Error> {
    let (engine, admin) = (&world.engine, &caller("acme", &["admin"]));
    for name in [HERE, ELSEWHERE, "idle"] {
        engine.put_environment(admin, &named(name), EnvironmentSpec::default(), &Precondition::None).await?;
    }
    engine.put_application(admin, &named("idle"), &Precondition::None).await?;
    engine.publish(admin, version("1.0.0")).await?;
    engine.put_pool(admin, pool_key("old"), pool(0), &Precondition::None).await?;
    let spare = engine.register(admin, external("spare"), None).await?;
    let used = engine.register(admin, external("used"), None).await?;
    let (consumer, _) = engine.add_consumer(admin, used, consumer("web", HERE), None).await?;
    let running = engine.submit(admin, deployment("web")).await?.deployment;
    let cancelled = engine.submit(admin, deployment("worker")).await?.deployment;
    engine.cancel(admin, cancelled, CancelRequest::default()).await?;
    let (token, _) = engine.create_token(admin, token("ci")).await?;
    engine.start_session(admin, SignedDuration::from_hours(8)).await?;
    let status = engine.deployment(admin, cancelled).await?.deployment.status;
    assert_eq!(status, DeploymentStatus::Cancelled);
    Ok(Known { spare, used, consumer: consumer.key.id(), running, cancelled, token: token.id })
}

impl Request {
    /// Makes the request.
    pub async fn perform(self, world: &World, known: &Known, caller: &Caller) -> Result<(), Error> {
        let (engine, any) = (&world.engine, &Precondition::None);
        match self {
            Request::PutEnvironment => {
                engine.put_environment(caller, &named("new"), EnvironmentSpec::default(), any).await?;
            }
            Request::DeleteEnvironment => engine.delete_environment(caller, &named("idle"), any).await?,
            Request::PutApplication => {
                engine.put_application(caller, &named("new"), any).await?;
            }
            Request::DeleteApplication => engine.delete_application(caller, &named("idle"), any).await?,
            Request::Publish => {
                engine.publish(caller, version("1.1.0")).await?;
            }
            Request::ChangeTemplateVersion => {
                let change = TemplateChange { retain: Some(true), ..TemplateChange::default() };
                engine.change_template_version(caller, &template(), &named("1.0.0"), &change, any).await?;
            }
            Request::PutPool => {
                engine.put_pool(caller, pool_key("new"), pool(1), any).await?;
            }
            Request::DeletePool => {
                engine.delete_pool(caller, &pool_key("old"), any).await?;
            }
            Request::Register => {
                engine.register(caller, external("new"), None).await?;
            }
            Request::ChangeResource => {
                let change = ResourceChange { published: Some(true), ..ResourceChange::default() };
                engine.change_resource(caller, known.spare, change, any).await?;
            }
            Request::Submit => {
                engine.submit(caller, deployment("new")).await?;
            }
            Request::DryRun => {
                engine.dry_run(caller, deployment("new")).await?;
            }
            Request::Teardown => {
                engine.teardown(caller, teardown()).await?;
            }
            Request::DryRunTeardown => {
                engine.dry_run_teardown(caller, teardown()).await?;
            }
            Request::Retry => {
                engine.retry(caller, known.cancelled, None).await?;
            }
            Request::Cancel => engine.cancel(caller, known.running, CancelRequest::default()).await?,
            Request::AddConsumer => {
                engine.add_consumer(caller, known.used, consumer("new", HERE), None).await?;
            }
            Request::RemoveConsumer => {
                engine.remove_consumer(caller, known.used, &known.consumer, false).await?;
            }
            Request::DeleteResource => {
                engine.delete_resource(caller, known.spare, false, any).await?;
            }
            Request::ReadSecret => {
                let (value, sensitive) = engine.output(caller, known.used, "password").await?;
                assert_eq!((value, sensitive), (json!("hunter2"), true));
            }
            Request::CreateToken => {
                engine.create_token(caller, token("new")).await?;
            }
            Request::ListTokens => {
                engine.tokens(caller, None, 100).await?;
            }
            Request::GetToken => {
                engine.token(caller, known.token).await?;
            }
            Request::RevokeToken => engine.revoke_token(caller, known.token).await?,
            Request::EndSessions => engine.end_sessions(caller, "somebody").await?,
        }
        Ok(())
    }
}

fn template() -> TemplateName {
    TemplateName::new("postgres", None)
}

fn version(version: &str) -> NewVersion {
    NewVersion {
        template: template(),
        version: named(version),
        archive: Vec::new(),
        sha256: version.to_owned(),
        interface: Interface::default(),
        engine: "terraform".to_owned(),
        engine_version: String::new(),
        uses: Vec::new(),
    }
}

fn pool_key(name: &str) -> PoolKey {
    PoolKey { environment: named(HERE), name: named(name) }
}

fn pool(size: u32) -> PoolSpec {
    PoolSpec {
        template: template(),
        version: None,
        parameters: Map::new(),
        size,
        sharing: PoolSharing::Dedicated,
        max_consumers: None,
        retain: false,
    }
}

fn external(name: &str) -> NewExternal {
    let outputs = [("host", (json!("db.local"), false)), ("password", (json!("hunter2"), true))];
    NewExternal {
        environment: named(HERE),
        template: template(),
        name: Some(name.to_owned()),
        existing_id: format!("arn:{name}"),
        parameters: Map::new(),
        outputs: outputs.into_iter().map(|(name, output)| (name.to_owned(), output)).collect(),
    }
}

/// A consumer that no file names.
pub fn consumer(application: &str, environment: &str) -> NewConsumer {
    NewConsumer { environment: named(environment), application: named(application), workload: None }
}

fn deployment(application: &str) -> DeploymentRequest {
    let score = json!({
        "apiVersion": "score.dev/v1b1", "metadata": {"name": application},
        "containers": {"main": {"image": "busybox"}}, "resources": {"db": {"type": "postgres"}}
    });
    DeploymentRequest {
        application: Some(named(application)),
        environment: named(HERE),
        score: score.to_string(),
        options: Options::default(),
        commit_id: None,
        metadata: Map::new(),
        idempotency: None,
        supersede: false,
    }
}

fn teardown() -> TeardownRequest {
    TeardownRequest {
        environment: named(HERE),
        application: named("web"),
        workload: None,
        allow_destroy: Vec::new(),
        idempotency: None,
    }
}

fn token(name: &str) -> NewToken {
    NewToken { name: name.to_owned(), roles: vec![named("deployer:staging")], expires_at: None }
}
