//! The time of day. The only place that reads it: all other code gets the time as a parameter.

use std::sync::Arc;

use els_protocol::Timestamp;

/// A source of the time. Tests set their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The time of day, to the second.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    Timestamp::from(std::time::SystemTime::now())
}
