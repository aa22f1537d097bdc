//! `/repo/`: the files of `--repo-root`, under the gate.
//!
//! The gate evaluates the raw request target; `els_server::files` opens and sends the file.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use els_server::path::{Prefix, RequestPath};
use els_server::problem::{ProblemResponse, plain};
use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};

use super::app::App;
use super::extract::Peer;
use super::repo_auth::refusal;
use crate::credential::Credentials;

pub(super) async fn fetch(State(app): State<Arc<App>>, Peer(peer): Peer, request: Request) -> Response {
    let Some(folder) = &app.repo_root else {
        return ProblemResponse::invalid("This backend serves no repositories.").into_response();
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let target = request.uri().path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let base = Prefix::parse("/repo").unwrap_or_default();
    let path = RequestPath::parse(target.as_bytes()).and_then(|path| path.below(&base));
    let verdict = app.gate.judge((app.clock)(), path, Credentials::read(request.headers()), || peer).await;
    if let Some(refused) = refusal(&app, verdict) {
        return refused.into_response();
    }
    match path {
        Some(path) => folder.respond(request.method(), request.headers(), path).await,
        None => plain(StatusCode::NOT_FOUND),
    }
}
