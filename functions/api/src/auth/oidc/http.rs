//! Calls of the OpenID provider: short, small, and no further than where they were sent.

use std::time::Duration;

use axum::BoxError;
use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long a call may take, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// A client. It follows no redirect.
pub struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    /// Trusts whom the system trusts; fails where the system has no certificates.
    pub fn new() -> Result<Self, BoxError> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        // Calls are far apart, and a function that is frozen meanwhile loses its connections.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self(client))
    }

    /// Fetches a document; anything but 200 is an error.
    pub async fn get(&self, url: &str) -> Result<Bytes, BoxError> {
        let (status, body) = self.send(Request::get(url).body(Full::default())?).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(format!("{url} answers {status}").into()) }
    }

    /// Sends a form.
    pub async fn post(&self, url: &str, form: String) -> Result<(StatusCode, Bytes), BoxError> {
        let request = Request::post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Full::from(form))?).await
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), BoxError> {
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, json);
        let answer = async {
            let (parts, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, BoxError>((parts.status, body))
        };
        tokio::time::timeout(TIMEOUT, answer).await?
    }
}
