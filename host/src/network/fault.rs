//! How far a request came and what went wrong: what all parts of a connection report.
//!
//! It must not know how connections are opened or what is sent over them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::tls::tls_fault;
use crate::failure::{NetworkFault, Stage};

/// What went wrong, and when.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) stage: Stage,
    pub(crate) fault: NetworkFault,
}

/// The stage that was reached last, shared between the parts of one agent. One request runs at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    stage: Arc<AtomicU8>,
}

/// A fault on its way through the HTTP library.
#[derive(Debug)]
pub(crate) struct Carried(pub(crate) Fault);

impl Progress {
    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn reached(&self) -> Stage {
        const STAGES: [Stage; 5] = [Stage::Resolve, Stage::Connect, Stage::Proxy, Stage::Tls, Stage::Established];
        STAGES[usize::from(self.stage.load(Ordering::Relaxed)).min(STAGES.len() - 1)]
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection could not be opened")
    }
}

impl std::error::Error for Carried {}

/// An I/O error as data.
pub(crate) fn io_fault(error: &io::Error) -> NetworkFault {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return NetworkFault::Tls(tls_fault(error));
    }
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::UnexpectedEof, _) => NetworkFault::ClosedEarly,
        (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock, _) => NetworkFault::TimedOut,
        (_, Some(code)) => NetworkFault::Os(nix::errno::Errno::from_raw(code)),
        (_, None) => NetworkFault::Other(error.to_string()),
    }
}
