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
mod memory;
pub mod metrics;
mod network;
pub mod path;
pub mod peer;
mod places;
pub mod private;
pub mod problem;
mod progress;
pub mod request_id;
pub mod response;
mod stall;
pub mod tls;
