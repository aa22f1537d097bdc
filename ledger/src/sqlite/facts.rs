//! Reading the facts that seats depend on: a key, a registration.

use els_protocol::wire::Seats;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{
    hash, id, invalid, key_id, key_state, label, machine_id, match_rule, optional_time, os, registration_state, time,
};
use crate::KeyNumber;
use crate::rows::{self, KeyRow, Refusal, RefusalReason, RegistrationRow, SupersededRow, oldest_first};
use crate::rules::{KeyTerms, Pause, matched_by};

/// The key that a secret stands for at this time.
pub(super) fn key_by_secret(
    connection: &Connection,
    now: Timestamp,
    secret: &Sha256Hex,
) -> rusqlite::Result<Option<KeyRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM secrets s JOIN keys k ON k.number = s.key
             WHERE s.hash = ?1 AND (s.until IS NULL OR s.until > ?2)"
        ))?
        .query_row(params![secret.0, now.unix()], key)
        .optional()
}

/// The key with this number.
pub(super) fn key_by_number(connection: &Connection, number: KeyNumber) -> rusqlite::Result<KeyRow> {
    connection.prepare_cached(&format!("SELECT {KEY} FROM keys k WHERE k.number = ?1"))?.query_row([number.0], key)
}

/// The registration with this id.
pub(super) fn registration(connection: &Connection, id: &RegistrationId) -> rusqlite::Result<Option<RegistrationRow>> {
    connection
        .prepare_cached(&format!("SELECT {REGISTRATION} FROM registrations r WHERE r.id = ?1"))?
        .query_row([id.as_bytes()], registration_row)
        .optional()
}

/// The superseded registrations of its key that share with `old` an id by which it was superseded, itself among them, the oldest
/// first.
pub(super) fn sharing(connection: &Connection, old: &RegistrationRow) -> rusqlite::Result<Vec<SupersededRow>> {
    let (machine, hardware) = old.rule.map_or((false, false), matched_by);
    let mut found = Vec::new();
    for (condition, id) in
        [("r.machine = ?2", old.machine.filter(|_| machine)), ("r.hardware = ?2", old.hardware.filter(|_| hardware))]
    {
        let Some(id) = id else { continue };
        let sql = format!(
            "SELECT {REGISTRATION},
                EXISTS (SELECT 1 FROM distrusted d WHERE d.key = r.key AND d.kind = 'machine' AND d.id = r.machine),
                EXISTS (SELECT 1 FROM distrusted d WHERE d.key = r.key AND d.kind = 'hardware' AND d.id = r.hardware)
             FROM registrations r WHERE r.key = ?1 AND r.state = 'superseded' AND {condition}"
        );
        let mut asked = connection.prepare_cached(&sql)?;
        let rows = asked.query_map(params![old.key.0, id.as_bytes()], |row| {
            let (machine_distrusted, hardware_distrusted) = (row.get(14)?, row.get(15)?);
            Ok(SupersededRow { row: registration_row(row)?, machine_distrusted, hardware_distrusted })
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(oldest_first(found))
}

/// Times that do not count for the superseded registrations of a key.
pub(super) fn pauses(
    connection: &Connection,
    now: Timestamp,
    key: KeyNumber,
    terms: &KeyTerms,
) -> rusqlite::Result<Vec<Pause>> {
    let mut downs = connection.prepare_cached("SELECT since, until FROM gate_down")?;
    let downs = downs.query_map([], |row| Ok((time(row, 0)?, time(row, 1)?)))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut refusals = connection.prepare_cached("SELECT reason, since, until FROM refusals WHERE key = ?1")?;
    let refusals = refusals
        .query_map([key.0], |row| {
            let reason = RefusalReason::parse(row.get_ref(0)?.as_str()?)
                .ok_or_else(|| invalid(0, "a reason that is not known"))?;
            Ok(Refusal { reason, since: time(row, 1)?, until: optional_time(row, 2)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows::pauses(now, terms, &downs, &refusals))
}

fn key(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        number: KeyNumber(row.get(0)?),
        id: key_id(row, 1)?,
        product: row.get(2)?,
        contract: row.get(3)?,
        seats: Seats { total: row.get(4)?, used: row.get(5)? },
        self_release: row.get(6)?,
        terms: KeyTerms {
            state: key_state(row, 7)?,
            starts: optional_time(row, 8)?,
            expires: time(row, 9)?,
            grace_seconds: 0,
        },
    })
}

pub(super) fn registration_row(row: &Row<'_>) -> rusqlite::Result<RegistrationRow> {
    Ok(RegistrationRow {
        id: row.get(0).map(RegistrationId::from_bytes)?,
        key: KeyNumber(row.get(1)?),
        token_hash: hash(row, 2)?,
        state: registration_state(row, 3)?,
        machine: machine_id(row, 4)?,
        hardware: machine_id(row, 5)?,
        os: os(row, 6)?,
        arch: row.get(8)?,
        label: label(row, 9)?,
        registered_at: time(row, 10)?,
        ended_at: optional_time(row, 11)?,
        successor: id(row, 12)?,
        rule: match_rule(row, 13)?,
    })
}

/// The columns that [`registration_row`] reads, of `registrations` by the name `r`.
pub(super) const REGISTRATION: &str =
    "r.id, r.key, r.token_hash, r.state, r.machine, r.hardware, r.os, r.os_version, r.arch,
    r.label, r.registered_at, r.ended_at, r.successor, r.likeness";
/// The columns that [`key`] reads, of `keys` by the name `k`.
const KEY: &str =
    "k.number, k.id, k.product, k.contract, k.seats, k.used, k.self_release, k.state, k.starts, k.expires";
