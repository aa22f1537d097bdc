//! The interface to any database, in four traits: seats, the gate's feed, administration, upkeep.
//!
//! Owns what can be asked and what every implementation promises. It must not know SQL (that is one folder for each
//! database), HTTP, or the time: every call that depends on the time gets `now`. The seat rules are in `rules`; a database
//! reads their facts and carries their decisions out in one transaction.
//!
//! Promises of every implementation:
//! - Active registrations of a key never exceed its seats at the moment a seat is given, however many ask at once.
//! - What was answered is durable. A change whose outcome is not known is [`StoreError::Unavailable`], nothing else.
//! - Each change of a seat or of a key is in the audit log, written in the same transaction, with who caused it.
//! - A call whose future is dropped is carried out all the same, wholly or not at all.
//!
//! The outer `Result` of a call says whether the database answered. Calls that the seat rules judge return their
//! [`Judged`] value inside it.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use tokio::sync::watch;

use crate::by::By;
use crate::outcome::{
    Created, KeyUpdate, Registered, RegistrationView, ReleaseOutcome, Rotation, SeatPage, StateChange,
};
use crate::rules::{Judged, KeyState, RegisterCommand};
use crate::scope::Scope;
use crate::systems::Systems;
use crate::tokens::Tokens;
use crate::{
    Cursor, Event, EventFilter, Feed, Found, GateKey, Holder, KeyChange, KeyId, KeyNumber, KeyRecord, Lookup, NewKey,
};

/// What machines and holders of keys ask.
#[async_trait]
pub trait SeatStore: Send + Sync {
    /// Gives, confirms or moves a seat.
    async fn register(
        &self,
        now: Timestamp,
        by: By,
        command: RegisterCommand,
    ) -> Result<Judged<Registered>, StoreError>;

    /// What a machine's own credential stands for. A superseded credential after its hour is decided first, as by
    /// [`GateFeed::superseded_used`].
    async fn registration(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError>;

    /// Releases a machine's own seat. `client` is the address that asks: early releases are bounded for each address.
    async fn unregister(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<ReleaseOutcome>, StoreError>;

    /// One page of the machines that hold the seats of the key with this hash: at most `limit`, ids greater than
    /// `after`. Answered whatever the key's state.
    async fn seat_page(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError>;

    /// Releases the seat of another machine, within `scope`.
    async fn release_seat(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: RegistrationId,
    ) -> Result<Judged<ReleaseOutcome>, StoreError>;
}

/// What a gate asks that keeps credentials in memory.
#[async_trait]
pub trait GateFeed: Send + Sync {
    /// What the database knows of one credential and its key, read at one moment.
    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError>;

    /// What the database knows of one key, read at one moment; `None` for a number that no key has.
    async fn gate_key(&self, key: KeyNumber) -> Result<Option<GateKey>, StoreError>;

    /// What has changed after `after`, oldest first, at most `limit` items.
    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError>;

    /// The present end of the feed: where a node with an empty memory begins.
    async fn feed_end(&self) -> Result<Cursor, StoreError>;

    /// A hint that the feed has grown. It may come late or never (another node's changes): poll as well.
    fn feed_hint(&self) -> watch::Receiver<u64>;

    /// A superseded credential was used. Within its hour nothing happens; after it, both machines are alive, which is
    /// decided once, in one transaction. Answers with what the credential is from now on.
    async fn superseded_used(&self, now: Timestamp, by: By, id: RegistrationId) -> Result<Lookup, StoreError>;

    /// Notes when credentials were last used at the gate. Ids that are not known are ignored; times never go back.
    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError>;
}

/// What the vendor asks. Each call reaches only what is in its scope: what is not, is not found.
#[async_trait]
pub trait Administration: Send + Sync {
    /// Makes a key, which only the vendor does. Creating one again with the same contract and the same values finds it.
    async fn create_key(&self, now: Timestamp, by: By, key: NewKey, key_hash: Sha256Hex)
    -> Result<Created, StoreError>;

    /// One key.
    async fn key(&self, now: Timestamp, scope: Scope, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// The keys in the order in which they were made: at most `limit`, after the one with number `after`.
    async fn keys(
        &self,
        now: Timestamp,
        scope: Scope,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError>;

    /// Changes what `change` names.
    async fn update_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<KeyUpdate, StoreError>;

    /// Suspends, resumes or revokes.
    async fn set_key_state(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        state: KeyState,
    ) -> Result<StateChange, StoreError>;

    /// Gives a key a new secret for the same seats.
    async fn rotate_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Rotation, StoreError>;

    /// The registrations of a key that are active or superseded: at most `limit`, ids greater than `after`. `None`
    /// where there is no such key.
    async fn holders(
        &self,
        now: Timestamp,
        scope: Scope,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError>;

    /// Keys and registrations that a text leads to: whole ids, or part of a contract, reseller or label. At most
    /// `limit` of each.
    async fn find(&self, now: Timestamp, scope: Scope, text: &str, limit: u32) -> Result<Found, StoreError>;

    /// The audit log, oldest first: at most `limit` events after `after`.
    async fn events(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: EventFilter,
        after: Cursor,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError>;

    /// Recounts seats against registrations and the audit log: one sentence for each disagreement.
    async fn check(&self) -> Result<Vec<String>, StoreError>;
}

/// What has to be done as time passes, as jobs that can be run each by itself, and by one node at a time.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Takes or renews the lease of a job for `seconds`, by the database's clock; says whether `holder` has it now. Zero
    /// seconds give it up.
    async fn take_lease(&self, job: &str, holder: &str, seconds: u32) -> Result<bool, StoreError>;

    /// Notes that the gate is up: time in which it was down does not count as time in which a machine was not seen. For
    /// each node, once a minute.
    async fn gate_is_up(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Releases registrations whose machine was not seen for as long as their key says; says how many. Notes first that
    /// the gate is up. Does nothing within an hour of the last search.
    async fn release_unseen(&self, now: Timestamp, by: By) -> Result<u64, StoreError>;

    /// Releases superseded registrations that were not used for 35 days; says how many. Time in which the gate was down or the key
    /// denied its machines does not count.
    async fn release_superseded(&self, now: Timestamp, by: By) -> Result<u64, StoreError>;

    /// Erases machine and hardware ids of registrations that were released 90 days ago; says of how many.
    async fn erase_ids(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Forgets early releases that are older than a day; says how many.
    async fn forget_early_releases(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Whether the database answers, for reading and for writing.
    async fn health(&self) -> Result<(), StoreError>;

    /// Accepts nothing more, and waits until everything that was accepted is durable, or known not to be. A store that
    /// waits when it is dropped has nothing to do here.
    async fn finish(&self) {}
}

/// A whole store. One object serves all requests at once.
pub trait Store: SeatStore + GateFeed + Administration + Upkeep + Tokens + Systems {}

impl<T: SeatStore + GateFeed + Administration + Upkeep + Tokens + Systems> Store for T {}

/// Why a store gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The database cannot be asked, or the outcome of a change is not known. The outcome is unknown.
    Unavailable(String),
    /// The queue of this key, or of the whole writer, is full. Nothing was changed.
    Busy,
    /// A fault; the text is for the log alone. Nothing was changed.
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
