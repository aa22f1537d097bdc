//! The parts of which tests build a small world: certificates, a backend, a signed repository, machines with their dnf,
//! proxies and web servers.
//!
//! Every part lives in a temporary folder and on ports of its own, so that tests run beside each other, and ends with the
//! value that stands for it, also when the test panics. The harness knows programs and files; what they ought to do is
//! for the tests to say.

mod backend;
mod booted;
mod dnf;
mod machine;
mod process;
mod repository;
mod rpms;
pub mod scripted;
mod squid;
mod tls;
mod web;

pub use backend::{Backend, Key, Settings, agent_program, backend_program};
pub use booted::Booted;
pub use machine::Machine;
pub use process::{Run, ends_with_its_thread, folder, program, run, run_with_input, wait_until};
pub use repository::Repository;
pub use rpms::{AGENTS, Rpm, release_agent, rpm_file};
pub use squid::{Access, SQUID_ADDRESS, Squid};
pub use tls::Authority;
pub use web::{Kind, WebServer};
