//! The language that a person reads, chosen by the locale, and how many columns a text takes on a terminal.
//!
//! It must not know any sentence.

use std::ffi::OsString;

/// A language that `messages` has. JSON documents and logs are always in English.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Japanese,
}

impl Language {
    /// The language of this process's locale.
    pub fn of_environment() -> Self {
        Self::of_locale(|name| std::env::var_os(name))
    }

    /// The language that these variables choose: the first of them that is not empty decides, as in setlocale(3).
    pub fn of_locale(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
        // language[_territory][.charset][@modifier]
        let locale = set.and_then(|value| value.into_string().ok()).unwrap_or_default();
        let locale = locale.split('@').next().unwrap_or_default();
        let (name, charset) = locale.split_once('.').unwrap_or((locale, "UTF-8"));
        let utf8 = charset.eq_ignore_ascii_case("UTF-8") || charset.eq_ignore_ascii_case("UTF8");
        if utf8 && name.split('_').next() == Some("ja") { Language::Japanese } else { Language::English }
    }
}

/// How many columns of a terminal a text takes: two for a wide character, none for one that combines with another.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The text with spaces behind it, so that it takes at least `columns` columns.
pub fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The wide ranges of Unicode's EastAsianWidth.txt (16.0) that are used in Japanese and its neighbours, and emoji.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0x3099..=0x309a | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x4dbf | 0x4e00..=0xa4cf | 0xac00..=0xd7a3 => 2,
        0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff01..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(set: &[(&str, &str)]) -> Language {
        Language::of_locale(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    }

    /// Promise: language
    #[test]
    fn japanese_is_chosen_by_name_and_only_with_utf_8() {
        for locale in ["ja", "ja_JP", "ja_JP.UTF-8", "ja_JP.utf8", "ja.UTF-8", "ja@x", "ja_JP@x", "ja_JP.UTF-8@x"] {
            assert_eq!(language(&[("LANG", locale)]), Language::Japanese, "{locale}");
        }
        for locale in [
            "",
            "C",
            "POSIX",
            "C.UTF-8",
            "en_US.UTF-8",
            "ja_JP.eucJP",
            "ja_JP.ujis",
            "ja_JP.SJIS",
            "ja_JP.eucJP@x",
            "ja.",
            "japanese",
            "jam_JM.UTF-8",
            "JA_JP.UTF-8",
        ] {
            assert_eq!(language(&[("LANG", locale)]), Language::English, "{locale}");
        }
    }

    /// Promise: language
    #[test]
    fn the_first_variable_that_is_not_empty_decides() {
        let ja = "ja_JP.UTF-8";
        assert_eq!(language(&[]), Language::English);
        assert_eq!(language(&[("LC_ALL", "C"), ("LC_MESSAGES", ja), ("LANG", ja)]), Language::English);
        assert_eq!(language(&[("LC_ALL", ""), ("LC_MESSAGES", ja), ("LANG", "C")]), Language::Japanese);
        assert_eq!(language(&[("LC_MESSAGES", "en_US.UTF-8"), ("LANG", ja)]), Language::English);
        assert_eq!(language(&[("LC_CTYPE", ja), ("LANGUAGE", "ja")]), Language::English);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        for (text, columns) in
            [("", 0), ("els", 3), ("登録ID", 6), ("「キー」、。", 12), ("ｷｰ", 2), ("か\u{3099}", 2), ("😀", 2)]
        {
            assert_eq!(width(text), columns, "{text}");
        }
        assert_eq!(padded("登録", 6), "登録  ");
        assert_eq!(padded("registration", 6), "registration");
    }
}
