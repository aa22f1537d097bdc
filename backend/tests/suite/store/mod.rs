//! One suite for every database: each case is a function over the interface, and each database runs them all.

mod administration;
mod feed;
mod histories;
mod likeness;
mod postgres;
mod postgres_way;
mod seats;
mod sqlite;
mod upkeep;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use els_ledger::rules::{Denied, Judged, RegisterCommand};
use els_ledger::{
    Actor, By, Created, Cursor, EventFilter, How, KeyId, KeyRecord, KeyUpdate, NewKey, Origin, Policy, Registered,
    Scope, StateChange, Store, StoreError,
};
use els_protocol::wire::{Os, Seats};
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex, Timestamp};

/// Runs every case on a database, which `$fresh` makes: `store_tests!(fresh)`.
macro_rules! store_tests {
    ($fresh:path) => {
        store_tests! { $fresh:
            seats::a_seat_is_taken_confirmed_and_given_back,
            seats::strangers_are_told_nothing,
            seats::a_full_key_gives_no_seat_and_says_how_full_it_is,
            seats::two_hundred_at_once_get_ten_of_ten_seats,
            seats::one_machine_asking_many_times_at_once_has_one_seat,
            seats::taking_and_giving_back_at_once_leaks_nothing,
            seats::an_update_changes_what_was_sent_and_keeps_the_label,
            seats::a_delete_that_overtakes_its_put_is_remembered_for_a_day,
            seats::what_is_remembered_is_bounded_for_each_client,
            seats::a_key_lists_its_seats_page_by_page_and_frees_its_own,
            seats::a_key_without_self_release_frees_no_seat,
            seats::lowering_seats_ends_nobodys_registration,
            likeness::a_machine_that_lost_its_state_keeps_its_seat_on_a_full_key,
            likeness::a_machine_said_to_be_moved_keeps_its_seat,
            likeness::clones_on_other_hardware_have_seats_of_their_own,
            likeness::a_machine_is_found_among_many_that_share_each_of_its_ids,
            likeness::a_superseded_credential_has_its_hour,
            likeness::two_alive_under_one_seat_get_two_seats_if_one_is_free,
            likeness::two_alive_under_one_seat_and_none_free_end_the_newer,
            likeness::many_uses_at_once_are_one_decision,
            likeness::a_seat_has_at_most_one_superseded_id,
            likeness::the_older_one_takes_a_free_seat_when_the_newer_has_given_its_back,
            likeness::a_key_that_refuses_decides_nothing,
            likeness::other_keys_machines_are_nobodys_same_machine,
            histories::whatever_happens_seats_and_credentials_agree,
            feed::a_look_up_tells_credential_and_key_of_one_moment,
            feed::every_change_that_the_gate_must_know_is_in_the_feed,
            feed::a_reader_of_the_feed_misses_nothing_while_others_write,
            feed::last_seen_comes_in_batches_and_never_goes_back,
            upkeep::a_seat_that_nobody_uses_is_taken_back_after_its_days,
            upkeep::time_in_which_the_gate_was_down_does_not_count,
            upkeep::machine_ids_are_erased_ninety_days_after_release_also_from_the_trail,
            upkeep::ids_of_machines_that_hold_seats_are_never_erased,
            upkeep::a_job_has_one_holder_at_a_time,
            administration::a_contract_is_made_once,
            administration::a_secret_belongs_to_one_key_for_ever,
            administration::a_rotated_key_keeps_its_machines_and_the_old_secret_its_time,
            administration::suspending_ends_nothing_and_revoking_is_final,
            administration::expiry_refuses_new_machines_at_once_and_known_ones_after_grace,
            administration::a_change_says_from_what_to_what,
            administration::what_is_known_can_be_found,
            administration::keys_are_listed_in_pages,
            administration::every_event_says_who_caused_it,
            administration::a_scope_of_one_key_reaches_no_other,
        }
    };
    ($fresh:path: $($module:ident::$case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = $fresh().await;
                super::$module::$case(std::sync::Arc::clone(&database.store)).await;
                // Whatever a case does, counters, registrations and audit log agree afterwards.
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
    match store.create_key(at(0), By::vendor(), key, hash).await.unwrap() {
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
    store.register(at(now), by(), command).await.unwrap()
}

/// How a PUT ended, and the seats used after it; or the code of its refusal.
pub(crate) async fn how(store: &Arc<dyn Store>, now: i64, command: RegisterCommand) -> Result<(How, u64), Denied> {
    put(store, now, command).await.map(|done| (done.how, done.view.seats.used))
}

/// What a machine's own credential is answered: used seats, or the code of the refusal.
pub(crate) async fn get(store: &Arc<dyn Store>, now: i64, id: u32) -> Result<u64, Denied> {
    let answer = store.registration(at(now), by(), registration(id), token(id)).await.unwrap();
    answer.map(|view| view.seats.used)
}

pub(crate) async fn seats(store: &Arc<dyn Store>, name: &str) -> Seats {
    record(store, name).await.seats
}

pub(crate) async fn record(store: &Arc<dyn Store>, name: &str) -> KeyRecord {
    store.key(at(0), Scope::Vendor, &KeyId::parse(name).unwrap()).await.unwrap().unwrap()
}

/// The kinds of all events of one registration.
pub(crate) async fn story(store: &Arc<dyn Store>, id: u32) -> Vec<String> {
    let filter = EventFilter { registration: Some(registration(id)), ..EventFilter::default() };
    let events = store.events(at(0), Scope::Vendor, filter, Cursor(0), 1000).await.unwrap();
    events.into_iter().map(|event| event.event).collect()
}

pub(crate) fn label(text: &str) -> Option<Label> {
    Some(Label::parse(text).unwrap())
}

/// An answer of the store itself must not fail in these tests.
pub(crate) fn unwrap<T>(answer: Result<Judged<T>, StoreError>) -> Judged<T> {
    answer.unwrap()
}

/// The key as it was changed.
pub(crate) fn updated(outcome: Result<KeyUpdate, StoreError>) -> KeyRecord {
    match outcome.unwrap() {
        KeyUpdate::Updated(record) => record,
        other => panic!("{other:?}"),
    }
}

/// The key with its new state.
pub(crate) fn state_set(outcome: Result<StateChange, StoreError>) -> KeyRecord {
    match outcome.unwrap() {
        StateChange::Done(record) => record,
        other => panic!("{other:?}"),
    }
}

/// What a full key says.
pub(crate) fn full(total: u64, used: u64) -> Denied {
    Denied::KeyFull { seats: Seats { total, used } }
}

/// A machine, by a request of the wire.
pub(crate) fn by() -> By {
    By { request: Some("r-1".into()), ..By::new(Actor::Machine, Origin::Api) }
}

/// The backend, as time passes.
pub(crate) fn upkeep() -> By {
    By::new(Actor::Backend, Origin::Upkeep)
}
