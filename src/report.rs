//! What a run found and did: the members of the JSON document, and the lines for people. It prints nothing.

use els_host::output::Warning;
use serde::Serialize;
use serde_json::Value;

use els_protocol::wire::{Product, SeatHolder, Seats};
use els_protocol::{RegistrationId, Timestamp};

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
    pub(crate) lines: Vec<String>,
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
#[derive(Serialize)]
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

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileState {
    Written,
    Unchanged,
    Kept,
    Removed,
    Missing,
    Altered,
}

impl Report {
    /// A report that is one text.
    pub(crate) fn text(text: String) -> Self {
        Report { lines: vec![text.clone()], text: Some(text), ..Report::default() }
    }

    pub(crate) fn warn(&mut self, code: &'static str, message: impl Into<String>) {
        let warning = Warning { code, message: message.into() };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Adds a line of text for people.
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub(crate) fn file(&mut self, path: &str, state: FileState) {
        self.files.push(FileView { path: path.to_owned(), state });
    }
}
