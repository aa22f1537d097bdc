//! Bodies: requests read within a limit of size and time, responses written.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use els_protocol::Code;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::ProblemResponse;

/// Reads and decodes a JSON body of at most `limit` bytes.
pub async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<T, ProblemResponse> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ProblemResponse::invalid("The body must be application/json."));
        }
    }
    let bytes = collect(body, limit).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ProblemResponse::invalid(format!("The body cannot be decoded: {error}.")))
}

/// A response with a JSON body. `value` must be serializable: every map key is a text.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("every map key is a text");
    let mut response = text("application/json", body);
    *response.status_mut() = status;
    response
}

/// A response 200 with this media type and body.
pub fn text(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response 204.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ProblemResponse> {
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(ProblemResponse::invalid("The body is incomplete.")),
        Err(_) => Err(ProblemResponse::invalid("The body did not arrive in time.")),
    }
}

fn too_large(limit: usize) -> ProblemResponse {
    ProblemResponse::new(Code::PayloadTooLarge).detail(format!("A body may have at most {} KiB.", limit / 1024))
}

/// The longest time in which a body may arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
