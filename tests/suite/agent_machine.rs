//! The agent and who the machine is: its ids, copies of it, and new hardware under it.

use std::process::Command;

use serde_json::Value;

use els_testkit::scripted::{Answer, Scripted, problem};
use els_testkit::{Machine, program, run};

const KEY: &str = "TEST-KEY-0001";
const UUID: &str = "/sys/class/dmi/id/product_uuid";
const APPLICATION: &str = "e15a9c3e64b24d6e8f0c5d2f7a1b3c90";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

fn sent(server: &Scripted) -> Value {
    server.requests().iter().rev().find(|request| request.method == "PUT").expect("a PUT").json()
}

fn id(machine: &Machine) -> String {
    machine.read("/etc/dnf/vars/els_id").trim().to_owned()
}

/// What systemd makes of a machine id: the program itself, which sees `id` as the machine's own.
fn systemd_id128(id: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("machine-id");
    std::fs::write(&file, format!("{id}\n")).expect("a file");
    let script = "mount --bind \"$1\" /etc/machine-id && exec systemd-id128 machine-id -u -a \"$2\"";
    let mut command = Command::new(program("unshare"));
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&file).arg(APPLICATION);
    run(&mut command).succeeds().stdout.trim().to_owned()
}

/// Promise: ids-systemd
#[test]
fn machine_and_hardware_ids_are_what_systemd_makes_of_them() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    machine.write(UUID, "4C4C4544-0042-3510-8051-B4C04F4E3231\n");
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(sent(&server)["machine"], systemd_id128("0123456789abcdef0123456789abcdef"));
    assert_eq!(sent(&server)["hardware"], systemd_id128("4c4c4544004235108051b4c04f4e3231"));
}

/// Promise: ids-random
#[test]
fn a_machine_without_an_id_gets_one_that_it_keeps() {
    let server = Scripted::backend(|_| None);
    for content in ["", "uninitialized\n"] {
        let machine = machine_of(&server);
        machine.write("/etc/machine-id", content);
        machine.agent(&["--key", KEY]).succeeds();
        let first = sent(&server)["machine"].clone();
        machine.agent(&["--key", KEY]).succeeds();
        assert_eq!(sent(&server)["machine"], first);
        machine.agent(&["--status"]).succeeds();
        let other = machine_of(&server);
        other.write("/etc/machine-id", content);
        other.agent(&["--key", KEY]).succeeds();
        assert_ne!(sent(&server)["machine"], first, "two such machines are not one");
    }
}

/// Promise: ids-not-hardware
#[test]
fn a_container_and_a_bogus_mainboard_have_no_hardware_id() {
    let server = Scripted::backend(|_| None);
    let container = machine_of(&server);
    container.write("/run/.containerenv", "");
    container.agent(&["--key", KEY]).succeeds();
    assert_eq!(sent(&server)["hardware"], Value::Null);
    let bogus = machine_of(&server);
    bogus.write(UUID, "03000200-0400-0500-0006-000700080009\n");
    bogus.agent(&["--key", KEY]).succeeds();
    assert_eq!(sent(&server)["hardware"], Value::Null);
}

/// Promise: copy-recognised
/// Promise: copy-own-machine
#[test]
fn a_copy_is_told_by_its_ids_and_never_touches_the_original() {
    let server = Scripted::backend(|_| None);
    for (path, content) in
        [("/etc/machine-id", "00112233445566778899aabbccddeeff\n"), (UUID, "11112222-3333-4444-5555-666677778888\n")]
    {
        let machine = machine_of(&server);
        machine.registers(KEY);
        let original = id(&machine);
        machine.write(path, content);
        let requests = server.requests().len();
        let run = machine.agent(&["--status", "--json"]).exits(10);
        assert_eq!((&run.json()["state"], &run.json()["error"]["code"]), (&"copied".into(), &"copied".into()), "{run}");
        machine.agent(&["--status"]).exits(10).says("--moved").says(&original);
        machine.agent(&["--unregister", "--dry-run"]).succeeds().says("--moved");
        machine.agent(&["--report", "--server", "https://127.0.0.1:1", "--timeout", "1"]).succeeds().says("--moved");
        machine.agent(&["--refresh"]).exits(10).says("--moved");
        assert_eq!(server.requests().len(), requests, "the original's credential is not used");

        machine.agent(&["--key", KEY]).succeeds().says("--moved");
        assert_ne!(id(&machine), original, "a machine of its own");
        assert!(!server.requests().iter().any(|request| request.method == "DELETE" && request.id() == original));
        machine.agent(&["--status"]).succeeds();
    }
}

/// Promise: copy-own-machine
#[test]
fn unregistering_a_copy_removes_its_files_and_frees_no_seat() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let before = machine.files();
    machine.registers(KEY);
    let original = id(&machine);
    machine.write("/etc/machine-id", "00112233445566778899aabbccddeeff\n");
    machine.agent(&["--unregister"]).succeeds().says(&original).says("--moved");
    assert_eq!(machine.files(), before);
    assert!(!server.requests().iter().any(|request| request.method == "DELETE"), "{:?}", server.log());
}

/// Promise: moved
#[test]
fn a_moved_machine_keeps_its_seat_and_id() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let old = id(&machine);
    machine.write(UUID, "11112222-3333-4444-5555-666677778888\n");
    machine.write("/etc/machine-id", "00112233445566778899aabbccddeeff\n");
    machine.agent(&["--key", KEY, "--moved"]).succeeds();
    assert_eq!(sent(&server)["moved"], true);
    assert_eq!(id(&machine), old);
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(server.log().last().map(String::as_str), Some("DELETE /v1/registrations/ID"));
}

/// Promise: journal-of-copy
#[test]
fn the_journal_of_an_image_is_dropped_and_nothing_in_it_is_deleted() {
    let server = Scripted::backend(|request| (request.method == "PUT").then(|| problem(500, "internal")));
    let machine = machine_of(&server);
    machine.agent(&["--key", KEY]).exits(7);
    let making = server.requests()[0].id().to_owned();
    machine.write("/etc/machine-id", "00112233445566778899aabbccddeeff\n");
    let working = Scripted::backend(|_| None);
    machine.agent(&["--key", KEY, "--server", &working.url()]).succeeds();
    assert_ne!(id(&machine), making);
    for known in [&server, &working] {
        assert!(!known.requests().iter().any(|request| request.method == "DELETE"), "{:?}", known.log());
    }
    assert!(!machine.has("/var/lib/els-register/pending.json"));

    // The same, and the image is unregistered instead.
    let machine = machine_of(&server);
    machine.agent(&["--key", KEY]).exits(7);
    machine.write("/etc/machine-id", "00112233445566778899aabbccddeeff\n");
    machine.agent(&["--unregister"]).succeeds().says("another machine's");
    assert!(!machine.has("/var/lib/els-register/pending.json"));
    assert!(!server.requests().iter().any(|request| request.method == "DELETE"), "{:?}", server.log());
}

/// Promise: journal-of-copy
#[test]
fn what_a_copy_began_to_register_is_its_own_and_is_resumed_or_released() {
    for action in [&["--key", KEY][..], &["--unregister"], &["--unregister", "--force"]] {
        let lost = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let on = lost.clone();
        let server = Scripted::backend(move |request| {
            (request.method == "PUT" && on.load(std::sync::atomic::Ordering::SeqCst)).then_some(Answer::Hangup)
        });
        let machine = machine_of(&server);
        let before = machine.files();
        machine.registers(KEY);
        let original = id(&machine);
        machine.write("/etc/machine-id", "00112233445566778899aabbccddeeff\n");
        lost.store(true, std::sync::atomic::Ordering::SeqCst);
        machine.agent(&["--key", KEY]).exits(7);
        let own = server.requests().last().unwrap().id().to_owned();
        assert_ne!(own, original);
        lost.store(false, std::sync::atomic::Ordering::SeqCst);
        let run = machine.agent(action).succeeds();
        let deleted = |id: &str| server.requests().iter().filter(|r| r.method == "DELETE" && r.id() == id).count();
        assert_eq!(deleted(&original), 0, "{:?}", server.log());
        if action[0] == "--key" {
            assert_eq!(id(&machine), own, "sent again as it was");
        } else {
            let freed = deleted(&own) == 1 || run.text().contains(&format!("--release {own}"));
            assert!(freed, "{run}");
            assert_eq!(machine.files(), before);
        }
    }
}

/// Promise: register-conflict
#[test]
fn a_copy_whose_state_was_lost_says_which_seat_it_left_alone() {
    let lost = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let original = lost.clone();
    let server = Scripted::backend(move |request| {
        (request.method == "PUT" && request.id() == original.lock().unwrap().as_str())
            .then(|| problem(409, "registration-conflict"))
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    let original = id(&machine);
    *lost.lock().unwrap() = original.clone();
    machine.write("/etc/machine-id", "00112233445566778899aabbccddeeff\n");
    std::fs::remove_file(machine.path("/var/lib/els-register/registration.json")).unwrap();
    let run = machine.agent(&["--key", KEY]).succeeds();
    assert!(run.stderr.contains(&format!("--release {original}")), "{run}");
    assert_ne!(id(&machine), original);
    assert!(!server.log().iter().any(|line| line.starts_with("DELETE")), "{:?}", server.log());
}

/// Promise: copy-recognised
#[test]
fn an_id_that_is_absent_on_one_side_does_not_count_as_a_difference() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    std::fs::remove_file(machine.path(UUID)).unwrap();
    machine.agent(&["--status"]).succeeds();
    machine.write("/etc/machine-id", "");
    machine.agent(&["--status"]).succeeds();
}
