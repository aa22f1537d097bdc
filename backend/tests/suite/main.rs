//! The tests of els-backend from outside: the wire through real sockets, and the built binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod admin_api;
mod admin_keys;
mod books;
mod commands;
mod copies;
mod crash_disk;
mod crash_kill;
mod crash_postgres;
mod crash_power;
mod gate_auth;
mod gate_memory;
mod gate_repo;
mod hostile_connections;
mod hostile_keys;
mod hostile_lists;
mod hostile_log;
mod hostile_readers;
mod http_hostile;
mod http_limits;
mod http_store;
mod http_tls;
mod http_wire;
mod http_world;
mod linear_check;
mod linear_history;
mod linear_model;
mod nodes;
mod nodes_switch;
mod restored;
mod roles;
mod serve;
