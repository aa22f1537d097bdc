//! `/v1/seats`: the holder of a key lists its seats and releases them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use els_ledger::rules::RegistrationState;
use els_ledger::{Actor, Holder, Scope};
use els_protocol::{Problem, RegistrationId, wire};
use els_server::body::{json, no_content};
use els_server::problem::ProblemResponse;
use http::StatusCode;
use serde::Deserialize;

use super::app::App;
use super::call::Call;
use super::extract::{KeyHash, Peer, RegistrationPath, RequestId};

/// Which page of a seat list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The id after which the page begins: `next` of the previous page. Empty or absent for the first page.
    #[param(value_type = Option<String>, pattern = "^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$")]
    after: Option<String>,
    /// The most registrations on the page, 1 to 1000; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// List the registrations of the key that are active or superseded, one page at a time, in the order of their ids.
#[utoipa::path(
    get,
    path = wire::SEATS_PATH,
    tag = "seats",
    params(PageQuery),
    responses(
        (status = 200, description = "One page; `next` is the value of `after` for the next page", body = wire::SeatList),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`: the key is missing", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`unknown-key`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(super) async fn list_seats(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    KeyHash(key_hash): KeyHash,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, ProblemResponse> {
    let Query(query) = query.map_err(|rejection| ProblemResponse::invalid(rejection.body_text()))?;
    let (after, limit) = (query.after()?, query.limit()?);
    let call = Call::with_key(&app, peer, &key_hash).await?;
    let (store, now) = (app.store.clone(), (app.clock)());
    let page = call.run(async move { store.seat_page(now, key_hash, after, limit).await }).await?;
    let product = app.product(&page.product)?;
    let list = wire::SeatList {
        key_id: page.key_id.to_string(),
        product: wire::Product { id: product.id.clone(), name: product.name.clone() },
        expires: page.expires,
        seats: page.seats,
        registrations: page.registrations.into_iter().filter_map(holder).collect(),
        next: page.next,
    };
    Ok(json(StatusCode::OK, &list))
}

/// Release the seat of a machine that is gone. Repeating it gives the same response.
#[utoipa::path(
    delete,
    path = wire::SEAT_PATH,
    tag = "seats",
    params(("id" = RegistrationId, Path, description = "The registration that holds the seat")),
    responses(
        (status = 204, description = "The machine has no seat"),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`: the key is missing", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`unknown-key`, `key-release-denied`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-registration`: it belongs to another key or does not exist", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
pub(super) async fn release_seat(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    request_id: RequestId,
    KeyHash(key_hash): KeyHash,
    RegistrationPath(id): RegistrationPath,
) -> Result<Response, ProblemResponse> {
    let call = Call::with_key(&app, peer, &key_hash).await?;
    let (store, now, by) = (app.store.clone(), (app.clock)(), request_id.by(Actor::KeyHolder));
    call.run(async move { store.release_seat(now, Scope::Key(key_hash), by, id).await }).await?;
    Ok(no_content())
}

/// A registration as the holder of the key sees it; `None` for a released one, which holds nothing.
fn holder(one: Holder) -> Option<wire::SeatHolder> {
    let state = match one.state {
        RegistrationState::Active => wire::RegistrationState::Active,
        RegistrationState::Superseded => wire::RegistrationState::Superseded,
        RegistrationState::Released => return None,
    };
    Some(wire::SeatHolder {
        registration: one.registration,
        state,
        until: one.until,
        label: one.label,
        os: one.os,
        arch: one.arch,
        registered_at: one.registered_at,
        last_seen_at: one.last_seen_at,
        networks: None,
    })
}

impl PageQuery {
    fn after(&self) -> Result<Option<RegistrationId>, ProblemResponse> {
        let after = self.after.as_deref().filter(|after| !after.is_empty());
        let id = |text| {
            RegistrationId::parse(text).ok_or_else(|| ProblemResponse::invalid("after: must be a lower-case UUID."))
        };
        after.map(id).transpose()
    }

    fn limit(&self) -> Result<u32, ProblemResponse> {
        let Some(limit) = self.limit.as_deref().filter(|limit| !limit.is_empty()) else { return Ok(PAGE) };
        let limit = limit.parse().ok().filter(|limit| (1..=wire::SEAT_PAGE_MOST).contains(limit));
        limit.ok_or_else(|| ProblemResponse::invalid(format!("limit: must be 1 to {}.", wire::SEAT_PAGE_MOST)))
    }
}

/// Registrations on a page if the request does not say.
const PAGE: u32 = 100;
