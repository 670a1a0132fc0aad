//! Routes by noun. Each handler takes what it needs, makes one call of the engine, and answers.

pub mod applications;
pub mod audit;
pub mod consumers;
pub mod deployments;
pub mod environments;
pub mod graph;
pub mod logs;
pub mod policy;
pub mod pools;
pub mod resources;
pub mod service;
pub mod sessions;
pub mod templates;
pub mod tokens;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use conductor_domain::ids::DeploymentId;
use conductor_domain::principal::Caller;
use conductor_engine::Submitted;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::problem::Refused;
use crate::view::DeploymentView;

/// What every list takes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Where the last answer ended: its `nextCursor`.
    pub cursor: Option<String>,
    /// 1 to 100; 20 where it is not given.
    pub limit: Option<u32>,
}

/// What a route takes that may destroy the resource of its path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AllowDestroy {
    /// Destroy it although its environment is protected.
    allow_destroy: Option<bool>,
}

impl AllowDestroy {
    fn allowed(&self) -> bool {
        self.allow_destroy.unwrap_or(false)
    }
}

/// A part of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListOf<T> {
    /// The items; a filtered page may be short.
    pub items: Vec<T>,
    /// Where the rest begins; none where there is no rest.
    pub next_cursor: Option<String>,
}

/// The record's version as an ETag.
fn etag(version: &conductor_engine::port::Version) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("\"{}\"", version.0)).unwrap_or(HeaderValue::from_static("\"\""));
    [(header::ETAG, value)]
}

/// Where something is: a path that carries the stage.
fn location(app: &App, path: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&link(app, path)) {
        headers.insert(header::LOCATION, value);
    }
    headers
}

/// A path of this API as a caller must write it.
pub(crate) fn link(app: &App, path: &str) -> String {
    format!("/{}{path}", app.config.stage)
}

/// 202, with the deployment that does what was asked for, and where it is.
async fn accepted(app: &App, caller: &Caller, id: DeploymentId) -> Result<Response, Refused> {
    Ok(shown(app, app.engine.deployment(caller, id).await?))
}

/// The same for one that was just recorded, which is mostly known without being read.
async fn recorded(app: &App, caller: &Caller, submitted: Submitted) -> Result<Response, Refused> {
    match submitted.view {
        Some(view) => Ok(shown(app, *view)),
        None => accepted(app, caller, submitted.deployment).await,
    }
}

fn shown(app: &App, view: conductor_engine::DeploymentView) -> Response {
    let place = location(app, &format!("/v1/deployments/{}", view.deployment.id));
    let tag = etag(&view.deployment.version);
    (StatusCode::ACCEPTED, place, tag, Json(DeploymentView::new(view, &app.config.prices))).into_response()
}

/// Names in a query, separated by commas.
fn split(names: &str) -> Vec<String> {
    names.split(',').map(str::to_owned).collect()
}
