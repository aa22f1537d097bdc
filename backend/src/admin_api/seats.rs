//! Registrations and their seats: lists, one registration, releases, and finding both keys and registrations.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use els_ledger::rules::RegistrationState;
use els_ledger::{Holder, KeyId, MOST_RELEASES, Permission, Release, SeatFilter, SystemChange, SystemOutcome};
use els_protocol::{RegistrationId, Timestamp, wire};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::caller::Caller;
use super::keys::{Key, key_id, not_found};
use super::problem::{AdminProblem, Code, Document};
use super::request::{Answer, ListCursor, Sent, date, limit, with_next};
use crate::dates::Edge;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Registration {
    registration: String,
    key_id: String,
    /// active, superseded or released.
    #[schema(value_type = String)]
    state: RegistrationState,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    os: wire::Os,
    arch: String,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_seen_at: Option<Timestamp>,
    /// When it was superseded or released.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// The machine id, with `ids=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// The hardware id, with `ids=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    hardware: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct SeatList {
    items: Vec<Registration>,
    /// The value of `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SeatQuery {
    /// Part of the label.
    label: Option<String>,
    /// A time, or a day in the time zone of the site.
    not_seen_since: Option<String>,
    /// The id of the operating system, such as almalinux.
    os: Option<String>,
    arch: Option<String>,
    /// true: with machine and hardware ids.
    #[param(value_type = Option<bool>)]
    pub(super) ids: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// The most items of the page, 1 to 1000; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct Releases {
    /// Registrations of this key, at most 1000.
    #[schema(value_type = Option<Vec<String>>)]
    registrations: Option<Vec<RegistrationId>>,
    /// All that match, if they are as many as `expected`.
    filter: Option<ReleaseFilter>,
    expected: Option<u64>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReleaseFilter {
    label: Option<String>,
    not_seen_since: Option<String>,
    os: Option<String>,
    arch: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Released {
    items: Vec<ReleasedItem>,
    released: u64,
    /// How many that match are left, since one request releases at most 1000.
    left: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ReleasedItem {
    registration: String,
    /// released, already or not-found.
    outcome: &'static str,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct FindQuery {
    /// A whole id, or part of a contract, reseller or label.
    q: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct FoundBoth {
    keys: Vec<Key>,
    registrations: Vec<Registration>,
}

/// List the active and superseded registrations of all keys, in the order of key and id.
#[utoipa::path(get, path = "/admin/v1/seats", tag = "seats", params(SeatQuery),
    responses((status = 200, body = SeatList), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn list_seats(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    uri: Uri,
    query: Result<Query<SeatQuery>, QueryRejection>,
) -> Result<Response, AdminProblem> {
    caller.may(Permission::SeatsRead)?;
    list(&admin, &caller, &uri, None, query).await
}

/// List the active and superseded registrations of a key, in the order of their ids.
#[utoipa::path(get, path = "/admin/v1/keys/{key_id}/seats", tag = "seats", params(("key_id" = String, Path,), SeatQuery),
    responses((status = 200, body = SeatList), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn list_key_seats(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    query: Result<Query<SeatQuery>, QueryRejection>,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::SeatsRead)?;
    let id = key_id(&id)?;
    admin.store.key((admin.clock)(), scope, &id).await?.ok_or_else(not_found)?;
    list(&admin, &caller, &uri, Some(id), query).await
}

/// Read a registration, also one that was released.
#[utoipa::path(get, path = "/admin/v1/registrations/{registration}", tag = "seats", params(("registration" = String, Path,)),
    responses((status = 200, body = Registration), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn read_registration(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::SeatsRead)?;
    let found = admin.store.registration_record((admin.clock)(), scope, registration_id(&id)?).await?;
    let found = Registration::of(found.ok_or_else(not_found)?, false);
    Ok(Answer::json(StatusCode::OK, &found).into_response())
}

/// Release the seat of a registration. Repeating it gives the same answer.
#[utoipa::path(delete, path = "/admin/v1/registrations/{registration}", tag = "seats",
    params(("registration" = String, Path,), ("dry_run" = Option<bool>, Query,)),
    responses((status = 204), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn release_registration(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::SeatsRelease)?;
    let change = SystemChange::Release { key: None, registrations: vec![registration_id(&id)?] };
    sent.carry_out(&admin, &caller, scope, change, |outcome| match outcome {
        SystemOutcome::Released(items) if items.iter().all(|(_, how)| *how != Release::NotFound) => {
            Ok(Answer::no_content())
        }
        _ => Err(not_found()),
    })
    .await
}

/// Release seats of a key: by their registrations, or all that match a filter, if their number is the expected one.
#[utoipa::path(post, path = "/admin/v1/keys/{key_id}/releases", tag = "seats", request_body = Releases,
    params(("key_id" = String, Path,), ("Idempotency-Key" = Option<String>, Header,), ("dry_run" = Option<bool>, Query,)),
    responses((status = 200, body = Released), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn release_seats(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::SeatsRelease)?;
    let (id, body): (KeyId, Releases) = (key_id(&id)?, sent.json()?);
    let (change, expected) = match (body.registrations, body.filter, body.expected) {
        (Some(registrations), None, None) if registrations.len() <= MOST_RELEASES as usize => {
            (SystemChange::Release { key: Some(id), registrations }, 0)
        }
        (Some(_), None, None) => {
            return Err(AdminProblem::member("registrations", format!("names more than {MOST_RELEASES}")));
        }
        (None, Some(filter), Some(expected)) => {
            let since = filter
                .not_seen_since
                .as_deref()
                .map(|text| date(&admin, "filter/not_seen_since", text, Edge::Beginning));
            let filter = SeatFilter {
                key: Some(id),
                label: filter.label.filter(|label| !label.is_empty()),
                not_seen_since: since.transpose()?,
                os: filter.os,
                arch: filter.arch,
            };
            (SystemChange::ReleaseMatching { filter, expected }, expected)
        }
        _ => return Err(AdminProblem::invalid("The body needs either registrations, or filter and expected.")),
    };
    sent.carry_out(&admin, &caller, scope, change, move |outcome| match outcome {
        SystemOutcome::Released(items) => {
            let released = items.iter().filter(|(_, how)| *how == Release::Released).count() as u64;
            let left = expected.saturating_sub(items.len() as u64);
            let items = items
                .iter()
                .map(|(id, how)| ReleasedItem { registration: id.to_string(), outcome: outcome_text(*how) });
            Ok(Answer::json(StatusCode::OK, &Released { items: items.collect(), released, left }))
        }
        SystemOutcome::CountDiffers(count) => Err(AdminProblem::new(Code::CountDiffers).count(*count)),
        _ => Err(not_found()),
    })
    .await
}

/// Find keys and registrations: at most 100 of each.
#[utoipa::path(get, path = "/admin/v1/find", tag = "seats", params(FindQuery),
    responses((status = 200, body = FoundBoth), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn find(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    query: Result<Query<FindQuery>, QueryRejection>,
) -> Result<Response, AdminProblem> {
    caller.may(Permission::SeatsRead)?;
    let scope = caller.may(Permission::KeysRead)?;
    let Query(query) = query.map_err(|error| AdminProblem::invalid(error.body_text()))?;
    if query.q.trim().is_empty() {
        return Err(AdminProblem::invalid("q: must not be empty."));
    }
    let found = admin.store.find((admin.clock)(), scope, query.q.trim(), FOUND_MOST).await?;
    let keys = found.keys.into_iter().map(|record| Key::of(&admin.zone_name, record, None)).collect();
    let registrations = found.registrations.into_iter().map(|holder| Registration::of(holder, false)).collect();
    Ok(Answer::json(StatusCode::OK, &FoundBoth { keys, registrations }).into_response())
}

impl Registration {
    pub(super) fn of(holder: Holder, ids: bool) -> Self {
        Registration {
            registration: holder.registration.to_string(),
            key_id: holder.key_id.to_string(),
            state: holder.state,
            label: holder.label.map(|label| label.to_string()),
            os: holder.os,
            arch: holder.arch,
            registered_at: holder.registered_at,
            last_seen_at: holder.last_seen_at,
            ended_at: holder.ended_at,
            machine: holder.machine.filter(|_| ids).map(|id| id.to_string()),
            hardware: holder.hardware.filter(|_| ids).map(|id| id.to_string()),
        }
    }
}

impl Registration {
    /// The cells of a row of CSV.
    pub(super) fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let state = match self.state {
            RegistrationState::Active => "active",
            RegistrationState::Superseded => "superseded",
            RegistrationState::Released => "released",
        };
        vec![
            self.registration.clone(),
            self.key_id.clone(),
            state.to_owned(),
            text(&self.label),
            self.os.id.clone(),
            self.os.version.clone(),
            self.arch.clone(),
            self.registered_at.to_string(),
            time(self.last_seen_at),
            time(self.ended_at),
            text(&self.machine),
            text(&self.hardware),
        ]
    }
}

impl SeatQuery {
    pub(super) fn filter(&self, admin: &Admin, key: Option<KeyId>) -> Result<SeatFilter, AdminProblem> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let since = named(&self.not_seen_since).map(|text| date(admin, "not_seen_since", &text, Edge::Beginning));
        Ok(SeatFilter {
            key,
            label: named(&self.label),
            not_seen_since: since.transpose()?,
            os: named(&self.os),
            arch: named(&self.arch),
        })
    }

    pub(super) fn ids(&self) -> Result<bool, AdminProblem> {
        match self.ids.as_deref() {
            Some("true") => Ok(true),
            None | Some("" | "false") => Ok(false),
            Some(_) => Err(AdminProblem::invalid("ids: must be true or false.")),
        }
    }
}

async fn list(
    admin: &Admin,
    caller: &Caller,
    uri: &Uri,
    key: Option<KeyId>,
    query: Result<Query<SeatQuery>, QueryRejection>,
) -> Result<Response, AdminProblem> {
    let Query(query) = query.map_err(|error| AdminProblem::invalid(error.body_text()))?;
    let (filter, limit, ids) = (query.filter(admin, key)?, limit(query.limit.as_deref())?, query.ids()?);
    let cursor = ListCursor::read(admin, &format!("seats {filter:?}"), query.after.as_deref()).await?;
    let scope = caller.token.scope();
    let mut found = admin.store.seats_matching((admin.clock)(), scope, filter, cursor.seat(), limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|(place, _)| cursor.after(place.key, Some(place.registration)));
    let items = found.into_iter().map(|(_, holder)| Registration::of(holder, ids)).collect();
    let list = SeatList { items, next };
    Ok(with_next(Answer::json(StatusCode::OK, &list).into_response(), uri, list.next.as_deref()))
}

/// A registration's id of a path: one that is malformed does not exist.
fn registration_id(text: &str) -> Result<RegistrationId, AdminProblem> {
    RegistrationId::parse(text).ok_or_else(not_found)
}

fn outcome_text(how: Release) -> &'static str {
    match how {
        Release::Released => "released",
        Release::Already => "already",
        Release::NotFound => "not-found",
    }
}

const FOUND_MOST: u32 = 100;
