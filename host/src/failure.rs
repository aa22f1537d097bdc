//! How a run can fail: the codes and the sentences.

use std::fmt;

use els_protocol::Code;

use crate::root::PathError;

/// Why a run failed. The message says what failed, on which path or host; the hint is what to type next.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
    pub request_id: Option<String>,
}

/// What kind of failure: it decides the code in `--json` and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An error that the backend answered.
    Wire(Code),
    /// An error that the backend answered with a code that this version does not know.
    Foreign {
        code: String,
        status: u16,
    },
    Usage,
    NotRoot,
    NotRegistered,
    Unreachable,
    BadAnswer,
    RepositoryRefused,
    UnsupportedSystem,
    Locked,
    Damaged,
    Copied,
    Io,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), hint: None, request_id: None }
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Kind::Usage, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Kind {
    /// The code in `--json` documents.
    pub fn code(&self) -> &str {
        match self {
            Kind::Wire(code) => code.as_str(),
            Kind::Foreign { code, .. } => code,
            Kind::Usage => "usage",
            Kind::NotRoot => "not-root",
            Kind::NotRegistered => "not-registered",
            Kind::Unreachable => "unreachable",
            Kind::BadAnswer => "bad-answer",
            Kind::RepositoryRefused => "repository-refused",
            Kind::UnsupportedSystem => "unsupported-system",
            Kind::Locked => "locked",
            Kind::Damaged => "damaged",
            Kind::Copied => "copied",
            Kind::Io => "io",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        use nix::errno::Errno;
        let hint = match error.errno {
            Errno::ENOSPC | Errno::EDQUOT => "free some space there, then run the same command again",
            Errno::EROFS => "make that file system writable, then run the same command again",
            Errno::EACCES | Errno::EPERM => {
                "check permissions, 'lsattr' and the security policy there, then run the same command again"
            }
            Errno::ELOOP => "nothing is written through a symbolic link: put a real file or folder there",
            Errno::EISDIR | Errno::ENOTDIR | Errno::ENOTSUP => {
                "move away what stands there, then run the same command again"
            }
            _ => "mend that, then run the same command again: nothing was lost",
        };
        Failure::new(Kind::Io, error.to_string()).hint(hint)
    }
}
