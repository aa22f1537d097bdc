//! Bodies: read within their limit and their time, written as JSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use els_protocol::{Code, wire::BODY_LIMIT};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Refused;

/// Reads and decodes a JSON body.
pub(super) async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refused> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(too_large());
    }
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refused::invalid("The body has to be application/json."));
        }
    }
    let bytes = collect(body).await?;
    serde_json::from_slice(&bytes).map_err(|error| Refused::invalid(format!("The body does not fit: {error}.")))
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("wire types have only texts and numbers");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a body.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

async fn collect(body: Body) -> Result<Bytes, Refused> {
    match tokio::time::timeout(BODY_MOST, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refused::invalid("The body did not arrive as a whole.")),
        Err(_) => Err(Refused::invalid("The body did not arrive in time.")),
    }
}

fn too_large() -> Refused {
    Refused::new(Code::PayloadTooLarge).detail("A body has at most 8 KiB.")
}

/// The longest time in which 8 KiB may arrive.
const BODY_MOST: Duration = Duration::from_secs(10);
