//! PUT: a seat is given, confirmed or moved.
//!
//! Owns gathering the facts, in the transaction of its caller. What they mean is `store::seats`'s.

use els_protocol::{Code, MachineId, RegistrationId, Timestamp};
use rusqlite::{Connection, params};

use super::apply::apply;
use super::early;
use super::held::{held, key_by_secret};
use super::row::{id, label, machine_id};
use crate::rows::CandidateRow;
use crate::rules::{Candidate, Distrust, Judged, RegisterCommand};
use crate::seats::{self, PutRows};
use crate::{KeyNumber, Policy, Registered};

/// Carries a PUT out, or refuses it.
pub(super) fn register(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    command: &RegisterCommand,
) -> rusqlite::Result<Judged<Registered>> {
    let Some(key) = key_by_secret(connection, now, &command.key_hash)? else {
        return Ok(Err(Code::UnknownKey.into()));
    };
    let present = held(connection, &command.id)?;
    let given_back_early =
        present.is_none() && early::is_remembered(connection, now, &command.id, &command.token_hash)?;
    let candidates = match present {
        None => candidates(connection, key.number, command)?,
        Some(_) => Vec::new(),
    };
    let distrust = distrust(connection, key.number, command)?;
    let rows = PutRows { present, given_back_early, candidates, distrust };
    let outcome = seats::register(policy, now, &key, command, &rows);
    apply(connection, &outcome.changes)?;
    Ok(outcome.answer)
}

/// Those that could be the same machine. Where many share an id, at most two of each kind are fetched: two are as good
/// as a thousand to the rules, and a thousand clones of one image must not slow a registration down.
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
