//! The problem documents of the admin API (RFC 9457), and their codes.
//!
//! Owns the codes: those of the protocol of machines are other ones.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_ledger::{KeyId, StoreError};
use els_protocol::{Problem, clean};
use els_server::response::OtherCode;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

macro_rules! codes {
    ($($name:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// The codes of the admin API. Programs depend on them: never change one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code { $($name,)* }

        impl Code {
            #[cfg(test)]
            pub(super) const ALL: &[Code] = &[$(Code::$name,)*];

            pub(super) fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid-request", 400, "The request is not valid";
    Unauthenticated = "unauthenticated", 401, "A valid token is required";
    Forbidden = "forbidden", 403, "The token does not allow this";
    NotFound = "not-found", 404, "There is no such thing";
    MethodNotAllowed = "method-not-allowed", 405, "This path does not have this method";
    ContractTaken = "contract-taken", 409, "Another key has this contract";
    KeyTaken = "key-taken", 409, "This license key exists already";
    KeyRevoked = "key-revoked", 409, "The key is revoked, which is final";
    CountDiffers = "count-differs", 409, "Another number of seats matches";
    CursorGone = "cursor-gone", 410, "The cursor belongs to another state of the database";
    PreconditionFailed = "precondition-failed", 412, "The key was changed by another request";
    PayloadTooLarge = "payload-too-large", 413, "The request is too large";
    MisdirectedRequest = "misdirected-request", 421, "This listener has another name";
    IdempotencyKeyReused = "idempotency-key-reused", 422, "The idempotency key was used for another request";
    PreconditionRequired = "precondition-required", 428, "The request needs a condition";
    RateLimited = "rate-limited", 429, "Too many requests";
    Internal = "internal", 500, "Something went wrong in the backend";
    Unavailable = "unavailable", 503, "The backend is not available at the moment";
}

/// An error response.
#[derive(Debug)]
pub(super) struct AdminProblem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    document: Document,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A problem document.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document {
    /// A URI that names the kind of problem; made from the code.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// The stable code.
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// With `forbidden`: the scope that the token lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    /// With `contract-taken` and `key-taken`: the other key, if the token reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// With `count-differs`: the number that matches now.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// With `invalid-request`: which members of the body are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<MemberError>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct MemberError {
    /// A JSON pointer to the member.
    pointer: String,
    code: &'static str,
    detail: String,
}

impl AdminProblem {
    pub(super) fn new(code: Code) -> Self {
        let document = Document {
            kind: format!("urn:els:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status(),
            code: code.as_str(),
            detail: None,
            scope: None,
            key_id: None,
            count: None,
            errors: Vec::new(),
        };
        AdminProblem(Box::new(Parts { code, document, headers: Vec::new() }))
    }

    /// 400, with what is wrong.
    pub(super) fn invalid(detail: impl AsRef<str>) -> Self {
        AdminProblem::new(Code::InvalidRequest).detail(detail)
    }

    /// 400, with the member of the body that is wrong.
    pub(super) fn member(name: &str, detail: impl AsRef<str>) -> Self {
        let mut problem = AdminProblem::invalid("A member of the body is not valid.");
        let detail = clean(detail.as_ref(), DETAIL_LIMIT);
        problem.0.document.errors.push(MemberError { pointer: format!("/{name}"), code: "invalid", detail });
        problem
    }

    /// 401. It does not say why: a token that is revoked, expired or used from elsewhere looks like an unknown one.
    pub(super) fn unauthenticated() -> Self {
        AdminProblem::new(Code::Unauthenticated)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"els-admin\""))
    }

    pub(super) fn forbidden(scope: &'static str) -> Self {
        let mut problem = AdminProblem::new(Code::Forbidden);
        problem.0.document.scope = Some(scope);
        problem
    }

    pub(super) fn rate_limited(seconds: u64) -> Self {
        AdminProblem::new(Code::RateLimited).header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The other key, if the token reaches it.
    pub(super) fn key(mut self, id: Option<&KeyId>) -> Self {
        self.0.document.key_id = id.map(ToString::to_string);
        self
    }

    pub(super) fn count(mut self, count: u64) -> Self {
        self.0.document.count = Some(count);
        self
    }

    pub(super) fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.0.document.detail = Some(clean(detail.as_ref(), DETAIL_LIMIT));
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }
}

impl From<StoreError> for AdminProblem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Busy => AdminProblem::rate_limited(1),
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "answered 503");
                AdminProblem::new(Code::Unavailable)
            }
            StoreError::Internal(_) => {
                tracing::error!(%error, "answered 500");
                AdminProblem::new(Code::Internal)
            }
        }
    }
}

impl IntoResponse for AdminProblem {
    fn into_response(self) -> Response {
        let Parts { code, document, headers } = *self.0;
        let body = serde_json::to_vec(&document).expect("a problem consists of texts and numbers");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(code.status()).unwrap_or_default();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(OtherCode(code.as_str()));
        response
    }
}

/// The most characters of a detail that may contain text from a client.
const DETAIL_LIMIT: usize = 300;
