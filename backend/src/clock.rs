//! The time of day. Owns the one call that reads it; everything else is told the time.

use els_protocol::Timestamp;

/// The time of day, to the second.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    Timestamp::from(std::time::SystemTime::now())
}
