//! The audit log: writing one event, reading many, erasing ids.
//!
//! Owns the table `events`. Every function that writes is called inside the transaction of the change that it records.

use els_protocol::{MachineId, RegistrationId, Timestamp};
use rusqlite::{Connection, Row, params, params_from_iter};

use super::row::{id, key_id, machine_id, time};
use crate::by::By;
use crate::change::Entry;
use crate::scope::{Scope, within_scope};
use crate::{Cursor, Event, EventFilter, FeedFilter};

/// Writes one event.
pub(super) fn write(connection: &Connection, by: &By, entry: &Entry) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO events (at, kind, key, registration, other, machine, hardware, detail, actor, origin, request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            entry.at.unix(),
            entry.kind.as_str(),
            entry.key.0,
            entry.registration.as_ref().map(RegistrationId::as_bytes),
            entry.other.as_ref().map(RegistrationId::as_bytes),
            entry.machine.as_ref().map(MachineId::as_bytes),
            entry.hardware.as_ref().map(MachineId::as_bytes),
            entry.detail,
            by.actor.text(),
            by.origin.as_str(),
            by.request,
        ])
        .map(drop)
}

/// A part of the audit log, oldest first.
pub(super) fn events(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    filter: &EventFilter,
    after: Cursor,
    limit: u32,
) -> rusqlite::Result<Vec<Event>> {
    let mut sql = format!(
        "SELECT e.seq, e.at, e.kind, k.id, e.registration, e.other, e.machine, e.hardware, e.detail, e.actor, e.origin,
                e.request
         FROM events e JOIN keys k ON k.number = e.key WHERE e.seq > ?1 AND {}",
        within_scope!("k.number", "?2", "?3")
    );
    let scope = scope.hash().map(|hash| hash.0.to_vec());
    let mut values: Vec<rusqlite::types::Value> =
        vec![i64::try_from(after.0).unwrap_or(i64::MAX).into(), scope.into(), now.unix().into()];
    let mut also = |condition: &str, value: rusqlite::types::Value| {
        values.push(value);
        sql.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(key) = &filter.key {
        also("k.id =", key.as_str().to_owned().into());
    }
    if let Some(registration) = &filter.registration {
        also("e.registration =", registration.as_bytes().to_vec().into());
    }
    if let Some(since) = filter.since {
        also("e.at >=", since.unix().into());
    }
    sql.push_str(&format!(" ORDER BY e.seq LIMIT {limit}"));
    connection.prepare(&sql)?.query_map(params_from_iter(values), event)?.collect()
}

/// The events after a number that fit, oldest first.
pub(super) fn feed(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    filter: &FeedFilter,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Vec<Event>> {
    let mut sql = format!(
        "SELECT e.seq, e.at, e.kind, k.id, e.registration, e.other, e.machine, e.hardware, e.detail, e.actor, e.origin,
                e.request
         FROM events e JOIN keys k ON k.number = e.key
         WHERE e.seq > ?1 AND {} AND (?4 IS NULL OR k.id = ?4) AND (?5 IS NULL OR e.registration = ?5)
             AND (?6 IS NULL OR e.at >= ?6)",
        within_scope!("e.key", "?2", "?3")
    );
    let mut values: Vec<rusqlite::types::Value> = vec![
        i64::try_from(after).unwrap_or(i64::MAX).into(),
        scope.hash().map(|hash| hash.0.to_vec()).into(),
        now.unix().into(),
        filter.key.as_ref().map(|key| key.as_str().to_owned()).into(),
        filter.registration.as_ref().map(|id| id.as_bytes().to_vec()).into(),
        filter.since.map(Timestamp::unix).into(),
    ];
    if let Some(kinds) = &filter.kinds {
        let places: Vec<String> = (0..kinds.len()).map(|place| format!("?{}", place + 7)).collect();
        sql.push_str(&format!(" AND e.kind IN ({})", places.join(", ")));
        values.extend(kinds.iter().map(|kind| kind.clone().into()));
    }
    sql.push_str(&format!(" ORDER BY e.seq LIMIT {limit}"));
    connection.prepare_cached(&sql)?.query_map(params_from_iter(values), event)?.collect()
}

/// Erases the machine's ids from every event of a registration.
pub(super) fn erase_ids(connection: &Connection, registration: &RegistrationId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE events SET machine = NULL, hardware = NULL
             WHERE registration = ?1 AND (machine IS NOT NULL OR hardware IS NOT NULL)",
        )?
        .execute([registration.as_bytes()])
        .map(drop)
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        cursor: Cursor(row.get(0)?),
        at: time(row, 1)?,
        event: row.get(2)?,
        key_id: key_id(row, 3)?,
        registration: id(row, 4)?,
        other: id(row, 5)?,
        machine: machine_id(row, 6)?,
        hardware: machine_id(row, 7)?,
        detail: row.get(8)?,
        actor: row.get(9)?,
        origin: row.get(10)?,
        request: row.get(11)?,
    })
}
