//! `GET /v1/repo-auth`: each check of the gate, in its order.

use els_ledger::rules::KeyState;
use els_ledger::{By, KeyChange, Scope, SeatStore};
use els_protocol::Timestamp;

use super::http_world::*;
use els_testkit::http::*;

const FILE: &str = "/repo/almalinux/9/updates/x86_64/repodata/repomd.xml";

/// Promise: gate-product-paths
#[test]
fn a_credential_opens_its_products_paths_and_no_others() {
    let world = World::new();
    let machine = world.registered(&world.key("a", 1), 1);
    let own = machine.basic();
    for target in [
        FILE,
        "/repo/almalinux/9",
        "/repo/almalinux/9/",
        "/repo/almalinux/9/a%2Bb.rpm?x=/../y",
        "/repo/%61lmalinux/9/x",
    ] {
        let answer = world.gate(target, Some(&own));
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{target}");
    }
    for target in
        ["/repo/almalinux/8/x", "/repo/almalinux", "/repo/", "/repo", "/repo/almalinux/90/x", "/almalinux/9/x", "/"]
    {
        world.gate(target, Some(&own)).assert_code("path-not-covered");
    }
}

/// Promise: gate-public
#[test]
fn public_paths_need_no_credential_and_accept_a_bad_one() {
    let world = World::new();
    for authorization in [None, Some("Basic nonsense"), Some("Basic")] {
        assert_eq!(world.gate("/repo/gpg/RPM-GPG-KEY-ELS", authorization).status, 204);
        assert_eq!(world.gate("/repo/els-register/9/x.rpm", authorization).status, 204);
        world.gate("/repo/gpgx", authorization).assert_code("credential-invalid");
    }
}

/// Promise: gate-one-header
/// Promise: gate-strict-paths
#[test]
fn path_tricks_open_nothing_with_the_best_credential() {
    let world = World::new();
    let own = world.registered(&world.key("a", 1), 1).basic();
    for target in [
        "/repo/almalinux/9/../8/x",
        "/repo/almalinux/9/%2e%2e/8/x",
        "/repo/almalinux/9/..%2f8/x",
        "/repo/almalinux/9/.%2e/8/x",
        "/repo//almalinux/9/x",
        "/repo/almalinux/9//x",
        "/repo/almalinux/9/./x",
        "/repo/almalinux/9/x%0d%0aX-Evil:1",
        "/repo/almalinux/9/x%00",
        "/repo/almalinux/9/%252e%252e/8",
        "/repo/almalinux/9/..%5c8",
        "/repo/almalinux/9\\..\\8",
        "http://host/repo/almalinux/9/x",
        "repo/almalinux/9/x",
        "//repo/almalinux/9/x",
        "/repo/almalinux/9/x;y",
        "*",
        "",
        "/repo/gpg/../almalinux/9/x",
        "/repo/almalinux/9/x y",
        "/repo/almalinux/9/\u{e9}",
    ] {
        world.gate(target, Some(&own)).assert_code("path-not-covered");
    }
    let long = format!("{FILE}?{}", "x".repeat(4096 - FILE.len() - 1));
    assert_eq!(world.gate(&long, Some(&own)).status, 204);
    world.gate(&format!("{long}x"), Some(&own)).assert_code("path-not-covered");
}

/// Promise: gate-one-header
#[test]
fn there_is_exactly_one_target_and_one_credential() {
    let world = World::new();
    let own = world.registered(&world.key("a", 1), 1).basic();
    let ask = |headers: &[(&str, &str)]| world.ask("GET", "/v1/repo-auth", headers, "");
    ask(&[("Authorization", &own)]).assert_code("path-not-covered");
    ask(&[("Authorization", &own), ("X-Original-URI", FILE), ("x-original-uri", FILE)]).assert_code("path-not-covered");
    ask(&[("X-Original-URI", "/repo/gpg/x"), ("X-Original-URI", "/repo/gpg/x")]).assert_code("path-not-covered");
    ask(&[("Authorization", &own), ("Authorization", &own), ("X-Original-URI", FILE)])
        .assert_code("credential-invalid");
    assert_eq!(ask(&[("Authorization", &own), ("X-Original-URI", FILE)]).status, 204);
    let head = world.ask("HEAD", "/v1/repo-auth", &[("Authorization", &own), ("X-Original-URI", FILE)], "");
    assert_eq!(head.status, 204);
}

/// Promise: gate-401
#[test]
fn without_a_good_credential_the_client_is_asked_for_one() {
    let world = World::new();
    let key = world.key("a", 2);
    let (one, other) = (world.registered(&key, 1), world.registered(&key, 2));
    for authorization in [
        None,
        Some(basic("$els_id", "$els_token")),
        Some(basic(&one.id.to_string(), "$els_token")),
        Some(basic(&one.id.to_string(), other.token.expose())),
        Some(Machine::new(9).basic()),
        Some(bearer(&key)),
        Some("Basic !!!".into()),
    ] {
        let answer = world.gate(FILE, authorization.as_deref());
        answer.assert_code("credential-invalid");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
}

/// Promise: gate-whole-credential
#[test]
fn a_new_credential_opens_at_once_even_if_it_was_refused_before() {
    let world = World::new();
    let key = world.key("a", 1);
    let machine = Machine::new(1);
    world.gate(FILE, Some(&machine.basic())).assert_code("credential-invalid");
    world.registered(&key, 1);
    assert_eq!(world.gate(FILE, Some(&machine.basic())).status, 204);
}

/// Promise: gate-five-seconds
#[test]
fn a_change_by_the_vendor_reaches_the_gate_within_five_seconds() {
    let world = World::new();
    let key = world.key("a", 2);
    let machine = world.registered(&key, 1);
    let own = machine.basic();
    let code = |world: &World| match world.gate(FILE, Some(&own)) {
        answer if answer.status == 204 => "open".to_owned(),
        answer => answer.code(),
    };
    assert_eq!(code(&world), "open");
    for (state, expected) in [(KeyState::Suspended, "key-suspended"), (KeyState::Active, "open")] {
        world.set_state("a", state);
        world.within_five_seconds(expected, || code(&world) == expected);
    }
    let change = |expires| KeyChange { expires: Some(expires), ..KeyChange::default() };
    world.change_key("a", change(Timestamp::from_unix(NOW - 20 * DAY)));
    world.within_five_seconds("expired", || code(&world) == "key-expired");
    world.change_key("a", change(Timestamp::from_unix(NOW + DAY)));
    world.within_five_seconds("renewed", || code(&world) == "open");
    world.set_state("a", KeyState::Revoked);
    world.within_five_seconds("revoked", || code(&world) == "key-revoked");
}

/// Promise: gate-five-seconds
#[test]
fn a_released_credential_is_refused_within_five_seconds_and_always_after() {
    let world = World::new();
    let key = world.key("a", 2);
    let machine = world.registered(&key, 1);
    assert_eq!(world.gate(FILE, Some(&machine.basic())).status, 204);
    let release = world.store.release_seat(world.now(), Scope::Vendor, By::vendor(), machine.id);
    world.block_on(release).unwrap().unwrap();
    world.within_five_seconds("released", || world.gate(FILE, Some(&machine.basic())).status == 401);
    let lookups = world.store.lookups();
    for _ in 0..5 {
        world.gate(FILE, Some(&machine.basic())).assert_code("credential-invalid");
    }
    assert!(world.store.lookups() <= lookups + 1, "what is released stays so: it is remembered");
}

/// Promise: seat-expiry
#[test]
fn expiry_and_grace_go_by_the_clock() {
    let world = World::new();
    let own = world.registered(&world.key("a", 1), 1).basic();
    world.advance(110 * DAY - 1);
    assert_eq!(world.gate(FILE, Some(&own)).status, 204, "in its grace");
    world.advance(1);
    world.gate(FILE, Some(&own)).assert_code("key-expired");
}

/// Promise: gate-repo-url
#[test]
fn the_path_of_the_repo_url_is_cut_off() {
    let world = World::with(|options| options.repo_url = Some("https://repo.example.com/els/v1/".into()));
    let own = world.registered(&world.key("a", 1), 1).basic();
    assert_eq!(world.gate("/els/v1/almalinux/9/x", Some(&own)).status, 204);
    world.gate("/almalinux/9/x", Some(&own)).assert_code("path-not-covered");
    world.gate("/els/v10/almalinux/9/x", Some(&own)).assert_code("path-not-covered");
    let world = World::with(|options| options.repo_url = Some("https://repo.example.com".into()));
    let own = world.registered(&world.key("a", 1), 1).basic();
    assert_eq!(world.gate("/almalinux/9/x", Some(&own)).status, 204);
}
