//! What a run says: one JSON document, or text. The only place that prints.

#![expect(clippy::disallowed_methods, reason = "this is that place")]

use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use els_protocol::wire::{Product, SeatHolder, Seats};
use els_protocol::{RegistrationId, Timestamp};

use crate::cli::{Action, Options};
use crate::error::Failure;

/// What a run found and did: the JSON document, and the text for people. Members that do not apply are left out.
#[derive(Serialize, Default)]
pub(crate) struct Report {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    result: &'static str,
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
    pub(crate) warnings: Vec<Warning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
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

/// Something that the administrator should know, though the run went on.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

#[derive(Serialize)]
struct ErrorView {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
    verbose: bool,
    color: bool,
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

impl Printer {
    pub(crate) fn new(options: &Options) -> Self {
        // https://no-color.org: set and not empty.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Printer {
            json: options.json,
            quiet: options.quiet,
            verbose: options.verbose,
            color: std::io::stderr().is_terminal() && !no_color,
        }
    }

    /// A printer for what goes wrong before the options are known.
    pub(crate) fn plain(json: bool) -> Self {
        Printer { json, quiet: false, verbose: false, color: false }
    }

    /// A step that is being done; printed with `-v` alone.
    pub(crate) fn progress(&self, line: &str) {
        if self.verbose && !self.quiet {
            to_stderr(line);
        }
    }

    /// Prints the outcome of a run and returns its exit status.
    pub(crate) fn finish(&self, action: Option<Action>, mut report: Report, failure: Option<Failure>) -> i32 {
        let status = failure.as_ref().map_or(0, |failure| failure.exit_status(action));
        report.schema = 1;
        report.action = action.map(Action::name);
        report.result = if failure.is_some() { "error" } else { "ok" };
        if self.json {
            report.error = failure.map(|failure| ErrorView {
                code: failure.kind.code().to_owned(),
                message: failure.message,
                hint: failure.hint,
                request_id: failure.request_id,
            });
            let document = serde_json::to_string(&report).expect("a report is a JSON document");
            return printed(to_stdout(&document), status);
        }
        let asked_for = matches!(action, Some(Action::Eula | Action::Report | Action::Seats));
        let mut wrote = Ok(());
        if (!self.quiet || asked_for) && !report.lines.is_empty() {
            wrote = to_stdout(&report.lines.join("\n"));
        }
        for warning in &report.warnings {
            to_stderr(&format!("{} {}", self.paint("33", "warning:"), warning.message));
        }
        if let Some(failure) = failure {
            to_stderr(&format!("{} {}", self.paint("1;31", "error:"), failure.message));
            if let Some(id) = failure.request_id {
                to_stderr(&format!("  request id: {id}"));
            }
            if let Some(hint) = failure.hint {
                to_stderr(&format!("  {hint}"));
            }
        }
        printed(wrote, status)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A result that could not be printed has not been given: a full disk behind `>` is a failure. A reader that went away
/// (`| head`) is none.
fn printed(wrote: std::io::Result<()>, status: i32) -> i32 {
    match wrote {
        Err(error) if status == 0 && error.kind() != std::io::ErrorKind::BrokenPipe => {
            to_stderr(&format!("error: cannot write to standard output: {error}"));
            1
        }
        _ => status,
    }
}

fn to_stdout(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn to_stderr(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
