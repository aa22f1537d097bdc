//! Fuzz targets: request targets, conditional and range requests, proxy headers, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::files::{Selection, Validators, select};
use crate::path::{Prefix, RequestPath};
use crate::peer::{TrustedProxies, parse_network};

/// A target: its name, which is also the name of its corpus, and the function that takes the bytes. It panics if a property
/// does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("server-path", path), ("server-range", range), ("server-forwarded", forwarded)];

/// Every web server resolves an accepted path to the names that were read here.
fn path(data: &[u8]) {
    if let Ok(prefix) = std::str::from_utf8(data).map_err(|error| error.to_string()).and_then(Prefix::parse) {
        assert_eq!(Prefix::parse(&prefix.to_string()).as_ref(), Ok(&prefix));
    }
    let Some(path) = RequestPath::parse(data) else { return };
    let names: Vec<Vec<u8>> = path.names().collect();
    let raw = data.split(|byte| *byte == b'?').next().unwrap_or_default();
    for times in 0..3 {
        let seen = resolved(raw, times);
        assert!(times == 0 || seen == names, "decoded {times} times");
        assert_eq!(seen.len(), names.len(), "not decoded at all");
    }
    assert!(names.iter().all(|name| !name.is_empty() && name != b"." && name != b".."));
    assert!(names.iter().flatten().all(|byte| !byte.is_ascii_control() && !b"/\\%".contains(byte)));
    assert!(data.len() <= 4096 && raw.starts_with(b"/"));
    // The path is under every prefix that its names make, and the rest follows.
    for length in 0..=names.len() {
        let text: String = names[..length].iter().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect();
        if let Ok(prefix) = Prefix::parse(&text) {
            let rest = path.below(&prefix).expect("it is below itself");
            assert!(rest.names().eq(names[length..].iter().cloned()), "{text}");
            let longer = Prefix::parse(&format!("{text}/another-one")).expect("a prefix");
            assert_eq!(path.is_under(&longer), names.get(length).is_some_and(|name| name == b"another-one"));
        }
    }
}

/// The names that a lenient web server reads in a path: decoded `times` times, back-slashes as slashes, dots resolved.
pub(crate) fn resolved(path: &[u8], times: usize) -> Vec<Vec<u8>> {
    let mut path = path.to_vec();
    for _ in 0..times {
        path = percent_decoded(&path);
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    for segment in path.split(|byte| b"/\\".contains(byte)) {
        match segment {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name.to_vec()),
        }
    }
    names
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        let escape = others.get(..2).filter(|_| *first == b'%').and_then(|two| Some((digit(two[0])?, digit(two[1])?)));
        match escape {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                rest = &others[2..];
            }
            None => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

/// One header a line. A part that is sent lies within the file, and is empty only where the file is.
fn range(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(8) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        // A dependency asserts, in the debug builds that fuzzers are, that no entity tag contains a space.
        if line.contains(&b'"') && line[colon + 1..].trim_ascii().iter().any(u8::is_ascii_whitespace) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    for length in [0, 1, 100, u64::MAX] {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let validators = Validators { tag: "\"x\"".parse().expect("a tag"), modified };
        if let Selection::Part(part) = select(&headers, &validators, length) {
            assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
        }
    }
}

/// The first line is the address of the connection, the others are headers. Entries on the left of an untrusted one never count.
fn forwarded(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(network) = parse_network(&text) {
        assert_eq!(parse_network(&network.to_string()), Ok(network));
    }
    let (socket, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(socket) = socket.parse::<IpAddr>() else { return };
    let networks: Vec<_> =
        ["10.0.0.0/8", "127.0.0.1", "fd00::/8"].iter().map(|text| parse_network(text).expect("a network")).collect();
    let trusted = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
    let proxies = TrustedProxies::new(networks.clone());
    let headers = headers("x-forwarded-for", rest.as_bytes());
    let peer = proxies.peer(socket, &headers);
    assert_eq!(peer, peer.to_canonical(), "one address has one form");
    assert_eq!(TrustedProxies::default().peer(socket, &headers), socket.to_canonical());
    if !trusted(socket.to_canonical()) {
        assert_eq!(peer, socket.to_canonical(), "the header of an untrusted client does not count");
    }
    if !trusted(peer) {
        let mut forged = HeaderMap::new();
        forged.append("x-forwarded-for", HeaderValue::from_static("203.0.113.1, 10.0.0.1"));
        forged.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        assert_eq!(proxies.peer(socket, &forged), peer);
    }
}

/// The lines as values of one header, as far as HTTP allows them.
fn headers(name: &'static str, data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(8) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
#[allow(clippy::disallowed_methods, reason = "it reads the corpus, and stops after a time")]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: parsers-robust
    #[test]
    fn every_target_holds_for_its_corpus_and_seeded_changes_of_it() {
        replay::all("server", TARGETS);
    }
}
