//! Several nodes on one PostgreSQL: what one answers holds at the others.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use els_protocol::LicenseKey;

use els_testkit::cluster::{Cluster, name};
use els_testkit::http::{Client, Registrant};
use els_testkit::site::{Served, Site};
use els_testkit::sweep::{Ending, within_a_minute};

/// Promise: nodes-new-credential
#[test]
fn a_credential_opens_at_every_node_from_the_moment_of_its_answer() {
    let (site, nodes) = two_nodes(Cluster::shared());
    let (_, key) = site.key(100);
    for number in 0..40 {
        let (here, there) = (&nodes[number as usize % 2], &nodes[(number as usize + 1) % 2]);
        let who = Registrant::new(number, number);
        // Asked before it exists: a node that refused it once must accept it later.
        assert_eq!(gate(there, &who), 401);
        assert_eq!(put(here, &who, &key), 201);
        assert_eq!(gate(there, &who), 204);
        assert_eq!(gate(here, &who), 204);
    }
}

/// Promise: nodes-five-seconds
#[test]
fn a_command_reaches_every_node_within_five_seconds_also_without_notifications() {
    let cluster = Cluster::with(&[]);
    let (site, nodes) = two_nodes(&cluster);
    let (key_id, key) = site.key(100);
    let (stays, goes) = (Registrant::new(1, 1), Registrant::new(2, 2));
    for who in [&stays, &goes] {
        assert_eq!(put(&nodes[0], who, &key), 201);
        nodes.iter().for_each(|node| assert_eq!(gate(node, who), 204));
    }
    let run = |arguments: &[&str]| assert!(site.command(arguments).output().unwrap().status.success(), "{arguments:?}");
    let reaches = |who: &Registrant, status: u16| {
        let began = Instant::now();
        for node in &nodes {
            while gate(node, who) != status {
                assert!(began.elapsed() < Duration::from_secs(5), "{status} does not come");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    };
    for without in [false, true] {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ending = Ending(&over);
            if without {
                // Whoever listens is cut off again and again.
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        cluster.sql("postgres", NO_LISTENERS);
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
            }
            run(&["key", "suspend", &key_id]);
            reaches(&stays, 403);
            run(&["key", "resume", &key_id]);
            reaches(&stays, 204);
            run(&["key", "update", &key_id, "--expires", "2020-01-01"]);
            reaches(&stays, 403);
            run(&["key", "update", &key_id, "--expires", "2099-01-01"]);
            reaches(&stays, 204);
            if without {
                run(&["seat", "release", &goes.id.to_string()]);
                reaches(&goes, 401);
                run(&["key", "revoke", &key_id]);
                reaches(&stays, 403);
            }
            drop(ending);
        });
    }
}

/// Promise: nodes-cut-off
#[test]
fn nodes_without_database_open_from_memory_and_answer_503_for_the_rest() {
    let mut cluster = Cluster::with(&[]);
    let (site, nodes) = two_nodes(&cluster);
    let (_, key) = site.key(100);
    let (known, unknown) = (Registrant::new(1, 1), Registrant::new(2, 2));
    assert_eq!(put(&nodes[0], &known, &key), 201);
    // What a node has looked up is looked up once more when the feed tells of it, which takes a second.
    std::thread::sleep(Duration::from_secs(3));
    nodes.iter().for_each(|node| assert_eq!(gate(node, &known), 204));
    cluster.kill();
    for node in &nodes {
        assert_eq!(gate(node, &known), 204);
        assert_eq!(gate(node, &unknown), 503);
        assert_eq!(put(node, &unknown, &key), 503);
        assert_eq!(ask(node, "GET", &known.path(), &known.basic()), 503);
        assert_eq!(ask(node, "DELETE", &known.path(), &known.basic()), 503);
        assert_eq!(Client::new(node.admin).ask("GET", "/healthz", &[], None).unwrap().status, 200);
        assert_eq!(Client::new(node.admin).ask("GET", "/readyz", &[], None).unwrap().status, 503);
        assert!(node.metric(r#"els_problems_total{code="unavailable"}"#) >= 3);
    }
    cluster.start();
    for node in &nodes {
        within_a_minute(|| (put(node, &unknown, &key) != 503).then_some(()));
        assert_eq!(gate(node, &unknown), 204);
    }
    site.check();
}

/// Promise: node-replacement
#[test]
fn a_new_node_beside_an_old_one_takes_over_without_a_failed_request() {
    let site = Site::on_postgres(Cluster::shared().database());
    let (_, key) = site.key(10_000);
    let old = site.serve();
    let over = AtomicBool::new(false);
    let listen = std::sync::Mutex::new(old.listen);
    let asked = std::thread::scope(|scope| {
        let ending = Ending(&over);
        let hands: Vec<_> = (0..2_u32)
            .map(|hand| {
                let (key, listen, over) = (&key, &listen, &over);
                scope.spawn(move || {
                    let mut number = hand << 16;
                    // As behind a load balancer: each request goes to a node that is in service when it is sent.
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        let who = Registrant::new(number, number);
                        let mut client = Client::new(*listen.lock().unwrap());
                        let answer = client.ask("PUT", &who.path(), &[], Some(&who.body(key))).unwrap();
                        assert_eq!(answer.status, 201, "{answer:?}");
                    }
                    number - (hand << 16)
                })
            })
            .collect();
        let new = site.serve();
        std::thread::sleep(Duration::from_millis(300));
        *listen.lock().unwrap() = new.listen;
        // SIGTERM: what is under way is answered.
        std::thread::sleep(Duration::from_millis(50));
        assert!(old.stop().success());
        std::thread::sleep(Duration::from_millis(300));
        drop(ending);
        hands.into_iter().map(|hand| hand.join().unwrap()).sum::<u32>()
    });
    assert!(asked > 20, "{asked}");
    site.check();
}

#[test]
fn a_node_stops_at_once_and_in_order_after_its_clients_have_gone() {
    let site = Site::on_postgres(Cluster::shared().database());
    let (_, key) = site.key(10_000);
    let served = site.serve();
    let whos: Vec<Registrant> = (0..60).map(|number| Registrant::new(number, number)).collect();
    let mut streams = Vec::new();
    for who in &whos {
        let body = who.body(&key).to_string();
        let mut stream = TcpStream::connect(served.listen).unwrap();
        write!(stream, "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", who.path(), body.len())
            .unwrap();
        streams.push(stream);
    }
    // Whoever asked does not wait for the answer.
    std::thread::sleep(Duration::from_millis(5));
    drop(streams);
    let began = Instant::now();
    assert!(served.stop().success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    site.check();
    // What had not been read of them was never there; the same request again ends well in either case.
    let other = site.serve();
    for who in &whos {
        assert!(matches!(put(&other, who, &key), 200 | 201));
    }
    site.check();
}

/// Promise: nodes-start-checks
#[test]
fn a_node_does_not_start_on_a_database_that_cannot_keep_its_promises() {
    let url = Cluster::shared().database();
    let database = name(&url).to_owned();
    let words = |site: &Site| Served::spawn(site.command(els_testkit::site::SERVE)).ready_or_log().err().unwrap();
    let unprepared = Site::at(url.clone());
    assert!(words(&unprepared).contains("is empty: run `els-backend migrate`"), "{}", words(&unprepared));
    let site = Site::on_postgres(url);
    let sql = |sql: &str| Cluster::shared().sql(&database, sql);
    sql(&format!("ALTER DATABASE {database} SET synchronous_commit = off"));
    assert!(words(&site).contains("synchronous_commit is off there"), "{}", words(&site));
    sql(&format!("ALTER DATABASE {database} RESET synchronous_commit"));
    sql("UPDATE els_schema SET version = 99, oldest = 99");
    assert!(words(&site).contains("has schema 99") && words(&site).contains("use the newer els-backend"));
    sql("DROP TABLE els_schema");
    assert!(words(&site).contains("is another program's"), "{}", words(&site));
    let nowhere = Site::at("postgres://els:hunter2@127.0.0.1:1/els".into());
    let said = words(&nowhere);
    assert!(said.contains("cannot reach the database els at 127.0.0.1") && !said.contains("hunter2"), "{said}");
}

fn two_nodes(cluster: &Cluster) -> (Site, [Served; 2]) {
    let site = Site::on_postgres(cluster.database());
    let nodes = [site.serve(), site.serve()];
    (site, nodes)
}

pub(crate) fn put(node: &Served, who: &Registrant, key: &LicenseKey) -> u16 {
    Client::new(node.listen).ask("PUT", &who.path(), &[], Some(&who.body(key))).unwrap().status
}

pub(crate) fn ask(node: &Served, method: &str, path: &str, authorization: &str) -> u16 {
    Client::new(node.listen).ask(method, path, &[("Authorization", authorization)], None).unwrap().status
}

/// What the gate of a node says. Each machine has an address of its own, as failures are limited for each.
pub(crate) fn gate(node: &Served, who: &Registrant) -> u16 {
    let [.., a, b] = *who.id.as_bytes();
    let (own, from) = (who.basic(), format!("10.1.{a}.{b}"));
    let headers = [
        ("Authorization", own.as_str()),
        ("X-Forwarded-For", from.as_str()),
        ("X-Original-URI", "/repo/almalinux/9/repodata/repomd.xml"),
    ];
    Client::new(node.listen).ask("GET", "/v1/repo-auth", &headers, None).unwrap().status
}

const NO_LISTENERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
