//! The ledger: keys, registrations and audit log, the rules that change them, the databases that keep them.
//!
//! Owns the seat rules (`rules`), the interface to a database (`store`), and what a decision means for the tables (`seats`,
//! `keys`), once for SQLite and PostgreSQL. It must not know HTTP, or the time: every call that depends on it gets `now`.

mod admin;
mod by;
mod change;
pub mod copy;
pub mod database;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
mod keys;
mod outcome;
mod postgres;
mod queue;
mod rows;
pub mod rules;
mod schema;
mod scope;
mod seats;
mod sqlite;
mod steps;
mod store;
mod systems;
mod tokens;
mod turns;

pub use admin::{Event, EventFilter, EventKind, Found, Holder, KeyChange, KeyId, KeyRecord, NewKey};
pub use by::{Actor, By, Origin};
pub use gate::{Credential, CredentialState, Cursor, Feed, FeedItem, GateKey, KeyNumber, Lookup};
pub use outcome::{
    Created, How, KeyUpdate, Registered, RegistrationView, ReleaseOutcome, Rotation, SeatPage, StateChange,
};
pub use postgres::{PostgresStore, Target};
pub use scope::Scope;
pub use sqlite::{SqliteStore, backup};
pub use store::{Administration, GateFeed, SeatStore, Store, StoreError, Upkeep};
pub use systems::{
    Carried, FeedFilter, FeedPage, FeedPlace, KeyFilter, MOST_RELEASES, MOST_SEATS, Once, Release, Seal, SeatFilter,
    SeatPlace, SystemChange, SystemOutcome, Systems,
};
pub use tokens::{NewToken, Permission, TokenId, TokenRecord, Tokens};

use std::sync::Arc;

use els_protocol::wire::Os;

use crate::database::DatabaseUrl;

/// Whether a product covers a system: product id, operating system, architecture.
pub type Coverage = Arc<dyn Fn(&str, &Os, &str) -> bool + Send + Sync>;

/// What a store needs to judge registrations: it is configuration of `serve`, not a part of the database.
#[derive(Clone)]
pub struct Policy {
    /// Which systems a product covers.
    pub covers: Coverage,
    /// Seconds after expiry in which registered machines continue to work (`--grace`).
    pub grace_seconds: i64,
}

/// What may be done to a database while it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It must exist, with a schema that this program can use.
    Existing,
    /// It is created where none exists, if that needs no more than a file; an older schema is refused.
    Creating,
    /// It is set up where it is empty, and brought to the schema of this version.
    Migrating,
}

/// Opens a database, as `opening` allows, in the runtime that the store is used in.
pub async fn open(url: &DatabaseUrl, opening: Opening, policy: Policy) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match url {
        DatabaseUrl::Sqlite(path) => Arc::new(SqliteStore::open(path, opening, policy)?),
        DatabaseUrl::Postgres(target) => Arc::new(PostgresStore::open(target, opening, policy).await?),
    })
}
