//! Keys and seats by the admin API, with exact answers; and that a token reaches what is its own and nothing else.

use els_ledger::Permission;
use els_testkit::http::{Answer, ask};
use serde_json::{Value, json};

use super::admin_api::code;
use super::http_world::*;

const ONCE: (&str, &str) = ("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324");

fn order() -> Value {
    json!({"seats": 5, "expires": "2027-03-31", "contract": "C-1", "reseller": "North", "note": "n"})
}

impl World {
    /// The head of a whole export, and its text.
    fn export(&self, file: &str, token: &str) -> (String, String) {
        use std::io::{Read, Write};
        // HTTP/1.0: without chunks.
        let host = self.staff;
        let request =
            format!("GET /admin/v1/exports/{file} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let mut stream = els_testkit::http::connect(host);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        (head.to_owned(), body.to_owned())
    }

    fn key_made(&self, token: &str, body: &Value) -> Value {
        self.admin_json(201, "POST", "/admin/v1/keys", token, body)
    }
}

/// Promise: admin-once
#[test]
fn a_201_whose_answer_was_lost_is_had_again_with_the_same_license_key() {
    let world = World::new();
    let token = world.token(1, Permission::ALL, |_| {});
    let post = |body: &Value, key| world.admin_with("POST", "/admin/v1/keys", &token, &[key], &body.to_string());
    let first = post(&order(), ONCE);
    assert_eq!(first.status, 201, "{first:?}");
    let made = first.json();
    assert_eq!((&made["expires"], &made["expires_zone"]), (&json!("2027-03-31T14:59:59Z"), &json!("Asia/Tokyo")));
    let license = made["key"].as_str().unwrap();
    assert!(license.starts_with("ELS-"));
    let again = post(&order(), ONCE);
    assert_eq!((again.status, &again.body, again.header("etag")), (201, &first.body, first.header("etag")));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    let mut other = order();
    other["seats"] = json!(6);
    assert_eq!(code(&post(&other, ONCE)), "idempotency-key-reused");
    // With the contract alone the key is found, and its text is not in the answer.
    let found = world.admin_json(200, "POST", "/admin/v1/keys", &token, &order());
    assert_eq!((&found["key_id"], &found["key"]), (&made["key_id"], &Value::Null));
    let taken = world.admin("POST", "/admin/v1/keys", &token, &other.to_string());
    assert_eq!((code(&taken).as_str(), &taken.json()["key_id"]), ("contract-taken", &made["key_id"]));
    // No file of the database has the license key, nor the idempotency key.
    let mut read = 0;
    for file in std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        read += bytes.len();
        for secret in [license, ONCE.1, token.as_str()] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", file.display());
        }
    }
    assert!(read > 10_000 && !world.log().contains(license));
    let body = json!({"old_until": "2027-02-01"}).to_string();
    let path = format!("/admin/v1/keys/{}/rotations", made["key_id"].as_str().unwrap());
    assert_eq!(code(&world.admin("POST", &path, &token, &body)), "invalid-request");
    let rotate =
        || world.admin_with("POST", &path, &token, &[("Idempotency-Key", "\"another-key-of-24-signs\"")], &body);
    let rotated = rotate();
    assert_eq!((rotated.status, rotate().body), (201, rotated.body.clone()));
}

/// Promise: admin-versions
/// Promise: admin-dry-run
#[test]
fn a_key_is_changed_by_a_merge_patch_under_its_version() {
    let world = World::new();
    let token = world.token(1, Permission::ALL, |_| {});
    let made = world.key_made(&token, &order());
    let path = format!("/admin/v1/keys/{}", made["key_id"].as_str().unwrap());
    let read = world.admin("GET", &path, &token, "");
    let etag = read.header("etag").unwrap().to_owned();
    let patch =
        |body: Value, headers: &[(&str, &str)]| world.admin_with("PATCH", &path, &token, headers, &body.to_string());
    assert_eq!(code(&patch(json!({"expiry": "2028-01-01"}), &[])), "invalid-request", "a typing error is refused");
    assert_eq!(code(&patch(json!({"seats_add": 2}), &[])), "precondition-required");
    let dry = world.admin_with("PATCH", &format!("{path}?dry_run=true"), &token, &[], &json!({"seats": 9}).to_string());
    assert_eq!((dry.status, &dry.json()["after"]["seats"]["total"]), (200, &json!(9)));
    assert_eq!(world.admin("GET", &path, &token, "").body, read.body);
    let changed = patch(json!({"seats_add": 2, "note": null}), &[("If-Match", &etag)]);
    assert_eq!(changed.status, 200, "{changed:?}");
    let changed_json = changed.json();
    assert_eq!(changed_json["before"]["note"], "n");
    assert_eq!((&changed_json["after"]["note"], &changed_json["after"]["seats"]["total"]), (&Value::Null, &json!(7)));
    assert_eq!(code(&patch(json!({"seats_add": 2}), &[("If-Match", &etag)])), "precondition-failed");
    let put = |state: &str| {
        let body = json!({"state": state, "reason": "unpaid"}).to_string();
        world.admin("PUT", &format!("{path}/state"), &token, &body)
    };
    assert_eq!(put("suspended").json()["state"], "suspended");
    assert_eq!((put("revoked").status, put("revoked").status), (200, 200));
    assert_eq!(code(&put("active")), "key-revoked");
    assert_eq!(code(&put("asleep")), "invalid-request");
    let events = world.admin_json(200, "GET", "/admin/v1/events", &token, &Value::Null);
    let events = events["events"].as_array().unwrap();
    let suspended = events.iter().find(|event| event["event"] == "key-suspended").unwrap();
    assert_eq!((&suspended["detail"], &suspended["origin"]), (&json!("unpaid"), &json!("admin-api")));
    assert!(suspended["actor"].as_str().unwrap().starts_with("token t-"), "{suspended}");
}

/// Promise: admin-releases
/// Promise: admin-feed
#[test]
fn seats_are_listed_in_pages_released_and_seen_in_the_feed() {
    let world = World::new();
    let token = world.token(1, Permission::ALL, |_| {});
    let key = world.key("a", 9);
    let machines: Vec<Machine> = (1..=5).map(|number| world.registered(&key, number)).collect();
    let (mut target, mut seen) = ("/admin/v1/keys/a/seats?limit=2".to_owned(), Vec::new());
    loop {
        let answer = world.admin("GET", &target, &token, "");
        let page = answer.json();
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["registration"].as_str().unwrap().to_owned()),
        );
        let Some(link) = answer.header("link") else { break };
        target = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
        assert!(target.ends_with(page["next"].as_str().unwrap()));
    }
    assert_eq!(seen, machines.iter().map(|machine| machine.id.to_string()).collect::<Vec<_>>());
    let cursor = world.admin_json(200, "GET", "/admin/v1/seats?limit=2", &token, &Value::Null)["next"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = world.admin("GET", &format!("/admin/v1/seats?limit=2&arch=aarch64&after={cursor}"), &token, "");
    assert_eq!(code(&other), "invalid-request", "a cursor belongs to its filter");
    assert_eq!(code(&world.admin("GET", "/admin/v1/seats?lable=x", &token, "")), "invalid-request");

    let feed = world.admin_json(200, "GET", "/admin/v1/events?limit=1000", &token, &Value::Null);
    let next = feed["next"].as_str().unwrap();
    let body = json!({"filter": {}, "expected": 4}).to_string();
    let differs = world.admin("POST", "/admin/v1/keys/a/releases", &token, &body);
    assert_eq!((code(&differs).as_str(), &differs.json()["count"]), ("count-differs", &json!(5)));
    let body = json!({"registrations": [machines[0].id, machines[0].id]});
    let released = world.admin_json(200, "POST", "/admin/v1/keys/a/releases", &token, &body);
    assert_eq!(released["items"], json!([{"registration": machines[0].id, "outcome": "released"}]));
    for _ in 0..2 {
        let path = format!("/admin/v1/registrations/{}", machines[1].id);
        assert_eq!(world.admin("DELETE", &path, &token, "").status, 204);
        assert_eq!(world.admin_json(200, "GET", &path, &token, &Value::Null)["state"], "released");
    }
    let feed = world.admin_json(200, "GET", &format!("/admin/v1/events?after={next}"), &token, &Value::Null);
    let told: Vec<&str> =
        feed["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(told, ["released", "released"]);
    let found = world.admin_json(200, "GET", "/admin/v1/find?q=contract-a", &token, &Value::Null);
    assert_eq!(found["keys"][0]["seats"]["used"], 3);
    // A reader that waits has the next event as soon as it is there.
    let next = feed["next"].as_str().unwrap();
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.admin("GET", &format!("/admin/v1/events?wait=20&after={next}"), &token, ""));
        std::thread::sleep(std::time::Duration::from_millis(300));
        world.registered(&key, 9);
        waiting.join().unwrap()
    });
    assert_eq!(waited.json()["events"][0]["event"], "seat-taken");
    let mut bytes = [0; 16];
    bytes[7] = 1;
    let forged = base64_url(&bytes);
    assert_eq!(code(&world.admin("GET", &format!("/admin/v1/events?after={forged}"), &token, "")), "cursor-gone");
}

/// Promise: admin-export
#[test]
fn an_export_has_every_row_its_place_in_the_feed_and_an_end() {
    let world = World::new();
    let token = world.token(1, Permission::ALL, |_| {});
    let reseller = world.token(2, Permission::ALL, |token| token.reseller = Some("North".into()));
    let key = world.key("a", 9);
    let machines: Vec<Machine> = (1..=5).map(|number| world.registered(&key, number)).collect();
    let (head, body) = world.export("seats.jsonl", &token);
    let rows: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = rows[..5].iter().map(|row| row["registration"].as_str().unwrap()).collect();
    assert_eq!(ids, machines.iter().map(|machine| machine.id.to_string()).collect::<Vec<_>>());
    assert_eq!((rows.len(), &rows[5]), (6, &json!({"end": true, "rows": 5})));
    assert!(rows[0]["machine"].is_null(), "machine ids are left out unless they are asked for");
    let cursor = head.lines().find_map(|line| line.strip_prefix("els-cursor: ")).unwrap();
    world.registered(&key, 6);
    let feed = world.admin_json(200, "GET", &format!("/admin/v1/events?after={cursor}"), &token, &Value::Null);
    let told = feed["events"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["registration"]), (1, &json!(Machine::new(6).id)));
    let (_, csv) = world.export("keys.csv", &token);
    assert!(csv.starts_with("\u{feff}key_id,state,") && csv.contains("\r\na,active,almalinux-9-els,9,6,,"), "{csv}");
    assert!(world.export("seats.jsonl?ids=true", &token).1.contains("\"machine\""));
    assert_eq!(world.export("events.jsonl", &token).1.lines().count(), 8);
    assert_eq!(world.export("seats.jsonl?arch=aarch64", &token).1, "{\"end\":true,\"rows\":0}\n", "the filter counts");
    assert_eq!(world.export("seats.jsonl", &reseller).1, "{\"end\":true,\"rows\":0}\n");
    for (file, said) in [("seats.xml", "not-found"), ("all.csv", "not-found"), ("seats.csv?limit=5", "invalid-request")]
    {
        assert_eq!(code(&world.admin("GET", &format!("/admin/v1/exports/{file}"), &token, "")), said, "{file}");
    }
}

/// Promise: admin-isolation
#[test]
fn what_a_token_does_not_reach_is_answered_as_what_does_not_exist() {
    let world = World::new();
    let all = world.token(1, Permission::ALL, |_| {});
    let reseller = world.token(2, Permission::ALL, |token| token.reseller = Some("North".into()));
    let product = world.token(3, Permission::ALL, |token| token.products = vec!["another-product".into()]);
    let none = world.token(4, &[], |_| {});
    let key = world.key("foreign", 9);
    let machine = world.registered(&key, 1);
    let unknown = Machine::new(200).id.to_string();
    let before = world.admin("GET", "/admin/v1/events?limit=1000", &all, "").body;
    // Every route of the description, with the ids that it takes.
    let document = ask(world.staff, "GET", "/admin/openapi.json", &[], "").json();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|name| name.len() < 7) {
            let method = method.to_ascii_uppercase();
            let send = |token: &str, key: &str, registration: &str| {
                let target = path.replace("{key_id}", key).replace("{registration}", registration);
                let headers = [ONCE, ("If-Match", "*")];
                let headers = if method == "GET" { &headers[..0] } else { &headers[..] };
                world.admin_with(&method, &target, token, headers, &body_of(&method, path, registration))
            };
            if path.contains("_id}") || path.contains("{registration}") {
                for token in [&reseller, &product] {
                    let foreign = send(token, "foreign", &machine.id.to_string());
                    let missing = send(token, "missing", &unknown);
                    // The list of releases repeats the ids that were asked for.
                    assert_eq!(answered(&foreign), answered(&missing), "{method} {path}");
                    assert_eq!(code(&foreign), "not-found", "{method} {path}");
                }
                tried += 1;
            }
            if !path.ends_with("whoami") && !path.ends_with("products") {
                let query = if path.ends_with("find") { "?q=x" } else { "" };
                let answer = match method.as_str() {
                    "GET" => world.admin("GET", &format!("{}{query}", path.replace("{file}", "seats.csv")), &none, ""),
                    _ => send(&none, "foreign", &machine.id.to_string()),
                };
                assert_eq!(code(&answer), "forbidden", "{method} {path}");
                assert!(answer.json()["scope"].is_string());
            }
        }
    }
    assert_eq!(tried, 9, "calls with an id");
    for token in [&reseller, &product] {
        for list in ["keys", "seats"] {
            assert_eq!(
                world.admin_json(200, "GET", &format!("/admin/v1/{list}"), token, &Value::Null),
                json!({"items": []})
            );
        }
        let found = world.admin_json(200, "GET", "/admin/v1/find?q=foreign", token, &Value::Null);
        assert_eq!(found, json!({"keys": [], "registrations": []}));
        let feed = world.admin_json(200, "GET", "/admin/v1/events", token, &Value::Null);
        assert_eq!(feed["events"], json!([]));
    }
    // A reseller's keys get its own name, and another's contract is not told apart further.
    let made = world.key_made(&reseller, &json!({"seats": 1, "expires": "2027-03-31", "contract": "N-1"}));
    assert_eq!(made["reseller"], "North");
    let other = json!({"seats": 1, "expires": "2027-03-31", "contract": "N-2", "reseller": "South"});
    assert_eq!(code(&world.admin("POST", "/admin/v1/keys", &reseller, &other.to_string())), "invalid-request");
    let taken = json!({"seats": 1, "expires": "2027-03-31", "contract": "contract-foreign"}).to_string();
    let taken = world.admin("POST", "/admin/v1/keys", &reseller, &taken);
    assert_eq!((code(&taken).as_str(), &taken.json()["key_id"]), ("contract-taken", &Value::Null));
    let path = format!("/admin/v1/keys/{}", made["key_id"].as_str().unwrap());
    let answer = world.admin("PATCH", &path, &reseller, &json!({"contract": "contract-foreign"}).to_string());
    assert_eq!((code(&answer).as_str(), &answer.json()["key_id"]), ("contract-taken", &Value::Null));
    // Nothing but that key was made.
    let after = world.admin_json(200, "GET", "/admin/v1/events?limit=1000", &all, &Value::Null);
    let before: Value = serde_json::from_slice(&before).unwrap();
    let count = |feed: &Value| feed["events"].as_array().unwrap().len();
    assert_eq!(count(&after), count(&before) + 1);
}

/// A body that the route accepts.
fn body_of(method: &str, path: &str, registration: &str) -> String {
    let body = match (method, path.rsplit('/').next().unwrap()) {
        ("POST", "keys") => order(),
        ("POST", "releases") => json!({"registrations": [registration]}),
        ("PUT", "state") => json!({"state": "revoked"}),
        ("POST" | "PATCH", _) => json!({}),
        _ => return String::new(),
    };
    body.to_string()
}

/// What an answer says, apart from the id of its request and the time.
fn answered(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let changes = ["x-request-id", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !changes.contains(&name.to_ascii_lowercase().as_str()));
    (answer.status, headers.cloned().collect(), answer.body.clone())
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
