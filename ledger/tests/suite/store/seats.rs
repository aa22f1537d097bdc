//! Seats: taken, confirmed, none free, released, released before the request arrives.

use els_ledger::{How, KeyChange, KeyId, ReleaseOutcome};

use super::*;

/// Promise: seat-confirm
pub(crate) async fn a_seat_is_taken_confirmed_and_released(store: Arc<dyn Store>) {
    make_key(&store, "a", 2).await;
    let done = put(&store, 10, asks(1, 1, 1)).await.unwrap();
    assert_eq!(done.how, How::Created);
    assert_eq!(done.view.registration, registration(1));
    assert_eq!(done.view.key_id.as_str(), "a");
    assert_eq!((done.view.registered_at, done.view.expires), (at(10), at(365 * DAY)));
    assert_eq!(done.view.seats, Seats { total: 2, used: 1 });

    let again = put(&store, 20, asks(1, 1, 1)).await.unwrap();
    assert_eq!(again.how, How::Confirmed);
    assert_eq!(again.view, done.view);
    assert_eq!(get(&store, 20, 1).await, Ok(1));

    let delete = |token| store.unregister(at(30), by(), registration(1), token, client(1));
    assert_eq!(unwrap(delete(token(2)).await), Err(Denied::WrongToken));
    assert_eq!(seats(&store, "a").await.used, 1);
    assert_eq!(unwrap(delete(token(1)).await), Ok(ReleaseOutcome::Released));
    assert_eq!(unwrap(delete(token(1)).await), Ok(ReleaseOutcome::AlreadyReleased));
    assert_eq!(unwrap(delete(token(2)).await), Err(Denied::WrongToken));
    assert_eq!(seats(&store, "a").await.used, 0);
    assert_eq!(get(&store, 40, 1).await, Err(Denied::RegistrationReleased));
    assert_eq!(how(&store, 40, asks(1, 1, 1)).await, Err(Denied::RegistrationReleased));
    assert_eq!(story(&store, 1).await, ["seat-taken", "released"]);
}

/// Promise: wire-get
pub(crate) async fn a_caller_without_a_token_learns_nothing(store: Arc<dyn Store>) {
    make_key(&store, "a", 2).await;
    make_key(&store, "b", 2).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let unknown = RegisterCommand { key_hash: secret("nobody's"), ..asks(2, 2, 2) };
    assert_eq!(how(&store, 0, unknown).await, Err(Denied::UnknownKey));
    let conflicts = [
        RegisterCommand { key_hash: secret("b"), ..asks(1, 1, 1) },
        RegisterCommand { token_hash: token(7), ..asks(1, 1, 1) },
        asks(1, 7, 1),
    ];
    for conflict in conflicts {
        assert_eq!(how(&store, 0, conflict).await, Err(Denied::RegistrationConflict));
    }
    assert_eq!(get(&store, 0, 9).await, Err(Denied::UnknownRegistration));
    let wrong = store.registration(at(0), by(), registration(1), token(9)).await;
    assert_eq!(unwrap(wrong), Err(Denied::WrongToken));
    let foreign = RegisterCommand { arch: "riscv64".into(), ..asks(3, 3, 3) };
    assert_eq!(how(&store, 0, foreign).await, Err(Denied::SystemNotCovered));
    assert_eq!((seats(&store, "a").await.used, seats(&store, "b").await.used), (1, 0));
}

/// Promise: wire-no-free-seat
pub(crate) async fn a_full_key_gives_no_seat_and_says_how_full_it_is(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let refusal = put(&store, 0, asks(2, 2, 2)).await.unwrap_err();
    assert_eq!(refusal, full(1, 1));
    // Nothing of the refused one is left.
    assert_eq!(get(&store, 0, 2).await, Err(Denied::UnknownRegistration));
    assert_eq!(story(&store, 2).await, [""; 0]);
    unwrap(store.unregister(at(1), by(), registration(1), token(1), client(1)).await).unwrap();
    assert_eq!(how(&store, 2, asks(2, 2, 2)).await, Ok((How::Created, 1)));
}

/// Promise: seat-limit
pub(crate) async fn two_hundred_at_once_get_ten_of_ten_seats(store: Arc<dyn Store>) {
    make_key(&store, "a", 10).await;
    let tasks: Vec<_> = (1..=200)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { how(&store, 0, asks(number, number, number)).await })
        })
        .collect();
    let mut given = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok((How::Created, used)) => given.push(used),
            other => assert_eq!(other, Err(full(10, 10))),
        }
    }
    given.sort_unstable();
    assert_eq!(given, (1..=10).collect::<Vec<u64>>());
    assert_eq!(seats(&store, "a").await, Seats { total: 10, used: 10 });
}

/// Promise: seat-limit
pub(crate) async fn one_machine_asking_many_times_at_once_has_one_seat(store: Arc<dyn Store>) {
    // A seat moves sixteen times within the hour; the next one takes a seat of its own.
    for (key, asked, expected) in [("a", 17, 1), ("b", 64, 4)] {
        make_key(&store, key, 5).await;
        let tasks: Vec<_> = (1..=asked)
            .map(|id| {
                let store = Arc::clone(&store);
                let command = RegisterCommand { key_hash: secret(key), ..asks(id + asked * 100, 1, 1) };
                tokio::spawn(async move { how(&store, 0, command).await })
            })
            .collect();
        let mut created = 0;
        for task in tasks {
            match task.await.unwrap().unwrap() {
                (How::Created, _) => created += 1,
                (how, _) => assert_eq!(how, How::Moved),
            }
        }
        assert_eq!((created, seats(&store, key).await.used), (expected, expected));
    }
}

/// Promise: seat-limit
pub(crate) async fn taking_and_releasing_at_once_loses_no_seat(store: Arc<dyn Store>) {
    make_key(&store, "a", 4).await;
    let tasks: Vec<_> = (0..16)
        .map(|machine| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut held = 0;
                for round in 0..20 {
                    let id = machine * 1000 + round;
                    if how(&store, 0, asks(id, machine, machine + 1)).await.is_ok() {
                        held += 1;
                        unwrap(store.unregister(at(1), by(), registration(id), token(id), client(1)).await).unwrap();
                    }
                }
                held
            })
        })
        .collect();
    let mut held = 0;
    for task in tasks {
        held += task.await.unwrap();
    }
    assert!(held >= 4, "{held}");
    assert_eq!(seats(&store, "a").await.used, 0);
}

/// Promise: seat-confirm
pub(crate) async fn an_update_changes_what_was_sent_and_keeps_the_label(store: Arc<dyn Store>) {
    make_key(&store, "a", 2).await;
    let first = RegisterCommand { label: label("web 1"), ..asks(1, 1, 1) };
    how(&store, 0, first).await.unwrap();
    let mut next = asks(1, 1, 2);
    next.os.version = "9.7".into();
    assert_eq!(how(&store, 1, next).await, Ok((How::Confirmed, 1)));
    let page = unwrap(store.seat_page(at(1), secret("a"), None, 10).await).unwrap();
    let holder = &page.registrations[0];
    assert_eq!((holder.os.version.as_str(), holder.label.clone()), ("9.7", label("web 1")));
    assert_eq!(story(&store, 1).await, ["seat-taken", "machine-changed"]);
    how(&store, 2, RegisterCommand { label: label("web 2"), ..asks(1, 1, 2) }).await.unwrap();
    let holders = store.holders(at(0), Scope::Vendor, &KeyId::parse("a").unwrap(), None, 10).await.unwrap().unwrap();
    assert_eq!((holders[0].label.clone(), holders[0].hardware), (label("web 2"), asks(1, 1, 2).hardware));
}

/// Promise: seat-early-release
pub(crate) async fn an_early_release_is_remembered_for_a_day(store: Arc<dyn Store>) {
    make_key(&store, "a", 2).await;
    let delete = |now, id, with| store.unregister(at(now), by(), registration(id), token(with), client(1));
    assert_eq!(unwrap(delete(0, 1, 1).await), Ok(ReleaseOutcome::RememberedEarly));
    assert_eq!(unwrap(delete(0, 1, 1).await), Ok(ReleaseOutcome::RememberedEarly));
    assert_eq!(how(&store, DAY - 1, asks(1, 1, 1)).await, Err(Denied::RegistrationReleased));
    assert_eq!(get(&store, 1, 1).await, Err(Denied::RegistrationReleased));
    // Another's token does not keep an id from anybody.
    assert_eq!(unwrap(delete(0, 2, 9).await), Ok(ReleaseOutcome::RememberedEarly));
    assert_eq!(how(&store, 1, asks(2, 2, 2)).await, Ok((How::Created, 1)));
    // After a day it is as if it had never been.
    assert_eq!(how(&store, DAY, asks(1, 1, 1)).await, Ok((How::Created, 2)));
    assert_eq!(store.forget_early_releases(at(DAY)).await.unwrap(), 2);
}

/// Promise: seat-early-release
pub(crate) async fn early_releases_are_bounded_for_each_client(store: Arc<dyn Store>) {
    make_key(&store, "a", 5).await;
    unwrap(store.unregister(at(0), by(), registration(1), token(1), client(1)).await).unwrap();
    unwrap(store.unregister(at(0), by(), registration(2), token(2), client(2)).await).unwrap();
    for number in 0..1024 {
        unwrap(store.unregister(at(1), by(), registration(1000 + number), token(1), client(2)).await).unwrap();
    }
    assert_eq!(how(&store, 2, asks(1, 1, 1)).await, Err(Denied::RegistrationReleased));
    assert_eq!(how(&store, 2, asks(2, 2, 2)).await, Ok((How::Created, 1)));
    assert_eq!(store.forget_early_releases(at(3 * DAY)).await.unwrap(), 1025);
}

/// Promise: wire-seat-release
pub(crate) async fn a_key_lists_its_seats_in_pages_and_releases_its_own(store: Arc<dyn Store>) {
    make_key(&store, "a", 9).await;
    make_key(&store, "b", 9).await;
    for number in 1..=5 {
        how(&store, 0, asks(number, number, number)).await.unwrap();
    }
    how(&store, 0, RegisterCommand { key_hash: secret("b"), ..asks(6, 6, 6) }).await.unwrap();
    let page = |after, limit| store.seat_page(at(0), secret("a"), after, limit);
    let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = unwrap(page(after, 2).await).unwrap();
        assert_eq!(page.seats, Seats { total: 9, used: 5 });
        ids.extend(page.registrations.iter().map(|holder| holder.registration));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((ids, pages), ((1..=5).map(registration).collect(), 3));
    assert_eq!(unwrap(page(None, 5).await).unwrap().next, None);
    assert_eq!(unwrap(store.seat_page(at(0), secret("x"), None, 5).await).err(), Some(Denied::UnknownKey));

    let release = |key: &'static str, id| store.release_seat(at(1), Scope::Key(secret(key)), by(), registration(id));
    assert_eq!(unwrap(release("a", 3).await), Ok(ReleaseOutcome::Released));
    assert_eq!(unwrap(release("a", 3).await), Ok(ReleaseOutcome::AlreadyReleased));
    assert_eq!(unwrap(release("a", 6).await), Err(Denied::UnknownRegistration));
    assert_eq!(unwrap(release("a", 99).await), Err(Denied::UnknownRegistration));
    assert_eq!(unwrap(release("x", 1).await), Err(Denied::UnknownKey));
    assert_eq!((seats(&store, "a").await.used, seats(&store, "b").await.used), (4, 1));
    assert_eq!(unwrap(page(None, 9).await).unwrap().registrations.len(), 4);
    assert_eq!(get(&store, 2, 3).await, Err(Denied::RegistrationReleased));
}

/// Promise: key-no-self-release
pub(crate) async fn a_key_without_self_release_releases_no_seat(store: Arc<dyn Store>) {
    make(&store, NewKey { self_release: false, ..new_key("a", 3) }).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    assert_eq!(
        unwrap(store.release_seat(at(0), Scope::Key(secret("a")), by(), registration(1)).await),
        Err(Denied::ReleaseNotAllowed)
    );
    // The machine itself can.
    assert_eq!(
        unwrap(store.unregister(at(0), by(), registration(1), token(1), client(1)).await),
        Ok(ReleaseOutcome::Released)
    );
}

/// Promise: seat-same-machine
/// Promise: seat-lowering
pub(crate) async fn lowering_seats_ends_no_registration(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    for number in 1..=3 {
        how(&store, 0, asks(number, number, number)).await.unwrap();
    }
    let change = KeyChange { seats: Some(1), ..KeyChange::default() };
    updated(store.update_key(at(1), Scope::Vendor, By::vendor(), &KeyId::parse("a").unwrap(), change).await);
    assert_eq!(seats(&store, "a").await, Seats { total: 1, used: 3 });
    for number in 1..=3 {
        assert_eq!(how(&store, 2, asks(number, number, number)).await, Ok((How::Confirmed, 3)));
    }
    // A reinstalled machine keeps its seat, a new one gets none until fewer than one are used.
    assert_eq!(how(&store, 2, asks(11, 1, 1)).await, Ok((How::Moved, 3)));
    for (number, used) in [(11, 3), (2, 2)] {
        assert_eq!(how(&store, 2, asks(4, 4, 4)).await, Err(full(1, used)));
        unwrap(store.unregister(at(3), by(), registration(number), token(number), client(1)).await).unwrap();
    }
    assert_eq!(how(&store, 4, asks(4, 4, 4)).await, Err(full(1, 1)));
    unwrap(store.unregister(at(5), by(), registration(3), token(3), client(1)).await).unwrap();
    assert_eq!(how(&store, 6, asks(4, 4, 4)).await, Ok((How::Created, 1)));
}
