//! The agent and seats that move: to this machine, away from it, and to another key of the same contract.

use els_testkit::scripted::{Answer, Request, Scripted, answer, problem, registration};
use els_testkit::{Backend, Machine, Repository, Run};
use serde_json::{Value, json};

const KEY: &str = "TEST-KEY-0001";
const OTHER_KEY: &str = "TEST-KEY-0002";
const ELSEWHERE: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
const STATE: &str = "/var/lib/els-register/registration.json";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

fn id(machine: &Machine) -> String {
    machine.read("/etc/dnf/vars/els_id").trim().to_owned()
}

/// The messages of the warnings that a seat has moved.
fn seat_moved(run: &Run) -> Vec<String> {
    let document = run.json();
    let warnings = document["warnings"].as_array().expect("warnings").iter();
    let moved = warnings.filter(|warning| warning["code"] == "seat-moved");
    moved.map(|warning| warning["message"].as_str().expect("a text").to_owned()).collect()
}

/// The good answer with other members.
fn with(status: u16, request: &Request, members: &Value) -> Answer {
    let mut body = registration(request);
    for (name, value) in members.as_object().expect("members") {
        body[name] = value.clone();
    }
    answer(status, &body)
}

fn bodies(server: &Scripted) -> Vec<(String, Value)> {
    let puts = server.requests().into_iter().filter(|request| request.method == "PUT");
    puts.map(|request| (request.id().to_owned(), request.json())).collect()
}

/// Promise: seat-moved
#[test]
fn a_machine_that_takes_the_seat_of_another_registration_is_warned_when_it_registers() {
    let server = Scripted::backend(|request| {
        (request.method == "PUT").then(|| with(200, request, &json!({"moved_from": ELSEWHERE})))
    });
    let run = machine_of(&server).agent(&["--key", KEY, "--json"]).succeeds();
    let warnings = seat_moved(&run);
    assert!(warnings.len() == 1 && warnings[0].contains(ELSEWHERE), "{run}");
    machine_of(&server).agent(&["--key", KEY]).succeeds().says(ELSEWHERE).says("--status");
}

/// Promise: seat-moved
#[test]
fn a_machine_that_only_has_a_new_id_is_not_warned() {
    let held = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let from = held.clone();
    let server = Scripted::backend(move |request| {
        let from = from.lock().unwrap().clone();
        (request.method == "PUT" && !from.is_null()).then(|| with(200, request, &json!({"moved_from": from})))
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    let old = id(&machine);
    *held.lock().unwrap() = json!(old);
    std::fs::remove_file(machine.path("/etc/dnf/vars/els_token")).unwrap();
    let run = machine.agent(&["--key", KEY, "--json"]).succeeds();
    assert_ne!(id(&machine), old);
    assert!(seat_moved(&run).is_empty(), "{run}");
}

/// Promise: seat-moved
#[test]
fn a_machine_whose_seat_has_moved_away_is_warned_by_every_command_that_asks() {
    for (until, date) in [(Some("2026-02-06T03:04:05Z"), "2026-02-06"), (None, "--status")] {
        let superseded = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let on = superseded.clone();
        let server = Scripted::backend(move |request| {
            let mut members = json!({"state": "superseded"});
            if let Some(until) = until {
                members["until"] = json!(until);
            }
            let own = request.path.starts_with("/v1/registrations/") && request.method != "DELETE";
            (own && on.load(std::sync::atomic::Ordering::SeqCst)).then(|| with(200, request, &members))
        });
        let machine = machine_of(&server);
        machine.registers(KEY);
        superseded.store(true, std::sync::atomic::Ordering::SeqCst);
        let before = machine.files();
        for command in [&["--status", "--json"][..], &["--refresh", "--json"], &["--key", KEY, "--json"]] {
            let run = machine.agent(command).succeeds();
            assert_eq!(run.json()["state"], "registered", "{run}");
            let warnings = seat_moved(&run);
            assert!(warnings.len() == 1 && warnings[0].contains(date), "{run}");
        }
        machine.agent(&["--report"]).succeeds().says("its seat has moved");
        assert_eq!(machine.files(), before);
        machine.agent(&["--status", "--offline"]).succeeds().does_not_say("moved");
    }
}

/// Promise: register-rotated-key
#[test]
fn a_rotated_key_confirms_the_registration_that_the_machine_holds() {
    let server = Scripted::backend(|request| (request.method == "PUT").then(|| answer(200, &registration(request))));
    let machine = machine_of(&server);
    machine.registers(KEY);
    let credential = |machine: &Machine| (id(machine), machine.read("/etc/dnf/vars/els_token"));
    let held = credential(&machine);

    let run = machine.agent(&["--key", OTHER_KEY, "--dry-run", "--json"]).succeeds();
    assert_eq!(run.json()["changed"], true, "{run}");
    assert!(run.json()["request"]["url"].as_str().unwrap().ends_with(&held.0), "{run}");
    machine.agent(&["--key", OTHER_KEY, "--dry-run"]).succeeds().says("another key").says(STATE);

    let run = machine.agent(&["--key", OTHER_KEY, "--json"]).succeeds();
    assert_eq!(run.json()["changed"], true, "{run}");
    assert_eq!(credential(&machine), held);
    let sent = bodies(&server);
    assert_eq!(sent.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&held.0, &held.0]);
    assert_eq!(sent[1].1["key"], OTHER_KEY);
    assert_eq!(sent[0].1["token_sha256"], sent[1].1["token_sha256"]);
    let run = machine.agent(&["--key", OTHER_KEY, "--json"]).succeeds();
    assert_eq!(run.json()["changed"], false, "{run}");
    assert!(!server.log().iter().any(|line| line.starts_with("DELETE")), "{:?}", server.log());
    assert!(!machine.has("/var/lib/els-register/pending.json"));
}

/// Promise: register-rotated-key
/// Promise: register-other-key
#[test]
fn a_key_of_another_contract_gets_a_new_id_after_the_held_one_was_refused() {
    for (status, code) in [(409, "registration-conflict"), (410, "registration-released")] {
        let refused = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let held = refused.clone();
        let server = Scripted::backend(move |request| {
            let refuses = request.method == "PUT" && request.id() == held.lock().unwrap().as_str();
            refuses.then(|| problem(status, code))
        });
        let machine = machine_of(&server);
        machine.registers(KEY);
        let held = id(&machine);
        *refused.lock().unwrap() = held.clone();
        let run = machine.agent(&["--key", OTHER_KEY, "--json"]).succeeds();
        let new = id(&machine);
        assert_ne!(new, held);
        let ids: Vec<String> = bodies(&server).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [held.clone(), held.clone(), new], "held first, then a new one");
        let released = server.requests().into_iter().filter(|request| request.method == "DELETE");
        assert_eq!(released.map(|request| request.id().to_owned()).collect::<Vec<_>>(), [held]);
        assert_eq!(run.json()["warnings"], json!([]), "nothing is disputed: {run}");
    }
}

/// Promise: register-rotated-key
#[test]
fn another_server_is_never_shown_the_held_registration() {
    let server = Scripted::backend(|_| None);
    let other = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let held = id(&machine);
    machine.agent(&["--key", OTHER_KEY, "--server", &other.url()]).succeeds();
    assert!(!other.requests().iter().any(|request| request.path.contains(&held)), "{:?}", other.log());
    assert_eq!(server.log().last().map(String::as_str), Some("DELETE /v1/registrations/ID"));
}

/// Promise: register-rotated-key
#[test]
fn a_machine_keeps_its_seat_when_the_vendor_rotates_the_key() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&key.key);
    let held = (id(&machine), machine.read("/etc/dnf/vars/els_token"));
    let rotated = backend.ask(&["key", "rotate", &key.id]);
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--key", rotated["key"].as_str().expect("the new key")]).succeeds().says("new key");
    assert_eq!((id(&machine), machine.read("/etc/dnf/vars/els_token")), held);
    assert_eq!(backend.seats(&key).len(), 1);
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(backend.seats(&key).len(), 0);
}
