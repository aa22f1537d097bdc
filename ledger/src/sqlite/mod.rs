//! The store on SQLite: one file, embedded.
//!
//! Owns which connection does what: one thread writes in batches, a few connections read. The tables belong to its modules,
//! the rules to `rules`.

mod apply;
mod audit_log;
mod backup;
mod check;
mod early_release;
mod facts;
mod gate;
mod holders;
mod keys;
mod open;
mod readers;
mod register;
mod release;
mod row;
mod systems;
mod tokens;
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
use tokio::sync::watch;

use self::readers::Readers;
use self::writer::Writer;
use crate::by::By;
use crate::outcome::{
    Created, KeyUpdate, Registered, RegistrationView, ReleaseOutcome, Rotation, SeatPage, StateChange,
};
use crate::queue::{
    QUEUE_KEY_OF_CREDENTIALS, QUEUE_KEY_OF_GATE, QUEUE_KEY_OF_UPKEEP, QUEUE_KEY_OF_VENDOR, queue_key,
    queue_key_of_client, queue_key_of_scope,
};
use crate::rows::like_anywhere;
use crate::rules::{Judged, KeyState, RegisterCommand};
use crate::scope::Scope;
use crate::seats::Attempt;
use crate::steps::{self, Steps, Unused};
use crate::store::{Administration, GateFeed, SeatStore, StoreError, Upkeep};
use crate::turns::ReadClass;
use crate::{
    Cursor, Event, EventFilter, Feed, Found, GateKey, Holder, KeyChange, KeyId, KeyNumber, KeyRecord, Lookup, NewKey,
    Opening, Policy, seats,
};

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
impl SeatStore for SqliteStore {
    async fn register(
        &self,
        now: Timestamp,
        by: By,
        command: RegisterCommand,
    ) -> Result<Judged<Registered>, StoreError> {
        steps::register(self, now, by, command).await
    }

    async fn registration(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError> {
        steps::registration(self, now, by, id, token_hash).await
    }

    async fn unregister(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<ReleaseOutcome>, StoreError> {
        let work = move |db: &Connection| release::unregister(db, now, &by, &id, &token_hash, client);
        self.writer.run(queue_key_of_client(client), work).await
    }

    async fn seat_page(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError> {
        let (policy, key) = (self.policy.clone(), queue_key(&key_hash));
        let page = self
            .readers
            .read(ReadClass::Customer(key), move |db| holders::page(db, &policy, now, &key_hash, after, limit))
            .await?;
        self.readers.note(key, page.as_ref().is_ok_and(|page| !page.revoked));
        Ok(page)
    }

    async fn release_seat(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: RegistrationId,
    ) -> Result<Judged<ReleaseOutcome>, StoreError> {
        self.writer.run(queue_key_of_scope(&scope), move |db| release::release(db, now, &scope, &by, &id)).await
    }
}

#[async_trait]
impl GateFeed for SqliteStore {
    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.readers.read(ReadClass::Lookup, move |db| gate::lookup(db, &id)).await
    }

    async fn gate_key(&self, key: KeyNumber) -> Result<Option<GateKey>, StoreError> {
        self.readers.read(ReadClass::Feed, move |db| gate::gate_key(db, key)).await
    }

    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError> {
        self.readers.read(ReadClass::Feed, move |db| gate::feed(db, after, limit)).await
    }

    async fn feed_end(&self) -> Result<Cursor, StoreError> {
        self.readers.read(ReadClass::Feed, gate::feed_end).await
    }

    fn feed_hint(&self) -> watch::Receiver<u64> {
        self.writer.grown()
    }

    async fn superseded_used(&self, now: Timestamp, by: By, id: RegistrationId) -> Result<Lookup, StoreError> {
        let policy = self.policy.clone();
        let work = move |db: &Connection| {
            release::superseded_used(db, &policy, now, &by, &id)?;
            gate::lookup(db, &id)
        };
        self.writer.run(QUEUE_KEY_OF_GATE, work).await
    }

    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        steps::seen(self, batch).await
    }
}

#[async_trait]
impl Administration for SqliteStore {
    async fn create_key(
        &self,
        now: Timestamp,
        by: By,
        key: NewKey,
        key_hash: Sha256Hex,
    ) -> Result<Created, StoreError> {
        self.writer.run(QUEUE_KEY_OF_VENDOR, move |db| keys::create(db, now, &by, &key, &key_hash)).await
    }

    async fn key(&self, now: Timestamp, scope: Scope, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        self.readers.read(ReadClass::Vendor, move |db| keys::by_id(db, now, &scope, &id)).await
    }

    async fn keys(
        &self,
        now: Timestamp,
        scope: Scope,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.readers.read(ReadClass::Vendor, move |db| keys::list(db, now, &scope, after, limit)).await
    }

    async fn update_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<KeyUpdate, StoreError> {
        let id = id.clone();
        let work = move |db: &Connection| keys::update(db, now, &scope, &by, &id, &change);
        self.writer.run(queue_key_of_scope(&scope), work).await
    }

    async fn set_key_state(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        state: KeyState,
    ) -> Result<StateChange, StoreError> {
        let id = id.clone();
        let work = move |db: &Connection| keys::set_state(db, now, &scope, &by, &id, state);
        self.writer.run(queue_key_of_scope(&scope), work).await
    }

    async fn rotate_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Rotation, StoreError> {
        let id = id.clone();
        let work = move |db: &Connection| keys::rotate(db, now, &scope, &by, &id, &key_hash, old_until);
        self.writer.run(queue_key_of_scope(&scope), work).await
    }

    async fn holders(
        &self,
        now: Timestamp,
        scope: Scope,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        let (policy, key) = (self.policy.clone(), key.clone());
        self.readers
            .read(ReadClass::Vendor, move |db| match keys::by_id(db, now, &scope, &key)? {
                Some(key) => {
                    let key = facts::key_by_number(db, key.number)?;
                    holders::of_key(db, &policy, now, &key, after, limit).map(Some)
                }
                None => Ok(None),
            })
            .await
    }

    async fn find(&self, now: Timestamp, scope: Scope, text: &str, limit: u32) -> Result<Found, StoreError> {
        let text = text.to_owned();
        let pattern = like_anywhere(&text);
        self.readers
            .read(ReadClass::Vendor, move |db| {
                let id = RegistrationId::parse(&text.to_ascii_lowercase());
                let keys = keys::find(db, now, &scope, &text, &pattern, limit)?;
                Ok(Found { keys, registrations: holders::find(db, now, &scope, id, &pattern, limit)? })
            })
            .await
    }

    async fn events(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: EventFilter,
        after: Cursor,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.readers.read(ReadClass::Vendor, move |db| audit_log::events(db, now, &scope, &filter, after, limit)).await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(ReadClass::Vendor, check::check).await
    }
}

#[async_trait]
impl Upkeep for SqliteStore {
    async fn take_lease(&self, job: &str, holder: &str, seconds: u32) -> Result<bool, StoreError> {
        let (job, holder) = (job.to_owned(), holder.to_owned());
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| upkeep::take_lease(db, &job, &holder, seconds)).await
    }

    async fn gate_is_up(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| upkeep::gate_is_up(db, now)).await
    }

    async fn release_unseen(&self, now: Timestamp, by: By) -> Result<u64, StoreError> {
        steps::release_unseen(self, now, by).await
    }

    async fn release_superseded(&self, now: Timestamp, by: By) -> Result<u64, StoreError> {
        steps::release_superseded(self, now, by).await
    }

    async fn erase_ids(&self, now: Timestamp) -> Result<u64, StoreError> {
        steps::erase_ids(self, now).await
    }

    async fn forget_early_releases(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| early_release::forget(db, now)).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.readers.read(ReadClass::Upkeep, |db| db.query_row("SELECT count(*) FROM upkeep", [], |_| Ok(()))).await?;
        // An empty transaction: it needs the lock for writing, and writes nothing.
        self.writer.run(QUEUE_KEY_OF_UPKEEP, |_| Ok(())).await
    }
}

#[async_trait]
impl Steps for SqliteStore {
    async fn try_register(&self, now: Timestamp, by: By, command: RegisterCommand) -> Result<Attempt, StoreError> {
        let (policy, key) = (self.policy.clone(), queue_key(&command.key_hash));
        self.writer.run(key, move |db| register::register(db, &policy, now, &by, &command)).await
    }

    async fn unused(&self, now: Timestamp, after: Unused) -> Result<Vec<Unused>, StoreError> {
        self.readers.read(ReadClass::Upkeep, move |db| upkeep::unused(db, now, after)).await
    }

    async fn release_unused(&self, now: Timestamp, by: By, ids: Vec<RegistrationId>) -> Result<u64, StoreError> {
        let policy = self.policy.clone();
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| upkeep::release_unused(db, &policy, now, &by, &ids)).await
    }

    async fn own_view(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<(Judged<RegistrationView>, bool), StoreError> {
        let policy = self.policy.clone();
        self.readers
            .read(ReadClass::Customer(QUEUE_KEY_OF_CREDENTIALS), move |db| own_view(db, &policy, now, &id, &token_hash))
            .await
    }

    async fn note_seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| gate::seen(db, &batch)).await
    }

    async fn search_is_due(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.readers.read(ReadClass::Upkeep, move |db| upkeep::search_is_due(db, now)).await
    }

    async fn search_is_done(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| upkeep::search_is_done(db, now)).await
    }

    async fn unseen(&self, now: Timestamp) -> Result<Vec<RegistrationId>, StoreError> {
        self.readers.read(ReadClass::Upkeep, move |db| upkeep::unseen(db, now)).await
    }

    async fn release_those(&self, now: Timestamp, by: By, ids: Vec<RegistrationId>) -> Result<u64, StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| upkeep::release_unseen(db, now, &by, &ids)).await
    }

    async fn erase_batch(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| upkeep::erase(db, now)).await
    }
}

/// What an error of SQLite means to the caller. Its text names tables and files, never a value.
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

/// What a machine's credential stands for, and whether that has to be decided first.
fn own_view(
    db: &Connection,
    policy: &Policy,
    now: Timestamp,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
) -> rusqlite::Result<(Judged<RegistrationView>, bool)> {
    let Some(known) = facts::registration(db, id)? else {
        let early = early_release::is_remembered(db, now, id, token_hash)?;
        return Ok(seats::own_view(policy, now, *token_hash, None, early, &[]));
    };
    let key = facts::key_by_number(db, known.key)?;
    let pauses = match known.superseded_at() {
        Some(_) => facts::pauses(db, now, key.number, &key.terms(policy))?,
        None => Vec::new(),
    };
    Ok(seats::own_view(policy, now, *token_hash, Some((&known, &key)), false, &pauses))
}

/// What is read in half a second.
const QUICK_CHECK_BYTES: u64 = 512 * 1024 * 1024;
