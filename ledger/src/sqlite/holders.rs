//! Lists of registrations: for holders of the key, and for the vendor.

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::facts::{key_by_secret, pauses};
use super::row::{key_id, label, machine_id, optional_time, os, registration_state, time};
use crate::outcome::SeatPage;
use crate::rows::KeyRow;
use crate::rules::{Denied, Judged, RegistrationState};
use crate::scope::{Scope, within_scope};
use crate::{Holder, Policy};

/// One page of the machines that hold a key's seats.
pub(super) fn page(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    secret: &Sha256Hex,
    after: Option<RegistrationId>,
    limit: u32,
) -> rusqlite::Result<Judged<SeatPage>> {
    let Some(key) = key_by_secret(connection, now, secret)? else {
        return Ok(Err(Denied::UnknownKey));
    };
    let found = of_key(connection, policy, now, &key, after, limit.saturating_add(1))?;
    Ok(Ok(key.page(found, limit)))
}

/// The registrations of a key that are active or superseded.
pub(super) fn of_key(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    key: &KeyRow,
    after: Option<RegistrationId>,
    limit: u32,
) -> rusqlite::Result<Vec<Holder>> {
    let from = first_bytes(after.as_ref());
    let mut found: Vec<Holder> = connection
        .prepare_cached(&format!(
            "{COLUMNS} {FROM} WHERE r.key = ?1 AND r.state <> 'released' AND r.id > ?2 ORDER BY r.id LIMIT ?3"
        ))?
        .query_map(params![key.number.0, from, limit], holder)?
        .collect::<rusqlite::Result<_>>()?;
    if found.iter().any(|one| one.state == RegistrationState::Superseded) {
        let pauses = pauses(connection, now, key.number, &key.terms(policy))?;
        found.iter_mut().for_each(|one| one.set_until(now, &pauses));
    }
    Ok(found)
}

/// Registrations that a text leads to: a whole id, or part of a label.
pub(super) fn find(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    id: Option<RegistrationId>,
    pattern: &str,
    limit: u32,
) -> rusqlite::Result<Vec<Holder>> {
    let id = id.as_ref().map(RegistrationId::as_bytes);
    connection
        .prepare_cached(&format!(
            "{COLUMNS} {FROM} WHERE (r.id = ?1 OR r.label LIKE ?2 ESCAPE '\\') AND {} ORDER BY r.registered_at, r.id LIMIT ?3",
            within_scope!("r.key", "?4", "?5")
        ))?
        .query_map(params![id, pattern, limit, scope.hash().map(|hash| hash.0), now.unix()], holder)?
        .collect()
}

/// One registration, whatever its state.
pub(super) fn one(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    id: &RegistrationId,
) -> rusqlite::Result<Option<Holder>> {
    connection
        .prepare_cached(&format!("{COLUMNS} {FROM} WHERE r.id = ?1 AND {}", within_scope!("r.key", "?2", "?3")))?
        .query_row(params![id.as_bytes(), scope.hash().map(|hash| hash.0), now.unix()], holder)
        .optional()
}

/// Ids after this one; the empty blob comes before every id.
fn first_bytes(after: Option<&RegistrationId>) -> &[u8] {
    after.map_or(&[], |id| id.as_bytes())
}

pub(super) fn holder(row: &Row<'_>) -> rusqlite::Result<Holder> {
    Ok(Holder {
        registration: row.get(0).map(RegistrationId::from_bytes)?,
        key_id: key_id(row, 1)?,
        state: registration_state(row, 2)?,
        label: label(row, 3)?,
        machine: machine_id(row, 4)?,
        hardware: machine_id(row, 5)?,
        os: os(row, 6)?,
        arch: row.get(8)?,
        registered_at: time(row, 9)?,
        last_seen_at: optional_time(row, 10)?,
        ended_at: optional_time(row, 11)?,
        until: None,
    })
}

/// The columns that [`holder`] reads.
pub(super) const COLUMNS: &str =
    "SELECT r.id, k.id, r.state, r.label, r.machine, r.hardware, r.os, r.os_version, r.arch,
    r.registered_at, r.last_seen_at, r.ended_at";
pub(super) const FROM: &str = "FROM registrations r JOIN keys k ON k.number = r.key";
