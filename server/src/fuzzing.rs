//! Fuzz targets: request targets, credentials and proxy headers, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these two.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::credential::{Credentials, bearer_key};
use crate::path::{Prefix, RequestPath};
use crate::peer::{TrustedProxies, parse_network};

/// A target: its name, which is that of its corpus, and the function that takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] =
    &[("server-path", path), ("server-credential", credential), ("server-forwarded", forwarded)];

/// No server, however forgiving, resolves a path that is judged to another one than the judge read.
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
    // Every prefix that can be written of its names holds it, and what is cut off leaves the rest.
    for length in 0..=names.len() {
        let text: String = names[..length].iter().map(|name| format!("/{}", String::from_utf8_lossy(name))).collect();
        if let Ok(prefix) = Prefix::parse(&text) {
            let rest = path.below(&prefix).expect("it lies below itself");
            assert!(rest.names().eq(names[length..].iter().cloned()), "{text}");
            let longer = Prefix::parse(&format!("{text}/another-one")).expect("a prefix");
            assert_eq!(path.is_under(&longer), names.get(length).is_some_and(|name| name == b"another-one"));
        }
    }
}

/// What a forgiving web server would make of a path: decoded so many times, back-slashes turned, dots resolved.
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

/// One value a line. A credential comes from exactly one header of its own scheme; a key likewise; never both.
fn credential(data: &[u8]) {
    let headers = headers(AUTHORIZATION.as_str(), data);
    let values: Vec<&[u8]> = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    let one_of = |scheme: &str| {
        values.len() == 1
            && values[0].get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    let credentials = Credentials::read(&headers);
    assert_eq!(credentials == Credentials::Absent, values.is_empty());
    let presented = matches!(credentials, Credentials::Presented(_));
    assert!(!presented || one_of("basic ") && values[0].len() <= 4096);
    match bearer_key(&headers) {
        Some(Ok(key)) => assert!(one_of("bearer ") && !presented && !key.expose().is_empty()),
        Some(Err(why)) => assert!(!presented && !why.chars().any(char::is_control), "{why}"),
        None => {}
    }
}

/// The first line is the peer, the others are headers. What an untrusted client wrote to the left never counts.
fn forwarded(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(network) = parse_network(&text) {
        assert_eq!(parse_network(&network.to_string()), Ok(network));
    }
    let (peer, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(peer) = peer.parse::<IpAddr>() else { return };
    let networks: Vec<_> =
        ["10.0.0.0/8", "127.0.0.1", "fd00::/8"].iter().map(|text| parse_network(text).expect("a network")).collect();
    let trusted = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
    let proxies = TrustedProxies::new(networks.clone());
    let headers = headers("x-forwarded-for", rest.as_bytes());
    let client = proxies.client(peer, &headers);
    assert_eq!(client, client.to_canonical(), "one address has one form");
    assert_eq!(TrustedProxies::default().client(peer, &headers), peer.to_canonical());
    if !trusted(peer.to_canonical()) {
        assert_eq!(client, peer.to_canonical(), "a stranger is believed nothing");
    }
    if !trusted(client) {
        let mut forged = HeaderMap::new();
        forged.append("x-forwarded-for", HeaderValue::from_static("203.0.113.1, 10.0.0.1"));
        forged.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        assert_eq!(proxies.client(peer, &forged), client);
    }
}

/// The lines as values of one header, those that HTTP lets through.
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
#[allow(clippy::disallowed_methods, reason = "it reads the corpus, and stops when its time is over")]
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
