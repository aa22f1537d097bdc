//! License keys: how one is written, checked and made.

use std::fmt;

use crate::hash::{Sha256Hex, hex, hmac_sha256};
use crate::secret::Secret;
use crate::token::Token;

/// Crockford's base 32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters and digits after `ELS` in a key of our making: 24 random ones and the check symbol.
const BODY: usize = 25;
const PREFIX: &str = "ELS";

/// A license key in its one canonical form. It is a secret: it is never stored on a machine, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct LicenseKey(Secret);

/// Why a text is not a license key. The message never contains the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Nothing but white space.
    Empty,
    /// Fewer than 8 characters, after trimming.
    TooShort(usize),
    /// More than 128 characters, after trimming.
    TooLong(usize),
    /// A character that no key has: which, and its place counted from 1.
    BadCharacter(char, usize),
    /// The first character is `-` or `_`.
    BadStart(char),
    /// A key of our making whose check symbol does not fit: something was mistyped.
    CheckSymbol,
}

/// What a character is that no key has. It may be invisible or look like another: keys are pasted from PDFs and mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OddCharacter {
    /// A visible ASCII character.
    Plain,
    /// A space of any width, except those below.
    Space,
    /// A tab.
    Tab,
    /// The end of a line.
    LineBreak,
    /// A space at which no line is broken.
    NoBreakSpace,
    /// A space without a width.
    ZeroWidthSpace,
    /// A hyphen that is shown only at the end of a line.
    SoftHyphen,
    /// A dash or minus sign other than `-`.
    Dash,
    /// The full-width form of an ASCII character.
    FullWidth,
    /// A mark that changes the direction of text.
    DirectionMark,
    /// Any other control character.
    Control,
    /// A letter or sign of another script.
    Other,
}

impl OddCharacter {
    /// The kind of a character.
    pub fn of(c: char) -> Self {
        match c {
            ' ' => OddCharacter::Space,
            '\t' => OddCharacter::Tab,
            '\n' | '\r' => OddCharacter::LineBreak,
            '\u{a0}' | '\u{2007}' | '\u{202f}' => OddCharacter::NoBreakSpace,
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => OddCharacter::ZeroWidthSpace,
            '\u{ad}' => OddCharacter::SoftHyphen,
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => OddCharacter::Dash,
            '\u{ff01}'..='\u{ff5e}' => OddCharacter::FullWidth,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => OddCharacter::DirectionMark,
            c if c.is_control() => OddCharacter::Control,
            c if c.is_whitespace() => OddCharacter::Space,
            c if c.is_ascii_graphic() => OddCharacter::Plain,
            _ => OddCharacter::Other,
        }
    }
}

impl LicenseKey {
    /// Reads a key as people paste it: white space around it is dropped. A key of our making (`ELS` and 25 letters or
    /// digits, dashes aside) is brought into its canonical form and its check symbol is verified; every other key
    /// counts byte for byte.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = text.trim();
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if let Some((at, bad)) =
            key.chars().enumerate().find(|(_, c)| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_'))
        {
            return Err(KeyError::BadCharacter(bad, at + 1));
        }
        if let Some(start @ ('-' | '_')) = key.chars().next() {
            return Err(KeyError::BadStart(start));
        }
        match key.len() {
            0..=7 => Err(KeyError::TooShort(key.len())),
            8..=128 => canonical(key).map(|key| LicenseKey(Secret::new(key))),
            length => Err(KeyError::TooLong(length)),
        }
    }

    /// A new key of our making over 15 random bytes (120 bits).
    pub fn from_random(bytes: [u8; 15]) -> Self {
        // 120 bits are 24 symbols of five bits; the number is read from its top.
        let mut number = [0; 16];
        number[1..].copy_from_slice(&bytes);
        let number = u128::from_be_bytes(number);
        let mut symbols: Vec<u8> = (0..BODY - 1).rev().map(|at| (number >> (5 * at) & 31) as u8).collect();
        symbols.push(check_symbol(&symbols));
        LicenseKey(Secret::new(write(&symbols)))
    }

    /// The key in clear, in its canonical form.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What is stored of a key at the backend: SHA-256 of its canonical form. Keys of our making have 120 random
    /// bits, so that a slow hash would add nothing.
    pub fn hash(&self) -> Sha256Hex {
        Sha256Hex::of(self.expose().as_bytes())
    }

    /// The check value that an agent keeps: the first 12 hexadecimal digits of HMAC-SHA256(token, key). It tells
    /// whether a key is the one of a registration, and tells nothing about the key to a caller without a token.
    pub fn check_value(&self, token: &Token) -> String {
        hex(&hmac_sha256(token.expose().as_bytes(), self.expose().as_bytes())[..6])
    }
}

impl fmt::Debug for LicenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LicenseKey(REDACTED)")
    }
}

/// Whether a key is too short to be guarded by a plain hash: fewer than 20 characters. Keys of our making are longer.
pub fn is_weak(key: &LicenseKey) -> bool {
    key.expose().len() < 20
}

/// `key`, which holds only characters a key may have, in the form in which it counts.
fn canonical(key: &str) -> Result<String, KeyError> {
    let Some(body) = key.get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX)).map(|p| &key[p.len()..]) else {
        return Ok(key.to_owned());
    };
    let symbols: Vec<u8> = body.bytes().filter(|byte| *byte != b'-').collect();
    if symbols.len() != BODY || symbols.iter().any(|byte| !byte.is_ascii_alphanumeric()) {
        return Ok(key.to_owned());
    }
    let values: Vec<u8> = symbols.iter().map(|symbol| value(*symbol)).collect::<Option<_>>().ok_or_else(|| {
        let at = key.bytes().rposition(|byte| byte.eq_ignore_ascii_case(&b'U')).unwrap_or_default();
        KeyError::BadCharacter(key.as_bytes()[at] as char, at + 1)
    })?;
    if check_symbol(&values[..BODY - 1]) != values[BODY - 1] {
        return Err(KeyError::CheckSymbol);
    }
    Ok(write(&values))
}

/// The value (0 to 31) of a letter or digit; O reads as 0, I and L as 1. U is the one letter without a value.
fn value(symbol: u8) -> Option<u8> {
    let symbol = match symbol.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == symbol).map(|at| at as u8)
}

/// The Luhn mod 32 check of `values`: doubled from the right, every second one, digits of base 32 added up.
fn check_symbol(values: &[u8]) -> u8 {
    let sum: u32 = values
        .iter()
        .rev()
        .enumerate()
        .map(|(at, value)| {
            let addend = u32::from(*value) * if at % 2 == 0 { 2 } else { 1 };
            addend / 32 + addend % 32
        })
        .sum();
    ((32 - sum % 32) % 32) as u8
}

/// `ELS-` and the symbols in groups of five.
fn write(values: &[u8]) -> String {
    let mut key = String::from(PREFIX);
    for group in values.chunks(5) {
        key.push('-');
        key.extend(group.iter().map(|value| ALPHABET[usize::from(*value)] as char));
    }
    key
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Empty => write!(f, "the license key is empty"),
            KeyError::TooShort(length) => {
                write!(f, "the license key has {length} characters; a key has at least 8")
            }
            KeyError::TooLong(length) => write!(f, "the license key has {length} characters; a key has at most 128"),
            KeyError::BadCharacter(bad, at) => {
                write!(f, "character {at} of the license key is {}, which no key has", describe(*bad))
            }
            KeyError::BadStart(start) => write!(f, "the license key begins with '{start}'; part of it is missing"),
            KeyError::CheckSymbol => {
                write!(f, "the license key is mistyped: its last symbol does not fit the others")
            }
        }
    }
}

impl std::error::Error for KeyError {}

fn describe(c: char) -> String {
    let what = match OddCharacter::of(c) {
        OddCharacter::Plain => return format!("'{c}'"),
        OddCharacter::Space => "a space",
        OddCharacter::Tab => "a tab",
        OddCharacter::LineBreak => "a line break",
        OddCharacter::NoBreakSpace => "a no-break space",
        OddCharacter::ZeroWidthSpace => "an invisible (zero-width) space",
        OddCharacter::SoftHyphen => "an invisible soft hyphen",
        OddCharacter::Dash => "a Unicode dash; type a plain '-'",
        OddCharacter::FullWidth => "a full-width character; type it half-width",
        OddCharacter::DirectionMark => "an invisible text-direction mark",
        OddCharacter::Control => "a control character",
        OddCharacter::Other => "not a plain letter, digit, '-' or '_'",
    };
    format!("U+{:04X} ({what})", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear(text: &str) -> Result<String, KeyError> {
        LicenseKey::parse(text).map(|key| key.expose().to_owned())
    }

    /// Promise: key-spelling
    /// Promise: key-form
    #[test]
    fn a_key_of_our_making_is_read_in_any_spelling() {
        let key = LicenseKey::from_random([0x5a; 15]);
        let text = key.expose();
        assert_eq!(text.len(), 33);
        assert!(text.starts_with("ELS-"));
        let bare = text.replace('-', "");
        for spelling in [
            text.to_owned(),
            text.to_lowercase(),
            format!("  {text}\r\n"),
            bare.clone(),
            format!("els-{}", &bare[3..]),
            format!("{}-{}", &bare[..10], &bare[10..]),
        ] {
            assert_eq!(clear(&spelling).as_deref(), Ok(text), "{spelling}");
        }
    }

    /// Promise: key-spelling
    #[test]
    fn letters_that_look_like_digits_are_read_as_digits_only_in_the_body() {
        // 24 zeros have the check symbol 0.
        let zeros = "ELS-00000-00000-00000-00000-00000";
        assert_eq!(clear("eLS-oOoOo-00000-00000-00000-0000o").as_deref(), Ok(zeros));
        let ones = LicenseKey::from_random([0b0000_1000; 15]);
        let sloppy = format!("ELS{}", ones.expose()[3..].replace('1', "l"));
        assert_eq!(clear(&sloppy).as_deref(), Ok(ones.expose()));
        assert_eq!(clear("E1S-00000-00000-00000-00000-00000").as_deref(), Ok("E1S-00000-00000-00000-00000-00000"));
    }

    /// Promise: key-mistyped
    /// Promise: key-form
    #[test]
    fn every_single_mistyped_symbol_and_most_swaps_are_caught() {
        let key = LicenseKey::from_random([7, 99, 3, 250, 18, 77, 4, 6, 200, 91, 33, 5, 61, 170, 2]);
        let text = key.expose();
        for at in 4..text.len() {
            for symbol in ALPHABET {
                let mut wrong = text.as_bytes().to_vec();
                if wrong[at] == b'-' || wrong[at] == *symbol {
                    continue;
                }
                wrong[at] = *symbol;
                let wrong = String::from_utf8(wrong).unwrap();
                assert_eq!(clear(&wrong), Err(KeyError::CheckSymbol), "{wrong}");
            }
        }
    }

    /// Promise: key-spelling
    #[test]
    fn other_keys_count_byte_for_byte() {
        for key in ["abcdefgh", "ELS-1234", "TUX_care-KEY-0O1l", "ELS-U0000-00000-00000-00000-0000", &"k".repeat(128)] {
            assert_eq!(clear(key).as_deref(), Ok(key));
        }
    }

    /// Promise: key-mistyped
    #[test]
    fn a_text_that_is_not_a_key_is_named() {
        assert_eq!(clear(" \n"), Err(KeyError::Empty));
        assert_eq!(clear("abc"), Err(KeyError::TooShort(3)));
        assert_eq!(clear(&"k".repeat(129)), Err(KeyError::TooLong(129)));
        assert_eq!(clear("-abcdefgh"), Err(KeyError::BadStart('-')));
        assert_eq!(clear("ELS-U0000-00000-00000-00000-00000"), Err(KeyError::BadCharacter('U', 5)));
        for (text, word) in [
            ("ELS-\u{ff11}2345678", "full-width"),
            ("ELS\u{2013}12345678", "Unicode dash"),
            ("ELS-1234\u{200b}5678", "zero-width"),
            ("ELS-1234 5678", "space"),
            ("ELS-1234\u{1b}5678", "control"),
            ("ELS-1234/5678", "'/'"),
        ] {
            let message = clear(text).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
            assert!(!message.chars().any(char::is_control), "{message}");
        }
    }

    /// Promise: ids-check-value
    #[test]
    fn the_check_value_is_twelve_digits_and_needs_the_token() {
        let key = LicenseKey::parse("TEST-KEY-1").unwrap();
        let (one, two) = (Token::from_random([1; 32]), Token::from_random([2; 32]));
        assert_eq!(key.check_value(&one).len(), 12);
        assert_eq!(key.check_value(&one), key.check_value(&one));
        assert_ne!(key.check_value(&one), key.check_value(&two));
    }
}
