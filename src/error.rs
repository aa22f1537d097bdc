//! How a run can fail: the codes, the sentences, the exit status.

use std::fmt;

use els_protocol::Code;

use crate::cli::Action;
use crate::root::PathError;

/// Why a run failed. The message says what failed, on which path or host; the hint is what to type next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// What kind of failure: it decides the code in `--json` and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An error that the backend answered.
    Wire(Code),
    /// An error that the backend answered with a code that this version does not know.
    Foreign {
        code: String,
        status: u16,
    },
    Usage,
    NotRoot,
    NotRegistered,
    Unreachable,
    BadAnswer,
    RepositoryRefused,
    UnsupportedSystem,
    Locked,
    Damaged,
    Copied,
    Io,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), hint: None, request_id: None }
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure::new(Kind::Usage, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit status, as the manual's table has it.
    pub(crate) fn exit_status(&self, action: Option<Action>) -> i32 {
        let asks = matches!(action, Some(Action::Status | Action::Refresh));
        match &self.kind {
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
}

impl Kind {
    /// The code in `--json` documents.
    pub(crate) fn code(&self) -> &str {
        match self {
            Kind::Wire(code) => code.as_str(),
            Kind::Foreign { code, .. } => code,
            Kind::Usage => "usage",
            Kind::NotRoot => "not-root",
            Kind::NotRegistered => "not-registered",
            Kind::Unreachable => "unreachable",
            Kind::BadAnswer => "bad-answer",
            Kind::RepositoryRefused => "repository-refused",
            Kind::UnsupportedSystem => "unsupported-system",
            Kind::Locked => "locked",
            Kind::Damaged => "damaged",
            Kind::Copied => "copied",
            Kind::Io => "io",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        use nix::errno::Errno;
        let hint = match error.errno {
            Errno::ENOSPC | Errno::EDQUOT => "free some space there, then run the same command again",
            Errno::EROFS => "make that file system writable, then run the same command again",
            Errno::EACCES | Errno::EPERM => {
                "check permissions, 'lsattr' and the security policy there, then run the same command again"
            }
            Errno::ELOOP => "nothing is written through a symbolic link: put a real file or folder there",
            Errno::EISDIR | Errno::ENOTDIR | Errno::ENOTSUP => {
                "move away what stands there, then run the same command again"
            }
            _ => "mend that, then run the same command again: nothing was lost",
        };
        Failure::new(Kind::Io, error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::MEANINGS;

    /// Promise: pages-match-code
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
            had.extend(actions.map(|action| failure.exit_status(action)));
        }
        let told: Vec<i32> = MEANINGS.iter().map(|meaning| i32::from(meaning.status)).collect();
        assert_eq!(had.into_iter().collect::<Vec<_>>(), told);
        assert!(MEANINGS.iter().all(|meaning| meaning.short.len() <= 35), "two columns fit a terminal");
    }
}
