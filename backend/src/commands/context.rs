//! What every command is given, and what several commands need.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use els_ledger::{KeyId, Policy, Store};
use els_protocol::Timestamp;

use super::error::CommandError;

/// How a command ends.
pub(super) type Outcome = Result<ExitCode, CommandError>;

/// An open database and the time.
pub(super) struct Context {
    pub(super) store: Arc<dyn Store>,
    pub(super) now: Timestamp,
}

/// A small file that an option names; `-` is standard input.
pub(super) fn read_file(file: &Path) -> Result<String, CommandError> {
    let read =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    read.with_context(|| format!("cannot read {}", file.display())).map_err(CommandError::from)
}

/// No command registers a machine, so nothing is decided by this policy.
pub(super) fn no_policy() -> Policy {
    Policy { covers: Arc::new(|_, _, _| false), grace_seconds: 0 }
}

pub(super) fn no_such_key(key: &KeyId) -> CommandError {
    CommandError::NotFound(format!("there is no key {key}; `els-backend key list` shows all keys"))
}
