//! A grown site is copied from one database to another, of either kind, and nothing is lost.

use els_ledger::database::DatabaseUrl;
use els_ledger::rules::{Denied, KeyState};
use els_ledger::{By, Cursor, EventFilter, KeyChange, KeyId, Opening, Scope, Store, copy};
use els_testkit::cluster::Cluster;
use els_testkit::store::*;

/// All that can be asked of a store: keys, their holders, the audit log.
async fn everything(store: &std::sync::Arc<dyn Store>) -> Vec<String> {
    let mut found = Vec::new();
    for key in store.keys(at(0), Scope::Vendor, None, 1000).await.unwrap() {
        found.push(format!("{key:?}"));
        for holder in store.holders(at(0), Scope::Vendor, &key.key_id, None, 1000).await.unwrap().unwrap() {
            found.push(format!("{holder:?}"));
            found.push(format!("{:?}", store.credential(holder.registration).await.unwrap()));
        }
    }
    for event in store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 100_000).await.unwrap() {
        found.push(format!("{event:?}"));
    }
    found
}

/// A site with a past: two keys, clones, a superseded id, distrust, an early release, a rotated and a suspended key.
async fn grow(store: &std::sync::Arc<dyn Store>) {
    make(store, els_ledger::NewKey { note: Some("tab\there, back\\slash, ünïcode".into()), ..new_key("a", 5) }).await;
    make_key(store, "b", 3).await;
    for (id, machine, hardware) in [(1, 1, 1), (2, 2, 2), (3, 1, 2), (4, 4, 0), (5, 4, 0)] {
        let command = els_ledger::rules::RegisterCommand { label: label("web one"), ..asks(id, machine, hardware) };
        how(store, i64::from(id), command).await.unwrap();
    }
    store.superseded_used(at(3 * HOUR), by(), registration(4)).await.unwrap();
    how(store, 4 * HOUR, asks(6, 6, 6)).await.unwrap();
    how(store, 4 * HOUR + 1, asks(7, 6, 0)).await.unwrap();
    unwrap(store.unregister(at(5 * HOUR), by(), registration(2), token(2), client(1)).await).unwrap();
    unwrap(store.unregister(at(5 * HOUR), by(), registration(99), token(99), client(2)).await).unwrap();
    store.seen(vec![(registration(1), at(6 * HOUR))]).await.unwrap();
    let b = KeyId::parse("b").unwrap();
    store.rotate_key(at(6 * HOUR), Scope::Vendor, By::vendor(), &b, secret("b2"), Some(at(9 * HOUR))).await.unwrap();
    state_set(store.set_key_state(at(7 * HOUR), Scope::Vendor, By::vendor(), &b, KeyState::Suspended).await);
    store.gate_is_up(at(8 * HOUR)).await.unwrap();
    store.release_unseen(at(8 * HOUR), upkeep()).await.unwrap();
    assert!(store.take_lease("erase", "a node", 600).await.unwrap());
}

/// Promise: copy-moves-all
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_moves_and_moves_back_is_the_same_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let url = |text: &str| DatabaseUrl::parse(text).unwrap();
    let file = |name: &str| url(&format!("sqlite://{}/{name}", folder.path().display()));
    let open = async |url: &DatabaseUrl, opening| els_ledger::open(url, opening, policy()).await.unwrap();
    let first = open(&file("first"), Opening::Creating).await;
    grow(&first).await;
    let before = everything(&first).await;
    assert!(before.len() > 20 && before.iter().any(|line| line.contains("Superseded(")), "{before:#?}");
    drop(first);

    let middle = url(&tokio::task::spawn_blocking(|| Cluster::shared().database()).await.unwrap());
    drop(open(&middle, Opening::Migrating).await);
    copy::copy(&file("first"), &middle).await.unwrap();
    let store = open(&middle, Opening::Existing).await;
    assert_eq!(everything(&store).await, before);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
    // What was remembered of a DELETE that came too early, and of secrets, came along.
    assert_eq!(how(&store, 6 * HOUR, asks(99, 9, 9)).await, Err(Denied::RegistrationReleased));
    // It goes on: the next key and the next event have numbers of their own.
    make_key(&store, "c", 1).await;
    let more = KeyChange { seats: Some(9), ..KeyChange::default() };
    updated(store.update_key(at(0), Scope::Vendor, By::vendor(), &KeyId::parse("a").unwrap(), more).await);
    how(&store, 9 * HOUR, asks(8, 8, 8)).await.unwrap();
    let after = everything(&store).await;
    assert_eq!(store.check().await.unwrap(), [""; 0]);

    // Into a database that holds something: refused.
    let refused = copy::copy(&file("first"), &middle).await.unwrap_err();
    assert!(format!("{refused:#}").contains("is not empty"), "{refused:#}");
    // Out of one that is in use: refused; a backup is made all the same, and is the same.
    let refused = copy::copy(&middle, &file("last")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("another els-backend uses"), "{refused:#}");
    let DatabaseUrl::Postgres(target) = &middle else { panic!("it is one") };
    copy::backup(target, &folder.path().join("backup")).await.unwrap();
    assert_eq!(everything(&open(&file("backup"), Opening::Existing).await).await, after);

    drop(store);
    // The server takes a moment to see that they are gone.
    let mut copied = copy::copy(&middle, &file("last")).await;
    for _ in 0..100 {
        match &copied {
            Err(error) if format!("{error:#}").contains("another els-backend uses") => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                copied = copy::copy(&middle, &file("last")).await;
            }
            _ => break,
        }
    }
    copied.unwrap();
    let last = open(&file("last"), Opening::Existing).await;
    assert_eq!(everything(&last).await, after);
    assert_eq!(last.check().await.unwrap(), [""; 0]);
    make_key(&last, "d", 1).await;
}
