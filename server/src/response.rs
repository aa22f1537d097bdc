//! What all responses of a service share: protocol version, request id, one log line, and that there is always a response.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::Instant;

use axum::response::{IntoResponse, Response};
use els_protocol::{Code, wire};
use futures_util::FutureExt;
use http::Method;
use http::header::{HeaderName, HeaderValue};

use crate::logs::Sampler;
use crate::problem::ProblemResponse;

/// The response of a handler, or 500 if the handler panics: a panic must not end the connection without a response.
pub async fn caught(handler: impl Future<Output = Response>) -> Response {
    let response = AssertUnwindSafe(handler).catch_unwind().await;
    response.unwrap_or_else(|_| ProblemResponse::new(Code::Internal).into_response())
}

/// Sets the headers that every response carries.
pub fn stamped(mut response: Response, id: &HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(wire::API_HEADER), HeaderValue::from_static(wire::API_VERSION));
    headers.insert(HeaderName::from_static(wire::REQUEST_ID_HEADER), id.clone());
    response
}

/// The code of a problem document that is not one of the protocol's, as an extension of the response.
#[derive(Debug, Clone, Copy)]
pub struct OtherCode(pub &'static str);

/// What the log says about a request. It has the route's name instead of the path: a path may contain an id that must not
/// be in a log. `path` is set only where paths are public.
pub struct RequestLog<'a> {
    /// The request id.
    pub id: &'a HeaderValue,
    /// The client's address.
    pub peer: IpAddr,
    /// The method.
    pub method: &'a Method,
    /// The route's name.
    pub route: &'static str,
    /// The path, cleaned.
    pub path: Option<&'a str>,
    /// When the request arrived.
    pub began: Instant,
    /// Which refusals are written.
    pub refusals: &'a Sampler,
}

impl RequestLog<'_> {
    /// Writes the line. Of very many refusals it writes a sample, whose lines say how many were `skipped`.
    pub fn write(self, response: &Response) {
        let skipped = match response.status().is_client_error() {
            true => match self.refusals.take(START.elapsed().as_secs()) {
                Some(skipped) => skipped,
                None => return,
            },
            false => 0,
        };
        tracing::info!(
            skipped = (skipped > 0).then_some(skipped),
            request_id = self.id.to_str().unwrap_or_default(),
            peer = %self.peer,
            method = %els_protocol::clean(self.method.as_str(), 16),
            route = self.route,
            path = self.path,
            status = response.status().as_u16(),
            code = code_of(response),
            micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
    }
}

fn code_of(response: &Response) -> Option<&'static str> {
    let extensions = response.extensions();
    extensions.get::<Code>().map(|code| code.as_str()).or_else(|| extensions.get::<OtherCode>().map(|code| code.0))
}
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
