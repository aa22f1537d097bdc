//! The tests with real parts: the agent's program, the backend's program, dnf, rpm, gpg, squid, nginx and Caddy.
//!
//! `harness` owns every part that more than one test uses; each other module is one promise to the customer, tried from
//! end to end. A part that is missing on this computer fails the test and says what to install; nothing is skipped.

#![allow(clippy::disallowed_methods, reason = "these rules are the agent's")]

mod agent_answers;
mod agent_console;
mod agent_files;
mod agent_input;
mod agent_journal;
mod agent_machine;
mod agent_network;
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
mod proxies;
mod seats;
mod trust;
mod web_servers;
