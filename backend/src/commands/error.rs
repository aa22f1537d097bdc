//! Why a command failed, and with which exit status.

use std::fmt;

use els_ledger::StoreError;

#[derive(Debug)]
pub(super) enum CommandError {
    /// The command line is wrong: exit 2.
    Usage(String),
    /// What the command line names does not exist: exit 3.
    NotFound(String),
    /// Anything else: exit 1.
    Failed(anyhow::Error),
}

impl CommandError {
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            CommandError::Failed(_) => 1,
            CommandError::Usage(_) => 2,
            CommandError::NotFound(_) => 3,
        }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        CommandError::Failed(anyhow::Error::msg(message.into()))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Usage(message) | CommandError::NotFound(message) => f.write_str(message),
            CommandError::Failed(error) => {
                write!(f, "{error}")?;
                error.chain().skip(1).try_for_each(|cause| write!(f, "\n -> {cause}"))
            }
        }
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        CommandError::Failed(error)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Unavailable(_) => "the outcome is unknown; run it again",
            StoreError::Busy => "run it again",
            StoreError::Internal(_) => "nothing was changed; `els-backend check` may show more",
        };
        CommandError::failed(format!("{error} ({hint})"))
    }
}
