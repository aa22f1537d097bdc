//! Every error of the wire, as a problem document.
//!
//! Owns the way from a denial, a failed store or a malformed request to status, code and headers. Texts that come from a
//! client go back to it cleaned; what a store says of its troubles goes to the log alone.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_protocol::wire::Seats;
use els_protocol::{Code, Problem, clean};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};

use els_ledger::StoreError;
use els_ledger::rules::Denied;

/// An answer that is an error of the contract.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    detail: Option<Cow<'static, str>>,
    seats: Option<Seats>,
    /// Boxed, since an answer that is no error carries this type along.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refused {
    /// The problem without particulars.
    pub(super) fn new(code: Code) -> Self {
        Refused { code, detail: None, seats: None, header: None }
    }

    /// 400: what is wrong with the request. The text may hold what the client sent.
    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Refused::new(Code::InvalidRequest).detail(detail)
    }

    /// 401, with the scheme that is asked for.
    pub(super) fn unauthenticated(scheme: Scheme, detail: &'static str) -> Self {
        let challenge = HeaderValue::from_static(match scheme {
            Scheme::Basic => "Basic realm=\"els\", charset=\"UTF-8\"",
            Scheme::Bearer => "Bearer realm=\"els\"",
        });
        Refused::new(Code::CredentialInvalid).detail(detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// 429, to be tried again after this time.
    pub(super) fn rate_limited(after: Duration) -> Self {
        // Whole seconds, rounded up: a client that comes a moment early is refused again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        Refused::new(Code::RateLimited).header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// With what is particular to this occurrence.
    pub(super) fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = match detail.into() {
            Cow::Borrowed(known) => Cow::Borrowed(known),
            Cow::Owned(text) => Cow::Owned(clean(&text, DETAIL_MOST)),
        };
        Refused { detail: Some(detail), ..self }
    }

    /// With one more header.
    pub(super) fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Refused { header: Some(Box::new((name, value))), ..self }
    }
}

/// How a client is to authenticate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scheme {
    Basic,
    Bearer,
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::WrongToken => {
                return Refused::unauthenticated(Scheme::Basic, "The token is not the one of this registration.");
            }
            Denied::KeyFull { seats } => return Refused { seats: Some(seats), ..Refused::new(Code::NoFreeSeat) },
            Denied::UnknownKey => Code::UnknownKey,
            Denied::KeyNotYetValid => Code::KeyNotYetValid,
            Denied::KeyExpired => Code::KeyExpired,
            Denied::KeySuspended => Code::KeySuspended,
            Denied::KeyRevoked => Code::KeyRevoked,
            Denied::ReleaseNotAllowed => Code::KeyReleaseDenied,
            Denied::SystemNotCovered => Code::SystemNotCovered,
            Denied::UnknownRegistration => Code::UnknownRegistration,
            Denied::RegistrationConflict => Code::RegistrationConflict,
            Denied::RegistrationReleased => Code::RegistrationReleased,
        };
        Refused::new(code)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Busy => Refused::rate_limited(Duration::from_secs(1)),
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "answered 503");
                Refused::new(Code::Unavailable)
            }
            StoreError::Internal(_) => {
                tracing::error!(%error, "answered 500");
                Refused::new(Code::Internal)
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem =
            Problem { detail: self.detail.map(Cow::into_owned), seats: self.seats, ..Problem::new(self.code) };
        let mut response = document(StatusCode::from_u16(self.code.status()).unwrap_or_default(), &problem);
        response.headers_mut().extend(self.header.map(|header| *header));
        response.extensions_mut().insert(self.code);
        response
    }
}

/// A problem of a file request that no code of the wire stands for (RFC 9457, `about:blank`): status and title alone.
pub(super) fn plain(status: StatusCode) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    document(status, &serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16()}))
}

fn document(status: StatusCode, problem: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(problem).expect("a problem has only texts and numbers");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    response
}

/// Characters of a detail that may hold what a client sent.
const DETAIL_MOST: usize = 300;
