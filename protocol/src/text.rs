//! Texts with rules of their own: labels, repo file names, and what came from elsewhere and is to be shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// What an administrator calls a machine: 1 to 128 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(
        value_type = String,
        min_length = 1,
        max_length = 128,
        // What `is_unsafe` says, in the regular expressions of ECMA 262.
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]+$"
    )
)]
pub struct Label(String);

/// Why a text is not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelError {
    /// It has no character.
    Empty,
    /// It has more than 128 characters: this many.
    TooLong(usize),
    /// It has control characters.
    ControlCharacters,
}

impl Label {
    /// Checks length and characters; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        match text.chars().count() {
            0 => Err(LabelError::Empty),
            1..=128 if text.chars().any(is_unsafe) => Err(LabelError::ControlCharacters),
            1..=128 => Ok(Label(text.to_owned())),
            length => Err(LabelError::TooLong(length)),
        }
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelError::Empty => f.write_str("a label has at least one character"),
            LabelError::TooLong(length) => write!(f, "a label has at most 128 characters, this one {length}"),
            LabelError::ControlCharacters => f.write_str("a label has no control characters"),
        }
    }
}

impl std::error::Error for LabelError {}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Label::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The name of a shipped repo file, without folder and ending: `[a-z0-9][a-z0-9.-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^[a-z0-9][a-z0-9.-]{0,63}$")
)]
pub struct RepoFile(String);

impl RepoFile {
    /// Checks the name; `None` for one that could not be a shipped file's.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (first, rest) = text.as_bytes().split_first()?;
        (plain(*first) && rest.len() <= 63 && rest.iter().all(|byte| plain(*byte) || b".-".contains(byte)))
            .then(|| RepoFile(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RepoFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RepoFile::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of a repo file"))
    }
}

/// `text` fit for a terminal, a log line or a document: every control character and every mark that hides text or
/// changes its direction becomes U+FFFD, and the whole is cut after `most` characters.
pub fn clean(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: label
    #[test]
    fn labels_are_short_and_plain() {
        assert_eq!(Label::parse("web 1 (Tōkyō)").unwrap().as_str(), "web 1 (Tōkyō)");
        for bad in ["", "a\nb", "a\u{1b}[31m", "a\u{9b}2J", &"x".repeat(129)] {
            assert!(Label::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// Promise: files-backend-names
    #[test]
    fn repo_file_names_cannot_leave_their_folder() {
        assert!(RepoFile::parse("els-almalinux-9.6").is_some());
        for bad in ["", "../x", ".hidden", "-x", "a/b", "A", "a_b", &"a".repeat(65)] {
            assert_eq!(RepoFile::parse(bad), None, "{bad}");
        }
    }

    /// Promise: terminal-safe
    #[test]
    fn cleaned_text_cannot_steer_a_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}c\u{202e}d\n", 99), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}");
        assert_eq!(clean("abcdef", 3), "abc…");
    }
}
