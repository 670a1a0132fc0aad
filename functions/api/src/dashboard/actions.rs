//! What can be done from the dashboard: cancel, retry, tear down. Each has a page that says what will go and what will
//! stay, and a form on it that does it.
//!
//! It decides nothing: what a page foretells is the engine's dry run, or how things stand.

use axum::Router;
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use conductor_domain::Code;
use conductor_domain::deployment::{Cancel, Deployment, DeploymentKind, Rollback};
use conductor_domain::ids::DeploymentId;
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::{Effect, Operation, OperationStatus, Prospect};
use conductor_engine::port::Clock;
use conductor_engine::{CancelRequest, DryRun, Foreseen, IdempotencyKey, TeardownRequest};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::deployment::explained;
use super::deployments::{name, retryable};
use super::page::{Page, Section, badge, href, query, render, seconds, words};
use super::resources::{Links, given};
use crate::app::App;
use crate::extract::{Asked, Asking, Named, id as parse_id};
use crate::problem::Refused;

/// How long after a cancel it can be forced, in seconds.
const FORCE_AFTER: i64 = 30;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/deployments/{id}/cancel", get(ask_cancel).post(cancel))
        .route("/deployments/{id}/retry", get(ask_retry).post(retry))
        .route("/applications/{application}/environments/{environment}/teardown", get(ask_teardown).post(teardown))
}

/// The fields of a form of ours: no other site's page may have sent it.
struct Sent(Vec<(String, String)>);

impl FromRequest<App> for Sent {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        if !is_ours(request.headers(), request.uri()) {
            return Err(Refused::new(Code::CrossSiteRefused, Code::CrossSiteRefused.title()));
        }
        let form = Form::<Vec<(String, String)>>::from_request(request, app).await;
        form.map(|Form(fields)| Self(fields)).map_err(|error| Refused::new(Code::BodyInvalid, error.body_text()))
    }
}

impl Sent {
    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone()).collect()
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a page of ours sent the request, by what a browser says and no page can change. What is no browser says
/// neither, and carries nobody's right to be here but its own.
fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text("host").or_else(|| uri.authority().map(|authority| authority.as_str()));
    match (text("sec-fetch-site"), text("origin")) {
        // A proxy may have changed the host, and this knows better.
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, from)| Some(from) == host),
        (None, None) => true,
    }
}

/// Where the browser goes on, with a GET.
fn see(app: &App, id: DeploymentId) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, href(app, format!("/deployments/{id}")))]).into_response()
}

fn shown(app: &App, title: &str, body: Markup) -> Response {
    render(Page { app, title, section: Section::Deployments, live: false, body })
}

async fn ask_cancel(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let view = app.engine.deployment(&caller, id).await?;
    let deployment = &view.deployment.value;
    if deployment.status.is_final() {
        let detail = format!("the deployment has ended: {}", words(deployment.status));
        return Err(Refused::new(Code::DeploymentFinished, detail));
    }
    let body = cancel_page(deployment, &view.operations, app.engine.clock.now(), &|path| href(&app, path));
    Ok(shown(&app, "Cancel", body))
}

async fn cancel(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    sent: Sent,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let rollback = match sent.one("rollback") {
        Some("created") | None => Rollback::Created,
        Some("none") => Rollback::None,
        Some(other) => {
            return Err(Refused::at(Code::BodyInvalid, "/rollback", format!("{other:?} is not created or none")));
        }
    };
    let force = sent.one("force") == Some("true");
    app.engine.cancel(&caller, id, CancelRequest { rollback, force }).await?;
    Ok(see(&app, id))
}

async fn ask_retry(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let view = app.engine.deployment(&caller, id).await?;
    let deployment = &view.deployment.value;
    if !retryable(deployment) {
        return Err(Refused::new(Code::NotRetryable, Code::NotRetryable.title()));
    }
    let key = app.engine.clock.fresh_id().to_string();
    let body = retry_page(deployment, &view.operations, &key, &|path| href(&app, path));
    Ok(shown(&app, "Retry", body))
}

async fn retry(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    sent: Sent,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    // A form that is sent twice makes one deployment.
    let key = sent
        .one("key")
        .filter(|key| !key.is_empty())
        .map(|key| IdempotencyKey { key: key.to_owned(), request: hex::encode(Sha256::digest(format!("retry {id}"))) });
    let submitted = app.engine.retry(&caller, id, key).await?;
    Ok(see(&app, submitted.deployment))
}

#[derive(Debug, Deserialize)]
struct TeardownQuery {
    workload: Option<String>,
}

async fn ask_teardown(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((application, environment)): Named<(ApplicationName, EnvironmentName)>,
    Asked(asked): Asked<TeardownQuery>,
) -> Result<Response, Refused> {
    let workload = workload(given(&asked.workload))?;
    let request = TeardownRequest { environment, application, workload, allow_destroy: Vec::new() };
    let run = app.engine.dry_run_teardown(&caller, request.clone()).await?;
    Ok(shown(&app, "Tear down", teardown_page(&request, &run, &|path| href(&app, path))))
}

async fn teardown(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((application, environment)): Named<(ApplicationName, EnvironmentName)>,
    sent: Sent,
) -> Result<Response, Refused> {
    let workload = workload(sent.one("workload").filter(|name| !name.is_empty()))?;
    let request = TeardownRequest { environment, application, workload, allow_destroy: sent.all("allowDestroy") };
    let submitted = app.engine.teardown(&caller, request).await?;
    Ok(see(&app, submitted.deployment))
}

fn workload(name: Option<&str>) -> Result<Option<WorkloadName>, Refused> {
    let name = name.map(WorkloadName::new).transpose();
    name.map_err(|error| Refused::new(Code::NameInvalid, error.to_string()))
}

/// What a cancel does with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It runs, and is stopped.
    Stops,
    /// It has not begun, and does not.
    NeverStarts,
    /// What it made or linked is let go of, if that is asked for.
    Goes,
    /// What it did is not undone.
    Stays,
    /// It did nothing that could stay.
    Nothing,
}

fn fate(operation: &Operation) -> Fate {
    match (operation.status, operation.effect) {
        (OperationStatus::Running, _) => Fate::Stops,
        (OperationStatus::Waiting | OperationStatus::Ready, _) => Fate::NeverStarts,
        (OperationStatus::Succeeded, Some(Effect::Created | Effect::Linked)) => Fate::Goes,
        (OperationStatus::Succeeded, _) => Fate::Stays,
        (
            OperationStatus::Failed | OperationStatus::Cancelled | OperationStatus::TimedOut | OperationStatus::Skipped,
            _,
        ) => Fate::Nothing,
    }
}

fn cancel_page(deployment: &Deployment, operations: &[Operation], now: Timestamp, to: Links<'_>) -> Markup {
    let path = format!("/deployments/{}", deployment.id);
    let of =
        |wanted: Fate| -> Vec<&Operation> { operations.iter().filter(|operation| fate(operation) == wanted).collect() };
    html! {
        (title("Cancel", deployment, to))
        @if operations.is_empty() {
            p { "It has not begun. Nothing was made, and nothing goes." }
        } @else {
            div.fates {
                (list("Stops now", "It gets time to store its state.", &of(Fate::Stops)))
                (list("Does not start", "Nothing was made for it.", &of(Fate::NeverStarts)))
                (list("Goes, unless you keep it", "The deployment created it or linked to it.", &of(Fate::Goes)))
                (list("Stays", "Changes are not undone.", &of(Fate::Stays)))
            }
        }
        @match &deployment.cancel {
            None => (cancel_form(&path, to)),
            Some(cancel) => (force_form(cancel, now, &path, to)),
        }
    }
}

fn cancel_form(path: &str, to: Links<'_>) -> Markup {
    html! {
        form.confirm method="post" action=(to(&format!("{path}/cancel"))) {
            fieldset {
                legend { "What the deployment created or linked" }
                label.check {
                    input type="radio" name="rollback" value="created" checked;
                    span { "is let go of: what nobody else uses is destroyed" }
                }
                label.check {
                    input type="radio" name="rollback" value="none";
                    span { "stays" }
                }
            }
            (buttons("Cancel the deployment", path, to))
        }
    }
}

/// The second request, some seconds after the first.
fn force_form(cancel: &Cancel, now: Timestamp, path: &str, to: Links<'_>) -> Markup {
    let action = to(&format!("{path}/cancel"));
    let since = now.duration_since(cancel.requested_at).as_secs();
    html! {
        @if cancel.forced_at.is_some() {
            p { "It was cancelled, and that was forced. What ran is killed; what it leaves is seen to." }
            p { a.button href=(to(path)) { "Back" } }
        } @else if since < FORCE_AFTER {
            p {
                "It was cancelled " (seconds(since)) " ago, and what runs has time to store its state. "
                "In " (seconds(FORCE_AFTER - since)) " this can be forced."
            }
            p { a.button href=(action) { "Look again" } " " a href=(to(path)) { "Back" } }
        } @else {
            form.confirm method="post" action=(action) {
                p {
                    "It was cancelled " (seconds(since)) " ago. What still runs can be killed: then its last changes "
                    "may be in no state, and somebody has to look at them."
                }
                input type="hidden" name="force" value="true";
                (buttons("Kill what still runs", path, to))
            }
        }
    }
}

fn retry_page(deployment: &Deployment, operations: &[Operation], key: &str, to: Links<'_>) -> Markup {
    let path = format!("/deployments/{}", deployment.id);
    let (done, open): (Vec<&Operation>, Vec<&Operation>) =
        operations.iter().partition(|operation| operation.status == OperationStatus::Succeeded);
    let what = match deployment.kind {
        DeploymentKind::Apply => "The same file is deployed again, in a new deployment.",
        DeploymentKind::Teardown | DeploymentKind::Release | DeploymentKind::Pool => {
            "The same is let go of again, in a new deployment."
        }
    };
    html! {
        (title("Retry", deployment, to))
        p { (what) " It does not start where a later deployment has taken its place." }
        div.fates {
            (list("Is gone on with", "It did not succeed.", &open))
            (list("Stays as it is", "It succeeded. If nobody has changed it since, nothing is to do.", &done))
        }
        form.confirm method="post" action=(to(&format!("{path}/retry"))) {
            input type="hidden" name="key" value=(key);
            (buttons("Try again", &path, to))
        }
    }
}

fn title(what: &str, deployment: &Deployment, to: Links<'_>) -> Markup {
    html! {
        p.over {
            a href=(to(&format!("/deployments/{}", deployment.id))) { "Deployment" } " " (badge(deployment.status))
        }
        h1 { (what) " " (name(deployment)) " in " (deployment.lane.environment) "?" }
    }
}

/// Operations that meet the same fate; nothing where there are none.
fn list(title: &str, why: &str, operations: &[&Operation]) -> Markup {
    html! {
        @if !operations.is_empty() {
            section.fate {
                h2 { (title) " " span.quiet { (operations.len()) } }
                p.quiet { (why) }
                ul {
                    @for operation in operations { li { (operation.resource) " " small { (operation.kind) } } }
                }
            }
        }
    }
}

fn buttons(does: &str, back: &str, to: Links<'_>) -> Markup {
    html! {
        p.buttons {
            button.danger type="submit" { (does) }
            a.button href=(to(back)) { "Back" }
        }
    }
}

fn teardown_page(request: &TeardownRequest, run: &DryRun, to: Links<'_>) -> Markup {
    let TeardownRequest { environment, application, workload, .. } = request;
    let path = format!("/applications/{application}/environments/{environment}/teardown");
    let workload = workload.as_ref().map(|workload| workload.as_str());
    let of = |wanted: fn(&Foreseen) -> bool| -> Vec<&Foreseen> {
        run.operations.iter().filter(|seen| wanted(seen)).collect()
    };
    let kept = of(is_protected);
    let does = if kept.is_empty() { "Tear down" } else { "Tear down what may go" };
    let back = query("/deployments", &[("application", Some(application.as_str()))]);
    html! {
        p.over { a href=(to(&format!("/applications/{application}"))) { (application) } }
        h1 {
            "Tear down " @if let Some(workload) = workload { (workload) " of " }
            (application) " in " (environment) "?"
        }
        @if !run.waits_for.is_empty() {
            div.notice.warning {
                p {
                    "It would wait for " (run.waits_for.len()) " unfinished deployments of " (application)
                    ", and what they will change is not foreseen here."
                }
            }
        }
        @if run.operations.is_empty() {
            p { "There is nothing to let go of." }
            p { a.button href=(to(&back)) { "Back" } }
        } @else {
            form.confirm method="post" action=(to(&path)) {
                div.fates {
                    (foreseen("Goes", "It is destroyed.", &of(goes)))
                    (foreseen("Stays", "Somebody else uses it, or it is to outlive its consumers.", &of(stays)))
                    (foreseen("Does not succeed", "As things are, this fails or is left out.", &of(fails)))
                    @if !kept.is_empty() {
                        section.fate {
                            h2 { "Protected " span.quiet { (kept.len()) } }
                            p.quiet { "The environment is protected: only what you tick here is destroyed." }
                            @for seen in kept {
                                label.check {
                                    input type="checkbox" name="allowDestroy" value=(seen.operation.resource);
                                    span { (seen.operation.resource) " " small { (seen.operation.kind) } }
                                }
                            }
                        }
                    }
                }
                @if let Some(workload) = workload { input type="hidden" name="workload" value=(workload); }
                (buttons(does, &back, to))
            }
        }
    }
}

fn is_protected(seen: &Foreseen) -> bool {
    seen.operation.error.as_ref().is_some_and(|error| error.code == Code::EnvironmentProtected)
}

/// The likeliest end of an operation.
fn likely(seen: &Foreseen) -> Option<Prospect> {
    seen.prospects.first().copied()
}

fn goes(seen: &Foreseen) -> bool {
    likely(seen) == Some(Prospect::Destroyed)
}

fn fails(seen: &Foreseen) -> bool {
    let fails = matches!(likely(seen), Some(Prospect::Failed | Prospect::Conflict | Prospect::Skipped) | None);
    fails && !is_protected(seen)
}

fn stays(seen: &Foreseen) -> bool {
    !goes(seen) && !fails(seen) && !is_protected(seen)
}

/// Operations of a dry run that end alike; nothing where there are none.
fn foreseen(title: &str, why: &str, operations: &[&Foreseen]) -> Markup {
    html! {
        @if !operations.is_empty() {
            section.fate {
                h2 { (title) " " span.quiet { (operations.len()) } }
                p.quiet { (why) }
                ul {
                    @for Foreseen { operation, prospects, decided_by } in operations {
                        li {
                            (operation.resource) " " small { (operation.kind) }
                            @if let Some(error) = &operation.error {
                                div.quiet { code { (error.code) } " " (error.detail) }
                            }
                            @if let Some(reason) = &operation.reason {
                                div.quiet { (reason.text) }
                                (explained(reason))
                            }
                            @if prospects.len() > 1 {
                                div.quiet { "It may also be " (others(prospects)) ": " (decided_by.join(", ")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn others(prospects: &[Prospect]) -> String {
    let others: Vec<String> = prospects.iter().skip(1).map(|prospect| words(prospect).to_lowercase()).collect();
    others.join(", ")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use conductor_domain::operation::{Failure, Reason};
    use jiff::SignedDuration;

    use super::super::deployment::tests::{deployment, operation};
    use super::super::resources::tests::{HOSTILE, assert_escaped, links, now};
    use super::*;

    #[test]
    fn a_form_of_another_site_is_not_ours() {
        let check = |headers: &[(&'static str, &'static str)], expect: bool| {
            let pairs =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let map: HeaderMap = pairs.collect();
            assert_eq!(is_ours(&map, &Uri::from_static("/deployments/x/cancel")), expect, "{headers:?}");
        };
        check(&[], true);
        check(&[("host", "a.example")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        for site in ["cross-site", "same-site", "none"] {
            check(&[("sec-fetch-site", site), ("host", "a.example"), ("origin", "https://a.example")], false);
        }
        check(&[("host", "a.example"), ("origin", "https://a.example")], true);
        check(&[("host", "a.example:8080"), ("origin", "http://a.example:8080")], true);
        check(&[("host", "a.example"), ("origin", "https://b.example")], false);
        check(&[("host", "a.example"), ("origin", "https://a.example:8080")], false);
        check(&[("host", "a.example"), ("origin", "null")], false);
        check(&[("origin", "https://a.example")], false);
    }

    #[test]
    fn a_cancel_says_what_becomes_of_each_operation() {
        let check = |status: &str, effect: Option<Effect>, expect: Fate| {
            assert_eq!(fate(&Operation { effect, ..operation(1, status, &[]) }), expect, "{status} {effect:?}");
        };
        check("Running", None, Fate::Stops);
        check("Waiting", None, Fate::NeverStarts);
        check("Ready", None, Fate::NeverStarts);
        check("Succeeded", Some(Effect::Created), Fate::Goes);
        check("Succeeded", Some(Effect::Linked), Fate::Goes);
        check("Succeeded", Some(Effect::Updated), Fate::Stays);
        check("Succeeded", Some(Effect::Destroyed), Fate::Stays);
        check("Failed", None, Fate::Nothing);
        check("Skipped", None, Fate::Nothing);
    }

    fn cancelled(seconds: i64, forced_at: Option<Timestamp>) -> Deployment {
        let cancel = Cancel {
            requested_at: now() - SignedDuration::from_secs(seconds),
            requested_by: "local".to_owned(),
            rollback: Rollback::Created,
            forced_at,
            rolls_back_after: None,
            outcome: None,
            left: Vec::new(),
        };
        Deployment { cancel: Some(cancel), ..deployment("InProgress") }
    }

    #[test]
    fn a_cancel_can_be_forced_once_and_not_too_soon() {
        let check = |deployment: Deployment, rollback: bool, force: bool| {
            let page = cancel_page(&deployment, &[], now(), &links).into_string();
            let found = (page.contains("name=\"rollback\""), page.contains("name=\"force\""));
            assert_eq!(found, (rollback, force), "{page}");
        };
        check(deployment("InProgress"), true, false);
        check(cancelled(29, None), false, false);
        check(cancelled(30, None), false, true);
        check(cancelled(60, Some(now())), false, false);
    }

    fn foreseen_as(prospect: Prospect, code: Option<Code>, operation: Operation) -> Foreseen {
        let error = code.map(|code| Failure::new(code, "why"));
        Foreseen { operation: Operation { error, ..operation }, prospects: vec![prospect], decided_by: Vec::new() }
    }

    fn request() -> TeardownRequest {
        TeardownRequest {
            environment: "staging".parse().expect("a name"),
            application: "orders".parse().expect("a name"),
            workload: Some("web".parse().expect("a name")),
            allow_destroy: Vec::new(),
        }
    }

    fn page_of(operations: Vec<Foreseen>) -> Markup {
        let run = DryRun { deployment: deployment("Succeeded"), operations, waits_for: Vec::new() };
        teardown_page(&request(), &run, &links)
    }

    #[test]
    fn a_teardown_says_what_goes_what_stays_and_what_is_protected() {
        let all = [
            (Prospect::Destroyed, None),
            (Prospect::Retained, None),
            (Prospect::Released, None),
            (Prospect::Failed, Some(Code::EnvironmentProtected)),
            (Prospect::Skipped, None),
        ];
        let operations: Vec<Foreseen> = (1..)
            .zip(all)
            .map(|(number, (prospect, code))| foreseen_as(prospect, code, operation(number, "Succeeded", &[])))
            .collect();
        let page = page_of(operations).into_string();
        for expect in [
            "<h2>Goes <span class=\"quiet\">1</span></h2>",
            "<h2>Stays <span class=\"quiet\">2</span></h2>",
            "<h2>Protected <span class=\"quiet\">1</span></h2>",
            "<h2>Does not succeed <span class=\"quiet\">1</span></h2>",
            "<input type=\"checkbox\" name=\"allowDestroy\" value=\"database-4\">",
            "<input type=\"hidden\" name=\"workload\" value=\"web\">",
        ] {
            assert!(page.contains(expect), "{expect}: {page}");
        }
        let nothing = page_of(Vec::new()).into_string();
        assert!(nothing.contains("nothing to let go of") && !nothing.contains("<form"), "{nothing}");
    }

    #[test]
    fn names_are_shown_as_text() {
        let hostile = |status: &str| Operation { resource: HOSTILE.to_owned(), ..operation(1, status, &[]) };
        assert_escaped(&cancel_page(&deployment("InProgress"), &[hostile("Running")], now(), &links));
        assert_escaped(&retry_page(&deployment("Failed"), &[hostile("Failed")], "k", &links));
        let protected = Some(Code::EnvironmentProtected);
        assert_escaped(&page_of(vec![foreseen_as(Prospect::Failed, protected, hostile("Failed"))]));
        let reason = Some(Reason { text: HOSTILE.to_owned(), ..Reason::default() });
        let told = Operation { reason, ..operation(1, "Succeeded", &[]) };
        assert_escaped(&page_of(vec![foreseen_as(Prospect::Destroyed, None, told)]));
    }

    #[test]
    fn a_retry_is_sent_with_a_key_of_its_own() {
        let page = retry_page(&deployment("Failed"), &[], "0189", &links).into_string();
        assert!(page.contains("<input type=\"hidden\" name=\"key\" value=\"0189\">"), "{page}");
    }
}
