//! Very many seat lists of one key: the gate, revocation and other keys do not wait for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use els_testkit::cluster::Cluster;
use els_testkit::http::{Client, Registrant, bearer};
use els_testkit::site::Site;
use els_testkit::sweep::{Ending, open_files, soak, within_a_minute};

/// Promise: limit-bulkheads
/// Promise: gate-five-seconds
#[test]
fn lists_of_one_key_delay_neither_revocation_nor_another_key() {
    println!("SQLite: {}", beside_lists(&Site::new()));
    println!("PostgreSQL: {}", beside_lists(&Site::on_postgres(Cluster::shared().database())));
}

/// Says how long good requests and a revocation take.
fn beside_lists(site: &Site) -> String {
    let (seats, connections) = if soak() { (1000, 4000) } else { (300, 400) };
    open_files(connections + 1000);
    let (_, listed) = site.key(100_000);
    let served = site.serve();
    let mut client = Client::new(served.listen);
    for number in 0..seats {
        let who = Registrant::new(number, number);
        assert_eq!(client.ask("PUT", &who.path(), &[], Some(&who.body(&listed))).unwrap().status, 201);
    }
    let (over, lists) = (AtomicBool::new(false), AtomicU64::new(0));
    let (register, gate, revoked) = std::thread::scope(|scope| {
        let _ending = Ending(&over);
        for _ in 0..connections {
            let list = || {
                let (mut client, key) = (Client::new(served.listen), bearer(&listed));
                while !over.load(Ordering::Relaxed) {
                    let answer = client.ask("GET", "/v1/seats?limit=1000", &[("Authorization", &key)], None);
                    if answer.is_ok_and(|answer| answer.status == 200) {
                        lists.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, list).unwrap();
        }
        within_a_minute(|| (lists.load(Ordering::Relaxed) > 50).then_some(()));
        let (key_id, key) = site.key(1000);
        let (mut register, mut gate) = (Duration::ZERO, Duration::ZERO);
        for number in 10_000..10_020 {
            let who = Registrant::new(number, number);
            let own = who.basic();
            let began = Instant::now();
            assert_eq!(client.ask("PUT", &who.path(), &[], Some(&who.body(&key))).unwrap().status, 201);
            register = register.max(began.elapsed());
            let began = Instant::now();
            let headers = [("Authorization", own.as_str()), ("X-Original-URI", "/repo/almalinux/9/x")];
            assert_eq!(client.ask("GET", "/v1/repo-auth", &headers, None).unwrap().status, 204);
            gate = gate.max(began.elapsed());
        }
        let own = Registrant::new(10_000, 10_000).basic();
        site.line(&format!("key revoke {key_id}")).succeeds();
        let began = Instant::now();
        let headers = [("Authorization", own.as_str()), ("X-Original-URI", "/repo/almalinux/9/x")];
        within_a_minute(|| {
            let answer = client.ask("GET", "/v1/repo-auth", &headers, None).unwrap();
            (answer.status == 403).then_some(())
        });
        (register, gate, began.elapsed())
    });
    assert!(revoked < Duration::from_secs(5), "{revoked:?}");
    assert!(register < Duration::from_secs(3) && gate < Duration::from_secs(3), "{register:?} {gate:?}");
    format!("lists: {lists:?}, slowest registration {register:?}, slowest look-up {gate:?}, revoked after {revoked:?}")
}
