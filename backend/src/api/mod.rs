//! The API of the public listener, version 1 of the protocol: decode a request, make one call, encode the result.
//!
//! Owns the way of a request through the table of routes. It decides nothing about seats (`els_ledger`) or paths (`gate`).

mod admin;
mod app;
mod call;
mod extract;
mod openapi;
mod problem;
mod registrations;
mod repo;
mod repo_auth;
mod routes;
mod seats;

pub use app::App;
pub use routes::openapi_document;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_protocol::wire;
use els_server::logs::Sampler;
use els_server::problem::ProblemResponse;
use els_server::request_id::RequestIds;
use els_server::response::{RequestLog, caught, stamped};
use http::header::HOST;
use http::{Method, Request, StatusCode};
use tower_service::Service;

use self::extract::{Peer, RequestId};

/// Answers the requests of both listeners.
#[derive(Clone)]
pub struct Api {
    app: Arc<App>,
    router: Router,
    ids: Arc<RequestIds>,
    refusals: Arc<Sampler>,
}

impl Api {
    pub fn new(app: Arc<App>) -> Self {
        Api { router: routes::router(app.clone()), app, ids: Arc::new(RequestIds::start()), refusals: Arc::default() }
    }

    /// Answers one request of the public listener, from a connection of `socket`. There is always a response in the form of
    /// the protocol, even if a handler panics.
    pub async fn answer<B>(&self, socket: IpAddr, request: Request<B>) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let began = Instant::now();
        let id = self.ids.next();
        let path = request.uri().path();
        let ambiguous = request.headers().get_all(HOST).iter().nth(1).is_some();
        // The hot path: no router, no log line, no allocation beyond the response.
        if path == wire::REPO_AUTH_PATH && request.method() == Method::GET && !ambiguous {
            let response = stamped(caught(repo_auth::judge(&self.app, socket, request.headers())).await, &id);
            if response.status() != StatusCode::NO_CONTENT {
                let peer = self.app.proxies.peer(socket, request.headers());
                let (method, route) = (&Method::GET, wire::REPO_AUTH_PATH);
                RequestLog { id: &id, peer, method, route, path: None, began, refusals: &self.refusals }
                    .write(&response);
            }
            return response;
        }
        let route = routes::name_of(path);
        let method = request.method().clone();
        let peer = self.app.proxies.peer(socket, request.headers());
        let path = (route == routes::FILES).then(|| els_protocol::clean(path, 200));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(RequestId(id.clone()));
        let routed = async {
            // Programs in front of this one may have chosen the other one.
            if ambiguous {
                return ProblemResponse::invalid("The request has more than one Host header.").into_response();
            }
            let Ok(response) = self.router.clone().call(request).await;
            response
        };
        let response = stamped(caught(routed).await, &id);
        self.app.metrics.requests.answered(route, &method, &response, began.elapsed());
        let refusals = &self.refusals;
        RequestLog { id: &id, peer, method: &method, route, path: path.as_deref(), began, refusals }.write(&response);
        response
    }

    /// Answers one request of the admin listener.
    pub async fn answer_admin<B>(&self, request: Request<B>) -> Response {
        stamped(admin::respond(&self.app, request).await, &self.ids.next())
    }
}
