//! Carrying changes out, one statement each, in the transaction of the caller.
//!
//! Owns every statement that changes a seat or a key. Decides nothing.

use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, params};

use super::{audit_log, early_release};
use crate::by::By;
use crate::change::{Change, Decided, NewRegistration, Particulars};
use crate::rows::{IdKind, key_state_text, match_rule_text};
use crate::rules::KeyState;
use crate::{KeyNumber, KeyRecord};

/// Carries all of `changes` out, in their order.
pub(super) fn apply(connection: &Connection, by: &By, changes: &[Change]) -> rusqlite::Result<()> {
    changes.iter().try_for_each(|change| one(connection, by, change))
}

/// Carries the changes of a decision out; gives its outcome.
pub(super) fn carried_out<T>(connection: &Connection, by: &By, decided: Decided<T>) -> rusqlite::Result<T> {
    apply(connection, by, &decided.changes)?;
    Ok(decided.outcome)
}

fn one(connection: &Connection, by: &By, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Insert(new) => insert(connection, new),
        Change::Update(particulars) => update(connection, particulars),
        Change::Release { id, at } => connection
            .prepare_cached(
                "UPDATE registrations SET state = 'released', ended_at = ?2, successor = NULL, likeness = NULL
                 WHERE id = ?1",
            )?
            .execute(params![id.as_bytes(), at.unix()])
            .map(drop),
        Change::Supersede { id, at, successor, rule } => connection
            .prepare_cached(
                "UPDATE registrations SET state = 'superseded', ended_at = ?2, successor = ?3, likeness = ?4
                 WHERE id = ?1",
            )?
            .execute(params![id.as_bytes(), at.unix(), successor.as_bytes(), match_rule_text(*rule)])
            .map(drop),
        Change::FollowAll { from, successor } => connection
            .prepare_cached("UPDATE registrations SET successor = ?2 WHERE successor = ?1 AND state = 'superseded'")?
            .execute([from.as_bytes(), successor.as_bytes()])
            .map(drop),
        Change::Reactivate { id } => connection
            .prepare_cached(
                "UPDATE registrations SET state = 'active', ended_at = NULL, successor = NULL, likeness = NULL
                 WHERE id = ?1",
            )?
            .execute([id.as_bytes()])
            .map(drop),
        Change::Distrust { key, kind, id, since } => connection
            .prepare_cached("INSERT OR IGNORE INTO distrusted (key, kind, id, since) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![key.0, kind.as_str(), id.as_bytes(), since.unix()])
            .map(drop),
        Change::ForgetDistrust { key, kind, id } => forget_distrust(connection, *key, *kind, id),
        Change::RememberEarly { id, token_hash, client, at } => {
            early_release::remember(connection, *at, id, token_hash, client)
        }
        Change::UseSeat(key) => {
            let taken = connection
                .prepare_cached("UPDATE keys SET used = used + 1 WHERE number = ?1 AND used < seats")?
                .execute([key.0])?;
            if taken == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(taken)) }
        }
        Change::FreeSeat(key) => {
            connection.prepare_cached("UPDATE keys SET used = used - 1 WHERE number = ?1")?.execute([key.0]).map(drop)
        }
        Change::UpdateKey(record) => write_terms(connection, record),
        Change::SetKeyState { key, state } => write_state(connection, *key, *state),
        Change::Refuse { key, reason, since, until } => connection
            .prepare_cached("INSERT OR REPLACE INTO refusals (key, reason, since, until) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![key.0, reason.as_str(), since.unix(), until.map(Timestamp::unix)])
            .map(drop),
        Change::EndRefusal { key, until } => connection
            .prepare_cached("UPDATE refusals SET until = ?2 WHERE key = ?1 AND until IS NULL")?
            .execute([key.0, until.unix()])
            .map(drop),
        Change::EndSecrets { key, until } => end_secrets(connection, *key, *until),
        Change::AddSecret { key, hash } => add_secret(connection, *key, hash),
        Change::TrustAgain(key) => {
            connection.prepare_cached("DELETE FROM distrusted WHERE key = ?1")?.execute([key.0]).map(drop)
        }
        Change::Event(entry) => audit_log::write(connection, by, entry),
    }
}

fn insert(connection: &Connection, new: &NewRegistration) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO registrations
             (id, key, token_hash, state, machine, hardware, os, os_version, arch, label, registered_at)
             VALUES (?1, ?2, ?3, 'active', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            new.id.as_bytes(),
            new.key.0,
            new.token_hash.0,
            new.machine.as_bytes(),
            new.hardware.as_ref().map(MachineId::as_bytes),
            new.os.id,
            new.os.version,
            new.arch,
            new.label.as_ref().map(|label| label.as_str()),
            new.at.unix(),
        ])
        .map(drop)
}

fn update(connection: &Connection, new: &Particulars) -> rusqlite::Result<()> {
    let id: &RegistrationId = &new.id;
    connection
        .prepare_cached(
            "UPDATE registrations SET machine = ?2, hardware = ?3, os = ?4, os_version = ?5, arch = ?6, label = ?7
             WHERE id = ?1",
        )?
        .execute(params![
            id.as_bytes(),
            new.machine.as_bytes(),
            new.hardware.as_ref().map(MachineId::as_bytes),
            new.os.id,
            new.os.version,
            new.arch,
            new.label.as_ref().map(|label| label.as_str()),
        ])
        .map(drop)
}

/// Changes of registrations come before this in every list, so that it sees their effect.
fn forget_distrust(connection: &Connection, key: KeyNumber, kind: IdKind, id: &MachineId) -> rusqlite::Result<()> {
    let sql = match kind {
        IdKind::Machine => {
            "DELETE FROM distrusted WHERE key = ?1 AND kind = ?2 AND id = ?3
             AND NOT EXISTS (SELECT 1 FROM registrations WHERE key = ?1 AND machine = ?3 AND state = 'active')
             AND NOT EXISTS (SELECT 1 FROM registrations WHERE key = ?1 AND machine = ?3 AND state = 'superseded')"
        }
        IdKind::Hardware => {
            "DELETE FROM distrusted WHERE key = ?1 AND kind = ?2 AND id = ?3
             AND NOT EXISTS (SELECT 1 FROM registrations WHERE key = ?1 AND hardware = ?3 AND state = 'active')
             AND NOT EXISTS (SELECT 1 FROM registrations WHERE key = ?1 AND hardware = ?3 AND state = 'superseded')"
        }
    };
    connection.prepare_cached(sql)?.execute(params![key.0, kind.as_str(), id.as_bytes()]).map(drop)
}

/// Writes the terms of a key.
fn write_terms(connection: &Connection, key: &KeyRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE keys SET product = ?2, seats = ?3, starts = ?4, expires = ?5, contract = ?6, reseller = ?7,
             note = ?8, release_unseen_after = ?9, self_release = ?10 WHERE number = ?1",
        )?
        .execute(params![
            key.number.0,
            key.product,
            key.seats.total,
            key.starts.map(Timestamp::unix),
            key.expires.unix(),
            key.contract,
            key.reseller,
            key.note,
            key.release_unseen_after,
            key.self_release,
        ])
        .map(drop)
}

/// Writes the state of a key.
fn write_state(connection: &Connection, key: KeyNumber, state: KeyState) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE keys SET state = ?2 WHERE number = ?1")?
        .execute(params![key.0, key_state_text(state)])
        .map(drop)
}

/// Ends the secrets of a key, except those that end earlier.
fn end_secrets(connection: &Connection, key: KeyNumber, until: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE secrets SET until = min(coalesce(until, ?2), ?2) WHERE key = ?1")?
        .execute([key.0, until.unix()])
        .map(drop)
}

/// Gives a key one more secret.
fn add_secret(connection: &Connection, key: KeyNumber, secret: &Sha256Hex) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO secrets (hash, key) VALUES (?1, ?2)")?
        .execute(params![secret.0, key.0])
        .map(drop)
}
