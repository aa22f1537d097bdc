//! The memory of the process stays private: it has keys, tokens and the password of a database.
//!
//! Owns what the process gives up for that, in its unit and outside of it.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// From now on there are no core dumps, and no process of the same user can trace this one. A system that cannot do it does not
/// keep the program from its work.
pub fn give_up_dumps() {
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
