//! The admin API, `/admin/v1`, on the listener of the vendor's own systems: decode a request, make one call, encode the result.
//!
//! Owns the way of a request to its handler: the name of the listener, the token, the table of routes. It decides nothing
//! about seats (`els_ledger`) and knows no SQL.

mod caller;
mod events;
mod exports;
mod host;
mod keys;
mod openapi;
mod problem;
mod request;
mod routes;
mod seats;
mod site;

pub use routes::openapi_document;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_ledger::{Store, StoreError};
use els_protocol::wire;
use els_server::limits::GuessLimits;
use els_server::logs::Sampler;
use els_server::peer::TrustedProxies;
use els_server::request_id::RequestIds;
use els_server::response::{RequestLog, caught};
use http::Request;
use http::header::{HeaderName, HeaderValue};
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tower_service::Service;

use self::caller::{Caller, Uses};
use self::exports::Exports;
use self::host::Hosts;
use self::problem::{AdminProblem, Code};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::products::Products;

/// What every handler is given.
pub(crate) struct Admin {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) products: Arc<Products>,
    /// Against guessing tokens.
    pub(crate) limits: Arc<GuessLimits>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    /// The zone of a day without a time.
    zone: TimeZone,
    zone_name: String,
    /// Becomes true when the listener stops: nothing waits any longer.
    stopping: watch::Receiver<bool>,
    exports: Arc<Exports>,
    hosts: Hosts,
    uses: Uses,
}

/// Answers the requests of the listener.
#[derive(Clone)]
pub(crate) struct AdminApi {
    admin: Arc<Admin>,
    router: Router,
    ids: Arc<RequestIds>,
    refusals: Arc<Sampler>,
}

impl Admin {
    #[expect(clippy::too_many_arguments, reason = "each is another part of the process")]
    /// `staff_url` is `--staff-url`; without it, `listen` has to be a loopback address.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        products: Arc<Products>,
        limits: Arc<GuessLimits>,
        proxies: TrustedProxies,
        metrics: Arc<Metrics>,
        clock: Clock,
        zone: TimeZone,
        stopping: watch::Receiver<bool>,
        (staff_url, listen): (Option<&str>, SocketAddr),
    ) -> Result<Self, String> {
        let hosts = Hosts::new(staff_url, listen)?;
        let zone_name = zone.iana_name().unwrap_or("UTC").to_owned();
        let (uses, exports) = (Uses::default(), Arc::default());
        Ok(Admin { store, products, limits, proxies, metrics, clock, zone, zone_name, stopping, exports, hosts, uses })
    }
}

impl AdminApi {
    pub(crate) fn new(admin: Admin) -> Self {
        let admin = Arc::new(admin);
        AdminApi {
            router: routes::router(admin.clone()),
            admin,
            ids: Arc::new(RequestIds::start()),
            refusals: Arc::default(),
        }
    }

    /// Answers one request, from a connection of `socket`.
    pub(crate) async fn answer<B>(&self, socket: IpAddr, request: Request<B>) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let began = Instant::now();
        let id = self.ids.next();
        let route = routes::name_of(request.uri().path());
        let method = request.method().clone();
        let peer = self.admin.proxies.peer(socket, request.headers());
        let answered = caught(async {
            self.routed(peer, &id, route, request.map(Body::new)).await.unwrap_or_else(IntoResponse::into_response)
        });
        let mut response = answered.await;
        // No `Els-Api`: an agent with a wrong address must not take this for its protocol.
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(wire::REQUEST_ID_HEADER), id.clone());
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.admin.metrics.requests.answered(route, &method, &response, began.elapsed());
        RequestLog { id: &id, peer, method: &method, route, path: None, began, refusals: &self.refusals }
            .write(&response);
        response
    }

    /// Writes when tokens were last used.
    pub(crate) async fn write_uses(&self) -> Result<(), StoreError> {
        self.admin.uses.write(&*self.admin.store).await
    }

    async fn routed(
        &self,
        peer: IpAddr,
        id: &HeaderValue,
        route: &'static str,
        mut request: Request<Body>,
    ) -> Result<Response, AdminProblem> {
        if !self.admin.hosts.has(&request) {
            return Err(AdminProblem::new(Code::MisdirectedRequest));
        }
        if route != routes::DESCRIPTION {
            let caller = Caller::authenticate(&self.admin, peer, request.headers(), id).await?;
            request.extensions_mut().insert(caller);
        }
        let Ok(response) = self.router.clone().call(request).await;
        Ok(response)
    }
}
