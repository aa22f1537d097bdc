//! The tests of the agent with real programs: els-register, els-backend, dnf, rpm, gpg, squid, nginx and Caddy.
//!
//! Each module tests one promise to the customer from end to end; the parts that tests share are in `els-testkit`. A program
//! that is missing on this computer fails the test, with what to install; no test is skipped.

#![allow(clippy::disallowed_methods, reason = "these rules are the agent's")]

mod agent_answers;
mod agent_console;
mod agent_containers;
mod agent_files;
mod agent_input;
mod agent_journal;
mod agent_machine;
mod agent_network;
mod agent_seat_moves;
mod agent_seats;
mod agent_system;
mod agent_warnings;
mod alike;
mod ansible;
mod contract_ends;
mod crash_sweep;
mod examples;
mod first_boot;
mod footprint;
mod golden;
mod hostile_machine;
mod hostile_members;
mod hostile_network;
mod installed;
mod lost_messages;
mod moving_in;
mod packages;
mod pinned_release;
mod proxies;
mod seats;
mod side_by_side;
mod tls_in_words;
mod trust;
mod web_servers;
