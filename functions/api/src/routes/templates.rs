//! `/v1/resource-templates`

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::code::Fault;
use conductor_domain::operation::{ExecutorKind, Limits};
use conductor_domain::score::SERVICE_TYPE;
use conductor_domain::template::policy;
use conductor_domain::template::{Input, Interface, Output, ProviderNeed, TemplateName, TemplateState, ValueType};
use conductor_engine::{Error, NewVersion, TemplateChange};
use conductor_terraform::engine::Engine;
use conductor_terraform::module::{self, ModuleError, What};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, PageQuery, etag, location};
use crate::app::App;
use crate::extract::{Asked, Asking, Body, IfMatch, MAX_ARCHIVE, Named, bytes, content_type, limit};
use crate::problem::{Problem, Refused};
use crate::view::{TemplateVersionView, TemplateView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(versions)).routes(routes!(put, get, patch))
}

/// All templates.
#[utoipa::path(get, path = "/v1/resource-templates", tag = "templates", params(PageQuery),
    responses((status = 200, body = ListOf<TemplateView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(page): Asked<PageQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.templates(&caller, page.cursor, limit(page.limit)?).await?;
    let items: Vec<_> = list.items.into_iter().map(|read| TemplateView::from(read.value)).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

/// All versions of a template, newest first.
#[utoipa::path(get, path = "/v1/resource-templates/{type}/versions", tag = "templates",
    params(("type" = String, Path, description = "`<type>` or `<type>.<class>`")),
    responses((status = 200, body = ListOf<TemplateVersionView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn versions(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<TemplateName>,
) -> Result<Response, Refused> {
    let versions = app.engine.template_versions(&caller, &name).await?;
    let items: Vec<_> = versions.into_iter().map(|read| TemplateVersionView::from(read.value)).collect();
    Ok(Json(ListOf { items, next_cursor: None }).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PublishQuery {
    /// Which program runs it: `terraform` or `tofu`; `terraform` where it is not given.
    engine: Option<String>,
}

/// Publishes a version: a zip archive of a terraform module. Immutable from then on.
#[utoipa::path(put, path = "/v1/resource-templates/{type}/versions/{version}", tag = "templates",
    params(("type" = String, Path), ("version" = String, Path), PublishQuery),
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses((status = 200, body = TemplateVersionView), (status = 201, body = TemplateVersionView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((name, version)): Named<(TemplateName, String)>,
    Asked(query): Asked<PublishQuery>,
    request: Request,
) -> Result<Response, Refused> {
    if name.kind() == SERVICE_TYPE {
        return Err(Refused::new(Code::NameInvalid, "the type service names other workloads; it has no template"));
    }
    let version = semantic(&version)?;
    let engine = query.engine.map_or(Ok(Engine::default()), |engine| engine.parse::<Engine>());
    let engine = engine.map_err(|error| Refused::new(Code::QueryInvalid, error.to_string()))?;
    if content_type(request.headers()) != Some("application/zip") {
        return Err(Refused::new(Code::MediaTypeUnsupported, "this route takes application/zip"));
    }
    let archive = bytes(request, &app, MAX_ARCHIVE, Code::TemplateTooLarge).await?.to_vec();
    let (module, uses) = module::inspect(&archive, &module::Limits::default(), engine).map_err(refuse)?;
    let engine_version = module.interface.required_version.clone().unwrap_or_default();
    let sha256 = hex::encode(Sha256::digest(&archive));
    let interface = interface(module.interface)?;
    let new = NewVersion {
        template: name.clone(),
        version: version.clone(),
        archive,
        sha256,
        interface,
        engine: engine.name().to_owned(),
        engine_version,
        uses: uses.into_iter().map(found).collect(),
    };
    let put = app.engine.publish(&caller, new).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    let place = location(&app, &format!("/v1/resource-templates/{name}/versions/{version}"));
    Ok((status, etag(&put.record.version), place, Json(TemplateVersionView::from(put.record.value))).into_response())
}

/// One version of a template.
#[utoipa::path(get, path = "/v1/resource-templates/{type}/versions/{version}", tag = "templates",
    params(("type" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = TemplateVersionView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((name, version)): Named<(TemplateName, String)>,
) -> Result<Response, Refused> {
    let read = app.engine.template_version(&caller, &name, &semantic(&version)?).await?;
    Ok((etag(&read.version), Json(TemplateVersionView::from(read.value))).into_response())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplatePatch {
    /// Whether it makes new resources.
    state: Option<TemplateState>,
    /// Whether resources that it makes from now on stay when their last consumer leaves, where the file does not say.
    retain: Option<bool>,
    /// Who runs it: the Lambda function, or a worker process, which knows no 15 minutes.
    executor: Option<ExecutorKind>,
    /// How often and how long its operations may be tried; what is left out gets its default.
    limits: Option<Limits>,
    /// The AWS services that it uses, as prefixes of actions, such as `s3`: its sessions reach no other. Empty: all that
    /// the environment's role may.
    services: Option<Vec<String>>,
    /// Whether nothing else may run in a process where it has run: that ends after its run.
    untrusted: Option<bool>,
}

/// Makes a version Active or Deprecated, its resources retained, or says who runs it, within which limits, with which
/// services, and how far it is trusted.
#[utoipa::path(patch, path = "/v1/resource-templates/{type}/versions/{version}", tag = "templates",
    params(("type" = String, Path), ("version" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = TemplatePatch,
    responses((status = 200, body = TemplateVersionView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn patch(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((name, version)): Named<(TemplateName, String)>,
    IfMatch(precondition): IfMatch,
    Body(patch): Body<TemplatePatch>,
) -> Result<Response, Refused> {
    let version = semantic(&version)?;
    let TemplatePatch { state, retain, executor, limits, services, untrusted } = patch;
    let change = TemplateChange { state, retain, executor, limits, services, untrusted };
    let read = app.engine.change_template_version(&caller, &name, &version, &change, &precondition).await?;
    Ok((etag(&read.version), Json(TemplateVersionView::from(read.value))).into_response())
}

fn semantic(version: &str) -> Result<semver::Version, Refused> {
    conductor_domain::template::version(version)
        .map_err(|error| Refused::new(Code::VersionInvalid, format!("{version:?} is not a semantic version: {error}")))
}

fn refuse(error: ModuleError) -> Refused {
    let code = if error.code() == "template_too_large" { Code::TemplateTooLarge } else { Code::TemplateInvalid };
    let mut refused = Refused::at(code, "", error.to_string());
    if let Some(Fault { code, .. }) = refused.0.faults.first_mut() {
        *code = Some(error.code().to_owned());
    }
    refused
}

/// What was found in a module in the words of the domain.
fn found(found: module::Use) -> policy::Use {
    let module::Use { what, file, line, detail } = found;
    let what = match what {
        What::LocalExec => policy::What::LocalExec,
        What::RemoteExec => policy::What::RemoteExec,
        What::ExternalData => policy::What::ExternalData,
        What::HttpData => policy::What::HttpData,
        What::ModuleSource { source } => policy::What::ModuleSource { source },
        What::Files => policy::What::Files,
        What::Provider { source, version } => policy::What::Provider { source, versions: version.unwrap_or_default() },
        What::ProviderSettings => policy::What::ProviderSettings,
    };
    policy::Use { what, file, line: u32::try_from(line).unwrap_or(u32::MAX), detail }
}

/// The module's interface in the words of the domain.
fn interface(module: module::Interface) -> Result<Interface, Refused> {
    let inputs = module.variables.into_iter().map(|(name, variable)| {
        let input = Input {
            value_type: value_type(&variable.type_expr)?,
            required: variable.required,
            sensitive: variable.sensitive,
            nullable: variable.nullable,
            description: variable.description,
        };
        Ok::<_, Refused>((name, input))
    });
    Ok(Interface {
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: module
            .outputs
            .into_iter()
            .map(|(name, output)| (name, Output { sensitive: output.sensitive, description: output.description }))
            .collect(),
        providers: module
            .providers
            .into_iter()
            .map(|(name, provider)| {
                (name, ProviderNeed { source: provider.source, version: provider.version.unwrap_or_default() })
            })
            .collect(),
    })
}

/// Both crates write a type constraint in the same JSON.
fn value_type(constraint: &module::Type) -> Result<ValueType, Refused> {
    let value = serde_json::to_value(constraint).and_then(serde_json::from_value);
    value.map_err(|error| {
        tracing::error!(%error, "a type constraint was not understood");
        Refused::from(Error::Conflict)
    })
}
