//! Failures are limited for each address; a good key or credential never is.

use std::time::{Duration, Instant};

use els_protocol::LicenseKey;
use els_server::peer::parse_network;

use super::http_world::*;
use els_testkit::http::*;

/// Fails with fresh keys until the address is told to wait; says how often it was heard.
fn exhaust(world: &World, headers: &[(&str, &str)]) -> usize {
    for number in 0..200_u8 {
        let mut bytes = [0xee; 15];
        bytes[0] = number;
        let key = bearer(&LicenseKey::from_random(bytes));
        let mut headers = headers.to_vec();
        headers.push(("Authorization", &key));
        let answer = world.ask("GET", "/v1/seats", &headers, "");
        match answer.code().as_str() {
            "unknown-key" => {}
            "rate-limited" => {
                assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
                return usize::from(number);
            }
            other => panic!("{other}"),
        }
    }
    panic!("guessing was never limited");
}

/// Promise: limit-failures
/// Promise: limit-good-credential
#[test]
fn guessing_is_limited_and_a_fleet_behind_the_same_address_goes_on() {
    let world = World::new();
    let key = world.key("a", 100);
    let old = world.registered(&key, 1);
    let fresh_key = world.key("b", 100);
    assert!(exhaust(&world, &[]) >= 30, "a few mistakes are nobody's crime");

    // Known key, unknown key that is good, known credential, fresh credential: all are heard.
    world.registered(&key, 2);
    let fresh = world.registered(&fresh_key, 3);
    assert_eq!(world.ask("GET", &old.path(), &[("Authorization", &old.basic())], "").status, 200);
    assert_eq!(world.gate("/repo/almalinux/9/x", Some(&old.basic())).status, 204);
    assert_eq!(world.gate("/repo/almalinux/9/x", Some(&fresh.basic())).status, 204);
    assert_eq!(world.ask("GET", "/v1/seats", &[("Authorization", &bearer(&key))], "").status, 200);

    // Failures are not; nor do they lock anybody's registration out.
    let wrong = basic(&old.id.to_string(), fresh.token.expose());
    world.ask("GET", &old.path(), &[("Authorization", &wrong)], "").assert_code("rate-limited");
    assert_eq!(world.ask("DELETE", &old.path(), &[("Authorization", &old.basic())], "").status, 204);
    let metrics = String::from_utf8(ask(world.admin, "GET", "/metrics", &[], "").body).unwrap();
    assert!(!metrics.contains("els_limited_total 0"), "{metrics}");
}

/// Promise: limit-good-credential
#[test]
fn a_known_key_does_not_queue_behind_the_failures_of_others() {
    let world = World::new();
    let key = world.key("a", 100);
    world.registered(&key, 1);
    exhaust(&world, &[]);
    world.store.delay(Duration::from_millis(400));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for number in 2..12 {
            let (world, key) = (&world, &key);
            scope.spawn(move || world.registered(key, number));
        }
    });
    assert!(began.elapsed() < Duration::from_secs(2), "ten at once, not one after the other: {:?}", began.elapsed());
}

/// Promise: gate-statuses
#[test]
fn the_gate_answers_only_what_web_servers_know() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    exhaust(&world, &[]);
    world.gate("/repo/almalinux/9/x", Some(&Machine::new(9).basic())).assert_code("credential-invalid");
    let wrong = basic(&machine.id.to_string(), Machine::new(9).token.expose());
    world.gate("/repo/almalinux/9/x", Some(&wrong)).assert_code("credential-invalid");
    assert_eq!(world.gate("/repo/almalinux/9/x", Some(&machine.basic())).status, 204);
}

/// Promise: gate-malformed
#[test]
fn malformed_credentials_are_not_counted_and_not_looked_up() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    let template = basic("$els_id", "$els_token");
    let half = basic(&machine.id.to_string(), "$els_token");
    for _ in 0..100 {
        world.gate("/repo/almalinux/9/x", Some(&template)).assert_code("credential-invalid");
        world.ask("GET", &machine.path(), &[("Authorization", &half)], "").assert_code("credential-invalid");
    }
    assert_eq!(world.store.lookups(), 0);
    let unknown = bearer(&LicenseKey::from_random([9; 15]));
    world.ask("GET", "/v1/seats", &[("Authorization", &unknown)], "").assert_code("unknown-key");
}

/// Promise: serve-trusted-proxy
#[test]
fn the_address_is_what_a_trusted_proxy_says_and_nothing_else() {
    let world = World::new();
    exhaust(&world, &[("X-Forwarded-For", "192.0.2.1")]);
    let unknown = bearer(&LicenseKey::from_random([9; 15]));
    let from = |world: &World, client: &str| {
        world.ask("GET", "/v1/seats", &[("Authorization", &unknown), ("X-Forwarded-For", client)], "").code()
    };
    assert_eq!(from(&world, "192.0.2.2"), "rate-limited", "nobody trusts this header: the peer counts");

    let world = World::with(|options| options.trusted_proxies = vec![parse_network("127.0.0.0/8").unwrap()]);
    exhaust(&world, &[("X-Forwarded-For", "198.51.100.9, 192.0.2.1")]);
    assert_eq!(from(&world, "192.0.2.2"), "unknown-key");
    assert_eq!(from(&world, "203.0.113.7, 192.0.2.1"), "rate-limited", "what the client made up does not help it");
}
