//! What tests need that try many cases, or work while something else runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Numbers that look random and are the same in each run (Knuth's multiplier).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % sides
    }
}

/// Whether to run the full sweeps, whose figures are in docs/developer/reliability.md, instead of the sample of `make test`.
pub fn soak() -> bool {
    std::env::var_os("ELS_SOAK").is_some()
}

/// Sets the flag when it is dropped, also when the test fails, so that threads that wait for it end.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls `ask` until it returns something, for at most a minute.
pub fn within_a_minute<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = ask() {
            return found;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within a minute");
}

/// Lets this process, and those that it starts, open this many files.
pub fn open_files(wanted: usize) {
    let wanted = wanted as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let set = setrlimit(Resource::RLIMIT_NOFILE, hard.max(wanted), hard.max(wanted));
    set.unwrap_or_else(|_| panic!("{wanted} open files are needed, and no more than {hard} allowed: ulimit -Hn"));
}
