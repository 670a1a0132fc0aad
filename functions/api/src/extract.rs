//! What handlers take: the caller, bodies, queries and path parameters, each with a problem that names the place.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use conductor_domain::Code;
use conductor_domain::name::NameError;
use conductor_domain::principal::Caller;
use conductor_domain::template::{TemplateName, TemplateNameError};
use conductor_engine::{IdempotencyKey, Precondition};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::problem::Refused;

/// The longest body, in bytes.
pub const MAX_BODY: usize = 256 * 1024;
/// The longest template archive, in bytes.
pub const MAX_ARCHIVE: usize = 4 * 1024 * 1024;
/// The longest idempotency key, in characters.
const MAX_KEY: usize = 255;
/// Items of a list where the caller does not say.
const DEFAULT_LIMIT: u32 = 20;
/// The most items of a list.
const MAX_LIMIT: u32 = 100;

/// The id of a request: the gateway's.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Who asks, as [`crate::auth::admit`] has found.
pub struct Asking(pub Caller);

impl FromRequestParts<App> for Asking {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refused> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Self).ok_or_else(|| Refused::new(Code::Unauthorized, Code::Unauthorized.title()))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        let KeyedBody(_, body) = KeyedBody::from_request(request, app).await?;
        Ok(Self(body))
    }
}

/// The same, with the `Idempotency-Key` of the request.
pub struct KeyedBody<T>(pub Option<IdempotencyKey>, pub T);

impl<T: DeserializeOwned> FromRequest<App> for KeyedBody<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        refuse_other_than_json(request.headers())?;
        let Keyed(key, bytes) = Keyed::from_request(request, app).await?;
        Ok(Self(key, parse_json(&bytes)?))
    }
}

/// A JSON body that may be left out.
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<App> for MaybeBody<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        let headers = request.headers().clone();
        let bytes = bytes(request, app, MAX_BODY, Code::BodyTooLarge).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        refuse_other_than_json(&headers)?;
        Ok(Self(parse_json(&bytes)?))
    }
}

fn refuse_other_than_json(headers: &HeaderMap) -> Result<(), Refused> {
    let json = content_type(headers).is_none_or(|kind| kind == "application/json");
    json.then_some(()).ok_or_else(|| Refused::new(Code::MediaTypeUnsupported, "this route takes application/json"))
}

/// The `Idempotency-Key` of a request, and its bytes: the two ways in which it can be the same one again.
pub struct Keyed(pub Option<IdempotencyKey>, pub Bytes);

impl FromRequest<App> for Keyed {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        let (headers, uri) = (request.headers().clone(), request.uri().clone());
        let bytes = bytes(request, app, MAX_BODY, Code::BodyTooLarge).await?;
        let Some(key) = headers.get("idempotency-key") else { return Ok(Self(None, bytes)) };
        let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
        let rule = format!("Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters");
        let key = key.ok_or_else(|| Refused::new(Code::HeaderInvalid, rule))?.to_owned();
        let mut digest = Sha256::new();
        digest.update(format!("{uri}\0{}\0", content_type(&headers).unwrap_or_default()));
        digest.update(&bytes);
        Ok(Self(Some(IdempotencyKey { key, request: hex::encode(digest.finalize()) }), bytes))
    }
}

/// Reads JSON strictly; an error points at the place.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    // Serde would also fill a struct from a list.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Refused::at(Code::BodyInvalid, "", "the body must be a JSON object"));
    }
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut *deserializer).map_err(|error| {
        let pointer: String = error
            .path()
            .iter()
            .map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => format!("/{index}"),
                serde_path_to_error::Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                serde_path_to_error::Segment::Enum { variant } => format!("/{variant}"),
                serde_path_to_error::Segment::Unknown => String::new(),
            })
            .collect();
        Refused::at(Code::BodyInvalid, pointer, error.inner().to_string())
    })?;
    deserializer.end().map_err(|error| Refused::at(Code::BodyInvalid, "", error.to_string()))?;
    Ok(value)
}

/// The whole body, if it is not too long.
pub async fn bytes(request: Request, app: &App, most: usize, code: Code) -> Result<Bytes, Refused> {
    let body = Bytes::from_request(request, app)
        .await
        .map_err(|_| Refused::new(Code::BodyInvalid, "the body cannot be read"))?;
    if body.len() > most {
        return Err(Refused::at(code, "", format!("the body has {} bytes; {most} are allowed", body.len())));
    }
    Ok(body)
}

/// The media type of a body, without parameters.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// A query string.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|error| Refused::new(Code::QueryInvalid, reason(&error.body_text())))
    }
}

/// A path's parameters, each of a type that checks itself.
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Named<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(value)| Self(value)).map_err(|error| Refused::new(Code::NameInvalid, reason(&error.body_text())))
    }
}

/// What axum says of a path or a query, without its own introduction.
fn reason(text: &str) -> String {
    let known = ["Invalid URL: ", "Failed to deserialize query string: "];
    known.iter().find_map(|known| text.strip_prefix(known)).unwrap_or(text).to_owned()
}

/// An id in a path.
pub fn id<T: FromStr>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|_| Refused::new(Code::IdInvalid, format!("{text:?} is not a UUID")))
}

/// A name in a body.
pub fn name<T: FromStr<Err = NameError>>(text: &str, pointer: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: NameError| Refused::at(Code::NameInvalid, pointer, error.to_string()))
}

/// A template in a body: `type`, which may name a class as `postgres.large`, or `type` and `class`.
pub fn template(kind: &str, class: Option<&str>) -> Result<TemplateName, Refused> {
    let text = class.map_or_else(|| kind.to_owned(), |class| format!("{kind}.{class}"));
    text.parse().map_err(|error: TemplateNameError| Refused::at(Code::NameInvalid, "/type", error.to_string()))
}

/// `If-Match`.
pub struct IfMatch(pub Precondition);

impl FromRequestParts<App> for IfMatch {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refused> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(Precondition::None)) };
        let invalid = || Refused::new(Code::HeaderInvalid, "If-Match must be * or one ETag in quotes");
        let text = value.to_str().map_err(|_| invalid())?.trim();
        if text == "*" {
            return Ok(Self(Precondition::Any));
        }
        let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(invalid)?;
        Ok(Self(Precondition::Version(version.to_owned())))
    }
}

/// `limit` of a list, within its bounds.
pub fn limit(asked: Option<u32>) -> Result<u32, Refused> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(Refused::new(Code::QueryInvalid, format!("limit is {other}; it must be 1 to {MAX_LIMIT}"))),
    }
}
