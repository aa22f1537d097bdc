//! What the chores of this workspace (`cargo xtask`) read from the agent: its command line, its exit statuses, and the rules
//! for the files that a vendor replaces.
//!
//! The program itself does not use it. It owns no rule: each one is where the program keeps it.

use clap::CommandFactory as _;
use els_protocol::BaseUrl;

pub use crate::exit::{MEANINGS, Meaning};
pub use crate::repo::PROBED_SECTION;

/// Where the key is on a registered machine that signs the repositories' metadata.
pub const KEY_PATH: &str = crate::repo::KEY.path;

/// The command line of the agent, not yet built.
pub fn command() -> clap::Command {
    crate::cli::Options::command()
}

/// What is wrong with the text of a `NAME.vars`, if anything.
pub fn variables_fault(text: &str) -> Option<&'static str> {
    crate::vendor::pinned(text).err()
}

/// Judges the text of a configuration file as a run does, and returns its server.
pub fn configured_server(path: &str, content: &[u8]) -> Result<Option<BaseUrl>, String> {
    crate::config::check(path, content).map_err(|failure| crate::messages::failure(&failure))
}
