//! A product that keeps a minor release: dnf's `$releasever` is pinned, for the distribution's own repositories too, and put back.

use els_testkit::Machine;
use els_testkit::scripted::{Scripted, answer, registration};

const KEY: &str = "TEST-KEY-0001";
const RELEASEVER: &str = "/etc/dnf/vars/releasever";
const SAVE: &str = "/var/lib/els-register/releasever.els-save";

/// A backend whose keys are for AlmaLinux 9.6.
fn backend() -> Scripted {
    Scripted::backend(|request| {
        let mut body = registration(request);
        body["repo"]["file"] = "els-almalinux-9.6-esu".into();
        let known = matches!(request.method.as_str(), "PUT" | "GET") && request.path.starts_with("/v1");
        known.then(|| answer(200, &body))
    })
}

fn machine(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    // The value of the tests' own dnf, which cannot find it out on this computer.
    let _ = std::fs::remove_file(machine.path(RELEASEVER));
    machine
}

fn repository(id: &str, url: &str) -> String {
    format!("[{id}]\nname={id}\nbaseurl={url}\ngpgcheck=0\n")
}

/// Promise: release-pinned
#[test]
fn neither_the_sections_nor_the_distributions_own_leave_the_minor_release() {
    let server = backend();
    let machine = machine(&server);
    machine.write(RELEASEVER, "9\n");
    let url = format!("{}/repo/distribution/$releasever/BaseOS/", server.url());
    machine.write("/etc/yum.repos.d/almalinux.repo", &repository("baseos", &url));
    machine.write("/etc/yum.repos.d/other.repo", &repository("other", "https://other.example/$releasever/"));
    machine.write("/etc/yum.repos.d/fixed.repo", &repository("fixed", "https://other.example/9/"));

    let run = machine.agent(&["--key", KEY, "--json"]).succeeds();
    let warnings = run.json()["warnings"].as_array().expect("warnings").clone();
    let pinned: Vec<_> = warnings.iter().filter(|warning| warning["code"] == "releasever-pinned").collect();
    assert_eq!(pinned.len(), 1, "{run}");
    let message = pinned[0]["message"].as_str().expect("a text");
    assert!(message.contains("9.6") && message.contains(": other;"), "{message}");
    assert_eq!((machine.read(RELEASEVER).as_str(), machine.read(SAVE).as_str()), ("9.6\n", "9\n"));

    // Neither answer is complete metadata: what counts is where dnf looks.
    let _ = machine.dnf(&["--repo=baseos", "--repo=els-updates", "makecache"]);
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("/repo/distribution/9.6/BaseOS/repodata/repomd.xml")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("/repo/almalinux/9.6-esu/updates/")), "{log:?}");

    // A second time changes nothing; what somebody removed comes back.
    assert_eq!(machine.agent(&["--key", KEY, "--json"]).succeeds().json()["changed"], false);
    std::fs::remove_file(machine.path(RELEASEVER)).expect("the pin");
    machine.agent(&["--status", "--json"]).exits(10);
    machine.agent(&["--refresh"]).succeeds();
    assert_eq!(machine.read(RELEASEVER), "9.6\n");

    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(machine.read(RELEASEVER), "9\n");
    assert!(!machine.has(SAVE));
}

/// Promise: release-pinned
#[test]
fn where_there_was_no_value_none_is_left_and_one_of_the_administrators_own_stays() {
    let server = backend();
    let machine = machine(&server);
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(machine.read(RELEASEVER), "9.6\n");
    machine.agent(&["--unregister"]).succeeds();
    assert!(!machine.has(RELEASEVER) && !machine.has(SAVE));

    machine.agent(&["--key", KEY]).succeeds();
    machine.write(RELEASEVER, "9.4\n");
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(machine.read(RELEASEVER), "9.4\n");
}

/// Promise: release-pinned
#[test]
fn after_a_major_upgrade_the_machine_is_not_pinned_back() {
    for refresh in [&["--refresh", "--offline"][..], &["--refresh"]] {
        let server = backend();
        let machine = machine(&server);
        machine.agent(&["--key", KEY]).succeeds();
        let system = machine.read("/etc/os-release").replace("9.6", "10.1");
        machine.write("/etc/os-release", &system);
        machine.agent(refresh).succeeds();
        assert!(!machine.has(RELEASEVER), "{refresh:?}");
        assert!(!machine.has("/etc/yum.repos.d/els.repo"), "{refresh:?}");
        // leapp's own value stays.
        machine.write(RELEASEVER, "10\n");
        machine.agent(refresh).succeeds();
        assert_eq!(machine.read(RELEASEVER), "10\n");
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(machine.read(RELEASEVER), "10\n");
        assert!(!machine.has("/etc/yum.repos.d/els.repo.els-off"), "{refresh:?}");
    }
}
