//! What every program's settings have in common: a TOML file whose mistakes are named without their values.
//!
//! It must not know which settings there are.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result, SettingFault};

/// The time-out where nothing is set, in seconds.
pub const DEFAULT_TIMEOUT: u64 = 60;

/// Reads a file's text. Errors name the line and the key, never a value: one may be a proxy's password.
pub fn parse<T: DeserializeOwned>(path: &str, content: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(content).map_err(|_| Failure::setting(path, SettingFault::NotUtf8))?;
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error.message().split(": ").next().unwrap_or_default().to_owned();
        let key = line.and_then(|line| text.lines().nth(line - 1)).and_then(|line| line.split_once('='));
        let key = key.map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && key.bytes().all(is_key_byte));
        Failure::setting(path, SettingFault::Toml { line, key: key.map(str::to_owned), message })
    })
}

/// What can be read of a file that [`parse`] refuses: the lines that are right by themselves. `T` must accept an empty file.
pub fn salvage<T: DeserializeOwned + Default>(content: &[u8]) -> T {
    let text = String::from_utf8_lossy(content);
    let (mut kept, mut found) = (String::new(), T::default());
    for line in text.lines().filter(|line| line.contains('=')) {
        let more = format!("{kept}{line}\n");
        if let Ok(read) = toml::from_str(&more) {
            (kept, found) = (more, read);
        }
    }
    found
}

/// The time-out: the option, else the setting, else the default. `option` and `setting` come with their names.
pub fn timeout(option: (&str, Option<&str>), setting: (&str, Option<u64>)) -> Result<Duration> {
    let (name, seconds) = match option {
        (name, Some(text)) => (name, text.parse().ok()),
        (_, None) => (setting.0, Some(setting.1.unwrap_or(DEFAULT_TIMEOUT))),
    };
    let seconds = seconds.filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| Failure::setting(name, SettingFault::Timeout))
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_with_mistakes_the_lines_that_are_right_are_read() {
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Two {
            a: Option<String>,
            b: Option<u64>,
        }
        let both = Two { a: Some("x".into()), b: Some(1) };
        for text in [
            &b"a = \"x\"\nb = 1\n"[..],
            b"# caf\xe9\na = \"x\"\nlater = true\nb = 1\n[section]\n",
            b"b = \"one\"\na = 'x'\na = 'y'\nb = 1\n\0\n",
            b"a = \"x\"\na = \"unfinished\nb = 1\nb = [\n",
        ] {
            assert_eq!(salvage::<Two>(text), both, "{}", text.escape_ascii());
        }
        assert_eq!(salvage::<Two>(b"\xff\xfea\0=\0"), Two::default());
    }

    #[test]
    fn a_timeout_is_1_to_86400_seconds_and_the_setting_that_was_typed_is_named() {
        let name = |option, setting| match timeout(("--timeout", option), ("/c: timeout", setting)) {
            Err(Failure::Setting { name, fault: SettingFault::Timeout }) => name,
            other => panic!("{other:?}"),
        };
        for wrong in ["0", "86401", "-1", "x", ""] {
            assert_eq!(name(Some(wrong), Some(0)), "--timeout", "{wrong}");
        }
        assert_eq!(name(None, Some(0)), "/c: timeout");
        for (option, setting, seconds) in [(None, None, 60), (Some("1"), Some(0), 1), (None, Some(86_400), 86_400)] {
            let found = timeout(("--timeout", option), ("/c: timeout", setting));
            assert_eq!(found, Ok(Duration::from_secs(seconds)));
        }
    }
}
