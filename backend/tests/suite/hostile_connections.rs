//! Hostile connections: they are idle, slow, too many or malformed, and good requests are still answered.
//!
//! Here there are many at a time; the answer to a single one is tested in `http_hostile`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use els_protocol::LicenseKey;
use els_protocol::wire::BODY_LIMIT;

use els_testkit::backend_program;
use els_testkit::http::{Client, Registrant, bearer, connect};
use els_testkit::site::{SERVE, Served, Site, on};
use els_testkit::sweep::{Ending, open_files, soak, within_a_minute};

/// Promise: serve-slow-clients
#[test]
fn thousands_of_idle_connections_do_not_block_good_requests() {
    let count = if soak() { 10_000 } else { 1_000 };
    open_files(count + 1000);
    let site = Site::new();
    let (_, key) = site.key(100_000);
    let served = site.serve();
    let idle: Vec<TcpStream> = (0..count).map(|number| opened(served.listen, STARTS[number % STARTS.len()])).collect();
    // None of them is old enough yet to have ended by itself.
    let open = within_a_minute(|| Some(served.metric("els_connections")).filter(|open| *open >= count as u64));
    let slowest = good_requests(&served, &key, 0..if soak() { 300 } else { 100 });
    let memory = resident(served.pid());
    drop(idle);
    println!("idle connections: {open}, slowest good answer: {slowest:?}, resident: {memory} kB");
    // What has gone away is forgotten.
    within_a_minute(|| (served.metric("els_connections") < 50).then_some(()));
    assert!(served.stop().success());
}

/// Promise: serve-slow-clients
#[test]
fn more_connections_than_slots_give_way_to_good_requests() {
    let site = Site::new();
    let (_, key) = site.key(100_000);
    // 214 files: 68 places.
    let mut command = Command::new("sh");
    command.args(["-ec", r#"ulimit -n 214; exec "$0" "$@""#]).arg(backend_program()).args(SERVE);
    on(&mut command, &site.url());
    let served = Served::spawn(command).ready();
    for (kind, start) in STARTS.iter().enumerate() {
        let (mut taken, mut slowest) = (Vec::new(), Duration::ZERO);
        for round in 0..if soak() { 20 } else { 2 } {
            // Each good request finds all places taken again.
            taken.extend((0..100).map(|_| opened(served.listen, start)));
            let number = 100 * kind as u32 + round;
            slowest = slowest.max(good_requests(&served, &key, number..number + 1));
        }
        println!("connections: {}, places: 68, each with {start:?}: slowest good answer {slowest:?}", taken.len());
        assert!(slowest < Duration::from_secs(15), "{slowest:?}");
    }
}

/// Promise: serve-slow-clients
#[test]
fn a_body_that_arrives_too_slowly_ends_its_connection() {
    let site = Site::new();
    let served = site.serve();
    let head = format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{", Registrant::new(1, 1).path());
    let mut dripping: Vec<TcpStream> = (0..50).map(|_| opened(served.listen, &head)).collect();
    let began = Instant::now();
    for stream in &mut dripping {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
        assert!(began.elapsed() < Duration::from_secs(60), "every request ends");
    }
}

/// Promise: serve-not-http
#[test]
fn malformed_requests_in_large_numbers_do_not_slow_good_ones_for_long() {
    let site = Site::new();
    let (_, key) = site.key(100_000);
    let served = site.serve();
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let large_head = format!("GET /v1/seats HTTP/1.1\r\nX-Large: {}\r\n\r\n", "x".repeat(100_000));
    let many_heads = format!("GET /v1/seats HTTP/1.1\r\n{}\r\n", "X-Many: 1\r\n".repeat(5000));
    let body = "x".repeat(BODY_LIMIT * 4);
    let path = Registrant::new(1, 1).path();
    let large_body = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let endless = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n{body}\r\n");
    let broken_off = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{{");
    let kinds = [large_head, many_heads, large_body, endless, broken_off, "\u{0}\r\n\r\n".repeat(100)];
    let slowest = std::thread::scope(|scope| {
        for start in 0..3 {
            let (sent, over, kinds, listen) = (&sent, &over, &kinds, served.listen);
            scope.spawn(move || {
                for kind in kinds.iter().cycle().skip(start) {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut stream = opened(listen, kind);
                    // Some of them wait for the answer, the others are gone at once.
                    if start > 0 && !kind.ends_with('{') {
                        let _ = stream.read(&mut [0; 64]);
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _ending = Ending(&over);
        let until = Instant::now() + Duration::from_secs(if soak() { 60 } else { 2 });
        let mut slowest = Duration::ZERO;
        for number in 0.. {
            slowest = slowest.max(good_requests(&served, &key, number..number + 1));
            if Instant::now() > until {
                break;
            }
        }
        slowest
    });
    println!("nonsense: {}, slowest good answer beside it: {slowest:?}", sent.into_inner());
    assert!(served.stop().success());
    site.check();
}

/// Machines register, ask, fetch and unregister, each on a connection of its own. All are answered; how long the slowest
/// of these requests took.
fn good_requests(served: &Served, key: &LicenseKey, numbers: std::ops::Range<u32>) -> Duration {
    let mut slowest = Duration::ZERO;
    let bearer = bearer(key);
    for number in numbers {
        let who = Registrant::new(number, number);
        let own = who.basic();
        let mut client = Client::new(served.listen);
        let mut ask = |method, path: &str, headers: &[(&str, &str)], body: Option<&serde_json::Value>, good: u16| {
            let began = Instant::now();
            let answer =
                client.ask(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            assert_eq!(answer.status, good, "{method} {path}: {answer:?}");
            slowest = slowest.max(began.elapsed());
        };
        ask("PUT", &who.path(), &[], Some(&who.body(key)), 201);
        ask("GET", &who.path(), &[("Authorization", &own)], None, 200);
        let at_gate = [("Authorization", own.as_str()), ("X-Original-URI", "/repo/almalinux/9/x")];
        ask("GET", "/v1/repo-auth", &at_gate, None, 204);
        ask("GET", "/v1/seats", &[("Authorization", &bearer)], None, 200);
        ask("DELETE", &who.path(), &[("Authorization", &own)], None, 204);
    }
    slowest
}

/// A connection on which so much has been said.
fn opened(to: SocketAddr, start: &str) -> TcpStream {
    let mut stream = connect(to);
    // The backend may have had enough before the end.
    match stream.write_all(start.as_bytes()) {
        Err(error) if ![ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => panic!("{error}"),
        _ => stream,
    }
}

/// What a process has in memory, in kB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How a connection can begin that holds its place: in silence, in the middle of a head.
const STARTS: [&str; 2] = ["", "GET /v1/seats HTTP/1.1\r\nHost: x\r\nX-Slow: "];
