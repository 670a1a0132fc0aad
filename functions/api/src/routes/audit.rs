//! `/v1/audit-events`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_engine::{AuditFilter, Subject};
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ListOf;
use crate::app::App;
use crate::extract::{Asked, Asking, limit};
use crate::problem::{Problem, Refused};
use crate::view::AuditView;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListQuery {
    /// The trail of a resource, oldest first.
    resource: Option<String>,
    /// With days or `resource`: what was done for this deployment. Else: the trail of the deployment, oldest first.
    deployment: Option<String>,
    /// Only this day in UTC, such as `2026-11-22`; today where nothing says otherwise.
    day: Option<String>,
    /// Only this day and later ones.
    from: Option<String>,
    /// Only this day and earlier ones.
    to: Option<String>,
    /// Only about this kind of record, such as `resource`.
    noun: Option<String>,
    /// Only about the record with this id or name; of a pool: `<environment>/<name>`.
    subject: Option<String>,
    /// Only by this principal.
    principal: Option<String>,
    /// Only with this action, such as `resource.created`.
    action: Option<String>,
    /// Only from this request.
    request_id: Option<String>,
    /// Where the last answer ended: its `nextCursor`.
    cursor: Option<String>,
    /// 1 to 100; 20 where it is not given.
    limit: Option<u32>,
}

/// Who did what, when, from which request.
#[utoipa::path(get, path = "/v1/audit-events", tag = "audit", params(ListQuery),
    responses((status = 200, body = ListOf<AuditView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let (cursor, count) = (query.cursor.clone(), limit(query.limit)?);
    let (trail, filter) = query.into_filter()?;
    let (events, next_cursor) = match trail {
        Some(subject) => app.engine.audit_of(&caller, subject, &filter, cursor, count).await?,
        None => app.engine.audit_events(&caller, &filter, cursor, count).await?,
    };
    let items: Vec<_> = events.into_iter().map(AuditView::from).collect();
    Ok(Json(ListOf { items, next_cursor }).into_response())
}

impl ListQuery {
    /// The record whose trail is asked for, if one is, and which events.
    fn into_filter(self) -> Result<(Option<Subject>, AuditFilter), Refused> {
        if self.day.is_some() && (self.from.is_some() || self.to.is_some()) {
            return Err(Refused::new(Code::QueryInvalid, "ask for a day, or for from and to"));
        }
        let (from, to) = match read::<Date>(self.day.as_deref(), "day")? {
            Some(day) => (Some(day), Some(day)),
            None => (read(self.from.as_deref(), "from")?, read(self.to.as_deref(), "to")?),
        };
        let resource: Option<ResourceId> = read(self.resource.as_deref(), "resource")?;
        let deployment: Option<DeploymentId> = read(self.deployment.as_deref(), "deployment")?;
        let (trail, deployment) = match (resource, deployment) {
            (Some(resource), deployment) => (Some(Subject::Resource(resource)), deployment),
            (None, Some(id)) if from.is_none() && to.is_none() => (Some(Subject::Deployment(id)), None),
            (None, deployment) => (None, deployment),
        };
        let filter = AuditFilter {
            from,
            to,
            noun: self.noun,
            subject: self.subject,
            principal: self.principal,
            action: self.action,
            deployment,
            request_id: self.request_id,
        };
        Ok((trail, filter))
    }
}

fn read<T: std::str::FromStr>(text: Option<&str>, what: &str) -> Result<Option<T>, Refused> {
    let invalid = |_| Refused::new(Code::QueryInvalid, format!("{what} is not valid"));
    text.map(str::parse::<T>).transpose().map_err(invalid)
}
