//! What the agent prints in each language: `tests/golden-text/{en,ja}.txt` has each action, its errors and its warnings, as
//! they appear on a terminal of 80 columns.
//!
//! Values that differ from run to run are replaced by examples. With `UPDATE_GOLDEN=1` the files are written anew: read the
//! difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use els_testkit::scripted::{Answer, Request, Scripted, answer, problem, problem_document, raw};
use els_testkit::shown::{Shown, is_id};
use els_testkit::{Machine, Run, run};

const KEY: &str = "TEST-KEY-0001";
/// An id that no registration of the script has.
const OTHER: &str = "00000000-0000-4000-8000-000000000000";
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden-text");
const JAPANESE: &str = "ja_JP.UTF-8";

/// A machine, a backend whose answers are set, and what was printed until now.
struct Script {
    machine: Machine,
    server: Scripted,
    answers: Arc<Mutex<Option<(u16, &'static str)>>>,
    locale: &'static str,
    text: String,
}

impl Script {
    fn new(locale: &'static str) -> Script {
        let answers = Arc::new(Mutex::new(None));
        let next = answers.clone();
        let server = Scripted::backend(move |request| match *next.lock().expect("the answers") {
            Some((409, "no-free-seat")) if request.path.starts_with("/v1") => {
                let problem = json!({
                    "type": "urn:els:problem:no-free-seat", "title": "All seats of this license key are taken",
                    "status": 409, "code": "no-free-seat", "seats": {"total": 3, "used": 3},
                });
                Some(problem_document(409, &problem))
            }
            Some((status, code)) if code != "repository" && request.path.starts_with("/v1") => {
                Some(problem(status, code))
            }
            Some((status, "repository")) if request.path.starts_with("/repo") => Some(raw(status, &[], "")),
            _ if request.path.starts_with("/v1/seats") && request.method == "GET" => Some(seats(request)),
            _ => None,
        });
        let machine = Machine::new();
        machine.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        machine.write("/sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8051-b4c04f4e3231\n");
        machine.write(
            "/etc/els-register.toml",
            &format!("server = \"{}\"\nsupport = \"els@example.com\"\n", server.url()),
        );
        Script { machine, server, answers, locale, text: String::new() }
    }

    /// The backend answers with this error from now on.
    fn answers(&self, error: Option<(u16, &'static str)>) {
        *self.answers.lock().expect("the answers") = error;
    }

    /// Writes the configuration with these lines in addition.
    fn configures(&self, more: &str) {
        let url = self.server.url();
        self.machine
            .write("/etc/els-register.toml", &format!("server = \"{url}\"\nsupport = \"els@example.com\"\n{more}\n"));
    }

    fn types(&mut self, line: &str) {
        let arguments: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let mut command = self.machine.agent_command(&arguments);
        self.runs(line, command.env("LC_ALL", self.locale));
    }

    fn types_as_nobody(&mut self, line: &str) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = self.machine.agent_command_as_nobody(&arguments);
        self.runs(line, command.env("LC_ALL", self.locale));
    }

    fn runs(&mut self, line: &str, command: &mut Command) {
        let Run { code, stdout, stderr, .. } = run(command);
        writeln!(self.text, "$ els-register {line}\n{stdout}{stderr}[{}]\n", code.unwrap_or(-1)).expect("a text");
    }

    /// What was printed, with examples for what differs from run to run.
    fn printed(&self) -> String {
        let mut text = self.text.replace(&self.server.url(), "https://els.example.com");
        let address = self.server.url();
        text = text.replace(address.split_once("://").expect("a URL").1, "els.example.com:443");
        text = text.replace(&self.machine.root().display().to_string(), "");
        Shown::default().text(&text)
    }
}

fn seats(_: &Request) -> Answer {
    let seat = |id: &str, more: serde_json::Value| {
        let mut seat = json!({
            "registration": id, "machine": OTHER, "state": "active", "os": {"id": "almalinux", "version": "9.6"}, "arch": "x86_64",
            "registered_at": "2026-11-20T01:02:03Z",
        });
        seat.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        seat
    };
    answer(
        200,
        &json!({
            "key_id": "k-1", "product": {"id": "almalinux-9-els", "name": "AlmaLinux 9 ELS"},
            "expires": "2099-12-31T23:59:59Z", "seats": {"total": 3, "used": 2},
            "registrations": [
                seat(OTHER, json!({"label": "web 1", "last_seen_at": "2026-11-25T01:02:03Z"})),
                seat("1b4e28ba-2fa1-41d2-883f-0016d3cca427", json!({})),
            ],
        }),
    )
}

/// Every action, and what can go wrong with it.
fn play(locale: &'static str) -> String {
    let mut script = Script::new(locale);
    for line in
        ["--help", "--version", "", "--kye", "--status --key SECRET-KEY", "--key", "--status -q -v", "SECRET-KEY"]
    {
        script.types(line);
    }
    for line in ["--register", "--key short", "--key TEST-KEY\u{ff0d}0001", "--key ELS-00000-00000-00000-00000-00001"] {
        script.types(line);
    }
    script.types_as_nobody(&format!("--key {KEY}"));
    for line in ["--status", "--refresh", "--unregister", "--report"] {
        script.types(line);
    }
    for (status, code) in [
        (400, "invalid-request"),
        (403, "unknown-key"),
        (403, "key-expired"),
        (403, "key-not-yet-valid"),
        (403, "key-suspended"),
        (403, "key-revoked"),
        (403, "system-not-covered"),
        (409, "no-free-seat"),
        (500, "internal"),
        (403, "a-code-of-a-later-version"),
    ] {
        script.answers(Some((status, code)));
        script.types(&format!("--key {KEY}"));
    }
    script.answers(Some((403, "key-release-denied")));
    script.types(&format!("--release {OTHER} --key {KEY}"));
    for status in [401, 403, 404, 500] {
        script.answers(Some((status, "repository")));
        script.types(&format!("--key {KEY} --timeout 1"));
    }
    script.answers(None);
    for line in [
        "--server http://els.example.com",
        "--server https://127.0.0.1:1 --timeout 1",
        "--proxy ftp://p:1",
        "--timeout soon",
    ] {
        script.types(&format!("--key {KEY} {line}"));
    }
    script.types(&format!("--key {KEY} --dry-run"));
    script.types(&format!("--key {KEY} --label web-1 -v"));
    script.types(&format!("--key {KEY}"));
    script.types("--status");
    script.types("--status --offline");
    script.types_as_nobody("--status");
    script.types(&format!("--seats --key {KEY}"));
    script.types(&format!("--release {OTHER} --key {KEY}"));
    script.types("--release 1 --key TEST-KEY-0001");
    script.types("--refresh");
    script.types("--report");
    script.types_as_nobody("--report");
    for (status, code) in [
        (401, "credential-invalid"),
        (404, "unknown-registration"),
        (410, "registration-released"),
        (503, "unavailable"),
    ] {
        script.answers(Some((status, code)));
        script.types("--status --timeout 1");
    }
    script.types("--unregister --timeout 1");
    script.answers(None);
    // Files of the registration are altered or lost, and come back.
    script.machine.write("/etc/dnf/vars/els_url", "https://elsewhere.example.com\n");
    script.types("--status");
    script.types("--refresh");
    script.machine.write("/etc/yum.repos.d/epel.repo", "[epel]\nenabled=1\n");
    script.machine.write("/etc/yum.repos.d/els.repo", "[els-updates]\nname=x\n");
    script.types(&format!("--key {KEY}"));
    fs::remove_file(script.machine.path("/etc/yum.repos.d/epel.repo")).expect("the file");
    script.machine.write("/var/lib/els-register/registration.json", "{\n");
    script.types("--status");
    script.types("--refresh");
    script.configures("proxy = \"http://carol:hunter2@127.0.0.1:1\"");
    script.types("--status --timeout 1");
    script.configures("timeout = \"soon\"");
    script.types("--status");
    script.configures("");
    // Another machine id and hardware id: a copy.
    script.machine.write("/etc/machine-id", "00000000000000000000000000000001\n");
    script.types("--status");
    script.types("--refresh");
    script.types(&format!("--key {KEY} --dry-run"));
    script.types(&format!("--key {KEY} --moved"));
    script.types("--unregister --dry-run");
    script.types("--unregister");
    script.printed()
}

/// Promise: language
#[test]
fn each_action_prints_what_the_golden_texts_have_in_both_languages() {
    for (name, locale) in [("en", "C.UTF-8"), ("ja", JAPANESE)] {
        let file = format!("{GOLDEN}/{name}.txt");
        let printed = play(locale);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &printed).expect("the file");
        }
        let expected = fs::read_to_string(&file).expect("the file");
        for (found, expected) in printed.split("\n$ ").zip(expected.split("\n$ ")) {
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(printed, expected, "{name}");
    }
}

/// Promise: language
#[test]
fn japanese_needs_a_utf_8_locale_and_json_is_english_in_every_language() {
    let script = Script::new(JAPANESE);
    let prints = |name: &str, locale: &str, arguments: &[&str]| {
        let mut command = script.machine.agent_command(arguments);
        run(command.env_remove("LC_ALL").env(name, locale)).text()
    };
    for name in ["LANG", "LC_MESSAGES", "LC_ALL"] {
        for locale in ["ja_JP.UTF-8", "ja_JP.utf8", "ja_JP", "ja"] {
            assert!(prints(name, locale, &["--status"]).contains("登録されていません"), "{name}={locale}");
        }
        for locale in ["", "C", "POSIX", "en_US.UTF-8", "ja_JP.eucJP", "ja_JP.SJIS"] {
            assert!(prints(name, locale, &["--status"]).is_ascii(), "{name}={locale}");
        }
    }
    let eula = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/EULA.ja.txt")).expect("the agreement");
    assert_eq!(prints("LANG", JAPANESE, &["--eula"]).trim(), eula.trim());
    assert!(eula.lines().all(|line| els_host::language::width(line) <= 80));
    for arguments in [
        &["--status", "--json"][..],
        &["--report", "--json"],
        &["--help", "--json"],
        &["--eula", "--json"],
        &["--kye", "--json"],
    ] {
        let [english, japanese] = ["C", JAPANESE].map(|locale| prints("LC_ALL", locale, arguments));
        let timeless = |text: String| text.split("\\ntime").next().unwrap_or_default().to_owned();
        assert_eq!(timeless(english), timeless(japanese), "{arguments:?}");
    }
}

/// Promise: language
#[test]
fn japanese_fits_a_terminal_and_leaves_no_sentence_in_english() {
    let text = fs::read_to_string(format!("{GOLDEN}/ja.txt")).expect("the file");
    let mut faults = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("$ ")) {
        // A seat is one line, for grep(1); a request is shown as it is sent.
        let long = is_id(line.get(..36).unwrap_or_default())
            || line.starts_with("送信内容: ")
            || line.contains("<example: ")
            || line.trim_start().starts_with('"');
        // An identifier, a path or a command is a word or two; a sentence has three, with spaces between.
        let words = line.split(|c: char| !c.is_ascii_alphabetic() && c != ' ' && c != '\'');
        let sentence = words.into_iter().find(|run| run.split(' ').filter(|word| word.len() > 1).count() >= 3);
        let english = sentence.is_some() && !ENGLISH.iter().any(|known| line.contains(known));
        if english || !long && els_host::language::width(line) > 80 {
            faults.push(line);
        }
    }
    assert_eq!(faults, [""; 0]);
}

/// What is English in Japanese too: values of the backend, and commands.
const ENGLISH: [&str; 4] =
    ["<from the backend>", "dnf clean all", "ELS for AlmaLinux", "title of a-code-of-a-later-version"];
