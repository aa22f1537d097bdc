//! Request ids: unique, short enough to read out on the telephone, without meaning.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

/// Makes the request ids of this process.
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// A new sequence. Four random bytes begin each id, so that nodes and restarts do not share ids.
    pub fn start() -> Self {
        let mut bytes = [0; 4];
        #[expect(clippy::disallowed_methods, reason = "a request id is not a secret")]
        // Without randomness (early at boot) the ids are still unique in this process.
        let _ = getrandom::fill(&mut bytes);
        RequestIds { process: u32::from_be_bytes(bytes), next: AtomicU64::new(1) }
    }

    /// The next request id.
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
    fn request_ids_are_unique_and_short() {
        let (one, other) = (RequestIds::start(), RequestIds::start());
        let ids: std::collections::HashSet<_> = (0..100).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|id| id.to_str().unwrap().len() <= 24));
    }
}
