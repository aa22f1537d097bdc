//! Fuzz targets: what the agent reads from files and arguments, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these two.
//! What comes over the network is in `backend::fuzzing`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::CommandFactory as _;

use crate::backend;
use crate::cli::{self, Options, Parsed};
use crate::failure::Failure;
use crate::registration::{self, Pending, State};
use crate::warning::Warning;
use crate::{config, messages, repo};

/// A target: its name, which is that of its corpus, and the function that takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("agent-answer", backend::fuzzing::answer),
    ("agent-repomd", backend::fuzzing::repomd),
    ("agent-arguments", arguments),
    ("agent-config", config),
    ("agent-probe-url", probe_url),
    ("agent-state", state),
];

/// The value that stands where only a secret can be.
const SECRET: &str = "hunter2-and-more";

/// No usage error repeats a value, whatever else was typed.
fn arguments(data: &[u8]) {
    // A fuzzer sees the comparison value. Typed elsewhere, as the name of an option, it is not a secret and is repeated.
    if data.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
        return;
    }
    let typed = data.split(|byte| *byte == b'\n').take(20).map(|word| OsString::from_vec(word.to_vec()));
    let all = ["els-register", "--key", SECRET].map(OsString::from).into_iter().chain(typed);
    match cli::parse(Options::command(), all.collect()) {
        Parsed::Wrong(error) => {
            let message = messages::en::failure(&Failure::Usage(error));
            assert!(!message.contains(SECRET), "{message}");
            assert!(!message.contains('\n'), "one line: {message:?}");
        }
        Parsed::Run(..) | Parsed::Text(_) => {}
    }
}

/// No complaint about the configuration repeats what may be a proxy's password, or goes over more than a line.
fn config(data: &[u8]) {
    let text = [data, format!("\nproxy = \"http://user:{SECRET}@proxy:3128\"\n").as_bytes()].concat();
    for content in [data, &text] {
        if let Err(failure) = config::parse("/etc/els-register.toml", content) {
            let message = els_host::messages::en::failure(&failure);
            assert!(!message.contains(SECRET) && message.starts_with("/etc/els-register.toml: "), "{message}");
        }
    }
}

/// The URL that is probed has no variable left in it.
fn probe_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(url) = repo::probe_url(text, "https://repo.example.com/els", "x86_64") {
        assert!(!url.contains("$els_url") && !url.contains("$basearch"), "{url}");
    }
}

/// State and journal: what is read is written in a form that reads as the same, and a complaint holds no token.
fn state(data: &[u8]) {
    read_back::<State>(data);
    read_back::<Pending>(data);
}

fn read_back<T: serde::Serialize + for<'de> serde::Deserialize<'de> + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let mut lost = Vec::new();
    match registration::decode::<T>("/state", data, &mut lost) {
        Ok(Some(value)) => {
            let written = serde_json::to_vec(&value).expect("a JSON document");
            let again = registration::decode("/state", &written, &mut lost).expect("of a known version");
            assert_eq!((again.as_ref(), lost.len()), (Some(&value), 0));
            assert!(!format!("{value:?}").contains("elst_password="), "what is logged of it shows no token");
        }
        Ok(None) => assert_eq!(lost.len(), 1, "what is taken as lost is reported"),
        Err(failure) => assert!(matches!(failure, Failure::NewerFile { .. }), "{failure:?}"),
    }
    let messages = lost.into_iter().map(|lost| messages::en::warning(&Warning::Lost(lost)));
    for message in messages {
        assert!(!message.contains("elst_password=") && !message.contains('\n'), "{message:?}");
    }
}

#[cfg(test)]
#[path = "../fuzz/replay.rs"]
#[allow(clippy::disallowed_methods, reason = "it reads the corpus, and stops when its time is over")]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: parsers-robust
    #[test]
    fn every_target_holds_for_its_corpus_and_seeded_changes_of_it() {
        replay::all("agent", TARGETS);
    }
}
