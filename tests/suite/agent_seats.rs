//! The agent and the list of a key's seats: all pages of it, and the seat that is freed from elsewhere.

use serde_json::{Value, json};

use els_testkit::scripted::{Request, Scripted, answer, problem};
use els_testkit::{Machine, run};

const KEY: &str = "TEST-KEY-0001";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

fn id(number: usize) -> String {
    format!("{number:08}-0000-4000-8000-000000000000")
}

fn holder(id: &str) -> Value {
    json!({
        "registration": id, "state": "active", "label": "web 1",
        "os": {"id": "almalinux", "version": "9.6"}, "arch": "x86_64", "registered_at": "2026-01-02T03:04:05Z",
    })
}

fn page(holders: &[Value], next: Option<String>) -> Value {
    let mut page = json!({
        "key_id": "k-test", "product": {"id": "p", "name": "P"}, "expires": "2099-12-31T23:59:59Z",
        "seats": {"total": 10, "used": 3}, "registrations": holders,
    });
    if let Some(next) = next {
        page["next"] = json!(next);
    }
    page
}

fn asks_for_seats(request: &Request) -> bool {
    request.method == "GET" && request.path.starts_with("/v1/seats")
}

/// Promise: no-secret-shown
/// Promise: seats-list
#[test]
fn the_pages_of_a_seat_list_are_joined_and_this_machine_is_marked() {
    let here = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let mine = here.clone();
    let server = Scripted::backend(move |request| {
        asks_for_seats(request).then(|| match request.path.split_once("after=") {
            None => answer(200, &page(&[holder(&id(1)), holder(&id(2))], Some(id(2)))),
            Some((_, after)) => {
                assert!(after.starts_with(&id(2)), "{after}");
                answer(200, &page(&[holder(&mine.lock().unwrap())], None))
            }
        })
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    *here.lock().unwrap() = machine.read("/etc/dnf/vars/els_id").trim().to_owned();
    let run = machine.agent(&["--seats", "--key", KEY, "--json"]).succeeds();
    let document = run.json();
    let found: Vec<(String, bool)> = document["registrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seat| (seat["registration"].as_str().unwrap().to_owned(), seat["this_machine"].as_bool().unwrap()))
        .collect();
    let mine = here.lock().unwrap().clone();
    assert_eq!(found, [(id(1), false), (id(2), false), (mine.clone(), true)], "{run}");
    assert_eq!(document["seats"], json!({"total": 10, "used": 3}));
    let requests: Vec<Request> = server.requests().into_iter().filter(asks_for_seats).collect();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert!(!request.path.contains(KEY), "no key in a URL");
    }
    let text = machine.agent(&["--seats", "--key", KEY]).succeeds().says("3 of 10 seats used").says("web 1").text();
    let marked: Vec<&str> = text.lines().filter(|line| line.contains("<- this machine")).collect();
    assert_eq!(marked.len(), 1, "{text}");
    assert!(marked[0].starts_with(&mine) && marked[0].contains("last seen never"), "{text}");
}

/// Promise: seats-list
#[test]
fn a_seat_list_says_in_words_what_is_superseded_and_how_many_networks_used_it() {
    let with = |number: usize, members: Value| {
        let mut holder = holder(&id(number));
        for (name, value) in members.as_object().unwrap() {
            holder[name] = value.clone();
        }
        holder
    };
    let mut list = page(
        &[
            with(1, json!({"last_seen_at": "2026-03-04T05:06:07Z", "networks": 12})),
            with(2, json!({"state": "superseded", "until": "2026-02-06T03:04:05Z", "networks": 1})),
            with(3, json!({"state": "superseded"})),
            with(4, json!({"machine": id(9)})),
        ],
        None,
    );
    list["registrations"][3].as_object_mut().unwrap().remove("state");
    let server = Scripted::backend(move |request| asks_for_seats(request).then(|| answer(200, &list)));
    let machine = machine_of(&server);
    let run = machine.agent(&["--seats", "--key", KEY]).succeeds();
    let lines: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("0000000")).collect();
    assert_eq!(lines.len(), 4, "{run}");
    assert!(lines[0].contains("last seen 2026-03-04 from 12 networks  almalinux"), "{run}");
    assert!(lines[1].contains("last seen never from 1 network  superseded, ends on 2026-02-06  almalinux"), "{run}");
    assert!(lines[2].contains("last seen never  superseded  almalinux"), "{run}");
    assert!(lines[3].contains("last seen never  almalinux"), "a backend of an earlier version: {run}");

    let document = machine.agent(&["--seats", "--key", KEY, "--json"]).succeeds().json();
    let seats = document["registrations"].as_array().unwrap();
    assert_eq!((&seats[0]["state"], &seats[0]["networks"]), (&json!("active"), &json!(12)), "{document}");
    assert_eq!((&seats[1]["state"], &seats[1]["until"]), (&json!("superseded"), &json!("2026-02-06T03:04:05Z")));
    assert_eq!(seats[3]["state"], "active");
    assert!(seats.iter().all(|seat| seat.get("machine").is_none()), "machine ids are no part of it: {document}");
}

/// Promise: terminal-safe
/// Promise: seats-list
#[test]
fn a_seat_list_that_repeats_pages_or_has_control_characters_is_not_accepted() {
    for body in [
        page(&[holder(&id(1))], Some(id(1))),
        page(
            &[{
                let mut holder = holder(&id(1));
                holder["label"] = json!("\u{1b}[2J");
                holder
            }],
            None,
        ),
        json!([]),
    ] {
        let server = Scripted::backend(move |request| asks_for_seats(request).then(|| answer(200, &body)));
        let run = machine_of(&server).agent(&["--seats", "--key", KEY, "--json"]).exits(7);
        assert_eq!(run.json()["error"]["code"], "bad-answer", "{run}");
        assert!(server.requests().len() <= 3, "{:?}", server.log());
    }
}

/// Promise: root-needed
/// Promise: seats-release
#[test]
fn a_seat_is_freed_by_its_id_from_anywhere_without_root() {
    let server = Scripted::backend(|request| {
        (request.path.starts_with("/v1/seats/") && request.id() == id(9)).then(|| problem(404, "unknown-registration"))
    });
    let machine = machine_of(&server);
    let as_nobody = |arguments: &[&str]| run(&mut machine.agent_command_as_nobody(arguments));
    // Ids may be pasted in upper case and with blanks around them.
    let spelled = format!(" {} ", id(1).to_uppercase());
    let run = as_nobody(&["--release", &spelled, "--key", KEY, "--json"]).succeeds();
    assert_eq!(run.json()["changed"], true, "{run}");
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("DELETE", format!("/v1/seats/{}", id(1)).as_str()));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    // Another key's.
    let run = as_nobody(&["--release", &id(9), "--key", KEY, "--json"]).exits(1);
    assert_eq!(run.json()["error"]["code"], "unknown-registration", "{run}");
    let count = server.requests().len();
    for wrong in ["1", "", "../../healthz", "1b4e28ba2fa141d2883f0016d3cca427"] {
        as_nobody(&["--release", wrong, "--key", KEY]).exits(2).says("--seats");
    }
    as_nobody(&["--release", &id(1)]).exits(2).says("ELS_LICENSE_KEY");
    as_nobody(&["--seats"]).exits(2).says("ELS_LICENSE_KEY");
    assert_eq!(server.requests().len(), count, "nothing was sent");
}

/// Promise: seats-release
#[test]
fn releasing_the_machines_own_seat_says_how_to_remove_its_files() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let own = machine.read("/etc/dnf/vars/els_id").trim().to_owned();
    let run = machine.agent(&["--release", &own, "--key", KEY, "--json"]).succeeds();
    assert_eq!(run.json()["warnings"][0]["code"], "this-machine", "{run}");
    assert!(machine.has("/etc/yum.repos.d/els.repo"), "nothing is removed here");
}
