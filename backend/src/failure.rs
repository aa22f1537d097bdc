//! How a command can end other than well, and with which exit status.

use std::fmt;

use els_ledger::StoreError;

/// Why a command was not carried out.
#[derive(Debug)]
pub enum Failure {
    /// It cannot be meant: exit 2.
    Usage(String),
    /// What it names is not there: exit 3.
    NotFound(String),
    /// Anything else: exit 1.
    Failed(anyhow::Error),
}

impl Failure {
    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::NotFound(_) => 3,
        }
    }

    /// A failure in words.
    pub fn failed(words: impl Into<String>) -> Self {
        Failure::Failed(anyhow::Error::msg(words.into()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(words) | Failure::NotFound(words) => f.write_str(words),
            Failure::Failed(error) => {
                write!(f, "{error}")?;
                error.chain().skip(1).try_for_each(|cause| write!(f, "\n -> {cause}"))
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Failed(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let advice = match &error {
            StoreError::Unavailable(_) => "nothing is known of the outcome; run it again",
            StoreError::Busy => "run it again",
            StoreError::Internal(_) => "nothing was changed; `els-backend check` may tell more",
        };
        Failure::failed(format!("{error} ({advice})"))
    }
}
