//! The audit trail: writing one event, reading many, erasing ids.
//!
//! Owns the table `events`. Every function that writes is called inside the transaction of the change it tells of.

use els_protocol::{MachineId, RegistrationId};
use rusqlite::{Connection, Row, params, params_from_iter};

use super::row::{id, invalid, machine_id, time};
use crate::change::Entry;
use crate::{Cursor, Event, EventFilter, EventKind, KeyId};

/// Writes one event.
pub(super) fn write(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO events (at, kind, key, registration, other, machine, hardware, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
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
        ])
        .map(drop)
}

/// A part of the trail, oldest first.
pub(super) fn events(
    connection: &Connection,
    filter: &EventFilter,
    after: Cursor,
    limit: u32,
) -> rusqlite::Result<Vec<Event>> {
    let mut sql = String::from(
        "SELECT e.seq, e.at, e.kind, k.id, e.registration, e.other, e.machine, e.hardware, e.detail
         FROM events e JOIN keys k ON k.number = e.key WHERE e.seq > ?1",
    );
    let mut values: Vec<rusqlite::types::Value> = vec![i64::try_from(after.0).unwrap_or(i64::MAX).into()];
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

/// Takes the machine's ids out of everything that the trail says of a registration.
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
    let kind: String = row.get(2)?;
    let key: String = row.get(3)?;
    Ok(Event {
        cursor: Cursor(row.get(0)?),
        at: time(row, 1)?,
        event: EventKind::parse(&kind).ok_or_else(|| invalid(2, "an event of a kind that is not known"))?,
        key_id: KeyId::parse(&key).ok_or_else(|| invalid(3, "a malformed key id"))?,
        registration: id(row, 4)?,
        other: id(row, 5)?,
        machine: machine_id(row, 6)?,
        hardware: machine_id(row, 7)?,
        detail: row.get(8)?,
    })
}
