//! The parts that tests are built of: certificates, backends, PostgreSQL clusters, signed repositories, machines with their
//! dnf, proxies, web servers and hostile servers.
//!
//! Every part has a temporary folder and ports of its own, so that tests run in parallel. It ends with the value that
//! represents it, also when the test panics. This crate knows programs and files; it must not know what they should do:
//! that is for the tests.

#![allow(missing_docs, reason = "the names say it, and only tests read them")]
#![allow(clippy::new_without_default, reason = "each machine, each site is another one")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod backend;
mod booted;
pub mod cluster;
mod dnf;
pub mod http;
mod machine;
mod process;
mod programs;
pub mod relay;
mod repository;
mod rpms;
pub mod scripted;
mod seat_model;
pub mod shown;
pub mod site;
mod squid;
pub mod store;
pub mod sweep;
mod tls;
mod web_server;

pub use backend::{Backend, Key, Settings};
pub use booted::Booted;
pub use dnf::MOUNT_USR;
pub use machine::Machine;
pub use process::{Run, ends_with_its_thread, folder, program, run, run_with_input, wait_until};
pub use programs::{PROJECT, agent_program, backend_program};
pub use repository::Repository;
pub use rpms::{AGENTS, Rpm, release_agent, rpm_file};
pub use seat_model::SeatModel;
pub use squid::{Access, SQUID_ADDRESS, Squid};
pub use tls::Authority;
pub use web_server::{Kind, WebServer};
