//! `/v1/resources/{id}/consumers`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conductor_domain::ids::ResourceId;
use conductor_engine::NewConsumer;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AllowDestroy, accepted};
use crate::app::App;
use crate::extract::{Asked, Asking, KeyedBody, Named, id as parse_id, name};
use crate::problem::{Problem, Refused};
use crate::view::{ConsumerView, DeploymentView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(post)).routes(routes!(delete))
}

/// Who is to be a consumer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConsumerBody {
    /// Its environment.
    environment: String,
    /// The application.
    application: String,
    /// One of its workloads; the whole application where none is given.
    workload: Option<String>,
}

/// Makes an application, or one of its workloads, a consumer of a resource.
#[utoipa::path(post, path = "/v1/resources/{id}/consumers", tag = "resources", params(("id" = String, Path),
    ("Idempotency-Key" = Option<String>, Header)), request_body = ConsumerBody,
    responses((status = 200, body = ConsumerView, description = "It was one already."),
        (status = 201, body = ConsumerView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn post(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    KeyedBody(idempotency, body): KeyedBody<ConsumerBody>,
) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    let new = NewConsumer {
        environment: name(&body.environment, "/environment")?,
        application: name(&body.application, "/application")?,
        workload: body.workload.map(|workload| name(&workload, "/workload")).transpose()?,
    };
    let (consumer, created) = app.engine.add_consumer(&caller, id, new, idempotency).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ConsumerView::from(consumer))).into_response())
}

/// Removes a consumer that the API made. When it was the last one, a deployment of kind `release` lets go of the
/// resource.
#[utoipa::path(delete, path = "/v1/resources/{id}/consumers/{consumer}", tag = "resources",
    params(("id" = String, Path), ("consumer" = String, Path, description = "The consumer's `id`"), AllowDestroy),
    responses((status = 202, body = DeploymentView), (status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((id, consumer)): Named<(String, String)>,
    Asked(query): Asked<AllowDestroy>,
) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    match app.engine.remove_consumer(&caller, id, &consumer, query.allowed()).await? {
        Some(deployment) => accepted(&app, &caller, deployment).await,
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
