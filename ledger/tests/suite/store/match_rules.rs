//! The match rules, and superseded credentials that are still used.

use els_ledger::rules::{KeyState, RegistrationState};
use els_ledger::{CredentialState, How, KeyChange, KeyId, Lookup, ReleaseOutcome};

use super::*;

async fn state(store: &Arc<dyn Store>, id: u32) -> CredentialState {
    let lookup = store.credential(registration(id)).await.unwrap();
    lookup.found.unwrap().0.state
}

async fn used(store: &Arc<dyn Store>, now: i64, id: u32) -> CredentialState {
    let lookup: Lookup = store.superseded_used(at(now), by(), registration(id)).await.unwrap();
    lookup.found.unwrap().0.state
}

/// Promise: seat-same-machine
pub(crate) async fn a_machine_that_lost_its_state_keeps_its_seat_on_a_full_key(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, RegisterCommand { label: label("web 1"), ..asks(1, 1, 1) }).await.unwrap();
    assert_eq!(how(&store, 1, asks(2, 1, 1)).await, Ok((How::Moved, 1)));
    assert_eq!(state(&store, 1).await, CredentialState::Superseded(at(1)));
    assert_eq!(state(&store, 2).await, CredentialState::Active);
    assert_eq!(get(&store, 1, 1).await, Ok(1));
    assert_eq!(story(&store, 1).await, ["seat-taken", "superseded"]);
    assert_eq!(story(&store, 2).await, ["seat-moved"]);
    let page = unwrap(store.seat_page(at(1), secret("a"), None, 10).await).unwrap();
    let found: Vec<_> = page.registrations.iter().map(|one| (one.state, one.until, one.label.clone())).collect();
    let until = Some(at(1 + 35 * DAY));
    assert_eq!(
        found,
        [(RegistrationState::Superseded, until, label("web 1")), (RegistrationState::Active, None, label("web 1"))]
    );
}

/// Promise: seat-conflict
pub(crate) async fn a_machine_said_to_be_moved_keeps_its_seat(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    // Other hardware is a clone, and the key is full.
    assert_eq!(how(&store, 1, asks(2, 1, 2)).await, Err(full(1, 1)));
    let moved = |command| RegisterCommand { moved: true, ..command };
    assert_eq!(how(&store, 1, moved(asks(2, 1, 2))).await, Ok((How::Moved, 1)));
    // With its id kept, also when the machine id is another.
    assert_eq!(how(&store, 2, moved(asks(2, 5, 2))).await, Ok((How::Confirmed, 1)));
    assert_eq!(how(&store, 3, asks(2, 5, 2)).await, Ok((How::Confirmed, 1)));
    assert_eq!(story(&store, 2).await, ["seat-moved", "machine-changed"]);
}

/// Promise: seat-clones
pub(crate) async fn clones_on_other_hardware_have_seats_of_their_own(store: Arc<dyn Store>) {
    make_key(&store, "a", 50).await;
    for number in 1..=40 {
        assert_eq!(how(&store, 0, asks(number, 1, number)).await, Ok((How::Created, u64::from(number))));
    }
    // Each of them is still known by machine and hardware, however many share the machine id.
    assert_eq!(how(&store, 1, asks(101, 1, 1)).await, Ok((How::Moved, 40)));
    assert_eq!(how(&store, 1, asks(140, 1, 40)).await, Ok((How::Moved, 40)));
    assert_eq!(state(&store, 40).await, CredentialState::Superseded(at(1)));
}

/// Promise: seat-match-rules
pub(crate) async fn a_machine_is_found_among_many_that_share_each_of_its_ids(store: Arc<dyn Store>) {
    make_key(&store, "a", 50).await;
    // Clones of machine 500, and other machines that report one bogus hardware id since an update.
    for number in 1..=5 {
        assert!(how(&store, 0, asks(number, 500, number)).await.is_ok());
        assert!(how(&store, 0, asks(100 + number, 100 + number, 100 + number)).await.is_ok());
        assert!(how(&store, 1, asks(100 + number, 100 + number, 99)).await.is_ok());
    }
    assert_eq!(how(&store, 2, asks(6, 500, 99)).await, Ok((How::Created, 11)));
    assert_eq!(how(&store, 3, asks(7, 500, 99)).await, Ok((How::Moved, 11)));
    assert_eq!(state(&store, 6).await, CredentialState::Superseded(at(3)));
    // A newcomer on that hardware could be any of them, and is none.
    assert_eq!(how(&store, 4, asks(8, 800, 99)).await, Ok((How::Created, 12)));
}

/// Promise: seat-superseded-hour
pub(crate) async fn a_superseded_credential_has_its_hour(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    assert_eq!(how(&store, 10, asks(2, 1, 0)).await, Ok((How::Moved, 1)));
    assert_eq!(state(&store, 1).await, CredentialState::Superseded(at(10)));
    assert_eq!(used(&store, 10 + HOUR - 1, 1).await, CredentialState::Superseded(at(10)));
    assert_eq!(get(&store, 10 + HOUR - 1, 1).await, Ok(1));
    let again = put(&store, 11, asks(1, 1, 0)).await.unwrap();
    assert_eq!((again.how, again.view.until), (How::Confirmed, Some(at(10 + 35 * DAY))));
    assert_eq!(how(&store, 11, asks(1, 2, 0)).await, Err(Denied::RegistrationConflict));
    // Releasing it frees nothing: the seat is the newer one's.
    let delete = |id| store.unregister(at(20), by(), registration(id), token(id), client(1));
    assert_eq!(unwrap(delete(1).await), Ok(ReleaseOutcome::Released));
    assert_eq!(unwrap(delete(1).await), Ok(ReleaseOutcome::AlreadyReleased));
    assert_eq!(seats(&store, "a").await.used, 1);
    assert_eq!(get(&store, 21, 2).await, Ok(1));
    assert_eq!(story(&store, 1).await, ["seat-taken", "superseded", "released"]);
}

/// Promise: seat-two-alive
/// Promise: seat-distrusted
pub(crate) async fn two_alive_under_one_seat_get_two_seats_if_one_is_free(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    how(&store, 10, asks(2, 1, 0)).await.unwrap();
    assert_eq!(used(&store, 10 + HOUR, 1).await, CredentialState::Active);
    assert_eq!(state(&store, 2).await, CredentialState::Active);
    let key = record(&store, "a").await;
    assert_eq!((key.seats.used, key.distrusted), (2, vec![machine_id(1)]));
    assert_eq!(story(&store, 1).await, ["seat-taken", "superseded", "distrusted", "seat-returned"]);
    assert_eq!(story(&store, 2).await, ["seat-moved", "seat-split"]);
    // Decided once: another use changes nothing.
    assert_eq!(used(&store, 10 + 2 * HOUR, 1).await, CredentialState::Active);
    assert_eq!(seats(&store, "a").await.used, 2);
    // That id matches nothing any more; each machine can still confirm and release its own seat.
    assert_eq!(how(&store, 2 * HOUR, asks(3, 1, 0)).await, Ok((How::Created, 3)));
    assert_eq!(how(&store, 2 * HOUR, asks(1, 1, 0)).await, Ok((How::Confirmed, 3)));
    assert_eq!(how(&store, 2 * HOUR, asks(4, 1, 0)).await, Err(full_and_distrusted(3, 3)));
    unwrap(store.unregister(at(2 * HOUR), by(), registration(3), token(3), client(1)).await).unwrap();
    unwrap(store.unregister(at(2 * HOUR), by(), registration(2), token(2), client(1)).await).unwrap();
    // Nor when there is but one whom it could be.
    assert_eq!(how(&store, 2 * HOUR, asks(5, 1, 0)).await, Ok((How::Created, 2)));
    unwrap(store.unregister(at(2 * HOUR), by(), registration(5), token(5), client(1)).await).unwrap();
    // Until the key is told to trust again.
    let change = KeyChange { trust_again: true, ..KeyChange::default() };
    updated(store.update_key(at(3 * HOUR), Scope::Vendor, By::vendor(), &KeyId::parse("a").unwrap(), change).await);
    assert_eq!(record(&store, "a").await.distrusted, []);
    assert_eq!(how(&store, 3 * HOUR, asks(4, 1, 0)).await, Ok((How::Moved, 1)));
}

/// Promise: seat-two-alive
pub(crate) async fn two_alive_on_a_full_key_leave_the_seat_to_the_first_within_a_day(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    // A reinstalled machine: hardware ids equal.
    how(&store, 0, asks(1, 1, 9)).await.unwrap();
    assert_eq!(how(&store, 10, asks(2, 2, 9)).await, Ok((How::Moved, 1)));
    // Through GET as through the gate.
    assert_eq!(get(&store, 10 + HOUR, 1).await, Ok(1));
    assert_eq!(state(&store, 1).await, CredentialState::Active);
    assert_eq!(state(&store, 2).await, CredentialState::Released);
    assert_eq!(get(&store, 10 + HOUR, 2).await, Err(Denied::RegistrationReleased));
    let key = record(&store, "a").await;
    assert_eq!((key.seats.used, key.distrusted.len()), (1, 1));
    assert_eq!(Some(key.distrusted[0]), asks(1, 1, 9).hardware);
    assert_eq!(how(&store, 2 * HOUR, asks(3, 2, 9)).await, Err(full_and_distrusted(1, 1)));
}

/// Promise: seat-two-alive
pub(crate) async fn many_uses_at_once_are_one_decision(store: Arc<dyn Store>) {
    make_key(&store, "a", 5).await;
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    how(&store, 0, asks(2, 1, 0)).await.unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { used(&store, HOUR, 1).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), CredentialState::Active);
    }
    assert_eq!(seats(&store, "a").await.used, 2);
    assert_eq!(story(&store, 1).await.iter().filter(|kind| **kind == "seat-returned").count(), 1);
}

/// Promise: seat-two-alive
pub(crate) async fn an_old_disk_on_a_full_key_is_refused_after_a_day(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, asks(1, 1, 9)).await.unwrap();
    how(&store, 10, asks(2, 2, 9)).await.unwrap();
    assert_eq!(used(&store, 3 * DAY, 1).await, CredentialState::Released);
    assert_eq!(state(&store, 2).await, CredentialState::Active);
    assert_eq!(story(&store, 1).await, ["seat-taken", "superseded", "distrusted", "released"]);
    assert_eq!(get(&store, 3 * DAY, 2).await, Ok(1));
}

/// Promise: seat-one-superseded
pub(crate) async fn the_superseded_ids_of_a_seat_follow_it(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    for (id, now) in [(1, 0), (2, 10), (3, 20)] {
        assert!(how(&store, now, asks(id, 1, 0)).await.is_ok());
    }
    assert_eq!(state(&store, 1).await, CredentialState::Superseded(at(10)));
    assert_eq!(state(&store, 2).await, CredentialState::Superseded(at(20)));
    // Used within a day: the one that registered first has the seat, and the others are compared with it from now on.
    assert_eq!(used(&store, 10 + HOUR, 1).await, CredentialState::Active);
    assert_eq!(state(&store, 3).await, CredentialState::Released);
    assert_eq!(used(&store, 20 + HOUR, 2).await, CredentialState::Released);
    assert_eq!((state(&store, 1).await, seats(&store, "a").await.used), (CredentialState::Active, 1));
}

/// Promise: seat-one-superseded
pub(crate) async fn a_seat_that_moved_sixteen_times_within_the_hour_moves_no_more(store: Arc<dyn Store>) {
    make_key(&store, "a", 2).await;
    for id in 1..=17 {
        assert_eq!(how(&store, i64::from(id), asks(id, 1, 0)).await.unwrap().1, 1);
    }
    // A seat of its own while one is free; then the seat of the last one that has room.
    assert_eq!(how(&store, 20, asks(18, 1, 0)).await, Ok((How::Created, 2)));
    for id in 19..=34 {
        assert_eq!(how(&store, i64::from(id) + 2, asks(id, 1, 0)).await, Ok((How::Moved, 2)));
    }
    let waits = Denied::MovedTooOften { until: at(2 + HOUR) };
    assert_eq!(how(&store, 40, asks(35, 1, 0)).await, Err(waits));
    assert_eq!(record(&store, "a").await.distrusted, []);
    // The oldest that is past its hour makes room.
    assert_eq!(how(&store, 2 + HOUR, asks(36, 1, 0)).await, Ok((How::Moved, 2)));
    assert_eq!(state(&store, 1).await, CredentialState::Released);
    assert_eq!(state(&store, 2).await, CredentialState::Superseded(at(3)));
}

/// Promise: seat-two-alive
pub(crate) async fn forty_machines_of_one_hardware_id_all_have_a_seat(store: Arc<dyn Store>) {
    make_key(&store, "a", 40).await;
    for id in 1..=40 {
        assert!(how(&store, i64::from(id) * 15, asks(id, id, 7)).await.is_ok());
    }
    // Used first after two hours: by confirming, at the gate, and by asking.
    assert_eq!(how(&store, 2 * HOUR, asks(5, 5, 7)).await, Ok((How::Confirmed, 40)));
    for id in 1..=40 {
        assert_eq!(used(&store, 2 * HOUR, id).await, CredentialState::Active);
        assert_eq!(get(&store, 2 * HOUR, id).await, Ok(40));
    }
    assert_eq!(record(&store, "a").await.distrusted.len(), 1);
}

/// Promise: seat-two-alive
pub(crate) async fn of_forty_machines_of_one_hardware_id_twenty_keep_twenty_seats(store: Arc<dyn Store>) {
    make_key(&store, "a", 20).await;
    let mut told = 0;
    for id in 1..=40 {
        told += u32::from(how(&store, i64::from(id) * 15, asks(id, id, 7)).await.is_err());
    }
    let mut good = 0;
    for id in 1..=40 {
        let alive = store.credential(registration(id)).await.unwrap().found.is_some();
        if alive && get(&store, 2 * HOUR, id).await.is_ok() {
            good += 1;
        }
    }
    let mut active = 0;
    for id in 1..=40 {
        active += u32::from(get(&store, 3 * HOUR, id).await.is_ok());
    }
    // Some that were good for a moment lost the seat to one that registered before them.
    assert!(good >= active && told > 0, "{good} {told}");
    assert_eq!((active, seats(&store, "a").await.used), (20, 20));
}

/// Promise: seat-superseded-hour
pub(crate) async fn a_superseded_id_that_is_not_used_ends_after_35_days(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    let key = KeyId::parse("a").unwrap();
    store.gate_is_up(at(0)).await.unwrap();
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    how(&store, 0, asks(2, 1, 0)).await.unwrap();
    // Five days in which the key is suspended do not count.
    for (day, state) in [(10, KeyState::Suspended), (15, KeyState::Active)] {
        state_set(store.set_key_state(at(day * DAY), Scope::Vendor, By::vendor(), &key, state).await);
    }
    let until = async |now| {
        let page = unwrap(store.seat_page(at(now), secret("a"), None, 9).await).unwrap();
        page.registrations.iter().find_map(|one| one.until)
    };
    assert_eq!(until(20 * DAY).await, Some(at(40 * DAY)));
    assert_eq!(store.release_superseded(at(40 * DAY - 1), upkeep()).await.unwrap(), 0);
    assert_eq!(store.release_superseded(at(40 * DAY), upkeep()).await.unwrap(), 1);
    assert_eq!(state(&store, 1).await, CredentialState::Released);
    assert_eq!(seats(&store, "a").await.used, 1);
}

/// Promise: seat-distrusted
pub(crate) async fn an_id_is_distrusted_until_its_last_registration_ends(store: Arc<dyn Store>) {
    make_key(&store, "a", 2).await;
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    how(&store, 0, asks(2, 1, 0)).await.unwrap();
    assert_eq!(used(&store, HOUR, 1).await, CredentialState::Active);
    for (id, distrusted) in [(1, 1), (2, 0)] {
        assert_eq!(record(&store, "a").await.distrusted.len(), 1);
        unwrap(store.unregister(at(HOUR), by(), registration(id), token(id), client(1)).await).unwrap();
        assert_eq!(record(&store, "a").await.distrusted.len(), distrusted);
    }
}

/// Promise: seat-delete
pub(crate) async fn the_older_one_takes_a_free_seat_when_the_newer_has_released_its_own(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    how(&store, 10, asks(2, 1, 0)).await.unwrap();
    unwrap(store.unregister(at(20), by(), registration(2), token(2), client(1)).await).unwrap();
    assert_eq!(seats(&store, "a").await.used, 0);
    assert_eq!(state(&store, 1).await, CredentialState::Superseded(at(10)));
    assert_eq!(used(&store, 10 + HOUR, 1).await, CredentialState::Active);
    assert_eq!(seats(&store, "a").await.used, 1);

    // And where none is free, it ends.
    make_key(&store, "b", 1).await;
    let of_b = |command| RegisterCommand { key_hash: secret("b"), ..command };
    how(&store, 0, of_b(asks(11, 1, 0))).await.unwrap();
    how(&store, 10, of_b(asks(12, 1, 0))).await.unwrap();
    unwrap(store.unregister(at(20), by(), registration(12), token(12), client(1)).await).unwrap();
    how(&store, 30, of_b(asks(13, 3, 0))).await.unwrap();
    assert_eq!(used(&store, 10 + HOUR, 11).await, CredentialState::Released);
    assert_eq!(seats(&store, "b").await.used, 1);
}

/// Promise: seat-two-alive
pub(crate) async fn a_key_that_refuses_decides_nothing(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    how(&store, 0, asks(1, 1, 0)).await.unwrap();
    how(&store, 10, asks(2, 1, 0)).await.unwrap();
    state_set(
        store
            .set_key_state(at(20), Scope::Vendor, By::vendor(), &KeyId::parse("a").unwrap(), KeyState::Suspended)
            .await,
    );
    assert_eq!(used(&store, 2 * HOUR, 1).await, CredentialState::Superseded(at(10)));
    assert_eq!(get(&store, 2 * HOUR, 1).await, Err(Denied::KeySuspended));
    assert_eq!(how(&store, 2 * HOUR, asks(2, 1, 0)).await, Err(Denied::KeySuspended));
    // A machine can always release its seat.
    unwrap(store.unregister(at(2 * HOUR), by(), registration(2), token(2), client(1)).await).unwrap();
    assert_eq!(seats(&store, "a").await.used, 0);
}

/// Promise: seat-match-rules
pub(crate) async fn machines_of_another_key_never_match(store: Arc<dyn Store>) {
    make_key(&store, "a", 1).await;
    make_key(&store, "b", 1).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let of_b = RegisterCommand { key_hash: secret("b"), ..asks(2, 1, 1) };
    assert_eq!(how(&store, 0, of_b).await, Ok((How::Created, 1)));
    assert_eq!(state(&store, 1).await, CredentialState::Active);
}
