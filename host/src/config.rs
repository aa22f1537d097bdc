//! What every program's settings have in common: a TOML file whose mistakes are named without their values.
//!
//! It must not know which settings there are.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};

/// The time-out where nothing is set, in seconds.
pub const DEFAULT_TIMEOUT: u64 = 60;

/// Reads a file's text. Errors name the line and the key, never a value: one may be a proxy's password.
pub fn parse<T: DeserializeOwned>(path: &str, content: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(content).map_err(|_| Failure::usage(format!("{path}: it is no UTF-8 text")))?;
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(|| path.to_owned(), |line| format!("{path}: line {line}"));
        let message = error.message().split(": ").next().unwrap_or_default();
        let key = line.and_then(|line| text.lines().nth(line - 1)).and_then(|line| line.split_once('='));
        let key = key.map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && key.bytes().all(is_key_byte));
        match key {
            Some(key) => Failure::usage(format!("{place}: {key}: {message}")),
            None => Failure::usage(format!("{place}: {message}")),
        }
    })
}

/// The time-out: the option, else the setting, else the default. `option` and `setting` are named in errors.
pub fn timeout(option: Option<&str>, setting: Option<u64>, named: [&str; 2]) -> Result<Duration> {
    let wrong = |name: &str| Failure::usage(format!("{name}: it must be 1 to 86400 seconds"));
    let (seconds, name) = match (option, setting) {
        (Some(text), _) => (text.parse().map_err(|_| wrong(named[0]))?, named[0]),
        (None, setting) => (setting.unwrap_or(DEFAULT_TIMEOUT), named[1]),
    };
    if (1..=86_400).contains(&seconds) { Ok(Duration::from_secs(seconds)) } else { Err(wrong(name)) }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
