//! Giving a seat back, and the superseded credential that turns out to be alive.
//!
//! Owns what DELETE does to each kind of id, and what the use of a superseded credential decides. Knows no database.

use els_protocol::wire::Seats;
use els_protocol::{Code, Timestamp};

use super::{Judged, Likeness, SUPERSEDED_SECONDS, Terms};

/// What a store knows of an id that is to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldId {
    /// Nobody has seen it.
    New,
    /// It holds a seat.
    Active,
    /// Another id has its seat.
    Superseded,
    /// It was released.
    Released,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivingBack {
    /// Release the registration; its seat is free.
    FreeSeat,
    /// Release the registration; the seat stays with the newer one.
    EndSuperseded,
    /// Nothing: it was released before.
    Nothing,
    /// Remember id and token as released, for a PUT that comes late.
    Remember,
}

/// Judges DELETE by the machine itself. `token_fits` says whether the token is the one; for a new id there is none that
/// it could fail to be. The key's state is not asked: a machine can always give its seat back.
pub fn judge_delete(held: HeldId, token_fits: bool) -> Judged<GivingBack> {
    match held {
        HeldId::New => Ok(GivingBack::Remember),
        _ if !token_fits => Err(Code::CredentialInvalid.into()),
        HeldId::Active => Ok(GivingBack::FreeSeat),
        HeldId::Superseded => Ok(GivingBack::EndSuperseded),
        HeldId::Released => Ok(GivingBack::Nothing),
    }
}

/// Judges DELETE of a seat by whoever holds the key. `same_key` says whether the registration is one of this key's.
pub fn judge_release(held: HeldId, same_key: bool, self_release: bool) -> Judged<GivingBack> {
    if !self_release {
        return Err(Code::KeyReleaseDenied.into());
    }
    match held {
        HeldId::New => Err(Code::UnknownRegistration.into()),
        _ if !same_key => Err(Code::UnknownRegistration.into()),
        held => judge_delete(held, true),
    }
}

/// What the use of a superseded credential decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupersededUse {
    /// Nothing: it is in its hour, or its key refuses it anyway.
    Nothing,
    /// Both machines are alive. The older registration has the seat; the newer one gets a seat of its own.
    Split,
    /// Both machines are alive. The older registration has the seat; the newer one is released, since none is free.
    ReleaseNewer,
    /// The newer one has given its seat back meanwhile; the older one takes a free seat.
    TakeFreeSeat,
    /// The newer one has given its seat back meanwhile, and no seat is free: the older one is released.
    ReleaseOlder,
}

/// Judges the use of a credential that was superseded at `since`. `newer_active` says whether the registration that has
/// its seat still holds it; then `seats.used` counts that seat.
pub fn judge_superseded_use(
    now: Timestamp,
    since: Timestamp,
    terms: &Terms,
    seats: Seats,
    newer_active: bool,
) -> SupersededUse {
    if terms.refuses_credential(now).is_some() || now < since.plus_seconds(SUPERSEDED_SECONDS) {
        return SupersededUse::Nothing;
    }
    let one_more = terms.gives_seats(now) && seats.used < seats.total;
    match (newer_active, one_more) {
        (true, true) => SupersededUse::Split,
        (true, false) => SupersededUse::ReleaseNewer,
        (false, true) => SupersededUse::TakeFreeSeat,
        (false, false) => SupersededUse::ReleaseOlder,
    }
}

/// Which ids a key must no longer tell machines apart by, once two of them were alive under one seat: those that
/// matched. (machine id, hardware id)
pub fn distrusted_after(likeness: Likeness) -> (bool, bool) {
    match likeness {
        Likeness::SameMachineAndHardware => (true, true),
        Likeness::SameMachineMoved | Likeness::SameMachineOnly => (true, false),
        Likeness::SameHardwareOnly => (false, true),
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyState;
    use super::super::tests::{at, terms};
    use super::*;

    /// Promise: wire-delete
    /// Promise: seat-delete
    #[test]
    fn a_machine_gives_back_what_is_its_own() {
        use GivingBack::*;
        let rows = [
            (HeldId::New, true, Ok(Remember)),
            (HeldId::New, false, Ok(Remember)),
            (HeldId::Active, true, Ok(FreeSeat)),
            (HeldId::Active, false, Err(Code::CredentialInvalid.into())),
            (HeldId::Superseded, true, Ok(EndSuperseded)),
            (HeldId::Superseded, false, Err(Code::CredentialInvalid.into())),
            (HeldId::Released, true, Ok(Nothing)),
            (HeldId::Released, false, Err(Code::CredentialInvalid.into())),
        ];
        for (held, fits, expected) in rows {
            assert_eq!(judge_delete(held, fits), expected, "{held:?} {fits}");
        }
    }

    /// Promise: key-no-self-release
    #[test]
    fn a_key_frees_its_own_seats_unless_its_vendor_keeps_that_to_himself() {
        use GivingBack::*;
        assert_eq!(judge_release(HeldId::Active, true, true), Ok(FreeSeat));
        assert_eq!(judge_release(HeldId::Superseded, true, true), Ok(EndSuperseded));
        assert_eq!(judge_release(HeldId::Released, true, true), Ok(Nothing));
        for held in [HeldId::Active, HeldId::Superseded, HeldId::Released, HeldId::New] {
            assert_eq!(judge_release(held, false, true), Err(Code::UnknownRegistration.into()));
            assert_eq!(judge_release(held, true, false), Err(Code::KeyReleaseDenied.into()));
        }
    }

    /// Promise: seat-two-alive
    #[test]
    fn a_superseded_credential_has_its_hour_and_is_then_decided_upon() {
        use SupersededUse::*;
        // Superseded at 0, with terms() that do not end for a while.
        let long = Terms { expires: at(100_000), ..terms() };
        let ended = Terms { expires: at(3_000), grace_seconds: 100_000, ..terms() };
        let room = Seats { total: 2, used: 1 };
        let full = Seats { total: 1, used: 1 };
        let empty = Seats { total: 1, used: 0 };
        let overfull = Seats { total: 1, used: 3 };
        let rows = [
            ("at once", 0, long, full, true, Nothing),
            ("the last second of its hour", 3599, long, full, true, Nothing),
            ("after its hour, a seat is free", 3600, long, room, true, Split),
            ("after its hour, none is free", 3600, long, full, true, ReleaseNewer),
            ("after its hour, seats were lowered", 3600, long, overfull, true, ReleaseNewer),
            ("in grace no further seat is given", 3600, ended, room, true, ReleaseNewer),
            ("the newer one is gone, a seat is free", 3600, long, empty, false, TakeFreeSeat),
            ("the newer one is gone, none is free", 3600, long, full, false, ReleaseOlder),
            ("the newer one is gone, in grace", 3600, ended, empty, false, ReleaseOlder),
            ("past grace", 200_000, ended, room, true, Nothing),
            ("suspended", 3600, Terms { state: KeyState::Suspended, ..long }, room, true, Nothing),
            ("revoked", 3600, Terms { state: KeyState::Revoked, ..long }, room, true, Nothing),
        ];
        for (name, now, terms, seats, newer_active, expected) in rows {
            assert_eq!(judge_superseded_use(at(now), at(0), &terms, seats, newer_active), expected, "{name}");
        }
    }
}
