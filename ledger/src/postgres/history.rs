//! Which history of the database this node follows: of which cluster, on which timeline.
//!
//! Owns the comparison. A promotion begins a new timeline, so that a server on an older one is a primary that was replaced; and
//! a server of another cluster knows nothing of what this node has answered. Neither is the database, although it can be
//! written. It must not know a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the connections of a node have seen. Copies share it.
#[derive(Clone)]
pub(super) struct History(Arc<Mutex<Known>>);

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number that `initdb` gave the cluster; its standbys have the same.
    pub(super) system: i64,
    pub(super) timeline: i64,
}

struct Known {
    mark: Option<Mark>,
    /// Sessions that were made before this moment are not used any more.
    since: Instant,
}

impl History {
    pub(super) fn new() -> Self {
        History(Arc::new(Mutex::new(Known { mark: None, since: Instant::now() })))
    }

    /// Whether a server with this mark is the database; the reason if it is not. A newer timeline ends all older sessions.
    pub(super) fn accept(&self, mark: Mark) -> Result<(), &'static str> {
        let mut known = self.lock();
        match known.mark {
            Some(before) if before.system != mark.system => {
                Err("the server belongs to another cluster than before; if that is meant, start els-backend again")
            }
            Some(before) if mark.timeline < before.timeline => {
                Err("the server was replaced: another one was promoted after it")
            }
            Some(before) if mark == before => Ok(()),
            before => {
                if before.is_some() {
                    tracing::warn!(timeline = mark.timeline, "another PostgreSQL server has become the primary");
                    known.since = Instant::now();
                }
                known.mark = Some(mark);
                Ok(())
            }
        }
    }

    /// A server does not answer any more: no session that was made before now is used again.
    pub(super) fn suspect(&self) {
        self.lock().since = Instant::now();
    }

    /// Whether a session that was made at this moment may still be used.
    pub(super) fn is_current(&self, made: Instant) -> bool {
        made >= self.lock().since
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code that holds this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: nodes-one-history
    #[test]
    fn a_newer_timeline_ends_older_sessions_and_an_older_one_or_another_cluster_is_refused() {
        let history = History::new();
        let mark = |system, timeline| Mark { system, timeline };
        assert_eq!(history.accept(mark(1, 3)), Ok(()));
        let made = Instant::now();
        assert_eq!((history.accept(mark(1, 3)), history.is_current(made)), (Ok(()), true));
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!((history.accept(mark(1, 4)), history.is_current(made)), (Ok(()), false));
        assert!(history.accept(mark(1, 3)).is_err());
        assert!(history.accept(mark(2, 9)).is_err());
        assert!(history.is_current(Instant::now()));
        history.suspect();
        assert_eq!(history.accept(mark(1, 4)), Ok(()));
    }
}
