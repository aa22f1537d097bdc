//! Keeps the gate's memory up to date: follows the feed of changes.
//!
//! Owns when the feed is read. Polling brings a change of any node within a second; a hint from the store only makes it
//! faster.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Gate;
use super::memory::KeyFacts;
use els_ledger::{Cursor, FeedItem, KeyNumber, StoreError};

impl Gate {
    /// Follows the feed until the future is dropped.
    pub async fn follow(&self) {
        let mut cursor = self.memory.applied();
        let mut hint = self.store.feed_hint();
        let mut hints = true;
        let mut reachable = true;
        loop {
            let began = Instant::now();
            match timeout(ROUND_TIMEOUT, self.follow_once(&mut cursor)).await {
                Ok(Ok(())) => {
                    let millis = began.saturating_duration_since(self.born).as_millis();
                    self.synced.store(u64::try_from(millis).unwrap_or(u64::MAX), std::sync::atomic::Ordering::Relaxed);
                    if !std::mem::replace(&mut reachable, true) {
                        tracing::info!("the gate has applied all changes again");
                    }
                }
                result => {
                    let error = match result {
                        Ok(Err(error)) => error.to_string(),
                        _ => format!("no answer within {} seconds", ROUND_TIMEOUT.as_secs()),
                    };
                    if std::mem::replace(&mut reachable, false) {
                        let opens = self.stale.saturating_sub(self.sync_age()).as_secs();
                        tracing::warn!(
                            error,
                            opens_for_seconds = opens,
                            "the gate is cut off from the database: it opens for the credentials that it remembers, then answers 503"
                        );
                    }
                }
            }
            // Many hints in a short time cause a few reads, not one each.
            sleep(HINT_PAUSE).await;
            tokio::select! {
                () = sleep(POLL_EVERY.saturating_sub(HINT_PAUSE)) => {}
                changed = hint.changed(), if hints => hints = changed.is_ok(),
            }
        }
    }

    async fn follow_once(&self, cursor: &mut Cursor) -> Result<(), StoreError> {
        loop {
            let feed = self.store.feed(*cursor, FEED_BATCH).await?;
            if feed.broken {
                tracing::warn!("this is another database than before: the gate forgets what it remembers");
                self.memory.clear(feed.up_to);
                *cursor = feed.up_to;
                return Ok(());
            }
            self.memory.apply_up_to(feed.up_to);
            let mut keys: HashSet<KeyNumber> = HashSet::new();
            for (at, item) in &feed.items {
                match item {
                    FeedItem::Registration(id) => self.memory.forget(id, *at),
                    FeedItem::Key(key) => drop(keys.insert(*key)),
                }
            }
            for key in keys.into_iter().filter(|key| self.memory.knows_key(*key)) {
                if let Some(found) = self.store.gate_key(key).await? {
                    let facts = KeyFacts {
                        as_of: feed.up_to,
                        terms: found.terms(self.grace_seconds),
                        product: self.products.get(&found.product).cloned(),
                    };
                    self.memory.update_key(key, facts);
                }
            }
            // Only now: if a part of a batch fails, the whole batch is read again.
            *cursor = feed.up_to;
            if !feed.more {
                return Ok(());
            }
        }
    }
}

const POLL_EVERY: Duration = Duration::from_secs(1);
const HINT_PAUSE: Duration = Duration::from_millis(100);
/// The store ends a read earlier; finding another server may take a few seconds.
const ROUND_TIMEOUT: Duration = Duration::from_secs(15);
const FEED_BATCH: u32 = 1000;
