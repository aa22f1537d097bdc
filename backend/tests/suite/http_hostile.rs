//! Clients that break rules, disconnect, or ask for what they may not see.

use std::io::Write;
use std::time::{Duration, Instant};

use els_protocol::wire::BODY_LIMIT;

use super::http_world::*;
use els_testkit::http::*;

/// Promise: seat-client-gone
#[test]
fn a_registration_is_carried_out_although_the_client_closes_the_connection() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = Machine::new(1);
    world.store.delay(Duration::from_millis(500));
    let body = machine.body(&key).to_string();
    let mut stream = connect(world.listen);
    let head = format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", machine.path(), body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(stream);
    world.within_five_seconds("the seat is taken", || {
        world.ask("GET", &machine.path(), &[("Authorization", &machine.basic())], "").status == 200
    });
}

/// Promise: serve-one-host
#[test]
fn a_request_with_two_host_headers_is_refused() {
    let world = World::new();
    for path in ["/openapi.json", "/v1/repo-auth", "/v1/seats"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: one\r\nHost: two\r\nConnection: close\r\n\r\n");
        raw(world.listen, head.as_bytes()).assert_code("invalid-request");
    }
}

/// Promise: wire-body-size
#[test]
fn large_bodies_are_refused_however_they_come() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = Machine::new(1);
    let mut body = machine.body(&key);
    body["padding"] = "x".repeat(BODY_LIMIT).into();
    world.put(&machine, &body).assert_code("payload-too-large");

    // Announced, but never sent: the answer does not wait for it.
    let began = Instant::now();
    let head =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n", machine.path());
    raw(world.listen, head.as_bytes()).assert_code("payload-too-large");
    assert!(began.elapsed() < Duration::from_secs(5));

    let chunks = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(3) + "0\r\n\r\n";
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        machine.path()
    );
    raw(world.listen, format!("{head}{chunks}").as_bytes()).assert_code("payload-too-large");

    let largest = {
        let length = BODY_LIMIT - machine.body(&key).to_string().len() - r#","padding":"""#.len();
        let mut body = machine.body(&key);
        body["padding"] = "x".repeat(length).into();
        body
    };
    assert_eq!(largest.to_string().len(), BODY_LIMIT);
    assert_eq!(world.put(&machine, &largest).status, 201);
}

/// Promise: wire-not-json
#[test]
fn bodies_that_are_not_json_are_refused() {
    let world = World::new();
    let path = Machine::new(1).path();
    let nested = "[".repeat(4000);
    for (kind, body) in [
        ("application/json", ""),
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", "null"),
        ("application/json", "\u{0}"),
        ("application/json", nested.as_str()),
        ("text/plain", "{}"),
        ("application/x-www-form-urlencoded", "key=x"),
        ("", "{}"),
    ] {
        let answer = world.ask("PUT", &path, &[("Content-Type", kind)], body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-request"), "{kind} {body:.20}");
    }
    assert_eq!(world.ask("PUT", "/v1/registrations/%31", &[], "{}").status, 400);
    // What is a registration in all else is none when it says that it is something else: a browser's form, say.
    let (key, machine) = (world.key("a", 1), Machine::new(1));
    let body = machine.body(&key).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        world.ask("PUT", &machine.path(), &[("Content-Type", kind)], &body).assert_code("invalid-request");
    }
    let kind = [("Content-Type", "Application/JSON; charset=utf-8")];
    assert_eq!(world.ask("PUT", &machine.path(), &kind, &body).status, 201);
}

/// Promise: serve-not-http
#[test]
fn a_request_head_that_is_too_long_is_refused() {
    let world = World::new();
    let large = format!("GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(raw(world.listen, large.as_bytes()).status, 431);
    let many = format!("GET /openapi.json HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(1000));
    assert_eq!(raw(world.listen, many.as_bytes()).status, 431);
    for nonsense in ["\r\n\r\n\r\n\r\nx y z\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\u{0} HTTP/1.1\r\n\r\n"] {
        assert_eq!(raw(world.listen, nonsense.as_bytes()).status, 400, "{nonsense:?}");
    }
    assert_eq!(world.ask("GET", "/openapi.json", &[], "").status, 200);
}

/// Promise: serve-not-http
#[test]
fn two_content_lengths_do_not_smuggle_a_second_request() {
    let world = World::new();
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: +5",
    ] {
        let request = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lengths}\r\n\r\n0\r\n\r\n",
            Machine::new(1).path()
        );
        let answer = raw(world.listen, request.as_bytes());
        assert_eq!(answer.status, 400, "{lengths}");
    }
}

/// Promise: serve-sigterm
#[test]
fn requests_under_way_are_answered_when_the_backend_stops() {
    let mut world = World::new();
    let key = world.key("a", 1);
    let machine = Machine::new(1);
    world.store.delay(Duration::from_millis(700));
    let (listen, path, body) = (world.listen, machine.path(), machine.body(&key).to_string());
    let asking = std::thread::spawn(move || ask(listen, "PUT", &path, &[], &body));
    let idle = connect(world.listen);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    world.stop();
    assert_eq!(asking.join().unwrap().status, 201);
    assert!(began.elapsed() < Duration::from_secs(5), "an idle connection does not hold the end up");
    drop(idle);
    assert!(std::net::TcpStream::connect(world.listen).is_err(), "nobody listens any more");
}

/// Promise: no-secret-logged
#[test]
fn nothing_secret_is_in_log_metrics_or_errors() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    let stranger = Machine::new(2);
    let unknown_key = els_protocol::LicenseKey::from_random([9; 15]);
    let mut answers = String::new();
    for (who, key) in [(&machine, &key), (&stranger, &key), (&stranger, &unknown_key)] {
        let mut wrong = who.body(key);
        wrong["machine"] = who.token.expose().into();
        let mut label = who.body(key);
        label["label"] = "a label that nobody needs to read".into();
        let (own, bearer) = (who.basic(), bearer(key));
        let seat = els_protocol::wire::seat_path(&who.id);
        for answer in [
            world.put(who, &who.body(key)),
            world.put(who, &wrong),
            world.put(who, &label),
            world.ask("GET", &who.path(), &[("Authorization", &own)], ""),
            world.ask("GET", "/v1/seats", &[("Authorization", &bearer)], ""),
            world.ask("DELETE", &seat, &[("Authorization", &bearer)], ""),
            world.gate("/repo/almalinux/9/x", Some(&own)),
            world.gate("/repo/almalinux/8/x", Some(&own)),
            world.ask("GET", "/repo/almalinux/9/x", &[("Authorization", &own)], ""),
            world.ask("DELETE", &who.path(), &[("Authorization", &own)], ""),
        ] {
            if answer.status >= 400 {
                answers.push_str(&format!("{answer:?}{}", String::from_utf8_lossy(&answer.body)));
            }
        }
    }
    // Only the answer to the sender may quote what was sent; the log and the metrics may not.
    let metrics = String::from_utf8(ask(world.admin, "GET", "/metrics", &[], "").body).unwrap();
    let log = world.log();
    assert!(log.lines().count() >= 25, "{log}");
    for who in [&machine, &stranger] {
        for secret in [who.token.expose(), &who.basic()["Basic ".len()..], &who.id.to_string(), "nobody needs to read"]
        {
            assert!(!log.contains(secret) && !metrics.contains(secret), "{secret} in {log}");
        }
    }
    for key in [&key, &unknown_key] {
        let body = &key.expose()["ELS-".len()..];
        for text in [&log, &metrics, &answers] {
            assert!(!text.contains(body), "{body} in {text}");
        }
    }
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}
