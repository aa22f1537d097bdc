//! Keys, as the vendor makes and changes them; the audit log; searches.

use els_ledger::rules::KeyState;
use els_ledger::{ContractTaken, EventKind, HolderState, How, KeyChange, KeyId, Rotation};

use super::*;

fn key_id(name: &str) -> KeyId {
    KeyId::parse(name).unwrap()
}

async fn kinds(store: &Arc<dyn Store>, name: &str) -> Vec<EventKind> {
    let filter = EventFilter { key: Some(key_id(name)), ..EventFilter::default() };
    store.events(filter, Cursor(0), 1000).await.unwrap().into_iter().map(|event| event.event).collect()
}

/// Promise: key-contract
pub(crate) async fn a_contract_is_made_once(store: Arc<dyn Store>) {
    let contract = |id: &str| NewKey { contract: Some("C-1".into()), ..new_key(id, 5) };
    let made = make(&store, contract("a")).await;
    // The same values, as a script that is run again sends them: another id, another secret.
    let again = store.create_key(at(9), contract("b"), secret("b")).await.unwrap();
    assert_eq!(again, Created::Same(made.clone()));
    let more = NewKey { seats: 6, note: Some("x".into()), ..contract("b") };
    let again = store.create_key(at(9), more, secret("b")).await.unwrap();
    assert_eq!(again, Created::Differs(made.clone(), vec!["--seats", "--note"]));
    assert_eq!(store.keys(None, 10).await.unwrap().len(), 1);
    // An imported key is one of the values.
    let imported = |id| NewKey { imported: true, ..contract(id) };
    let again = store.create_key(at(9), imported("b"), secret("a")).await.unwrap();
    assert_eq!(again, Created::Same(made.clone()));
    let again = store.create_key(at(9), imported("b"), secret("b")).await.unwrap();
    assert_eq!(again, Created::Differs(made, vec!["the key itself"]));
}

/// Promise: key-import
pub(crate) async fn a_secret_belongs_to_one_key_for_ever(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    let taken = store.create_key(at(0), new_key("b", 1), secret("a")).await.unwrap();
    assert_eq!(taken, Created::SecretTaken(key_id("a")));
    assert_eq!(store.rotate_key(at(1), &key_id("a"), secret("a2"), None).await.unwrap(), Some(Rotation::Rotated));
    for old in ["a", "a2"] {
        let taken = store.create_key(at(2), new_key("b", 1), secret(old)).await.unwrap();
        assert_eq!(taken, Created::SecretTaken(key_id("a")));
        let taken = store.rotate_key(at(2), &key_id("a"), secret(old), None).await.unwrap();
        assert_eq!(taken, Some(Rotation::SecretTaken(key_id("a"))));
    }
    assert_eq!(store.rotate_key(at(1), &key_id("x"), secret("x"), None).await.unwrap(), None);
}

/// Promise: key-rotate
pub(crate) async fn a_rotated_key_keeps_its_machines_and_the_old_secret_its_time(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let with = |name: &str, id| RegisterCommand { key_hash: secret(name), ..asks(id, id, id) };
    store.rotate_key(at(10), &key_id("a"), secret("a2"), Some(at(100))).await.unwrap();
    assert_eq!(record(&store, "a").await.old_until, [at(100)]);
    assert_eq!(how(&store, 99, with("a", 2)).await, Ok((How::Created, 2)));
    assert_eq!(how(&store, 99, with("a2", 3)).await, Ok((How::Created, 3)));
    assert_eq!(how(&store, 100, with("a", 2)).await, Err(Code::UnknownKey));
    assert_eq!(how(&store, 100, with("a2", 2)).await, Ok((How::Confirmed, 3)));
    assert_eq!(get(&store, 100, 1).await, Ok(3));
    // Another rotation, at once: what is old ends, and what had ended stays ended.
    store.rotate_key(at(200), &key_id("a"), secret("a3"), None).await.unwrap();
    for (name, expected) in
        [("a", Err(Code::UnknownKey)), ("a2", Err(Code::UnknownKey)), ("a3", Ok((How::Confirmed, 3)))]
    {
        assert_eq!(how(&store, 200, with(name, 3)).await, expected, "{name}");
    }
    assert_eq!(record(&store, "a").await.old_until, [at(100), at(200)]);
    // One that had been given time has none any more, once the key is rotated at once.
    store.rotate_key(at(300), &key_id("a"), secret("a4"), Some(at(900))).await.unwrap();
    assert_eq!(how(&store, 301, with("a3", 3)).await, Ok((How::Confirmed, 3)));
    store.rotate_key(at(302), &key_id("a"), secret("a5"), None).await.unwrap();
    assert_eq!(how(&store, 302, with("a3", 3)).await, Err(Code::UnknownKey));
}

/// Promise: wire-get
/// Promise: seat-key-first
/// Promise: key-changes
pub(crate) async fn suspending_ends_nothing_and_revoking_is_final(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let set = async |state| {
        let answer = store.set_key_state(at(5), &key_id("a"), state).await.unwrap().unwrap();
        answer.map(|key| key.state).map_err(|refusal| refusal.code)
    };
    assert_eq!(set(KeyState::Suspended).await, Ok(KeyState::Suspended));
    assert_eq!(set(KeyState::Suspended).await, Ok(KeyState::Suspended));
    for id in [1, 2] {
        assert_eq!(how(&store, 6, asks(id, id, id)).await, Err(Code::KeySuspended));
    }
    assert_eq!(get(&store, 6, 1).await, Err(Code::KeySuspended));
    assert_eq!(set(KeyState::Active).await, Ok(KeyState::Active));
    assert_eq!(get(&store, 6, 1).await, Ok(1));
    assert_eq!(set(KeyState::Revoked).await, Ok(KeyState::Revoked));
    assert_eq!(set(KeyState::Active).await, Err(Code::KeyRevoked));
    assert_eq!(set(KeyState::Suspended).await, Err(Code::KeyRevoked));
    assert_eq!(get(&store, 6, 1).await, Err(Code::KeyRevoked));
    assert_eq!(store.rotate_key(at(6), &key_id("a"), secret("a2"), None).await.unwrap(), Some(Rotation::Revoked));
    assert_eq!(store.set_key_state(at(5), &key_id("x"), KeyState::Revoked).await.unwrap(), None);
    use EventKind::*;
    assert_eq!(kinds(&store, "a").await, [KeyCreated, SeatTaken, KeySuspended, KeyResumed, KeyRevoked]);
}

/// Promise: seat-expiry
/// Promise: key-starts
pub(crate) async fn expiry_refuses_new_machines_at_once_and_known_ones_after_grace(store: Arc<dyn Store>) {
    make(&store, NewKey { starts: Some(at(50)), expires: at(100), ..new_key("a", 5) }).await;
    assert_eq!(how(&store, 49, asks(1, 1, 1)).await, Err(Code::KeyNotYetValid));
    assert_eq!(how(&store, 50, asks(1, 1, 1)).await, Ok((How::Created, 1)));
    assert_eq!(how(&store, 100, asks(2, 2, 2)).await, Err(Code::KeyExpired));
    // In grace: confirmed, read, and moved; and the seat list is open at any time.
    assert_eq!(how(&store, 100, asks(1, 1, 1)).await, Ok((How::Confirmed, 1)));
    assert_eq!(how(&store, 100, asks(3, 1, 1)).await, Ok((How::Moved, 1)));
    let past = 100 + 10 * DAY;
    assert_eq!(get(&store, past - 1, 3).await, Ok(1));
    assert_eq!(get(&store, past, 3).await, Err(Code::KeyExpired));
    assert_eq!(how(&store, past, asks(3, 1, 1)).await, Err(Code::KeyExpired));
    assert!(unwrap(store.seats(at(past), secret("a"), None, 10).await).is_ok());
    // A renewal needs nothing of the machines.
    let change = KeyChange { expires: Some(at(past + DAY)), ..KeyChange::default() };
    store.update_key(at(past), &key_id("a"), change).await.unwrap().unwrap().unwrap();
    assert_eq!(get(&store, past, 3).await, Ok(1));
    // And one can be let go after the end.
    assert!(unwrap(store.release(at(past + 90 * DAY), secret("a"), registration(3)).await).is_ok());
}

/// Promise: key-changes
pub(crate) async fn a_change_says_from_what_to_what(store: Arc<dyn Store>) {
    make(&store, NewKey { contract: Some("C-1".into()), ..new_key("a", 5) }).await;
    make(&store, NewKey { contract: Some("C-2".into()), ..new_key("b", 5) }).await;
    let change = KeyChange {
        seats: Some(7),
        contract: Some(None),
        reseller: Some(Some("R".into())),
        release_unseen_after: Some(Some(30)),
        self_release: Some(false),
        ..KeyChange::default()
    };
    let key = store.update_key(at(1), &key_id("a"), change.clone()).await.unwrap().unwrap().unwrap();
    assert_eq!((key.seats.total, key.contract.as_deref(), key.reseller.as_deref()), (7, None, Some("R")));
    assert_eq!((key.release_unseen_after, key.self_release), (Some(30), false));
    assert_eq!(record(&store, "a").await, key);
    let filter = || EventFilter { key: Some(key_id("a")), since: Some(at(1)), ..EventFilter::default() };
    let events = store.events(filter(), Cursor(0), 10).await.unwrap();
    assert_eq!(events.len(), 1);
    let detail = events[0].detail.as_deref().unwrap();
    assert_eq!(
        detail,
        "seats 5 to 7, contract C-1 to none, reseller none to R, release-unseen-after never to 30 days, \
         self-release true to false"
    );
    // What is so already is no event.
    store.update_key(at(2), &key_id("a"), change).await.unwrap().unwrap().unwrap();
    assert_eq!(store.events(filter(), events[0].cursor, 10).await.unwrap(), []);
    let taken = KeyChange { contract: Some(Some("C-2".into())), ..KeyChange::default() };
    let taken = store.update_key(at(2), &key_id("a"), taken).await.unwrap();
    assert_eq!(taken, Some(Err(ContractTaken(key_id("b")))));
    assert_eq!(store.update_key(at(2), &key_id("x"), KeyChange::default()).await.unwrap(), None);
}

/// Promise: listings
pub(crate) async fn what_is_known_can_be_found(store: Arc<dyn Store>) {
    make(&store, NewKey { contract: Some("C_100%".into()), ..new_key("a", 5) }).await;
    make(&store, NewKey { reseller: Some("Shop in Kyōto".into()), ..new_key("b", 5) }).await;
    how(&store, 0, RegisterCommand { label: label("db 1"), ..asks(1, 1, 1) }).await.unwrap();
    how(&store, 0, asks(2, 1, 0)).await.unwrap();
    let find = async |text: &str| {
        let found = store.find(text, 10).await.unwrap();
        let keys: Vec<String> = found.keys.iter().map(|key| key.key_id.to_string()).collect();
        let ids: Vec<RegistrationId> = found.registrations.iter().map(|holder| holder.registration).collect();
        (keys.join(" "), ids)
    };
    assert_eq!(find("a").await.0, "a");
    assert_eq!(find("c_1").await, ("a".into(), vec![]));
    assert_eq!(find("0%").await, ("a".into(), vec![]));
    assert_eq!(find("%0").await, (String::new(), vec![]));
    assert_eq!(find("kyōto").await.0, "b");
    assert_eq!(find("db").await.1, [registration(1), registration(2)]);
    assert_eq!(find(&registration(1).to_string().to_uppercase()).await.1, [registration(1)]);

    let holders = store.holders(&key_id("a"), None, 10).await.unwrap().unwrap();
    let states: Vec<_> = holders.iter().map(|holder| (holder.registration, holder.state)).collect();
    assert_eq!(states, [(registration(1), HolderState::Superseded), (registration(2), HolderState::Active)]);
    assert_eq!(store.holders(&key_id("a"), Some(registration(1)), 10).await.unwrap().unwrap().len(), 1);
    assert_eq!(store.holders(&key_id("x"), None, 10).await.unwrap(), None);

    assert_eq!(store.release_seat(at(1), registration(2)).await.unwrap(), Some(els_ledger::Deleted::Released));
    assert_eq!(store.release_seat(at(1), registration(2)).await.unwrap(), Some(els_ledger::Deleted::Already));
    assert_eq!(store.release_seat(at(1), registration(9)).await.unwrap(), None);
}

/// Promise: listings
pub(crate) async fn keys_are_listed_in_pages(store: Arc<dyn Store>) {
    for name in ["a", "b", "c"] {
        make_key(&store, name, 1).await;
    }
    let first = store.keys(None, 2).await.unwrap();
    let rest = store.keys(Some(first[1].number), 2).await.unwrap();
    let names: Vec<String> = first.iter().chain(&rest).map(|key| key.key_id.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}
