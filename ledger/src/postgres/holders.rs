//! Lists of registrations: for holders of the key, and for the vendor.

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::client::{Statements, Values};
use super::failure::Failed;
use super::pauses::pauses;
use super::row::{Columns, key, key_columns, registration, registration_columns, scope_hash, uuid};
use crate::outcome::SeatPage;
use crate::rows::{KeyRow, REMEMBERED_SECONDS, RegistrationRow};
use crate::rules::{Denied, Judged, RegistrationState};
use crate::scope::{Scope, within_scope};
use crate::{Holder, KeyNumber, Policy};

/// The columns that [`holder`] reads.
macro_rules! columns {
    () => {
        "SELECT r.id, k.id, r.state, r.label, r.machine, r.hardware, r.os, r.os_version, r.arch, r.registered_at,
            r.last_seen_at, r.ended_at"
    };
}
pub(super) use columns;
macro_rules! holders {
    () => {
        concat!(columns!(), " FROM registrations r JOIN keys k ON k.number = r.key ")
    };
}

/// The key that a secret stands for at this time.
pub(super) async fn key_by_secret(
    db: &impl Statements,
    now: Timestamp,
    secret: &Sha256Hex,
) -> Result<Option<KeyRow>, Failed> {
    let rows = db.ask(KEY_BY_SECRET, vec![Box::new(secret.0.to_vec()), Box::new(now.unix())]).await?;
    rows.first().map(key).transpose()
}

/// A registration and its key, read at one moment.
pub(super) async fn own(db: &impl Statements, id: RegistrationId) -> Result<Option<(RegistrationRow, KeyRow)>, Failed> {
    let Some(found) = db.ask(OWN, vec![Box::new(uuid(&id))]).await?.first().map(registration).transpose()? else {
        return Ok(None);
    };
    let key = key_by_number(db, found.key).await?;
    Ok(Some((found, key)))
}

/// Whether there was an early release of this id and token within the last day.
pub(super) async fn is_remembered(
    db: &impl Statements,
    now: Timestamp,
    id: RegistrationId,
    token_hash: &Sha256Hex,
) -> Result<bool, Failed> {
    let since = now.plus_seconds(-REMEMBERED_SECONDS).unix();
    let values: Values<'_> = vec![Box::new(uuid(&id)), Box::new(token_hash.0.to_vec()), Box::new(since)];
    Ok(!db.ask(REMEMBERED, values).await?.is_empty())
}

/// One page of the machines that hold a key's seats.
pub(super) async fn page(
    db: &impl Statements,
    policy: &Policy,
    now: Timestamp,
    secret: &Sha256Hex,
    after: Option<RegistrationId>,
    limit: u32,
) -> Result<Judged<SeatPage>, Failed> {
    let Some(key) = key_by_secret(db, now, secret).await? else {
        return Ok(Err(Denied::UnknownKey));
    };
    let found = of_key(db, policy, now, &key, after, i64::from(limit) + 1).await?;
    Ok(Ok(key.page(found, limit)))
}

/// The registrations of a key that are active or superseded.
pub(super) async fn of_key(
    db: &impl Statements,
    policy: &Policy,
    now: Timestamp,
    key: &KeyRow,
    after: Option<RegistrationId>,
    limit: i64,
) -> Result<Vec<Holder>, Failed> {
    let values: Values<'_> = vec![Box::new(key.number.0), Box::new(first(after)), Box::new(limit)];
    let mut found = db.ask(OF_KEY, values).await?.iter().map(holder).collect::<Result<Vec<_>, _>>()?;
    if found.iter().any(|one| one.state == RegistrationState::Superseded) {
        let pauses = pauses(db, now, key.number, &key.terms(policy)).await?;
        found.iter_mut().for_each(|one| one.set_until(now, &pauses));
    }
    Ok(found)
}

/// The key with this number.
pub(super) async fn key_by_number(db: &impl Statements, number: KeyNumber) -> Result<KeyRow, Failed> {
    let keys = db.ask(KEY_BY_NUMBER, vec![Box::new(number.0)]).await?;
    key(keys.first().ok_or_else(|| Failed::invalid("a registration of no key"))?)
}

/// Registrations that a text leads to: a whole id, or part of a label.
pub(super) async fn find(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    id: Option<RegistrationId>,
    pattern: &str,
    limit: u32,
) -> Result<Vec<Holder>, Failed> {
    let id: Option<Uuid> = id.as_ref().map(uuid);
    let values: Values<'_> =
        vec![Box::new(id), Box::new(pattern), Box::new(i64::from(limit)), scope_hash(scope), Box::new(now.unix())];
    db.ask(FIND, values).await?.iter().map(holder).collect()
}

/// One registration, whatever its state.
pub(super) async fn one(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    id: RegistrationId,
) -> Result<Option<Holder>, Failed> {
    let values: Values<'_> = vec![Box::new(uuid(&id)), scope_hash(scope), Box::new(now.unix())];
    db.ask(ONE, values).await?.first().map(holder).transpose()
}

/// Ids after this one; no id is nil.
fn first(after: Option<RegistrationId>) -> Uuid {
    after.as_ref().map_or(Uuid::nil(), uuid)
}

pub(super) fn holder(row: &Row) -> Result<Holder, Failed> {
    let row = Columns(row);
    Ok(Holder {
        registration: row.id(0)?,
        key_id: row.key_id(1)?,
        state: row.registration_state(2)?,
        label: row.label(3)?,
        machine: row.machine_id(4)?,
        hardware: row.machine_id(5)?,
        os: row.os(6)?,
        arch: row.get(8)?,
        registered_at: row.time(9)?,
        last_seen_at: row.optional_time(10)?,
        ended_at: row.optional_time(11)?,
        until: None,
    })
}

const KEY_BY_SECRET: &str = concat!(
    "SELECT ",
    key_columns!(),
    " FROM keys k
      WHERE k.number = (SELECT key FROM secrets WHERE hash = $1 AND (until IS NULL OR until > $2))"
);
const KEY_BY_NUMBER: &str = concat!("SELECT ", key_columns!(), " FROM keys k WHERE k.number = $1");
const OWN: &str = concat!("SELECT ", registration_columns!(), " FROM registrations r WHERE r.id = $1");
const REMEMBERED: &str = "SELECT 1 FROM early_releases WHERE id = $1 AND token_hash = $2 AND at > $3";
const OF_KEY: &str =
    concat!(holders!(), "WHERE r.key = $1 AND (r.state = 'released') IS FALSE AND r.id > $2 ORDER BY r.id LIMIT $3");
const ONE: &str = concat!(holders!(), "WHERE r.id = $1 AND ", within_scope!("r.key", "$2::bytea", "$3"));
const FIND: &str = concat!(
    holders!(),
    "WHERE (r.id = $1 OR r.label ILIKE $2) AND ",
    within_scope!("r.key", "$4::bytea", "$5"),
    " ORDER BY r.registered_at, r.id LIMIT $3"
);
