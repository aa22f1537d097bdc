//! Time: the wall clock, read once, and how much of `--timeout` is left.

use std::time::{Duration, Instant, SystemTime};

use els_protocol::Timestamp;

/// The time of one run. The wall clock is read once, so that one run has one now.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    now: Timestamp,
    deadline: Instant,
}

impl Clock {
    /// Starts the run: all waiting together may take `timeout`.
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn start(timeout: Duration) -> Self {
        Clock { now: SystemTime::now().into(), deadline: Instant::now() + timeout }
    }

    /// The wall clock at the start of the run.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What is left of the time-out.
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The instant that is `after` from now: the end of one step's time.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub(crate) fn deadline(after: Duration) -> Instant {
    Instant::now() + after
}

/// How long it is until then; nothing if it is past.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub(crate) fn until_then(then: Instant) -> Duration {
    then.saturating_duration_since(Instant::now())
}
