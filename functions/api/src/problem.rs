//! Errors as `application/problem+json` (RFC 9457): the one place that turns them into HTTP.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use conductor_domain::code::Fault;
use conductor_domain::{Code, Refusal};
use conductor_engine::{Causes, Error};
use serde::Serialize;
use utoipa::ToSchema;

/// What a problem's `type` begins with.
const TYPE: &str = "urn:conductor:problem:";

/// An error, as the caller sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:conductor:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for each occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence.
    pub detail: String,
    /// Stable, snake_case.
    #[schema(value_type = Code)]
    pub code: String,
    /// The request, as it stands in logs and audit events.
    pub request_id: String,
    /// The places in the input that break a rule. Pointers into a Score file start at the file's own root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// A refusal on its way out. The request's id is added by [`crate::app`]'s outermost layer.
#[derive(Debug, Clone)]
pub struct Refused(pub Refusal);

impl Refused {
    /// A refusal with no places in the input.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Refusal::new(code, detail))
    }

    /// A refusal that points at one place in the input.
    pub fn at(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(Refusal::at(code, vec![Fault::at(pointer, detail)]))
    }

    /// The response for a request.
    pub fn into_problem(self, request_id: &str) -> Response {
        let Self(Refusal { code, detail, faults }) = self;
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem {
            kind: format!("{TYPE}{code}"),
            title: code.title().to_owned(),
            status: status.as_u16(),
            detail,
            code: code.as_str().to_owned(),
            request_id: request_id.to_owned(),
            errors: faults,
        };
        let mut response = (status, axum::Json(problem)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let refusal = error.refusal();
        if refusal.code.status() >= 500 {
            tracing::error!(error = %Causes(&error), "a request failed");
        }
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}
