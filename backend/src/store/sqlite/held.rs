//! A key and a registration, as far as seats depend on them.
//!
//! Owns reading both, the counter of used seats, and the state `released`. Everything that changes here does so in the
//! transaction of its caller.

use els_protocol::wire::Seats;
use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{hash, holder_state, id, key_id, key_state, likeness, machine_id, optional_time, time};
use crate::license::{Likeness, Terms};
use crate::store::{HolderState, KeyId, KeyNumber, Policy, RegistrationView};

/// A key, as far as seats depend on it.
pub(super) struct Key {
    pub(super) number: KeyNumber,
    pub(super) id: KeyId,
    pub(super) product: String,
    pub(super) contract: Option<String>,
    pub(super) seats: Seats,
    pub(super) self_release: bool,
    terms: Terms,
}

impl Key {
    /// The terms, with the grace of this site.
    pub(super) fn terms(&self, policy: &Policy) -> Terms {
        Terms { grace_seconds: policy.grace_seconds, ..self.terms }
    }

    /// When it expires.
    pub(super) fn expires(&self) -> Timestamp {
        self.terms.expires
    }
}

/// A registration, as far as seats depend on it.
pub(super) struct Held {
    pub(super) id: RegistrationId,
    pub(super) key: KeyNumber,
    pub(super) token_hash: Sha256Hex,
    pub(super) state: HolderState,
    pub(super) registered_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) machine: Option<MachineId>,
    pub(super) hardware: Option<MachineId>,
    pub(super) successor: Option<RegistrationId>,
    pub(super) likeness: Option<Likeness>,
}

/// The key that a secret stands for at this time.
pub(super) fn key_by_secret(
    connection: &Connection,
    now: Timestamp,
    secret: &Sha256Hex,
) -> rusqlite::Result<Option<Key>> {
    connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM secrets s JOIN keys k ON k.number = s.key
             WHERE s.hash = ?1 AND (s.until IS NULL OR s.until > ?2)"
        ))?
        .query_row(params![secret.0, now.unix()], key)
        .optional()
}

/// The key with this number.
pub(super) fn key_by_number(connection: &Connection, number: KeyNumber) -> rusqlite::Result<Key> {
    connection.prepare_cached(&format!("SELECT {KEY} FROM keys k WHERE k.number = ?1"))?.query_row([number.0], key)
}

/// The registration with this id.
pub(super) fn held(connection: &Connection, id: &RegistrationId) -> rusqlite::Result<Option<Held>> {
    connection
        .prepare_cached(
            "SELECT id, key, token_hash, state, machine, hardware, registered_at, ended_at, successor, likeness
             FROM registrations WHERE id = ?1",
        )?
        .query_row([id.as_bytes()], registration)
        .optional()
}

/// What a machine is told of its registration.
pub(super) fn view(key: &Key, id: RegistrationId, registered_at: Timestamp, seats: Seats) -> RegistrationView {
    RegistrationView {
        registration: id,
        key_id: key.id.clone(),
        contract: key.contract.clone(),
        product: key.product.clone(),
        expires: key.expires(),
        registered_at,
        seats,
    }
}

/// One seat more is used. The condition repeats what the rules have decided: nothing oversells, not even a fault there.
pub(super) fn use_seat(connection: &Connection, key: KeyNumber) -> rusqlite::Result<()> {
    let taken = connection
        .prepare_cached("UPDATE keys SET used = used + 1 WHERE number = ?1 AND used < seats")?
        .execute([key.0])?;
    if taken == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(taken)) }
}

/// A seat that was freed in the same transaction is used again; seats may have been lowered meanwhile.
pub(super) fn use_freed_seat(connection: &Connection, key: KeyNumber) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE keys SET used = used + 1 WHERE number = ?1")?.execute([key.0]).map(drop)
}

/// One seat fewer is used.
pub(super) fn free_seat(connection: &Connection, key: KeyNumber) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE keys SET used = used - 1 WHERE number = ?1")?.execute([key.0]).map(drop)
}

/// Ends a registration, whatever it was; the counter is its caller's.
pub(super) fn set_released(connection: &Connection, now: Timestamp, id: &RegistrationId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE registrations SET state = 'released', ended_at = ?2, successor = NULL, likeness = NULL WHERE id = ?1",
        )?
        .execute(params![id.as_bytes(), now.unix()])
        .map(drop)
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        number: KeyNumber(row.get(0)?),
        id: key_id(row, 1)?,
        product: row.get(2)?,
        contract: row.get(3)?,
        seats: Seats { total: row.get(4)?, used: row.get(5)? },
        self_release: row.get(6)?,
        terms: Terms {
            state: key_state(row, 7)?,
            starts: optional_time(row, 8)?,
            expires: time(row, 9)?,
            grace_seconds: 0,
        },
    })
}

fn registration(row: &Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        id: row.get(0).map(RegistrationId::from_bytes)?,
        key: KeyNumber(row.get(1)?),
        token_hash: hash(row, 2)?,
        state: holder_state(row, 3)?,
        machine: machine_id(row, 4)?,
        hardware: machine_id(row, 5)?,
        registered_at: time(row, 6)?,
        ended_at: optional_time(row, 7)?,
        successor: id(row, 8)?,
        likeness: likeness(row, 9)?,
    })
}

/// The columns that [`key`] reads, of `keys` by the name `k`.
const KEY: &str =
    "k.number, k.id, k.product, k.contract, k.seats, k.used, k.self_release, k.state, k.starts, k.expires";
