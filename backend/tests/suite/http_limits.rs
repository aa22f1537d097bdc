//! Guesses of keys are limited for each address; a key that was used there and a credential never are.

use std::time::{Duration, Instant};

use els_protocol::LicenseKey;
use els_server::peer::parse_network;

use super::http_world::*;
use els_testkit::http::*;

/// Guesses keys until the address has to wait; says how many guesses were answered at once.
fn exhaust(world: &World, headers: &[(&str, &str)]) -> u32 {
    for number in 0..200 {
        let began = Instant::now();
        guess(world, number, headers).assert_code("unknown-key");
        if began.elapsed() > Duration::from_millis(500) {
            return number;
        }
    }
    panic!("guessing was never limited");
}

fn guess(world: &World, number: u32, headers: &[(&str, &str)]) -> Answer {
    let mut bytes = [0xee; 15];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    let key = bearer(&LicenseKey::from_random(bytes));
    let headers: Vec<_> = headers.iter().copied().chain([("Authorization", key.as_str())]).collect();
    world.ask("GET", "/v1/seats", &headers, "")
}

/// Promise: limit-guesses
/// Promise: limit-good-credential
#[test]
fn guessing_is_limited_and_a_fleet_behind_the_same_address_goes_on() {
    let world = World::new();
    let (key, new_key) = (world.key("a", 100), world.key("b", 100));
    let old = world.registered(&key, 1);
    let at_once = exhaust(&world, &[]);
    assert!((59..65).contains(&at_once), "{at_once}");

    // A key that was used here, known and new credentials, and wrong tokens are answered at once.
    let began = Instant::now();
    let new = world.registered(&key, 2);
    for _ in 0..50 {
        assert_eq!(world.ask("GET", &old.path(), &[("Authorization", &old.basic())], "").status, 200);
        assert_eq!(world.gate("/repo/almalinux/9/x", Some(&old.basic())).status, 204);
        assert_eq!(world.gate("/repo/almalinux/9/x", Some(&new.basic())).status, 204);
        assert_eq!(world.ask("GET", "/v1/seats", &[("Authorization", &bearer(&key))], "").status, 200);
        let wrong = basic(&old.id.to_string(), new.token.expose());
        world.ask("GET", &old.path(), &[("Authorization", &wrong)], "").assert_code("credential-invalid");
        world.gate("/repo/almalinux/9/x", Some(&wrong)).assert_code("credential-invalid");
        // A host with a wrong setting repeats its mistake: that is not another guess.
        guess(&world, 1, &[]).assert_code("unknown-key");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    // Guesses beyond the limit are refused, and a new key waits for its turn, even if it is correct.
    let refused = std::thread::scope(|scope| {
        let guesses: Vec<_> = (1000..1030)
            .map(|number| {
                scope.spawn({
                    let world = &world;
                    move || guess(world, number, &[])
                })
            })
            .collect();
        let answers = guesses.into_iter().map(|guess| guess.join().unwrap());
        answers
            .filter(|answer| answer.status == 429)
            .inspect(|answer| {
                answer.assert_code("rate-limited");
                assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
            })
            .count()
    });
    assert!((15..25).contains(&refused), "{refused}");
    let began = Instant::now();
    world.registered(&new_key, 3);
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    let began = Instant::now();
    world.registered(&new_key, 4);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(world.ask("DELETE", &old.path(), &[("Authorization", &old.basic())], "").status, 204);
    let metrics = String::from_utf8(ask(world.admin, "GET", "/metrics", &[], "").body).unwrap();
    assert!(metrics.contains(&format!("els_limited_total {refused}\n")), "{metrics}");
}

/// Promise: limit-good-credential
#[test]
fn a_key_that_was_used_here_does_not_queue_behind_guesses() {
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
    let waits = |world: &World, number: u32, peer: &str| {
        let began = Instant::now();
        guess(world, number, &[("X-Forwarded-For", peer)]).assert_code("unknown-key");
        began.elapsed() > Duration::from_millis(500)
    };
    assert!(waits(&world, 1000, "192.0.2.2"), "nobody trusts this header: the socket counts");

    let world = World::with(|options| options.trusted_proxies = vec![parse_network("127.0.0.0/8").unwrap()]);
    exhaust(&world, &[("X-Forwarded-For", "198.51.100.9, 192.0.2.1")]);
    assert!(!waits(&world, 1000, "192.0.2.2"));
    assert!(waits(&world, 1001, "203.0.113.7, 192.0.2.1"), "what the client made up does not help it");
}
