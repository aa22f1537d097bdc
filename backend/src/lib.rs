//! The seat-counting backend of els-register.
//!
//! `license` holds the seat rules and nothing else; `store` keeps keys, seats and the audit trail; `commands` is what
//! the administrator types; `http` is the wire and `gate` the repositories' door, which `serve` starts. Each module says
//! in its header what it owns and what it must never know.

pub mod api;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod dates;
pub mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gate;
pub mod metrics;
mod output;
pub mod products;
pub mod repo_url;
pub mod serve;
