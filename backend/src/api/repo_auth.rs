//! `GET /v1/repo-auth`: web servers ask the gate before they send a file.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use els_protocol::{Code, Problem, wire};
use els_server::body::no_content;
use els_server::path::RequestPath;
use els_server::problem::{ProblemResponse, Scheme};
use http::HeaderMap;

use super::app::App;
use super::extract::Peer;
use super::problem::denied;
use crate::credential::Credentials;
use crate::gate::Verdict;

/// May this credential fetch a path of the repositories?
///
/// For web servers in front of the repositories (nginx `auth_request`, Caddy `forward_auth`). The request must have exactly
/// one `X-Original-URI`, with the raw request target of at most 4096 bytes. Public paths need no credential.
#[utoipa::path(
    get,
    path = wire::REPO_AUTH_PATH,
    tag = "gate",
    params(("X-Original-URI" = String, Header, description = "The raw request target, as the client sent it")),
    responses(
        (status = 204, description = "The path may be fetched"),
        (status = 401, description = "`credential-invalid`: the credential is missing, malformed, unknown, wrong or released",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`path-not-covered`, also for a target that the gate does not accept; `key-expired`, \
            `key-suspended`, `key-revoked`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: the gate cannot tell",
            body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("credential" = []))
)]
pub(super) async fn repo_auth(State(app): State<Arc<App>>, Peer(peer): Peer, headers: HeaderMap) -> Response {
    // Only HEAD comes here: `Api::answer` takes GET directly to `judge`.
    judge(&app, peer, &headers).await
}

/// Evaluates the request that `X-Original-URI` names.
pub(super) async fn judge(app: &App, socket: IpAddr, headers: &HeaderMap) -> Response {
    let mut targets = headers.get_all(wire::ORIGINAL_URI_HEADER).iter();
    let path = match (targets.next(), targets.next()) {
        (Some(target), None) => RequestPath::parse(target.as_bytes()).and_then(|path| path.below(&app.repo_base)),
        _ => None,
    };
    let peer = || app.proxies.peer(socket, headers);
    let verdict = app.gate.judge((app.clock)(), path, Credentials::read(headers), peer).await;
    refusal(app, verdict).map_or_else(no_content, IntoResponse::into_response)
}

/// Counts a verdict and makes its problem document; `None` if the path may be fetched.
pub(super) fn refusal(app: &App, verdict: Verdict) -> Option<ProblemResponse> {
    let answers = &app.metrics.gate;
    let (counter, refused) = match verdict {
        Verdict::Open => (&answers.open, None),
        Verdict::Unauthenticated(why) => {
            (&answers.unauthenticated, Some(ProblemResponse::unauthenticated(Scheme::Basic, why)))
        }
        Verdict::Denied(why) => (&answers.forbidden, Some(denied((app.clock)(), why))),
        Verdict::NotCovered => (&answers.forbidden, Some(ProblemResponse::new(Code::PathNotCovered))),
        Verdict::NotAccepted => {
            let detail = "The gate does not accept this request target.";
            (&answers.forbidden, Some(ProblemResponse::new(Code::PathNotCovered).detail(detail)))
        }
        Verdict::Unknown => (&answers.unknown, Some(ProblemResponse::new(Code::Unavailable))),
    };
    counter.inc();
    refused
}
