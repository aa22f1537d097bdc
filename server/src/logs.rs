//! The log of `serve`: one line an event on standard error, JSON for machines, text for a terminal.
//!
//! Owns form and level. What must never be in a log is decided where events are made, and tested over everything: no
//! key, token, `Authorization`, user name (the registration id at the gate) or body.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// Starts the log of this process. Once it runs, further calls change nothing.
pub fn start() {
    let registry = Registry::default().with(LevelFilter::INFO);
    let layer = fmt::layer().with_writer(io::stderr).with_target(false);
    // An error here means that a log runs already: then that one is used.
    let _ = match io::stderr().is_terminal() {
        true => registry.with(layer.with_ansi(std::env::var_os("NO_COLOR").is_none())).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}
