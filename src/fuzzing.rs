//! Fuzz targets: what the agent reads from files, arguments and the environment, and what must hold of it whatever it is.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled for these two alone.
//! What comes over the network is in `backend::fuzzing`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::backend::{self, Proxy};
use crate::cli::{self, Parsed};
use crate::ini::sections;
use crate::registration::{self, Pending, State};
use crate::{checks, config, machine, repo};

/// A target: its name, which is that of its corpus, and what takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("agent-answer", backend::fuzzing::answer),
    ("agent-repomd", backend::fuzzing::repomd),
    ("agent-url", backend::fuzzing::url),
    ("agent-proxy", backend::fuzzing::proxy),
    ("agent-arguments", arguments),
    ("agent-config", config),
    ("agent-ini", ini),
    ("agent-os-release", os_release),
    ("agent-state", state),
];

/// What stands in a place where only a secret can be.
const SECRET: &str = "hunter2-and-more";

/// No usage error repeats a value, whatever else was typed.
fn arguments(data: &[u8]) {
    // A fuzzer sees what it is compared with. Typed elsewhere, as the name of an option, it is no secret, and is repeated.
    if data.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
        return;
    }
    let typed = data.split(|byte| *byte == b'\n').take(20).map(|word| OsString::from_vec(word.to_vec()));
    let all = ["els-register", "--key", SECRET].map(OsString::from).into_iter().chain(typed);
    match cli::parse(all.collect()) {
        Parsed::Wrong(message) => {
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
            assert!(!failure.message.contains(SECRET), "{}", failure.message);
            assert!(failure.message.starts_with("/etc/els-register.toml: "), "{}", failure.message);
        }
    }
}

/// dnf.conf and repo files: sections and values are texts of the file; the proxy that is found is whole or an error that
/// repeats nothing.
fn ini(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for section in sections(text) {
        assert!(!section.id.contains(['\n', ']']) && text.contains(&section.id));
        let _ = section.enabled();
    }
    if let Some(url) = repo::probe_url(text, "https://repo.example.com/els", "x86_64") {
        assert!(!url.contains("$els_url") && !url.contains("$basearch"), "{url}");
    }
    let with_password = format!("[main]\nproxy_password={SECRET}\n{text}");
    for text in [text, &with_password] {
        match checks::read_dnf_proxy(text) {
            Ok(Some(proxy)) => whole(&proxy),
            Ok(None) => {}
            Err(why) => assert!(!why.contains(SECRET), "{why}"),
        }
    }
}

/// A proxy that was taken: its host is a plain name or address, and what is shown of it holds no login.
pub(crate) fn whole(proxy: &Proxy) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    assert!(!proxy.host.is_empty() && proxy.host.bytes().all(plain) && proxy.port != 0, "{proxy:?}");
    assert_eq!(proxy.to_string(), format!("http://{}:{}", proxy.host, proxy.port));
}

/// What is sent of a machine is plain, and ids are made of 16 bytes that are worth something, or not at all.
fn os_release(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match machine::read_os_release("/etc/os-release", text) {
        Ok(os) => {
            for value in [os.id, os.version] {
                assert!((1..=64).contains(&value.len()) && text.contains(&value), "{value}");
                assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{value}");
            }
        }
        Err(failure) => assert!(failure.message.starts_with("/etc/os-release: ")),
    }
    let digits = text.trim().bytes().filter(u8::is_ascii_hexdigit).count();
    if let Ok(Some(_)) = machine::read_machine_id(text) {
        assert!(digits == 32 && text.trim().len() == 32 && text.trim().bytes().any(|byte| byte != b'0'));
    }
    if machine::read_hardware_id(text).is_some() {
        let mut values = text.bytes().filter(u8::is_ascii_hexdigit);
        let first = values.next();
        assert!(values.any(|digit| Some(digit) != first), "one digit over and over is no hardware: {text}");
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
        Ok(None) => assert_eq!(lost.len(), 1, "what is taken as lost is said"),
        Err(failure) => assert!(failure.message.contains("version"), "{}", failure.message),
    }
    assert!(!lost.iter().any(|message| message.contains("elst_password=") || message.contains('\n')), "{lost:?}");
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
    fn every_target_stands_its_corpus_and_seeded_changes_of_it() {
        replay::all("agent", TARGETS);
    }
}
