//! How a transaction can fail, and what that means to the caller.
//!
//! Owns the meaning of SQLSTATEs (PostgreSQL documentation, appendix A). Texts of errors go into the log alone; they name
//! tables, and their details may name values, which is why only the primary message is kept.

use deadpool::managed::PoolError;
use tokio_postgres::error::SqlState;

use crate::StoreError;

/// Why a transaction was not carried out, or is not known to be.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server has said no, or the connection has ended.
    Database(tokio_postgres::Error),
    /// No connection could be had.
    Connect(String),
    /// A row, or a count of rows, that no version of this program writes.
    Invalid(&'static str),
}

impl Failed {
    /// A value that no version of this program writes.
    pub(super) fn invalid(what: &'static str) -> Self {
        Failed::Invalid(what)
    }

    /// Whether the transaction was rolled back for the sake of another one, and may succeed when it is tried again: a
    /// deadlock, a conflict, or a row that another node wrote at the same moment.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.state(),
            Some(&SqlState::T_R_DEADLOCK_DETECTED)
                | Some(&SqlState::T_R_SERIALIZATION_FAILURE)
                | Some(&SqlState::UNIQUE_VIOLATION)
        )
    }

    /// Whether the server itself has answered, so that the connection is whole and the transaction is rolled back.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Failed::Invalid(_) => true,
            Failed::Connect(_) => false,
            Failed::Database(error) => error.as_db_error().is_some() && !self.ends_session(),
        }
    }

    /// What it means to the caller. `committing`: a COMMIT had been sent, so that nothing is known.
    pub(super) fn meaning(&self, committing: bool) -> StoreError {
        let text = self.text();
        let unavailable = committing
            || match self {
                Failed::Connect(_) => true,
                Failed::Invalid(_) => false,
                Failed::Database(error) => match error.code() {
                    // Encoding and decoding errors are ours; all else without a code is the connection's.
                    None => {
                        error.is_closed() || std::error::Error::source(error).is_some_and(|e| e.is::<std::io::Error>())
                    }
                    Some(code) => is_trouble_of_the_server(code),
                },
            };
        if unavailable { StoreError::Unavailable(text) } else { StoreError::Internal(text) }
    }

    fn state(&self) -> Option<&SqlState> {
        match self {
            Failed::Database(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the session must not be used again: it ends (57P, 08), or the server is no longer the primary (25006).
    pub(super) fn ends_session(&self) -> bool {
        match self.state() {
            Some(code) => code.code().starts_with("57P") || code.code().starts_with("08") || code.code() == "25006",
            None => matches!(self, Failed::Database(_) | Failed::Connect(_)),
        }
    }

    /// In one line.
    pub(super) fn text(&self) -> String {
        match self {
            Failed::Database(error) => match error.as_db_error() {
                Some(told) => format!("{} ({})", told.message(), told.code().code()),
                None => chain(error),
            },
            Failed::Connect(why) => why.clone(),
            Failed::Invalid(what) => format!("the database holds {what}"),
        }
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Failed::Database(error)
    }
}

impl From<PoolError<Failed>> for Failed {
    fn from(error: PoolError<Failed>) -> Self {
        match error {
            PoolError::Backend(Failed::Database(error)) if error.as_db_error().is_none() => {
                Failed::Connect(chain(&error))
            }
            PoolError::Backend(failed) => failed,
            PoolError::Timeout(_) => Failed::Connect("no connection within five seconds".into()),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Failed::Connect("the store is closing".into())
            }
        }
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The server is going down, is full, is only a standby, or another transaction holds a lock for too long. The classes:
/// 08 connection, 25 transaction state (25006: read only), 28 authorization, 3D no such database, 40 rolled back,
/// 53 resources, 55 not in the right state (55P03: lock), 57 intervention, 58 system.
fn is_trouble_of_the_server(code: &SqlState) -> bool {
    ["08", "25", "28", "3D", "40", "53", "55", "57", "58"].contains(&&code.code()[..2])
}
