//! Releasing a seat.
//!
//! Owns the states of a registration, and what a release does to each. Knows no database.

use serde::Serialize;

use super::Denied;

/// What a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationState {
    /// It holds a seat.
    Active,
    /// Its seat has moved to another id; its credential has its hour, and a use after that is decided.
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

fn decision(state: RegistrationState) -> ReleaseDecision {
    match state {
        RegistrationState::Active => ReleaseDecision::FreeSeat,
        RegistrationState::Superseded => ReleaseDecision::EndSuperseded,
        RegistrationState::Released => ReleaseDecision::Nothing,
    }
}

#[cfg(test)]
mod tests {
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
}
