//! What the report for support says: data, without sentences and without secrets.

use els_protocol::wire::Os;
use els_protocol::{RegistrationId, Timestamp};

use crate::failure::{Failure, Result};
use crate::file_state::FileState;
use crate::report::RegistrationView;
use crate::warning::Lost;

pub(crate) struct Support {
    pub(crate) time: Timestamp,
    pub(crate) root: bool,
    /// With the architecture.
    pub(crate) system: Result<(Os, String)>,
    pub(crate) packages: Result<()>,
    pub(crate) machine: Result<MachineIds>,
    pub(crate) config: String,
    /// What is wrong with the settings.
    pub(crate) problem: Option<Failure>,
    pub(crate) server: Option<String>,
    /// In seconds.
    pub(crate) timeout: u64,
    pub(crate) ca_file: Option<String>,
    pub(crate) gpg_key: Option<String>,
    /// Without its login, and whether it has one.
    pub(crate) dnf_proxy: Result<Option<(String, bool)>>,
    pub(crate) registered: Result<Registered>,
    pub(crate) files: Vec<(&'static str, Result<Option<FileFacts>>)>,
    pub(crate) other_repositories: Result<Vec<String>>,
}

pub(crate) struct FileFacts {
    pub(crate) mode: u32,
    /// How it compares with the state.
    pub(crate) state: Option<FileState>,
}

/// Which ids the machine has.
pub(crate) struct MachineIds {
    pub(crate) machine: bool,
    pub(crate) hardware: bool,
    pub(crate) container: bool,
}

pub(crate) struct Registered {
    pub(crate) lost: Vec<Lost>,
    pub(crate) id: Option<RegistrationId>,
    /// What the state says.
    pub(crate) view: Option<RegistrationView>,
    pub(crate) copy: bool,
    /// The journal: a registration is being made.
    pub(crate) making: bool,
    /// The journal: registrations that are to be released.
    pub(crate) releasing: usize,
    /// The backend's answer, if it was asked.
    pub(crate) answer: Option<Answer>,
}

pub(crate) enum Answer {
    TokenLost,
    Accepts { expires: Timestamp, superseded: bool, ahead: Option<i64> },
    Failed(Failure),
}
