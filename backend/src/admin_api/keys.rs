//! `/admin/v1/keys`: list, create, read, change, suspend, rotate.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use els_ledger::rules::KeyState;
use els_ledger::{
    Created, KeyChange, KeyFilter, KeyId, KeyRecord, KeyUpdate, MOST_SEATS, NewKey, Permission, Rotation, StateChange,
    SystemChange, SystemOutcome,
};
use els_protocol::{LicenseKey, Timestamp, clean, is_weak, wire};
use http::{StatusCode, Uri};
use serde::{Deserialize, Deserializer, Serialize};

use super::Admin;
use super::caller::Caller;
use super::problem::{AdminProblem, Code, Document};
use super::request::{Answer, ListCursor, Sent, date, limit, with_next};
use crate::dates::Edge;
use crate::secrets;

/// A license key, which is shown by its id.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Key {
    key_id: String,
    /// The license key itself: only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[schema(value_type = String)]
    state: KeyState,
    product: String,
    seats: wire::Seats,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    /// The time zone in which a day without a time is read.
    expires_zone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reseller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_unseen_after: Option<u32>,
    self_release: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when license keys that were rotated away are valid.
    #[schema(value_type = Vec<String>)]
    old_until: Vec<Timestamp>,
    /// How many machine and hardware ids this key distrusts.
    distrusted: usize,
}

#[derive(Serialize, utoipa::ToSchema)]
struct KeyList {
    items: Vec<Key>,
    /// The value of `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Changed {
    before: Key,
    after: Key,
}

#[derive(Serialize, utoipa::ToSchema)]
struct RotatedKey {
    key_id: String,
    /// The new license key, unless the request brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyQuery {
    contract: Option<String>,
    reseller: Option<String>,
    product: Option<String>,
    /// active, suspended or revoked.
    state: Option<String>,
    /// A time, or a day in the time zone of the site.
    expires_before: Option<String>,
    expires_after: Option<String>,
    /// At least this many percent of the seats are used.
    #[param(value_type = Option<u32>)]
    used_from: Option<String>,
    /// A whole key id, or part of a contract or reseller.
    q: Option<String>,
    /// `next` of the page before.
    pub(super) after: Option<String>,
    /// The most items of the page, 1 to 1000; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub(super) limit: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    seats: u64,
    /// A time, or a day in the time zone of the site, whose last second is meant.
    expires: String,
    starts: Option<String>,
    /// Absent: the first product.
    product: Option<String>,
    contract: Option<String>,
    reseller: Option<String>,
    note: Option<String>,
    /// Days, 30 at least.
    release_unseen_after: Option<u32>,
    #[serde(default = "yes")]
    #[schema(default = true)]
    self_release: bool,
    /// The license key, if it is not to be made here: then no answer has it.
    key: Option<String>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PatchKey {
    #[schema(maximum = 1_000_000_000)]
    seats: Option<u64>,
    /// More seats than there are, or fewer: needs `If-Match`.
    seats_add: Option<i64>,
    expires: Option<String>,
    product: Option<String>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    starts: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    contract: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    reseller: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    note: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    release_unseen_after: Option<Option<u32>>,
    self_release: Option<bool>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct SetState {
    /// active, suspended or revoked.
    state: String,
    /// For the audit log.
    reason: Option<String>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub(super) struct Rotate {
    /// Until when the present license key is valid; absent: it ends now.
    old_until: Option<String>,
    /// The license key, if it is not to be made here: then no answer has it.
    key: Option<String>,
}

/// List keys in the order in which they were made.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "keys", params(KeyQuery),
    responses((status = 200, body = KeyList), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn list_keys(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    uri: Uri,
    query: Result<Query<KeyQuery>, QueryRejection>,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysRead)?;
    let Query(query) = query.map_err(|error| AdminProblem::invalid(error.body_text()))?;
    let (filter, limit) = (query.filter(&admin)?, limit(query.limit.as_deref())?);
    let cursor = ListCursor::read(&admin, &format!("keys {filter:?}"), query.after.as_deref()).await?;
    let mut found = admin.store.keys_matching((admin.clock)(), scope, filter, cursor.key(), limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| cursor.after(last.number, None));
    let items = found.into_iter().map(|record| Key::of(&admin.zone_name, record, None)).collect();
    let list = KeyList { items, next };
    let response = Answer::json(StatusCode::OK, &list).into_response();
    Ok(with_next(response, &uri, list.next.as_deref()))
}

/// Create a key. `Idempotency-Key` or `contract` is required, so that a request whose answer was lost can be sent again.
#[utoipa::path(post, path = "/admin/v1/keys", tag = "keys", request_body = CreateKey,
    params(("Idempotency-Key" = Option<String>, Header,), ("dry_run" = Option<bool>, Query,)),
    responses((status = 201, body = Key), (status = 200, description = "The contract has this key already", body = Key),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn create_key(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysWrite)?;
    let body: CreateKey = sent.json()?;
    if !sent.has_idempotency_key() && body.contract.is_none() {
        return Err(AdminProblem::invalid("Idempotency-Key or contract is required."));
    }
    let expires = date(&admin, "expires", &body.expires, Edge::End)?;
    let starts = body.starts.as_deref().map(|text| date(&admin, "starts", text, Edge::Beginning)).transpose()?;
    if starts.is_some_and(|starts| starts >= expires) {
        return Err(AdminProblem::member("starts", "the key would expire before it starts"));
    }
    let (key, imported) = license_key(body.key.as_deref())?;
    let new = NewKey {
        id: secrets::new_key_id().map_err(no_random)?,
        product: product(&admin, &caller, body.product.as_deref())?,
        seats: seats(body.seats, 1)?,
        starts,
        expires,
        contract: text("contract", body.contract)?,
        reseller: reseller(&caller, text("reseller", body.reseller)?)?,
        note: text("note", body.note)?,
        release_unseen_after: unseen(body.release_unseen_after)?,
        self_release: body.self_release,
        imported,
    };
    let change = SystemChange::Create { key: Box::new(new), key_hash: key.hash() };
    let shown = (!imported && !sent.dry_run).then(|| key.expose().to_owned());
    let (zone, token) = (admin.zone_name.clone(), caller.token.clone());
    let reached = move |key: &KeyRecord| token.reaches(key);
    sent.carry_out(&admin, &caller, scope, change, move |outcome| match outcome {
        SystemOutcome::Created(Created::New(record)) => {
            let version = record.version();
            Ok(Answer::json(StatusCode::CREATED, &Key::of(&zone, record.clone(), shown.clone())).version(&version))
        }
        SystemOutcome::Created(Created::Same(record)) if reached(record) => {
            Ok(Answer::json(StatusCode::OK, &Key::of(&zone, record.clone(), None)).version(&record.version()))
        }
        SystemOutcome::Created(Created::Same(record) | Created::Differs(record, _)) => {
            Err(AdminProblem::new(Code::ContractTaken).key(Some(&record.key_id).filter(|_| reached(record))))
        }
        SystemOutcome::Created(Created::SecretTaken(_)) => Err(AdminProblem::new(Code::KeyTaken)),
        other => Err(unexpected(other)),
    })
    .await
}

/// Read a key.
#[utoipa::path(get, path = "/admin/v1/keys/{key_id}", tag = "keys", params(("key_id" = String, Path,)),
    responses((status = 200, body = Key, headers(("ETag" = String, description = "Changes with the terms of the key"))),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn read_key(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysRead)?;
    let found = admin.store.key((admin.clock)(), scope, &key_id(&id)?).await?;
    let record = found.ok_or_else(not_found)?;
    let version = record.version();
    Ok(Answer::json(StatusCode::OK, &Key::of(&admin.zone_name, record, None)).version(&version).into_response())
}

/// Change a key (JSON merge patch: null removes a value).
#[utoipa::path(patch, path = "/admin/v1/keys/{key_id}", tag = "keys", request_body = PatchKey,
    params(("key_id" = String, Path,), ("If-Match" = Option<String>, Header,), ("Idempotency-Key" = Option<String>, Header,),
        ("dry_run" = Option<bool>, Query,)),
    responses((status = 200, body = Changed),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn update_key(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysWrite)?;
    let (id, body): (KeyId, PatchKey) = (key_id(&id)?, sent.json()?);
    if body.seats_add.is_some() {
        if body.seats.is_some() {
            return Err(AdminProblem::member("seats_add", "cannot be given together with seats"));
        }
        if sent.if_match.is_none() {
            return Err(AdminProblem::new(Code::PreconditionRequired).detail("seats_add needs If-Match."));
        }
    }
    let own = |name: Option<Option<String>>| match name {
        Some(name) => reseller(&caller, text("reseller", name)?).map(Some),
        None => Ok(None),
    };
    let starts = match body.starts {
        Some(Some(text)) => Some(Some(date(&admin, "starts", &text, Edge::Beginning)?)),
        Some(None) => Some(None),
        None => None,
    };
    let change = KeyChange {
        seats: body.seats.map(|number| seats(number, 0)).transpose()?,
        product: body.product.as_deref().map(|id| product(&admin, &caller, Some(id))).transpose()?,
        starts,
        expires: body.expires.as_deref().map(|text| date(&admin, "expires", text, Edge::End)).transpose()?,
        contract: body.contract.map(|value| text("contract", value)).transpose()?,
        reseller: own(body.reseller)?,
        note: body.note.map(|value| text("note", value)).transpose()?,
        release_unseen_after: body.release_unseen_after.map(unseen).transpose()?,
        self_release: body.self_release,
        trust_again: false,
    };
    let change = SystemChange::Update {
        id,
        change: Box::new(change),
        seats_add: body.seats_add,
        if_match: sent.if_match.clone(),
    };
    update(&admin, &caller, scope, sent, change, |before, after| {
        let version = after.as_ref().map(|after| after.1.clone());
        match (after, version) {
            (Some((after, _)), Some(version)) => {
                Answer::json(StatusCode::OK, &Changed { before, after }).version(&version)
            }
            _ => Answer::no_content(),
        }
    })
    .await
}

/// Suspend, resume or revoke a key. Repeating it gives the same answer.
#[utoipa::path(put, path = "/admin/v1/keys/{key_id}/state", tag = "keys", request_body = SetState,
    params(("key_id" = String, Path,), ("If-Match" = Option<String>, Header,), ("Idempotency-Key" = Option<String>, Header,),
        ("dry_run" = Option<bool>, Query,)),
    responses((status = 200, body = Key),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn set_key_state(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysState)?;
    let (id, body): (KeyId, SetState) = (key_id(&id)?, sent.json()?);
    let state = state(&body.state).ok_or_else(|| AdminProblem::member("state", STATES))?;
    let reason = text("reason", body.reason)?;
    let change = SystemChange::SetState { id, state, reason, if_match: sent.if_match.clone() };
    let zone = admin.zone_name.clone();
    sent.carry_out(&admin, &caller, scope, change, move |outcome| match outcome {
        SystemOutcome::StateSet(StateChange::Done(record)) => {
            Ok(Answer::json(StatusCode::OK, &Key::of(&zone, record.clone(), None)).version(&record.version()))
        }
        SystemOutcome::StateSet(StateChange::Revoked) => Err(AdminProblem::new(Code::KeyRevoked)),
        other => Err(unexpected(other)),
    })
    .await
}

/// Give a key a new license key for the same seats. `Idempotency-Key` is required.
#[utoipa::path(post, path = "/admin/v1/keys/{key_id}/rotations", tag = "keys", request_body = Rotate,
    params(("key_id" = String, Path,), ("Idempotency-Key" = String, Header,), ("dry_run" = Option<bool>, Query,)),
    responses((status = 201, body = RotatedKey),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn rotate_key(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysSecret)?;
    let (id, body): (KeyId, Rotate) = (key_id(&id)?, sent.json()?);
    if !sent.has_idempotency_key() {
        return Err(AdminProblem::invalid("Idempotency-Key is required."));
    }
    let old_until = body.old_until.as_deref().map(|text| date(&admin, "old_until", text, Edge::End)).transpose()?;
    let (key, imported) = license_key(body.key.as_deref())?;
    let change = SystemChange::Rotate { id: id.clone(), key_hash: key.hash(), old_until };
    let shown = (!imported && !sent.dry_run).then(|| key.expose().to_owned());
    sent.carry_out(&admin, &caller, scope, change, move |outcome| match outcome {
        SystemOutcome::Rotated(Rotation::Rotated) => {
            Ok(Answer::json(StatusCode::CREATED, &RotatedKey { key_id: id.to_string(), key: shown.clone() }))
        }
        SystemOutcome::Rotated(Rotation::Revoked) => Err(AdminProblem::new(Code::KeyRevoked)),
        SystemOutcome::Rotated(Rotation::SecretTaken(_)) => Err(AdminProblem::new(Code::KeyTaken)),
        SystemOutcome::Rotated(Rotation::NoSuchKey) => Err(not_found()),
        other => Err(unexpected(other)),
    })
    .await
}

/// Use the ids that a key distrusts again to recognise machines.
#[utoipa::path(delete, path = "/admin/v1/keys/{key_id}/distrusted", tag = "keys", params(("key_id" = String, Path,)),
    responses((status = 204), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn trust_again(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::KeysWrite)?;
    let change = Box::new(KeyChange { trust_again: true, ..KeyChange::default() });
    let change = SystemChange::Update { id: key_id(&id)?, change, seats_add: None, if_match: sent.if_match.clone() };
    update(&admin, &caller, scope, sent, change, |_, _| Answer::no_content()).await
}

impl Key {
    pub(super) fn of(zone: &str, record: KeyRecord, key: Option<String>) -> Self {
        Key {
            key_id: record.key_id.to_string(),
            key,
            state: record.state,
            product: record.product,
            seats: record.seats,
            starts: record.starts,
            expires: record.expires,
            expires_zone: zone.to_owned(),
            contract: record.contract,
            reseller: record.reseller,
            note: record.note,
            release_unseen_after: record.release_unseen_after,
            self_release: record.self_release,
            created_at: record.created_at,
            old_until: record.old_until,
            distrusted: record.distrusted.len(),
        }
    }
}

impl Key {
    /// The cells of a row of CSV.
    pub(super) fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            self.key_id.clone(),
            state_text(self.state).to_owned(),
            self.product.clone(),
            self.seats.total.to_string(),
            self.seats.used.to_string(),
            self.starts.map(|time| time.to_string()).unwrap_or_default(),
            self.expires.to_string(),
            text(&self.contract),
            text(&self.reseller),
            text(&self.note),
            self.release_unseen_after.map(|days| days.to_string()).unwrap_or_default(),
            self.self_release.to_string(),
            self.created_at.to_string(),
        ]
    }
}

impl KeyQuery {
    pub(super) fn filter(&self, admin: &Admin) -> Result<KeyFilter, AdminProblem> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let time =
            |name, text: &Option<String>, edge| named(text).map(|text| date(admin, name, &text, edge)).transpose();
        let state = match named(&self.state) {
            Some(text) => Some(state(&text).ok_or_else(|| AdminProblem::invalid(format!("state: {STATES}")))?),
            None => None,
        };
        let percent = |text: String| {
            let percent = text.parse().ok().filter(|percent| *percent <= 1000);
            percent.ok_or_else(|| AdminProblem::invalid("used_from: must be a number of percent."))
        };
        Ok(KeyFilter {
            contract: named(&self.contract),
            reseller: named(&self.reseller),
            product: named(&self.product),
            state,
            expires_before: time("expires_before", &self.expires_before, Edge::Beginning)?,
            expires_after: time("expires_after", &self.expires_after, Edge::End)?,
            used_from: named(&self.used_from).map(percent).transpose()?,
            text: named(&self.q),
        })
    }
}

async fn update(
    admin: &Admin,
    caller: &Caller,
    scope: els_ledger::Scope,
    sent: Sent,
    change: SystemChange,
    encode: impl Fn(Key, Option<(Key, String)>) -> Answer + Send + Sync + 'static,
) -> Result<Response, AdminProblem> {
    let zone = admin.zone_name.clone();
    let token = caller.token.clone();
    sent.carry_out(admin, caller, scope, change, move |outcome| match outcome {
        SystemOutcome::Updated(before, KeyUpdate::Updated(after)) => {
            let after = (Key::of(&zone, after.clone(), None), after.version());
            Ok(encode(Key::of(&zone, (**before).clone(), None), Some(after)))
        }
        SystemOutcome::Updated(_, KeyUpdate::ContractTaken(other)) => Err(AdminProblem::new(Code::ContractTaken)
            .key(Some(other).filter(|_| token.scope() == els_ledger::Scope::Vendor))),
        other => Err(unexpected(other)),
    })
    .await
}

/// The answer to an outcome that every change of a key can have.
fn unexpected(outcome: &SystemOutcome) -> AdminProblem {
    match outcome {
        SystemOutcome::NoSuchKey
        | SystemOutcome::StateSet(StateChange::NoSuchKey)
        | SystemOutcome::Updated(_, KeyUpdate::NoSuchKey) => not_found(),
        SystemOutcome::NotThatVersion => AdminProblem::new(Code::PreconditionFailed),
        SystemOutcome::SeatsOutOfRange => AdminProblem::member(
            "seats_add",
            format!("the key would have fewer than 0 or more than {MOST_SEATS} seats"),
        ),
        _ => AdminProblem::new(Code::Internal),
    }
}

pub(super) fn not_found() -> AdminProblem {
    AdminProblem::new(Code::NotFound)
}

/// A key id of a path: one that is malformed does not exist.
pub(super) fn key_id(text: &str) -> Result<KeyId, AdminProblem> {
    KeyId::parse(text).ok_or_else(not_found)
}

fn no_random(error: anyhow::Error) -> AdminProblem {
    tracing::error!(%error, "answered 500");
    AdminProblem::new(Code::Internal)
}

/// The license key that a request brings, or a new one; and whether it was brought.
fn license_key(given: Option<&str>) -> Result<(LicenseKey, bool), AdminProblem> {
    let Some(text) = given else { return secrets::new_key().map(|key| (key, false)).map_err(no_random) };
    let key = LicenseKey::parse(text).map_err(|error| AdminProblem::member("key", error.to_string()))?;
    if is_weak(&key) {
        return Err(AdminProblem::member("key", "has fewer than 20 characters and could be guessed"));
    }
    if secrets::looks_like_token(key.expose()) {
        return Err(AdminProblem::member("key", "cannot begin with elsa_ or elsp_, as tokens and passes do"));
    }
    Ok((key, true))
}

/// A product that the token reaches; without a name the first one.
fn product(admin: &Admin, caller: &Caller, named: Option<&str>) -> Result<String, AdminProblem> {
    let reached = |id: &str| caller.token.products.is_empty() || caller.token.products.iter().any(|one| one == id);
    let mut products = admin.products.iter().map(|product| product.id.as_str()).filter(|id| reached(id));
    let found = products.find(|id| named.is_none_or(|named| named == *id));
    found.map(str::to_owned).ok_or_else(|| AdminProblem::member("product", "there is no such product"))
}

/// The reseller that a key gets: a token of a reseller gives its own.
fn reseller(caller: &Caller, named: Option<String>) -> Result<Option<String>, AdminProblem> {
    match (&caller.token.reseller, named) {
        (None, named) => Ok(named),
        (Some(own), None) => Ok(Some(own.clone())),
        (Some(own), Some(named)) if *own == named => Ok(Some(named)),
        (Some(_), Some(_)) => Err(AdminProblem::member("reseller", "is not the reseller of this token")),
    }
}

/// A text that can be printed in tables; an empty one is none.
fn text(name: &str, value: Option<String>) -> Result<Option<String>, AdminProblem> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.chars().count() <= 256 && clean(&value, 256) == value {
        true => Ok(Some(value)),
        false => Err(AdminProblem::member(name, "has more than 256 characters, or control characters")),
    }
}

fn seats(number: u64, least: u64) -> Result<u64, AdminProblem> {
    let fits = (least..=MOST_SEATS).contains(&number);
    fits.then_some(number).ok_or_else(|| AdminProblem::member("seats", format!("must be {least} to {MOST_SEATS}")))
}

fn unseen(days: Option<u32>) -> Result<Option<u32>, AdminProblem> {
    match days {
        Some(days) if !(30..=36_500).contains(&days) => {
            Err(AdminProblem::member("release_unseen_after", "must be 30 to 36500 days"))
        }
        days => Ok(days),
    }
}

fn state(text: &str) -> Option<KeyState> {
    [KeyState::Active, KeyState::Suspended, KeyState::Revoked].into_iter().find(|state| state_text(*state) == text)
}

fn state_text(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Suspended => "suspended",
        KeyState::Revoked => "revoked",
    }
}

fn yes() -> bool {
    true
}

/// Tells null, which removes a value, from a member that is absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

const STATES: &str = "must be active, suspended or revoked";
