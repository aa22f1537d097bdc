//! Registering: a seat is given, confirmed or moved.
//!
//! Owns reading the facts, in the transaction of its caller. What they mean is decided in `seats`.

use els_protocol::{MachineId, RegistrationId, Timestamp};
use rusqlite::{Connection, params};

use super::apply::carried_out;
use super::early_release;
use super::facts::{key_by_secret, registration};
use super::row::{label, machine_id, time};
use crate::by::By;
use crate::rows::{CandidateRow, OldestSuperseded};
use crate::rules::{Denied, Distrust, RegisterCommand, SUPERSEDED_IDS, SUPERSEDED_SECONDS};
use crate::seats::{self, Attempt, RegisterRows};
use crate::{KeyNumber, Policy};

/// Registers a machine, or denies it.
pub(super) fn register(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    by: &By,
    command: &RegisterCommand,
) -> rusqlite::Result<Attempt> {
    let Some(key) = key_by_secret(connection, now, &command.key_hash)? else {
        return Ok(Attempt::Judged(Err(Denied::UnknownKey)));
    };
    let present = registration(connection, &command.id)?;
    let released_early =
        present.is_none() && early_release::is_remembered(connection, now, &command.id, &command.token_hash)?;
    let candidates = match present {
        None => candidates(connection, now, key.number, command)?,
        Some(_) => Vec::new(),
    };
    let distrust = distrust(connection, key.number, command)?;
    let rows = RegisterRows { present, released_early, candidates, distrust };
    carried_out(connection, by, seats::register(policy, now, &key, command, &rows))
}

/// Registrations that could be the same machine. Where many share an id, a few of each kind are read: to the rules two are
/// as good as a thousand, and a thousand clones of one image must not slow a registration down. Of those whose ids both are equal,
/// the last one that has room is among them.
fn candidates(
    connection: &Connection,
    now: Timestamp,
    key: KeyNumber,
    command: &RegisterCommand,
) -> rusqlite::Result<Vec<CandidateRow>> {
    let machine = command.machine.as_bytes();
    let hardware = command.hardware.as_ref().map(MachineId::as_bytes);
    let hour = now.plus_seconds(-SUPERSEDED_SECONDS).unix();
    let mut found = some_active(connection, "r.machine = ?2 LIMIT 3", params![key.0, machine])?;
    if found.len() > 2 {
        let last = |kind: &str| {
            format!("r.machine = ?2 AND {kind} AND {HAS_ROOM} ORDER BY r.registered_at DESC, r.id DESC LIMIT 1")
        };
        let (of_machine, with_room) = (params![key.0, machine], params![key.0, machine, hour]);
        for of_kind in ["r.hardware IS NULL", DISTRUSTED] {
            found.extend(some_active(connection, &format!("r.machine = ?2 AND {of_kind} LIMIT 3"), of_machine)?);
            found.extend(some_active(connection, &last(of_kind), with_room)?);
        }
        if hardware.is_some() {
            for of_kind in ["r.hardware = ?3", "r.hardware < ?3", "r.hardware > ?3"] {
                let condition = format!("r.machine = ?2 AND {of_kind} LIMIT 3");
                found.extend(some_active(connection, &condition, params![key.0, machine, hardware])?);
            }
            found.extend(some_active(connection, &last("r.hardware = ?4"), params![key.0, machine, hour, hardware])?);
        }
    }
    if hardware.is_some() {
        let sharing = some_active(connection, "r.hardware = ?2 LIMIT 3", params![key.0, hardware])?;
        if sharing.len() > 2 {
            for others in ["r.hardware = ?2 AND r.machine < ?3 LIMIT 3", "r.hardware = ?2 AND r.machine > ?3 LIMIT 3"] {
                found.extend(some_active(connection, others, params![key.0, hardware, machine])?);
            }
        }
        found.extend(sharing);
    }
    found.sort_by_key(|one| one.id);
    found.dedup_by_key(|one| one.id);
    Ok(found)
}

/// Active registrations of the key ?1.
fn some_active(
    connection: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<CandidateRow>> {
    let sql = format!(
        "SELECT r.id, r.machine, r.hardware, r.label, r.registered_at,
                EXISTS (SELECT 1 FROM distrusted d WHERE d.key = r.key AND d.kind = 'hardware' AND d.id = r.hardware),
                (SELECT count(*) FROM registrations s WHERE s.state = 'superseded' AND s.successor = r.id)
         FROM registrations r WHERE r.key = ?1 AND r.state = 'active' AND {condition}"
    );
    let mut found: Vec<CandidateRow> = connection
        .prepare_cached(&sql)?
        .query_map(values, |row| {
            Ok(CandidateRow {
                id: row.get(0).map(RegistrationId::from_bytes)?,
                machine: row.get(1).map(MachineId::from_bytes)?,
                hardware: machine_id(row, 2)?,
                label: label(row, 3)?,
                registered_at: time(row, 4)?,
                hardware_distrusted: row.get(5)?,
                superseded: row.get(6)?,
                oldest: None,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for one in found.iter_mut().filter(|one| one.superseded >= SUPERSEDED_IDS) {
        one.oldest = Some(oldest(connection, &one.id)?);
    }
    Ok(found)
}

/// The registration that was superseded first of those of this seat.
fn oldest(connection: &Connection, of: &RegistrationId) -> rusqlite::Result<OldestSuperseded> {
    connection
        .prepare_cached(
            "SELECT id, ended_at, machine, hardware FROM registrations
             WHERE successor = ?1 AND state = 'superseded' ORDER BY ended_at LIMIT 1",
        )?
        .query_row([of.as_bytes()], |row| {
            let id = row.get(0).map(RegistrationId::from_bytes)?;
            Ok(OldestSuperseded {
                id,
                since: time(row, 1)?,
                machine: machine_id(row, 2)?,
                hardware: machine_id(row, 3)?,
            })
        })
}

fn distrust(connection: &Connection, key: KeyNumber, command: &RegisterCommand) -> rusqlite::Result<Distrust> {
    let known =
        |kind: &str, id: Option<&MachineId>| {
            connection
                .prepare_cached("SELECT 1 FROM distrusted WHERE key = ?1 AND kind = ?2 AND id = ?3")?
                .exists(params![key.0, kind, id.map(MachineId::as_bytes)])
        };
    Ok(Distrust {
        machine: known("machine", Some(&command.machine))?,
        hardware: command.hardware.is_some() && known("hardware", command.hardware.as_ref())?,
    })
}

/// Whether the seat of `r` can move now: fewer than sixteen superseded ids are within their hour, which began after ?3.
const HAS_ROOM: &str = "(SELECT count(*) FROM registrations s WHERE s.state = 'superseded' AND s.successor = r.id
    AND s.ended_at > ?3) < 16";
const DISTRUSTED: &str = "r.hardware IN (SELECT d.id FROM distrusted d WHERE d.key = ?1 AND d.kind = 'hardware')";
