//! The agent and what it is told: each answer leads to its exit code, and none but the right one is taken for success.

use serde_json::json;

use els_testkit::Machine;
use els_testkit::scripted::{Answer, Scripted, answer, problem, problem_document, raw, registration};

const KEY: &str = "TEST-KEY-0001";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// Promise: register-two-requests
/// Promise: register-put-content
#[test]
fn registering_sends_one_put_and_one_probe_and_nothing_else() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let run = machine.agent(&["--key", KEY]).succeeds().says("Registered");
    assert_eq!(server.log(), ["PUT /v1/registrations/ID", "GET /repo/almalinux/9/updates/x86_64/repodata/repomd.xml"]);
    let [put, probe] = &server.requests()[..] else { panic!("{run}") };
    let mut members: Vec<String> = put.json().as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, ["arch", "hardware", "key", "machine", "os", "token_sha256"]);
    assert_eq!(put.json()["os"], json!({"id": "almalinux", "version": "9.6"}));
    let agent = format!("els-register/{}", env!("CARGO_PKG_VERSION"));
    for request in [put, probe] {
        assert_eq!(request.header("user-agent"), Some(agent.as_str()));
        for (name, value) in &request.headers {
            let plain =
                ["host", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "authorization"];
            assert!(plain.contains(&name.as_str()), "{name}: {value}");
        }
    }
    assert!(put.header("authorization").is_none(), "the key stands in the body alone");
    let token = machine.read("/etc/dnf/vars/els_token");
    assert!(!put.body.contains(token.trim()), "the backend does not see the token");
    let machine_id = machine.read("/etc/machine-id");
    assert!(!put.body.replace('-', "").contains(machine_id.trim()), "the raw machine id stays here");
}

/// Promise: error-content
/// Promise: exit-statuses
/// Promise: network-retry
#[test]
fn each_error_of_the_backend_has_its_exit_code() {
    for (status, code, exit) in [
        (400, "invalid-request", 1),
        (401, "credential-invalid", 1),
        (403, "unknown-key", 5),
        (403, "key-expired", 5),
        (403, "key-not-yet-valid", 5),
        (403, "key-suspended", 5),
        (403, "key-revoked", 5),
        (403, "system-not-covered", 5),
        (404, "unknown-registration", 1),
        (409, "no-free-seat", 6),
        (413, "payload-too-large", 1),
        (500, "internal", 7),
        (403, "a-code-of-a-later-version", 5),
        (409, "a-code-of-a-later-version", 6),
        (418, "a-code-of-a-later-version", 1),
        (502, "a-code-of-a-later-version", 7),
    ] {
        let server = Scripted::backend(move |request| (request.method == "PUT").then(|| problem(status, code)));
        let machine = machine_of(&server);
        let before = machine.files();
        let run = machine.agent(&["--key", KEY, "--json"]).exits(exit);
        let document = run.json();
        assert_eq!(document["error"]["code"], code, "{run}");
        assert_eq!(document["error"]["request_id"], "req-1", "{run}");
        assert_eq!(document["result"], "error");
        if status < 500 {
            assert_eq!(machine.files(), before, "{code}: a refusal leaves nothing behind");
        }
        assert_eq!(server.log().len(), 1, "{code}: {:?}", server.log());
    }
}

/// Promise: answer-not-ours
/// Promise: network-no-redirect
#[test]
fn what_is_not_the_answer_of_a_backend_is_never_accepted() {
    let html = "<html><body>Please sign in</body></html>";
    type Lie = Box<dyn Fn() -> Answer + Send + Sync>;
    let lies: Vec<(&str, Lie)> = vec![
        ("a portal's page", Box::new(move || raw(200, &[("Content-Type", "text/html")], html))),
        ("a stranger's 204", Box::new(|| raw(204, &[], ""))),
        ("a stranger's 404", Box::new(|| raw(404, &[], "not found"))),
        ("a redirect", Box::new(|| raw(307, &[("Location", "https://192.0.2.1/")], ""))),
        ("a redirect with our header", Box::new(|| raw(302, &[("Els-Api", "1"), ("Location", "/")], ""))),
        ("another version", Box::new(|| raw(200, &[("Els-Api", "2")], "{}"))),
        ("no JSON", Box::new(|| raw(200, &[("Els-Api", "1")], html))),
        ("an empty object", Box::new(|| answer(200, &json!({})))),
        ("a code with another status", Box::new(|| problem(404, "no-free-seat"))),
        ("an error without a form", Box::new(|| raw(403, &[("Els-Api", "1")], "forbidden"))),
        ("deep nesting", Box::new(|| raw(200, &[("Els-Api", "1")], &"[".repeat(8000)))),
        ("an oversize body", Box::new(|| raw(200, &[("Els-Api", "1")], &" ".repeat(9000)))),
        ("no HTTP", Box::new(|| Answer::Raw(b"SSH-2.0-OpenSSH_8.7\r\n".to_vec()))),
        (
            "half an answer",
            Box::new(|| Answer::Raw(b"HTTP/1.1 201 Created\r\nEls-Api: 1\r\nContent-Length: 500\r\n\r\n{".to_vec())),
        ),
    ];
    for (name, lie) in lies {
        let server = Scripted::backend(move |request| (request.method == "PUT").then(&lie));
        let machine = machine_of(&server);
        let run = machine.agent(&["--key", KEY, "--json", "--timeout", "5"]).exits(7);
        let code = run.json()["error"]["code"].clone();
        assert!(code == "bad-answer" || code == "unreachable", "{name}: {run}");
        assert!(!machine.has("/etc/yum.repos.d/els.repo") && !machine.has("/etc/dnf/vars/els_token"), "{name}");
        assert!(!machine.has("/var/lib/els-register/registration.json"), "{name}");
    }
}

/// Promise: answer-not-ours
#[test]
fn the_right_answer_without_the_protocols_header_is_not_accepted() {
    let stranger = Scripted::backend(|request| {
        let body = registration(request).to_string();
        (request.path.starts_with("/v1")).then(|| raw(200, &[("Content-Type", "application/json")], &body))
    });
    let machine = machine_of(&stranger);
    let run = machine.agent(&["--key", KEY, "--json"]).exits(7);
    assert_eq!(run.json()["error"]["code"], "bad-answer", "{run}");
    assert!(!machine.has("/etc/yum.repos.d/els.repo"));

    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let gone = Scripted::start(|_| {
        let body = json!({"status": 410, "code": "registration-released"}).to_string();
        raw(410, &[("Content-Type", "application/problem+json")], &body)
    });
    for action in ["--status", "--refresh", "--unregister"] {
        let run = machine.agent(&[action, "--server", &gone.url(), "--json"]).exits(7);
        assert_eq!(run.json()["error"]["code"], "bad-answer", "{run}");
    }
    assert!(machine.has("/etc/dnf/vars/els_token"), "never done, never gone");
}

/// Promise: files-backend-names
#[test]
fn members_of_the_wrong_type_or_with_a_harmful_value_are_refused() {
    for (pointer, value) in [
        ("/registration", json!("00000000-0000-4000-8000-000000000000")),
        ("/registration", json!(7)),
        ("/repo/file", json!("../../etc/passwd")),
        ("/repo/file", json!("els almalinux")),
        ("/repo/url", json!("http://192.0.2.1/repo")),
        ("/repo/url", json!("https://user:pass@127.0.0.1/")),
        ("/repo/url", json!("https://127.0.0.1/a/../b")),
        ("/repo/url", json!("https://127.0.0.1/\ngpgcheck=0")),
        ("/repo/url", json!("file:///etc")),
        ("/expires", json!("soon")),
        ("/seats/total", json!(-1)),
        ("/product", json!([])),
    ] {
        let changed = value.clone();
        let server = Scripted::backend(move |request| {
            (request.method == "PUT").then(|| {
                let mut body = registration(request);
                *body.pointer_mut(pointer).unwrap() = changed.clone();
                answer(201, &body)
            })
        });
        let machine = machine_of(&server);
        let run = machine.agent(&["--key", KEY, "--json"]).exits(7);
        assert_eq!(run.json()["error"]["code"], "bad-answer", "{pointer} {value}: {run}");
        assert!(!machine.has("/etc/yum.repos.d/els.repo"), "{pointer}");
    }
}

/// Promise: register-unsupported
#[test]
fn a_repo_file_that_is_not_shipped_needs_a_newer_version_and_the_seat_is_released() {
    let server = Scripted::backend(|request| {
        (request.method == "PUT").then(|| {
            let mut body = registration(request);
            body["repo"]["file"] = json!("els-almalinux-11");
            answer(201, &body)
        })
    });
    let machine = machine_of(&server);
    let before = machine.files();
    machine.agent(&["--key", KEY]).exits(8).says("els-almalinux-11").says("update els-register");
    assert_eq!(server.log(), ["PUT /v1/registrations/ID", "DELETE /v1/registrations/ID"]);
    assert_eq!(machine.files(), before);
}

/// Promise: register-probe
/// Promise: network-failure-named
/// Promise: network-no-redirect
#[test]
fn a_repository_with_a_wrong_answer_is_named_and_the_seat_is_released() {
    for (status, body, words) in [
        (200, "<html>", "not a repomd document"),
        (401, "", "401"),
        (403, "", "403"),
        (404, "", "404"),
        (302, "", "redirects"),
        (500, "", "500"),
    ] {
        let server =
            Scripted::backend(move |request| request.path.starts_with("/repo").then(|| raw(status, &[], body)));
        let machine = machine_of(&server);
        let before = machine.files();
        let run = machine.agent(&["--key", KEY, "--json"]).exits(7).says(words);
        assert_eq!(run.json()["error"]["code"], "repository-refused", "{run}");
        assert_eq!(server.log().last().map(String::as_str), Some("DELETE /v1/registrations/ID"));
        assert_eq!(machine.files(), before, "{status}");
    }
}

/// Promise: register-failure-releases
#[test]
fn a_registration_that_is_held_survives_a_repository_that_does_not_answer() {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = broken.clone();
    let server = Scripted::backend(move |request| {
        (request.path.starts_with("/repo") && switch.load(std::sync::atomic::Ordering::SeqCst))
            .then(|| raw(500, &[], ""))
    });
    let machine = machine_of(&server);
    machine.registers(KEY);
    let id = machine.read("/etc/dnf/vars/els_id");
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    machine.agent(&["--key", KEY]).exits(7);
    assert_eq!(machine.read("/etc/dnf/vars/els_id"), id);
    assert!(machine.has("/etc/yum.repos.d/els.repo"));
    assert!(!server.log().iter().any(|line| line.starts_with("DELETE")), "{:?}", server.log());
}

/// Promise: register-conflict
#[test]
fn a_conflict_or_a_released_id_is_answered_once_with_a_fresh_id() {
    for (status, code) in [(409, "registration-conflict"), (410, "registration-released")] {
        let first = std::sync::Mutex::new(None::<String>);
        let server = Scripted::backend(move |request| {
            let mut first = first.lock().unwrap();
            (request.method == "PUT" && *first.get_or_insert(request.id().to_owned()) == request.id())
                .then(|| problem(status, code))
        });
        let machine = machine_of(&server);
        machine.agent(&["--key", KEY]).succeeds();
        assert_eq!(server.log().iter().filter(|line| line.starts_with("PUT")).count(), 2);
        let ids: Vec<String> = server.requests().iter().map(|request| request.id().to_owned()).collect();
        assert_ne!(ids[0], ids[1]);

        let server = Scripted::backend(move |request| (request.method == "PUT").then(|| problem(status, code)));
        let machine = machine_of(&server);
        let before = machine.files();
        machine.agent(&["--key", KEY]).exits(1);
        assert_eq!(server.log(), ["PUT /v1/registrations/ID"; 2], "once, and no more");
        assert_eq!(machine.files(), before);
    }
}

/// Promise: network-retry
#[test]
fn busy_and_unavailable_are_tried_again_within_the_timeout_and_nothing_else_is() {
    for (status, code) in [(429, "rate-limited"), (503, "unavailable")] {
        let count = std::sync::atomic::AtomicUsize::new(0);
        let server = Scripted::backend(move |request| {
            let again = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            (request.method == "PUT" && again == 0).then(|| problem(status, code))
        });
        let machine = machine_of(&server);
        machine.agent(&["--key", KEY]).succeeds();
        assert_eq!(server.log().iter().filter(|line| line.starts_with("PUT")).count(), 2);
    }
    // More patience is asked for than there is.
    let server = Scripted::backend(|request| {
        (request.method == "PUT").then(|| {
            let body = json!({"status": 503, "code": "unavailable"}).to_string();
            raw(503, &[("Els-Api", "1"), ("Content-Type", "application/problem+json"), ("Retry-After", "3600")], &body)
        })
    });
    machine_of(&server).agent(&["--key", KEY, "--timeout", "5"]).exits(7);
    assert_eq!(server.log().len(), 1);
}

/// Promise: terminal-safe
#[test]
fn nothing_from_the_network_reaches_the_terminal_with_its_control_characters() {
    let server = Scripted::backend(|request| {
        (request.method == "PUT").then(|| {
            let body = json!({"status": 403, "code": "key-\u{1b}[31m", "title": "a\u{1b}]0;title\u{7}", "detail": "\u{9b}2J\u{202e}x"});
            problem_document(403, &body)
        })
    });
    let run = machine_of(&server).agent(&["--key", KEY]).exits(5);
    assert!(!run.text().chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{run}");

    let server = Scripted::backend(|request| {
        (request.method == "PUT").then(|| {
            let mut body = registration(request);
            body["product"]["name"] = json!("ELS\u{1b}[2J");
            body["contract"] = json!("\u{9b}C");
            body["key_id"] = json!("k\r\nsecret: none");
            answer(201, &body)
        })
    });
    let machine = machine_of(&server);
    for arguments in [&["--key", KEY][..], &["--status"], &["--status", "--offline"], &["--report"], &["--refresh"]] {
        let run = machine.agent(arguments).succeeds();
        assert!(!run.text().chars().any(|c| c.is_control() && c != '\n'), "{run}");
        let with_json = [arguments, &["--json"]].concat();
        let run = machine.agent(&with_json).succeeds();
        assert!(!run.text().chars().any(|c| c.is_control() && c != '\n'), "{run}");
    }
}

/// Promise: status-not-accepted
#[test]
fn status_and_refresh_tell_what_the_backend_no_longer_accepts() {
    for (status, code) in [
        (403, "key-expired"),
        (403, "key-suspended"),
        (403, "key-revoked"),
        (410, "registration-released"),
        (404, "unknown-registration"),
        (401, "credential-invalid"),
    ] {
        let server = Scripted::backend(move |request| {
            (request.method == "GET" && request.path.starts_with("/v1")).then(|| problem(status, code))
        });
        let machine = machine_of(&server);
        machine.registers(KEY);
        let before = machine.files();
        for action in ["--status", "--refresh"] {
            let run = machine.agent(&[action, "--json"]).exits(11);
            assert_eq!(
                (&run.json()["state"], &run.json()["error"]["code"]),
                (&json!("refused"), &json!(code)),
                "{run}"
            );
        }
        assert_eq!(machine.files(), before);
        machine.agent(&["--status", "--offline"]).succeeds();
    }
}

/// Promise: status-backend-down
#[test]
fn a_backend_that_is_down_is_named_and_what_is_known_here_is_shown() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let run = machine.agent(&["--status", "--json", "--server", &url, "--timeout", "1"]).exits(7);
    let document = run.json();
    assert_eq!(document["error"]["code"], "unreachable", "{run}");
    assert_eq!(document["registration"]["key_id"], "k-test", "{run}");
    machine.agent(&["--status", "--server", &url, "--timeout", "1"]).exits(7).says("TCP").says("k-test");
}

/// Promise: network-timeout
#[test]
fn the_timeout_bounds_all_waiting_together() {
    let server = Scripted::backend(|request| (request.method == "PUT").then_some(Answer::Silence));
    let machine = machine_of(&server);
    let begin = std::time::Instant::now();
    machine.agent(&["--key", KEY, "--timeout", "2"]).exits(7).says("--timeout");
    assert!(begin.elapsed().as_secs() < 10);
}
