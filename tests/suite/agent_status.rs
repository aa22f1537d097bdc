//! `--status` as what monitors a machine: whether the repository opens for it, and what would keep updates away.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use els_testkit::scripted::{Scripted, raw};
use els_testkit::{Backend, Machine, Repository, Run, run};

const KEY: &str = "TEST-KEY-0001";
const REPO: &str = "/etc/yum.repos.d/els.repo";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// The codes of the warnings of `--status`, and its run.
#[track_caller]
fn status(machine: &Machine, code: i32) -> (Vec<String>, Run) {
    let run = machine.agent(&["--status", "--json"]).exits(code);
    let document: Value = run.json();
    let warnings = document["warnings"].as_array().expect("warnings").iter();
    (warnings.map(|warning| warning["code"].as_str().expect("a code").to_owned()).collect(), run)
}

/// Promise: status-probe
#[test]
fn a_repository_that_does_not_open_is_exit_7() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};
    let answer = Arc::new(AtomicU16::new(0));
    let given = answer.clone();
    let server = Scripted::backend(move |request| match given.load(Ordering::SeqCst) {
        status @ 1.. if request.path.contains("repomd.xml") => Some(raw(status, &[], "<html>")),
        _ => None,
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    let (_, run) = status(&machine, 0);
    assert_eq!(run.json()["repository"]["state"], "reachable", "{run}");
    for refusal in [401, 403, 404, 200, 502] {
        answer.store(refusal, Ordering::SeqCst);
        let (_, run) = status(&machine, 7);
        let document = run.json();
        assert_eq!(document["error"]["code"], "repository-refused", "{run}");
        assert_eq!((&document["state"], &document["repository"]["state"]), (&"registered".into(), &"refused".into()));
        // Offline nothing is asked.
        machine.agent(&["--status", "--offline"]).succeeds();
    }
    answer.store(0, Ordering::SeqCst);
    // Where dnf would look: the base URL in force and dnf's own architecture.
    let edited = machine.read(REPO).replace("$els_url/almalinux/9/updates/", "$els_url/mirror/");
    machine.write(REPO, &edited);
    machine.write("/etc/dnf/vars/basearch", "x86_64_v2\n");
    let (_, run) = status(&machine, 0);
    let url = run.json()["repository"]["url"].as_str().expect("a URL").to_owned();
    assert!(url.ends_with("/repo/mirror/x86_64_v2"), "{url}");
    let _ = machine.dnf(&["--repo=els-updates", "makecache"]);
    assert!(
        server.log().iter().any(|line| line.contains("/mirror/x86_64_v2/repodata/repomd.xml")),
        "{:?}",
        server.log()
    );
}

/// Promise: status-metadata-age
#[test]
fn metadata_older_than_thirty_days_is_warned_of() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let days = |days: u64| (now - days * 86_400).to_string();
    for (revision, old) in [(days(31), true), (days(29), false), ("9.6".to_owned(), false), ("1".to_owned(), false)] {
        let body = format!("<repomd><revision>{revision}</revision></repomd>");
        let server =
            Scripted::backend(move |request| request.path.contains("repomd.xml").then(|| raw(200, &[], &body)));
        let machine = machine_of(&server);
        machine.registers(KEY);
        let (codes, run) = status(&machine, 0);
        assert_eq!(codes.contains(&"metadata-old".to_owned()), old, "{revision}: {run}");
        assert_eq!(run.json()["repository"]["metadata_from"].is_string(), revision.len() > 3, "{revision}: {run}");
    }
}

/// Promise: status-sections
#[test]
fn sections_that_are_off_and_a_system_that_changed_are_warned_of() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    assert_eq!(status(&machine, 0).0, [""; 0]);
    let shipped = machine.read(REPO);
    for (edited, words) in [
        (shipped.replacen("enabled=1", "enabled=Off", 1), "els-updates"),
        (shipped.replace("[els-baseos]", "[other]"), "els-baseos"),
        // dnf refuses such a file as a whole.
        (format!("{shipped}nonsense\n"), "els-updates, els-baseos, els-appstream, els-extras"),
    ] {
        machine.write(REPO, &edited);
        let (codes, run) = status(&machine, 0);
        assert_eq!(codes, ["sections-off"], "{run}");
        assert!(run.stdout.contains(words), "{words}: {run}");
    }
    machine.write(REPO, &shipped);
    let system = machine.read("/etc/os-release");
    machine.write("/etc/os-release", &system.replace("9.6", "9.7"));
    assert_eq!(status(&machine, 0).0, [""; 0]);
    machine.write("/etc/os-release", &system.replace("9.6", "10.1"));
    assert_eq!(status(&machine, 0).0, ["system-changed"]);
}

/// Promise: status-metadata-key
#[test]
fn a_metadata_key_that_dnf_does_not_accept_yet_causes_a_warning() {
    const CODE: &str = "metadata-key-not-accepted";
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&backend.key(1).key);
    let unattended = |words: &[&str]| run(&mut machine.inside(&[&["dnf"], words].concat()));
    let waits = || status(&machine, 0).0.contains(&CODE.to_owned());
    assert!(!waits(), "there is no store yet");
    for words in [&["-q", "check-update"][..], &["makecache", "--timer"]] {
        let run = unattended(words).succeeds();
        assert!(!run.stdout.contains("example"), "{run}");
        assert!(waits(), "{run}");
    }
    let conf = machine.read("/etc/dnf/dnf.conf");
    for setting in ["assumeyes=1", "defaultyes=True"] {
        machine.write("/etc/dnf/dnf.conf", &format!("{conf}{setting}\n"));
        assert!(!waits(), "{setting}");
    }
    machine.write("/etc/dnf/dnf.conf", &conf);
    machine.dnf(&["--repo=els-*", "makecache"]).succeeds();
    let (codes, run) = status(&machine, 0);
    assert!(!codes.contains(&CODE.to_owned()), "{run}");
    unattended(&["-q", "list", "--available"]).succeeds().says("example");
    // Another key of the vendor, or another URL, asks again.
    let edited = machine.read(REPO).replace("/almalinux/9/updates/$basearch/", "/almalinux/9/updates/$basearch//");
    machine.write(REPO, &edited);
    let (codes, run) = status(&machine, 0);
    assert!(codes.contains(&CODE.to_owned()) && run.stdout.contains("out: els-updates;"), "{run}");
}
