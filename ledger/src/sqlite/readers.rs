//! A few connections that only read, beside the one that writes.
//!
//! Owns how many reads run at once. In WAL mode none of them waits for the writer. Knows no statement of them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{failure, open};
use crate::StoreError;
use crate::turns::READS;

/// The pool. Connections are opened when they are first needed.
pub(super) struct Readers {
    path: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// A pool for the database at `path`.
    pub(super) fn new(path: &Path) -> Self {
        Readers { path: path.into(), idle: Arc::default(), turns: Arc::new(Semaphore::new(MOST)) }
    }

    /// Runs `question` at one moment of the database.
    pub(super) async fn read<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = |_| StoreError::Unavailable("the store is closing".into());
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
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

/// One for each turn, and one for what the vendor asks.
const MOST: usize = READS + 1;
