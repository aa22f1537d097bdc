//! The admin listener: `/healthz`, `/readyz`, `/metrics`. It is for the operator alone.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_protocol::Code;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request};

use super::problem::Refused;
use super::{Api, stamped};
use crate::metrics::MEDIA_TYPE;

/// Answers one request of the admin listener.
pub async fn answer<B>(api: &Api, request: Request<B>) -> Response {
    let response = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => text("text/plain", "ok\n".into()),
        (&Method::GET | &Method::HEAD, "/readyz") => ready(api).await.unwrap_or_else(IntoResponse::into_response),
        (&Method::GET | &Method::HEAD, "/metrics") => metrics(api),
        _ => Refused::invalid("The admin listener knows GET /healthz, /readyz and /metrics.").into_response(),
    };
    stamped(response, &api.ids.next())
}

/// Ready means: the database answers, and the gate knows of every change.
async fn ready(api: &Api) -> Result<Response, Refused> {
    match tokio::time::timeout(READY_MOST, api.app.store.health()).await {
        Ok(health) => health?,
        Err(_) => return Err(Refused::new(Code::Unavailable).detail("The database does not answer.")),
    }
    match api.app.gate.sync_age() {
        age if age > SYNC_MOST => Err(Refused::new(Code::Unavailable).detail("The gate is cut off from the database.")),
        _ => Ok(text("text/plain", "ready\n".into())),
    }
}

fn metrics(api: &Api) -> Response {
    let age = i64::try_from(api.app.gate.sync_age().as_secs()).unwrap_or(i64::MAX);
    api.app.metrics.gate_sync_age.set(age);
    text(MEDIA_TYPE, api.app.metrics.text())
}

fn text(kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const READY_MOST: std::time::Duration = std::time::Duration::from_secs(3);
/// A round of the feed takes place every second.
const SYNC_MOST: std::time::Duration = std::time::Duration::from_secs(5);
