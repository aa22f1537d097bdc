//! What a store tells the gate: credentials, keys, and a feed of what has changed.
//!
//! Owns the shapes alone. They are small, because a gate remembers them by the million.

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};

use crate::KeyId;
use crate::rules::{KeyState, KeyTerms};

/// A key's number in the database: what a remembered credential holds instead of the whole key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyNumber(pub i64);

/// A place in the feed of changes. Greater is later. Two reads of a database can be ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor(pub u64);

/// Whether a registration's credential is good, its key aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialState {
    /// It holds a seat.
    Active,
    /// Another id of what was taken for the same machine has its seat, since then.
    Superseded(Timestamp),
    /// Given back, or taken away.
    Released,
}

/// One credential, as the gate needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// SHA-256 of the token that goes with the id.
    pub token_hash: Sha256Hex,
    /// The key that it belongs to.
    pub key: KeyNumber,
    /// Whether it is good.
    pub state: CredentialState,
}

/// One key, as the gate needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateKey {
    /// The key's number.
    pub number: KeyNumber,
    /// The key's id, for people and logs.
    pub id: KeyId,
    /// The product's id, which says what paths its credentials open.
    pub product: String,
    /// What the vendor has said.
    pub state: KeyState,
    /// The first second in which the key is valid.
    pub starts: Option<Timestamp>,
    /// When it expires; grace comes on top.
    pub expires: Timestamp,
}

impl GateKey {
    /// The terms that the rules judge by.
    pub fn terms(&self, grace_seconds: i64) -> KeyTerms {
        KeyTerms { state: self.state, starts: self.starts, expires: self.expires, grace_seconds }
    }
}

/// The answer to a look-up. All of it was read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The end of the feed at that moment: a node that has applied a later change to this id or key must not keep what
    /// it got here.
    pub as_of: Cursor,
    /// The credential and its key; `None` when nobody has seen the id.
    pub found: Option<(Credential, GateKey)>,
}

/// What a change was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedItem {
    /// Something about this registration: made, superseded, released, confirmed.
    Registration(RegistrationId),
    /// Something about this key: its state, its dates.
    Key(KeyNumber),
}

/// A piece of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// What has changed, and at which place, oldest first. The same thing may be named several times.
    pub items: Vec<(Cursor, FeedItem)>,
    /// Where to go on. After this piece, everything up to here has been told.
    pub up_to: Cursor,
    /// Whether there is more to fetch at once.
    pub more: bool,
    /// The feed does not go on from where the reader stands: the database is another one than before (a failover, a backup
    /// that was put back). There are no items; a reader forgets what it remembers and goes on from `up_to`.
    pub broken: bool,
}
