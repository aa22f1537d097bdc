//! Releasing a seat, and the superseded credential whose machine is alive.
//!
//! Owns what a release does to each kind of id, and what the use of a superseded credential decides. Knows no database.

use els_protocol::Timestamp;
use els_protocol::wire::Seats;
use serde::Serialize;

use super::{Denied, KeyTerms, MatchRule, SUPERSEDED_SECONDS};

/// What a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationState {
    /// It holds a seat.
    Active,
    /// Its seat has moved to another id; its credential has its hour.
    Superseded,
    /// It holds nothing.
    Released,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseDecision {
    /// Release the registration; its seat is free.
    FreeSeat,
    /// Release the registration; the seat stays with the newer one.
    EndSuperseded,
    /// Nothing: it was released before.
    Nothing,
    /// Remember id and token as released, for a registration that comes late.
    RememberEarly,
}

/// Judges the release by the machine itself. `known` is the state of the registration, `None` where the id was never seen.
/// `token_fits` says whether the token is the registration's. The key's state does not matter: a machine can always
/// unregister.
pub fn judge_unregister(known: Option<RegistrationState>, token_fits: bool) -> Result<ReleaseDecision, Denied> {
    match known {
        None => Ok(ReleaseDecision::RememberEarly),
        Some(_) if !token_fits => Err(Denied::WrongToken),
        Some(state) => Ok(decision(state)),
    }
}

/// Judges the release of another machine's seat. `in_scope` says whether the registration, if there is one, is within the
/// scope of the call; `allowed` whether that scope may release seats at all.
pub fn judge_release(
    known: Option<RegistrationState>,
    in_scope: bool,
    allowed: bool,
) -> Result<ReleaseDecision, Denied> {
    match known {
        _ if !allowed => Err(Denied::ReleaseNotAllowed),
        Some(state) if in_scope => Ok(decision(state)),
        _ => Err(Denied::UnknownRegistration),
    }
}

/// What the use of a superseded credential decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupersededUse {
    /// Nothing: it is in its hour, or its key denies it anyway.
    Nothing,
    /// Both machines are alive. The older registration has the seat; the newer one gets a seat of its own.
    Split,
    /// Both machines are alive. The older registration has the seat; the newer one is released, since none is free.
    ReleaseNewer,
    /// The newer one was released meanwhile; the older one takes a free seat.
    TakeFreeSeat,
    /// The newer one was released meanwhile, and no seat is free: the older one is released.
    ReleaseOlder,
}

/// Judges the use of a credential that was superseded at `since`. `newer_active` says whether the registration that has
/// its seat still holds it; then `seats.used` counts that seat.
pub fn judge_superseded_use(
    now: Timestamp,
    since: Timestamp,
    terms: &KeyTerms,
    seats: Seats,
    newer_active: bool,
) -> SupersededUse {
    if terms.denies_credential(now).is_some() || now < since.plus_seconds(SUPERSEDED_SECONDS) {
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

/// Which ids a key distrusts once two machines were alive under one seat: those that matched. (machine id, hardware id)
pub fn distrusted_after(rule: MatchRule) -> (bool, bool) {
    match rule {
        MatchRule::SameMachineAndHardware => (true, true),
        MatchRule::SameMachineMoved | MatchRule::SameMachineOnly => (true, false),
        MatchRule::SameHardwareOnly => (false, true),
    }
}

fn decision(state: RegistrationState) -> ReleaseDecision {
    match state {
        RegistrationState::Active => ReleaseDecision::FreeSeat,
        RegistrationState::Superseded => ReleaseDecision::EndSuperseded,
        RegistrationState::Released => ReleaseDecision::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyState;
    use super::super::tests::{at, key_terms};
    use super::*;

    /// Promise: wire-delete
    /// Promise: seat-delete
    #[test]
    fn a_machine_releases_only_its_own_registration() {
        use ReleaseDecision::*;
        let rows = [
            (None, true, Ok(RememberEarly)),
            (None, false, Ok(RememberEarly)),
            (Some(RegistrationState::Active), true, Ok(FreeSeat)),
            (Some(RegistrationState::Active), false, Err(Denied::WrongToken)),
            (Some(RegistrationState::Superseded), true, Ok(EndSuperseded)),
            (Some(RegistrationState::Superseded), false, Err(Denied::WrongToken)),
            (Some(RegistrationState::Released), true, Ok(Nothing)),
            (Some(RegistrationState::Released), false, Err(Denied::WrongToken)),
        ];
        for (known, fits, expected) in rows {
            assert_eq!(judge_unregister(known, fits), expected, "{known:?} {fits}");
        }
    }

    /// Promise: key-no-self-release
    #[test]
    fn a_key_releases_its_own_seats_unless_the_vendor_forbids_it() {
        use ReleaseDecision::*;
        assert_eq!(judge_release(Some(RegistrationState::Active), true, true), Ok(FreeSeat));
        assert_eq!(judge_release(Some(RegistrationState::Superseded), true, true), Ok(EndSuperseded));
        assert_eq!(judge_release(Some(RegistrationState::Released), true, true), Ok(Nothing));
        let known = [RegistrationState::Active, RegistrationState::Superseded, RegistrationState::Released];
        for known in known.map(Some).into_iter().chain([None]) {
            assert_eq!(judge_release(known, false, true), Err(Denied::UnknownRegistration));
            assert_eq!(judge_release(known, true, false), Err(Denied::ReleaseNotAllowed));
        }
    }

    /// Promise: seat-two-alive
    #[test]
    fn a_superseded_credential_has_its_hour_and_is_then_decided_upon() {
        use SupersededUse::*;
        // Superseded at 0, with key_terms() that do not end for a while.
        let long = KeyTerms { expires: at(100_000), ..key_terms() };
        let ended = KeyTerms { expires: at(3_000), grace_seconds: 100_000, ..key_terms() };
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
            ("suspended", 3600, KeyTerms { state: KeyState::Suspended, ..long }, room, true, Nothing),
            ("revoked", 3600, KeyTerms { state: KeyState::Revoked, ..long }, room, true, Nothing),
        ];
        for (name, now, terms, seats, newer_active, expected) in rows {
            assert_eq!(judge_superseded_use(at(now), at(0), &terms, seats, newer_active), expected, "{name}");
        }
    }
}
