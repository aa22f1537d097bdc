//! `/v1/seats`: what the holder of a key sees of its seats, and may free.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use els_protocol::{LicenseKey, Problem, RegistrationId, wire};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::body::{json, no_content};
use super::problem::{Refused, Scheme};
use super::registrations::{admit, carried_out, judged, product, registration_id};
use super::{App, Client, RequestId};
use els_ledger::rules::Denied;
use els_ledger::{Actor, Scope};
use els_server::credential::bearer_key;

/// Which page of a seat list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The id after which the page begins: `next` of the page before. Empty, or absent, for the first.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$")]
    after: Option<String>,
    /// At most so many registrations, 1 to 1000; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// The machines that hold the key's seats, a page at a time, in the order of their ids.
#[utoipa::path(
    get,
    path = "/v1/seats",
    tag = "seats",
    params(PageQuery),
    responses(
        (status = 200, description = "A page; `next` is the value of `after` for the one that follows", body = wire::SeatList),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`: there is no key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`unknown-key`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(Client(client)): Extension<Client>,
    query: Result<Query<PageQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = key(&headers)?;
    let Query(query) = query.map_err(|rejection| Refused::invalid(rejection.body_text()))?;
    let after = match query.after.as_deref() {
        None | Some("") => None,
        Some(id) => {
            Some(RegistrationId::parse(id).ok_or_else(|| Refused::invalid("after: has to be a lower-case UUID."))?)
        }
    };
    let limit = match query.limit.as_deref() {
        None | Some("") => PAGE,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=wire::SEAT_PAGE_MOST).contains(limit))
            .ok_or_else(|| Refused::invalid(format!("limit: has to be 1 to {}.", wire::SEAT_PAGE_MOST)))?,
    };
    let key_hash = key.hash();
    let admission = admit(&app, client, || app.limits.knows_key(&key_hash)).await?;
    let page = carried_out(admission, {
        let app = app.clone();
        async move { app.store.seat_page((app.clock)(), key_hash, after, limit).await }
    })
    .await?;
    let page = judged(&app, client, page)?;
    app.limits.key_is_known(&key_hash);
    let product = product(&app, &page.product)?;
    let list = wire::SeatList {
        key_id: page.key_id.to_string(),
        product: wire::Product { id: product.id.clone(), name: product.name.clone() },
        expires: page.expires,
        seats: page.seats,
        registrations: page.registrations,
        next: page.next,
    };
    Ok(json(StatusCode::OK, &list))
}

/// Free the seat of a machine that is gone. Again and again with the same answer.
#[utoipa::path(
    delete,
    path = "/v1/seats/{id}",
    tag = "seats",
    params(("id" = RegistrationId, Path, description = "The registration that holds the seat")),
    responses(
        (status = 204, description = "The machine holds no seat"),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`: there is no key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`unknown-key`, `key-release-denied`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-registration`: another key's, or nobody's", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(super) async fn release(
    State(app): State<Arc<App>>,
    Extension(Client(client)): Extension<Client>,
    Extension(request_id): Extension<RequestId>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key_hash = key(&headers)?.hash();
    let id = registration_id(&id)?;
    let admission = admit(&app, client, || app.limits.knows_key(&key_hash)).await?;
    let by = request_id.by(Actor::KeyHolder);
    let released = carried_out(admission, {
        let app = app.clone();
        async move { app.store.release_seat((app.clock)(), Scope::Key(key_hash), by, id).await }
    })
    .await?;
    if !matches!(released, Err(Denied::UnknownKey)) {
        app.limits.key_is_known(&key_hash);
    }
    judged(&app, client, released)?;
    Ok(no_content())
}

fn key(headers: &HeaderMap) -> Result<LicenseKey, Refused> {
    match bearer_key(headers) {
        None => Err(Refused::unauthenticated(Scheme::Bearer, "The license key is required, as a bearer token.")),
        Some(key) => key.map_err(|why| Refused::invalid(format!("Authorization: {why}."))),
    }
}

/// Registrations on a page when the client does not say.
const PAGE: u32 = 100;
