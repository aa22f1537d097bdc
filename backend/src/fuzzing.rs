//! Fuzz targets: the vendor's files, dates and credentials, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these.

use std::collections::HashSet;
use std::path::Path;

use els_server::path::{Prefix, RequestPath};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::credential::{Credentials, bearer_key};
use crate::dates::{self, Edge};
use crate::products::Products;

/// A target: its name, which is also the name of its corpus, and the function that takes the bytes. It panics if a property
/// does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] =
    &[("backend-credential", credential), ("backend-products", products), ("backend-date", date)];

/// One value a line. A credential comes from exactly one header of its own scheme, and so does a key; never both.
fn credential(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for value in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(8) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(AUTHORIZATION, value);
        }
    }
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

/// A product of an accepted file opens folders and never everything; an error is one line that begins with the file.
fn products(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Products::parse(Path::new("products.toml"), text) {
        Ok(products) => {
            let mut ids = HashSet::new();
            for product in products.iter() {
                assert!(ids.insert(product.id.clone()) && !product.versions.is_empty());
                assert!(!product.name.chars().any(char::is_control));
                assert!(!product.prefixes.iter().any(Prefix::is_root));
                let root = RequestPath::parse(b"/").expect("a path");
                assert!(!product.opens(root) && !products.is_public(root));
                assert!(products.get(&product.id).is_some_and(|found| found.id == product.id));
            }
            assert!(!ids.is_empty());
        }
        Err(error) => assert!(error.to_string().starts_with("products.toml: "), "{error}"),
    }
}

/// The first line is a date, the second a zone. A day begins before it ends, about a day before; a time has no length.
fn date(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    let Ok(zone) = dates::zone(zone) else { return };
    let (begins, ends) = (dates::parse(text, &zone, Edge::Beginning), dates::parse(text, &zone, Edge::End));
    if let (Ok(begins), Ok(ends)) = (&begins, &ends) {
        let length = ends.seconds_since(*begins);
        // A zone that moves across the date line leaves out a day, which then ends before it begins, or has a day twice.
        assert!(if text.len() == 10 { (-1..48 * 3600).contains(&length) } else { length == 0 }, "{text}: {length}");
        let again = dates::parse(&ends.to_string(), &zone, Edge::Beginning);
        assert_eq!(again.as_ref(), Ok(ends), "a printed time can be read");
    }
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
        replay::all("backend", TARGETS);
    }
}
