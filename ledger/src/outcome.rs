//! How calls of a store end.
//!
//! Owns the shapes alone: one flat type for each call that can end in several ways.

use els_protocol::wire::Seats;
use els_protocol::{RegistrationId, Timestamp};

use crate::{Holder, KeyId, KeyRecord};

/// A registration that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The registration, with current values.
    pub view: RegistrationView,
    /// What became of the seat.
    pub how: How,
    /// The registration whose seat moved here; it is superseded now.
    pub moved_from: Option<RegistrationId>,
}

/// What a registration did to seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A free seat was taken.
    Created,
    /// The id was active already; its particulars were brought up to date.
    Confirmed,
    /// The seat moved here from another id of the same machine.
    Moved,
}

/// One registration as its machine sees it. What belongs to the product (name, repo file) is not the ledger's.
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
    /// When it ends by itself if it is not used: only of a superseded registration.
    pub until: Option<Timestamp>,
    /// The key's seats, this registration's among the used ones.
    pub seats: Seats,
}

/// How the release of a registration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The registration was active or superseded and is released now.
    Released,
    /// It had been released before.
    AlreadyReleased,
    /// The id was never seen. The early release is remembered, so that a registration that comes late is refused.
    RememberedEarly,
}

/// One page of the machines that hold a key's seats, for a holder of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatPage {
    /// The key's id.
    pub key_id: KeyId,
    /// The product's id.
    pub product: String,
    /// When the key expires.
    pub expires: Timestamp,
    /// Whether the key is revoked.
    pub revoked: bool,
    /// The key's seats.
    pub seats: Seats,
    /// The active and superseded registrations after the one asked for, in the order of their ids.
    pub registrations: Vec<Holder>,
    /// The value of `after` for the next page; `None` on the last one.
    pub next: Option<RegistrationId>,
}

/// How the making of a key ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    New(KeyRecord),
    /// A key with this contract and these values is there already.
    Same(KeyRecord),
    /// A key with this contract is there, and differs in these values.
    Differs(KeyRecord, Vec<&'static str>),
    /// This secret is, or was, another key's.
    SecretTaken(KeyId),
}

/// How the change of a key ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each command of the vendor")]
pub enum KeyUpdate {
    /// The key as it is now.
    Updated(KeyRecord),
    /// This other key has the contract; nothing was changed.
    ContractTaken(KeyId),
    /// There is no such key.
    NoSuchKey,
}

/// How suspending, resuming or revoking a key ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each command of the vendor")]
pub enum StateChange {
    /// The key as it is now; it may have had this state before.
    Done(KeyRecord),
    /// The key is revoked, which is final.
    Revoked,
    /// There is no such key.
    NoSuchKey,
}

/// How giving a key a new secret ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The new secret counts.
    Rotated,
    /// This secret is, or was, a key's: this one's or another's.
    SecretTaken(KeyId),
    /// The key is revoked, which is final.
    Revoked,
    /// There is no such key.
    NoSuchKey,
}
