//! One suite for every database: each case is a function over the interface, and each database runs them all.

mod administration;
mod feed;
mod histories;
mod likeness;
mod seats;
mod sqlite;
mod upkeep;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use els_backend::license::{Judged, RegisterCommand};
use els_backend::store::{
    Created, Cursor, EventFilter, How, KeyId, KeyRecord, NewKey, Policy, Registered, Store, StoreError,
};
use els_protocol::wire::{Os, Seats};
use els_protocol::{Code, Label, MachineId, RegistrationId, Sha256Hex, Timestamp};

/// Runs the named cases on a database: `store_tests!(sqlite::fresh: case, case, …)`.
macro_rules! store_tests {
    ($fresh:path: $($module:ident::$case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = $fresh();
                super::$module::$case(std::sync::Arc::clone(&database.store)).await;
                // Whatever a case does, counters, registrations and trail agree afterwards.
                assert_eq!(database.store.check().await.unwrap(), [""; 0]);
            }
        )*
    };
}
pub(crate) use store_tests;

/// The site's policy in these tests: products cover x86_64, and there are ten days of grace.
pub(crate) fn policy() -> Policy {
    Policy { covers: Arc::new(|_, _, arch| arch == "x86_64"), grace_seconds: 10 * DAY }
}

pub(crate) const DAY: i64 = 24 * 3600;
pub(crate) const HOUR: i64 = 3600;

/// The time `seconds` from the beginning of these tests' world.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

pub(crate) fn registration(number: u32) -> RegistrationId {
    let mut bytes = [0x11; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    RegistrationId::from_random(bytes)
}

pub(crate) fn machine_id(number: u32) -> MachineId {
    let mut bytes = [0x22; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    MachineId::from_random(bytes)
}

pub(crate) fn token(number: u32) -> Sha256Hex {
    Sha256Hex::of(format!("token {number}").as_bytes())
}

pub(crate) fn secret(name: &str) -> Sha256Hex {
    Sha256Hex::of(format!("key {name}").as_bytes())
}

pub(crate) fn client(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

/// What a key named `name` is made with: expires after a year.
pub(crate) fn new_key(name: &str, seats: u64) -> NewKey {
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
pub(crate) async fn make_key(store: &Arc<dyn Store>, name: &str, seats: u64) -> KeyRecord {
    make(store, new_key(name, seats)).await
}

pub(crate) async fn make(store: &Arc<dyn Store>, key: NewKey) -> KeyRecord {
    let hash = secret(key.id.as_str());
    match store.create_key(at(0), key, hash).await.unwrap() {
        Created::New(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Machine `machine` on hardware `hardware` (0: none) asks the key `a` for a seat as registration `id`.
pub(crate) fn asks(id: u32, machine: u32, hardware: u32) -> RegisterCommand {
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

pub(crate) async fn put(store: &Arc<dyn Store>, now: i64, command: RegisterCommand) -> Judged<Registered> {
    store.register(at(now), command).await.unwrap()
}

/// How a PUT ended, and the seats used after it; or the code of its refusal.
pub(crate) async fn how(store: &Arc<dyn Store>, now: i64, command: RegisterCommand) -> Result<(How, u64), Code> {
    put(store, now, command).await.map(|done| (done.how, done.view.seats.used)).map_err(|refusal| refusal.code)
}

/// What a machine's own credential is answered: used seats, or the code of the refusal.
pub(crate) async fn get(store: &Arc<dyn Store>, now: i64, id: u32) -> Result<u64, Code> {
    let answer = store.registration(at(now), registration(id), token(id)).await.unwrap();
    answer.map(|view| view.seats.used).map_err(|refusal| refusal.code)
}

pub(crate) async fn seats(store: &Arc<dyn Store>, name: &str) -> Seats {
    record(store, name).await.seats
}

pub(crate) async fn record(store: &Arc<dyn Store>, name: &str) -> KeyRecord {
    store.key(&KeyId::parse(name).unwrap()).await.unwrap().unwrap()
}

/// The kinds of all events of one registration.
pub(crate) async fn story(store: &Arc<dyn Store>, id: u32) -> Vec<&'static str> {
    let filter = EventFilter { registration: Some(registration(id)), ..EventFilter::default() };
    let events = store.events(filter, Cursor(0), 1000).await.unwrap();
    events.into_iter().map(|event| event.event.as_str()).collect()
}

pub(crate) fn label(text: &str) -> Option<Label> {
    Some(Label::parse(text).unwrap())
}

/// An answer of the store itself must not fail in these tests.
pub(crate) fn unwrap<T>(answer: Result<Judged<T>, StoreError>) -> Result<T, Code> {
    answer.unwrap().map_err(|refusal| refusal.code)
}
