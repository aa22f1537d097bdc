//! Errors as problem documents (RFC 9457).
//!
//! Owns the form of an error response: status, code, headers, body. Text from a client is cleaned before it goes back. It
//! must not know why something is refused: the service chooses the code.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_protocol::{Code, Problem, clean};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};

/// An error response with a code of the protocol. The response carries its [`Code`] as an extension, for log and metrics.
#[derive(Debug)]
pub struct ProblemResponse {
    code: Code,
    // Boxed: every successful result has room for this type.
    problem: Box<Problem>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// How a client has to authenticate.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    /// User name and password.
    Basic,
    /// One secret text.
    Bearer,
}

impl ProblemResponse {
    /// The problem with this code, without details.
    pub fn new(code: Code) -> Self {
        ProblemResponse { code, problem: Box::new(Problem::new(code)), header: None }
    }

    /// 400. `detail` says what is wrong with the request; it may contain what the client sent.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        ProblemResponse::new(Code::InvalidRequest).detail(detail)
    }

    /// 401, with the scheme that the client has to use.
    pub fn unauthenticated(scheme: Scheme, detail: &'static str) -> Self {
        let challenge = HeaderValue::from_static(match scheme {
            Scheme::Basic => "Basic realm=\"els\", charset=\"UTF-8\"",
            Scheme::Bearer => "Bearer realm=\"els\"",
        });
        ProblemResponse::new(Code::CredentialInvalid).detail(detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// 429, with the time after which the client may try again.
    pub fn rate_limited(after: Duration) -> Self {
        // Whole seconds, rounded up: a client that retries a moment too early is refused again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        ProblemResponse::new(Code::RateLimited).header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Adds what is particular to this occurrence.
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = match detail.into() {
            Cow::Borrowed(fixed) => fixed.to_owned(),
            Cow::Owned(text) => clean(&text, DETAIL_LIMIT),
        };
        self.with(|problem| problem.detail = Some(detail))
    }

    /// Adds a header.
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        ProblemResponse { header: Some(Box::new((name, value))), ..self }
    }

    /// Changes members of the document that belong to one code.
    pub fn with(mut self, change: impl FnOnce(&mut Problem)) -> Self {
        change(&mut self.problem);
        self
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let mut response = document(StatusCode::from_u16(self.code.status()).unwrap_or_default(), &self.problem);
        response.headers_mut().extend(self.header.map(|header| *header));
        response.extensions_mut().insert(self.code);
        response
    }
}

/// A problem without a code of the protocol (RFC 9457, `about:blank`): status and title only.
pub fn plain(status: StatusCode) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    document(status, &serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16()}))
}

fn document(status: StatusCode, problem: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(problem).expect("a problem consists of texts and numbers");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    response
}

/// The most characters of a detail that may contain text from a client.
const DETAIL_LIMIT: usize = 300;
