//! Requests, keys and machines for tests that call the store directly.
//!
//! Every value is derived from a number or a name, so that a test can write it down again. It must not know what the store
//! should answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use els_ledger::rules::{Denied, Judged, RegisterCommand};
use els_ledger::{
    Actor, By, Created, Cursor, EventFilter, How, KeyId, KeyRecord, KeyUpdate, NewKey, Origin, Policy, Registered,
    Scope, StateChange, Store, StoreError,
};
use els_protocol::wire::{Os, Seats};
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex, Timestamp};

/// The site's policy in these tests: products cover x86_64, and there are ten days of grace.
pub fn policy() -> Policy {
    Policy { covers: Arc::new(|_, _, arch| arch == "x86_64"), grace_seconds: 10 * DAY }
}

/// The time `seconds` from the beginning of these tests' world.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

pub fn registration(number: u32) -> RegistrationId {
    let mut bytes = [0x11; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    RegistrationId::from_random(bytes)
}

pub fn machine_id(number: u32) -> MachineId {
    let mut bytes = [0x22; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    MachineId::from_random(bytes)
}

pub fn token(number: u32) -> Sha256Hex {
    Sha256Hex::of(format!("token {number}").as_bytes())
}

pub fn secret(name: &str) -> Sha256Hex {
    Sha256Hex::of(format!("key {name}").as_bytes())
}

pub fn client(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

/// What a key named `name` is made with: expires after a year.
pub fn new_key(name: &str, seats: u64) -> NewKey {
    NewKey {
        id: KeyId::parse(name).unwrap(),
        product: "els".into(),
        seats,
        starts: None,
        expires: at(365 * DAY),
        contract: None,
        reseller: None,
        note: None,
        release_unseen_after: None,
        self_release: true,
        imported: false,
    }
}

/// Makes the key `name`, whose secret is `secret(name)`.
pub async fn make_key(store: &Arc<dyn Store>, name: &str, seats: u64) -> KeyRecord {
    make(store, new_key(name, seats)).await
}

pub async fn make(store: &Arc<dyn Store>, key: NewKey) -> KeyRecord {
    let hash = secret(key.id.as_str());
    match store.create_key(at(0), By::vendor(), key, hash).await.unwrap() {
        Created::New(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Machine `machine` on hardware `hardware` (0: none) asks the key `a` for a seat as registration `id`.
pub fn asks(id: u32, machine: u32, hardware: u32) -> RegisterCommand {
    RegisterCommand {
        id: registration(id),
        key_hash: secret("a"),
        token_hash: token(id),
        machine: machine_id(machine),
        hardware: (hardware != 0).then(|| machine_id(0x8000_0000 + hardware)),
        moved: false,
        os: Os { id: "almalinux".into(), version: "9.6".into() },
        arch: "x86_64".into(),
        label: None,
    }
}

pub async fn put(store: &Arc<dyn Store>, now: i64, command: RegisterCommand) -> Judged<Registered> {
    store.register(at(now), by(), command).await.unwrap()
}

/// How a PUT ended, and the seats used after it; or the code of its refusal.
pub async fn how(store: &Arc<dyn Store>, now: i64, command: RegisterCommand) -> Result<(How, u64), Denied> {
    put(store, now, command).await.map(|done| (done.how, done.view.seats.used))
}

/// What a machine's own credential is answered: used seats, or the code of the refusal.
pub async fn get(store: &Arc<dyn Store>, now: i64, id: u32) -> Result<u64, Denied> {
    let answer = store.registration(at(now), by(), registration(id), token(id)).await.unwrap();
    answer.map(|view| view.seats.used)
}

pub async fn seats(store: &Arc<dyn Store>, name: &str) -> Seats {
    record(store, name).await.seats
}

pub async fn record(store: &Arc<dyn Store>, name: &str) -> KeyRecord {
    store.key(at(0), Scope::Vendor, &KeyId::parse(name).unwrap()).await.unwrap().unwrap()
}

/// The kinds of all events of one registration.
pub async fn story(store: &Arc<dyn Store>, id: u32) -> Vec<String> {
    let filter = EventFilter { registration: Some(registration(id)), ..EventFilter::default() };
    let events = store.events(at(0), Scope::Vendor, filter, Cursor(0), 1000).await.unwrap();
    events.into_iter().map(|event| event.event).collect()
}

pub fn label(text: &str) -> Option<Label> {
    Some(Label::parse(text).unwrap())
}

/// An answer of the store itself must not fail in these tests.
pub fn unwrap<T>(answer: Result<Judged<T>, StoreError>) -> Judged<T> {
    answer.unwrap()
}

/// The key as it was changed.
pub fn updated(outcome: Result<KeyUpdate, StoreError>) -> KeyRecord {
    match outcome.unwrap() {
        KeyUpdate::Updated(record) => record,
        other => panic!("{other:?}"),
    }
}

/// The key with its new state.
pub fn state_set(outcome: Result<StateChange, StoreError>) -> KeyRecord {
    match outcome.unwrap() {
        StateChange::Done(record) => record,
        other => panic!("{other:?}"),
    }
}

/// What a full key says.
pub fn full(total: u64, used: u64) -> Denied {
    Denied::KeyFull { seats: Seats { total, used }, distrusted: false }
}

/// What a full key says to a machine with an id that it distrusts.
pub fn full_and_distrusted(total: u64, used: u64) -> Denied {
    Denied::KeyFull { seats: Seats { total, used }, distrusted: true }
}

/// A machine, by a request of the wire.
pub fn by() -> By {
    By { request: Some("r-1".into()), ..By::new(Actor::Machine, Origin::Api) }
}

/// The backend, as time passes.
pub fn upkeep() -> By {
    By::new(Actor::Backend, Origin::Upkeep)
}

pub const DAY: i64 = 24 * 3600;
pub const HOUR: i64 = 3600;
