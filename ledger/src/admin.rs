//! What a store tells the administrator: keys, holders of seats, the audit log.
//!
//! Owns the shapes of the administration's requests and answers. No secret is among them: a key is known here by its
//! id, and its text is only ever hashed.

use std::fmt;

use els_protocol::wire::{Os, Seats};
use els_protocol::{Label, MachineId, RegistrationId, Timestamp};
use serde::Serialize;

use super::gate::{Cursor, KeyNumber};
use crate::rules::{KeyState, Pause, RegistrationState, unused_until};

/// The id of a key: what people call it by. It is not a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// Reads a key id: 1 to 64 lower-case letters, digits and dashes.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| KeyId(text.to_owned()))
    }

    /// A new id over 8 random bytes, of which it shows 50 bits: `k-` and twice five symbols, none of which looks like
    /// another.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        let number = u64::from_be_bytes(bytes);
        let symbol = |at: u32| SYMBOLS[(number >> (5 * at) & 31) as usize] as char;
        let group = |from: u32| (from..from + 5).map(symbol).collect::<String>();
        KeyId(format!("k-{}-{}", group(0), group(5)))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id, made by the caller out of random bytes.
    pub id: KeyId,
    /// The product it is sold for.
    pub product: String,
    /// Seats that were sold.
    pub seats: u64,
    /// The first second in which it is valid.
    pub starts: Option<Timestamp>,
    /// From this second on, no new seat is given.
    pub expires: Timestamp,
    /// The contract it belongs to; unique.
    pub contract: Option<String>,
    /// Who sold it.
    pub reseller: Option<String>,
    /// A remark.
    pub note: Option<String>,
    /// Days without a sign of life after which a seat is taken back.
    pub release_unseen_after: Option<u32>,
    /// Whether who holds the key may free the seats of other machines.
    pub self_release: bool,
    /// Whether the key itself comes from elsewhere: then it is a value that a second making is compared by.
    pub imported: bool,
}

/// What is to be changed of a key; `None` leaves a value as it is, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Seats. Fewer than are used ends nobody's registration.
    pub seats: Option<u64>,
    /// The product.
    pub product: Option<String>,
    /// When it begins.
    pub starts: Option<Option<Timestamp>>,
    /// When it expires.
    pub expires: Option<Timestamp>,
    /// The contract.
    pub contract: Option<Option<String>>,
    /// The reseller.
    pub reseller: Option<Option<String>>,
    /// The remark.
    pub note: Option<Option<String>>,
    /// Days until an unseen machine loses its seat.
    pub release_unseen_after: Option<Option<u32>>,
    /// Whether who holds the key may free seats.
    pub self_release: Option<bool>,
    /// Forget the ids that this key distrusts.
    pub trust_again: bool,
}

/// One key, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyRecord {
    /// Its number in the database.
    #[serde(skip)]
    pub number: KeyNumber,
    /// Its id.
    pub key_id: KeyId,
    /// What the vendor has said.
    pub state: KeyState,
    /// The product.
    pub product: String,
    /// Sold and used seats.
    pub seats: Seats,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// When it expires.
    pub expires: Timestamp,
    /// The contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// The reseller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reseller: Option<String>,
    /// The remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Days until an unseen machine loses its seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_unseen_after: Option<u32>,
    /// Whether who holds the key may free seats.
    pub self_release: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when secrets that were rotated away still count, for those that do.
    pub old_until: Vec<Timestamp>,
    /// The ids that this key distrusts, since several machines were seen to share them.
    pub distrusted: Vec<MachineId>,
}

/// One registration, with all that is known of it but the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The registration's id.
    pub registration: RegistrationId,
    /// The key that it belongs to.
    pub key_id: KeyId,
    /// What it is.
    pub state: RegistrationState,
    /// What the administrator of the machine calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The machine id, unless erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
    /// The hardware id, if it has one that is not erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<MachineId>,
    /// The operating system.
    pub os: Os,
    /// The architecture.
    pub arch: String,
    /// When it took its seat.
    pub registered_at: Timestamp,
    /// When its credential was last used at the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// When it was superseded or released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When it ends by itself if it is not used: only of a superseded registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Holder {
    /// Notes when it ends by itself, if it is superseded. `pauses` are the times that do not count.
    pub(crate) fn set_until(&mut self, now: Timestamp, pauses: &[Pause]) {
        let since = self.ended_at.filter(|_| self.state == RegistrationState::Superseded);
        self.until = since.map(|since| unused_until(now, since, pauses));
    }
}

/// What [`super::Store::find`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Keys, by id, contract or reseller.
    pub keys: Vec<KeyRecord>,
    /// Registrations, by id or label.
    pub registrations: Vec<Holder>,
}

/// Which part of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this key alone.
    pub key: Option<KeyId>,
    /// Of this registration alone.
    pub registration: Option<RegistrationId>,
    /// From this time on.
    pub since: Option<Timestamp>,
}

/// One event of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its place in the audit log.
    #[serde(skip)]
    pub cursor: Cursor,
    /// When.
    pub at: Timestamp,
    /// What: the text of an [`EventKind`], or of one that a newer version has written.
    pub event: String,
    /// Of which key.
    pub key_id: KeyId,
    /// Of which registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationId>,
    /// The other registration that it has to do with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<RegistrationId>,
    /// The machine id concerned, unless erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
    /// The hardware id concerned, unless erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<MachineId>,
    /// Why, or from what to what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Who caused it; absent in events that are older than schema 2, as the next two are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Through which interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// By which request, if it had an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What can happen to a key or a seat. The texts are kept in databases and read by scripts: never change one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            /// The kind as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(EventKind::$name => $text,)* }
            }
        }
    };
}

event_kinds! {
    /// A key was made.
    KeyCreated = "key-created";
    /// KeyTerms of a key were changed.
    KeyUpdated = "key-updated";
    /// A key was suspended.
    KeySuspended = "key-suspended";
    /// A key was resumed.
    KeyResumed = "key-resumed";
    /// A key was revoked.
    KeyRevoked = "key-revoked";
    /// A key was given a new secret.
    KeyRotated = "key-rotated";
    /// A free seat was taken.
    SeatTaken = "seat-taken";
    /// A seat moved here from another id of the same machine.
    SeatMoved = "seat-moved";
    /// The seat of this registration went to another id.
    Superseded = "superseded";
    /// A registration ended and its seat is free, or had gone elsewhere before.
    Released = "released";
    /// A superseded registration has its seat back, since its machine is alive.
    SeatReturned = "seat-returned";
    /// A newer registration got a seat of its own, since the older has its seat back.
    SeatSplit = "seat-split";
    /// Ids that several machines share were put out of use for telling machines apart.
    Distrusted = "distrusted";
    /// Distrusted ids were forgotten.
    TrustedAgain = "trusted-again";
    /// Machine or hardware id of an active registration changed.
    MachineChanged = "machine-changed";
}

/// Crockford's base 32 in lower case.
const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_parsed_as_written_and_are_not_license_keys() {
        let id = KeyId::from_random([0xff; 8]);
        assert_eq!(id.as_str(), "k-zzzzz-zzzzz");
        assert_eq!(KeyId::parse(id.as_str()), Some(id));
        for bad in ["", "K-1", "k_1", "k 1", "k\n", &"k".repeat(65)] {
            assert_eq!(KeyId::parse(bad), None, "{bad:?}");
        }
    }
}
