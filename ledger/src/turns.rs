//! Turns to read: what the gate needs never waits for what anybody else asks.
//!
//! Owns how many reads of each kind run at once, and the order of the others: fair between queue keys, few at a time for one.
//! It must not know a database: both take their turns here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::StoreError;
use crate::queue::{QUEUE_LIMIT, QUEUE_LIMIT_EACH, QueueKey};

/// The turns of one store.
pub(crate) struct ReadTurns {
    feed: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    others: Arc<FairTurns>,
}

/// What a read is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadClass {
    /// The feed of changes: revocation depends on it.
    Feed,
    /// A credential that a gate does not remember.
    Lookup,
    /// Anything else, for this queue key.
    Other(QueueKey),
}

/// One turn, until it is dropped.
#[derive(Debug)]
pub(crate) enum ReadTurn {
    Reserved { _permit: OwnedSemaphorePermit },
    Fair { _turn: FairTurn },
}

impl ReadTurns {
    pub(crate) fn new() -> Self {
        let reserved = |turns| Arc::new(Semaphore::new(turns));
        ReadTurns { feed: reserved(FEED), lookups: reserved(LOOKUPS), others: FairTurns::new(OTHERS, OTHERS_EACH) }
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self, class: ReadClass) -> Result<ReadTurn, StoreError> {
        let semaphore = match class {
            ReadClass::Feed => &self.feed,
            ReadClass::Lookup => &self.lookups,
            ReadClass::Other(key) => {
                let turn = self.others.take(key).await.ok_or(StoreError::Busy)?;
                return Ok(ReadTurn::Fair { _turn: turn });
            }
        };
        match semaphore.clone().acquire_owned().await {
            Ok(permit) => Ok(ReadTurn::Reserved { _permit: permit }),
            Err(_) => Err(StoreError::Unavailable("the store is closing".into())),
        }
    }
}

/// Turns that queue keys take one after the other.
struct FairTurns {
    each: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct FairTurn {
    turns: Arc<FairTurns>,
    key: QueueKey,
}

struct State {
    free: usize,
    running: HashMap<QueueKey, usize>,
    lines: HashMap<QueueKey, VecDeque<oneshot::Sender<FairTurn>>>,
    /// The queue keys that wait, in the order of their turns.
    order: VecDeque<QueueKey>,
    waiting: usize,
}

impl FairTurns {
    fn new(all: usize, each: usize) -> Arc<Self> {
        let (running, lines, order) = (HashMap::new(), HashMap::new(), VecDeque::new());
        let state = State { free: all, running, lines, order, waiting: 0 };
        Arc::new(FairTurns { each, state: Mutex::new(state) })
    }

    /// Waits for a turn of `key`; `None` if too many wait.
    async fn take(self: &Arc<Self>, key: QueueKey) -> Option<FairTurn> {
        let (sender, turn) = oneshot::channel();
        {
            let mut state = self.lock();
            let line = state.lines.get(&key).map_or(0, VecDeque::len);
            if line >= QUEUE_LIMIT_EACH || state.waiting >= QUEUE_LIMIT {
                return None;
            }
            if line == 0 {
                state.order.push_back(key);
            }
            state.lines.entry(key).or_default().push_back(sender);
            state.waiting += 1;
        }
        self.give();
        turn.await.ok()
    }

    /// Gives free turns to those that wait.
    fn give(self: &Arc<Self>) {
        loop {
            let next = self.lock().next(self.each);
            let Some((key, sender)) = next else { return };
            // If nobody waits for it any more, the turn is dropped here, and is free for the next one.
            let _ = sender.send(FairTurn { turns: self.clone(), key });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for FairTurns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FairTurns")
    }
}

impl State {
    /// Takes a free turn for the next queue key that does not have `each` already.
    fn next(&mut self, each: usize) -> Option<(QueueKey, oneshot::Sender<FairTurn>)> {
        if self.free == 0 {
            return None;
        }
        let running = &self.running;
        let at = self.order.iter().position(|key| running.get(key).copied().unwrap_or(0) < each)?;
        let key = self.order.remove(at)?;
        let line = self.lines.get_mut(&key)?;
        let sender = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&key);
        } else {
            self.order.push_back(key);
        }
        self.waiting -= 1;
        self.free -= 1;
        *self.running.entry(key).or_default() += 1;
        Some((key, sender))
    }
}

impl Drop for FairTurn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.lock();
            state.free += 1;
            if let Some(running) = state.running.get_mut(&self.key) {
                *running -= 1;
                if *running == 0 {
                    state.running.remove(&self.key);
                }
            }
        }
        self.turns.give();
    }
}

/// All reads that can run at once.
pub(crate) const READS: usize = FEED + LOOKUPS + OTHERS;
const FEED: usize = 1;
const LOOKUPS: usize = 2;
const OTHERS: usize = 3;
/// Of the others, for one queue key.
const OTHERS_EACH: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: limit-bulkheads
    #[tokio::test]
    async fn the_feed_and_look_ups_do_not_wait_for_other_reads() {
        let turns = ReadTurns::new();
        let mut held = Vec::new();
        for key in 0..OTHERS as u64 {
            held.push(turns.take(ReadClass::Other(key)).await.unwrap());
        }
        let other = turns.take(ReadClass::Other(9));
        tokio::pin!(other);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), &mut other).await.is_err());
        held.push(turns.take(ReadClass::Lookup).await.unwrap());
        held.push(turns.take(ReadClass::Lookup).await.unwrap());
        drop(turns.take(ReadClass::Feed).await.unwrap());
        held.clear();
        other.await.unwrap();
    }

    /// Promise: limit-bulkheads
    #[tokio::test]
    async fn queue_keys_take_turns_and_one_never_has_all() {
        let turns = FairTurns::new(3, 2);
        let take = |key| {
            let turns = turns.clone();
            tokio::spawn(async move { (key, turns.take(key).await.unwrap()) })
        };
        let many: Vec<_> = (0..100).map(|_| take(1)).collect();
        tokio::task::yield_now().await;
        assert_eq!(turns.lock().free, 1, "one is left for others");
        let (_, second) = take(2).await.unwrap();
        let third = take(3);
        tokio::task::yield_now().await;
        // The next turn is the other key's, though many of the first came before.
        drop(second);
        let (_, third) = third.await.unwrap();
        drop(third);
        // Those that no longer wait lose nothing for others.
        for one in &many {
            one.abort();
        }
        for one in many {
            let _ = one.await;
        }
        let state = turns.lock();
        assert_eq!((state.free, state.waiting, state.running.len(), state.order.len()), (3, 0, 0, 0));
    }
}
