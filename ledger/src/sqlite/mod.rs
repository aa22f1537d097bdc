//! The store on SQLite: one file, embedded.
//!
//! Owns which connection does what: one thread writes in groups, a few connections read. The tables are its modules'
//! affair; the rules are `license`'s.

mod apply;
mod backup;
mod check;
mod early;
mod gate;
mod giving_back;
mod held;
mod holders;
mod keys;
mod open;
mod readers;
mod register;
mod row;
mod trail;
mod upkeep;
mod writer;

pub use backup::backup;
pub(super) use backup::whole_file;
pub(super) use open::open_alone;

use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, ErrorCode};

use super::queue::{LANE_OF_GATE, LANE_OF_UPKEEP, LANE_OF_VENDOR, lane, lane_of_client};
use super::rows::{PIECE, SEEN_PIECE, like_anywhere};
use super::{
    ContractTaken, Created, Cursor, Deleted, Event, EventFilter, Feed, Found, Holder, Housekeeping, KeyChange, KeyId,
    KeyNumber, KeyRecord, KeyStanding, Lookup, NewKey, Opening, Policy, Registered, RegistrationView, Rotation,
    SeatPage, Store, StoreError, seats,
};
use crate::rules::{Judged, KeyState, RegisterCommand};
use readers::Readers;
use writer::Writer;

/// The store. Dropping it waits until everything that was accepted is durable.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    policy: Policy,
}

impl SqliteStore {
    /// Opens the database at `path`, as `opening` allows.
    pub fn open(path: &Path, opening: Opening, policy: Policy) -> anyhow::Result<Self> {
        let connection = open::open_writer(path, opening)?;
        let writer = Writer::start(connection)?;
        Ok(SqliteStore { writer, readers: Readers::new(path), policy })
    }

    /// Reads the whole file for damage, for a `serve` that starts. A large one is left to `els-backend check`: a start
    /// must not take minutes.
    pub fn find_damage(path: &Path) -> anyhow::Result<()> {
        let size = std::fs::metadata(path)?.len();
        if size > QUICK_CHECK_BYTES {
            return Ok(());
        }
        let connection = open::open_reader(path).map_err(|error| open::in_words(path, &error))?;
        open::find_damage(&connection, path)
    }
}

/// A connection to a database that is to be filled; it is made when there is none.
pub(super) fn open_to_fill(path: &Path) -> anyhow::Result<Connection> {
    open::open_writer(path, Opening::Migrating)
}

#[async_trait]
impl Store for SqliteStore {
    async fn register(&self, now: Timestamp, command: RegisterCommand) -> Result<Judged<Registered>, StoreError> {
        let policy = self.policy.clone();
        let lane = lane(&command.key_hash);
        self.writer.run(lane, move |db| register::register(db, &policy, now, &command)).await
    }

    async fn registration(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError> {
        let policy = self.policy.clone();
        let (view, overdue) = self.readers.ask(move |db| own_view(db, &policy, now, &id, &token_hash)).await?;
        if !overdue {
            return Ok(view);
        }
        self.superseded_used(now, id).await?;
        let policy = self.policy.clone();
        self.readers.ask(move |db| own_view(db, &policy, now, &id, &token_hash)).await.map(|(view, _)| view)
    }

    async fn delete(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<Deleted>, StoreError> {
        // Which key it is, nobody knows yet; and who asks for ids that nobody has seen, waits for himself alone.
        self.writer.run(lane_of_client(client), move |db| giving_back::delete(db, now, &id, &token_hash, client)).await
    }

    async fn seats(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError> {
        self.readers.ask(move |db| holders::page(db, now, &key_hash, after, limit)).await
    }

    async fn release(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        id: RegistrationId,
    ) -> Result<Judged<Deleted>, StoreError> {
        self.writer.run(lane(&key_hash), move |db| giving_back::release(db, now, &key_hash, &id)).await
    }

    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.readers.ask(move |db| gate::lookup(db, &id)).await
    }

    async fn key_standing(&self, key: KeyNumber) -> Result<Option<KeyStanding>, StoreError> {
        self.readers.ask(move |db| gate::key_standing(db, key)).await
    }

    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError> {
        self.readers.ask(move |db| gate::feed(db, after, limit)).await
    }

    async fn feed_end(&self) -> Result<Cursor, StoreError> {
        self.readers.ask(gate::feed_end).await
    }

    fn feed_hint(&self) -> tokio::sync::watch::Receiver<u64> {
        self.writer.grown()
    }

    async fn superseded_used(&self, now: Timestamp, id: RegistrationId) -> Result<Lookup, StoreError> {
        let policy = self.policy.clone();
        let work = move |db: &Connection| {
            giving_back::superseded_used(db, &policy, now, &id)?;
            gate::lookup(db, &id)
        };
        self.writer.run(LANE_OF_GATE, work).await
    }

    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        for piece in batch.chunks(SEEN_PIECE) {
            let piece = piece.to_vec();
            self.writer.run(LANE_OF_UPKEEP, move |db| gate::seen(db, &piece)).await?;
        }
        Ok(())
    }

    async fn housekeeping(&self, now: Timestamp) -> Result<Housekeeping, StoreError> {
        let mut done = Housekeeping::default();
        self.writer.run(LANE_OF_UPKEEP, move |db| upkeep::gate_is_up(db, now)).await?;
        if self.readers.ask(move |db| upkeep::search_is_due(db, now)).await? {
            loop {
                let unseen = self.readers.ask(move |db| upkeep::unseen(db, now)).await?;
                let found = unseen.len();
                let released =
                    self.writer.run(LANE_OF_UPKEEP, move |db| upkeep::release_unseen(db, now, &unseen)).await?;
                done.released += released;
                // Where all that were found have been seen meanwhile, the next search is soon enough.
                if found < PIECE || released == 0 {
                    break;
                }
            }
            self.writer.run(LANE_OF_UPKEEP, move |db| upkeep::search_is_done(db, now)).await?;
        }
        loop {
            let erased = self.writer.run(LANE_OF_UPKEEP, move |db| upkeep::erase(db, now)).await?;
            done.erased += erased;
            if erased < PIECE as u64 {
                break;
            }
        }
        done.forgotten = self.writer.run(LANE_OF_UPKEEP, move |db| early::forget(db, now)).await?;
        Ok(done)
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.readers.ask(|db| db.query_row("SELECT count(*) FROM upkeep", [], |_| Ok(()))).await?;
        // An empty transaction: it needs the lock for writing, and writes nothing.
        self.writer.run(LANE_OF_UPKEEP, |_| Ok(())).await
    }

    async fn create_key(&self, now: Timestamp, key: NewKey, key_hash: Sha256Hex) -> Result<Created, StoreError> {
        self.writer.run(LANE_OF_VENDOR, move |db| keys::create(db, now, &key, &key_hash)).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        self.readers.ask(move |db| keys::by_id(db, &id)).await
    }

    async fn keys(&self, after: Option<KeyNumber>, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.readers.ask(move |db| keys::list(db, after, limit)).await
    }

    async fn update_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<Option<Result<KeyRecord, ContractTaken>>, StoreError> {
        let id = id.clone();
        self.writer.run(LANE_OF_VENDOR, move |db| keys::update(db, now, &id, &change)).await
    }

    async fn set_key_state(
        &self,
        now: Timestamp,
        id: &KeyId,
        state: KeyState,
    ) -> Result<Option<Judged<KeyRecord>>, StoreError> {
        let id = id.clone();
        self.writer.run(LANE_OF_VENDOR, move |db| keys::set_state(db, now, &id, state)).await
    }

    async fn rotate_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Option<Rotation>, StoreError> {
        let id = id.clone();
        self.writer.run(LANE_OF_VENDOR, move |db| keys::rotate(db, now, &id, &key_hash, old_until)).await
    }

    async fn holders(
        &self,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        let key = key.clone();
        self.readers
            .ask(move |db| match keys::by_id(db, &key)? {
                Some(_) => holders::of_key(db, &key, after, limit).map(Some),
                None => Ok(None),
            })
            .await
    }

    async fn release_seat(&self, now: Timestamp, id: RegistrationId) -> Result<Option<Deleted>, StoreError> {
        let work = move |db: &Connection| giving_back::release_any(db, now, &id, "freed by the vendor".into());
        self.writer.run(LANE_OF_VENDOR, work).await
    }

    async fn find(&self, text: &str, limit: u32) -> Result<Found, StoreError> {
        let text = text.to_owned();
        let pattern = like_anywhere(&text);
        self.readers
            .ask(move |db| {
                let id = RegistrationId::parse(&text.to_ascii_lowercase());
                let keys = keys::find(db, &text, &pattern, limit)?;
                Ok(Found { keys, registrations: holders::find(db, id, &pattern, limit)? })
            })
            .await
    }

    async fn events(&self, filter: EventFilter, after: Cursor, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.readers.ask(move |db| trail::events(db, &filter, after, limit)).await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.readers.ask(check::check).await
    }
}

/// What an error of SQLite means to whoever asked. Its text names tables and files, never a value.
fn failure(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationAborted,
        ) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Internal(error.to_string()),
    }
}

/// What a machine's credential stands for, and whether that has to be decided first: superseded, and past its hour.
fn own_view(
    db: &Connection,
    policy: &Policy,
    now: Timestamp,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
) -> rusqlite::Result<(Judged<RegistrationView>, bool)> {
    let Some(held) = held::held(db, id)? else {
        let early = early::is_remembered(db, now, id, token_hash)?;
        return Ok(seats::own_view(policy, now, *token_hash, None, early));
    };
    let key = held::key_by_number(db, held.key)?;
    Ok(seats::own_view(policy, now, *token_hash, Some((&held, &key)), false))
}

/// Half a second's reading.
const QUICK_CHECK_BYTES: u64 = 512 * 1024 * 1024;
