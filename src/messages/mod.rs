//! Every sentence that a person reads, except the English of `--help` (`cli`) and of the exit statuses (`exit`).
//!
//! Each language is a module with the same functions; their `match`es are exhaustive, so the compiler finds a sentence that
//! is missing in a language. The functions here choose the module. The sentences for failures that are not particular to
//! registering are in `els_host::messages`.

pub(crate) mod en;
pub(crate) mod ja;

use els_host::language::Language;

use crate::exit::Meaning;
use crate::failure::Failure;
use crate::report::{Line, Progress};
use crate::support::Support;
use crate::warning::Warning;

/// The command line as `--help` describes it.
pub(crate) fn command(language: Language, command: clap::Command) -> clap::Command {
    match language {
        Language::English => command,
        Language::Japanese => ja::command(command),
    }
}

/// What the exit statuses mean.
pub(crate) fn meanings(language: Language) -> &'static [Meaning] {
    match language {
        Language::English => &crate::exit::MEANINGS,
        Language::Japanese => &ja::MEANINGS,
    }
}

/// What failed, on what, and why.
pub(crate) fn failure(language: Language, failure: &Failure) -> String {
    match language {
        Language::English => en::failure(failure),
        Language::Japanese => ja::failure(failure),
    }
}

/// What to do next.
pub(crate) fn hint(language: Language, failure: &Failure) -> Option<String> {
    match language {
        Language::English => en::hint(failure),
        Language::Japanese => ja::hint(failure),
    }
}

/// A result. It may have more than one line.
pub(crate) fn line(language: Language, line: &Line) -> String {
    match language {
        Language::English => en::line(line),
        Language::Japanese => ja::line(line),
    }
}

/// A step that is being done.
pub(crate) fn progress(language: Language, progress: &Progress<'_>) -> String {
    match language {
        Language::English => en::progress(progress),
        Language::Japanese => ja::progress(progress),
    }
}

/// One text for support. It holds no secret.
pub(crate) fn support(language: Language, found: &Support) -> String {
    match language {
        Language::English => en::support(found),
        Language::Japanese => ja::support(found),
    }
}

/// Whom to ask, from the configuration.
pub(crate) fn support_contact(language: Language, contact: &str) -> String {
    match language {
        Language::English => en::support_contact(contact),
        Language::Japanese => ja::support_contact(contact),
    }
}

/// One warning.
pub(crate) fn warning(language: Language, warning: &Warning) -> String {
    match language {
        Language::English => en::warning(warning),
        Language::Japanese => ja::warning(warning),
    }
}
