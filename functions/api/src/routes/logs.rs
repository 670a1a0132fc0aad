//! `/v1/deployments/{id}/logs`: as a page, as events, or as text.

mod flow;
mod representation;
mod tail;

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use conductor_domain::Code;
use conductor_domain::deployment::DeploymentStatus;
use conductor_domain::ids::{DeploymentId, OperationId};
use conductor_domain::log::Level;
use conductor_engine::port::Clock;
use conductor_engine::{Error, LogFilter, LogLine, LogPosition, LogReader};
use conductor_store::Aws;
use lambda_http::Context;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::link;
use crate::app::App;
use crate::auth::Shown;
use crate::extract::{Asked, Asking, Named, id as parse_id};
use crate::problem::{Problem, Refused};
use crate::view::{LogLineView, LogPage};
use flow::{END, Flow, as_json, size};
use representation::Representation;
use tail::{Asker, MOST, Tail};

/// Lines of a page where the caller does not say.
const DEFAULT_LIMIT: u32 = 200;
/// The most lines of a page.
const MAX_LIMIT: u32 = 1_000;
/// The position after which a browser goes on by itself.
const LAST_EVENT_ID: &str = "last-event-id";
/// An answer that flows ends so long before its function would be ended.
const BEFORE_DEADLINE: Duration = Duration::from_secs(10);

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(logs))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// Only the lines of the operation with this id.
    operation: Option<String>,
    /// Only lines that matter at least so much; `info` where it is not given.
    level: Option<Level>,
    /// Where the last answer ended: its `nextCursor`, or the `id` of its last event.
    cursor: Option<String>,
    /// Of a page: 1 to 1000 lines; 200 where it is not given.
    limit: Option<u32>,
}

/// The log of a deployment: what became of it and of its operations, and what their runs said, by time, those of an
/// operation in their order.
#[utoipa::path(get, path = "/v1/deployments/{id}/logs", tag = "deployments",
    params(("id" = String, Path), LogQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, description = "By `Accept`: a page, events that follow the log to its end, or rows of text",
            content((LogPage = "application/json"), (String = "text/event-stream"), (String = "text/plain"))),
        (status = 204, description = "To who had the event `end`: there is nothing more, and no reason to ask again"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn logs(
    State(app): State<App>,
    Asking(caller): Asking,
    Extension(shown): Extension<Shown>,
    Named(id): Named<String>,
    Asked(query): Asked<LogQuery>,
    context: Option<Extension<Context>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let wanted = Representation::wanted(&headers)?;
    let (filter, limit) = (query.filter()?, query.limit()?);
    let Some(after) = query.after(wanted, &headers)? else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let reader = app.engine.log(&caller, id, filter, after).await?;
    let path = path(&app, id, filter);
    match wanted {
        Representation::Json => page(reader, limit).await,
        Representation::Flow(Flow::Text) if !app.config.streaming => text(reader, &path).await,
        Representation::Flow(flow) => {
            let until = until(&app, context);
            let asker = Asker::new(app, shown, caller.principal);
            Ok(Tail { reader, flow, asker, until, path }.answer())
        }
    }
}

impl LogQuery {
    fn filter(&self) -> Result<LogFilter, Refused> {
        let invalid = |_| Refused::new(Code::QueryInvalid, "operation is not the id of an operation");
        let operation = self.operation.as_deref().map(str::parse::<OperationId>).transpose().map_err(invalid)?;
        Ok(LogFilter { operation, level: self.level.unwrap_or_default() })
    }

    fn limit(&self) -> Result<usize, Refused> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit as usize),
            other => Err(Refused::new(Code::QueryInvalid, format!("limit is {other}; it must be 1 to {MAX_LIMIT}"))),
        }
    }

    /// Where to go on; none after the end. A browser that reconnects asks for the URL that it began with, so what it
    /// has had since then counts more than the URL.
    fn after(&self, wanted: Representation, headers: &HeaderMap) -> Result<Option<LogPosition>, Refused> {
        let events = wanted == Representation::Flow(Flow::Events);
        let (text, code) = match headers.get(LAST_EVENT_ID).filter(|_| events) {
            Some(value) => (value.to_str().ok(), Code::HeaderInvalid),
            None => (Some(self.cursor.as_deref().unwrap_or_default()), Code::CursorInvalid),
        };
        if events && text == Some(END) {
            return Ok(None);
        }
        let position = text.and_then(|text| text.parse().ok());
        position.map(Some).ok_or_else(|| Refused::new(code, "this is not a position that a log gave"))
    }
}

/// Where the rest of a log is to be asked for: a position is wanted at the end.
fn path(app: &App, id: DeploymentId, LogFilter { operation, level }: LogFilter) -> String {
    let operation = operation.map(|id| format!("&operation={id}")).unwrap_or_default();
    link(app, &format!("/v1/deployments/{id}/logs?level={level}{operation}&cursor="))
}

/// When an answer has to end that flows.
fn until(app: &App, context: Option<Extension<Context>>) -> Option<Duration> {
    let Extension(context) = context.filter(|_| app.config.streaming)?;
    let now = u64::try_from(app.engine.clock.now().as_millisecond()).unwrap_or_default();
    let left = Duration::from_millis(context.deadline.saturating_sub(now));
    Some(app.engine.clock.monotonic() + left.saturating_sub(BEFORE_DEADLINE))
}

/// What there is of a log, or as much of it as one answer takes.
struct Part {
    lines: Vec<LogLine>,
    /// Where the rest begins.
    next: LogPosition,
    /// Whether there is more by now.
    is_cut: bool,
    ended: Option<DeploymentStatus>,
}

/// Reads up to so many lines, whose sizes fit into an answer.
async fn read(reader: &mut LogReader<Aws>, limit: usize, size: impl Fn(&LogLine) -> usize) -> Result<Part, Error> {
    let (mut lines, mut room) = (Vec::<LogLine>::new(), MOST);
    loop {
        let read = reader.read().await?;
        let is_all = read.lines.is_empty();
        for line in read.lines {
            let size = size(&line);
            if let Some(last) = lines.last().filter(|_| lines.len() == limit || size > room) {
                return Ok(Part { next: last.id.clone(), lines, is_cut: true, ended: None });
            }
            room = room.saturating_sub(size);
            lines.push(line);
        }
        if is_all || read.ended.is_some() {
            return Ok(Part { next: reader.position().clone(), lines, is_cut: false, ended: read.ended });
        }
    }
}

async fn page(mut reader: LogReader<Aws>, limit: usize) -> Result<Response, Refused> {
    let part = read(&mut reader, limit, |line| size(&as_json(line))).await?;
    let items = part.lines.iter().map(LogLineView::from).collect();
    let next_cursor = part.ended.is_none().then(|| part.next.to_string());
    Ok(Json(LogPage { items, next_cursor, ended: part.ended }).into_response())
}

/// As rows, as far as they go by now; `path` wants the position of the rest at its end.
pub(crate) async fn text(mut reader: LogReader<Aws>, path: &str) -> Result<Response, Refused> {
    let part = read(&mut reader, usize::MAX, |line| size(&Flow::Text.line(line))).await?;
    let rows: String = part.lines.iter().map(|line| Flow::Text.line(line)).collect();
    let mut response = ([(header::CONTENT_TYPE, Flow::Text.content_type())], rows).into_response();
    if part.is_cut
        && let Ok(link) = HeaderValue::from_str(&format!("<{path}{}>; rel=\"next\"", part.next))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}
