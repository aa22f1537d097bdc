//! What an administrator should know although a run went on: data, without sentences.

use els_host::network::Source;
use els_protocol::{RegistrationId, Timestamp};

use crate::failure::Failure;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warning {
    /// A state file or a journal cannot be read.
    Lost(Lost),
    FileKept(FileKept),
    ThirdParty {
        ids: Vec<String>,
    },
    /// The repositories of this machine cannot be read.
    ThirdPartyUnknown(Failure),
    /// Enabled repositories of others that use `$releasever`, which is pinned.
    ReleasePinned {
        ids: Vec<String>,
        release: &'static str,
    },
    Expired {
        expires: Timestamp,
        /// The backend said so.
        confirmed: bool,
    },
    ExpiresSoon {
        expires: Timestamp,
        days: i64,
    },
    Clock {
        /// Minutes by which this machine is behind the backend.
        behind: i64,
    },
    ProxyUnknownToDnf {
        source: Source,
        proxy: String,
        user: Option<String>,
    },
    ProxyPasswordReadable {
        path: String,
        /// dnf reads the file too.
        dnf: bool,
    },
    CaUnknownToDnf {
        path: String,
    },
    /// A copy was registered as a machine of its own.
    RegisteredCopy {
        original: RegistrationId,
    },
    /// A copy was unregistered: the original keeps its seat.
    UnregisteredCopy,
    /// `--dry-run` on a copy.
    IsCopy,
    /// The registration that this machine held is another key's or another machine's.
    OldSeatDisputed {
        id: RegistrationId,
    },
    OldSeatWithoutToken {
        id: RegistrationId,
    },
    /// This machine has the seat that another registration of what looks like the same machine held.
    SeatMovedHere {
        from: RegistrationId,
    },
    /// Another registration of what looks like the same machine has the seat.
    SeatMovedAway {
        /// When this machine's registration ends by itself.
        until: Option<Timestamp>,
    },
    NotReleased {
        id: RegistrationId,
        what: NotReleased,
    },
    /// The journal could not be written.
    Journal(Failure),
    ReleasedThisMachine,
    /// `--force` went on after this failure.
    Forced(Failure),
    Offline,
    Interrupted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) path: String,
    pub(crate) line: usize,
    /// It is JSON, with other members than it should have.
    pub(crate) is_json: bool,
}

/// What becomes of a file that is not, or no longer, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileKept {
    Edited { path: &'static str },
    EditedBesideNew { path: &'static str, new: &'static str },
    EditedAndMoved { path: &'static str, to: String },
    NotOurs { path: &'static str, to: String },
    OtherKey { path: &'static str, to: String },
    NotTheInstalledKey { path: &'static str },
    OtherRelease { path: &'static str, to: &'static str },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotReleased {
    /// This run's own registration, which failed after it was granted.
    New(Failure),
    /// A registration that the new one replaces.
    Superseded(Failure),
    /// Left by an earlier run.
    Journaled,
    /// By `--force`.
    Abandoned,
}

impl Warning {
    /// The code in `--json` documents.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Warning::Lost(_) => "state-lost",
            Warning::FileKept(_) => "file-kept",
            Warning::ThirdParty { .. } | Warning::ThirdPartyUnknown(_) => "third-party-repository",
            Warning::ReleasePinned { .. } => "releasever-pinned",
            Warning::Expired { .. } => "expired",
            Warning::ExpiresSoon { .. } => "expires-soon",
            Warning::Clock { .. } => "clock",
            Warning::ProxyUnknownToDnf { .. } => "proxy-unknown-to-dnf",
            Warning::ProxyPasswordReadable { .. } => "proxy-password-readable",
            Warning::CaUnknownToDnf { .. } => "ca-unknown-to-dnf",
            Warning::RegisteredCopy { .. } | Warning::UnregisteredCopy | Warning::IsCopy => "copied",
            Warning::OldSeatDisputed { .. } | Warning::OldSeatWithoutToken { .. } => "old-seat-kept",
            Warning::SeatMovedHere { .. } | Warning::SeatMovedAway { .. } => "seat-moved",
            Warning::NotReleased { .. } => "not-given-back",
            Warning::Journal(_) => "journal",
            Warning::ReleasedThisMachine => "this-machine",
            Warning::Forced(_) => "forced",
            Warning::Offline => "offline",
            Warning::Interrupted => "interrupted",
        }
    }
}
