//! Seats from the customer's side: one machine a seat, moved as often as one likes, and never two for one machine however
//! often registering is killed.

use std::process::Command;

use els_testkit::{Backend, Machine, Repository, agent_program, program, run};

#[test]
fn the_second_machine_is_refused_until_the_first_releases_its_seat() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let [first, second] = [(); 2].map(|()| Machine::configured_for(&backend, &repository));
    first.registers(&key.key);

    let before = second.files();
    let refused = second.agent(&["--key", &key.key, "--json"]).exits(6).json();
    assert_eq!(refused["error"]["code"], "no-free-seat", "{refused}");
    assert_eq!(refused["seats"], serde_json::json!({"total": 1, "used": 1}), "{refused}");
    assert_eq!(second.files(), before, "a refused machine is as it was");
    second.agent(&["--key", &key.key]).exits(6).says("--unregister").says("--seats");

    first.agent(&["--unregister"]).succeeds();
    second.registers(&key.key);
    second.dnf(&["install", "example"]).succeeds();
    first.agent(&["--key", &key.key]).exits(6);
    assert_eq!(backend.seats(&key).len(), 1);
    backend.agrees_with_itself();
}

/// Promise: register-again
#[test]
fn registering_again_takes_no_second_seat_and_changes_nothing() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(2);
    let machine = Machine::configured_for(&backend, &repository);
    let first = machine.registers(&key.key);
    let again = machine.agent(&["--key", &key.key, "--json"]).succeeds().json();
    assert_eq!(again["changed"], false, "{again}");
    assert_eq!(again["registration"]["id"], first["id"], "{again}");
    assert_eq!(again["seats"], serde_json::json!({"total": 2, "used": 1}), "{again}");
}

/// Promise: seats-list
#[test]
fn a_machine_that_is_gone_is_found_and_its_seat_is_freed_from_another() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let gone = Machine::configured_for(&backend, &repository);
    gone.agent(&["--key", &key.key, "--label", "the machine that burnt"]).succeeds();
    let id = gone.read("/etc/dnf/vars/els_id").trim().to_owned();
    drop(gone);

    let other = Machine::configured_for(&backend, &repository);
    other.agent(&["--key", &key.key]).exits(6);
    other.agent(&["--seats", "--key", &key.key]).succeeds().says(&id).says("the machine that burnt");
    let list = other.agent(&["--seats", "--key", &key.key, "--json"]).succeeds().json();
    assert_eq!(list["registrations"][0]["this_machine"], false, "{list}");
    other.agent(&["--release", &id, "--key", &key.key]).succeeds();
    other.registers(&key.key);
    let list = other.agent(&["--seats", "--key", &key.key, "--json"]).succeeds().json();
    assert_eq!(list["registrations"][0]["this_machine"], true, "{list}");
    assert_eq!(list["registrations"].as_array().map(Vec::len), Some(1), "{list}");
}

/// Promise: kill-anywhere
#[test]
fn registering_may_be_killed_at_any_change_it_makes_and_is_simply_run_again() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    // Each of these changes the disk or the other side; the Nth call of each is where the agent dies.
    for call in ["connect", "rename,renameat,renameat2", "fsync", "unlink,unlinkat"] {
        let mut kills = 0;
        for nth in 1.. {
            let key = backend.key(1);
            let machine = Machine::configured_for(&backend, &repository);
            let killed = run(&mut killed_at(&machine, call, nth, &["--key", &key.key]));
            if killed.signal.is_none() && killed.code == Some(0) {
                break;
            }
            assert!(nth < 100, "{call}: the agent makes no end of them");
            kills += 1;
            // Never an enabled section with a credential that is not whole.
            if machine.has("/etc/yum.repos.d/els.repo") {
                for variable in ["els_url", "els_id", "els_token"] {
                    assert!(machine.has(&format!("/etc/dnf/vars/{variable}")), "{call} {nth}: no {variable}\n{killed}");
                }
            }
            machine.agent(&["--key", &key.key]).succeeds();
            machine.agent(&["--status"]).succeeds();
            assert_eq!(backend.seats(&key).len(), 1, "{call} {nth}: one seat");
            assert!(!machine.has("/var/lib/els-register/pending.json"), "{call} {nth}: nothing is pending");
            let leftovers: Vec<_> = machine.files().into_iter().filter(|path| path.contains("/.els-")).collect();
            assert!(leftovers.is_empty(), "{call} {nth}: {leftovers:?}");
            machine.agent(&["--unregister"]).succeeds();
            assert_eq!(backend.seats(&key).len(), 0, "{call} {nth}: no seat");
        }
        assert!(kills > 0 || call.starts_with("unlink"), "{call}: the agent was never killed there");
    }
    backend.agrees_with_itself();
}

/// The agent under strace, which kills it when it makes the call for the Nth time.
fn killed_at(machine: &Machine, call: &str, nth: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("strace"));
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(agent_program()).arg("--root").arg(machine.root()).args(arguments);
    command
}
