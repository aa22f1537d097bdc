//! Fuzz targets: the vendor's files and what clients ask for, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these two.

use std::collections::HashSet;
use std::path::Path;

use els_server::path::{Prefix, RequestPath};

use crate::api::fuzzing::range;
use crate::dates::{self, Edge};
use crate::products::Products;

/// A target: its name, which is that of its corpus, and the function that takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("backend-range", range), ("backend-products", products), ("backend-date", date)];

/// A product file that is taken opens folders and never everything; a complaint is one line that begins with the file.
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
            assert!(ids.contains(&products.default_product().id));
        }
        Err(error) => assert!(error.to_string().starts_with("products.toml: "), "{error}"),
    }
}

/// The first line is a date, the second a zone. A day begins before it ends, a day or so before; a time is itself.
fn date(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    let Ok(zone) = dates::zone(zone) else { return };
    let (begins, ends) = (dates::parse(text, &zone, Edge::Beginning), dates::parse(text, &zone, Edge::End));
    if let (Ok(begins), Ok(ends)) = (&begins, &ends) {
        let length = ends.seconds_since(*begins);
        // A day that a zone left out when it moved across the date line ends before it begins; one that it had twice is long.
        assert!(if text.len() == 10 { (-1..48 * 3600).contains(&length) } else { length == 0 }, "{text}: {length}");
        let again = dates::parse(&ends.to_string(), &zone, Edge::Beginning);
        assert_eq!(again.as_ref(), Ok(ends), "what is shown can be typed");
    }
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
        replay::all("backend", TARGETS);
    }
}
