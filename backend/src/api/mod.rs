//! The wire: requests decoded, one call made, answers encoded.
//!
//! Owns what all answers share: `Els-Api`, `X-Request-Id`, one line in the log, the metrics, and that every error is a
//! problem document. It decides nothing about seats (`license`, `store`) or paths (`gate`).

mod body;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod openapi;
mod operations;
mod problem;
mod registrations;
mod repo;
mod repo_auth;
mod seats;

pub use openapi::document as openapi_document;
pub use operations::answer as answer_admin;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_protocol::{Code, Timestamp, wire};
use futures_util::FutureExt;
use http::header::{ALLOW, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use tower_service::Service;

use self::problem::Refused;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::products::Products;
use els_ledger::{Actor, By, Origin, Store};
use els_server::files::Folder;
use els_server::limits::FailureLimits;
use els_server::path::Prefix;
use els_server::peer::TrustedProxies;
use els_server::request_id::RequestIds;

/// The time, passed in so that tests can set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// All that answers are made of.
pub struct App {
    /// Keys, registrations, trail.
    pub store: Arc<dyn Store>,
    /// Who may fetch what.
    pub gate: Arc<Gate>,
    /// What keys are sold for.
    pub products: Arc<Products>,
    /// Budgets of failures.
    pub limits: Arc<FailureLimits>,
    /// Whose `X-Forwarded-For` counts.
    pub proxies: TrustedProxies,
    /// What machines are told, without a slash at the end (`--repo-url`).
    pub repo_url: String,
    /// The path part of `repo_url`.
    pub repo_base: Prefix,
    /// The folder served at `/repo/`, if any (`--repo-root`).
    pub repo_root: Option<Folder>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
}

/// Answers the requests of the public listener.
#[derive(Clone)]
pub struct Api {
    app: Arc<App>,
    router: Router,
    ids: Arc<RequestIds>,
}

/// The client's address, for handlers: what `X-Forwarded-For` says, as far as it may be believed.
#[derive(Debug, Clone, Copy)]
struct Client(IpAddr);

/// The request's id, for handlers: the audit log has it.
#[derive(Debug, Clone)]
struct RequestId(HeaderValue);

impl RequestId {
    /// `actor`, by this request.
    fn by(&self, actor: Actor) -> By {
        By { request: self.0.to_str().ok().map(str::to_owned), ..By::new(actor, Origin::Api) }
    }
}

impl Api {
    /// The whole wire over `app`.
    pub fn new(app: Arc<App>) -> Self {
        let (router, document) = openapi::routes().split_for_parts();
        let router = router
            .merge(openapi::served(document))
            .fallback(unknown_path)
            .method_not_allowed_fallback(unknown_method)
            .with_state(app.clone());
        Api { app, router, ids: Arc::new(RequestIds::new()) }
    }

    /// Answers one request. Never fails and never panics: whatever happens, there is an answer of the contract's form.
    pub async fn answer<B>(&self, peer: IpAddr, request: Request<B>) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let began = Instant::now();
        let id = self.ids.next();
        let path = request.uri().path();
        // The hot path: no router, no log line, nothing allocated that is not part of the answer.
        if path == wire::REPO_AUTH_PATH && request.method() == Method::GET {
            let answer = repo_auth::judge(&self.app, peer, request.headers());
            let response = stamped(caught(answer).await, &id);
            if response.status() != StatusCode::NO_CONTENT {
                let client = self.app.proxies.client(peer, request.headers());
                let (method, route) = (Method::GET, wire::REPO_AUTH_PATH);
                Asked { id: &id, client, method: &method, route, path: None, began }.log(&response);
            }
            return response;
        }
        let route = route_of(path);
        let method = request.method().clone();
        let client = self.app.proxies.client(peer, request.headers());
        let shown = (route == REPO).then(|| els_protocol::clean(path, 200));
        let answer = async {
            if route == REPO {
                return repo::fetch(&self.app, client, &request).await;
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Client(client));
            request.extensions_mut().insert(RequestId(id.clone()));
            let Ok(response) = self.router.clone().call(request).await;
            response
        };
        let response = stamped(caught(answer).await, &id);
        self.app.metrics.answered(route, &method, response.status().as_u16(), began.elapsed().as_secs_f64());
        if let Some(code) = response.extensions().get::<Code>() {
            self.app.metrics.problem(*code);
        }
        Asked { id: &id, client, method: &method, route, path: shown.as_deref(), began }.log(&response);
        response
    }
}

/// What the log says of a request. Of the path it has the template, never the registration id, which is a user name; the
/// whole path of files alone.
struct Asked<'a> {
    id: &'a HeaderValue,
    client: IpAddr,
    method: &'a Method,
    route: &'static str,
    path: Option<&'a str>,
    began: Instant,
}

impl Asked<'_> {
    fn log(self, response: &Response) {
        tracing::info!(
            request_id = self.id.to_str().unwrap_or_default(),
            client = %self.client,
            method = %els_protocol::clean(self.method.as_str(), 16),
            route = self.route,
            path = self.path,
            status = response.status().as_u16(),
            code = response.extensions().get::<Code>().map(|code| code.as_str()),
            micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "answered"
        );
    }
}

/// An answer in any case: a request that panics must not end the connection without one.
async fn caught(answer: impl Future<Output = Response>) -> Response {
    let answer = AssertUnwindSafe(answer).catch_unwind().await;
    answer.unwrap_or_else(|_| Refused::new(Code::Internal).into_response())
}

/// Sets what every answer carries.
fn stamped(mut response: Response, id: &HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(wire::API_HEADER), HeaderValue::from_static(wire::API_VERSION));
    headers.insert(HeaderName::from_static(wire::REQUEST_ID_HEADER), id.clone());
    response
}

/// The template that a path falls under, for log and metrics.
fn route_of(path: &str) -> &'static str {
    let below = |template: &'static str| {
        let start = template.strip_suffix("{id}").unwrap_or(template);
        path.starts_with(start).then_some(template)
    };
    match path {
        wire::SEATS_PATH => wire::SEATS_PATH,
        wire::REPO_AUTH_PATH => wire::REPO_AUTH_PATH,
        wire::OPENAPI_PATH => wire::OPENAPI_PATH,
        "/repo" => REPO,
        _ => {
            below(REPO).or_else(|| below(wire::REGISTRATION_PATH)).or_else(|| below(wire::SEAT_PATH)).unwrap_or("other")
        }
    }
}

// 404 and 405 are not used here: `unknown-registration` is the one code with the former, and an agent must never take a
// wrong address for a registration that is gone.
async fn unknown_path() -> Refused {
    Refused::invalid("There is no such path in this protocol.")
}

async fn unknown_method(request: Request<Body>) -> Refused {
    let allowed = match route_of(request.uri().path()) {
        wire::REGISTRATION_PATH => "PUT, GET, HEAD, DELETE",
        wire::SEAT_PATH => "DELETE",
        _ => "GET, HEAD",
    };
    Refused::invalid("This path does not know this method.").header(ALLOW, HeaderValue::from_static(allowed))
}

/// Where `--repo-root` is served.
const REPO: &str = "/repo/";
