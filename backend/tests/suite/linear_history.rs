//! Histories of concurrent requests, recorded over HTTP, are those of a backend that handles one request after the other.
//!
//! Several clients, and an administrator who works on the same database through a store of his own as the commands do, use one
//! key with few seats, few machines and few ids, so that they conflict often. The requests are made from a seed; their times are
//! not, so that each run is different. What each client saw, and when, is checked against the model afterwards.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use els_ledger::database::DatabaseUrl;
use els_ledger::rules::KeyState;
use els_ledger::{self, By, KeyChange, KeyId, Opening, Scope, Store};
use els_protocol::wire::{SeatList, seat_path};
use els_protocol::{Code, LicenseKey, Timestamp};
use serde_json::Value;

use super::linear_check::{Call, is_linearizable};
use super::linear_model::{Id, Model, Op, Seats, Seen};
use els_testkit::cluster::Cluster;
use els_testkit::http::{Answer, Client, Registrant, bearer};
use els_testkit::site::{Served, Site};
use els_testkit::store::{policy, state_set, updated};
use els_testkit::sweep::{Dice, soak};

/// Promise: seat-limit
#[test]
fn histories_over_http_are_linearizable() {
    println!("one node, {}", histories_are_linearizable(&Site::new(), 1, if soak() { 3000 } else { 80 }));
}

/// Promise: nodes-seat-limit
#[test]
fn histories_over_two_nodes_are_linearizable() {
    let site = Site::on_postgres(Cluster::shared().database());
    println!("two nodes, {}", histories_are_linearizable(&site, 2, if soak() { 2000 } else { 60 }));
}

/// Clients spread over `nodes` processes on one database. Says what was tried.
fn histories_are_linearizable(site: &Site, nodes: usize, histories: u32) -> String {
    let served: Vec<Served> = (0..nodes).map(|_| site.serve()).collect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|client| Client::new(served[client % nodes].listen)).collect();
    let administrator = Administrator::new(site);
    let (mut calls, mut overlapping, mut kinds) = (0, 0, HashSet::new());
    let mut number = 0;
    // Which answers occur depends on who comes first: under load some need more histories.
    while number < histories || (number < histories * MORE && EXPECTED.iter().any(|kind| !kinds.contains(kind))) {
        let history = History::new(number, &administrator);
        let recorded = history.record(&mut clients, &administrator);
        calls += recorded.len();
        kinds.extend(recorded.iter().map(kind));
        overlapping += recorded.iter().filter(|call| overlaps(call, &recorded)).count();
        if !is_linearizable(&Model::new(SEATS), &recorded) {
            let mut lines: Vec<String> = recorded.iter().map(|call| format!("{call:?}")).collect();
            lines.sort_by_key(|line| {
                line.split("sent: ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok())
            });
            panic!("history {number} has no order:\n{}", lines.join("\n"));
        }
        number += 1;
    }
    site.check();
    drop(served);
    for kind in EXPECTED {
        assert!(kinds.contains(kind), "{kind:?} is in none of {number} histories");
    }
    assert!(overlapping * 4 > calls, "clients meet: {overlapping} of {calls}");
    format!("histories: {number}, calls: {calls}, of these at the same time: {overlapping}, without an order: 0")
}

fn overlaps(call: &Call, others: &[Call]) -> bool {
    others.iter().filter(|other| other.sent <= call.answered && call.sent <= other.answered).count() > 1
}

/// What was asked and what came of it, in two words.
fn kind(call: &Call) -> (&'static str, &'static str) {
    let op = match call.op {
        Op::Put { .. } => "put",
        Op::Get { .. } => "get",
        Op::Delete { .. } => "delete",
        Op::Release { .. } => "release",
        Op::List => "list",
        Op::Resize { .. } | Op::Suspend { .. } => "command",
    };
    let seen = match &call.seen {
        Seen::Registration(201, _) => "201",
        Seen::Registration(..) | Seen::Key(..) => "200",
        Seen::NoContent => "204",
        Seen::Full(_) => Code::NoFreeSeat.as_str(),
        Seen::Refused(code) => code.as_str(),
    };
    (op, seen)
}

/// One key, and the requests of its clients.
struct History {
    number: u32,
    key_id: KeyId,
    key: LicenseKey,
    bearer: String,
    /// Failures are limited for each address: each history is another site.
    address: String,
}

impl History {
    fn new(number: u32, administrator: &Administrator) -> Self {
        let mut random = [0x33; 15];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let key = LicenseKey::from_random(random);
        let key_id = administrator.make_key(number, &key);
        let [_, a, b, c] = number.to_be_bytes();
        History { number, key_id, bearer: bearer(&key), key, address: format!("10.{a}.{b}.{c}") }
    }

    fn record(&self, clients: &mut [Client], administrator: &Administrator) -> Vec<Call> {
        let start = Barrier::new(clients.len() + 1);
        let clock = Instant::now();
        let now = || u64::try_from(clock.elapsed().as_nanos()).unwrap();
        let timed = |op: Op, ask: &mut dyn FnMut() -> Seen| {
            let sent = now();
            let seen = ask();
            Call { op, seen, sent, answered: now() }
        };
        std::thread::scope(|scope| {
            let (start, timed) = (&start, &timed);
            let mut hands = Vec::new();
            for (hand, client) in clients.iter_mut().enumerate() {
                let mut dice = Dice(u64::from(self.number) * 64 + hand as u64);
                hands.push(scope.spawn(move || {
                    start.wait();
                    let one = |_| {
                        let op = some_op(&mut dice);
                        timed(op, &mut || self.ask(client, op))
                    };
                    (0..CALLS).map(one).collect::<Vec<Call>>()
                }));
            }
            let mut dice = Dice(u64::from(self.number) * 64 + 63);
            start.wait();
            let mut calls: Vec<Call> = (0..COMMANDS)
                .map(|_| {
                    let op = some_command(&mut dice);
                    timed(op, &mut || administrator.command(&self.key_id, op))
                })
                .collect();
            calls.extend(hands.into_iter().flat_map(|hand| hand.join().unwrap()));
            calls
        })
    }

    fn registrant(&self, id: Id) -> Registrant {
        Registrant::new(self.number * IDS + id, self.number * IDS)
    }

    fn ask(&self, client: &mut Client, op: Op) -> Seen {
        let mut send = |method, path: &str, authorization: &str, body: Option<&Value>| {
            let headers = [("Authorization", authorization), ("X-Forwarded-For", self.address.as_str())];
            client.ask(method, path, &headers, body).unwrap()
        };
        match op {
            Op::Put { id, machine, hardware } => {
                let who = Registrant::new(self.number * IDS + id, self.number * IDS + machine);
                let who = if hardware { who } else { who.without_hardware() };
                seen(&send("PUT", &who.path(), "", Some(&who.body(&self.key))))
            }
            Op::Get { id } => {
                let who = self.registrant(id);
                seen(&send("GET", &who.path(), &who.basic(), None))
            }
            Op::Delete { id } => {
                let who = self.registrant(id);
                seen(&send("DELETE", &who.path(), &who.basic(), None))
            }
            Op::Release { id } => seen(&send("DELETE", &seat_path(&self.registrant(id).id), &self.bearer, None)),
            Op::List => {
                let answer = send("GET", "/v1/seats", &self.bearer, None);
                let list: SeatList = serde_json::from_slice(&answer.body).unwrap();
                let ids = list.registrations.iter().map(|holder| self.id_of(holder.registration)).collect();
                Seen::Key((list.seats.total, list.seats.used), ids)
            }
            Op::Resize { .. } | Op::Suspend { .. } => panic!("the administrator's"),
        }
    }

    fn id_of(&self, registration: els_protocol::RegistrationId) -> Id {
        (0..IDS).find(|id| self.registrant(*id).id == registration).expect("an id of this history")
    }
}

fn seen(answer: &Answer) -> Seen {
    let seats = || -> Seats {
        let seats = &answer.json()["seats"];
        (seats["total"].as_u64().unwrap(), seats["used"].as_u64().unwrap())
    };
    match answer.status {
        204 => Seen::NoContent,
        200 | 201 => Seen::Registration(answer.status, seats()),
        _ => match Code::parse(&answer.code()).unwrap() {
            Code::NoFreeSeat => Seen::Full(seats()),
            code => Seen::Refused(code),
        },
    }
}

fn some_op(dice: &mut Dice) -> Op {
    let id = dice.roll(IDS);
    match dice.roll(12) {
        // An id belongs to one machine, except in one PUT of sixteen.
        0..=4 => {
            let machine = if dice.roll(16) == 0 { dice.roll(MACHINES) } else { id % MACHINES };
            Op::Put { id, machine, hardware: dice.roll(4) > 0 }
        }
        5..=6 => Op::Get { id },
        7..=8 => Op::Delete { id },
        9 => Op::Release { id },
        _ => Op::List,
    }
}

fn some_command(dice: &mut Dice) -> Op {
    match dice.roll(5) {
        0..=1 => Op::Resize { seats: u64::from(1 + dice.roll(4)) },
        // Mostly at work.
        2 => Op::Suspend { suspended: true },
        _ => Op::Suspend { suspended: false },
    }
}

/// The vendor's commands, on the same database beside the processes that serve.
struct Administrator {
    store: Arc<dyn Store>,
    runtime: tokio::runtime::Runtime,
}

impl Administrator {
    fn new(site: &Site) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = DatabaseUrl::parse(&site.url()).unwrap();
        let store = runtime.block_on(els_ledger::open(&url, Opening::Existing, policy())).unwrap();
        Administrator { store, runtime }
    }

    fn make_key(&self, number: u32, key: &LicenseKey) -> KeyId {
        let id = KeyId::parse(&format!("h-{number}")).unwrap();
        let new = els_ledger::NewKey {
            id: id.clone(),
            product: "almalinux-9-els".into(),
            seats: SEATS,
            starts: None,
            expires: Timestamp::from_unix(NOW * 2),
            contract: None,
            reseller: None,
            note: None,
            release_unseen_after: None,
            self_release: true,
            imported: false,
        };
        self.runtime.block_on(self.store.create_key(Timestamp::from_unix(NOW), By::vendor(), new, key.hash())).unwrap();
        id
    }

    fn command(&self, key: &KeyId, op: Op) -> Seen {
        let now = Timestamp::from_unix(NOW);
        let record = match op {
            Op::Resize { seats } => {
                let change = KeyChange { seats: Some(seats), ..KeyChange::default() };
                updated(self.runtime.block_on(self.store.update_key(now, Scope::Vendor, By::vendor(), key, change)))
            }
            Op::Suspend { suspended } => {
                let state = if suspended { KeyState::Suspended } else { KeyState::Active };
                state_set(self.runtime.block_on(self.store.set_key_state(now, Scope::Vendor, By::vendor(), key, state)))
            }
            _ => panic!("a client's"),
        };
        Seen::Key((record.seats.total, record.seats.used), BTreeSet::new())
    }
}

/// Kinds of calls that must be among the histories.
const EXPECTED: &[(&str, &str)] = &[
    ("put", "201"),
    ("put", "200"),
    ("put", "no-free-seat"),
    ("put", "registration-conflict"),
    ("put", "registration-released"),
    ("put", "key-suspended"),
    ("get", "200"),
    ("get", "unknown-registration"),
    ("get", "registration-released"),
    ("get", "key-suspended"),
    ("delete", "204"),
    ("release", "204"),
    ("release", "unknown-registration"),
];
/// The limit of histories, as a multiple of those that were asked for.
const MORE: u32 = 20;
const CLIENTS: usize = 5;
/// Calls of one client in a history.
const CALLS: usize = 8;
const COMMANDS: usize = 4;
const SEATS: u64 = 2;
const MACHINES: u32 = 3;
const IDS: u32 = 7;
/// Any time before the keys expire will do: nothing here depends on it.
const NOW: i64 = 1_800_000_000;
