//! Every sentence that a person reads, but for `--help` (`cli`) and the exit statuses (`exit`).
//!
//! Each language is a module with the same functions; their `match`es are exhaustive, so the compiler finds a sentence that
//! is missing in a language. The sentences for failures that are not particular to registering are in `els_host::messages`.

mod en;

pub(crate) use en::{failure, hint, line, progress, support, support_contact, warning};
