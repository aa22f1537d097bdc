//! `cargo xtask vendor-check DIR`: whether a vendor's folder can be built in. It lists what is wrong and changes nothing.
//!
//! The files are read by the parsers of the programs that use them. This module owns only the rules between those files, and what a
//! vendor's files must not do: switch off a check of dnf, lead past the gate, ship the example key or the template of the
//! agreement. docs/vendor/guide.md explains the files.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use els_backend::products::{Product, Products};
use els_host::ini::{Section, sections};
use els_protocol::RepoFile;
use els_register::chores::{KEY_PATH, PROBED_SECTION, configured_server, variables_fault};
use els_server::path::RequestPath;

/// Everything that is wrong with the folder: one line for each fault, which begins with the name of the file.
pub(crate) fn faults(folder: &Path) -> Result<Vec<String>> {
    let mut check = Check { folder, faults: Vec::new() };
    let repos = check.repo_files()?;
    check.products(&repos);
    check.key()?;
    check.configuration();
    if check.read("EULA.txt").is_some_and(|agreement| agreement.contains("This is a template.")) {
        check.fault("EULA.txt", "is still the template; replace it with the agreement for your customers");
    }
    Ok(check.faults)
}

struct Check<'a> {
    folder: &'a Path,
    faults: Vec<String>,
}

/// The sections of each repo file, by its name without `.repo`.
type Repos = BTreeMap<String, Vec<Section>>;

impl Check<'_> {
    fn fault(&mut self, file: &str, what: impl std::fmt::Display) {
        self.faults.push(format!("{file}: {what}"));
    }

    /// The text of a file that has to be there.
    fn read(&mut self, name: &str) -> Option<String> {
        match fs::read_to_string(self.folder.join(name)) {
            Ok(text) if text.trim().is_empty() => self.fault(name, "is empty"),
            Ok(text) => return Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.fault(name, "is missing; a vendor folder replaces all files, so start from the shipped ones");
            }
            Err(error) => self.fault(name, error),
        }
        None
    }

    fn repo_files(&mut self) -> Result<Repos> {
        let mut repos = Repos::new();
        let folder = self.folder.join("repo-files");
        if !folder.is_dir() {
            self.fault("repo-files", "is missing; it must hold one NAME.repo for each operating system");
            return Ok(repos);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        for name in names {
            let file = format!("repo-files/{name}");
            if let Some(stem) = name.strip_suffix(".vars") {
                self.variables(&file, stem);
                continue;
            }
            let Some(stem) = name.strip_suffix(".repo") else {
                self.fault(&file, "is neither a .repo nor a .vars file; the build ignores it");
                continue;
            };
            if RepoFile::parse(stem).is_none() {
                self.fault(&file, "the name must match [a-z0-9][a-z0-9.-]{0,63}.repo");
            }
            let Some(text) = self.read(&file) else { continue };
            self.faults.extend(misread(&text).map(|what| format!("{file}: {what}")));
            let sections = sections(&text);
            for section in &sections {
                let faults = section_faults(section);
                self.faults.extend(faults.into_iter().map(|what| format!("{file}: [{}]: {what}", section.id)));
            }
            if !sections.iter().any(|section| section.id == PROBED_SECTION && section.enabled()) {
                self.fault(
                    &file,
                    format_args!("needs [{PROBED_SECTION}] with enabled=1; a registration is probed there"),
                );
            }
            repos.insert(stem.to_owned(), sections);
        }
        if repos.is_empty() {
            self.fault("repo-files", "has no .repo file");
        }
        Ok(repos)
    }

    fn variables(&mut self, file: &str, stem: &str) {
        if !self.folder.join(format!("repo-files/{stem}.repo")).exists() {
            self.fault(file, format_args!("there is no {stem}.repo; the build ignores it"));
        }
        if let Some(fault) = self.read(file).as_deref().and_then(variables_fault) {
            self.fault(file, fault);
        }
    }

    fn products(&mut self, repos: &Repos) {
        const NAME: &str = "products.toml";
        let Some(text) = self.read(NAME) else { return };
        let products = match Products::parse(Path::new(NAME), &text) {
            Ok(products) => products,
            Err(error) => return self.faults.push(error.to_string()),
        };
        for product in products.iter() {
            let Some(sections) = repos.get(product.repo_file.as_str()) else {
                let what =
                    format!("product {}: repo_file: there is no repo-files/{}.repo", product.id, product.repo_file);
                self.fault(NAME, what);
                continue;
            };
            for section in sections {
                let address = section.get("baseurl").unwrap_or_default();
                if !is_open(&products, product, address) {
                    let what =
                        format_args!("no prefix opens [{}] of {}.repo, {address}", section.id, product.repo_file);
                    self.fault(NAME, format_args!("product {}: {what}", product.id));
                }
            }
        }
    }

    fn key(&mut self) -> Result<()> {
        const NAME: &str = "gpg/RPM-GPG-KEY-ELS";
        let Some(text) = self.read(NAME) else { return Ok(()) };
        if text.contains("PRIVATE KEY") {
            self.fault(NAME, "holds a PRIVATE key; export only the public half: gpg --armor --export KEY-ID");
            return Ok(());
        }
        let home = tempfile::tempdir()?;
        let shown = Command::new("gpg")
            .arg("--homedir")
            .arg(home.path())
            .args(["--batch", "--no-autostart", "--with-colons", "--show-keys"])
            .arg(self.folder.join(NAME))
            .output()
            .context("gpg, which reads the key (`make deps` installs it)")?;
        let shown = String::from_utf8_lossy(&shown.stdout);
        // doc/DETAILS of GnuPG: type, validity, length, algorithm, key id; a fingerprint is field 10 of `fpr`.
        let records: Vec<Vec<&str>> = shown.lines().map(|line| line.split(':').collect()).collect();
        let field = |record: &[&str], at: usize| record.get(at).copied().unwrap_or_default().to_owned();
        let of = |kind: &'static str| records.iter().filter(move |record| record.first() == Some(&kind));
        if of("pub").next().is_none() || !text.trim_start().starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            self.fault(NAME, "is not an armored public key; gpg --armor --export KEY-ID makes one");
        }
        if of("sec").chain(of("ssb")).next().is_some() {
            self.fault(NAME, "holds a PRIVATE key; export only the public half");
        }
        if of("fpr").any(|record| field(record, 9) == EXAMPLE_KEY) {
            self.fault(NAME, "is the example key, which cannot sign; dist/gpg/README.md says how to make a key");
        }
        for record in of("pub") {
            let id = field(record, 4);
            match record.get(1) {
                Some(&"e") => self.fault(NAME, format_args!("key {id} has expired")),
                Some(&"r") => self.fault(NAME, format_args!("key {id} is revoked")),
                _ => {}
            }
            let bits: u32 = field(record, 2).parse().unwrap_or(0);
            if field(record, 3) != "1" || bits < 2048 {
                self.fault(
                    NAME,
                    format_args!("key {id} must be RSA of 2048 bits or more, which rpm checks since EL 8"),
                );
            }
        }
        Ok(())
    }

    fn configuration(&mut self) {
        const NAME: &str = "els-register.toml";
        let Some(text) = self.read(NAME) else { return };
        match configured_server(NAME, text.as_bytes()) {
            Ok(Some(server)) if !server.is_https() => self.fault(NAME, "server: must begin with https://"),
            Ok(_) => {}
            Err(what) => self.faults.push(what),
        }
    }
}

/// Whether a machine of this product may fetch from this address on every architecture: otherwise its dnf gets 403 there.
fn is_open(products: &Products, product: &Product, address: &str) -> bool {
    let Some(path) = address.strip_prefix("$els_url") else { return false };
    product.architectures.iter().all(|arch| {
        let path = path.replace("$basearch", arch).replace("$arch", arch);
        RequestPath::parse(path.as_bytes()).is_some_and(|path| product.opens(path) || products.is_public(path))
    })
}

/// What dnf and the agent pass over without an error, or take the last of.
fn misread(text: &str) -> impl Iterator<Item = String> {
    let mut seen = HashSet::new();
    let mut section = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            return None;
        }
        if line.starts_with('[') && line.trim_end().ends_with(']') {
            section = line.trim_end();
            return (!seen.insert((section, ""))).then(|| format!("line {number}: {section} appears twice"));
        }
        if line.starts_with([' ', '\t']) && !section.is_empty() {
            return None;
        }
        match line.split_once('=') {
            Some((key, _)) if !section.is_empty() => {
                let key = key.trim();
                (!seen.insert((section, key))).then(|| format!("line {number}: {key} is set twice"))
            }
            _ => Some(format!("line {number}: is neither a section nor an option of one")),
        }
    })
}

fn section_faults(section: &Section) -> Vec<String> {
    let mut faults = Vec::new();
    if !section.id.starts_with("els-") {
        faults.push("the name of a section must begin with els-".to_owned());
    }
    for (option, value) in SECTION {
        if section.get(option) != Some(value) {
            faults.push(format!("must have {option}={value}"));
        }
    }
    if !matches!(section.get("enabled"), Some("0" | "1")) {
        faults.push("must have enabled=1 or enabled=0".to_owned());
    }
    if section.get("sslverify").is_some_and(|value| value != "1") {
        faults.push("must not switch off sslverify".to_owned());
    }
    let address = section.get("baseurl").unwrap_or_default();
    if !address.starts_with("$els_url/") || address.split_whitespace().count() != 1 {
        faults.push("baseurl must be one address that begins with $els_url/".to_owned());
    }
    if address.contains("$releasever") {
        faults.push("baseurl must name the release; $releasever changes with --releasever".to_owned());
    }
    for option in ["mirrorlist", "metalink"] {
        if section.get(option).is_some() {
            faults.push(format!("{option} is not allowed: it leads past the gate"));
        }
    }
    let keys = section.get("gpgkey").unwrap_or_default();
    let keys: Vec<&str> = keys.split([' ', '\t', '\n', ',']).filter(|key| !key.is_empty()).collect();
    let ours = format!("file://{KEY_PATH}");
    if !keys.contains(&ours.as_str()) || !keys.iter().all(|key| key.starts_with("file:///etc/pki/rpm-gpg/")) {
        faults.push(format!("gpgkey must name {ours}, and otherwise only keys in file:///etc/pki/rpm-gpg/"));
    }
    faults
}

/// The fingerprint of the key in dist/gpg.
const EXAMPLE_KEY: &str = "51A5652FC2217BF7CE9A4C38E739324406F8BA28";

/// What each section of a repo file must have: a vendor's file must not switch off a check or leave out the credential.
const SECTION: [(&str, &str); 5] = [
    ("username", "$els_id"),
    ("password", "$els_token"),
    ("gpgcheck", "1"),
    ("repo_gpgcheck", "1"),
    ("skip_if_unavailable", "1"),
];
