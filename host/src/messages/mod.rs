//! The sentences for what this crate can report.
//!
//! Each language is a module with the same functions; their `match`es are exhaustive, so the compiler finds a sentence that
//! is missing in a language. The functions here choose the module.

pub mod en;
pub mod ja;

use crate::failure::Failure;
use crate::language::Language;

/// What failed, on what, and why.
pub fn failure(language: Language, failure: &Failure) -> String {
    match language {
        Language::English => en::failure(failure),
        Language::Japanese => ja::failure(failure),
    }
}

/// What to do next.
pub fn hint(language: Language, failure: &Failure) -> Option<String> {
    match language {
        Language::English => en::hint(failure),
        Language::Japanese => ja::hint(failure),
    }
}

/// Begins a warning.
pub fn warning_label(language: Language) -> &'static str {
    match language {
        Language::English => en::warning_label(),
        Language::Japanese => ja::warning_label(),
    }
}

/// Begins an error.
pub fn error_label(language: Language) -> &'static str {
    match language {
        Language::English => en::error_label(),
        Language::Japanese => ja::error_label(),
    }
}

/// Names the request in the backend's log.
pub fn request_id(language: Language, id: &str) -> String {
    match language {
        Language::English => en::request_id(id),
        Language::Japanese => ja::request_id(id),
    }
}

/// The result could not be printed.
pub fn cannot_print(language: Language, error: &std::io::Error) -> String {
    match language {
        Language::English => en::cannot_print(error),
        Language::Japanese => ja::cannot_print(error),
    }
}
