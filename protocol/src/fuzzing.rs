//! Fuzz targets: what both sides read, and what must hold of it whatever it is.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled for these two alone.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::{RegisterRequest, Registration, SeatList};
use crate::{
    BaseUrl, Label, LicenseKey, MachineId, Problem, RegistrationId, RepoFile, Sha256Hex, Timestamp, Token, clean,
};

/// A target: its name, which is that of its corpus, and what takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] =
    &[("protocol-key", key), ("protocol-words", words), ("protocol-url", url), ("protocol-wire", wire)];

/// A license key that is taken is in its one form; one of our making is read in any spelling, and in no wrong one.
fn key(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        match LicenseKey::parse(text) {
            Ok(key) => {
                let canonical = key.expose();
                assert!((8..=128).contains(&canonical.len()));
                assert!(canonical.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
                assert!(canonical.as_bytes()[0].is_ascii_alphanumeric());
                assert_eq!(LicenseKey::parse(canonical).as_ref(), Ok(&key), "it is its own canonical form");
                assert!(canonical == text.trim() || canonical.starts_with("ELS-") && canonical.len() == 33);
            }
            Err(error) => assert!(!error.to_string().chars().any(char::is_control), "it reaches a terminal"),
        }
    }
    let Some((random, more)) = data.split_first_chunk::<15>() else { return };
    let made = LicenseKey::from_random(*random);
    let mut other = made.expose().to_lowercase().replace('0', "o").replace('1', "l").into_bytes();
    // In `ELS` itself the L is a letter, and so is it in the text that was just made.
    assert_eq!(LicenseKey::parse(std::str::from_utf8(&other).expect("letters and digits")).as_ref(), Ok(&made));
    if let [at, symbol, ..] = more {
        let at = 4 + usize::from(*at) % (other.len() - 4);
        let symbol = b"0123456789abcdefghjkmnpqrstvwxyz"[usize::from(*symbol) % 32];
        let folded = |byte: u8| match byte {
            b'o' => b'0',
            b'l' => b'1',
            byte => byte,
        };
        if other[at] != b'-' && folded(other[at]) != symbol {
            other[at] = symbol;
            let mistyped = std::str::from_utf8(&other).expect("letters and digits");
            assert!(LicenseKey::parse(mistyped).is_err(), "one wrong symbol is found: {mistyped}");
        }
    }
}

/// Ids, hashes, tokens, times, names: what is taken is what was written, and nothing more than its rule allows.
fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(RegistrationId::parse(text).is_none_or(|id| id.to_string() == text));
    assert!(
        MachineId::parse(text).is_none_or(|id| id.to_string() == text && MachineId::from_bytes(*id.as_bytes()) == id)
    );
    assert!(Sha256Hex::parse(text).is_none_or(|hash| hash.to_string() == text));
    let token = Token::parse(text);
    assert_eq!(Token::hash_of(text), token.as_ref().map(Token::hash), "with and without a copy of it");
    if let Some(token) = token {
        assert_eq!(token.expose(), text);
        assert!(text.starts_with("elst_password=") && text.len() == 57);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-=".contains(&byte)));
    }
    if let Some(file) = RepoFile::parse(text) {
        assert_eq!(file.as_str(), text);
        assert!(!text.starts_with('.') && !text.contains(['/', '\\', '\0']) && text.len() <= 64);
    }
    if let Some(time) = Timestamp::parse(text) {
        assert!((0..=Timestamp::MAX.unix()).contains(&time.unix()));
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        // A leap second is the one before it.
        let written = text.replacen(":60", ":59", 1);
        assert!(written.starts_with(&time.to_string()[..19]), "{text} is read as {time}");
    }
    let shown = clean(text, 100);
    assert!(shown.chars().count() <= 101 && !shown.chars().any(char::is_control));
    assert_eq!(clean(&shown, 100), shown);
    if let Ok(label) = Label::parse(text) {
        assert_eq!(label.as_str(), text);
        assert_eq!(clean(text, 128), text, "what a label may hold is fit to be shown");
    }
}

/// A URL that is taken names one host, by TLS or on this machine, and a path that no program reads in two ways.
fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let remote = BaseUrl::parse("https://els.example.com").expect("a URL");
    let local = BaseUrl::parse("http://127.0.0.1:8080").expect("a URL");
    let parsed = BaseUrl::parse(text);
    for server in [&remote, &local] {
        if let Ok(repository) = BaseUrl::parse_repository(text, server) {
            assert_eq!(Ok(&repository), parsed.as_ref());
            assert!(repository.is_https() || server == &local);
        }
    }
    let url = match parsed {
        Ok(url) => url,
        Err(_) => return,
    };
    assert_eq!(BaseUrl::parse(url.as_str()).as_ref(), Ok(&url));
    let loopback =
        url.host() == "localhost" || url.address().is_some_and(|address| address.to_canonical().is_loopback());
    assert!(url.is_https() || loopback, "{url}");
    assert_ne!(url.port(), 0);
    let text = url.as_str();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.ends_with('/'), "{text:?}");
    assert!(!text.contains(['@', '?', '#', '%', '\\', '$', '"', '\'']) && !url.path().contains(".."), "{text:?}");
    let (_, rest) = text.split_once("://").expect("a scheme");
    assert!(rest.to_ascii_lowercase().starts_with(url.host()) && rest.ends_with(url.path()), "{text:?}");
}

/// A body that is taken is written as it is read, and every value in it keeps its rule.
fn wire(data: &[u8]) {
    reads_back::<RegisterRequest>(data);
    reads_back::<Registration>(data);
    reads_back::<SeatList>(data);
    reads_back::<Problem>(data);
}

/// What is read from `data` is written in a form that reads as the same.
fn reads_back<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&value).expect("a JSON document");
    let again: T = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(serde_json::to_vec(&again).expect("a JSON document"), written);
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
#[allow(clippy::disallowed_methods, reason = "it reads the corpus, and stops when its time is over")]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: parsers-robust
    #[test]
    fn every_target_stands_its_corpus_and_seeded_changes_of_it() {
        replay::all("protocol", TARGETS);
    }
}
