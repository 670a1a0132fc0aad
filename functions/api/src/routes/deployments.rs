//! `/v1/deployments`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::deployment::{DeploymentStatus, Options, Rollback};
use conductor_domain::ids::DeploymentId;
use conductor_domain::name::{ApplicationName, EnvironmentName, NameError};
use conductor_engine::{CancelRequest, DeploymentFilter, DeploymentRequest, IdempotencyKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, accepted, etag, recorded, split};
use crate::app::App;
use crate::extract::{Asked, Asking, Keyed, MaybeBody, Named, content_type, id as parse_id, limit, name, parse_json};
use crate::problem::{Problem, Refused};
use crate::view::{DeploymentItem, DeploymentView, DryRunView, WorkloadView};

/// The longest time that a GET waits, in seconds; the gateway gives up after 29.
const MAX_WAIT: u64 = 25;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(post, list))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .routes(routes!(workload))
}

/// What a deployment is asked for; the Score file itself may be the body instead, as `application/yaml`, with the rest in
/// the query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeploymentBody {
    /// The application; the Score file's `metadata.name` where none is given.
    application: Option<String>,
    /// The environment.
    environment: String,
    /// The Score file: its text (YAML or JSON), or an object.
    score: Value,
    /// The commit that the file is from.
    commit_id: Option<String>,
    /// Release what the workload held and the file no longer names; true where it is not given.
    prune: Option<bool>,
    /// Run terraform also where nothing seems to have changed.
    refresh: Option<bool>,
    /// Move existing resources to the newest template version.
    upgrade: Option<bool>,
    /// Names of resources that a plan may delete from or replace.
    allow_replace: Option<Vec<String>>,
    /// Names of resources that may be destroyed although the environment is protected.
    allow_destroy: Option<Vec<String>>,
    /// `wait` for those before it, which it does where nothing is given; `supersede` cancels those that are Pending.
    queue: Option<Queue>,
    /// What you want to find again.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Queue {
    Wait,
    Supersede,
}

/// The same in the query, beside a Score file as the body.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeploymentQuery {
    /// With a Score file as the body.
    application: Option<String>,
    /// With a Score file as the body.
    environment: Option<String>,
    /// With a Score file as the body.
    commit_id: Option<String>,
    /// With a Score file as the body.
    prune: Option<bool>,
    /// With a Score file as the body.
    refresh: Option<bool>,
    /// With a Score file as the body.
    upgrade: Option<bool>,
    /// With a Score file as the body: names, separated by commas.
    allow_replace: Option<String>,
    /// With a Score file as the body: names, separated by commas.
    allow_destroy: Option<String>,
    /// With a Score file as the body.
    queue: Option<Queue>,
    /// Only tell what would happen: 200, and nothing is done.
    dry_run: Option<bool>,
}

impl DeploymentQuery {
    fn names_nothing(&self) -> bool {
        self.application.is_none()
            && self.environment.is_none()
            && self.commit_id.is_none()
            && self.prune.is_none()
            && self.refresh.is_none()
            && self.upgrade.is_none()
            && self.allow_replace.is_none()
            && self.allow_destroy.is_none()
            && self.queue.is_none()
    }

    fn with(self, score: String) -> Result<DeploymentBody, Refused> {
        let missing = || Refused::new(Code::QueryInvalid, "say the environment: ?environment=<name>");
        Ok(DeploymentBody {
            application: self.application,
            environment: self.environment.ok_or_else(missing)?,
            score: Value::String(score),
            commit_id: self.commit_id,
            prune: self.prune,
            refresh: self.refresh,
            upgrade: self.upgrade,
            allow_replace: self.allow_replace.as_deref().map(split),
            allow_destroy: self.allow_destroy.as_deref().map(split),
            queue: self.queue,
            metadata: None,
        })
    }
}

/// Deploys a Score file.
#[utoipa::path(post, path = "/v1/deployments", tag = "deployments",
    params(DeploymentQuery, ("Idempotency-Key" = Option<String>, Header,
        description = "The same key and request within 24 hours: the same deployment, as it is by then.")),
    request_body(content((DeploymentBody = "application/json"), (String = "application/yaml"))),
    responses((status = 200, body = DryRunView, description = "With `dryRun=true`."),
        (status = 202, body = DeploymentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn post(
    State(app): State<App>,
    Asking(caller): Asking,
    headers: HeaderMap,
    Asked(query): Asked<DeploymentQuery>,
    Keyed(idempotency, content): Keyed,
) -> Result<Response, Refused> {
    let yaml = match content_type(&headers) {
        None | Some("application/json") => false,
        Some("application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml") => true,
        Some(_) => {
            return Err(Refused::new(
                Code::MediaTypeUnsupported,
                "this route takes application/json or application/yaml",
            ));
        }
    };
    let dry_run = query.dry_run == Some(true);
    let body = if yaml {
        let score = String::from_utf8(content.to_vec())
            .map_err(|_| Refused::at(Code::YamlInvalid, "", "the Score file is not UTF-8"))?;
        query.with(score)?
    } else if query.names_nothing() {
        parse_json(&content)?
    } else {
        return Err(Refused::new(Code::QueryInvalid, "with a JSON body, say everything in the body"));
    };
    let request = body.into_request(idempotency)?;
    if dry_run {
        let run = app.engine.dry_run(&caller, request).await?;
        return Ok(Json(DryRunView::from(run)).into_response());
    }
    let submitted = app.engine.submit(&caller, request).await?;
    recorded(&app, &caller, submitted).await
}

impl DeploymentBody {
    fn into_request(self, idempotency: Option<IdempotencyKey>) -> Result<DeploymentRequest, Refused> {
        let score = match self.score {
            Value::String(text) => text,
            value @ Value::Object(_) => value.to_string(),
            _ => return Err(Refused::at(Code::BodyInvalid, "/score", "score must be a text or an object")),
        };
        let application = self.application.map(|application| name(&application, "/application"));
        let defaults = Options::default();
        Ok(DeploymentRequest {
            application: application.transpose()?,
            environment: name(&self.environment, "/environment")?,
            score,
            options: Options {
                prune: self.prune.unwrap_or(defaults.prune),
                refresh: self.refresh.unwrap_or(defaults.refresh),
                upgrade: self.upgrade.unwrap_or(defaults.upgrade),
                allow_replace: self.allow_replace.unwrap_or(defaults.allow_replace),
                allow_destroy: self.allow_destroy.unwrap_or(defaults.allow_destroy),
            },
            commit_id: self.commit_id,
            metadata: self.metadata.unwrap_or_default(),
            idempotency,
            supersede: self.queue == Some(Queue::Supersede),
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those of this environment.
    environment: Option<String>,
    /// Only those of this application.
    application: Option<String>,
    /// Only those in this status.
    status: Option<DeploymentStatus>,
    /// Where the last answer ended: its `nextCursor`.
    cursor: Option<String>,
    /// 1 to 100; 20 where it is not given.
    limit: Option<u32>,
}

/// Deployments, newest first.
#[utoipa::path(get, path = "/v1/deployments", tag = "deployments", params(ListQuery),
    responses((status = 200, body = ListOf<DeploymentItem>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let invalid = |error: NameError| Refused::new(Code::QueryInvalid, error.to_string());
    let filter = DeploymentFilter {
        environment: query.environment.map(EnvironmentName::new).transpose().map_err(invalid)?,
        application: query.application.map(ApplicationName::new).transpose().map_err(invalid)?,
        status: query.status,
        text: None,
    };
    let list = app.engine.deployments(&caller, &filter, query.cursor, limit(query.limit)?).await?;
    let items: Vec<_> =
        list.items.into_iter().map(|read| DeploymentItem::new(read.value, &app.config.prices)).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct GetQuery {
    /// Answer when the status changes, after at most so many seconds (1 to 25).
    wait: Option<u64>,
}

/// One deployment with its operations.
#[utoipa::path(get, path = "/v1/deployments/{id}", tag = "deployments", params(("id" = String, Path), GetQuery),
    responses((status = 200, body = DeploymentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    Asked(query): Asked<GetQuery>,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let view = match query.wait {
        None | Some(0) => app.engine.deployment(&caller, id).await?,
        Some(seconds @ 1..=MAX_WAIT) => app.engine.deployment_after(&caller, id, Duration::from_secs(seconds)).await?,
        Some(other) => {
            let detail = format!("wait is {other}; it must be at most {MAX_WAIT} seconds");
            return Err(Refused::new(Code::QueryInvalid, detail));
        }
    };
    Ok((etag(&view.deployment.version), Json(DeploymentView::new(view, &app.config.prices))).into_response())
}

/// How a deployment is cancelled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct CancelBody {
    /// Whether what the deployment created or linked is let go of; `created` where nothing is given.
    rollback: Rollback,
    /// In a second request, 30 seconds after the first: kills what has not stopped.
    force: bool,
}

/// Stops a deployment: nothing waiting starts, what runs stores its state and stops. The same request again changes
/// nothing.
#[utoipa::path(post, path = "/v1/deployments/{id}/cancel", tag = "deployments", request_body = Option<CancelBody>,
    params(("id" = String, Path)),
    responses((status = 202, body = DeploymentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn cancel(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    MaybeBody(CancelBody { rollback, force }): MaybeBody<CancelBody>,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    app.engine.cancel(&caller, id, CancelRequest { rollback, force }).await?;
    accepted(&app, &caller, id).await
}

/// Deploys the same file, or tears down, again, after a deployment that failed, was cancelled or timed out.
#[utoipa::path(post, path = "/v1/deployments/{id}/retry", tag = "deployments",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = DeploymentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn retry(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    Keyed(idempotency, _): Keyed,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let submitted = app.engine.retry(&caller, id, idempotency).await?;
    recorded(&app, &caller, submitted).await
}

/// The workload of a deployment that succeeded, with a value for every placeholder.
#[utoipa::path(get, path = "/v1/deployments/{id}/workload", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = WorkloadView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn workload(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let workload = app.engine.workload(&caller, id).await?;
    Ok(Json(WorkloadView::from(workload)).into_response())
}
