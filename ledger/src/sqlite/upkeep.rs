//! Upkeep: unseen machines, ids that have to be erased, leases.
//!
//! Owns the tables `upkeep`, `gate_down` and `leases`. Each function does one bounded batch in the transaction of its caller,
//! so that upkeep never delays requests for long.

use els_protocol::{RegistrationId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::apply::apply;
use super::audit_log;
use super::facts::{key_by_number, pauses, registration};
use super::row::time;
use crate::by::By;
use crate::rows::{self, ERASE_SECONDS, GAP_SECONDS, SEARCH_SECONDS, UPKEEP_BATCH};
use crate::rules::{UNUSED_SECONDS, unused_until};
use crate::steps::Unused;
use crate::{KeyNumber, Policy, seats};

/// Takes or renews a lease, by SQLite's clock; says whether `holder` has it.
pub(super) fn take_lease(connection: &Connection, job: &str, holder: &str, seconds: u32) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, unixepoch() + ?3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE holder = excluded.holder OR until < unixepoch()",
        )?
        .execute(params![job, holder, rows::lease_seconds(seconds)])
        .map(|rows| rows == 1)
}

/// Notes that the gate is up. A gap since the last time is a time in which it was down.
pub(super) fn gate_is_up(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    if let Some(last) = done_at(connection, "gate")?
        && now.seconds_since(last) > GAP_SECONDS
    {
        connection
            .prepare_cached("INSERT OR REPLACE INTO gate_down (since, until) VALUES (?1, ?2)")?
            .execute([last.unix(), now.unix()])?;
    }
    set_done(connection, "gate", now)
}

/// Whether it is time to search for unseen machines.
pub(super) fn search_is_due(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    let last = done_at(connection, "unseen")?;
    Ok(last.is_none_or(|last| !(0..SEARCH_SECONDS).contains(&now.seconds_since(last))))
}

/// Notes that the search is done.
pub(super) fn search_is_done(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    set_done(connection, "unseen", now)
}

/// Some of the registrations whose machine was not seen for as long as its key says.
pub(super) fn unseen(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<RegistrationId>> {
    let keys: Vec<(KeyNumber, u32)> = connection
        .prepare_cached("SELECT number, release_unseen_after FROM keys WHERE release_unseen_after IS NOT NULL")?
        .query_map([], |row| Ok((KeyNumber(row.get(0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut found = Vec::new();
    for (key, days) in keys {
        let since = unseen_since(connection, now, days)?;
        let more: Vec<RegistrationId> = connection
            .prepare_cached(
                "SELECT id FROM registrations WHERE key = ?1 AND state <> 'released' AND state = 'active'
                 AND max(registered_at, coalesce(last_seen_at, 0)) <= ?2 LIMIT ?3",
            )?
            .query_map(params![key.0, since.unix(), UPKEEP_BATCH - found.len()], |row| {
                row.get(0).map(RegistrationId::from_bytes)
            })?
            .collect::<rusqlite::Result<_>>()?;
        found.extend(more);
        if found.len() >= UPKEEP_BATCH {
            break;
        }
    }
    Ok(found)
}

/// Releases those of `ids` that were not seen meanwhile either; says how many.
pub(super) fn release_unseen(
    connection: &Connection,
    now: Timestamp,
    by: &By,
    ids: &[RegistrationId],
) -> rusqlite::Result<u64> {
    let mut released = 0;
    for id in ids {
        let facts: Option<(u32, i64)> = connection
            .prepare_cached(
                "SELECT k.release_unseen_after, max(r.registered_at, coalesce(r.last_seen_at, 0))
                 FROM registrations r JOIN keys k ON k.number = r.key
                 WHERE r.id = ?1 AND r.state = 'active' AND k.release_unseen_after IS NOT NULL",
            )?
            .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((days, last)) = facts else { continue };
        if last <= unseen_since(connection, now, days)?.unix()
            && let Some(row) = registration(connection, id)?
        {
            apply(connection, by, &seats::release_unseen(now, &row, days.into()))?;
            released += 1;
        }
    }
    Ok(released)
}

/// Some of the registrations that were superseded long enough ago to end.
pub(super) fn unused(connection: &Connection, now: Timestamp, after: Unused) -> rusqlite::Result<Vec<Unused>> {
    connection
        .prepare_cached(
            "SELECT ended_at, id FROM registrations WHERE state = 'superseded' AND ended_at <= ?1 AND (ended_at, id) > (?2, ?3)
             ORDER BY ended_at, id LIMIT ?4",
        )?
        .query_map(
            params![now.plus_seconds(-UNUSED_SECONDS).unix(), after.0.unix(), after.1.as_bytes(), UPKEEP_BATCH],
            |row| Ok((time(row, 0)?, row.get(1).map(RegistrationId::from_bytes)?)),
        )?
        .collect()
}

/// Releases those of `ids` whose time is over; says how many.
pub(super) fn release_unused(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    by: &By,
    ids: &[RegistrationId],
) -> rusqlite::Result<u64> {
    let mut released = 0;
    for id in ids {
        let Some(row) = registration(connection, id)? else { continue };
        let Some(since) = row.superseded_at() else { continue };
        let terms = key_by_number(connection, row.key)?.terms(policy);
        let pauses = pauses(connection, now, row.key, &terms)?;
        if terms.denies_credential(now).is_none() && unused_until(now, since, &pauses) <= now {
            apply(connection, by, &seats::release_unused(now, &row))?;
            released += 1;
        }
    }
    Ok(released)
}

/// Erases the machine and hardware ids of some registrations that were released long enough ago, also in the audit log;
/// says how many.
pub(super) fn erase(connection: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let due: Vec<RegistrationId> = connection
        .prepare_cached(
            "SELECT id FROM registrations
             WHERE state = 'released' AND (machine IS NOT NULL OR hardware IS NOT NULL) AND ended_at <= ?1 LIMIT ?2",
        )?
        .query_map(params![now.plus_seconds(-ERASE_SECONDS).unix(), UPKEEP_BATCH], |row| {
            row.get(0).map(RegistrationId::from_bytes)
        })?
        .collect::<rusqlite::Result<_>>()?;
    for id in &due {
        connection
            .prepare_cached("UPDATE registrations SET machine = NULL, hardware = NULL WHERE id = ?1")?
            .execute([id.as_bytes()])?;
        audit_log::erase_ids(connection, id)?;
    }
    Ok(due.len() as u64)
}

/// The moment after which a machine has to have been seen.
fn unseen_since(connection: &Connection, now: Timestamp, days: u32) -> rusqlite::Result<Timestamp> {
    let mut downs = connection.prepare_cached("SELECT since, until FROM gate_down ORDER BY until DESC")?;
    let downs = downs.query_map([], |row| Ok((time(row, 0)?, time(row, 1)?)))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows::unseen_since(now, days, downs))
}

fn done_at(connection: &Connection, name: &str) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT at FROM upkeep WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(Timestamp::from_unix))
        .optional()
}

fn set_done(connection: &Connection, name: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO upkeep (name, at) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET at = excluded.at")?
        .execute(params![name, now.unix()])
        .map(drop)
}
