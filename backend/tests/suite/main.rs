//! The tests of els-backend from outside: the store behind its interface, and the built binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to stop there")]

mod commands;
mod store;
