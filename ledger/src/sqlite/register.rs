//! Registering: a seat is given, confirmed or moved.
//!
//! Owns reading the facts, in the transaction of its caller. What they mean is decided in `seats`.

use els_protocol::{MachineId, RegistrationId, Timestamp};
use rusqlite::{Connection, params};

use super::apply::carried_out;
use super::early_release;
use super::facts::{key_by_secret, registration};
use super::row::{id, label, machine_id};
use crate::by::By;
use crate::outcome::Registered;
use crate::rows::CandidateRow;
use crate::rules::{Candidate, Denied, Distrust, Judged, RegisterCommand};
use crate::seats::{self, RegisterRows};
use crate::{KeyNumber, Policy};

/// Registers a machine, or denies it.
pub(super) fn register(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    by: &By,
    command: &RegisterCommand,
) -> rusqlite::Result<Judged<Registered>> {
    let Some(key) = key_by_secret(connection, now, &command.key_hash)? else {
        return Ok(Err(Denied::UnknownKey));
    };
    let present = registration(connection, &command.id)?;
    let released_early =
        present.is_none() && early_release::is_remembered(connection, now, &command.id, &command.token_hash)?;
    let candidates = match present {
        None => candidates(connection, key.number, command)?,
        Some(_) => Vec::new(),
    };
    let distrust = distrust(connection, key.number, command)?;
    let rows = RegisterRows { present, released_early, candidates, distrust };
    carried_out(connection, by, seats::register(policy, now, &key, command, &rows))
}

/// Registrations that could be the same machine. Where many share an id, a few of each kind are read: to the rules two are
/// as good as a thousand, and a thousand clones of one image must not slow a registration down.
fn candidates(
    connection: &Connection,
    key: KeyNumber,
    command: &RegisterCommand,
) -> rusqlite::Result<Vec<CandidateRow>> {
    let machine = command.machine.as_bytes();
    let hardware = command.hardware.as_ref().map(MachineId::as_bytes);
    let mut found = some_active(connection, "machine = ?2", params![key.0, machine])?;
    if found.len() > 2 {
        found.extend(some_active(connection, "machine = ?2 AND hardware IS ?3", params![key.0, machine, hardware])?);
        found.extend(some_active(connection, "machine = ?2 AND hardware IS NULL", params![key.0, machine])?);
    }
    if hardware.is_some() {
        let sharing = some_active(connection, "hardware = ?2", params![key.0, hardware])?;
        if sharing.len() > 2 {
            let condition = "hardware = ?2 AND machine <> ?3";
            found.extend(some_active(connection, condition, params![key.0, hardware, machine])?);
        }
        found.extend(sharing);
    }
    found.sort_by_key(|one| one.candidate.id);
    found.dedup_by_key(|one| one.candidate.id);
    Ok(found)
}

/// Up to three: two to compare, and one to know that there are more.
fn some_active(
    connection: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<CandidateRow>> {
    let sql = format!(
        "SELECT id, machine, hardware, label,
                (SELECT s.id FROM registrations s WHERE s.state = 'superseded' AND s.successor = r.id)
         FROM registrations r WHERE key = ?1 AND state = 'active' AND {condition} LIMIT 3"
    );
    connection
        .prepare_cached(&sql)?
        .query_map(values, |row| {
            let candidate = Candidate {
                id: row.get(0).map(RegistrationId::from_bytes)?,
                machine: row.get(1).map(MachineId::from_bytes)?,
                hardware: machine_id(row, 2)?,
            };
            Ok(CandidateRow { candidate, label: label(row, 3)?, superseded: id(row, 4)? })
        })?
        .collect()
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
