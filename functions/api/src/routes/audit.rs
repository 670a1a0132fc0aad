//! `/v1/audit-events`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_engine::Subject;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
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
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// The events of a deployment, oldest first.
    deployment: Option<String>,
    /// The events of a resource, oldest first.
    resource: Option<String>,
    /// The events of a day in UTC, newest first; today where nothing else is asked.
    day: Option<String>,
    /// Where the last answer ended: its `nextCursor`.
    cursor: Option<String>,
    /// 1 to 100; 20 where it is not given.
    limit: Option<u32>,
}

/// Who did what, when, from which request.
#[utoipa::path(get, path = "/v1/audit-events", tag = "audit", params(ListQuery),
    responses((status = 200, body = ListOf<AuditView>), (status = "4XX", body = Problem)))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let invalid = |what: &str| Refused::new(Code::QueryInvalid, format!("{what} is not valid"));
    let count = limit(query.limit)?;
    let subject = match (&query.deployment, &query.resource, &query.day) {
        (Some(id), None, None) => {
            Some(Subject::Deployment(id.parse::<DeploymentId>().map_err(|_| invalid("deployment"))?))
        }
        (None, Some(id), None) => Some(Subject::Resource(id.parse::<ResourceId>().map_err(|_| invalid("resource"))?)),
        (None, None, _) => None,
        _ => return Err(Refused::new(Code::QueryInvalid, "ask for one of deployment, resource and day")),
    };
    let (items, next_cursor) = match subject {
        Some(subject) => {
            let (events, next) = app.engine.audit_of(&caller, subject, query.cursor, count).await?;
            (events.into_iter().map(AuditView::from).collect(), next)
        }
        None => {
            let day = match &query.day {
                Some(day) => day.parse::<Date>().map_err(|_| invalid("day"))?,
                None => today(),
            };
            let list = app.engine.audit_of_day(&caller, day, query.cursor, count).await?;
            (list.items.into_iter().map(|read| AuditView::from(read.value.event)).collect::<Vec<_>>(), list.next)
        }
    };
    Ok(Json(ListOf { items, next_cursor }).into_response())
}

#[expect(clippy::disallowed_methods, reason = "the edge: a default of the request, not a decision")]
fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}
