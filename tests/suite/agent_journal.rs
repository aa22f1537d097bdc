//! The agent's memory: what is resumed, what is released, and when, after answers that were lost, keys that were
//! switched, and files that were lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use els_testkit::Machine;
use els_testkit::scripted::{Answer, Request, Scripted, answer, problem, raw, registration};

const KEY: &str = "TEST-KEY-0001";
const OTHER_KEY: &str = "TEST-KEY-0002";
const PENDING: &str = "/var/lib/els-register/pending.json";
const STATE: &str = "/var/lib/els-register/registration.json";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// A backend that can be told to fail in one way, and works otherwise.
fn backend_with_switch(
    fails: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
) -> (Scripted, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let on = switch.clone();
    (Scripted::backend(move |request| if on.load(Ordering::SeqCst) { fails(request) } else { None }), switch)
}

fn id(machine: &Machine) -> String {
    machine.read("/etc/dnf/vars/els_id").trim().to_owned()
}

fn count(server: &Scripted, method: &str, id: &str) -> usize {
    server.requests().iter().filter(|request| request.method == method && request.id() == id).count()
}

fn json_of(machine: &Machine, path: &str) -> Value {
    serde_json::from_str(&machine.read(path)).expect("a JSON document")
}

/// Promise: lost-answer
/// Promise: files-and-modes
#[test]
fn a_request_whose_answer_was_lost_is_sent_again_as_it_was() {
    let (server, lost) = backend_with_switch(|request| (request.method == "PUT").then_some(Answer::Hangup));
    let machine = machine_of(&server);
    lost.store(true, Ordering::SeqCst);
    machine.agent(&["--key", KEY]).exits(7).says("no second seat");
    assert_eq!(machine.mode(PENDING), 0o600);
    assert!(!machine.has("/etc/yum.repos.d/els.repo"));
    lost.store(false, Ordering::SeqCst);
    machine.agent(&["--key", KEY]).succeeds();
    let requests = server.requests();
    assert_eq!((&requests[0].path, &requests[0].body), (&requests[1].path, &requests[1].body));
    assert!(!machine.has(PENDING));
}

/// Promise: journal-other-key
#[test]
fn what_an_interrupted_run_took_with_another_key_or_server_is_released() {
    let (server, lost) = backend_with_switch(|request| (request.method == "PUT").then_some(Answer::Hangup));
    let machine = machine_of(&server);
    lost.store(true, Ordering::SeqCst);
    machine.agent(&["--key", KEY]).exits(7);
    let first = server.requests()[0].id().to_owned();
    lost.store(false, Ordering::SeqCst);
    machine.agent(&["--key", OTHER_KEY]).succeeds();
    assert_eq!(count(&server, "DELETE", &first), 1);
    assert_ne!(id(&machine), first);

    lost.store(true, Ordering::SeqCst);
    let machine = machine_of(&server);
    machine.agent(&["--key", KEY]).exits(7);
    let first = server.requests().last().unwrap().id().to_owned();
    let elsewhere = Scripted::backend(|_| None);
    machine.agent(&["--key", KEY, "--server", &elsewhere.url()]).succeeds();
    assert_eq!(count(&server, "DELETE", &first), 1, "at its own server");
    assert_eq!(count(&elsewhere, "DELETE", &first), 0);
}

/// Promise: journal-other-key
/// Promise: unregister-not-registered
#[test]
fn unregistering_releases_what_an_interrupted_run_took() {
    let (server, lost) = backend_with_switch(|request| (request.method == "PUT").then_some(Answer::Hangup));
    let machine = machine_of(&server);
    let before = machine.files();
    lost.store(true, Ordering::SeqCst);
    machine.agent(&["--key", KEY]).exits(7);
    machine.agent(&["--status"]).exits(3).says("was interrupted");
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(count(&server, "DELETE", server.requests()[0].id()), 1);
    assert_eq!(machine.files(), before);
    machine.agent(&["--unregister"]).succeeds().says("not registered");
}

/// Promise: register-other-key
/// Promise: ids-check-value
#[test]
fn another_key_takes_its_seat_before_the_old_one_is_released() {
    let (server, refuse) =
        backend_with_switch(|request| (request.method == "PUT").then(|| problem(409, "no-free-seat")));
    let machine = machine_of(&server);
    machine.registers(KEY);
    let (old, token) = (id(&machine), machine.read("/etc/dnf/vars/els_token"));
    refuse.store(true, Ordering::SeqCst);
    machine.agent(&["--key", OTHER_KEY]).exits(6);
    assert_eq!((id(&machine), machine.read("/etc/dnf/vars/els_token")), (old.clone(), token), "the old one stays");
    assert_eq!(count(&server, "DELETE", &old), 0);
    assert!(!machine.has(PENDING));
    machine.agent(&["--status"]).succeeds();

    refuse.store(false, Ordering::SeqCst);
    let run = machine.agent(&["--key", OTHER_KEY, "--json"]).succeeds();
    assert_eq!(run.json()["changed"], true);
    assert_ne!(id(&machine), old);
    assert_eq!(count(&server, "DELETE", &old), 1);
    assert!(!machine.has(PENDING));
}

/// Promise: register-other-key
#[test]
fn an_old_seat_that_cannot_be_released_causes_a_warning_and_is_tried_again() {
    let (server, down) = backend_with_switch(|request| (request.method == "DELETE").then_some(Answer::Hangup));
    let machine = machine_of(&server);
    machine.registers(KEY);
    let old = id(&machine);
    down.store(true, Ordering::SeqCst);
    let run = machine.agent(&["--key", OTHER_KEY, "--json"]).succeeds();
    let warnings = run.json()["warnings"].to_string();
    assert!(warnings.contains(&format!("--release {old}")), "{run}");
    assert_eq!(json_of(&machine, PENDING)["giving_back"][0]["id"], old.as_str());
    down.store(false, Ordering::SeqCst);
    machine.agent(&["--key", OTHER_KEY]).succeeds();
    assert_eq!(count(&server, "DELETE", &old), 2);
    assert!(!machine.has(PENDING));
}

/// Promise: state-lost
#[test]
fn a_lost_state_is_made_anew_from_the_variables_without_a_second_id() {
    let server = Scripted::backend(|_| None);
    for action in [&["--key", KEY][..], &["--refresh"]] {
        let machine = machine_of(&server);
        machine.registers(KEY);
        let (before, old) = (machine.files(), id(&machine));
        std::fs::remove_file(machine.path(STATE)).unwrap();
        machine.agent(&["--status"]).exits(10);
        machine.agent(action).succeeds();
        assert_eq!((machine.files(), id(&machine)), (before, old));
        machine.agent(&["--status"]).succeeds();
    }
}

/// Promise: state-unreadable
#[test]
fn a_state_that_cannot_be_read_needs_no_hand_to_remove_it() {
    let server = Scripted::backend(|_| None);
    for content in ["", "{", "[]", "{\"version\":1}", "\u{0}\u{0}\u{0}"] {
        let machine = machine_of(&server);
        machine.registers(KEY);
        let old = id(&machine);
        machine.write(STATE, content);
        machine.write(PENDING, content);
        machine.agent(&["--key", KEY]).succeeds().says("taken as lost");
        assert_eq!(id(&machine), old);
        machine.agent(&["--status"]).succeeds();
        machine.write(STATE, content);
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(count(&server, "DELETE", &old), 1);
        assert!(!machine.has(STATE) && !machine.has("/etc/dnf/vars/els_token"), "{content}");
    }
}

/// Promise: state-unreadable
#[test]
fn a_state_of_a_newer_version_is_left_alone() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let mut state = json_of(&machine, STATE);
    state["version"] = json!(2);
    machine.write(STATE, &state.to_string());
    let count = server.requests().len();
    for arguments in
        [&["--key", KEY][..], &["--refresh"], &["--unregister"], &["--unregister", "--force"], &["--status"]]
    {
        machine.agent(arguments).exits(1).says("version 2").says("update els-register");
    }
    assert_eq!(json_of(&machine, STATE)["version"], 2);
    assert_eq!(server.requests().len(), count);
}

/// Promise: state-lost
#[test]
fn a_lost_token_needs_the_key_and_a_new_id() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let old = id(&machine);
    std::fs::remove_file(machine.path("/etc/dnf/vars/els_token")).unwrap();
    machine.agent(&["--status"]).exits(10).says("els_token is missing");
    machine.agent(&["--refresh"]).exits(10).says("--key");
    machine.agent(&["--unregister"]).exits(5).says("--force");
    machine.agent(&["--key", KEY]).succeeds();
    assert_ne!(id(&machine), old);
    machine.agent(&["--status"]).succeeds();
}

/// Promise: unregister-refused
/// Promise: unregister-not-registered
#[test]
fn unregistering_puts_everything_back_when_it_was_certainly_not_carried_out() {
    for (status, code, exit) in [(401, "credential-invalid", 5), (429, "rate-limited", 7), (400, "invalid-request", 1)]
    {
        let (server, refuse) =
            backend_with_switch(move |request| (request.method == "DELETE").then(|| problem(status, code)));
        let machine = machine_of(&server);
        machine.registers(KEY);
        let before = machine.files();
        refuse.store(true, Ordering::SeqCst);
        machine.agent(&["--unregister", "--timeout", "1"]).exits(exit).says("nothing was changed");
        assert_eq!(machine.files(), before, "{code}");
        machine.agent(&["--status", "--offline"]).succeeds();
    }
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let before = machine.files();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = ["--unregister", "--timeout", "1", "--server", &format!("http://{closed}")];
    machine.agent(&arguments).exits(7).says("nothing was changed");
    assert_eq!(machine.files(), before);
}

/// Promise: unregister-unknown
#[test]
fn unregistering_that_may_have_been_carried_out_stays_off_and_is_finished_by_the_next_run() {
    type Fault = fn() -> Answer;
    let faults: [(&str, Fault); 4] = [
        ("no answer", || Answer::Hangup),
        ("an internal error", || problem(500, "internal")),
        ("a portal", || raw(200, &[], "<html>")),
        ("a stranger's 204", || raw(204, &[], "")),
    ];
    for (name, fault) in faults {
        let (server, lost) = backend_with_switch(move |request| (request.method == "DELETE").then(fault));
        let machine = machine_of(&server);
        let before = machine.files();
        machine.registers(KEY);
        let old = id(&machine);
        lost.store(true, Ordering::SeqCst);
        machine.agent(&["--unregister"]).exits(7).says("stay off");
        assert!(
            !machine.has("/etc/yum.repos.d/els.repo") && machine.has("/etc/yum.repos.d/els.repo.els-off"),
            "{name}"
        );
        machine.agent(&["--unregister"]).exits(7).says("stay off");
        lost.store(false, Ordering::SeqCst);
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(count(&server, "DELETE", &old), 3, "{name}");
        assert_eq!(machine.files(), before, "{name}");
    }
}

/// Promise: unregister-unknown
#[test]
fn a_refusal_after_an_unavailable_does_not_prove_that_nothing_was_done() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = Scripted::backend(move |request| {
        (request.method == "DELETE").then(|| match asked.fetch_add(1, Ordering::SeqCst) {
            // The change may have been made: a commit whose outcome is not known is answered so.
            0 => problem(503, "unavailable"),
            _ => problem(401, "credential-invalid"),
        })
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    machine.agent(&["--unregister"]).exits(5).says("stay off");
    assert!(!machine.has("/etc/yum.repos.d/els.repo") && machine.has(PENDING));
}

/// Promise: unregister-unknown
#[test]
fn what_an_earlier_run_may_have_released_stays_off_in_later_runs() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = Scripted::backend(move |request| {
        (request.method == "DELETE" && asked.load(Ordering::SeqCst) < 2).then(|| {
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 => Answer::Hangup,
                _ => problem(401, "credential-invalid"),
            }
        })
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    machine.agent(&["--unregister"]).exits(7).says("stay off");
    machine.agent(&["--unregister"]).exits(5).says("stay off");
    assert!(!machine.has("/etc/yum.repos.d/els.repo") && machine.has(PENDING));
    machine.agent(&["--unregister"]).succeeds();
    assert!(!machine.has(PENDING));
}

/// Promise: unregister-unknown
#[test]
fn registering_cancels_an_unregistration_in_doubt() {
    let (server, lost) = backend_with_switch(|request| (request.method == "DELETE").then_some(Answer::Hangup));
    let machine = machine_of(&server);
    machine.registers(KEY);
    let old = id(&machine);
    lost.store(true, Ordering::SeqCst);
    machine.agent(&["--unregister"]).exits(7);
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(id(&machine), old, "the backend says that it is held");
    assert!(machine.has("/etc/yum.repos.d/els.repo") && !machine.has("/etc/yum.repos.d/els.repo.els-off"));
    assert!(!machine.has(PENDING));
    assert_eq!(count(&server, "DELETE", &old), 1, "what is held is never released");
}

/// Promise: unregister-cleans
/// Promise: unregister-not-registered
#[test]
fn a_registration_that_is_gone_is_cleaned_up() {
    for (status, code) in [(404, "unknown-registration"), (410, "registration-released")] {
        let (server, gone) =
            backend_with_switch(move |request| (request.method == "DELETE").then(|| problem(status, code)));
        let machine = machine_of(&server);
        let before = machine.files();
        machine.registers(KEY);
        gone.store(true, Ordering::SeqCst);
        machine.agent(&["--unregister"]).succeeds().says("rpm -e").says("dnf clean all");
        assert_eq!(machine.files(), before);
    }
}

/// Promise: unregister-force
#[test]
fn force_cleans_up_whatever_the_backend_says_and_names_the_way_to_free_the_seat() {
    let (server, lost) = backend_with_switch(|request| (request.method == "DELETE").then_some(Answer::Hangup));
    let machine = machine_of(&server);
    let before = machine.files();
    machine.registers(KEY);
    let old = id(&machine);
    lost.store(true, Ordering::SeqCst);
    let run = machine.agent(&["--unregister", "--force"]).succeeds();
    assert!(run.text().contains(&format!("--release {old}")), "{run}");
    assert_eq!(machine.files(), before);
}

/// Promise: unregister-force
#[test]
fn force_cleans_up_also_where_no_server_is_known_or_the_token_is_lost() {
    let server = Scripted::backend(|_| None);
    for lost in [STATE, "/etc/dnf/vars/els_token"] {
        let machine = machine_of(&server);
        machine.registers(KEY);
        let old = id(&machine);
        std::fs::remove_file(machine.path(lost)).unwrap();
        std::fs::remove_file(machine.path("/etc/els-register.toml")).unwrap();
        machine.agent(&["--unregister"]).fails();
        assert!(machine.has("/etc/yum.repos.d/els.repo"), "{lost}");
        machine.agent(&["--unregister", "--force"]).succeeds().says(&format!("--release {old}"));
        let left: Vec<String> = machine.files().into_iter().filter(|path| path.contains("els")).collect();
        assert_eq!(left, [""; 0], "{lost}");
        assert_eq!(count(&server, "DELETE", &old), 0);
    }
}

/// Promise: register-failure-releases
#[test]
fn a_failure_after_the_backend_accepted_releases_the_seat_now_or_later() {
    let (server, down) = backend_with_switch(|request| match request.method.as_str() {
        "DELETE" => Some(Answer::Hangup),
        "GET" if request.path.starts_with("/repo") => Some(raw(500, &[], "")),
        _ => None,
    });
    let machine = machine_of(&server);
    down.store(true, Ordering::SeqCst);
    machine.agent(&["--key", KEY]).exits(7).says("--release");
    let first = server.requests()[0].id().to_owned();
    down.store(false, Ordering::SeqCst);
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(count(&server, "DELETE", &first), 2);
    assert!(!machine.has(PENDING));
}

/// Promise: register-other-key
/// Promise: state-server
#[test]
fn the_server_in_the_state_is_asked_until_a_flag_says_otherwise() {
    let (first, second) = (Scripted::backend(|_| None), Scripted::backend(|_| None));
    let machine = machine_of(&first);
    machine.registers(KEY);
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", second.url()));
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--refresh"]).succeeds();
    assert!(second.requests().is_empty());
    machine.agent(&["--status", "--server", &second.url()]).succeeds();
    assert_eq!(second.requests().len(), 1);
    let old = id(&machine);
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(count(&first, "DELETE", &old), 1, "another server: a seat there, then the old one goes back");
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(second.log().last().map(String::as_str), Some("DELETE /v1/registrations/ID"));
}

/// Promise: refresh
#[test]
fn a_renewal_and_a_new_url_arrive_with_a_refresh() {
    let (server, renewed) = backend_with_switch(|request| {
        (request.method == "GET" && request.path.starts_with("/v1")).then(|| {
            let mut body = registration(request);
            body["expires"] = json!("2100-06-30T23:59:59Z");
            body["repo"]["url"] = json!("https://new.example.com/els/");
            answer(200, &body)
        })
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    renewed.store(true, Ordering::SeqCst);
    let run = machine.agent(&["--refresh", "--json"]).succeeds();
    assert_eq!(run.json()["changed"], true);
    assert_eq!(machine.read("/etc/dnf/vars/els_url"), "https://new.example.com/els\n");
    assert_eq!(json_of(&machine, STATE)["expires"], "2100-06-30T23:59:59Z");
    assert_eq!(machine.agent(&["--refresh", "--json"]).succeeds().json()["changed"], false);
}

#[test]
fn a_token_that_cannot_be_read_for_the_moment_is_not_taken_as_lost() {
    use els_testkit::{agent_program, program, run};
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let (old, before) = (id(&machine), server.requests().len());
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let strace = |injection: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program("strace"));
        command.args(["-f", "-qqq", "-e", "trace=openat", "-o"]).arg(&trace).args(["-e", injection]);
        run(command.arg(agent_program()).arg("--root").arg(machine.root()).args(arguments))
    };
    // A run that gets as far as asking, to see which call opens the token.
    let nowhere = ["--key", OTHER_KEY, "--server", "http://127.0.0.1:1", "--timeout", "1"];
    strace("signal=none", &nowhere).exits(7);
    let text = std::fs::read_to_string(&trace).unwrap();
    let nth = 1 + text.lines().position(|line| line.contains("\"els_token\"")).expect("the token is read");
    for error in ["EIO", "EACCES"] {
        let injection = format!("inject=openat:error={error}:when={nth}");
        strace(&injection, &["--key", OTHER_KEY]).exits(1).says("els_token");
    }
    assert_eq!(server.requests().len(), before, "nothing was asked for");
    machine.agent(&["--key", OTHER_KEY]).succeeds();
    assert_eq!(count(&server, "DELETE", &old), 1, "the old seat went back");
}
