//! The audit log: reading a part of it.

use els_protocol::Timestamp;
use tokio_postgres::Row;

use super::client::Statements;
use super::failure::Failed;
use super::row::{Columns, scope_hash, uuid};
use crate::scope::{Scope, within_scope};
use crate::{Cursor, Event, EventFilter, FeedFilter};

/// A part of the audit log, oldest first.
pub(super) async fn events(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    filter: &EventFilter,
    after: Cursor,
    limit: u32,
) -> Result<Vec<Event>, Failed> {
    let values: super::client::Values<'_> = vec![
        Box::new(i64::try_from(after.0).unwrap_or(i64::MAX)),
        Box::new(filter.key.as_ref().map(|key| key.as_str())),
        Box::new(filter.registration.as_ref().map(uuid)),
        Box::new(filter.since.map(|since| since.unix())),
        Box::new(i64::from(limit)),
        scope_hash(scope),
        Box::new(now.unix()),
    ];
    // A statement for each, so that each finds its rows by an index.
    let question = match (&filter.registration, &filter.key) {
        (Some(_), _) => OF_REGISTRATION,
        (None, Some(_)) => OF_KEY,
        (None, None) => ALL,
    };
    db.ask(question, values).await?.iter().map(event).collect()
}

/// The events after a number that fit, oldest first.
pub(super) async fn feed(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    filter: &FeedFilter,
    after: u64,
    limit: u32,
) -> Result<Vec<Event>, Failed> {
    let values: super::client::Values<'_> = vec![
        Box::new(i64::try_from(after).unwrap_or(i64::MAX)),
        Box::new(filter.key.as_ref().map(|key| key.as_str())),
        Box::new(filter.registration.as_ref().map(uuid)),
        Box::new(filter.since.map(|since| since.unix())),
        Box::new(i64::from(limit)),
        scope_hash(scope),
        Box::new(now.unix()),
        Box::new(filter.kinds.clone()),
    ];
    let question = match (&filter.registration, &filter.key) {
        (Some(_), _) => FEED_OF_REGISTRATION,
        (None, Some(_)) => FEED_OF_KEY,
        (None, None) => FEED,
    };
    db.ask(question, values).await?.iter().map(event).collect()
}

/// The event with this number.
pub(super) async fn one(db: &impl Statements, seq: i64) -> Result<Option<Event>, Failed> {
    db.ask(ONE, vec![Box::new(seq)]).await?.first().map(event).transpose()
}

/// The last event.
pub(super) async fn last(db: &impl Statements) -> Result<Option<Event>, Failed> {
    db.ask(LAST, Vec::new()).await?.first().map(event).transpose()
}

fn event(row: &Row) -> Result<Event, Failed> {
    let row = Columns(row);
    Ok(Event {
        cursor: Cursor(row.count(0)?),
        at: row.time(1)?,
        event: row.get(2)?,
        key_id: row.key_id(3)?,
        registration: row.optional_id(4)?,
        other: row.optional_id(5)?,
        machine: row.machine_id(6)?,
        hardware: row.machine_id(7)?,
        detail: row.get(8)?,
        actor: row.get(9)?,
        origin: row.get(10)?,
        request: row.get(11)?,
    })
}

macro_rules! columns {
    () => {
        "SELECT e.seq, e.at, e.kind, k.id, e.registration, e.other, e.machine, e.hardware, e.detail,
            e.actor, e.origin, e.request
         FROM events e JOIN keys k ON k.number = e.key "
    };
}
macro_rules! events {
    ($condition:literal) => {
        concat!(
            columns!(),
            "WHERE e.seq > $1 AND ",
            $condition,
            " AND ($2::text IS NULL OR k.id = $2) AND ($3::uuid IS NULL OR e.registration = $3)
             AND ($4::int8 IS NULL OR e.at >= $4) AND ",
            within_scope!("e.key", "$6::bytea", "$7"),
            " ORDER BY e.seq LIMIT $5"
        )
    };
}

const ALL: &str = events!("true");
const OF_KEY: &str = events!("e.key = (SELECT number FROM keys WHERE id = $2)");
const OF_REGISTRATION: &str = events!("e.registration = $3");
const FEED: &str = events!("($8::text[] IS NULL OR e.kind = ANY ($8))");
const FEED_OF_KEY: &str =
    events!("e.key = (SELECT number FROM keys WHERE id = $2) AND ($8::text[] IS NULL OR e.kind = ANY ($8))");
const FEED_OF_REGISTRATION: &str = events!("e.registration = $3 AND ($8::text[] IS NULL OR e.kind = ANY ($8))");
const ONE: &str = concat!(columns!(), "WHERE e.seq = $1");
const LAST: &str = concat!(columns!(), "ORDER BY e.seq DESC LIMIT 1");
