//! The tests of els-backend from outside: the store behind its interface, and the built binary.

mod store;
