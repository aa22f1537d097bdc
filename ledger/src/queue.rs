//! The queue of a writer: bounded for each queue key, fair between queue keys.
//!
//! Owns waiting and turns. A queue key stands for what must not slow others down: a license key or a client. Queue keys take
//! turns: each that waits gets its turn before any gets a second one. So an item that is the next of its queue key waits for
//! at most one item of every other, however many items they have. Knows nothing of what is queued.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use els_protocol::Sha256Hex;

use crate::rows::client_group;
use crate::scope::Scope;

/// A number that tells one license key or client from another. Two that collide share their turns, no more.
pub(crate) type QueueKey = u64;

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The queue key has too many items, or the whole queue has.
    Full,
    /// The queue was closed.
    Closed,
}

/// A queue with one line for each queue key, served in turns.
pub(crate) struct FairQueue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    limit_each: usize,
    limit: usize,
}

struct State<T> {
    lines: HashMap<QueueKey, VecDeque<T>>,
    /// The queue keys that have items, in the order of their turns.
    turns: VecDeque<QueueKey>,
    waiting: usize,
    closed: bool,
}

impl<T> FairQueue<T> {
    /// A queue that holds at most `limit_each` items of one queue key and `limit` in all.
    pub(crate) fn new(limit_each: usize, limit: usize) -> Self {
        let state = State { lines: HashMap::new(), turns: VecDeque::new(), waiting: 0, closed: false };
        FairQueue { state: Mutex::new(state), ready: Condvar::new(), limit_each, limit }
    }

    /// Puts an item at the end of its line.
    pub(crate) fn push(&self, key: QueueKey, item: T) -> Result<(), Rejected> {
        let mut state = self.lock();
        if state.closed {
            return Err(Rejected::Closed);
        }
        if state.waiting >= self.limit {
            return Err(Rejected::Full);
        }
        let state = &mut *state;
        match state.lines.entry(key) {
            Entry::Occupied(mut line) if line.get().len() < self.limit_each => line.get_mut().push_back(item),
            Entry::Occupied(_) => return Err(Rejected::Full),
            Entry::Vacant(line) => {
                line.insert(VecDeque::from([item]));
                state.turns.push_back(key);
            }
        }
        state.waiting += 1;
        self.ready.notify_one();
        Ok(())
    }

    /// The next item, waiting for one; `None` when the queue was closed and is empty.
    pub(crate) fn pop_wait(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.next() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next item, waiting for one until `deadline`.
    pub(crate) fn pop_until(&self, deadline: Instant) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.next() {
                return Some(item);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next item, if there is one.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.lock().next()
    }

    /// Accepts nothing more. What is queued is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// No code that holds this lock can panic half-way through a change, so that a poisoned lock says nothing.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn next(&mut self) -> Option<T> {
        let key = self.turns.pop_front()?;
        let Entry::Occupied(mut line) = self.lines.entry(key) else { return None };
        let item = line.get_mut().pop_front();
        if line.get().is_empty() {
            line.remove();
        } else {
            self.turns.push_back(key);
        }
        self.waiting -= 1;
        item
    }
}

/// The queue key of a license key. Hashes of license keys are as good as random.
pub(super) fn queue_key(key_hash: &Sha256Hex) -> QueueKey {
    let [a, b, c, d, e, f, g, h, ..] = key_hash.0;
    QueueKey::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The queue key of a client, for requests whose license key is not known yet: those who ask for ids that were never seen delay
/// only their own network.
pub(super) fn queue_key_of_client(client: IpAddr) -> QueueKey {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(client_group(client))
}

/// The queue key of what is done within a scope.
pub(super) fn queue_key_of_scope(scope: &Scope) -> QueueKey {
    match scope {
        Scope::Vendor => QUEUE_KEY_OF_VENDOR,
        Scope::Key(hash) | Scope::Token(hash) => queue_key(hash),
    }
}

/// The queue key of what the gate decides.
pub(super) const QUEUE_KEY_OF_GATE: QueueKey = 0;
/// The queue key of upkeep.
pub(super) const QUEUE_KEY_OF_UPKEEP: QueueKey = 1;
/// The queue key of what the vendor does.
pub(super) const QUEUE_KEY_OF_VENDOR: QueueKey = 2;
/// The queue key of what machines ask about their own registrations.
pub(super) const QUEUE_KEY_OF_CREDENTIALS: QueueKey = 3;
/// The largest number of requests of one queue key that wait.
pub(super) const QUEUE_LIMIT_EACH: usize = 4096;
/// The largest number of requests that wait.
pub(super) const QUEUE_LIMIT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: limit-queues
    #[test]
    fn queue_keys_take_turns_however_many_items_one_of_them_has() {
        let queue = FairQueue::new(100, 100);
        for number in 0..50 {
            queue.push(1, (1, number)).unwrap();
        }
        queue.push(2, (2, 0)).unwrap();
        queue.push(3, (3, 0)).unwrap();
        queue.push(2, (2, 1)).unwrap();
        let first: Vec<(u64, i32)> = (0..6).filter_map(|_| queue.try_pop()).collect();
        assert_eq!(first, [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
    }

    proptest::proptest! {
        #[test]
        fn an_item_that_is_the_next_of_its_key_waits_for_at_most_one_item_of_every_other(
            steps in proptest::collection::vec(proptest::option::weighted(0.6, 0_u64..5), 1..300),
        ) {
            let queue = FairQueue::new(1000, 1000);
            let mut waiting = [0_u32; 5];
            // For each key whose next item waits: the items of each other key that were served meanwhile.
            let mut served = [[0_u32; 5]; 5];
            for step in steps {
                match step {
                    Some(key) => {
                        queue.push(key, key).unwrap();
                        waiting[key as usize] += 1;
                    }
                    None => {
                        let Some(key) = queue.try_pop() else { continue };
                        let key = key as usize;
                        waiting[key] -= 1;
                        served[key] = [0; 5];
                        for other in (0..5).filter(|other| *other != key && waiting[*other] != 0) {
                            served[other][key] += 1;
                            proptest::prop_assert!(served[other][key] <= 1, "{other} waited for two of {key}");
                        }
                    }
                }
                for key in (0..5).filter(|key| waiting[*key] == 0) {
                    served[key] = [0; 5];
                }
            }
        }
    }

    /// Promise: limit-queues
    #[test]
    fn a_full_queue_key_refuses_and_others_do_not() {
        let queue = FairQueue::new(2, 4);
        assert_eq!([queue.push(1, 0), queue.push(1, 0), queue.push(1, 0)], [Ok(()), Ok(()), Err(Rejected::Full)]);
        assert_eq!([queue.push(2, 0), queue.push(3, 0), queue.push(4, 0)], [Ok(()), Ok(()), Err(Rejected::Full)]);
        assert_eq!(queue.try_pop(), Some(0));
        assert_eq!(queue.push(4, 0), Ok(()));
    }

    /// Promise: limit-queues
    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let key = |address: &str| queue_key_of_client(address.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn what_was_taken_is_handed_out_after_closing() {
        let queue = FairQueue::new(2, 4);
        queue.push(1, 7).unwrap();
        queue.close();
        assert_eq!(queue.push(1, 8), Err(Rejected::Closed));
        assert_eq!((queue.pop_wait(), queue.pop_wait()), (Some(7), None));
    }
}
