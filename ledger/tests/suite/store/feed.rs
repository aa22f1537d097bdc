//! What a node reads: look-ups, and the feed that keeps its cache correct.

use std::collections::HashSet;

use els_ledger::rules::KeyState;
use els_ledger::{CredentialState, FeedItem, KeyChange, KeyNumber};

use super::*;

/// What has changed since `after`, and the new end.
async fn news(store: &Arc<dyn Store>, after: Cursor) -> (HashSet<FeedItem>, Cursor) {
    let (mut items, mut cursor) = (HashSet::new(), after);
    loop {
        let feed = store.feed(cursor, 3).await.unwrap();
        assert!(feed.up_to >= cursor && feed.items.len() <= 3);
        items.extend(feed.items.into_iter().map(|(_, item)| item));
        cursor = feed.up_to;
        if !feed.more {
            return (items, cursor);
        }
    }
}

pub(crate) async fn a_look_up_reads_credential_and_key_at_one_moment(store: Arc<dyn Store>) {
    let key = make_key(&store, "a", 2).await;
    let nobody = store.credential(registration(1)).await.unwrap();
    assert_eq!(nobody.found, None);
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    let lookup = store.credential(registration(1)).await.unwrap();
    assert!(lookup.as_of > nobody.as_of);
    let (credential, found) = lookup.found.unwrap();
    assert_eq!((credential.token_hash, credential.state), (token(1), CredentialState::Active));
    assert_eq!((credential.key, found.number), (key.number, key.number));
    assert_eq!((found.product.as_str(), found.state, found.expires), ("els", KeyState::Active, key.expires));
    assert_eq!(store.gate_key(key.number).await.unwrap(), Some(found));
    assert_eq!(store.gate_key(KeyNumber(999)).await.unwrap(), None);
}

/// Promise: seat-audit-log
pub(crate) async fn every_change_that_the_gate_must_know_is_in_the_feed(store: Arc<dyn Store>) {
    let key = make_key(&store, "a", 9).await;
    let one = |id| FeedItem::Registration(registration(id));
    let whole = FeedItem::Key(key.number);
    let mut cursor = store.feed_end().await.unwrap();
    let mut hint = store.feed_hint();
    hint.mark_unchanged();

    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    assert!(hint.has_changed().unwrap());
    let (items, end) = news(&store, cursor).await;
    assert_eq!(items, HashSet::from([one(1)]));
    cursor = end;

    how(&store, 1, asks(2, 1, 1)).await.unwrap(); // certain: 1 is released
    how(&store, 2, asks(3, 1, 0)).await.unwrap(); // likely: 2 is superseded
    let (items, end) = news(&store, cursor).await;
    assert_eq!(items, HashSet::from([one(1), one(2), one(3)]));
    cursor = end;

    store.superseded_used(at(3 * HOUR), by(), registration(2)).await.unwrap();
    let (items, end) = news(&store, cursor).await;
    assert_eq!(items, HashSet::from([one(2), one(3)]));
    cursor = end;

    unwrap(store.release_seat(at(3 * HOUR), Scope::Key(secret("a")), by(), registration(2)).await).unwrap();
    unwrap(store.unregister(at(3 * HOUR), by(), registration(3), token(3), client(1)).await).unwrap();
    let (items, end) = news(&store, cursor).await;
    assert_eq!(items, HashSet::from([one(2), one(3)]));
    cursor = end;

    for state in [KeyState::Suspended, KeyState::Active, KeyState::Revoked] {
        state_set(store.set_key_state(at(0), Scope::Vendor, By::vendor(), &key.key_id, state).await);
        let (items, end) = news(&store, cursor).await;
        assert_eq!(items, HashSet::from([whole]), "{state:?}");
        assert_eq!(store.gate_key(key.number).await.unwrap().unwrap().state, state);
        cursor = end;
    }
    let change = KeyChange { expires: Some(at(5)), ..KeyChange::default() };
    updated(store.update_key(at(0), Scope::Vendor, By::vendor(), &key.key_id, change).await);
    let (items, end) = news(&store, cursor).await;
    assert_eq!(items, HashSet::from([whole]));
    assert_eq!(store.feed_end().await.unwrap(), end);
    assert_eq!(news(&store, end).await, (HashSet::new(), end));
}

/// Promise: gate-overtaken
pub(crate) async fn a_reader_of_the_feed_misses_nothing_while_others_write(store: Arc<dyn Store>) {
    make_key(&store, "a", 1000).await;
    let start = store.feed_end().await.unwrap();
    let writers: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { how(&store, 0, asks(number, number, number + 1)).await.unwrap() })
        })
        .collect();
    let mut cursor = start;
    let mut seen = HashSet::new();
    while seen.len() < 200 {
        let (items, end) = news(&store, cursor).await;
        seen.extend(items);
        cursor = end;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen, (0..200).map(|number| FeedItem::Registration(registration(number))).collect());
}

/// Promise: gate-last-seen
pub(crate) async fn last_seen_is_written_in_batches_and_never_becomes_earlier(store: Arc<dyn Store>) {
    make_key(&store, "a", 3).await;
    how(&store, 0, asks(1, 1, 1)).await.unwrap();
    how(&store, 0, asks(2, 2, 2)).await.unwrap();
    let before = store.feed_end().await.unwrap();
    store.seen(vec![(registration(1), at(50)), (registration(77), at(50))]).await.unwrap();
    store.seen(vec![(registration(1), at(40))]).await.unwrap();
    let page = unwrap(store.seat_page(at(60), secret("a"), None, 10).await).unwrap();
    let seen: Vec<_> = page.registrations.iter().map(|holder| holder.last_seen_at).collect();
    assert_eq!(seen, [Some(at(50)), None]);
    assert_eq!(store.feed_end().await.unwrap(), before);
}
