//! Reading the facts that seats depend on: a key, a registration.

use els_protocol::wire::Seats;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{
    hash, id, key_id, key_state, label, machine_id, match_rule, optional_time, os, registration_state, time,
};
use crate::KeyNumber;
use crate::rows::{KeyRow, RegistrationRow};
use crate::rules::KeyTerms;

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
        .prepare_cached(
            "SELECT id, key, token_hash, state, machine, hardware, os, os_version, arch, label, registered_at, ended_at,
                    successor, match_rule FROM registrations WHERE id = ?1",
        )?
        .query_row([id.as_bytes()], registration_row)
        .optional()
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

fn registration_row(row: &Row<'_>) -> rusqlite::Result<RegistrationRow> {
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

/// The columns that [`key`] reads, of `keys` by the name `k`.
const KEY: &str =
    "k.number, k.id, k.product, k.contract, k.seats, k.used, k.self_release, k.state, k.starts, k.expires";
