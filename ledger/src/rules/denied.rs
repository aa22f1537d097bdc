//! Why the rules say no.
//!
//! Owns the reasons. A denial is an answer, not a failure: nothing was changed. Knows no code and no status of the wire.

use els_protocol::Timestamp;
use els_protocol::wire::Seats;

/// What the rules say: a value, or a denial.
pub type Judged<T> = Result<T, Denied>;

/// Why something was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No key has this secret, or the secret no longer counts.
    UnknownKey,
    /// The key's start lies ahead.
    KeyNotYetValid,
    /// The key has expired: it gives no new seat, or its grace is over as well.
    KeyExpired,
    /// The vendor has suspended the key.
    KeySuspended,
    /// The vendor has revoked the key.
    KeyRevoked,
    /// All seats of the key are used.
    KeyFull {
        /// The key's seats.
        seats: Seats,
        /// Whether the key distrusts an id of the machine, so that it was not compared with the others.
        distrusted: bool,
    },
    /// The machine looks like one whose seat has moved too often within the hour, and no seat is free.
    MovedTooOften {
        /// When the seat can move again.
        until: Timestamp,
    },
    /// The vendor does not let holders of this key release seats.
    ReleaseNotAllowed,
    /// The key's product does not cover the machine's system.
    SystemNotCovered,
    /// There is no such registration, or not within the scope of the call.
    UnknownRegistration,
    /// The id is another registration's: of another key, token or machine.
    RegistrationConflict,
    /// The registration was released.
    RegistrationReleased,
    /// The token is not the one of the registration.
    WrongToken,
}
