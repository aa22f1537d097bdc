//! Changes of rows, as data: what a decision of the rules means for the tables.
//!
//! Owns the shapes alone. `seats` and `keys` make lists of them, each database carries them out in one transaction. So the
//! two databases can differ in how they write, never in what they write.

use std::borrow::Cow;

use els_protocol::wire::Os;
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex, Timestamp};

use crate::rows::{IdKind, RefusalReason};
use crate::rules::{KeyState, MatchRule};
use crate::{EventKind, KeyNumber, KeyRecord};

/// How a call ends, and what has to be written before it does.
pub(super) struct Decided<T> {
    pub(super) outcome: T,
    pub(super) changes: Vec<Change>,
}

impl<T> Decided<T> {
    pub(super) fn unchanged(outcome: T) -> Self {
        Decided { outcome, changes: Vec::new() }
    }

    pub(super) fn map<U>(self, into: impl FnOnce(T) -> U) -> Decided<U> {
        Decided { outcome: into(self.outcome), changes: self.changes }
    }
}

/// One change. The order within a list is the one in which they have to take effect.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A new active registration.
    Insert(NewRegistration),
    /// The particulars of an active registration.
    Update(Particulars),
    /// A registration ends, whatever its state; the counter is a change of its own.
    Release { id: RegistrationId, at: Timestamp },
    /// An active registration's seat goes to `successor`.
    Supersede { id: RegistrationId, at: Timestamp, successor: RegistrationId, rule: MatchRule },
    /// All registrations that are superseded by `from` are superseded by `successor` from now on.
    FollowAll { from: RegistrationId, successor: RegistrationId },
    /// A superseded registration is active again.
    Reactivate { id: RegistrationId },
    /// An id that no longer identifies one machine of this key.
    Distrust { key: KeyNumber, kind: IdKind, id: MachineId, since: Timestamp },
    /// An id is no longer distrusted if no active or superseded registration of the key has it. Takes effect after all changes of
    /// registrations.
    ForgetDistrust { key: KeyNumber, kind: IdKind, id: MachineId },
    /// An early release.
    RememberEarly { id: RegistrationId, token_hash: Sha256Hex, client: String, at: Timestamp },
    /// A free seat is used. Carried out only while one is free, so that not even a fault in the rules oversells.
    UseSeat(KeyNumber),
    /// A used seat is free.
    FreeSeat(KeyNumber),
    /// The terms of a key become those of this record.
    UpdateKey(KeyRecord),
    /// A key is suspended, resumed or revoked.
    SetKeyState { key: KeyNumber, state: KeyState },
    /// A key denied its machines from `since` on: until `until`, or it does still.
    Refuse { key: KeyNumber, reason: RefusalReason, since: Timestamp, until: Option<Timestamp> },
    /// A key that is suspended serves its machines again.
    EndRefusal { key: KeyNumber, until: Timestamp },
    /// Every secret of a key ends then, unless it ends earlier.
    EndSecrets { key: KeyNumber, until: Timestamp },
    /// A key has one more secret.
    AddSecret { key: KeyNumber, hash: Sha256Hex },
    /// A key distrusts no id any more.
    TrustAgain(KeyNumber),
    /// An event of the audit log.
    Event(Entry),
}

/// A registration that takes a seat.
#[derive(Debug, Clone)]
pub(super) struct NewRegistration {
    pub(super) id: RegistrationId,
    pub(super) key: KeyNumber,
    pub(super) token_hash: Sha256Hex,
    pub(super) machine: MachineId,
    pub(super) hardware: Option<MachineId>,
    pub(super) os: Os,
    pub(super) arch: String,
    pub(super) label: Option<Label>,
    pub(super) at: Timestamp,
}

/// What a machine reports of itself.
#[derive(Debug, Clone)]
pub(super) struct Particulars {
    pub(super) id: RegistrationId,
    pub(super) machine: MachineId,
    pub(super) hardware: Option<MachineId>,
    pub(super) os: Os,
    pub(super) arch: String,
    pub(super) label: Option<Label>,
}

/// One event; who caused it is the same for all changes of a call.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) kind: EventKind,
    pub(super) key: KeyNumber,
    pub(super) registration: Option<RegistrationId>,
    pub(super) other: Option<RegistrationId>,
    pub(super) machine: Option<MachineId>,
    pub(super) hardware: Option<MachineId>,
    pub(super) detail: Option<Cow<'static, str>>,
}

impl Entry {
    /// An event of a key.
    pub(super) fn of_key(at: Timestamp, kind: EventKind, key: KeyNumber) -> Self {
        Entry { at, kind, key, registration: None, other: None, machine: None, hardware: None, detail: None }
    }

    /// An event of a registration.
    pub(super) fn of(at: Timestamp, kind: EventKind, key: KeyNumber, registration: RegistrationId) -> Self {
        Entry { registration: Some(registration), ..Entry::of_key(at, kind, key) }
    }

    /// ... which has to do with another one.
    pub(super) fn with(self, other: Option<RegistrationId>) -> Self {
        Entry { other, ..self }
    }

    /// ... and with these ids of a machine.
    pub(super) fn ids(self, machine: Option<MachineId>, hardware: Option<MachineId>) -> Self {
        Entry { machine, hardware, ..self }
    }

    /// ... for this reason.
    pub(super) fn because(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Entry { detail: Some(detail.into()), ..self }
    }
}
