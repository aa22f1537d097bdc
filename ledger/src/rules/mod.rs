//! The seat rules: who gets a seat, who keeps it, who is the same machine.
//!
//! Owns the decisions of docs/seats.md as pure functions over facts that a store has read, and the reasons of each denial.
//! It must not do input or output, read a clock, or know that databases or HTTP exist: the caller passes the time in and
//! carries the decision out, with facts and changes in one transaction.

mod denied;
mod key_terms;
mod register;
mod release;
mod same_machine;
mod superseded;

pub use denied::{Denied, Judged};
pub use key_terms::{KeyState, KeyTerms};
pub use register::{Decision, KnownId, RegisterFacts, judge_register};
pub use release::{RegistrationState, ReleaseDecision, judge_release, judge_unregister};
pub use same_machine::{Candidate, Distrust};
pub use superseded::{
    DISPUTE_SECONDS, Pause, SUPERSEDED_IDS, SUPERSEDED_SECONDS, UNUSED_SECONDS, UseDecision, UseFacts, Used,
    is_overdue, is_void, judge_superseded_use, matched_by, unused_until,
};

use els_protocol::wire::Os;
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex};

/// What a machine says when it asks for a seat, its secrets hashed.
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
    /// The administrator says: this is the registered machine, on new hardware.
    pub moved: bool,
    /// The operating system.
    pub os: Os,
    /// The architecture.
    pub arch: String,
    /// The administrator's name for the machine.
    pub label: Option<Label>,
}

/// The rule by which two registrations are the same machine, in the order of docs/seats.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchRule {
    /// Machine ids are equal, and hardware ids are.
    SameMachineAndHardware,
    /// Machine ids are equal; at least one side has no hardware id.
    SameMachineOnly,
    /// Machine ids are equal, hardware ids are not, and the administrator said that the machine moved.
    SameMachineMoved,
    /// Hardware ids are equal, machine ids are not: reinstalled.
    SameHardwareOnly,
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
    pub(super) fn key_terms() -> KeyTerms {
        KeyTerms { state: KeyState::Active, starts: Some(at(-100)), expires: at(100), grace_seconds: 50 }
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
