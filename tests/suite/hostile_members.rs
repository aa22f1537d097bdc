//! Every member of every answer, taken away, of another type, or with a value that could do harm.
//!
//! The answers are taken apart by the test, so that no member is forgotten. What each may hold is said once more, in a table
//! of its own (`fits`), and not asked of the agent. The agent has to tell the two apart: what fits is used, what does not is
//! `bad-answer`, exit 7, and nothing is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use els_testkit::Machine;
use els_testkit::scripted::{Request, Scripted, answer, problem_document, registration};

const KEY: &str = "TEST-KEY-0001";
const STATE: &str = "/var/lib/els-register/registration.json";

/// The places of all members in a document, as JSON pointers.
fn members(document: &Value) -> Vec<String> {
    match document {
        Value::Object(object) => {
            let below = |(name, value): (&String, &Value)| {
                let inner = members(value).into_iter().map(move |rest| format!("/{name}{rest}"));
                std::iter::once(format!("/{name}")).chain(inner).collect::<Vec<_>>()
            };
            object.iter().flat_map(below).collect()
        }
        Value::Array(array) => array
            .iter()
            .enumerate()
            .flat_map(|(at, v)| members(v).into_iter().map(move |r| format!("/{at}{r}")))
            .collect(),
        _ => Vec::new(),
    }
}

/// Values for every member; `None` takes the member away.
fn values() -> Vec<Option<Value>> {
    let mut deep = json!("x");
    for _ in 0..60 {
        deep = json!([deep]);
    }
    let mut values = vec![None];
    values.extend(
        [
            Value::Null,
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(""),
            json!("x"),
            json!("../../etc/passwd"),
            json!("https://user:pass@192.0.2.1/\n[evil]\ngpgcheck=0"),
            json!("http://192.0.2.1/repo"),
            json!("\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\u{0}"),
            json!("9999-99-99T99:99:99Z"),
            json!("a".repeat(2000)),
            json!([]),
            json!({}),
            json!(["x"]),
            deep,
        ]
        .map(Some),
    );
    values
}

/// Whether a member of a registration, a seat list or a problem document may hold a value.
fn fits(pointer: &str, value: Option<&Value>) -> bool {
    let is = |judge: fn(&str) -> bool| value.and_then(Value::as_str).is_some_and(judge);
    let name = pointer.rsplit('/').next().expect("a member");
    match (pointer, name) {
        // Unknown members are ignored, whatever they hold.
        _ if pointer.starts_with("/member_of_a_later_version") => true,
        ("/contract" | "/detail" | "/next" | "/hardware" | "/moved_from", _)
        | (_, "label" | "last_seen_at" | "until" | "networks")
            if value.is_none_or(Value::is_null) =>
        {
            true
        }
        ("/key_id" | "/contract" | "/product/id" | "/product/name" | "/code" | "/detail", _)
        | (_, "id" | "version" | "arch") => is(|_| true),
        ("/type" | "/title", _) => value.is_none() || is(|_| true),
        ("/seats", _) if value.is_none_or(Value::is_null) => false,
        // Absent, it is active.
        (_, "state") => value.is_none(),
        ("/seats/total" | "/seats/used", _) | (_, "networks") => value.is_some_and(Value::is_u64),
        (_, "label") => is(|text| {
            (1..=128).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || c == '\u{202e}')
        }),
        ("/registrations", _) => value == Some(&json!([])),
        _ => false,
    }
}

/// All changes of one member, as (where, what it became, the changed document).
fn changes(document: &Value) -> Vec<(String, Option<Value>, Value)> {
    let mut all = Vec::new();
    for pointer in members(document) {
        for value in values() {
            let mut changed = document.clone();
            let (parent, name) = pointer.rsplit_once('/').expect("a member");
            match (changed.pointer_mut(parent).expect("its parent"), &value) {
                (Value::Object(object), None) => drop(object.remove(name)),
                (Value::Object(object), Some(value)) => drop(object.insert(name.to_owned(), value.clone())),
                (Value::Array(array), Some(value)) => array[name.parse::<usize>().expect("a place")] = value.clone(),
                (Value::Array(array), None) => array.clear(),
                (other, _) => panic!("{pointer} in {other}"),
            }
            if changed != *document {
                all.push((pointer.clone(), value, changed));
            }
        }
    }
    all
}

/// A server whose answers to `method` below `/v1` can be set, and a machine of it.
struct World {
    machine: Machine,
    server: Scripted,
    lie: Arc<Mutex<Option<(u16, Value)>>>,
}

impl World {
    fn new(method: &'static str) -> World {
        let lie: Arc<Mutex<Option<(u16, Value)>>> = Arc::default();
        let told = lie.clone();
        let server = Scripted::backend(move |request: &Request| {
            let told = told.lock().expect("no test panics here");
            let (status, body) =
                told.as_ref().filter(|_| request.method == method && request.path.starts_with("/v1"))?;
            // The id is the agent's own; the host is the one that it asked.
            let text = body.to_string().replace("THE-ID", request.id());
            let text = text.replace("THE-HOST", request.header("host").unwrap_or_default());
            let body: Value = serde_json::from_str(&text).expect("JSON");
            Some(if *status < 400 { answer(*status, &body) } else { problem_document(*status, &body) })
        });
        let machine = Machine::new();
        machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
        World { machine, server, lie }
    }

    fn tells(&self, status: u16, body: &Value) {
        *self.lie.lock().expect("no test panics here") = Some((status, body.clone()));
    }

    fn tells_the_truth(&self) {
        *self.lie.lock().expect("no test panics here") = None;
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |path: String| {
            let content = std::fs::read(self.machine.path(&path)).unwrap_or_default();
            (path, content)
        };
        self.machine.files().into_iter().map(read).collect()
    }
}

/// A good registration answer, with places for what the agent chose.
fn good() -> Value {
    let request = Request {
        scheme: "http",
        method: "PUT".into(),
        path: "/v1/registrations/THE-ID".into(),
        headers: vec![("host".into(), "THE-HOST".into())],
        body: String::new(),
    };
    let mut document = registration(&request);
    document["state"] = json!("superseded");
    document["until"] = json!("2026-02-06T03:04:05Z");
    document["moved_from"] = json!("1b4e28ba-2fa1-41d2-883f-0016d3cca427");
    document
}

fn is_bad_answer(run: &els_testkit::Run, at: &str) {
    assert_eq!((run.code, &run.json()["error"]["code"]), (Some(7), &json!("bad-answer")), "{at}\n{run}");
    cannot_steer(run, at);
}

fn cannot_steer(run: &els_testkit::Run, at: &str) {
    let text = run.text();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{at}\n{run}");
}

/// Promise: answer-members
#[test]
fn every_member_of_a_registration_answer_is_judged_before_anything_is_written() {
    let document = good();
    let world = World::new("PUT");
    let before = world.contents();
    let (mut used, mut refused) = (0, 0);
    for (pointer, value, changed) in changes(&document) {
        let at = format!("{pointer} = {value:?}");
        world.tells(201, &changed);
        let run = world.machine.agent(&["--key", KEY, "--json", "--timeout", "10"]);
        if fits(&pointer, value.as_ref()) {
            assert_eq!(run.code, Some(0), "{at}\n{run}");
            cannot_steer(&run, &at);
            world.machine.agent(&["--unregister"]).succeeds();
            used += 1;
        } else if run.code == Some(8) {
            // A name that a repo file may have, and no shipped one has.
            assert_eq!((pointer.as_str(), &value), ("/repo/file", &Some(json!("x"))), "{run}");
        } else {
            is_bad_answer(&run, &at);
            let mut after = world.contents();
            // What was asked may have been carried out: the journal alone remembers it.
            after.remove("/var/lib/els-register/pending.json");
            assert_eq!(after, before, "{at}");
            refused += 1;
        }
        world.tells_the_truth();
        world.machine.agent(&["--unregister"]).succeeds();
        assert_eq!(world.contents(), before, "{at}");
    }
    assert!(used > 30 && refused > 100, "{used} used, {refused} refused");
    println!("registration answers: {used} used, {refused} refused, failures 0");
}

/// Promise: answer-members
#[test]
fn every_member_of_the_answer_to_a_question_is_judged_and_nothing_changes() {
    let document = good();
    let world = World::new("GET");
    world.machine.registers(KEY);
    let before = world.contents();
    let mut refused = 0;
    for (at, (pointer, value, changed)) in changes(&document).into_iter().enumerate() {
        if fits(&pointer, value.as_ref()) {
            continue;
        }
        // Each question in turn: what judges the answers is one function.
        let action = ["--status", "--refresh"][at % 2];
        let at = format!("{action}: {pointer} = {value:?}");
        world.tells(200, &changed);
        let run = world.machine.agent(&[action, "--json", "--timeout", "10"]);
        if run.code == Some(8) || pointer == "/repo/file" && value == Some(json!("x")) {
            cannot_steer(&run, &at);
        } else {
            is_bad_answer(&run, &at);
        }
        assert_eq!(world.contents(), before, "{at}");
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
    println!("answers to a question: {refused} refused, failures 0");
    world.tells_the_truth();
    world.machine.agent(&["--status"]).succeeds();
}

/// Promise: answer-not-ours
#[test]
fn every_member_of_an_error_is_checked_and_the_error_of_another_server_ends_nothing() {
    let document = json!({
        "type": "urn:els:problem:registration-released", "title": "Released", "status": 410,
        "code": "registration-released", "detail": "gone", "seats": {"total": 2, "used": 1},
    });
    let world = World::new("DELETE");
    let (mut ended, mut told) = (0, 0);
    for (pointer, value, changed) in changes(&document) {
        let at = format!("{pointer} = {value:?}");
        if !world.machine.has(STATE) {
            world.tells_the_truth();
            world.machine.registers(KEY);
        }
        world.tells(410, &changed);
        let run = world.machine.agent(&["--unregister", "--json", "--timeout", "10"]);
        told += 1;
        cannot_steer(&run, &at);
        match (pointer.as_str(), &value) {
            // A code of a later version is its status's: 410 is none that says how it ends.
            ("/code", Some(Value::String(_))) => assert_eq!(run.code, Some(1), "{at}\n{run}"),
            ("/seats", None | Some(Value::Null)) => assert_eq!(run.code, Some(0), "{at}\n{run}"),
            _ if fits(&pointer, value.as_ref()) => {
                assert_eq!(run.code, Some(0), "gone is gone: {at}\n{run}");
                ended += 1;
            }
            _ => {
                is_bad_answer(&run, &at);
                assert!(world.machine.has(STATE), "never done, never gone: {at}");
            }
        }
    }
    assert!(ended > 10, "{ended}");
    println!("errors: {told} told, {ended} taken, failures 0");
}

/// Promise: answer-members
#[test]
fn every_member_of_a_seat_list_is_judged() {
    const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    let document = json!({
        "key_id": "k-test", "product": {"id": "p", "name": "P"}, "expires": "2099-12-31T23:59:59Z",
        "seats": {"total": 10, "used": 1},
        "registrations": [{
            "registration": ID, "state": "superseded", "until": "2026-02-06T03:04:05Z", "label": "web 1",
            "os": {"id": "almalinux", "version": "9.6"}, "arch": "x86_64", "registered_at": "2026-01-02T03:04:05Z",
            "last_seen_at": "2026-01-02T03:04:05Z", "networks": 3,
        }],
    });
    let world = World::new("GET");
    let before = world.contents();
    let (mut shown, mut refused) = (0, 0);
    for (pointer, value, changed) in changes(&document) {
        let at = format!("{pointer} = {value:?}");
        world.tells(200, &changed);
        let run = world.machine.agent(&["--seats", "--key", KEY, "--json", "--timeout", "10"]);
        if fits(&pointer, value.as_ref()) {
            assert_eq!(run.code, Some(0), "{at}\n{run}");
            cannot_steer(&run, &at);
            cannot_steer(&world.machine.agent(&["--seats", "--key", KEY]).succeeds(), &at);
            shown += 1;
        } else {
            is_bad_answer(&run, &at);
            refused += 1;
        }
    }
    assert!(shown > 30 && refused > 100, "{shown} shown, {refused} refused");
    println!("seat lists: {shown} shown, {refused} refused, failures 0");
    assert_eq!(world.contents(), before);
    assert!(world.server.log().iter().all(|line| line.starts_with("GET /v1/seats")), "{:?}", world.server.log());
}

/// Promise: answer-members
#[test]
fn bodies_that_are_too_large_too_deep_or_repeat_members_are_not_accepted() {
    let good = good().to_string();
    let bodies = [
        ("exactly the limit is read", good.replacen('{', "{\"padding\":\"PAD-TO-8192\",", 1), true),
        ("one byte more", good.replacen('{', "{\"padding\":\"PAD-TO-8193\",", 1), false),
        ("a member twice", good.replacen('{', "{\"key_id\":\"other\",", 1), false),
        (
            "some depth in an unknown member",
            good.replacen('{', &format!("{{\"a\":{}{},", "[".repeat(120), "]".repeat(120)), 1),
            true,
        ),
        (
            "great depth in an unknown member",
            good.replacen('{', &format!("{{\"a\":{}{},", "[".repeat(2000), "]".repeat(2000)), 1),
            true,
        ),
        ("something after it", format!("{good}x"), false),
        ("two documents", format!("{good}{good}"), false),
        ("no UTF-8 in a text", good.replace("k-test", "k-\u{0}"), false),
        ("a byte order mark", format!("\u{feff}{good}"), false),
    ];
    for (name, body, fits) in bodies {
        let told = body.clone();
        let server = Scripted::backend(move |request| {
            (request.method == "PUT").then(|| {
                let body = told.replace("THE-ID", request.id());
                let mut body = body.replace("THE-HOST", request.header("host").unwrap_or_default());
                for length in [8192, 8193] {
                    let place = format!("PAD-TO-{length}");
                    let missing = (length + place.len()).saturating_sub(body.len());
                    body = body.replace(&place, &"x".repeat(missing));
                }
                els_testkit::scripted::raw(201, &[("Els-Api", "1"), ("Content-Type", "application/json")], &body)
            })
        });
        let machine = Machine::new();
        machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
        let run = machine.agent(&["--key", KEY, "--json", "--timeout", "10"]);
        if fits {
            assert_eq!(run.code, Some(0), "{name}\n{run}");
        } else {
            is_bad_answer(&run, name);
            assert!(!machine.has(STATE) && !machine.has("/etc/yum.repos.d/els.repo"), "{name}");
        }
    }
}
