//! A few connections that only read, beside the one that writes.
//!
//! Owns the connections; there are never more of them than turns to read. In WAL mode no read waits for the writer. It must not
//! know the statements.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{failure, open};
use crate::StoreError;
use crate::queue::QueueKey;
use crate::turns::{ReadClass, ReadTurns};

/// The pool. Connections are opened when they are first needed.
pub(super) struct Readers {
    path: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: ReadTurns,
}

impl Readers {
    /// A pool for the database at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Readers { path: path.into(), idle: Arc::default(), turns: ReadTurns::new() }
    }

    /// Notes whether a queue key is in force, see [`ReadTurns::note`].
    pub(super) fn note(&self, key: QueueKey, in_force: bool) {
        self.turns.note(key, in_force);
    }

    /// Runs `question` at one moment of the database, when it is the turn of `class`. The turn lasts until the question is
    /// answered, also when the future is dropped before.
    pub(super) async fn read<T, F>(&self, class: ReadClass, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = self.turns.take(class).await?;
        let (path, idle) = (Arc::clone(&self.path), Arc::clone(&self.idle));
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match known {
                Some(connection) => connection,
                None => open::open_reader(&path)?,
            };
            let answer = at_one_moment(&connection, question);
            // A connection that failed once may fail again.
            if answer.is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            answer
        });
        match asked.await {
            Ok(answer) => answer.map_err(|error| failure(&error)),
            Err(_) => Err(StoreError::Internal("a read panicked".into())),
        }
    }
}

fn at_one_moment<T>(
    connection: &Connection,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
    let answer = question(connection);
    connection.prepare_cached("COMMIT")?.execute([])?;
    answer
}
