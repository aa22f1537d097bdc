//! What the vendor's own systems ask: changes that are carried out once, filtered lists, the feed.

use super::*;
use els_ledger::{
    Carried, FeedFilter, FeedPlace, KeyChange, KeyFilter, Once, Release, Rotation, SeatFilter, SystemChange,
    SystemOutcome, TokenId,
};

fn create(name: &str, contract: &str) -> SystemChange {
    let key = NewKey { contract: Some(contract.into()), ..new_key(name, 5) };
    SystemChange::Create { key: Box::new(key), key_hash: secret(name) }
}

fn once(key: &str, request: &str) -> Option<Once> {
    let seal = |outcome: &SystemOutcome| Some(format!("{outcome:?}").into_bytes());
    Some(Once {
        token: TokenId::from_random([1; 8]),
        key_hash: secret(key),
        request_hash: secret(request),
        seal: Arc::new(seal),
    })
}

async fn carried(store: &Arc<dyn Store>, now: i64, change: SystemChange, dry: bool, once: Option<Once>) -> Carried {
    store.carry_out(at(now), Scope::Vendor, by(), change, dry, once).await.unwrap()
}

async fn done(store: &Arc<dyn Store>, now: i64, change: SystemChange) -> SystemOutcome {
    match carried(store, now, change, false, None).await {
        Carried::Now(outcome) => *outcome,
        other => panic!("{other:?}"),
    }
}

async fn events(store: &Arc<dyn Store>) -> usize {
    store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 10_000).await.unwrap().len()
}

/// Promise: admin-once
pub(super) async fn a_change_is_carried_out_once_for_its_idempotency_key(store: Arc<dyn Store>) {
    let change = || create("a", "c-1");
    let Carried::Now(outcome) = carried(&store, 0, change(), false, once("k", "r")).await else { panic!("first") };
    let kept = format!("{outcome:?}").into_bytes();
    for now in [0, DAY - 1] {
        assert_eq!(carried(&store, now, change(), false, once("k", "r")).await, Carried::Before(kept.clone()));
    }
    assert_eq!(carried(&store, 0, change(), false, once("k", "another request")).await, Carried::KeyReused);
    // What changed nothing is not kept: the same request runs again.
    let taken = SystemChange::Create { key: Box::new(new_key("b", 5)), key_hash: secret("a") };
    for _ in 0..2 {
        let Carried::Now(outcome) = carried(&store, 0, taken.clone(), false, once("l", "r")).await else { panic!() };
        assert!(matches!(*outcome, SystemOutcome::Created(Created::SecretTaken(_))), "{outcome:?}");
    }
    assert!(matches!(carried(&store, 0, create("b", "c-2"), false, once("l", "s")).await, Carried::Now(_)));
    // After a day it is forgotten, and the contract finds the key.
    let Carried::Now(outcome) = carried(&store, DAY, change(), false, once("k", "r")).await else {
        panic!("after a day")
    };
    assert!(matches!(*outcome, SystemOutcome::Created(Created::Same(_))), "{outcome:?}");
}

/// Promise: admin-once
pub(super) async fn the_same_request_many_times_at_once_makes_one_key(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("k{number}");
                let key = Box::new(new_key(&name, 5));
                let change = SystemChange::Create { key, key_hash: secret(&name) };
                carried(&store, 0, change, false, once("k", "r")).await
            })
        })
        .collect();
    let mut made = 0;
    let mut kept = std::collections::BTreeSet::new();
    for task in tasks {
        match task.await.unwrap() {
            Carried::Now(outcome) => {
                made += 1;
                kept.insert(format!("{outcome:?}").into_bytes());
            }
            Carried::Before(sealed) => drop(kept.insert(sealed)),
            Carried::KeyReused => panic!("the same request"),
        }
    }
    assert_eq!((made, kept.len()), (1, 1));
    assert_eq!(store.keys(at(0), Scope::Vendor, None, 100).await.unwrap().len(), 1);
}

/// Promise: admin-dry-run
pub(super) async fn a_dry_run_says_what_would_be_and_writes_nothing(store: Arc<dyn Store>) {
    make_key(&store, "a", 5).await;
    put(&store, 0, asks(1, 1, 1)).await.unwrap();
    let (before, count) = (record(&store, "a").await, events(&store).await);
    let id = KeyId::parse("a").unwrap();
    let change = Box::new(KeyChange { seats: Some(9), ..KeyChange::default() });
    for change in [
        create("b", "c-1"),
        SystemChange::Update { id: id.clone(), change, seats_add: None, if_match: None },
        SystemChange::SetState {
            id: id.clone(),
            state: els_ledger::rules::KeyState::Revoked,
            reason: None,
            if_match: None,
        },
        SystemChange::Rotate { id: id.clone(), key_hash: secret("new"), old_until: None },
        SystemChange::Release { key: Some(id.clone()), registrations: vec![registration(1)] },
    ] {
        let Carried::Now(outcome) = carried(&store, 1, change, true, once("k", "r")).await else { panic!() };
        assert!(outcome.is_done(), "{outcome:?}");
        assert_eq!((record(&store, "a").await, events(&store).await), (before.clone(), count), "{outcome:?}");
    }
    assert_eq!(store.key(at(1), Scope::Vendor, &KeyId::parse("b").unwrap()).await.unwrap(), None);
    // No answer was kept either: the real request is the first.
    assert!(matches!(carried(&store, 1, create("b", "c-1"), false, once("k", "r")).await, Carried::Now(_)));
}

/// Promise: admin-versions
pub(super) async fn of_two_changes_of_one_version_one_is_refused(store: Arc<dyn Store>) {
    make_key(&store, "a", 5).await;
    let id = KeyId::parse("a").unwrap();
    let version = record(&store, "a").await.version();
    put(&store, 0, asks(1, 1, 1)).await.unwrap();
    assert_eq!(record(&store, "a").await.version(), version, "used seats are no terms");
    let more = |seats| SystemChange::Update {
        id: id.clone(),
        change: Box::default(),
        seats_add: Some(seats),
        if_match: Some(vec!["another".into(), version.clone()]),
    };
    let (first, second) = tokio::join!(
        store.carry_out(at(1), Scope::Vendor, by(), more(3), false, None),
        store.carry_out(at(1), Scope::Vendor, by(), more(3), false, None)
    );
    let refused = [first.unwrap(), second.unwrap()]
        .into_iter()
        .filter(|carried| *carried == Carried::Now(Box::new(SystemOutcome::NotThatVersion)));
    assert_eq!(refused.count(), 1);
    assert_eq!(seats(&store, "a").await.total, 8);
    let less = SystemChange::Update { id: id.clone(), change: Box::default(), seats_add: Some(-9), if_match: None };
    assert_eq!(done(&store, 1, less).await, SystemOutcome::SeatsOutOfRange);
    let rotate = SystemChange::Rotate { id, key_hash: secret("new"), old_until: None };
    assert_eq!(done(&store, 2, rotate).await, SystemOutcome::Rotated(Rotation::Rotated));
    assert_ne!(record(&store, "a").await.version(), version);
}

/// Promise: admin-releases
pub(super) async fn seats_are_released_by_id_or_by_a_filter_whose_count_is_right(store: Arc<dyn Store>) {
    make_key(&store, "a", 9).await;
    make_key(&store, "b", 9).await;
    for number in 1..=4 {
        put(
            &store,
            i64::from(number),
            RegisterCommand { label: label(&format!("web-{number}")), ..asks(number, number, number) },
        )
        .await
        .unwrap();
    }
    put(&store, 0, RegisterCommand { key_hash: secret("b"), ..asks(5, 5, 5) }).await.unwrap();
    let a = KeyId::parse("a").unwrap();
    let ids = [1, 5, 77, 1].map(registration).to_vec();
    let release = SystemChange::Release { key: Some(a.clone()), registrations: ids };
    let expected = |first| {
        vec![(registration(1), first), (registration(5), Release::NotFound), (registration(77), Release::NotFound)]
    };
    assert_eq!(done(&store, 10, release.clone()).await, SystemOutcome::Released(expected(Release::Released)));
    assert_eq!(done(&store, 10, release).await, SystemOutcome::Released(expected(Release::Already)));
    assert_eq!((seats(&store, "a").await.used, seats(&store, "b").await.used), (3, 1));
    let filter =
        SeatFilter { key: Some(a), label: Some("web".into()), not_seen_since: Some(at(4)), ..SeatFilter::default() };
    let matching = |expected| SystemChange::ReleaseMatching { filter: filter.clone(), expected };
    assert_eq!(done(&store, 10, matching(3)).await, SystemOutcome::CountDiffers(2));
    let both = vec![(registration(2), Release::Released), (registration(3), Release::Released)];
    assert_eq!(done(&store, 10, matching(2)).await, SystemOutcome::Released(both));
    assert_eq!(seats(&store, "a").await.used, 1);
}

pub(super) async fn lists_have_what_fits_in_pages(store: Arc<dyn Store>) {
    for (number, name) in (1..).zip(["a", "b", "c"]) {
        let key = NewKey { reseller: Some(format!("R_{number}")), expires: at(number * DAY), ..new_key(name, 2) };
        make(&store, key).await;
        for machine in [1, 2] {
            let id = u32::try_from(number).unwrap() * 10 + machine;
            put(&store, 0, RegisterCommand { key_hash: secret(name), ..asks(id, id, id) }).await.unwrap();
        }
    }
    let keys = async |filter: KeyFilter| {
        let found = store.keys_matching(at(0), Scope::Vendor, filter, None, 10).await.unwrap();
        found.iter().map(|key| key.key_id.as_str()).collect::<String>()
    };
    assert_eq!(keys(KeyFilter::default()).await, "abc");
    assert_eq!(keys(KeyFilter { reseller: Some("R_2".into()), ..KeyFilter::default() }).await, "b");
    assert_eq!(keys(KeyFilter { text: Some("r_".into()), ..KeyFilter::default() }).await, "abc");
    assert_eq!(keys(KeyFilter { text: Some("%".into()), ..KeyFilter::default() }).await, "");
    assert_eq!(keys(KeyFilter { text: Some("c".into()), ..KeyFilter::default() }).await, "c");
    assert_eq!(keys(KeyFilter { expires_before: Some(at(2 * DAY)), ..KeyFilter::default() }).await, "a");
    assert_eq!(
        keys(KeyFilter { expires_after: Some(at(2 * DAY)), used_from: Some(100), ..KeyFilter::default() }).await,
        "c"
    );
    let revoked = Some(els_ledger::rules::KeyState::Revoked);
    assert_eq!(keys(KeyFilter { state: revoked, ..KeyFilter::default() }).await, "");
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.seats_matching(at(0), Scope::Vendor, SeatFilter::default(), after, 4).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        seen.extend(page.iter().map(|(place, _)| place.registration));
    }
    assert_eq!(seen, [11, 12, 21, 22, 31, 32].map(registration));
    let found = store.registration_record(at(0), Scope::Vendor, registration(21)).await.unwrap().unwrap();
    assert_eq!(found.key_id.as_str(), "b");
    assert_eq!(store.registration_record(at(0), Scope::Vendor, registration(1)).await.unwrap(), None);
}

/// Promise: admin-feed
pub(super) async fn the_feed_goes_on_from_its_cursor_and_notices_another_database(store: Arc<dyn Store>) {
    assert_eq!(store.feed_place(None).await.unwrap(), Some(FeedPlace::BEGINNING));
    make_key(&store, "a", 50).await;
    make_key(&store, "b", 5).await;
    for number in 1..=6 {
        put(&store, 0, asks(number, number, number)).await.unwrap();
    }
    let read = async |filter: &FeedFilter, limit| {
        let (mut place, mut seen) = (FeedPlace::BEGINNING, Vec::new());
        loop {
            let page = store.feed_page(at(0), Scope::Vendor, filter.clone(), place, limit).await.unwrap().unwrap();
            seen.extend(page.events.into_iter().map(|event| event.cursor.0));
            place = page.next;
            if !page.more {
                return (seen, place);
            }
        }
    };
    let (all, end) = read(&FeedFilter::default(), 3).await;
    assert_eq!((all.len(), Some(end)), (8, store.feed_place(None).await.unwrap()));
    assert_eq!(read(&FeedFilter::default(), 100).await, (all.clone(), end));
    let taken = FeedFilter { kinds: Some(vec!["seat-taken".into(), "no-such".into()]), ..FeedFilter::default() };
    assert_eq!(read(&taken, 4).await, (all[2..].to_vec(), end));
    let of_b = FeedFilter { key: Some(KeyId::parse("b").unwrap()), ..FeedFilter::default() };
    assert_eq!(read(&of_b, 100).await, (all[1..2].to_vec(), end), "the end is reached although nothing fits");
    let of_one = FeedFilter { registration: Some(registration(3)), ..FeedFilter::default() };
    assert_eq!(read(&of_one, 100).await.0.len(), 1);
    for gone in [FeedPlace { mark: [7; 8], ..end }, FeedPlace { seq: end.seq + 1, ..end }] {
        assert_eq!(store.feed_page(at(0), Scope::Vendor, FeedFilter::default(), gone, 10).await.unwrap(), None);
    }
    // The place stays good when ids are erased: they are not in its mark.
    store.release_seat(at(1), Scope::Vendor, by(), registration(6)).await.unwrap().unwrap();
    store.erase_ids(at(200 * DAY)).await.unwrap();
    assert_eq!(store.feed_place(Some(end.seq)).await.unwrap(), Some(end));
}
