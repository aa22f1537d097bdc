//! The sentences for what this crate can report. Each language is a module with the same functions; their `match`es are
//! exhaustive, so the compiler finds a sentence that is missing in a language.

mod en;

pub use en::{cannot_print, error_label, failure, hint, path_error, proxy_source, warning_label};
