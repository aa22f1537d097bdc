//! Which failure ends the program with which exit status.

use els_host::failure::{Failure, Kind};
use els_protocol::Code;

use crate::cli::Action;

/// The exit status, as the manual's table has it.
pub(crate) fn exit_status(failure: &Failure, action: Option<Action>) -> i32 {
    let asks = matches!(action, Some(Action::Status | Action::Refresh));
    match &failure.kind {
        Kind::Io => 1,
        Kind::Usage => 2,
        Kind::NotRegistered => 3,
        Kind::NotRoot => 4,
        Kind::Unreachable | Kind::BadAnswer | Kind::RepositoryRefused => 7,
        Kind::UnsupportedSystem => 8,
        Kind::Locked => 9,
        Kind::Damaged | Kind::Copied => 10,
        Kind::Wire(code) => match code {
            Code::KeyExpired | Code::KeySuspended | Code::KeyRevoked if asks => 11,
            Code::RegistrationReleased | Code::UnknownRegistration | Code::CredentialInvalid if asks => 11,
            Code::CredentialInvalid if action == Some(Action::Unregister) => 5,
            Code::UnknownKey | Code::KeyExpired | Code::KeyNotYetValid | Code::KeyReleaseDenied => 5,
            Code::KeySuspended | Code::KeyRevoked | Code::SystemNotCovered => 5,
            Code::NoFreeSeat => 6,
            Code::RateLimited | Code::Unavailable | Code::Internal => 7,
            _ => 1,
        },
        Kind::Foreign { status, .. } => match status {
            403 => 5,
            409 => 6,
            429 | 500..=599 => 7,
            _ => 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::MEANINGS;

    #[test]
    fn every_status_that_a_failure_can_have_has_its_meaning_and_no_other_is_told_of() {
        let kinds = [
            Kind::Usage,
            Kind::NotRoot,
            Kind::NotRegistered,
            Kind::Unreachable,
            Kind::BadAnswer,
            Kind::RepositoryRefused,
            Kind::UnsupportedSystem,
            Kind::Locked,
            Kind::Damaged,
            Kind::Copied,
            Kind::Io,
        ];
        let foreign =
            [400, 403, 409, 429, 500].map(|status| Kind::Foreign { code: "of-a-later-version".into(), status });
        let wire = Code::ALL.iter().copied().map(Kind::Wire);
        let mut had = std::collections::BTreeSet::from([0]);
        for kind in kinds.into_iter().chain(foreign).chain(wire) {
            let failure = Failure::new(kind, "");
            let actions = [None, Some(Action::Register), Some(Action::Status), Some(Action::Unregister)];
            had.extend(actions.map(|action| exit_status(&failure, action)));
        }
        let told: Vec<i32> = MEANINGS.iter().map(|meaning| i32::from(meaning.status)).collect();
        assert_eq!(had.into_iter().collect::<Vec<_>>(), told);
        assert!(MEANINGS.iter().all(|meaning| meaning.short.len() <= 35), "two columns fit a terminal");
    }

    #[test]
    fn a_code_of_a_later_version_counts_by_its_status() {
        for (status, exit) in [(403, 5), (409, 6), (429, 7), (500, 7), (400, 1)] {
            let failure = Failure::new(Kind::Foreign { code: "of-a-later-version".into(), status }, "");
            assert_eq!(exit_status(&failure, None), exit, "{status}");
        }
    }
}
