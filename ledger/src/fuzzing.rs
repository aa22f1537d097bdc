//! Fuzz targets: the database URL, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these two.

use crate::database::DatabaseUrl;

/// A target: its name, which is that of its corpus, and the function that takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("ledger-database", database)];

/// No complaint about a database's URL repeats it: it may hold a password.
fn database(data: &[u8]) {
    const SECRET: &str = "hunter2-and-more";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = DatabaseUrl::parse(text);
    for url in [format!("{text}{SECRET}"), format!("{SECRET}{text}"), text.replacen(':', &format!(":{SECRET}"), 2)] {
        if let Err(why) = DatabaseUrl::parse(&url) {
            assert!(!why.contains(SECRET), "{why}");
        }
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
        replay::all("ledger", TARGETS);
    }
}
