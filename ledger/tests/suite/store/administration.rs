//! Keys, as the vendor makes and changes them; the audit log; searches.

use els_ledger::rules::{KeyState, RegistrationState};
use els_ledger::{Event, EventKind, How, KeyChange, KeyId, ReleaseOutcome, Rotation};

use super::*;

fn key_id(name: &str) -> KeyId {
    KeyId::parse(name).unwrap()
}

async fn kinds(store: &Arc<dyn Store>, name: &str) -> Vec<String> {
    let filter = EventFilter { key: Some(key_id(name)), ..EventFilter::default() };
    store
        .events(at(0), Scope::Vendor, filter, Cursor(0), 1000)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.event)
        .collect()
}

/// Promise: key-contract
pub(crate) async fn a_contract_is_made_once(store: Arc<dyn Store>) {
    let contract = |id: &str| NewKey { contract: Some("C-1".into()), ..new_key(id, 5) };
    let made = make(&store, contract("a")).await;
    // The same values, as a script that is run again sends them: another id, another secret.
    let again = store.create_key(at(9), By::vendor(), contract("b"), secret("b")).await.unwrap();
    assert_eq!(again, Created::Same(made.clone()));
    let more = NewKey { seats: 6, note: Some("x".into()), ..contract("b") };
    let again = store.create_key(at(9), By::vendor(), more, secret("b")).await.unwrap();
    assert_eq!(again, Created::Differs(made.clone(), vec!["--seats", "--note"]));
    assert_eq!(store.keys(at(0), Scope::Vendor, None, 10).await.unwrap().len(), 1);
    // An imported key is one of the values.
    let imported = |id| NewKey { imported: true, ..contract(id) };
    let again = store.create_key(at(9), By::vendor(), imported("b"), secret("a")).await.unwrap();
    assert_eq!(again, Created::Same(made.clone()));
    let again = store.create_key(at(9), By::vendor(), imported("b"), secret("b")).await.unwrap();
    assert_eq!(again, Created::Differs(made, vec!["the key itself"]));
}

/// Promise: key-import
pub(crate) async fn a_secret_always_belongs_to_one_key(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    let taken = store.create_key(at(0), By::vendor(), new_key("b", 1), secret("a")).await.unwrap();
    assert_eq!(taken, Created::SecretTaken(key_id("a")));
    assert_eq!(
        store.rotate_key(at(1), Scope::Vendor, By::vendor(), &key_id("a"), secret("a2"), None).await.unwrap(),
        Rotation::Rotated
    );
    for old in ["a", "a2"] {
        let taken = store.create_key(at(2), By::vendor(), new_key("b", 1), secret(old)).await.unwrap();
        assert_eq!(taken, Created::SecretTaken(key_id("a")));
        let taken =
            store.rotate_key(at(2), Scope::Vendor, By::vendor(), &key_id("a"), secret(old), None).await.unwrap();
        assert_eq!(taken, Rotation::SecretTaken(key_id("a")));
    }
    assert_eq!(
        store.rotate_key(at(1), Scope::Vendor, By::vendor(), &key_id("x"), secret("x"), None).await.unwrap(),
        Rotation::NoSuchKey
    );
}

/// Promise: key-rotate
pub(crate) async fn a_rotated_key_keeps_its_machines_and_the_old_secret_its_time(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let with = |name: &str, id| RegisterCommand { key_hash: secret(name), ..asks(id, id, id) };
    store.rotate_key(at(10), Scope::Vendor, By::vendor(), &key_id("a"), secret("a2"), Some(at(100))).await.unwrap();
    assert_eq!(record(&store, "a").await.old_until, [at(100)]);
    assert_eq!(how(&store, 99, with("a", 2)).await, Ok((How::Created, 2)));
    assert_eq!(how(&store, 99, with("a2", 3)).await, Ok((How::Created, 3)));
    assert_eq!(how(&store, 100, with("a", 2)).await, Err(Denied::UnknownKey));
    assert_eq!(how(&store, 100, with("a2", 2)).await, Ok((How::Confirmed, 3)));
    assert_eq!(get(&store, 100, 1).await, Ok(3));
    // Another rotation, at once: what is old ends, and what had ended stays ended.
    store.rotate_key(at(200), Scope::Vendor, By::vendor(), &key_id("a"), secret("a3"), None).await.unwrap();
    for (name, expected) in
        [("a", Err(Denied::UnknownKey)), ("a2", Err(Denied::UnknownKey)), ("a3", Ok((How::Confirmed, 3)))]
    {
        assert_eq!(how(&store, 200, with(name, 3)).await, expected, "{name}");
    }
    assert_eq!(record(&store, "a").await.old_until, [at(100), at(200)]);
    // One that had been given time has none any more, once the key is rotated at once.
    store.rotate_key(at(300), Scope::Vendor, By::vendor(), &key_id("a"), secret("a4"), Some(at(900))).await.unwrap();
    assert_eq!(how(&store, 301, with("a3", 3)).await, Ok((How::Confirmed, 3)));
    store.rotate_key(at(302), Scope::Vendor, By::vendor(), &key_id("a"), secret("a5"), None).await.unwrap();
    assert_eq!(how(&store, 302, with("a3", 3)).await, Err(Denied::UnknownKey));
}

/// Promise: wire-get
/// Promise: seat-key-first
/// Promise: key-changes
pub(crate) async fn suspending_releases_no_seat_and_revoking_is_final(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let set =
        async |state| match store.set_key_state(at(5), Scope::Vendor, By::vendor(), &key_id("a"), state).await.unwrap()
        {
            StateChange::Done(key) => Some(key.state),
            StateChange::Revoked => None,
            StateChange::NoSuchKey => panic!("there is one"),
        };
    assert_eq!(set(KeyState::Suspended).await, Some(KeyState::Suspended));
    assert_eq!(set(KeyState::Suspended).await, Some(KeyState::Suspended));
    for id in [1, 2] {
        assert_eq!(how(&store, 6, asks(id, id, id)).await, Err(Denied::KeySuspended));
    }
    assert_eq!(get(&store, 6, 1).await, Err(Denied::KeySuspended));
    assert_eq!(set(KeyState::Active).await, Some(KeyState::Active));
    assert_eq!(get(&store, 6, 1).await, Ok(1));
    assert_eq!(set(KeyState::Revoked).await, Some(KeyState::Revoked));
    assert_eq!(set(KeyState::Active).await, None);
    assert_eq!(set(KeyState::Suspended).await, None);
    assert_eq!(get(&store, 6, 1).await, Err(Denied::KeyRevoked));
    assert_eq!(
        store.rotate_key(at(6), Scope::Vendor, By::vendor(), &key_id("a"), secret("a2"), None).await.unwrap(),
        Rotation::Revoked
    );
    assert_eq!(
        store.set_key_state(at(5), Scope::Vendor, By::vendor(), &key_id("x"), KeyState::Revoked).await.unwrap(),
        StateChange::NoSuchKey
    );
    use EventKind::*;
    let expected = [KeyCreated, SeatTaken, KeySuspended, KeyResumed, KeyRevoked].map(EventKind::as_str);
    assert_eq!(kinds(&store, "a").await, expected);
}

/// Promise: seat-expiry
/// Promise: key-starts
pub(crate) async fn expiry_refuses_new_machines_at_once_and_known_ones_after_grace(store: Arc<dyn Store>) {
    make(&store, NewKey { starts: Some(at(50)), expires: at(100), ..new_key("a", 5) }).await;
    assert_eq!(how(&store, 49, asks(1, 1, 1)).await, Err(Denied::KeyNotYetValid));
    assert_eq!(how(&store, 50, asks(1, 1, 1)).await, Ok((How::Created, 1)));
    assert_eq!(how(&store, 100, asks(2, 2, 2)).await, Err(Denied::KeyExpired));
    // In grace: confirmed, read, and moved; and the seat list is open at any time.
    assert_eq!(how(&store, 100, asks(1, 1, 1)).await, Ok((How::Confirmed, 1)));
    assert_eq!(how(&store, 100, asks(3, 1, 1)).await, Ok((How::Moved, 1)));
    let past = 100 + 10 * DAY;
    assert_eq!(get(&store, past - 1, 3).await, Ok(1));
    assert_eq!(get(&store, past, 3).await, Err(Denied::KeyExpired));
    assert_eq!(how(&store, past, asks(3, 1, 1)).await, Err(Denied::KeyExpired));
    assert!(unwrap(store.seat_page(at(past), secret("a"), None, 10).await).is_ok());
    // A renewal needs nothing of the machines.
    let change = KeyChange { expires: Some(at(past + DAY)), ..KeyChange::default() };
    updated(store.update_key(at(past), Scope::Vendor, By::vendor(), &key_id("a"), change).await);
    assert_eq!(get(&store, past, 3).await, Ok(1));
    // And one can be let go after the end.
    assert!(
        unwrap(store.release_seat(at(past + 90 * DAY), Scope::Key(secret("a")), by(), registration(3)).await).is_ok()
    );
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
    let key = updated(store.update_key(at(1), Scope::Vendor, By::vendor(), &key_id("a"), change.clone()).await);
    assert_eq!((key.seats.total, key.contract.as_deref(), key.reseller.as_deref()), (7, None, Some("R")));
    assert_eq!((key.release_unseen_after, key.self_release), (Some(30), false));
    assert_eq!(record(&store, "a").await, key);
    let filter = || EventFilter { key: Some(key_id("a")), since: Some(at(1)), ..EventFilter::default() };
    let events = store.events(at(0), Scope::Vendor, filter(), Cursor(0), 10).await.unwrap();
    assert_eq!(events.len(), 1);
    let detail = events[0].detail.as_deref().unwrap();
    assert_eq!(
        detail,
        "seats 5 to 7, contract C-1 to none, reseller none to R, release-unseen-after never to 30 days, \
         self-release true to false"
    );
    // A change that changes nothing writes no event.
    updated(store.update_key(at(2), Scope::Vendor, By::vendor(), &key_id("a"), change).await);
    assert_eq!(store.events(at(0), Scope::Vendor, filter(), events[0].cursor, 10).await.unwrap(), []);
    let taken = KeyChange { contract: Some(Some("C-2".into())), ..KeyChange::default() };
    let taken = store.update_key(at(2), Scope::Vendor, By::vendor(), &key_id("a"), taken).await.unwrap();
    assert_eq!(taken, KeyUpdate::ContractTaken(key_id("b")));
    assert_eq!(
        store.update_key(at(2), Scope::Vendor, By::vendor(), &key_id("x"), KeyChange::default()).await.unwrap(),
        KeyUpdate::NoSuchKey
    );
}

/// Promise: listings
pub(crate) async fn what_is_known_can_be_found(store: Arc<dyn Store>) {
    make(&store, NewKey { contract: Some("C_100%".into()), ..new_key("a", 5) }).await;
    make(&store, NewKey { reseller: Some("Shop in Kyōto".into()), ..new_key("b", 5) }).await;
    how(&store, 0, RegisterCommand { label: label("db 1"), ..asks(1, 1, 1) }).await.unwrap();
    how(&store, 0, asks(2, 1, 0)).await.unwrap();
    let find = async |text: &str| {
        let found = store.find(at(0), Scope::Vendor, text, 10).await.unwrap();
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

    let holders = store.holders(at(0), Scope::Vendor, &key_id("a"), None, 10).await.unwrap().unwrap();
    let states: Vec<_> = holders.iter().map(|holder| (holder.registration, holder.state)).collect();
    assert_eq!(
        states,
        [(registration(1), RegistrationState::Superseded), (registration(2), RegistrationState::Active)]
    );
    assert_eq!(
        store.holders(at(0), Scope::Vendor, &key_id("a"), Some(registration(1)), 10).await.unwrap().unwrap().len(),
        1
    );
    assert_eq!(store.holders(at(0), Scope::Vendor, &key_id("x"), None, 10).await.unwrap(), None);

    let release = async |id| store.release_seat(at(1), Scope::Vendor, By::vendor(), registration(id)).await.unwrap();
    assert_eq!(release(2).await, Ok(ReleaseOutcome::Released));
    assert_eq!(release(2).await, Ok(ReleaseOutcome::AlreadyReleased));
    assert_eq!(release(9).await, Err(Denied::UnknownRegistration));
}

/// Promise: listings
pub(crate) async fn keys_are_listed_in_pages(store: Arc<dyn Store>) {
    for name in ["a", "b", "c"] {
        make_key(&store, name, 1).await;
    }
    let first = store.keys(at(0), Scope::Vendor, None, 2).await.unwrap();
    let rest = store.keys(at(0), Scope::Vendor, Some(first[1].number), 2).await.unwrap();
    let names: Vec<String> = first.iter().chain(&rest).map(|key| key.key_id.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

pub(crate) async fn every_event_says_who_caused_it(store: Arc<dyn Store>) {
    make(&store, NewKey { release_unseen_after: Some(1), ..new_key("a", 5) }).await;
    // Many at once share a transaction, and keep their own requests.
    let tasks: Vec<_> = (1..=20_u32)
        .map(|id| {
            let store = Arc::clone(&store);
            let by = By { request: Some(format!("r-{id}")), ..by() };
            tokio::spawn(async move { drop(store.register(at(0), by, asks(id, id, id)).await.unwrap()) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let events = async || store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 1000).await.unwrap();
    let cause = |event: &Event| {
        let text = |text: &Option<String>| text.clone().unwrap();
        (event.event.clone(), text(&event.actor), text(&event.origin), event.request.clone())
    };
    let expected = |kind: &str, actor: &str, origin: &str, request: Option<&str>| {
        (kind.to_owned(), actor.to_owned(), origin.to_owned(), request.map(str::to_owned))
    };
    let mut taken = 0;
    for event in events().await.iter().filter(|event| event.event == "seat-taken") {
        let id = (1..=20).find(|id| event.registration == Some(registration(*id))).unwrap();
        assert_eq!(cause(event), expected("seat-taken", "machine", "api", Some(&format!("r-{id}"))));
        taken += 1;
    }
    assert_eq!(taken, 5);
    assert_eq!(cause(&events().await[0]), expected("key-created", "vendor", "cli", None));
    let ids: Vec<RegistrationId> = events().await.iter().filter_map(|event| event.registration).collect();
    let holder = By { request: Some("r-21".into()), ..By::new(Actor::KeyHolder, Origin::Api) };
    unwrap(store.release_seat(at(1), Scope::Key(secret("a")), holder, ids[0]).await).unwrap();
    unwrap(store.release_seat(at(2), Scope::Vendor, By::vendor(), ids[1]).await).unwrap();
    let change = KeyChange { seats: Some(9), ..KeyChange::default() };
    updated(store.update_key(at(3), Scope::Vendor, By::vendor(), &key_id("a"), change).await);
    state_set(store.set_key_state(at(3), Scope::Vendor, By::vendor(), &key_id("a"), KeyState::Suspended).await);
    state_set(store.set_key_state(at(4), Scope::Vendor, By::vendor(), &key_id("a"), KeyState::Active).await);
    store.rotate_key(at(5), Scope::Vendor, By::vendor(), &key_id("a"), secret("a2"), None).await.unwrap();
    // Up all the time: three machines were not seen for a day.
    for now in (0..=DAY + 2 * HOUR).step_by(180) {
        store.release_unseen(at(now), upkeep()).await.unwrap();
    }
    let later: Vec<_> = events().await.iter().skip(6).map(cause).collect();
    let unseen = expected("released", "backend", "upkeep", None);
    assert_eq!(
        later,
        [
            expected("released", "key-holder", "api", Some("r-21")),
            expected("released", "vendor", "cli", None),
            expected("key-updated", "vendor", "cli", None),
            expected("key-suspended", "vendor", "cli", None),
            expected("key-resumed", "vendor", "cli", None),
            expected("key-rotated", "vendor", "cli", None),
            unseen.clone(),
            unseen.clone(),
            unseen,
        ]
    );
}

pub(crate) async fn a_scope_of_one_key_reaches_no_other(store: Arc<dyn Store>) {
    for name in ["a", "b"] {
        make(&store, NewKey { contract: Some(format!("C-{name}")), ..new_key(name, 5) }).await;
    }
    how(&store, 0, RegisterCommand { label: label("web 1"), ..asks(1, 1, 1) }).await.unwrap();
    let of_b = RegisterCommand { key_hash: secret("b"), label: label("web 2"), ..asks(2, 2, 2) };
    how(&store, 0, of_b).await.unwrap();
    store.rotate_key(at(10), Scope::Vendor, By::vendor(), &key_id("a"), secret("a2"), Some(at(20))).await.unwrap();
    // The old secret of `a` as long as it counts, its new one, and what no key has any more.
    for (now, secret, reaches) in
        [(19, secret("a"), true), (19, secret("a2"), true), (20, secret("a"), false), (20, secret("x"), false)]
    {
        let (now, scope) = (at(now), Scope::Key(secret));
        assert_eq!(store.key(now, scope, &key_id("a")).await.unwrap().is_some(), reaches);
        assert_eq!(store.key(now, scope, &key_id("b")).await.unwrap(), None);
        let own = usize::from(reaches);
        assert_eq!(store.keys(now, scope, None, 10).await.unwrap().len(), own);
        assert_eq!(store.holders(now, scope, &key_id("a"), None, 10).await.unwrap().is_some(), reaches);
        assert_eq!(store.holders(now, scope, &key_id("b"), None, 10).await.unwrap(), None);
        let found = store.find(now, scope, "C-", 10).await.unwrap();
        assert_eq!((found.keys.len(), found.registrations.len()), (own, 0));
        let found = store.find(now, scope, "web", 10).await.unwrap();
        assert_eq!((found.keys.len(), found.registrations.len()), (0, own));
        let events = store.events(now, scope, EventFilter::default(), Cursor(0), 100).await.unwrap();
        assert_eq!(events.iter().any(|event| event.key_id == key_id("a")), reaches);
        assert!(events.iter().all(|event| event.key_id == key_id("a")));
        for filter in [
            EventFilter { key: Some(key_id("b")), ..EventFilter::default() },
            EventFilter { registration: Some(registration(2)), ..EventFilter::default() },
        ] {
            assert_eq!(store.events(now, scope, filter, Cursor(0), 100).await.unwrap(), []);
        }
        let change = KeyChange { seats: Some(50), ..KeyChange::default() };
        let update = store.update_key(now, scope, by(), &key_id("b"), change).await.unwrap();
        assert_eq!(update, KeyUpdate::NoSuchKey);
        let state = store.set_key_state(now, scope, by(), &key_id("b"), KeyState::Revoked).await.unwrap();
        assert_eq!(state, StateChange::NoSuchKey);
        let rotation = store.rotate_key(now, scope, by(), &key_id("b"), self::secret("b2"), None).await.unwrap();
        assert_eq!(rotation, Rotation::NoSuchKey);
        let released = unwrap(store.release_seat(now, scope, by(), registration(2)).await);
        assert_eq!(released, Err(if reaches { Denied::UnknownRegistration } else { Denied::UnknownKey }));
    }
    assert_eq!(record(&store, "b").await.seats, Seats { total: 5, used: 1 });
}
