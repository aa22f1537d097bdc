//! The admin listener: `/healthz`, `/readyz`, `/metrics`, for the operator.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use els_protocol::Code;
use els_server::body::text;
use els_server::metrics::MEDIA_TYPE;
use els_server::problem::ProblemResponse;
use http::{Method, Request};

use super::app::App;
use super::problem::store_failed;

pub(super) async fn respond<B>(app: &App, request: Request<B>) -> Response {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => text("text/plain", "ok\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => ready(app).await.unwrap_or_else(IntoResponse::into_response),
        (&Method::GET | &Method::HEAD, "/metrics") => {
            app.metrics.gate_sync_age.set(i64::try_from(app.gate.sync_age().as_secs()).unwrap_or(i64::MAX));
            text(MEDIA_TYPE, app.metrics.text())
        }
        _ => ProblemResponse::invalid("The admin listener has GET /healthz, /readyz and /metrics.").into_response(),
    }
}

/// Ready: the database answers, and the gate has applied all changes.
async fn ready(app: &App) -> Result<Response, ProblemResponse> {
    let unavailable = |why| Err(ProblemResponse::new(Code::Unavailable).detail(why));
    match tokio::time::timeout(DATABASE_TIMEOUT, app.store.health()).await {
        Ok(health) => health.map_err(store_failed)?,
        Err(_) => return unavailable("The database does not answer."),
    }
    match app.gate.sync_age() {
        age if age > SYNC_AGE_LIMIT => unavailable("The gate is cut off from the database."),
        _ => Ok(text("text/plain", "ready\n")),
    }
}

const DATABASE_TIMEOUT: Duration = Duration::from_secs(3);
/// The gate reads the feed once a second.
const SYNC_AGE_LIMIT: Duration = Duration::from_secs(5);
