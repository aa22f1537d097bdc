//! The user's guide (docs/guide), carried out: the commands of its pages are run in their order on a fresh machine with the real dnf, and
//! what they print is what the pages show.
//!
//! A block `console` has commands, after `#` for root, and what they print. A block `sh` has commands of root that must succeed. A
//! comment `<!-- run: … -->` prepares what the next block shows. Blocks `text` are not run. With `UPDATE_GOLDEN=1` the screens
//! are written anew: read the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use els_testkit::shown::{Shown, is_id};
use els_testkit::{AGENTS, Backend, Key, Machine, Repository, Rpm, rpm_file, run};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide");
/// The configuration of the test's package has it; a customer's does not.
const GPG_KEY_FILE: &str = "/etc/pki/els/RPM-GPG-KEY-TEST";
/// Words of the guide, and what they are in the test.
const WORDS: [(&str, &str); 2] = [("openssl", "example"), ("proxy.example.com:3128", "127.0.0.1:1")];

/// A vendor, a machine that reads the guide, and another machine that holds a seat.
struct World {
    backend: Backend,
    key: Key,
    machine: Machine,
    locale: &'static str,
    shown: Shown,
}

impl World {
    fn new(locale: &'static str) -> World {
        let repository = Repository::shared();
        let www = repository.with_public_key();
        let backend = Backend::with_repository(www.path());
        let key = backend.key_with(&["--seats", "3", "--expires", "2099-12-31", "--contract", "C-1042"]);
        let machine = Machine::installable(&backend);
        machine.write(GPG_KEY_FILE, &repository.our_key());
        machine.write("/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", &repository.distribution_key());
        machine.write("/root/els.key", &key.key);
        let support = "support = \"support@example.com\"";
        let configuration = format!("server = \"{}\"\ngpg_key = \"{GPG_KEY_FILE}\"\n{support}\n", backend.url());
        let rpm = Rpm { name: "els-register", release: 1, signed_by: &repository, configuration: &configuration };
        let (_out, file) = rpm_file(&rpm);
        repository.publish_in(&www.path().join(AGENTS), &[file]);
        let other = Machine::configured_for(&backend, &repository);
        other.agent(&["--key", &key.key, "--label", "web 2"]).succeeds();
        // The folder that the backend serves stays until the end of the test run.
        std::mem::forget(www);
        World { backend, key, machine, locale, shown: Shown::default() }
    }

    /// Runs a line as root, in the language of the guide. Returns what it prints.
    #[track_caller]
    fn types(&mut self, line: &str, must_succeed: bool) -> String {
        let mut line = self.shown.values(line).replace("https://els.example.com", self.backend.url());
        for (word, here) in WORDS {
            line = line.replace(word, here);
        }
        let locale = format!("LC_ALL={}", self.locale);
        let run = run(&mut self.machine.inside(&["env", &locale, "sh", "-c", &line]));
        if must_succeed {
            assert_eq!(run.code, Some(0), "{run}");
        }
        self.printed(&format!("{}{}", run.stdout, run.stderr))
    }

    fn printed(&mut self, text: &str) -> String {
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.contains(GPG_KEY_FILE)).collect();
        // The backend lists seats by their random ids; the guide lists them by their labels.
        let is_seat = |line: &str| line.get(..36).is_some_and(is_id);
        for seats in lines.chunk_by_mut(|one, next| is_seat(one) && is_seat(next)) {
            seats.sort_by_key(|seat| seat.split("x86_64").last());
        }
        let mut text: String = lines.into_iter().map(|line| format!("{}\n", line.trim_end())).collect();
        // The gate writes down uses in batches: a machine may have none yet.
        let never = [("last seen never", "last seen 2026-12-01"), ("最終利用 なし      ", "最終利用 2026-12-01")];
        let values = [
            (self.backend.url(), "https://els.example.com"),
            (self.backend.address(), "els.example.com:443"),
            (&self.key.key, "ELS-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX"),
            (&self.key.id, "K-7Q2M4X"),
            ("127.0.0.1:1", "proxy.example.com:3128"),
            ("127.0.0.1", "els.example.com"),
            // The clock has gone on between two readings.
            ("is 1 s ahead", "is 0 s ahead"),
            ("差1秒", "差0秒"),
        ];
        for (value, example) in values.into_iter().chain(never) {
            text = text.replace(value, example);
        }
        self.shown.text(&text).replace("2099-12-31", "2028-03-31")
    }

    /// Carries out a page, and returns it with what its commands have printed.
    fn carries_out(&mut self, page: &str) -> String {
        let mut result = String::new();
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            result += &format!("{line}\n");
            if let Some(command) = line.strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->")) {
                self.types(command, true);
            }
            let kind = line.strip_prefix("```").unwrap_or_default();
            if kind.is_empty() {
                continue;
            }
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            match kind {
                "console" => {
                    for command in block.iter().filter_map(|line| line.strip_prefix("# ")) {
                        result += &format!("# {command}\n{}", self.types(command, false));
                    }
                }
                "sh" => {
                    self.types(&block.join("\n"), true);
                    result += &format!("{}\n", block.join("\n"));
                }
                "text" => result += &format!("{}\n", block.join("\n")),
                other => panic!("a block of the unknown kind {other}"),
            }
            result += "```\n";
        }
        result
    }
}

/// The pages of a guide, in the order of its contents.
fn pages(language: &str) -> Vec<PathBuf> {
    let source = Path::new(GUIDE).join(language).join("src");
    let summary = fs::read_to_string(source.join("SUMMARY.md")).expect("the contents");
    let names = summary.split("](").skip(1).map(|rest| rest.split(')').next().expect("a first part"));
    names.map(|name| source.join(name)).collect()
}

/// The commands of a page: what both languages have in common.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let mut kind = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            kind = fence;
            found.push(fence.to_owned());
        } else if kind == "sh" || (kind == "console" && line.starts_with("# ")) || line.starts_with("<!-- run: ") {
            found.push(line.to_owned());
        } else if line.starts_with("## ") && kind.is_empty() {
            found.push("##".to_owned());
        }
    }
    found
}

fn play(language: &str, locale: &'static str) {
    let mut world = World::new(locale);
    for page in pages(language) {
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let played = world.carries_out(&text);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&page, &played).expect("the page");
        } else {
            assert_eq!(played, text, "{}", page.display());
        }
    }
    world.backend.agrees_with_itself();
}

/// Promise: guide
#[test]
fn the_english_guide_is_carried_out_and_its_screens_are_what_is_printed() {
    play("en", "C.UTF-8");
}

/// Promise: guide
#[test]
fn the_japanese_guide_is_carried_out_and_its_screens_are_what_is_printed() {
    play("ja", "ja_JP.UTF-8");
}

/// Promise: guide
#[test]
fn both_guides_have_the_same_pages_and_commands_and_their_links_lead_somewhere() {
    let [english, japanese] = ["en", "ja"].map(pages);
    let names =
        |pages: &[PathBuf]| pages.iter().map(|page| page.file_name().map(ToOwned::to_owned)).collect::<Vec<_>>();
    assert_eq!(names(&english), names(&japanese));
    for (english, japanese) in english.iter().zip(&japanese) {
        assert_eq!(commands(english), commands(japanese), "{}", japanese.display());
    }
    for page in english.iter().chain(&japanese) {
        let text = fs::read_to_string(page).expect("the page");
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().expect("a first part")) {
            // The guides are built into folders beside each other; pages of the other language are named as they are built.
            let source = link.replace("../en/", "../../en/src/").replace("../ja/", "../../ja/src/");
            let source = if link.starts_with("../") { source.replace(".html", ".md") } else { source };
            let found =
                link.is_empty() || link.starts_with("https://") || page.with_file_name("").join(&source).exists();
            assert!(found, "{}: {link}", page.display());
        }
    }
}
