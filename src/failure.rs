//! Why a run failed: data, without sentences; and which failure ends the program with which exit status.

use els_host::root::PathError;
use els_protocol::wire::Seats;
use els_protocol::{Code, KeyError, RegistrationId};

use crate::cli::{Action, UsageError};
use crate::file_state::FileState;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A failure that is not particular to registering.
    Host(els_host::failure::Failure),
    Usage(UsageError),
    NotRoot {
        action: Action,
    },
    Locked {
        path: &'static str,
    },
    NotRegistered,
    /// The registration was made on another machine.
    Copied {
        original: Option<RegistrationId>,
    },
    Damaged(Damage),
    /// A state file or a journal that a newer version wrote.
    NewerFile {
        path: String,
        version: u32,
        known: u32,
    },
    RepoFileNotShipped {
        name: String,
    },
    /// A shipped repo file has no section that can be probed.
    RepoFileUnusable {
        name: String,
    },
    /// The backend names a repository URL that this machine must not be sent to. `why` is the protocol's.
    RepositoryUrl {
        server: String,
        url: String,
        why: String,
    },
    Repository {
        url: String,
        fault: RepositoryFault,
    },
    /// A page of the seat list leads back to an earlier one.
    SeatListLoops {
        server: String,
    },
    NoServer {
        config: String,
    },
    NoKey,
    Key {
        source: String,
        fault: KeyFault,
    },
    Label {
        source: String,
        fault: LabelFault,
    },
    GpgKey {
        config: String,
        path: String,
        fault: GpgKeyFault,
    },
    ReleaseId,
    /// `--unregister` without the token, which alone can release the seat from here.
    NoTokenToRelease,
    NotUnregistered {
        cause: Box<Failure>,
        seat: Seat,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Damage {
    State,
    /// The state file, which `--refresh --offline` needs.
    StateFile {
        path: &'static str,
    },
    Token,
    /// The credential in dnf's variables, which `--refresh --offline` cannot restore.
    Variables,
    Files(Vec<(String, FileState)>),
    Unreadable(PathError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RepositoryFault {
    /// In the words of the HTTP library.
    Request {
        why: String,
    },
    NotRepomd,
    Redirects {
        to: String,
    },
    Status(u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyFault {
    NotUtf8,
    Wrong(KeyError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelFault {
    NoHostName,
    /// In the words of the protocol.
    Wrong(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GpgKeyFault {
    Missing,
    Private,
    NotArmored,
}

/// Where the seat is after `--unregister` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// Certainly this machine's: everything is as it was.
    Held,
    /// Released or not: the repositories stay off.
    Unknown,
}

impl Failure {
    /// The code in `--json` documents.
    pub(crate) fn code(&self) -> &str {
        match self {
            Failure::Host(failure) => failure.code(),
            Failure::Usage(_) | Failure::NoServer { .. } | Failure::NoKey | Failure::Key { .. } => "usage",
            Failure::Label { .. } | Failure::GpgKey { .. } | Failure::ReleaseId => "usage",
            Failure::NotRoot { .. } => "not-root",
            Failure::Locked { .. } => "locked",
            Failure::NotRegistered => "not-registered",
            Failure::Copied { .. } => "copied",
            Failure::Damaged(_) => "damaged",
            Failure::NewerFile { .. } => "io",
            Failure::RepoFileNotShipped { .. } | Failure::RepoFileUnusable { .. } => "unsupported-system",
            Failure::RepositoryUrl { .. } | Failure::SeatListLoops { .. } => "bad-answer",
            Failure::Repository { .. } => "repository-refused",
            Failure::NoTokenToRelease => Code::CredentialInvalid.as_str(),
            Failure::NotUnregistered { cause, .. } => cause.code(),
        }
    }

    /// Names the request in the backend's log.
    pub(crate) fn request_id(&self) -> Option<&str> {
        match self {
            Failure::Host(failure) => failure.request_id(),
            Failure::NotUnregistered { cause, .. } => cause.request_id(),
            _ => None,
        }
    }

    /// The protocol's code, if the backend answered with one that this version knows.
    pub(crate) fn denial(&self) -> Option<Code> {
        match self {
            Failure::Host(failure) => failure.denial(),
            _ => None,
        }
    }

    /// The key's seats, where the backend's error has them (`no-free-seat`).
    pub(crate) fn seats(&self) -> Option<Seats> {
        match self {
            Failure::Host(els_host::failure::Failure::Refused(refusal)) => refusal.seats,
            _ => None,
        }
    }

    /// The exit status, as the manual's table has it.
    pub(crate) fn exit_status(&self, action: Option<Action>) -> i32 {
        use els_host::failure::Failure as Host;
        match self {
            Failure::Host(failure) => match failure {
                Host::Path(_) | Host::Architecture { .. } | Host::Request { .. } => 1,
                Host::Named(_) | Host::Setting { .. } | Host::MachineId { .. } => 2,
                Host::Unreachable(_) | Host::CutOff { .. } | Host::Answer { .. } => 7,
                Host::OsReleaseMissing { .. } | Host::OsRelease { .. } | Host::NoPackageManager { .. } => 8,
                Host::Refused(refusal) => match refusal.known {
                    Some(code) => denied(code, action),
                    None => denied_with(refusal.status),
                },
            },
            Failure::NewerFile { .. } => 1,
            Failure::Usage(_) | Failure::NoServer { .. } | Failure::NoKey | Failure::Key { .. } => 2,
            Failure::Label { .. } | Failure::GpgKey { .. } | Failure::ReleaseId => 2,
            Failure::NotRegistered => 3,
            Failure::NotRoot { .. } => 4,
            Failure::NoTokenToRelease => denied(Code::CredentialInvalid, action),
            Failure::RepositoryUrl { .. } | Failure::SeatListLoops { .. } | Failure::Repository { .. } => 7,
            Failure::RepoFileNotShipped { .. } | Failure::RepoFileUnusable { .. } => 8,
            Failure::Locked { .. } => 9,
            Failure::Damaged(_) | Failure::Copied { .. } => 10,
            Failure::NotUnregistered { cause, .. } => cause.exit_status(action),
        }
    }
}

impl<T: Into<els_host::failure::Failure>> From<T> for Failure {
    fn from(failure: T) -> Self {
        Failure::Host(failure.into())
    }
}

fn denied(code: Code, action: Option<Action>) -> i32 {
    let asks = matches!(action, Some(Action::Status | Action::Refresh));
    match code {
        Code::KeyExpired | Code::KeySuspended | Code::KeyRevoked if asks => 11,
        Code::RegistrationReleased | Code::UnknownRegistration | Code::CredentialInvalid if asks => 11,
        Code::CredentialInvalid if action == Some(Action::Unregister) => 5,
        Code::UnknownKey | Code::KeyExpired | Code::KeyNotYetValid | Code::KeyReleaseDenied => 5,
        Code::KeySuspended | Code::KeyRevoked | Code::SystemNotCovered => 5,
        Code::NoFreeSeat => 6,
        Code::RateLimited | Code::Unavailable | Code::Internal => 7,
        _ => 1,
    }
}

/// For a code that this version does not know.
fn denied_with(status: u16) -> i32 {
    match status {
        403 => 5,
        409 => 6,
        429 | 500..=599 => 7,
        _ => 1,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::exit::MEANINGS;
    use els_host::failure::{Failure as Host, Refusal};

    /// An error of the backend with this code and status.
    pub(crate) fn refused(code: &str, status: u16) -> Failure {
        Failure::from(Host::Refused(Box::new(Refusal {
            host: "els.example.com".into(),
            status,
            code: code.into(),
            known: Code::parse(code),
            title: String::new(),
            detail: None,
            seats: None,
            request_id: Some("r-1".into()),
        })))
    }

    /// Promise: pages-match-code
    #[test]
    fn the_exit_statuses_of_failures_are_those_in_the_table() {
        let path = PathError { doing: els_host::root::Doing::Read, path: "/x".into(), errno: nix::errno::Errno::EIO };
        let own = [
            Failure::Host(Host::Path(path)),
            Failure::NoKey,
            Failure::NotRegistered,
            Failure::NotRoot { action: Action::Register },
            Failure::SeatListLoops { server: String::new() },
            Failure::RepoFileNotShipped { name: String::new() },
            Failure::Locked { path: "/x" },
            Failure::Damaged(Damage::Token),
            Failure::Copied { original: None },
        ];
        let foreign = [400, 403, 409, 429, 500].map(|status| refused("of-a-later-version", status));
        let wire = Code::ALL.iter().map(|code| refused(code.as_str(), code.status()));
        let mut seen = std::collections::BTreeSet::from([0]);
        for failure in own.into_iter().chain(foreign).chain(wire) {
            let actions = [None, Some(Action::Register), Some(Action::Status), Some(Action::Unregister)];
            seen.extend(actions.map(|action| failure.exit_status(action)));
        }
        let table: Vec<i32> = MEANINGS.iter().map(|meaning| i32::from(meaning.status)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), table);
        assert!(MEANINGS.iter().all(|meaning| meaning.short.len() <= 35), "two columns fit a terminal");
    }

    #[test]
    fn a_code_of_a_later_version_counts_by_its_status() {
        for (status, exit) in [(403, 5), (409, 6), (429, 7), (500, 7), (400, 1)] {
            assert_eq!(refused("of-a-later-version", status).exit_status(None), exit, "{status}");
        }
    }

    #[test]
    fn a_failed_unregistration_keeps_code_status_and_request_id_of_its_cause() {
        for seat in [Seat::Held, Seat::Unknown] {
            let cause = Box::new(refused("credential-invalid", 401));
            let failure = Failure::NotUnregistered { cause, seat };
            assert_eq!((failure.code(), failure.request_id()), ("credential-invalid", Some("r-1")));
            assert_eq!(failure.exit_status(Some(Action::Unregister)), 5);
        }
    }
}
