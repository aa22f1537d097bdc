//! The seat-counting backend of els-register.
//!
//! `commands` is what the administrator types. One of them, `serve`, starts the `api` for machines, the `gate` of the
//! repositories, and `upkeep`. The seat rules and the databases are in `els_ledger`; what any HTTP service needs is in
//! `els_server`. Each module's header says what it owns and what it must not know.

#![allow(missing_docs, reason = "the crate of one program: a name that says enough needs no comment")]

pub mod admin_api;
pub mod api;
pub mod cli;
pub mod clock;
pub mod commands;
mod credential;
mod dates;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gate;
pub mod metrics;
mod output;
pub mod products;
pub mod repo_url;
mod routes;
mod secrets;
pub mod serve;
mod upkeep;
