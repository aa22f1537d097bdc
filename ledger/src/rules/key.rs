//! The state of a key: when it gives seats, when it refuses, when it only keeps what there is.
//!
//! Owns the order in which a key's state is judged. Knows no machine.

use els_protocol::{Code, Timestamp};

/// What the vendor has said of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// In force.
    Active,
    /// Refused until it is resumed.
    Suspended,
    /// Refused for good.
    Revoked,
}

/// The terms of a key, as far as its state depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What the vendor has said.
    pub state: KeyState,
    /// The first second in which the key is valid.
    pub starts: Option<Timestamp>,
    /// From this second on, no new seat is given.
    pub expires: Timestamp,
    /// Seconds after `expires` in which known machines go on.
    pub grace_seconds: i64,
}

impl Terms {
    /// The refusal for every PUT, if the key's state calls for one.
    pub fn refuses_registration(&self, now: Timestamp) -> Option<Code> {
        match self.starts {
            Some(starts) if now < starts && self.state == KeyState::Active => Some(Code::KeyNotYetValid),
            _ => self.refuses_credential(now),
        }
    }

    /// The refusal for a machine that is registered already, at the gate and when it asks for its registration.
    pub fn refuses_credential(&self, now: Timestamp) -> Option<Code> {
        match self.state {
            KeyState::Revoked => Some(Code::KeyRevoked),
            KeyState::Suspended => Some(Code::KeySuspended),
            KeyState::Active if now >= self.expires.plus_seconds(self.grace_seconds) => Some(Code::KeyExpired),
            KeyState::Active => None,
        }
    }

    /// Whether a further seat may be given now, as far as time goes.
    pub fn gives_seats(&self, now: Timestamp) -> bool {
        self.refuses_registration(now).is_none() && now < self.expires
    }
}
