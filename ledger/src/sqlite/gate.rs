//! What the gate asks: credentials, keys, the feed of changes.
//!
//! Owns reading them at one moment. The feed is the audit log: its numbers are given inside the one writing transaction, so
//! that a reader who has read up to a number has missed nothing before it.

use els_protocol::{RegistrationId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{hash, id, invalid, key_id, key_state, optional_time, registration_state, time};
use crate::{Credential, Cursor, Feed, FeedItem, GateKey, KeyNumber, Lookup, rows};

/// One credential and its key.
pub(super) fn lookup(connection: &Connection, id: &RegistrationId) -> rusqlite::Result<Lookup> {
    connection
        .prepare_cached(
            "SELECT e.seq, r.token_hash, r.state, r.ended_at, k.number, k.id, k.product, k.state, k.starts, k.expires
             FROM (SELECT coalesce(max(seq), 0) AS seq FROM events) e
             LEFT JOIN registrations r ON r.id = ?1 LEFT JOIN keys k ON k.number = r.key",
        )?
        .query_row([id.as_bytes()], |row| {
            let as_of = Cursor(row.get(0)?);
            if row.get_ref(1)? == rusqlite::types::ValueRef::Null {
                return Ok(Lookup { as_of, found: None });
            }
            let key = key(row, 4)?;
            let state = rows::credential_state(registration_state(row, 2)?, optional_time(row, 3)?)
                .ok_or_else(|| invalid(3, "a superseded registration without its time"))?;
            let credential = Credential { token_hash: hash(row, 1)?, key: key.number, state };
            Ok(Lookup { as_of, found: Some((credential, key)) })
        })
}

/// One key.
pub(super) fn gate_key(connection: &Connection, number: KeyNumber) -> rusqlite::Result<Option<GateKey>> {
    connection
        .prepare_cached("SELECT number, id, product, state, starts, expires FROM keys WHERE number = ?1")?
        .query_row([number.0], |row| key(row, 0))
        .optional()
}

/// The feed after a place.
pub(super) fn feed(connection: &Connection, after: Cursor, limit: u32) -> rusqlite::Result<Feed> {
    let from = i64::try_from(after.0).unwrap_or(i64::MAX);
    let rows: Vec<(Cursor, FeedItem)> = connection
        .prepare_cached("SELECT seq, key, registration FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
        .query_map(params![from, limit], |row| {
            let item = match id(row, 2)? {
                Some(registration) => FeedItem::Registration(registration),
                None => FeedItem::Key(KeyNumber(row.get(1)?)),
            };
            Ok((Cursor(row.get(0)?), item))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let up_to = rows.last().map_or(after, |(cursor, _)| *cursor);
    let more = rows.len() as u64 == u64::from(limit);
    Ok(Feed { items: rows, up_to, more, broken: false })
}

/// The end of the feed.
pub(super) fn feed_end(connection: &Connection) -> rusqlite::Result<Cursor> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?.query_row([], |row| row.get(0)).map(Cursor)
}

/// Notes when credentials were used. Time never goes back, also when batches overtake each other.
pub(super) fn seen(connection: &Connection, batch: &[(RegistrationId, Timestamp)]) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE registrations SET last_seen_at = ?2 WHERE id = ?1 AND (last_seen_at IS NULL OR last_seen_at < ?2)",
    )?;
    for (id, at) in batch {
        update.execute(params![id.as_bytes(), at.unix()])?;
    }
    Ok(())
}

fn key(row: &Row<'_>, from: usize) -> rusqlite::Result<GateKey> {
    Ok(GateKey {
        number: KeyNumber(row.get(from)?),
        id: key_id(row, from + 1)?,
        product: row.get(from + 2)?,
        state: key_state(row, from + 3)?,
        starts: optional_time(row, from + 4)?,
        expires: time(row, from + 5)?,
    })
}
