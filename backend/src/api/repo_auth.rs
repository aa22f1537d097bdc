//! `GET /v1/repo-auth`: web servers ask the gate before they send a file.

use std::net::IpAddr;

use axum::response::{IntoResponse, Response};
use els_protocol::{Code, wire};
use http::HeaderMap;

use super::App;
use super::body::no_content;
use super::problem::{Refused, Scheme};
use crate::gate::Verdict;
use els_server::credential::Credentials;
use els_server::path::RequestPath;

/// Judges the request that `X-Original-URI` tells of.
pub(super) async fn judge(app: &App, peer: IpAddr, headers: &HeaderMap) -> Response {
    let mut targets = headers.get_all(wire::ORIGINAL_URI_HEADER).iter();
    let path = match (targets.next(), targets.next()) {
        (Some(target), None) => RequestPath::parse(target.as_bytes()).and_then(|path| path.below(&app.repo_base)),
        _ => None,
    };
    let client = || app.proxies.client(peer, headers);
    let verdict = app.gate.judge((app.clock)(), path, Credentials::read(headers), client).await;
    refusal(app, verdict).map_or_else(no_content, IntoResponse::into_response)
}

/// What the gate's verdict is on the wire; `None` when the way is open. Counts it.
pub(super) fn refusal(app: &App, verdict: Verdict) -> Option<Refused> {
    let answers = &app.metrics.gate;
    let (counter, refused) = match verdict {
        Verdict::Open => (&answers.open, None),
        Verdict::Unauthenticated(why) => (&answers.unauthenticated, Some(Refused::unauthenticated(Scheme::Basic, why))),
        Verdict::Forbidden(code, why) => {
            let refused = Refused::new(code);
            (
                &answers.forbidden,
                Some(match why {
                    Some(why) => refused.detail(why),
                    None => refused,
                }),
            )
        }
        Verdict::Denied(denied) => (&answers.forbidden, Some(denied.into())),
        Verdict::Unknown => (&answers.unknown, Some(Refused::new(Code::Unavailable))),
    };
    counter.inc();
    refused
}

/// May this credential fetch a path of the repositories?
///
/// For web servers in front of the repositories (nginx `auth_request`, Caddy `forward_auth`). `X-Original-URI` has to be
/// there exactly once and to hold the raw request target, at most 4096 bytes. Paths that are public need no credential.
#[utoipa::path(
    get,
    path = "/v1/repo-auth",
    tag = "gate",
    params(("X-Original-URI" = String, Header, description = "The raw request target, as the client sent it")),
    responses(
        (status = 204, description = "The path may be fetched"),
        (status = 401, description = "`credential-invalid`: no credential, or it is malformed, unknown, wrong or released",
            body = els_protocol::Problem, content_type = "application/problem+json"),
        (status = 403, description = "`path-not-covered`, also for a target that is not fit to be judged; `key-expired`, \
            `key-suspended`, `key-revoked`", body = els_protocol::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: the gate cannot know",
            body = els_protocol::Problem, content_type = "application/problem+json"),
    ),
    security((), ("credential" = []))
)]
pub(super) async fn repo_auth(
    axum::extract::State(app): axum::extract::State<std::sync::Arc<App>>,
    axum::Extension(super::Client(client)): axum::Extension<super::Client>,
    headers: HeaderMap,
) -> Response {
    // GET never comes here (it takes the short way); HEAD does.
    judge(&app, client, &headers).await
}
