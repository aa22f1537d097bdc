//! Upkeep: what changes as time passes.

use els_ledger::{How, KeyChange, KeyId};

use super::*;

/// Releases unseen machines from `from` to `to` in the largest steps that count as no gap; says how many it released.
async fn time_passes(store: &Arc<dyn Store>, from: i64, to: i64) -> u64 {
    let mut released = 0;
    for now in (from..=to).step_by(180) {
        released += store.release_unseen(at(now), upkeep()).await.unwrap();
    }
    released
}

/// Promise: key-unseen
pub(crate) async fn a_seat_that_is_not_used_is_released_after_its_days(store: Arc<dyn Store>) {
    make(&store, NewKey { release_unseen_after: Some(1), ..new_key("a", 3) }).await;
    make_key(&store, "b", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    how(&store, 0, asks(2, 2, 2)).await.unwrap();
    how(&store, 0, RegisterCommand { key_hash: secret("b"), ..asks(3, 3, 3) }).await.unwrap();
    assert_eq!(time_passes(&store, 0, DAY - 1).await, 0);
    store.seen(vec![(registration(2), at(DAY / 2))]).await.unwrap();
    assert_eq!(time_passes(&store, DAY, DAY + 2 * HOUR).await, 1);
    assert_eq!(get(&store, DAY, 1).await, Err(Denied::RegistrationReleased));
    assert_eq!(story(&store, 1).await, ["seat-taken", "released"]);
    assert_eq!((seats(&store, "a").await.used, seats(&store, "b").await.used), (1, 1));
    assert_eq!(time_passes(&store, DAY + 2 * HOUR, DAY + DAY / 2 + 2 * HOUR).await, 1);
    assert_eq!((seats(&store, "a").await.used, seats(&store, "b").await.used), (0, 1));
}

/// Promise: key-unseen
pub(crate) async fn time_in_which_the_gate_was_down_does_not_count(store: Arc<dyn Store>) {
    make(&store, NewKey { release_unseen_after: Some(1), ..new_key("a", 3) }).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    assert_eq!(time_passes(&store, 0, DAY / 2).await, 0);
    // Down for five days, then up for a little less than what is left, down again, and then for the rest.
    let up = 6 * DAY;
    assert_eq!(time_passes(&store, up, up + 9 * HOUR).await, 0);
    let up = 9 * DAY;
    assert_eq!(time_passes(&store, up, up + 2 * HOUR).await, 0);
    assert_eq!(seats(&store, "a").await.used, 1);
    assert_eq!(time_passes(&store, up + 2 * HOUR, up + 5 * HOUR).await, 1);
    assert_eq!(seats(&store, "a").await.used, 0);
}

/// Promise: seat-erasure
pub(crate) async fn machine_ids_are_erased_ninety_days_after_release_also_from_the_audit_log(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    how(&store, 0, asks(2, 2, 0)).await.unwrap();
    how(&store, 0, asks(3, 2, 0)).await.unwrap();
    store.superseded_used(at(HOUR), by(), registration(2)).await.unwrap();
    assert_eq!(record(&store, "a").await.distrusted, [machine_id(2)]);
    for id in [1, 2, 3] {
        unwrap(store.unregister(at(DAY), by(), registration(id), token(id), client(1)).await).unwrap();
    }
    let ids_in_audit_log = async || {
        let events = store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 1000).await.unwrap();
        events.iter().filter(|event| event.machine.is_some() || event.hardware.is_some()).count()
    };
    assert_eq!(store.erase_ids(at(91 * DAY - 1)).await.unwrap(), 0);
    assert!(ids_in_audit_log().await > 0);
    assert_eq!(store.erase_ids(at(91 * DAY)).await.unwrap(), 3);
    assert_eq!(ids_in_audit_log().await, 0);
    assert_eq!(record(&store, "a").await.distrusted, []);
    let found = store.find(at(0), Scope::Vendor, &registration(1).to_string(), 10).await.unwrap();
    assert_eq!((found.registrations[0].machine, found.registrations[0].hardware), (None, None));
    // The registration itself is still known as released.
    assert_eq!(get(&store, 91 * DAY, 1).await, Err(Denied::RegistrationReleased));
    assert_eq!(store.erase_ids(at(92 * DAY)).await.unwrap(), 0);
}

/// Promise: seat-erasure
pub(crate) async fn ids_of_machines_that_hold_seats_are_never_erased(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let change = KeyChange { expires: Some(at(1000 * DAY)), ..KeyChange::default() };
    updated(store.update_key(at(0), Scope::Vendor, By::vendor(), &KeyId::parse("a").unwrap(), change).await);
    assert_eq!(store.erase_ids(at(500 * DAY)).await.unwrap(), 0);
    assert_eq!(store.release_unseen(at(500 * DAY), upkeep()).await.unwrap(), 0);
    assert_eq!(how(&store, 500 * DAY, asks(2, 1, 1)).await, Ok((How::Moved, 1)));
}

pub(crate) async fn a_job_has_one_holder_at_a_time(store: Arc<dyn Store>) {
    let take = async |job, holder, seconds| store.take_lease(job, holder, seconds).await.unwrap();
    assert!(take("erase", "one", 600).await);
    assert!(!take("erase", "other", 600).await);
    assert!(take("erase", "one", 600).await, "it is renewed");
    assert!(take("unseen", "other", 600).await, "jobs are independent");
    // Given up: another one has it at once.
    assert!(take("erase", "one", 0).await);
    assert!(take("erase", "other", 1).await);
    assert!(!take("erase", "one", 600).await);
    // A holder that does not come back loses it when its time is over.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert!(take("erase", "one", 600).await);
}
