//! What any HTTP service of ours needs: listeners, TLS, peers, credentials, request targets, limits and logs.
//!
//! It must not know keys, seats, products or databases: a service brings a function from requests to answers.

pub mod credential;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod limits;
pub mod listener;
pub mod logs;
pub mod path;
pub mod peer;
pub mod request_id;
mod stall;
pub mod tls;
