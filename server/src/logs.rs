//! The log of a service: one line per event on standard error, as JSON, or as text on a terminal.
//!
//! Owns format, level and the way to standard error. The code that writes an event decides what is in it. A log must never
//! contain a secret, an `Authorization` header, a user name or a body.
//!
//! No request waits for the log: lines go through a bounded queue to a thread of their own. If the reader of standard error
//! is too slow, lines are lost and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{LazyLock, OnceLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// Starts the log of this process. Further calls change nothing.
pub fn start() {
    if QUEUE.get().is_some() {
        return;
    }
    let (queue, lines) = sync_channel(LINES_MOST);
    if Builder::new().name("log".into()).spawn(move || copy(&lines, io::stderr())).is_err() || QUEUE.set(queue).is_err()
    {
        return;
    }
    let registry = Registry::default().with(LevelFilter::INFO);
    let layer = fmt::layer().with_writer(Lines).with_target(false);
    // An error means that a log is running already: it is used.
    let _ = match io::stderr().is_terminal() {
        true => registry.with(layer.with_ansi(std::env::var_os("NO_COLOR").is_none())).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // The default hook writes to standard error itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
}

/// Waits until all lines so far are written, but not long: the process ends although nobody reads its log.
pub fn finish() {
    let until = Instant::now() + FINISH_MOST;
    while let Some(queue) = QUEUE.get() {
        let (written, done) = sync_channel(1);
        match queue.try_send(Entry::Mark(written)) {
            Ok(()) => {
                let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
                return;
            }
            Err(_) if Instant::now() > until => return,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Counts the lines that were lost because the reader of standard error is too slow.
pub fn lines_lost() -> Counter {
    LOST.clone()
}

/// Which of many similar lines are written: all up to a rate, then a sample.
#[derive(Default)]
pub struct Sampler {
    second: AtomicU64,
    lines: AtomicU32,
    skipped: AtomicU64,
}

impl Sampler {
    /// Whether to write a line in this second (of any clock), and how many were skipped before it.
    pub fn take(&self, second: u64) -> Option<u64> {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        let line = self.lines.fetch_add(1, Ordering::Relaxed);
        if line < EACH_SECOND || line.is_multiple_of(ONE_IN) {
            Some(self.skipped.swap(0, Ordering::Relaxed))
        } else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

enum Entry {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Mark(SyncSender<()>),
}

/// Takes whole lines from `tracing`.
struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        Lines
    }
}

impl Write for Lines {
    /// The formatter writes each event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(queue) = QUEUE.get()
            && let Err(TrySendError::Full(_)) = queue.try_send(Entry::Line(line.to_vec()))
        {
            LOST.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copy(lines: &Receiver<Entry>, mut to: impl Write) {
    while let Ok(entry) = lines.recv() {
        match entry {
            Entry::Line(line) => {
                if to.write_all(&line).is_err() {
                    LOST.inc();
                }
            }
            Entry::Mark(written) => drop(written.send(())),
        }
    }
}

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();
static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);
/// About 3 MiB.
const LINES_MOST: usize = 10_000;
const FINISH_MOST: Duration = Duration::from_secs(2);
/// Lines of a sampler that are all written.
const EACH_SECOND: u32 = 50;
/// Beyond that, one line for this number of refusals.
const ONE_IN: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: log-never-blocks
    #[test]
    fn beyond_a_rate_one_line_in_a_hundred_is_written_and_says_how_many_were_not() {
        let sampler = Sampler::default();
        let taken: Vec<u64> = (0..1000).filter_map(|_| sampler.take(7)).collect();
        assert_eq!(taken.len(), 50 + 9);
        assert_eq!(taken.iter().sum::<u64>() + taken.len() as u64, 901);
        assert_eq!(sampler.take(8), Some(99), "another second");
        assert_eq!(sampler.take(8), Some(0));
    }
}
