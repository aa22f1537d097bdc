//! The log of a service: one line per event on standard error, as JSON, or as text on a terminal.
//!
//! Owns format and level. The code that writes an event decides what is in it. A log must never contain a secret, an
//! `Authorization` header, a user name or a body.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// Starts the log of this process. Further calls change nothing.
pub fn start() {
    let registry = Registry::default().with(LevelFilter::INFO);
    let layer = fmt::layer().with_writer(io::stderr).with_target(false);
    // An error means that a log is running already: it is used.
    let _ = match io::stderr().is_terminal() {
        true => registry.with(layer.with_ansi(std::env::var_os("NO_COLOR").is_none())).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}
