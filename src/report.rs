//! What a run found and did: the members of the JSON document, and the lines for people. It prints nothing.

use serde::Serialize;
use serde_json::Value;

use els_host::confine::Landlock;
use els_protocol::wire::{Product, SeatHolder, Seats};
use els_protocol::{BaseUrl, RegistrationId, Timestamp};

use crate::file_state::FileState;
use crate::warning::Warning;

/// What a run found and did: the JSON document, and the text for people. Members that do not apply are left out.
#[derive(Serialize, Default)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registration: Option<RegistrationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seats: Option<Seats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registrations: Option<Vec<SeatView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip)]
    pub(crate) warnings: Vec<Warning>,
    /// The lines for people.
    #[serde(skip)]
    pub(crate) lines: Vec<Line>,
    /// Whom the administrator asks, from the configuration.
    #[serde(skip)]
    pub(crate) support: Option<String>,
}

/// Where the machine stands.
#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Registered,
    NotRegistered,
    Damaged,
    Copied,
    Refused,
}

/// The registration, as it is shown.
#[derive(Serialize, Debug, Clone)]
pub(crate) struct RegistrationView {
    pub(crate) id: RegistrationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contract: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) product: Option<Product>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repo_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified_at: Option<Timestamp>,
}

/// One seat of a key, and whether this machine holds it.
#[derive(Serialize, Debug, Clone)]
pub(crate) struct SeatView {
    #[serde(flatten)]
    pub(crate) holder: SeatHolder,
    pub(crate) this_machine: bool,
}

/// One file, and what became of it.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileView {
    pub(crate) path: String,
    pub(crate) state: FileState,
}

/// What is said to people, as data. `messages` has the sentences.
#[derive(Debug)]
pub(crate) enum Line {
    Headline(Headline),
    Registration(Box<RegistrationView>, Option<Seats>),
    /// What to do once the machine is registered.
    Next,
    /// What stays on the machine after it is unregistered.
    LeftOnMachine,
    SeatsUsed(Seats),
    Seat(SeatView),
    DryRun(DryRun),
    /// As it is: a licence, a request's body.
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headline {
    Registered,
    RegisteredAnew,
    AlreadyRegistered,
    Repaired,
    /// The registration is the same; it is confirmed with another key of the contract.
    KeyRotated,
    Refreshed,
    InOrder,
    Unregistered,
    /// What an earlier run left was released.
    Resumed,
    /// The journal was another machine's.
    ForeignJournal,
    CleanedUp,
    NothingToUnregister,
    CopyCleaned {
        original: Option<RegistrationId>,
    },
    Released {
        id: RegistrationId,
    },
    Status(StatusLine),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusLine {
    Registered,
    Damaged,
    Copied,
    NoLongerAccepted,
    /// The backend could not be asked.
    AsKnownHere,
}

#[derive(Debug)]
pub(crate) enum DryRun {
    Request {
        method: String,
        url: String,
    },
    Header {
        name: String,
        value: String,
    },
    File {
        path: String,
        state: FileState,
    },
    NoFile,
    /// The state is lost: what is written depends on the backend.
    AllFiles,
    /// The held registration was made with another key. If the backend does not accept it with this one, it is replaced.
    OtherKey,
    /// What the backend decides on a registration.
    Decided {
        path: &'static str,
    },
    End,
}

/// A step that is being done.
pub(crate) enum Progress<'a> {
    Confined(Landlock),
    Asking {
        server: &'a BaseUrl,
        id: &'a RegistrationId,
    },
    /// The backend wants another registration id.
    NewId,
    Probing {
        url: &'a BaseUrl,
    },
    Releasing {
        server: &'a BaseUrl,
        id: &'a RegistrationId,
    },
}

impl Report {
    /// A report that is one text.
    pub(crate) fn text(text: String) -> Self {
        Report { lines: vec![Line::Text(text.clone())], text: Some(text), ..Report::default() }
    }

    /// Adds a warning, once.
    pub(crate) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(crate) fn say(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub(crate) fn headline(&mut self, headline: Headline) {
        self.say(Line::Headline(headline));
    }

    pub(crate) fn dry_run(&mut self, line: DryRun) {
        self.say(Line::DryRun(line));
    }

    pub(crate) fn file(&mut self, path: &str, state: FileState) {
        self.files.push(FileView { path: path.to_owned(), state });
    }
}
