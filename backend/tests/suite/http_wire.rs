//! Every call of docs/protocol.md, with its exact answers.

use els_ledger::rules::KeyState;
use els_ledger::{Administration, Cursor, EventFilter, Scope};
use els_protocol::wire;
use serde_json::json;

use super::http_store::Trouble;
use super::http_world::*;
use els_testkit::http::*;

/// Promise: wire-members
/// Promise: wire-get
/// Promise: wire-delete
/// Promise: seat-gone
#[test]
fn a_machine_takes_a_seat_reads_it_and_releases_it() {
    let world = World::new();
    let key = world.key("a", 2);
    let machine = Machine::new(1);
    let answer = world.put(&machine, &machine.body(&key));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let registration = json!({
        "registration": machine.id,
        "state": "active",
        "key_id": "a",
        "contract": "contract-a",
        "product": {"id": "almalinux-9-els", "name": "Extended Lifecycle Support for AlmaLinux 9"},
        "repo": {"file": "els-almalinux-9", "url": format!("http://{}/repo", world.listen)},
        "expires": "2027-04-25T08:00:00Z",
        "registered_at": "2027-01-15T08:00:00Z",
        "seats": {"total": 2, "used": 1},
    });
    assert_eq!(answer.json(), registration);

    let again = world.put(&machine, &machine.body(&key));
    assert_eq!((again.status, again.json()), (200, registration.clone()), "the same request, sent again");

    let authorization = machine.basic();
    let own = [("Authorization", authorization.as_str())];
    let answer = world.ask("GET", &machine.path(), &own, "");
    assert_eq!((answer.status, answer.json()), (200, registration));

    for _ in 0..2 {
        let answer = world.ask("DELETE", &machine.path(), &own, "");
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    world.ask("GET", &machine.path(), &own, "").assert_code("registration-released");
    world.put(&machine, &machine.body(&key)).assert_code("registration-released");
}

/// Promise: wire-problems
/// Promise: wire-no-free-seat
/// Promise: seat-key-first
/// Promise: seat-conflict
#[test]
fn every_refusal_of_a_put_has_its_code() {
    let world = World::new();
    let key = world.key("a", 1);
    let first = world.registered(&key, 1);

    let second = Machine::new(2);
    let full = world.put(&second, &second.body(&key));
    full.assert_code("no-free-seat");
    assert_eq!(full.json()["seats"], json!({"total": 1, "used": 1}));

    let mut other_token = first.body(&key);
    other_token["token_sha256"] = json!(second.token.hash());
    world.put(&first, &other_token).assert_code("registration-conflict");

    let mut strange = second.body(&key);
    strange["os"] = json!({"id": "almalinux", "version": "8.10"});
    world.put(&second, &strange).assert_code("system-not-covered");

    let unknown = els_protocol::LicenseKey::from_random([9; 15]);
    world.put(&second, &second.body(&unknown)).assert_code("unknown-key");

    world.set_state("a", KeyState::Suspended);
    world.put(&first, &first.body(&key)).assert_code("key-suspended");
    world.set_state("a", KeyState::Active);
    world.advance(100 * DAY);
    assert_eq!(world.put(&first, &first.body(&key)).status, 200, "in its grace");
    world.put(&second, &second.body(&key)).assert_code("key-expired");
    world.advance(10 * DAY);
    world.put(&first, &first.body(&key)).assert_code("key-expired");
    world.set_state("a", KeyState::Revoked);
    world.put(&first, &first.body(&key)).assert_code("key-revoked");
}

/// Promise: wire-unknown-members
/// Promise: wire-forms
#[test]
fn unknown_members_are_ignored_and_known_ones_are_checked() {
    let world = World::new();
    let key = world.key("a", 5);
    let machine = Machine::new(1);
    let body = machine.body(&key);
    let with = |name: &str, value: serde_json::Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    assert_eq!(world.put(&machine, &with("added_later", json!({"x": [1]}))).status, 201);
    for (name, value) in [
        ("key", json!(12)),
        ("key", json!("short")),
        ("key", json!("ELS-00000-00000-00000-00000-00001")),
        ("token_sha256", json!("A".repeat(64))),
        ("token_sha256", json!("00")),
        ("machine", json!("not-a-uuid")),
        ("machine", json!(null)),
        ("hardware", json!("1B4E28BA-2FA1-41D2-883F-0016D3CCA427")),
        ("moved", json!("yes")),
        ("os", json!("almalinux")),
        ("os", json!({"id": "almalinux"})),
        ("os", json!({"id": "alma\nlinux", "version": "9"})),
        ("os", json!({"id": "almalinux", "version": "9".repeat(65)})),
        ("arch", json!("")),
        ("arch", json!("x86 64")),
        ("label", json!("")),
        ("label", json!("a\u{1b}[2J")),
        ("label", json!("x".repeat(129))),
    ] {
        let answer = world.put(&machine, &with(name, value.clone()));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-request"), "{name} {value}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

/// Promise: wire-get
/// Promise: wire-delete
#[test]
fn a_credential_opens_only_its_own_registration() {
    let world = World::new();
    let key = world.key("a", 5);
    let (one, other) = (world.registered(&key, 1), world.registered(&key, 2));
    let wrong_token = basic(&one.id.to_string(), other.token.expose());
    let template = basic(&one.id.to_string(), "$els_token");
    let bearer = bearer(&key);
    for method in ["GET", "DELETE"] {
        for authorization in
            [Some(other.basic()), Some(wrong_token.clone()), Some(template.clone()), Some(bearer.clone()), None]
        {
            let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
            let answer = world.ask(method, &one.path(), &headers, "");
            answer.assert_code("credential-invalid");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "), "{answer:?}");
        }
    }
    assert_eq!(world.ask("GET", &one.path(), &[("Authorization", &one.basic())], "").status, 200);
}

/// Promise: wire-get
/// Promise: seat-early-release
#[test]
fn an_early_release_stays_released() {
    let world = World::new();
    let key = world.key("a", 5);
    let machine = Machine::new(1);
    let authorization = machine.basic();
    let own = [("Authorization", authorization.as_str())];
    world.ask("GET", &machine.path(), &own, "").assert_code("unknown-registration");
    assert_eq!(world.ask("DELETE", &machine.path(), &own, "").status, 204);
    world.put(&machine, &machine.body(&key)).assert_code("registration-released");
}

/// Promise: wire-seat-list
/// Promise: wire-seat-release
#[test]
fn a_key_lists_its_seats_page_by_page_and_frees_them() {
    let world = World::new();
    let (key, other) = (world.key("a", 9), world.key("b", 9));
    let machines: Vec<_> = (1..=5).map(|number| world.registered(&key, number)).collect();
    let stranger = world.registered(&other, 9);
    let authorization = bearer(&key);
    let headers = [("Authorization", authorization.as_str())];

    let mut found = Vec::new();
    let mut path = "/v1/seats?after=&limit=2".to_owned();
    loop {
        let page = world.ask("GET", &path, &headers, "");
        assert_eq!(page.status, 200, "{page:?}");
        let page: els_protocol::wire::SeatList = serde_json::from_slice(&page.body).unwrap();
        assert_eq!((page.key_id.as_str(), page.seats.used, page.product.id.as_str()), ("a", 5, "almalinux-9-els"));
        assert!(page.registrations.len() <= 2);
        found.extend(page.registrations.iter().map(|holder| holder.registration));
        match page.next {
            Some(next) => path = format!("/v1/seats?limit=2&after={next}"),
            None => break,
        }
    }
    let mut expected: Vec<_> = machines.iter().map(|machine| machine.id).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(world.ask("GET", "/v1/seats", &headers, "").json()["registrations"].as_array().unwrap().len(), 5);

    for _ in 0..2 {
        let path = els_protocol::wire::seat_path(&machines[0].id);
        assert_eq!(world.ask("DELETE", &path, &headers, "").status, 204);
    }
    let path = els_protocol::wire::seat_path(&stranger.id);
    world.ask("DELETE", &path, &headers, "").assert_code("unknown-registration");
    let own = machines[0].basic();
    world.ask("GET", &machines[0].path(), &[("Authorization", &own)], "").assert_code("registration-released");
}

/// Promise: wire-seat-list
#[test]
fn a_seat_list_needs_a_key_and_a_valid_page() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    let missing = world.ask("GET", "/v1/seats", &[], "");
    missing.assert_code("credential-invalid");
    assert!(missing.header("www-authenticate").unwrap().starts_with("Bearer "));
    world.ask("GET", "/v1/seats", &[("Authorization", &machine.basic())], "").assert_code("credential-invalid");
    let unknown = bearer(&els_protocol::LicenseKey::from_random([9; 15]));
    world.ask("GET", "/v1/seats", &[("Authorization", &unknown)], "").assert_code("unknown-key");
    world.ask("GET", "/v1/seats", &[("Authorization", "Bearer x")], "").assert_code("invalid-request");
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after=x", "limit=1&limit=2", "after=%ff"] {
        let answer = world.ask("GET", &format!("/v1/seats?{query}"), &[("Authorization", &bearer(&key))], "");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-request"), "{query}");
    }
    let most = world.ask("GET", "/v1/seats?limit=1000&unknown=1", &[("Authorization", &bearer(&key))], "");
    assert_eq!(most.status, 200);
}

/// Promise: seat-audit-log
#[test]
fn the_audit_log_says_who_caused_a_change_and_by_which_request() {
    let world = World::new();
    let key = world.key("a", 2);
    let (one, other) = (Machine::new(1), Machine::new(2));
    let taken = world.put(&one, &one.body(&key));
    world.put(&other, &other.body(&key));
    let own = world.ask("DELETE", &one.path(), &[("Authorization", &one.basic())], "");
    let by_key =
        world.ask("DELETE", &wire::seat_path(&other.id), &[("Authorization", &format!("Bearer {}", key.expose()))], "");
    assert_eq!((own.status, by_key.status), (204, 204));
    let filter = EventFilter::default();
    let events = world.block_on(world.store.events(world.now(), Scope::Vendor, filter, Cursor(0), 100)).unwrap();
    for (kind, id, actor, answer) in [
        ("seat-taken", one.id, "machine", &taken),
        ("released", one.id, "machine", &own),
        ("released", other.id, "key-holder", &by_key),
    ] {
        let event = events.iter().find(|event| event.event == kind && event.registration == Some(id)).unwrap();
        assert_eq!((event.actor.as_deref(), event.origin.as_deref()), (Some(actor), Some("api")), "{event:?}");
        assert_eq!(event.request.as_deref(), answer.header("x-request-id"), "{event:?}");
    }
}

/// Promise: wire-headers
#[test]
fn every_response_names_the_protocol_and_the_request() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    let own = machine.basic();
    let mut ids = std::collections::HashSet::new();
    for (method, path, headers) in [
        ("GET", "/openapi.json", vec![]),
        ("GET", machine.path().as_str(), vec![("Authorization", own.as_str())]),
        ("GET", "/v1/repo-auth", vec![("X-Original-URI", "/repo/gpg/x")]),
        ("GET", "/v1/repo-auth", vec![]),
        ("HEAD", "/v1/repo-auth", vec![]),
        ("GET", "/repo/x", vec![]),
        ("GET", "/", vec![]),
        ("BREW", "/coffee", vec![]),
        ("POST", "/v1/seats", vec![]),
        ("PUT", "/v1/registrations/x", vec![]),
    ] {
        let answer = world.ask(method, path, &headers, "");
        assert_eq!(answer.header("els-api"), Some("1"), "{method} {path}: {answer:?}");
        assert!(answer.header("date").is_some(), "machines compare their clocks with it");
        assert!(ids.insert(answer.header("x-request-id").unwrap().to_owned()));
        if answer.status >= 400 && method != "HEAD" {
            answer.code();
        }
        if !path.starts_with("/v1/repo-auth") || answer.status != 204 {
            assert!(world.log().contains(answer.header("x-request-id").unwrap()), "{method} {path} is in the log");
        }
    }
    for path in ["/healthz", "/metrics", "/none"] {
        let answer = ask(world.admin, "GET", path, &[], "");
        assert_eq!(answer.header("els-api"), Some("1"));
        assert!(answer.header("x-request-id").is_some());
    }
}

/// Promise: wire-unknown-requests
/// Promise: admin-listener
#[test]
fn unknown_paths_and_methods_are_invalid_requests_and_not_404() {
    let world = World::new();
    for (method, path, allowed) in [
        ("GET", "/", None),
        ("GET", "/v1", None),
        ("GET", "/v2/registrations/x", None),
        ("GET", "/v1/registrations", None),
        ("GET", "/v1/registrations/", None),
        ("GET", "/v1/registrations/a/b", None),
        ("GET", "/metrics", None),
        ("GET", "/healthz", None),
        ("GET", "/repo/x", None),
        ("POST", "/v1/seats", Some("GET, HEAD")),
        ("PATCH", "/v1/registrations/x", Some("PUT, GET, HEAD, DELETE")),
        ("PUT", "/v1/seats/x", Some("DELETE")),
        ("POST", "/v1/repo-auth", Some("GET, HEAD")),
        ("DELETE", "/openapi.json", Some("GET, HEAD")),
    ] {
        let answer = world.ask(method, path, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-request"), "{method} {path}");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
    }
}

/// Promise: wire-description
#[test]
fn the_description_is_served_as_it_is_committed() {
    let world = World::new();
    let answer = world.ask("GET", "/openapi.json", &[], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(String::from_utf8(answer.body).unwrap(), els_backend::api::openapi_document());
    let head = world.ask("HEAD", "/openapi.json", &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

/// Promise: admin-listener
#[test]
fn the_admin_listener_has_health_and_metrics() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    assert_eq!(world.gate("/repo/almalinux/9/x", Some(&machine.basic())).status, 204);
    assert_eq!(ask(world.admin, "GET", "/healthz", &[], "").status, 200);
    assert_eq!(ask(world.admin, "GET", "/readyz", &[], "").status, 200);
    let metrics = ask(world.admin, "GET", "/metrics", &[], "");
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        r#"els_gate_answers_total{answer="open"} 1"#,
        r#"els_requests_total{route="/v1/registrations/{id}",method="PUT",status="201"} 1"#,
        "els_gate_lookups_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    ask(world.admin, "GET", "/v1/seats", &[], "").assert_code("invalid-request");
    world.store.cut_off(true);
    assert_eq!(ask(world.admin, "GET", "/healthz", &[], "").status, 200, "it lives");
    ask(world.admin, "GET", "/readyz", &[], "").assert_code("unavailable");
}

/// Promise: wire-database-down
#[test]
fn without_a_database_every_call_answers_503() {
    let world = World::new();
    let key = world.key("a", 2);
    let machine = world.registered(&key, 1);
    world.store.cut_off(true);
    let (own, key_header) = (machine.basic(), bearer(&key));
    world.put(&machine, &machine.body(&key)).assert_code("unavailable");
    for method in ["GET", "DELETE"] {
        world.ask(method, &machine.path(), &[("Authorization", &own)], "").assert_code("unavailable");
    }
    world.ask("GET", "/v1/seats", &[("Authorization", &key_header)], "").assert_code("unavailable");
    let seat = els_protocol::wire::seat_path(&machine.id);
    world.ask("DELETE", &seat, &[("Authorization", &key_header)], "").assert_code("unavailable");
}

/// Promise: wire-internal-error
/// Promise: limit-queues
#[test]
fn an_internal_error_is_answered_without_details() {
    let world = World::new();
    let key = world.key("a", 2);
    let machine = Machine::new(1);
    for (trouble, code) in [(Trouble::Busy, "rate-limited"), (Trouble::Fault, "internal"), (Trouble::Panic, "internal")]
    {
        world.store.trouble(trouble);
        let answer = world.put(&machine, &machine.body(&key));
        answer.assert_code(code);
        assert_eq!(answer.header("retry-after"), (code == "rate-limited").then_some("1"), "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("row 7"), "{answer:?}");
        assert!(answer.header("x-request-id").is_some() && answer.header("els-api").is_some());
    }
    assert!(world.log().contains("table secrets: row 7"), "the operator is told");
    // A fault in the very task that answers must not end the connection without an answer.
    let gate = world.gate("/repo/almalinux/9/x", Some(&machine.basic()));
    gate.assert_code("internal");
    assert!(gate.header("els-api").is_some() && gate.header("x-request-id").is_some());
}
