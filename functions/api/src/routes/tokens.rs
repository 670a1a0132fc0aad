//! `/v1/tokens`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conductor_domain::access::Grant;
use conductor_domain::ids::TokenId;
use conductor_engine::NewToken;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, PageQuery, location};
use crate::app::App;
use crate::extract::{Asked, Asking, Body, Named, id as parse_id, limit};
use crate::problem::{Problem, Refused};
use crate::view::{NewTokenView, TokenView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, post)).routes(routes!(get, delete))
}

/// Service tokens that have not expired, newest first.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = ListOf<TokenView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(page): Asked<PageQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.tokens(&caller, page.cursor, limit(page.limit)?).await?;
    let items: Vec<_> = list.items.into_iter().map(|read| TokenView::from(read.value)).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

/// What a service token shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TokenBody {
    /// What people call it; its bearer is the principal `token:<name>`.
    name: String,
    /// What its bearer may do: `viewer`, `deployer`, `platform`, `secretReader`, `admin`; `deployer:staging` in that
    /// environment alone.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Grant>,
    /// When it ends, in 366 days at the latest; in 90 where nothing is given.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// Makes a service token. Its secret is in this answer and in no other.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenBody,
    responses((status = 201, body = NewTokenView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn post(
    State(app): State<App>,
    Asking(caller): Asking,
    Body(body): Body<TokenBody>,
) -> Result<Response, Refused> {
    let new = NewToken { name: body.name, roles: body.roles, expires_at: body.expires_at };
    let (token, secret) = app.engine.create_token(&caller, new).await?;
    let place = location(&app, &format!("/v1/tokens/{}", token.id));
    Ok((StatusCode::CREATED, place, Json(NewTokenView::new(token.value, secret))).into_response())
}

/// One service token.
#[utoipa::path(get, path = "/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 200, body = TokenView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(State(app): State<App>, Asking(caller): Asking, Named(id): Named<String>) -> Result<Response, Refused> {
    let id: TokenId = parse_id(&id)?;
    let token = app.engine.token(&caller, id).await?;
    Ok(Json(TokenView::from(token.value)).into_response())
}

/// Revokes a service token: from now on it is refused.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
) -> Result<StatusCode, Refused> {
    let id: TokenId = parse_id(&id)?;
    app.engine.revoke_token(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
