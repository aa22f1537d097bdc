//! The tests of the ledger through its public interface: the seat rules in every small case, and the store on each database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod copies;
mod store;
mod who_is_who;
