//! What every HTTP service of ours needs: listener, TLS, peers, limits, request targets, files, problem documents, metrics.
//!
//! It must not know keys, seats, products or databases. A service brings a function from requests to responses.

pub mod body;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod limits;
pub mod listener;
pub mod logs;
pub mod metrics;
pub mod path;
pub mod peer;
pub mod problem;
pub mod request_id;
pub mod response;
mod stall;
pub mod tls;
