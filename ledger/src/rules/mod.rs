//! The seat rules: who gets a seat, who keeps it, who is the same machine.
//!
//! Owns the decisions of the contract's second section as pure functions over facts that a store has gathered. It must
//! never do input or output, read a clock, or know that a database or HTTP exists: whoever calls it passes the time in
//! and carries the decision out, facts and changes in one transaction.

mod giving_back;
mod key;
mod put;
mod same;

pub use giving_back::{
    GivingBack, HeldId, SupersededUse, distrusted_after, judge_delete, judge_release, judge_superseded_use,
};
pub use key::{KeyState, Terms};
pub use put::{KnownId, Put, PutFacts, judge_put};
pub use same::{Candidate, Distrust};

use els_protocol::wire::{Os, Seats};
use els_protocol::{Code, Label, MachineId, RegistrationId, Sha256Hex};

/// Seconds for which a superseded credential goes on working.
pub const SUPERSEDED_SECONDS: i64 = 3600;

/// All that a machine says when it asks for a seat: the body of PUT, decoded, its secrets hashed.
#[derive(Debug, Clone)]
pub struct RegisterCommand {
    /// The id that the machine chose.
    pub id: RegistrationId,
    /// SHA-256 of the canonical key.
    pub key_hash: Sha256Hex,
    /// SHA-256 of the machine's token.
    pub token_hash: Sha256Hex,
    /// The machine id, as it was sent.
    pub machine: MachineId,
    /// The hardware id, if the machine has one.
    pub hardware: Option<MachineId>,
    /// The administrator says: the registered machine, on new hardware.
    pub moved: bool,
    /// The operating system.
    pub os: Os,
    /// The architecture.
    pub arch: String,
    /// What the administrator calls the machine.
    pub label: Option<Label>,
}

/// A "no" that the contract foresees: it is an answer, not a failure. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The code on the wire.
    pub code: Code,
    /// With `no-free-seat`: the key's seats.
    pub seats: Option<Seats>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal { code, seats: None }
    }
}

/// What the rules say: a value, or a refusal with its wire code.
pub type Judged<T> = Result<T, Refusal>;

/// Why two registrations are taken for one machine (the contract's numbers in order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Machine and hardware ids are equal.
    SameMachineAndHardware,
    /// Machine ids are equal, and the administrator said that the machine moved.
    SameMachineMoved,
    /// Machine ids are equal; at least one side has no hardware id.
    SameMachineOnly,
    /// Hardware ids are equal, machine ids are not: reinstalled.
    SameHardwareOnly,
}

impl Likeness {
    /// Whether the old credential ends at once; otherwise it is superseded and has its hour.
    pub fn is_certain(self) -> bool {
        matches!(self, Likeness::SameMachineAndHardware | Likeness::SameMachineMoved)
    }
}

#[cfg(test)]
mod tests {
    //! Values that the tests of the rules share: small numbers stand for ids, hashes and times.

    use super::*;
    use els_protocol::Timestamp;

    /// The time `seconds` from a moment in the middle of things.
    pub(super) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    pub(super) fn registration(number: u8) -> RegistrationId {
        RegistrationId::from_random([number; 16])
    }

    pub(super) fn machine(number: u8) -> MachineId {
        MachineId::from_random([number; 16])
    }

    pub(super) fn hash(number: u8) -> Sha256Hex {
        Sha256Hex([number; 32])
    }

    /// Valid from -100 to 100, with 50 seconds of grace.
    pub(super) fn terms() -> Terms {
        Terms { state: KeyState::Active, starts: Some(at(-100)), expires: at(100), grace_seconds: 50 }
    }

    /// Machine `number` on hardware 9.
    pub(super) fn command(number: u8) -> RegisterCommand {
        RegisterCommand {
            id: registration(number),
            key_hash: hash(200),
            token_hash: hash(number),
            machine: machine(number),
            hardware: Some(machine(9)),
            moved: false,
            os: Os { id: "almalinux".into(), version: "9.6".into() },
            arch: "x86_64".into(),
            label: None,
        }
    }
}
