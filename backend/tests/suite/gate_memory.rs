//! What the gate caches, for how long, and when it reads it again.

use std::time::Duration;

use els_backend::serve::start;
use els_ledger::{Administration, Scope, SeatStore};

use super::http_world::*;
use els_testkit::http::*;

const FILE: &str = "/repo/almalinux/9/x";

/// Promise: gate-whole-credential
#[test]
fn a_known_credential_needs_no_look_up() {
    let world = World::new();
    let key = world.key("a", 2);
    let (one, other) = (world.registered(&key, 1), world.registered(&key, 2));
    let lookups = || world.store.lookups();
    for _ in 0..20 {
        assert_eq!(world.gate(FILE, Some(&one.basic())).status, 204);
    }
    assert!(lookups() <= 2, "{}", lookups());
    // A wrong token for a known id is told from memory, and shuts nobody out.
    let before = lookups();
    let wrong = basic(&one.id.to_string(), other.token.expose());
    for _ in 0..20 {
        world.gate(FILE, Some(&wrong)).assert_code("credential-invalid");
    }
    // At most one: the change of the other registration may arrive in between, and then the gate asks again.
    assert!(lookups() <= before + 1, "{before} and then {}", lookups());
    assert_eq!(world.gate(FILE, Some(&one.basic())).status, 204);
}

/// Promise: gate-cut-off
#[test]
fn a_gate_without_database_opens_from_memory_and_then_answers_503() {
    let world = World::with(|options| options.gate_stale = Duration::from_secs(4));
    let key = world.key("a", 3);
    let (known, unknown) = (world.registered(&key, 1), world.registered(&key, 2));
    assert_eq!(world.gate(FILE, Some(&known.basic())).status, 204);
    world.store.cut_off(true);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.gate(FILE, Some(&known.basic())).status, 204, "known to be good");
    world.gate(FILE, Some(&unknown.basic())).assert_code("unavailable");
    std::thread::sleep(Duration::from_millis(3500));
    world.gate(FILE, Some(&known.basic())).assert_code("unavailable");
    assert_eq!(world.gate("/repo/gpg/x", None).status, 204, "public is public");
    assert_eq!(world.gate(FILE, None).status, 401, "this much is known");
    world.store.cut_off(false);
    world.within_five_seconds("it knows again", || world.gate(FILE, Some(&known.basic())).status == 204);
    assert_eq!(world.gate(FILE, Some(&unknown.basic())).status, 204);
}

/// Promise: gate-cut-off-expiry
#[test]
fn a_gate_without_database_applies_expiry_by_its_own_clock() {
    let world = World::new();
    let known = world.registered(&world.key("a", 1), 1);
    assert_eq!(world.gate(FILE, Some(&known.basic())).status, 204);
    world.store.cut_off(true);
    world.advance(110 * DAY);
    world.gate(FILE, Some(&known.basic())).assert_code("key-expired");
}

/// Promise: seat-superseded-hour
#[test]
fn a_superseded_credential_works_for_an_hour_and_is_then_decided_once() {
    let world = World::new();
    let key = world.key("a", 2);
    let first = world.registered(&key, 1);
    assert_eq!(world.gate(FILE, Some(&first.basic())).status, 204);
    // The same machine id without hardware ids: likely the same machine.
    let second = Machine::new(2);
    let mut body = second.body(&key);
    body["machine"] = first.body(&key)["machine"].clone();
    assert_eq!(world.put(&second, &body).status, 200, "its seat moves");
    // Until the feed brings the change, the gate uses what it knew.
    let lookups = world.store.lookups();
    world.within_five_seconds("the feed has brought the change", || {
        world.gate(FILE, Some(&first.basic())).status == 204 && world.store.lookups() > lookups
    });
    world.advance(3599);
    assert_eq!(world.gate(FILE, Some(&first.basic())).status, 204);
    assert_eq!(world.gate(FILE, Some(&second.basic())).status, 204);
    // Used after it: both are alive, and both get a seat, since one is free.
    world.advance(2);
    assert_eq!(world.gate(FILE, Some(&first.basic())).status, 204);
    assert_eq!(world.gate(FILE, Some(&second.basic())).status, 204);
    let seats = world.ask("GET", "/v1/seats", &[("Authorization", &bearer(&key))], "").json();
    assert_eq!(seats["seats"]["used"], 2);
}

/// Promise: seat-two-alive
#[test]
fn a_superseded_credential_of_a_full_key_has_its_seat_again() {
    let world = World::new();
    let key = world.key("a", 1);
    let first = world.registered(&key, 1);
    let second = Machine::new(2);
    let mut body = second.body(&key);
    body["machine"] = first.body(&key)["machine"].clone();
    assert_eq!(world.put(&second, &body).status, 200);
    assert_eq!(world.gate(FILE, Some(&second.basic())).status, 204);
    world.advance(3601);
    assert_eq!(world.gate(FILE, Some(&first.basic())).status, 204, "the first one keeps the seat");
    world.within_five_seconds("the newer is out", || world.gate(FILE, Some(&second.basic())).status == 401);
}

/// Promise: gate-last-seen
#[test]
fn last_use_is_written_soon_and_only_for_what_passes() {
    let world = World::new();
    let key = world.key("a", 3);
    let (used, refused, unused) = (world.registered(&key, 1), world.registered(&key, 2), world.registered(&key, 3));
    world.advance(100);
    world.gate(FILE, Some(&used.basic()));
    world.gate("/repo/almalinux/8/x", Some(&refused.basic())).assert_code("path-not-covered");
    let seen = |machine: &Machine| {
        let list = world.ask("GET", "/v1/seats", &[("Authorization", &bearer(&key))], "").json();
        let list = list["registrations"].as_array().unwrap().clone();
        let mine = list.into_iter().find(|holder| holder["registration"] == machine.id.to_string()).unwrap();
        mine.get("last_seen_at").map(|time| time.as_str().unwrap().to_owned())
    };
    world.within_five_seconds("it is written", || seen(&used).as_deref() == Some("2027-01-15T08:01:40Z"));
    assert_eq!((seen(&refused), seen(&unused)), (None, None));
}

/// Promise: gate-last-seen
#[test]
fn last_use_is_written_at_the_end() {
    let mut world = World::new();
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    world.advance(60);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(world.gate(FILE, Some(&machine.basic())).status, 204);
    world.stop();
    let list = world.block_on(world.store.seat_page(world.now(), key.hash(), None, 9));
    assert!(list.unwrap().unwrap().registrations[0].last_seen_at.is_some());
}

/// Promise: gate-new-credential
/// Promise: gate-five-seconds
#[test]
fn a_credential_of_one_node_opens_and_ends_at_every_node() {
    let mut options = None;
    let world = World::with(|own| options = Some(own.clone()));
    let node = world.block_on(start(options.unwrap(), world.store.clone())).unwrap();
    let ask_node = |machine: &Machine| {
        let authorization = machine.basic();
        let headers = [("Authorization", authorization.as_str()), ("X-Original-URI", FILE)];
        ask(node.listen, "GET", "/v1/repo-auth", &headers, "").status
    };
    let key = world.key("a", 2);
    let machine = Machine::new(1);
    assert_eq!(ask_node(&machine), 401, "nobody knows it yet");
    assert_eq!(world.put(&machine, &machine.body(&key)).status, 201);
    assert_eq!(ask_node(&machine), 204, "at once, also where it was refused before");
    assert_eq!(world.ask("DELETE", &machine.path(), &[("Authorization", &machine.basic())], "").status, 204);
    world.within_five_seconds("released at the other node", || ask_node(&machine) == 401);
    world.block_on(node.stop());
}

/// Promise: seat-erasure
#[test]
fn upkeep_runs_at_the_start_and_on_one_node_at_a_time() {
    let mut options = None;
    let mut world = World::with(|own| options = Some(own.clone()));
    let key = world.key("a", 1);
    let machine = world.registered(&key, 1);
    assert_eq!(world.ask("DELETE", &machine.path(), &[("Authorization", &machine.basic())], "").status, 204);
    let machine_id = |world: &World| {
        let found = world.block_on(world.store.find(world.now(), Scope::Vendor, &machine.id.to_string(), 9)).unwrap();
        found.registrations[0].machine
    };
    world.advance(91 * DAY);
    assert!(machine_id(&world).is_some());
    let options = options.unwrap();
    let other = world.block_on(start(options.clone(), world.store.clone())).unwrap();
    let elsewhere = r#"els_upkeep_runs_total{name="erase-ids",result="elsewhere"} 1"#;
    world.within_five_seconds("the first node has the job", || {
        let answer = ask(other.admin_listen, "GET", "/metrics", &[], "");
        String::from_utf8(answer.body).unwrap().lines().any(|line| line == elsewhere)
    });
    assert!(machine_id(&world).is_some());
    // A node that ends gives its jobs up. The next one that starts runs them at once.
    world.stop();
    world.block_on(other.stop());
    let node = world.block_on(start(options, world.store.clone())).unwrap();
    world.within_five_seconds("the ids are erased", || machine_id(&world).is_none());
    world.block_on(node.stop());
}
