//! What may keep updates from a machine that is registered: what dnf would be given at its next run, and what it would leave out.
//!
//! It reads and decides; `--status` asks. It must not know how the backend is asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use els_host::dnf_conf::DnfConf;
use els_host::ini::{Section, boolean, sections};
use els_host::machine;
use els_host::root::Root;
use els_protocol::{BaseUrl, Sha256Hex, Timestamp};

use crate::registration::State;
use crate::repo::{Files, PROBED_SECTION};
use crate::report::Report;
use crate::vendor;
use crate::warning::Warning;

/// What dnf has of our repositories.
pub(crate) struct Repositories<'a> {
    root: &'a Root,
    dnf: &'a DnfConf,
    state: &'a State,
    files: Files,
    /// None where dnf refuses the file.
    sections: Vec<Section>,
    base_architecture: String,
}

impl<'a> Repositories<'a> {
    /// Reads the repo file where dnf looks for it. `architecture` is what `uname -m` says.
    pub(crate) fn read(root: &'a Root, dnf: &'a DnfConf, state: &'a State, files: Files, architecture: &str) -> Self {
        // What cannot be read is damage, and reported as that.
        let content = root.read(files.repo.path).ok().flatten().unwrap_or_default();
        let base_architecture = variable(root, dnf, "basearch");
        Repositories {
            root,
            dnf,
            state,
            files,
            sections: sections(content).unwrap_or_default(),
            base_architecture: base_architecture.unwrap_or_else(|| machine::base_architecture(architecture).to_owned()),
        }
    }

    /// Where dnf asks for the metadata of `els-updates`; `None` if it never does.
    pub(crate) fn probed(&self) -> Option<BaseUrl> {
        let section = self.sections.iter().find(|section| section.id == PROBED_SECTION)?;
        self.url(section).and_then(|url| BaseUrl::parse(url.trim_end_matches('/')).ok())
    }

    /// All warnings that need no network.
    pub(crate) fn warn(&self, gpg_key: Option<&[u8]>, report: &mut Report) {
        let off = self.switched_off();
        if !off.is_empty() {
            report.warn(Warning::SectionsOff { ids: off, path: self.files.repo.path });
        }
        let waiting = gpg_key.and_then(binary).map(|key| self.not_accepted(&key)).unwrap_or_default();
        if !waiting.is_empty() {
            report.warn(Warning::MetadataKeyNotAccepted { ids: waiting });
        }
        if let (Some(then), Ok(now)) = (&self.state.os, machine::operating_system(self.root))
            && (major(&then.version) != major(&now.version) || then.id != now.id)
        {
            report.warn(Warning::SystemChanged { from: then.clone(), to: now });
        }
    }

    /// Sections that are enabled in the shipped repo file and not here.
    fn switched_off(&self) -> Vec<String> {
        let shipped = vendor::repo_file(self.state.repo_file.as_str()).and_then(|text| sections(text).ok());
        let enabled = |id: &str| self.sections.iter().any(|section| section.id == id && section.enabled());
        let shipped = shipped.unwrap_or_default().into_iter().filter(Section::enabled);
        shipped.map(|section| section.id).filter(|id| !enabled(id)).collect()
    }

    /// Enabled sections whose metadata key dnf has not been told to accept; none where that cannot be known. dnf keeps the key in
    /// a folder of each section and URL: in gpgme's keybox, or, where librepo uses rpm, in a file of its own.
    fn not_accepted(&self, key: &[u8]) -> Vec<String> {
        let cache = self.dnf.cache_folder();
        if self.dnf.assumes_yes() || !self.root.list(cache).is_ok_and(|names| !names.is_empty()) {
            return Vec::new();
        }
        let accepted = |section: &Section| {
            let Some(url) = self.url(section) else { return true };
            let hash = Sha256Hex::of(url.as_bytes()).to_string();
            let folder = format!("{cache}/{}-{}/pubring", section.id, &hash[..16]);
            let Ok(names) = self.root.list(&folder) else { return true };
            names.iter().any(|name| match self.root.read(&format!("{folder}/{name}")) {
                Ok(content) => content.is_some_and(|content| holds(&content, key)),
                Err(_) => false,
            })
        };
        let asked = |section: &&Section| {
            section.enabled() && section.get("repo_gpgcheck").and_then(boolean) == Some(true) && !accepted(section)
        };
        self.sections.iter().filter(asked).map(|section| section.id.clone()).collect()
    }

    /// The first base URL of a section, as dnf has it.
    fn url(&self, section: &Section) -> Option<String> {
        let url = section.get("baseurl")?.split([' ', ',', '\n']).find(|word| !word.is_empty())?;
        let mut url = url.to_owned();
        for (name, value) in [("els_url", &self.state.repo_url), ("basearch", &self.base_architecture)] {
            url = url.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
        }
        (!url.contains('$')).then_some(url)
    }
}

/// Warns of metadata that the vendor should have renewed by now.
pub(crate) fn metadata_age(from: Option<Timestamp>, now: Timestamp, report: &mut Report) {
    if let Some(from) = from
        && now.seconds_since(from) > OLD_METADATA
    {
        report.warn(Warning::MetadataOld { from, days: now.seconds_since(from) / DAY });
    }
}

/// The value that an administrator gave one of dnf's variables; the last folder counts.
fn variable(root: &Root, dnf: &DnfConf, name: &str) -> Option<String> {
    let read = |folder: &String| {
        let content = root.read(&format!("{}/{name}", folder.trim_end_matches('/'))).ok()??;
        String::from_utf8(content).ok()?.lines().next().map(str::to_owned)
    };
    dnf.variable_folders().iter().rev().find_map(read).filter(|value| !value.is_empty())
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

/// Whether the content of a key store holds the first packet of a key: the public key itself.
fn holds(store: &[u8], key: &[u8]) -> bool {
    let packet = first_packet(key);
    let found = |content: &[u8]| content.windows(packet.len()).any(|window| window == packet);
    !packet.is_empty() && (found(store) || binary(store).is_some_and(|store| found(&store)))
}

/// The bytes of an armored file of OpenPGP (RFC 9580, 6.2).
fn binary(armored: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(armored).ok()?;
    let (_, block) = text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----")?;
    let (block, _) = block.split_once("-----END")?;
    // The rest of the first line, headers, an empty line, the data.
    let lines = block.lines().skip(1).map(str::trim).skip_while(|line| !line.is_empty());
    let body: String = lines.take_while(|line| !line.starts_with('=')).collect();
    STANDARD.decode(body).ok()
}

/// The body of the first packet, without its header, which may be written in two ways.
fn first_packet(key: &[u8]) -> &[u8] {
    let Some((tag, rest)) = key.split_first() else { return &[] };
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
    let (head, length) = match (tag & 0x40 != 0, tag & 3, rest) {
        (true, _, [first @ 0..192, ..]) => (1, usize::from(*first)),
        (true, _, [first @ 192..224, second, ..]) => {
            (2, (usize::from(*first) - 192) * 256 + usize::from(*second) + 192)
        }
        (true, _, [255, four @ ..]) if four.len() >= 4 => (5, number(&four[..4])),
        (false, 0, [one, ..]) => (1, usize::from(*one)),
        (false, 1, two) if two.len() >= 2 => (2, number(&two[..2])),
        (false, 2, four) if four.len() >= 4 => (4, number(&four[..4])),
        _ => return &[],
    };
    rest.get(head..).and_then(|rest| rest.get(..length)).unwrap_or_default()
}

const DAY: i64 = 24 * 60 * 60;
/// Metadata is signed anew every 14 days at least.
const OLD_METADATA: i64 = 30 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: status-metadata-key
    #[test]
    fn a_key_is_found_in_both_kinds_of_stores() {
        let key = [&[0x99, 0, 3][..], b"abc", &[0x99, 0, 1], b"x"].concat();
        let armored = format!(
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\n{}\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
            STANDARD.encode(&key)
        );
        assert_eq!(binary(armored.as_bytes()).as_deref(), Some(&key[..]));
        assert_eq!(first_packet(&key), b"abc");
        assert_eq!(first_packet(&[0xc6, 2, b'a', b'b', b'c']), b"ab");
        assert!(holds(b"keybox abc more", &key) && holds(armored.as_bytes(), &key));
        assert!(!holds(b"keybox", &key) && !holds(b"", &key) && !holds(b"abc", b""));
    }
}
