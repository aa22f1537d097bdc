//! Turns to use a connection: what the gate needs never waits for other requests.
//!
//! Owns how many reads of each kind run at once, and the order of those that customers cause: fair between queue keys, few at
//! a time for one, and last those of keys that are not in force. It must not know a database: both take their turns here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::StoreError;
use crate::queue::{QUEUE_LIMIT, QUEUE_LIMIT_EACH, QueueKey};

/// The turns of one store.
pub(crate) struct ReadTurns {
    feed: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    upkeep: Arc<Semaphore>,
    vendor: Arc<Semaphore>,
    customers: Arc<FairTurns>,
}

/// What a read is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadClass {
    /// The feed of changes: revocation depends on it.
    Feed,
    /// A credential that a gate does not remember.
    Lookup,
    /// Upkeep, and whether the database is there.
    Upkeep,
    /// What the vendor asks.
    Vendor,
    /// What a customer asks, for this queue key.
    Customer(QueueKey),
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
        ReadTurns {
            feed: reserved(FEED),
            lookups: reserved(LOOKUPS),
            upkeep: reserved(UPKEEP),
            vendor: reserved(VENDOR),
            customers: FairTurns::new(CUSTOMERS, CUSTOMERS_EACH),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self, class: ReadClass) -> Result<ReadTurn, StoreError> {
        let semaphore = match class {
            ReadClass::Feed => &self.feed,
            ReadClass::Lookup => &self.lookups,
            ReadClass::Upkeep => &self.upkeep,
            ReadClass::Vendor => &self.vendor,
            ReadClass::Customer(key) => {
                let turn = self.customers.take(key).await.ok_or(StoreError::Busy)?;
                return Ok(ReadTurn::Fair { _turn: turn });
            }
        };
        match semaphore.clone().acquire_owned().await {
            Ok(permit) => Ok(ReadTurn::Reserved { _permit: permit }),
            Err(_) => Err(StoreError::Unavailable("the store is closing".into())),
        }
    }

    /// Notes whether a queue key is in force: the reads of one that is not get the turns that nobody else wants.
    pub(crate) fn note(&self, key: QueueKey, in_force: bool) {
        let mut state = self.customers.lock();
        if in_force {
            state.last.remove(&key);
        } else if state.last.len() < LAST_KNOWN || state.last.contains(&key) {
            state.last.insert(key);
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
    last: bool,
}

struct State {
    free: usize,
    running: HashMap<QueueKey, usize>,
    lines: HashMap<QueueKey, VecDeque<oneshot::Sender<FairTurn>>>,
    /// The queue keys that wait, in the order of their turns.
    order: VecDeque<QueueKey>,
    /// Those that wait until no queue key of `order` does.
    order_last: VecDeque<QueueKey>,
    /// The queue keys that belong into `order_last`.
    last: HashSet<QueueKey>,
    running_last: usize,
    waiting: usize,
}

impl FairTurns {
    fn new(all: usize, each: usize) -> Arc<Self> {
        let state = State {
            free: all,
            running: HashMap::new(),
            lines: HashMap::new(),
            order: VecDeque::new(),
            order_last: VecDeque::new(),
            last: HashSet::new(),
            running_last: 0,
            waiting: 0,
        };
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
                state.wait(key);
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
            let Some(Next { key, last, sender }) = next else { return };
            // If nobody waits for it any more, the turn is dropped here, and is free for the next one.
            let _ = sender.send(FairTurn { turns: self.clone(), key, last });
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

/// Who gets the next turn.
struct Next {
    key: QueueKey,
    last: bool,
    sender: oneshot::Sender<FairTurn>,
}

impl State {
    /// Puts a queue key at the end of the order that it belongs into.
    fn wait(&mut self, key: QueueKey) {
        match self.last.contains(&key) {
            true => self.order_last.push_back(key),
            false => self.order.push_back(key),
        }
    }

    /// Takes a free turn for the next queue key that does not have `each` already.
    fn next(&mut self, each: usize) -> Option<Next> {
        if self.free == 0 {
            return None;
        }
        let running = &self.running;
        let has_room = |key: &QueueKey| running.get(key).copied().unwrap_or(0) < each;
        let (key, last) = match self.order.iter().position(has_room) {
            Some(at) => (self.order.remove(at)?, false),
            None if self.running_last == 0 => (self.order_last.pop_front()?, true),
            None => return None,
        };
        let line = self.lines.get_mut(&key)?;
        let sender = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&key);
        } else {
            self.wait(key);
        }
        self.waiting -= 1;
        self.free -= 1;
        self.running_last += usize::from(last);
        *self.running.entry(key).or_default() += 1;
        Some(Next { key, last, sender })
    }
}

impl Drop for FairTurn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.lock();
            state.free += 1;
            state.running_last -= usize::from(self.last);
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
pub(crate) const READS: usize = FEED + LOOKUPS + UPKEEP + VENDOR + CUSTOMERS;
const FEED: usize = 1;
const LOOKUPS: usize = 2;
const UPKEEP: usize = 1;
const VENDOR: usize = 2;
const CUSTOMERS: usize = 3;
/// Of the customers' turns, for one queue key. Those that are not in force have one turn together.
const CUSTOMERS_EACH: usize = 2;
/// Queue keys that are known not to be in force. What is not remembered takes an ordinary turn.
const LAST_KNOWN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: limit-bulkheads
    #[tokio::test]
    async fn the_feed_and_look_ups_do_not_wait_for_other_reads() {
        let turns = ReadTurns::new();
        let mut held = Vec::new();
        for key in 0..CUSTOMERS as u64 {
            held.push(turns.take(ReadClass::Customer(key)).await.unwrap());
        }
        let other = turns.take(ReadClass::Customer(9));
        tokio::pin!(other);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), &mut other).await.is_err());
        for _ in 0..VENDOR {
            held.push(turns.take(ReadClass::Vendor).await.unwrap());
        }
        for _ in 0..LOOKUPS {
            held.push(turns.take(ReadClass::Lookup).await.unwrap());
        }
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

    /// Promise: limit-bulkheads
    #[tokio::test]
    async fn a_key_that_is_not_in_force_waits_until_no_other_does() {
        let turns = ReadTurns::new();
        turns.note(7, false);
        let first = turns.take(ReadClass::Customer(7)).await.unwrap();
        let take = |key| {
            let turns = turns.customers.clone();
            tokio::spawn(async move { turns.take(key).await.unwrap() })
        };
        let revoked = take(7);
        tokio::task::yield_now().await;
        assert_eq!(turns.customers.lock().waiting, 1, "one turn for all that are not in force");
        let held = [take(1).await.unwrap(), take(2).await.unwrap()];
        let (third, fourth) = (take(3), take(4));
        tokio::task::yield_now().await;
        drop(first);
        let third = third.await.unwrap();
        assert!(!revoked.is_finished());
        drop(third);
        let fourth = fourth.await.unwrap();
        assert!(!revoked.is_finished());
        drop(fourth);
        drop(revoked.await.unwrap());
        drop(held);
        turns.note(7, true);
        let state = turns.customers.lock();
        assert_eq!((state.free, state.running_last, state.last.len()), (CUSTOMERS, 0, 0));
    }
}
