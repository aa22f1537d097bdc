//! What the gate asks: credentials, keys, the feed of changes.
//!
//! Owns reading them at one moment, which is one statement each.

use std::sync::Mutex;

use els_protocol::{RegistrationId, Timestamp};
use uuid::Uuid;

use super::client::Statements;
use super::failure::Failed;
use super::row::{Columns, uuid};
use crate::{Credential, Cursor, Feed, FeedItem, GateKey, KeyNumber, Lookup, rows};

/// One credential and its key.
pub(super) async fn lookup(db: &impl Statements, id: RegistrationId) -> Result<Lookup, Failed> {
    let rows = db.ask(LOOKUP, vec![Box::new(uuid(&id))]).await?;
    let row = Columns(rows.first().ok_or_else(|| Failed::invalid("no answer to a look-up"))?);
    let as_of = cursor(row.get(0)?);
    if row.get::<Option<&[u8]>>(1)?.is_none() {
        return Ok(Lookup { as_of, found: None });
    }
    let key = gate_key_from(&row, 4)?;
    let state = rows::credential_state(row.registration_state(2)?, row.optional_time(3)?)
        .ok_or_else(|| Failed::invalid("a superseded registration without its time"))?;
    let credential = Credential { token_hash: row.hash(1)?, key: key.number, state };
    Ok(Lookup { as_of, found: Some((credential, key)) })
}

/// One key.
pub(super) async fn gate_key(db: &impl Statements, key: KeyNumber) -> Result<Option<GateKey>, Failed> {
    let rows = db.ask(GATE_KEY, vec![Box::new(key.0)]).await?;
    rows.first().map(|row| gate_key_from(&Columns(row), 0)).transpose()
}

/// Which history of the database was read. A failover begins another one (a timeline), and so does a restored dump (a table
/// with another number). Either may lack the end of the one before.
#[derive(Default)]
pub(super) struct Timeline(Mutex<Option<String>>);

impl Timeline {
    /// The feed, broken where it is of another history than the one that was read before.
    pub(super) fn continued(&self, piece: Piece) -> Feed {
        let mut before = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let another = before.as_deref().is_some_and(|before| before != piece.history);
        *before = Some(piece.history);
        match another || piece.feed.broken {
            true => Feed { items: Vec::new(), up_to: piece.end, more: false, broken: true },
            false => piece.feed,
        }
    }
}

/// A piece of the feed, as far as one statement tells.
pub(super) struct Piece {
    history: String,
    end: Cursor,
    feed: Feed,
}

/// The feed after a place.
pub(super) async fn feed(db: &impl Statements, after: Cursor, limit: u32) -> Result<Piece, Failed> {
    let from = i64::try_from(after.0).unwrap_or(i64::MAX);
    let rows = db.ask(FEED, vec![Box::new(from), Box::new(i64::from(limit))]).await?;
    let end = Columns(rows.first().ok_or_else(|| Failed::invalid("no answer about the feed"))?);
    let (end, history) = (cursor(end.get(0)?), end.get(1)?);
    let mut items = Vec::new();
    let mut up_to = after;
    for row in &rows {
        let row = Columns(row);
        let Some(seq) = row.get::<Option<i64>>(2)? else { continue };
        up_to = cursor(seq);
        let item = match row.optional_id(4)? {
            Some(registration) => FeedItem::Registration(registration),
            None => FeedItem::Key(KeyNumber(row.get(3)?)),
        };
        items.push((up_to, item));
    }
    let more = items.len() as u64 == u64::from(limit);
    Ok(Piece { history, end, feed: Feed { items, up_to, more, broken: end < after } })
}

/// The end of the feed.
pub(super) async fn feed_end(db: &impl Statements) -> Result<Cursor, Failed> {
    let rows = db.ask("SELECT coalesce(max(seq), 0) FROM events", Vec::new()).await?;
    Ok(cursor(Columns(rows.first().ok_or_else(|| Failed::invalid("no end of the feed"))?).get(0)?))
}

/// Notes when credentials were used. Times never go back, also when batches overtake each other. Rows that another
/// transaction writes at this moment are skipped: their credentials are used again in a minute.
pub(super) async fn seen(db: &impl Statements, batch: &[(RegistrationId, Timestamp)]) -> Result<(), Failed> {
    let ids: Vec<Uuid> = batch.iter().map(|(id, _)| uuid(id)).collect();
    let at: Vec<i64> = batch.iter().map(|(_, at)| at.unix()).collect();
    db.run(SEEN, vec![Box::new(ids), Box::new(at)]).await.map(drop)
}

fn gate_key_from(row: &Columns<'_>, from: usize) -> Result<GateKey, Failed> {
    Ok(GateKey {
        number: KeyNumber(row.get(from)?),
        id: row.key_id(from + 1)?,
        product: row.get(from + 2)?,
        state: row.key_state(from + 3)?,
        starts: row.optional_time(from + 4)?,
        expires: row.time(from + 5)?,
    })
}

fn cursor(seq: i64) -> Cursor {
    Cursor(u64::try_from(seq).unwrap_or(0))
}

const LOOKUP: &str =
    "SELECT e.seq, r.token_hash, r.state, r.ended_at, k.number, k.id, k.product, k.state, k.starts, k.expires
    FROM (SELECT coalesce(max(seq), 0) AS seq FROM events) e
    LEFT JOIN registrations r ON r.id = $1
    LEFT JOIN LATERAL (SELECT * FROM keys WHERE number = r.key OFFSET 0) k ON true";
const GATE_KEY: &str = "SELECT number, id, product, state, starts, expires FROM keys WHERE number = $1";
const FEED: &str = "SELECT e.seq, left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || 'events'::regclass::oid,
           n.seq, n.key, n.registration
    FROM (SELECT coalesce(max(seq), 0) AS seq FROM events) e
    LEFT JOIN LATERAL (SELECT seq, key, registration FROM events WHERE seq > $1 ORDER BY seq LIMIT $2) n ON true
    ORDER BY n.seq";
const SEEN: &str = "UPDATE registrations r SET last_seen_at = x.at
    FROM (SELECT o.id, n.at FROM unnest($1::uuid[], $2::int8[]) AS n (id, at)
          JOIN registrations o ON o.id = n.id AND o.id = ANY ($1) AND (o.last_seen_at IS NULL OR o.last_seen_at < n.at)
          FOR UPDATE OF o SKIP LOCKED) x
    WHERE r.id = x.id AND r.id = ANY ($1) AND (r.last_seen_at IS NULL OR r.last_seen_at < x.at)";
