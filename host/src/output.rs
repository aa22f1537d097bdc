//! How a program prints: one JSON document, or lines for people. The only place that prints.
//!
//! It must not know what a program prints.

#![expect(clippy::disallowed_methods, reason = "this is the place that prints")]

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::language::Language;
use crate::messages;

/// How to print.
#[derive(Debug, Clone, Copy, Default)]
pub struct Printer {
    /// One JSON document in place of text.
    pub json: bool,
    /// Only warnings and errors, and what the action exists to print.
    pub quiet: bool,
    /// Steps too.
    pub verbose: bool,
    /// Of the lines for people.
    pub language: Language,
}

/// What a run found and did.
pub struct Outcome<T> {
    /// The action's name; `None` if the arguments did not say.
    pub action: Option<&'static str>,
    /// The exit status.
    pub status: i32,
    /// The members of the JSON document that are the program's own.
    pub body: T,
    /// The lines for people.
    pub lines: Vec<String>,
    /// The action exists to print these lines: `quiet` does not suppress them.
    pub always: bool,
    /// What the administrator should know although the run went on.
    pub warnings: Vec<Warning>,
    /// Why the run failed.
    pub error: Option<Error>,
}

/// One warning: its stable code, and its sentence.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// For scripts.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Why a run failed, in words.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// For scripts.
    pub code: String,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Names the request in the backend's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Printer {
    /// A step that is being done; printed only with `verbose`.
    pub fn progress(&self, line: &str) {
        if self.verbose && !self.quiet {
            to_stderr(&indented(line));
        }
    }

    /// Prints the outcome of a run and returns the exit status. A result that cannot be printed is a failure too: a full
    /// disk behind `>` is not success. A reader that closed the pipe (`| head`) is not a failure.
    pub fn finish<T: Serialize>(&self, outcome: Outcome<T>) -> i32 {
        let status = outcome.status;
        let wrote = if self.json { print_json(&outcome) } else { self.print_text(&outcome) };
        match wrote {
            Err(error) if status == 0 && error.kind() != std::io::ErrorKind::BrokenPipe => {
                let label = messages::error_label(self.language);
                to_stderr(&format!("{label} {}", messages::cannot_print(self.language, &error)));
                1
            }
            _ => status,
        }
    }

    fn print_text<T>(&self, outcome: &Outcome<T>) -> std::io::Result<()> {
        let mut wrote = Ok(());
        if (!self.quiet || outcome.always) && !outcome.lines.is_empty() {
            wrote = to_stdout(&outcome.lines.join("\n"));
        }
        // https://no-color.org: set and not empty.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = std::io::stderr().is_terminal() && !no_color;
        let paint = |code: &str, text: &str| {
            if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        for warning in &outcome.warnings {
            to_stderr(&format!(
                "{} {}",
                paint("33", messages::warning_label(self.language)),
                indented(&warning.message)
            ));
        }
        if let Some(error) = &outcome.error {
            to_stderr(&format!("{} {}", paint("1;31", messages::error_label(self.language)), indented(&error.message)));
            if let Some(id) = &error.request_id {
                to_stderr(&format!("  {}", messages::request_id(self.language, id)));
            }
            if let Some(hint) = &error.hint {
                to_stderr(&format!("  {}", indented(hint)));
            }
        }
        wrote
    }
}

fn print_json<T: Serialize>(outcome: &Outcome<T>) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        schema: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<&'static str>,
        result: &'static str,
        #[serde(flatten)]
        body: &'a T,
        warnings: &'a [Warning],
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Error>,
    }
    let result = if outcome.error.is_some() { "error" } else { "ok" };
    let Outcome { action, body, warnings, error, .. } = outcome;
    let document = Document { schema: 1, action: *action, result, body, warnings, error: error.as_ref() };
    to_stdout(&serde_json::to_string(&document).expect("a report is a JSON document"))
}

/// The lines after the first stand below it.
fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

fn to_stdout(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn to_stderr(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
