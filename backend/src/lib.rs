//! The seat-counting backend of els-register.
//!
//! `license` holds the seat rules and nothing else; `store` keeps keys, seats and the audit trail; `commands` is what
//! the administrator types. Each module says in its header what it owns and what it must never know.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod database;
pub mod dates;
pub mod failure;
pub mod license;
mod output;
pub mod store;
