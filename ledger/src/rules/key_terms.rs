//! Key terms: when a key gives seats, when it denies them, when it only keeps what there is.
//!
//! Owns the order in which a key's state is judged. Knows no machine.

use els_protocol::Timestamp;

use super::Denied;

/// The state that the vendor has given a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Valid.
    Active,
    /// Refused until it is resumed.
    Suspended,
    /// Refused for ever.
    Revoked,
}

/// The values of a key that decide what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTerms {
    /// The state that the vendor has given it.
    pub state: KeyState,
    /// The first second in which the key is valid.
    pub starts: Option<Timestamp>,
    /// From this second on, no new seat is given.
    pub expires: Timestamp,
    /// Seconds after `expires` in which registered machines continue to work.
    pub grace_seconds: i64,
}

impl KeyTerms {
    /// Why the key denies every registration now, if it does.
    pub fn denies_registration(&self, now: Timestamp) -> Option<Denied> {
        match self.starts {
            Some(starts) if now < starts && self.state == KeyState::Active => Some(Denied::KeyNotYetValid),
            _ => self.denies_credential(now),
        }
    }

    /// Why the key denies a machine that is registered already, if it does: at the gate and when it asks for its
    /// registration.
    pub fn denies_credential(&self, now: Timestamp) -> Option<Denied> {
        match self.state {
            KeyState::Revoked => Some(Denied::KeyRevoked),
            KeyState::Suspended => Some(Denied::KeySuspended),
            KeyState::Active if now >= self.expires.plus_seconds(self.grace_seconds) => Some(Denied::KeyExpired),
            KeyState::Active => None,
        }
    }

    /// Whether the key's state and dates allow a further seat now.
    pub fn gives_seats(&self, now: Timestamp) -> bool {
        self.denies_registration(now).is_none() && now < self.expires
    }
}
