//! What one connection does, and since when: written by its task, read by the connection that needs its place.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has no request under way: it is in its TLS handshake, idle, or in the middle of a request head.
    Idle = 0,
    /// Its request is being handled.
    Waiting = 1,
    /// Its response is being sent.
    Sending = 2,
}

/// The state of one connection. Each field may be read while another one changes: the reader only estimates.
pub(crate) struct Progress {
    accepted: Instant,
    phase: AtomicU8,
    /// Milliseconds from `accepted` to the start of the phase.
    since: AtomicU64,
    /// Bytes written to the socket in this phase.
    sent: AtomicU64,
    /// Set when the connection loses its place.
    evicted: AtomicBool,
    changed: Notify,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress {
            accepted: Instant::now(),
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let since = u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Waiting,
            _ => Phase::Sending,
        }
    }

    /// How long ago the connection was accepted.
    pub(crate) fn age(&self) -> Duration {
        self.accepted.elapsed()
    }

    /// How long the present phase has lasted.
    pub(crate) fn in_phase(&self) -> Duration {
        self.age().saturating_sub(Duration::from_millis(self.since.load(Ordering::Relaxed)))
    }

    /// Bytes a second that the client has taken of its response so far.
    pub(crate) fn rate(&self) -> u64 {
        let millis = u64::try_from(self.in_phase().as_millis()).unwrap_or(u64::MAX).max(1);
        self.sent.load(Ordering::Relaxed).saturating_mul(1000) / millis
    }

    pub(crate) fn evict(&self) {
        self.evicted.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Returns when the connection has lost its place.
    pub(crate) async fn evicted(&self) {
        while !self.is_evicted() {
            self.changed.notified().await;
        }
    }
}
