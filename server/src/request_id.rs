//! Names for requests: unique, short enough to be read out on the telephone, and of no meaning.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

/// Gives each request of this process a name.
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of this process: they begin with four random bytes, so that nodes and restarts do not share ids.
    #[expect(clippy::new_without_default, reason = "each call makes other ids")]
    pub fn new() -> Self {
        let mut bytes = [0; 4];
        #[expect(clippy::disallowed_methods, reason = "a name is no secret and no key")]
        // Without randomness (there is none that early at boot, if ever) the names are still unique in this process.
        let _ = getrandom::fill(&mut bytes);
        RequestIds { process: u32::from_be_bytes(bytes), next: AtomicU64::new(1) }
    }

    /// The next name.
    pub fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = bytes::BytesMut::with_capacity(24);
        let _ = write!(text, "{:08x}-{number:x}", self.process);
        HeaderValue::from_maybe_shared(text.freeze()).expect("hexadecimal digits and a dash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: wire-headers
    #[test]
    fn names_are_unique_and_plain() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let names: std::collections::HashSet<_> = (0..100).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(names.len(), 200);
        assert!(names.iter().all(|name| name.to_str().unwrap().len() <= 24));
    }
}
