//! What can be done from the dashboard: cancel, retry, tear down. Each has a page that says what will go and what will
//! stay, and a form on it that does it.
//!
//! It decides nothing: what a page foretells is the engine's dry run, or how things stand. That no other site sends a
//! form of ours is seen to for all routes at once.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use conductor_domain::Code;
use conductor_domain::consumer::{ConsumerKey, Holding};
use conductor_domain::deployment::{Cancel, Deployment, DeploymentKind, Rollback};
use conductor_domain::ids::DeploymentId;
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::{Action, Operation, OperationStatus, Prospect, ReleaseRequest, Request as Asks};
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
/// What a cancel does, in words.
const STOPS: &str = "It gets time to store its state. What it creates goes then, whole or half made, unless you \
    keep it; other changes are not undone.";
const GOES: &str = "The deployment created it, whole or half, or linked to it.";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/deployments/{id}/cancel", get(ask_cancel).post(cancel))
        .route("/deployments/{id}/retry", get(ask_retry).post(retry))
        .route("/applications/{application}/environments/{environment}/teardown", get(ask_teardown).post(teardown))
}

/// The fields of a form.
struct Sent(Vec<(String, String)>);

impl FromRequest<App> for Sent {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
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

    /// The form's own key: sent twice, it makes one deployment. `request`: everything that makes it the same one.
    fn key(&self, request: &str) -> Option<IdempotencyKey> {
        let key = self.one("key").filter(|key| !key.is_empty())?.to_owned();
        Some(IdempotencyKey { key, request: hex::encode(Sha256::digest(request)) })
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
    let (made, environment) = tokio::try_join!(
        app.engine.made_by(&caller, deployment),
        app.engine.environment(&caller, &deployment.lane.environment),
    )?;
    let standing = Standing {
        deployment,
        operations: &view.operations,
        made: &made,
        is_protected: environment.spec.protected,
        now: app.engine.clock.now(),
    };
    Ok(shown(&app, "Cancel", cancel_page(&standing, &|path| href(&app, path))))
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
    let submitted = app.engine.retry(&caller, id, sent.key(&format!("retry {id}"))).await?;
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
    let request = TeardownRequest { environment, application, workload, allow_destroy: Vec::new(), idempotency: None };
    let run = app.engine.dry_run_teardown(&caller, request.clone()).await?;
    let key = app.engine.clock.fresh_id().to_string();
    Ok(shown(&app, "Tear down", teardown_page(&request, &run, &key, &|path| href(&app, path))))
}

async fn teardown(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((application, environment)): Named<(ApplicationName, EnvironmentName)>,
    sent: Sent,
) -> Result<Response, Refused> {
    let workload = workload(sent.one("workload").filter(|name| !name.is_empty()))?;
    let allow_destroy = sent.all("allowDestroy");
    let idempotency = sent.key(&format!("teardown {application} {environment} {workload:?} {allow_destroy:?}"));
    let request = TeardownRequest { environment, application, workload, allow_destroy, idempotency };
    let submitted = app.engine.teardown(&caller, request).await?;
    Ok(see(&app, submitted.deployment))
}

fn workload(name: Option<&str>) -> Result<Option<WorkloadName>, Refused> {
    let name = name.map(WorkloadName::new).transpose();
    name.map_err(|error| Refused::new(Code::NameInvalid, error.to_string()))
}

/// What a cancel is told from: how things stand.
struct Standing<'a> {
    deployment: &'a Deployment,
    operations: &'a [Operation],
    /// What a rollback lets go of.
    made: &'a [Holding],
    /// Whether the environment is protected.
    is_protected: bool,
    now: Timestamp,
}

/// What a cancel does with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It runs, and is stopped.
    Stops,
    /// It has not begun, and does not.
    NeverStarts,
    /// What it made or linked, wholly or in part, is let go of, if that is asked for.
    Goes,
    /// What it did, wholly or in part, is not undone.
    Stays,
    /// It did nothing that could stay.
    Nothing,
}

/// `is_held`: the workload holds something because of it, half made or whole.
fn fate(operation: &Operation, is_held: bool) -> Fate {
    let has_run = operation.attempts > 0;
    match operation.status {
        OperationStatus::Running => Fate::Stops,
        _ if is_held => Fate::Goes,
        OperationStatus::Succeeded => Fate::Stays,
        _ if has_run => Fate::Stays,
        OperationStatus::Waiting | OperationStatus::Ready => Fate::NeverStarts,
        OperationStatus::Failed | OperationStatus::Cancelled | OperationStatus::TimedOut | OperationStatus::Skipped => {
            Fate::Nothing
        }
    }
}

fn cancel_page(standing: &Standing<'_>, to: Links<'_>) -> Markup {
    let Standing { deployment, operations, made, is_protected, now } = *standing;
    let path = format!("/deployments/{}", deployment.id);
    let held: BTreeSet<&str> = made.iter().map(|holding| holding.key.resource.as_str()).collect();
    let is_held = |one: &Operation| one.action() == Action::Acquire && held.contains(one.resource.as_str());
    let of = |wanted: Fate| -> Vec<&Operation> {
        operations.iter().filter(|operation| fate(operation, is_held(operation)) == wanted).collect()
    };
    html! {
        (title("Cancel", deployment, to))
        @if operations.is_empty() {
            p { "It has not begun. Nothing was made, and nothing goes." }
        } @else {
            div.fates {
                (list("Stops now", STOPS, &of(Fate::Stops)))
                (list("Does not start", "Nothing was made for it.", &of(Fate::NeverStarts)))
                (list("Goes, unless you keep it", GOES, &of(Fate::Goes)))
                (list("Stays", "Changes are not undone, also where they were not finished.", &of(Fate::Stays)))
            }
            @if is_protected {
                div.notice.warning {
                    p {
                        "The environment is protected: what would be destroyed stays, also what is half made, unless "
                        "the deployment was asked for with an allowDestroy that names it."
                    }
                }
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

fn teardown_page(request: &TeardownRequest, run: &DryRun, key: &str, to: Links<'_>) -> Markup {
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
                                (allowance(&seen.operation))
                            }
                        }
                    }
                }
                @if let Some(workload) = workload { input type="hidden" name="workload" value=(workload); }
                input type="hidden" name="key" value=(key);
                (buttons(does, &back, to))
            }
        }
    }
}

/// A box that lets one resource be destroyed: by its id, as another workload may have the same name in its file.
fn allowance(operation: &Operation) -> Markup {
    let Some(ReleaseRequest { resource, .. }) = release(operation) else { return html! {} };
    html! {
        label.check {
            input type="checkbox" name="allowDestroy" value=(resource);
            span { (released(operation)) }
        }
    }
}

fn release(operation: &Operation) -> Option<&ReleaseRequest> {
    match &operation.request {
        Asks::Release(request) => Some(request),
        Asks::Acquire(_) => None,
    }
}

/// What is let go of, and by which workload.
fn released(operation: &Operation) -> Markup {
    let consumer = release(operation).and_then(|request| request.consumer.as_ref());
    html! {
        (operation.resource) " "
        small {
            (operation.kind)
            @if let Some((_, _, workload)) = consumer.and_then(ConsumerKey::workload) { " · " (workload) }
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
                            (released(operation))
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
    use conductor_domain::consumer::HoldingKey;
    use conductor_domain::identity::Mode;
    use conductor_domain::operation::{Failure, Reason};
    use jiff::SignedDuration;

    use super::super::deployment::tests::{deployment, operation};
    use super::super::resources::tests::{HOSTILE, assert_escaped, id, links, now};
    use super::*;

    #[test]
    fn a_cancel_says_what_becomes_of_each_operation() {
        let check = |status: &str, attempts: u32, is_held: bool, expect: Fate| {
            let found = fate(&Operation { attempts, ..operation(1, status, &[]) }, is_held);
            assert_eq!(found, expect, "{status} {attempts} {is_held}");
        };
        check("Running", 1, false, Fate::Stops);
        check("Running", 1, true, Fate::Stops);
        check("Waiting", 0, false, Fate::NeverStarts);
        check("Ready", 0, false, Fate::NeverStarts);
        // Begun, and to be gone on with.
        check("Ready", 1, true, Fate::Goes);
        check("Waiting", 1, false, Fate::Stays);
        check("Succeeded", 1, true, Fate::Goes);
        check("Succeeded", 0, true, Fate::Goes);
        check("Succeeded", 1, false, Fate::Stays);
        // Half made, and half changed.
        check("Failed", 1, true, Fate::Goes);
        check("Failed", 1, false, Fate::Stays);
        check("TimedOut", 3, true, Fate::Goes);
        check("Failed", 0, false, Fate::Nothing);
        check("Skipped", 0, false, Fate::Nothing);
    }

    /// What the deployment has taken under these names.
    fn held(names: &[&str]) -> Vec<Holding> {
        let holding = |name: &&str| Holding {
            key: holder("web", name),
            resource: id(7),
            kind: "postgres".to_owned(),
            mode: Mode::Dedicated,
            deployment: deployment("InProgress").id,
            asked: None,
        };
        names.iter().map(holding).collect()
    }

    fn holder(workload: &str, resource: &str) -> HoldingKey {
        HoldingKey {
            environment: "staging".parse().expect("a name"),
            application: "orders".parse().expect("a name"),
            workload: workload.parse().expect("a name"),
            resource: resource.to_owned(),
        }
    }

    fn cancel_page_of(deployment: &Deployment, operations: &[Operation], made: &[Holding], protected: bool) -> Markup {
        let standing = Standing { deployment, operations, made, is_protected: protected, now: now() };
        cancel_page(&standing, &links)
    }

    #[test]
    fn a_cancel_does_not_hide_that_what_is_half_made_goes() {
        let operations = [operation(1, "Failed", &[]), operation(2, "Failed", &[])];
        let page = |protected: bool| {
            cancel_page_of(&deployment("InProgress"), &operations, &held(&["database-1"]), protected).into_string()
        };
        let (open, protected) = (page(false), page(true));
        let (_, goes) = open.split_once("<h2>Goes, unless you keep it").expect("what goes");
        let (goes, stays) = goes.split_once("<h2>Stays").expect("what stays");
        assert!(goes.contains("database-1") && !goes.contains("database-2"), "{goes}");
        assert!(stays.contains("database-2"), "{stays}");
        assert!(protected.contains("The environment is protected") && !open.contains("is protected"), "{protected}");
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
            let page = cancel_page_of(&deployment, &[], &[], false).into_string();
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
            idempotency: None,
        }
    }

    fn page_of(operations: Vec<Foreseen>) -> Markup {
        let run = DryRun { deployment: deployment("Succeeded"), operations, waits_for: Vec::new() };
        teardown_page(&request(), &run, "0189", &links)
    }

    /// The release of a resource that a workload has under the name `db`.
    fn release_of(number: u128, workload: &str) -> Operation {
        let consumer = Some(ConsumerKey::Workload(holder(workload, "db")));
        let request = Asks::Release(ReleaseRequest { resource: id(number), consumer });
        Operation { resource: "db".to_owned(), request, ..operation(1, "Failed", &[]) }
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
            .map(|(number, (prospect, code))| foreseen_as(prospect, code, release_of(number, "web")))
            .collect();
        let page = page_of(operations).into_string();
        for expect in [
            "<h2>Goes <span class=\"quiet\">1</span></h2>",
            "<h2>Stays <span class=\"quiet\">2</span></h2>",
            "<h2>Protected <span class=\"quiet\">1</span></h2>",
            "<h2>Does not succeed <span class=\"quiet\">1</span></h2>",
            "<input type=\"checkbox\" name=\"allowDestroy\" value=\"00000000-0000-0000-0000-000000000004\">",
            "<input type=\"hidden\" name=\"workload\" value=\"web\">",
            "<input type=\"hidden\" name=\"key\" value=\"0189\">",
        ] {
            assert!(page.contains(expect), "{expect}: {page}");
        }
        let nothing = page_of(Vec::new()).into_string();
        assert!(nothing.contains("nothing to let go of") && !nothing.contains("<form"), "{nothing}");
    }

    #[test]
    fn of_two_resources_with_one_name_each_has_a_box_of_its_own_with_its_workload() {
        let protected = |number: u128, workload: &str| {
            foreseen_as(Prospect::Failed, Some(Code::EnvironmentProtected), release_of(number, workload))
        };
        let page = page_of(vec![protected(1, "web"), protected(2, "worker")]).into_string();
        for (number, workload) in [(1, "web"), (2, "worker")] {
            let expect = format!(
                "name=\"allowDestroy\" value=\"{}\"><span>db <small>postgres · {workload}</small></span>",
                id(number)
            );
            assert!(page.contains(&expect), "{expect}: {page}");
        }
    }

    #[test]
    fn a_form_that_is_sent_again_is_the_same_request_unless_something_else_is_ticked() {
        let sent = |key: &str| Sent(vec![("key".to_owned(), key.to_owned())]);
        assert_eq!(sent("k").key("teardown [1]"), sent("k").key("teardown [1]"));
        assert_ne!(sent("k").key("teardown [1]"), sent("k").key("teardown [1, 2]"));
        assert_eq!((sent("").key("x"), Sent(Vec::new()).key("x")), (None, None));
    }

    #[test]
    fn names_are_shown_as_text() {
        let hostile = |status: &str| Operation { resource: HOSTILE.to_owned(), ..operation(1, status, &[]) };
        assert_escaped(&cancel_page_of(&deployment("InProgress"), &[hostile("Running")], &[], false));
        assert_escaped(&retry_page(&deployment("Failed"), &[hostile("Failed")], "k", &links));
        let protected = Some(Code::EnvironmentProtected);
        let hostile_release = Operation { resource: HOSTILE.to_owned(), ..release_of(1, "web") };
        assert_escaped(&page_of(vec![foreseen_as(Prospect::Failed, protected, hostile_release)]));
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
