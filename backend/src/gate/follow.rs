//! Keeps the gate's memory true: follows the feed of changes, writes last uses, does the minute's housekeeping.
//!
//! Owns the rhythm of these. A change made on any node reaches this one within a second of polling; a hint from the store
//! only makes it faster.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use els_protocol::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Gate;
use super::memory::KeyFacts;
use els_ledger::{Actor, By, Cursor, FeedItem, KeyNumber, Origin, StoreError};

impl Gate {
    /// Follows the feed until the future is dropped.
    pub async fn follow(&self) {
        let mut cursor = self.memory.applied();
        let mut hint = self.store.feed_hint();
        let mut hints = true;
        let mut reachable = true;
        loop {
            let began = Instant::now();
            match timeout(ROUND_MOST, self.follow_once(&mut cursor)).await {
                Ok(Ok(())) => {
                    let millis = began.saturating_duration_since(self.born).as_millis();
                    self.synced.store(u64::try_from(millis).unwrap_or(u64::MAX), std::sync::atomic::Ordering::Relaxed);
                    if !std::mem::replace(&mut reachable, true) {
                        tracing::info!("the gate knows of every change again");
                    }
                }
                result => {
                    let error = match result {
                        Ok(Err(error)) => error.to_string(),
                        _ => format!("no answer within {} seconds", ROUND_MOST.as_secs()),
                    };
                    if std::mem::replace(&mut reachable, false) {
                        let opens = self.stale.saturating_sub(self.sync_age()).as_secs();
                        tracing::warn!(
                            error,
                            opens_for_seconds = opens,
                            "the gate is cut off from the database: it opens for what it knows to be good, then says 503"
                        );
                    }
                }
            }
            // A storm of hints is taken up a few times a second, not each by itself.
            sleep(HINT_PAUSE).await;
            tokio::select! {
                () = sleep(POLL_EVERY.saturating_sub(HINT_PAUSE)) => {}
                changed = hint.changed(), if hints => hints = changed.is_ok(),
            }
        }
    }

    /// Passes last uses on to the store every few seconds, until the future is dropped.
    pub async fn write_seen(&self) {
        let mut ticks = interval(SEEN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.write_seen_once().await;
        }
    }

    /// Passes last uses on to the store now: at the end of the process.
    pub async fn write_seen_once(&self) {
        if let Err(error) = self.seen.write(self.store.as_ref()).await {
            tracing::debug!(error = %error, "times of last use wait for the database");
        }
    }

    /// Does once a minute what has to be done as time goes by, until the future is dropped.
    pub async fn keep_house(&self, clock: impl Fn() -> Timestamp) {
        let mut ticks = interval(HOUSEKEEPING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.memory.sweep_keys();
            self.metrics.gate_remembered.set(i64::try_from(self.memory.len()).unwrap_or(i64::MAX));
            match self.upkeep(clock()).await {
                Ok((0, 0, 0)) => {}
                Ok((released_unseen, erased, forgotten)) => {
                    tracing::info!(released_unseen, erased, forgotten, "housekeeping");
                }
                Err(error) => tracing::warn!(error = %error, "housekeeping could not be done; it is tried again"),
            }
        }
    }

    /// How many were released, erased, forgotten.
    async fn upkeep(&self, now: Timestamp) -> Result<(u64, u64, u64), StoreError> {
        self.store.gate_is_up(now).await?;
        let by = By::new(Actor::Backend, Origin::Upkeep);
        let released = self.store.release_unseen(now, by).await?;
        let erased = self.store.erase_ids(now).await?;
        Ok((released, erased, self.store.forget_early_releases(now).await?))
    }

    async fn follow_once(&self, cursor: &mut Cursor) -> Result<(), StoreError> {
        loop {
            let feed = self.store.feed(*cursor, FEED_PIECE).await?;
            if feed.broken {
                tracing::warn!("the database is another one than before: the gate forgets what it knew");
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
                if let Some(gate_key) = self.store.gate_key(key).await? {
                    let facts = KeyFacts {
                        as_of: feed.up_to,
                        terms: gate_key.terms(self.grace_seconds),
                        product: self.products.get(&gate_key.product).cloned(),
                    };
                    self.memory.update_key(key, facts);
                }
            }
            // Only now: a piece of which a part failed is read again.
            *cursor = feed.up_to;
            if !feed.more {
                return Ok(());
            }
        }
    }
}

const POLL_EVERY: Duration = Duration::from_secs(1);
const HINT_PAUSE: Duration = Duration::from_millis(100);
const ROUND_MOST: Duration = Duration::from_secs(3);
const FEED_PIECE: u32 = 1000;
const SEEN_EVERY: Duration = Duration::from_secs(3);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
