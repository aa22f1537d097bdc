//! What the backend remembers: keys, registrations, the audit trail.
//!
//! Owns the interface to any database: requests, answers and promises. It must never know SQL (that is one file a
//! database), HTTP, or the time: every call that depends on it gets `now`. The seat rules are `license`'s; a store
//! gathers their facts and carries their decisions out in one transaction.
//!
//! Promises of every implementation:
//! - Active registrations of a key never exceed its seats at the moment a seat is given, however many ask at once.
//! - What was answered is durable. A change whose outcome is not known is [`StoreError::Unavailable`], nothing else.
//! - Each change of a seat or of a key is in the trail, written in the same transaction.
//! - A call whose future is dropped is carried out all the same, wholly or not at all.

mod admin;
mod change;
pub mod copy;
pub mod database;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
mod postgres;
mod queue;
mod rows;
pub mod rules;
mod seats;
mod sqlite;
mod terms;

pub use admin::{
    ContractTaken, Created, Event, EventFilter, EventKind, Found, Holder, HolderState, KeyChange, KeyId, KeyRecord,
    NewKey, Rotation,
};
pub use gate::{Credential, CredentialState, Cursor, Feed, FeedItem, KeyNumber, KeyStanding, Lookup};

pub use postgres::{PostgresStore, Target};
pub use sqlite::{SqliteStore, backup};

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use els_protocol::wire::{Os, SeatHolder, Seats};
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};

use crate::database::DatabaseUrl;
use crate::rules::{Judged, KeyState, RegisterCommand};

/// Whether a product covers a system: product id, operating system, architecture.
pub type Coverage = Arc<dyn Fn(&str, &Os, &str) -> bool + Send + Sync>;

/// What a store must be told to judge registrations: it is `serve`'s configuration, and no part of the database.
#[derive(Clone)]
pub struct Policy {
    /// Which systems a product covers.
    pub covers: Coverage,
    /// Seconds after expiry in which known machines go on (`--grace`).
    pub grace_seconds: i64,
}

/// What may be done to a database while it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It must be there, with the schema of this version.
    Existing,
    /// It is made when there is none, where that needs no more than a file; an older schema is refused.
    Creating,
    /// It is set up when it is empty, and brought to the schema of this version.
    Migrating,
}

/// Opens a database, as `opening` allows. To be called in the runtime that the store is used in.
pub async fn open(url: &DatabaseUrl, opening: Opening, policy: Policy) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match url {
        DatabaseUrl::Sqlite(path) => Arc::new(SqliteStore::open(path, opening, policy)?),
        DatabaseUrl::Postgres(target) => Arc::new(PostgresStore::open(target, opening, policy).await?),
    })
}

/// Why a store gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The database cannot be asked, or the outcome of a change is not known: 503.
    Unavailable(String),
    /// The queue of this key, or of the whole writer, is full: 429. Nothing was changed.
    Busy,
    /// Something that should not happen; the text is for the log alone: 500. Nothing was changed.
    Internal(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Unavailable(why) => write!(f, "the database is not available: {why}"),
            StoreError::Busy => write!(f, "too many requests are waiting for the database"),
            StoreError::Internal(why) => write!(f, "the database gave an unexpected answer: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// One registration as its machine is told of it. What belongs to the product (name, repo file) is not the store's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationView {
    /// The registration's id.
    pub registration: RegistrationId,
    /// The key's id.
    pub key_id: KeyId,
    /// The contract that the key belongs to.
    pub contract: Option<String>,
    /// The product's id.
    pub product: String,
    /// When the key expires.
    pub expires: Timestamp,
    /// When this registration took the seat.
    pub registered_at: Timestamp,
    /// The key's seats, this registration's among the used ones.
    pub seats: Seats,
}

/// How a registration came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A free seat was taken: 201.
    Created,
    /// The id was active already; its particulars were brought up to date: 200.
    Confirmed,
    /// The seat moved here from another id of the same machine: 200.
    Moved,
}

/// The answer to a PUT that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The registration, with current values.
    pub view: RegistrationView,
    /// How it came about.
    pub how: How,
}

/// What a DELETE by the machine itself found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The registration was active or superseded and is released now.
    Released,
    /// It had been released before.
    Already,
    /// Nobody had seen this id; it is remembered, so that a PUT that comes late is refused.
    NeverSeen,
}

/// One page of the machines that hold a key's seats, for whoever holds the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatPage {
    /// The key's id.
    pub key_id: KeyId,
    /// The product's id.
    pub product: String,
    /// When the key expires.
    pub expires: Timestamp,
    /// The key's seats.
    pub seats: Seats,
    /// The active registrations after the one asked for, in the order of their ids.
    pub registrations: Vec<SeatHolder>,
    /// The value of `after` for the next page; `None` on the last one.
    pub next: Option<RegistrationId>,
}

/// What one round of [`Store::housekeeping`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Registrations released because nobody had seen them for as long as their key says.
    pub released: u64,
    /// Registrations whose machine and hardware ids were erased.
    pub erased: u64,
    /// Early releases that were forgotten after a day.
    pub forgotten: u64,
}

/// Where the backend keeps what it promises. One object serves all requests at once.
#[async_trait]
pub trait Store: Send + Sync {
    /// PUT: gives, confirms or moves a seat.
    async fn register(&self, now: Timestamp, command: RegisterCommand) -> Result<Judged<Registered>, StoreError>;

    /// GET: what a machine's own credential stands for. A superseded credential after its hour is decided upon, as by
    /// [`Store::superseded_used`].
    async fn registration(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError>;

    /// DELETE by the machine itself. `client` is the address that asks: what is remembered of ids that nobody has seen
    /// is bounded for each.
    async fn delete(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<Deleted>, StoreError>;

    /// One page of the machines that hold the seats of the key with this hash: at most `limit`, ids greater than
    /// `after`. Answered whatever the key's state.
    async fn seats(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError>;

    /// DELETE of one seat by whoever holds the key. `Already` when it was released before; refused with
    /// `unknown-registration` when it is another key's.
    async fn release(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        id: RegistrationId,
    ) -> Result<Judged<Deleted>, StoreError>;

    // The gate.

    /// What the database knows of one credential and its key, read at one moment.
    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError>;

    /// What the database knows of one key, read at one moment; `None` for a number that no key has.
    async fn key_standing(&self, key: KeyNumber) -> Result<Option<KeyStanding>, StoreError>;

    /// What has changed after `after`, oldest first, at most `limit` items: for nodes that remember credentials.
    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError>;

    /// The present end of the feed: where a node that remembers nothing begins.
    async fn feed_end(&self) -> Result<Cursor, StoreError>;

    /// A hint that the feed has grown. It may come late or never (another node's changes): poll as well.
    fn feed_hint(&self) -> tokio::sync::watch::Receiver<u64>;

    /// A superseded credential was used: within its hour nothing happens; after it, both machines are alive, which is
    /// decided once, in one transaction. Answers with what the credential is from now on.
    async fn superseded_used(&self, now: Timestamp, id: RegistrationId) -> Result<Lookup, StoreError>;

    /// Notes when credentials were last used at the gate. Ids that are not known are passed over; time never goes back.
    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError>;

    // Upkeep.

    /// One round of what has to be done as time goes by; to be called once a minute while the gate is up, which is also
    /// how the store knows that it was.
    async fn housekeeping(&self, now: Timestamp) -> Result<Housekeeping, StoreError>;

    /// Whether the database answers, for reading and for writing.
    async fn health(&self) -> Result<(), StoreError>;

    /// Accepts nothing more, and waits until everything that was accepted is durable, or known not to be. A store that waits
    /// when it is dropped has nothing to do here.
    async fn finish(&self) {}

    // Administration.

    /// Makes a key. Creating one again with the same contract and the same values finds it.
    async fn create_key(&self, now: Timestamp, key: NewKey, key_hash: Sha256Hex) -> Result<Created, StoreError>;

    /// One key.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// The keys in the order of their making: at most `limit`, after the one with number `after`.
    async fn keys(&self, after: Option<KeyNumber>, limit: u32) -> Result<Vec<KeyRecord>, StoreError>;

    /// Changes what `change` names; `None` when there is no such key.
    async fn update_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<Option<Result<KeyRecord, ContractTaken>>, StoreError>;

    /// Suspends, resumes or revokes; `None` when there is no such key. A revoked key stays revoked: refused.
    async fn set_key_state(
        &self,
        now: Timestamp,
        id: &KeyId,
        state: KeyState,
    ) -> Result<Option<Judged<KeyRecord>>, StoreError>;

    /// Gives a key a new secret for the same seats; `None` when there is no such key.
    async fn rotate_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Option<Rotation>, StoreError>;

    /// The registrations of a key that are active or superseded: at most `limit`, ids greater than `after`.
    async fn holders(
        &self,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError>;

    /// Frees a seat in the vendor's name; `None` when nobody has seen this id.
    async fn release_seat(&self, now: Timestamp, id: RegistrationId) -> Result<Option<Deleted>, StoreError>;

    /// Keys and registrations that a text leads to: whole ids, or part of a contract, reseller or label. At most
    /// `limit` of each.
    async fn find(&self, text: &str, limit: u32) -> Result<Found, StoreError>;

    /// The audit trail, oldest first: at most `limit` events after `after`.
    async fn events(&self, filter: EventFilter, after: Cursor, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Recounts seats against registrations and the trail: one sentence for each disagreement.
    async fn check(&self) -> Result<Vec<String>, StoreError>;
}
