//! The queue before a writer: bounded for each key, fair between keys.
//!
//! Owns waiting and turns. A lane is what must not slow others down, which is a key or a client; one key's storm fills its
//! own lane, and every other lane still gets each second turn. Knows nothing of what is queued.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use els_protocol::Sha256Hex;

/// Which lane: any number that tells one key from another. Two that collide share their turns, no more.
pub(crate) type Lane = u64;

/// Why nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The lane, or the whole queue, is full.
    Full,
    /// The queue was closed.
    Closed,
}

/// A queue with one line for each lane, served in turns.
pub(crate) struct FairQueue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    lane_limit: usize,
    limit: usize,
}

struct State<T> {
    lanes: HashMap<Lane, VecDeque<T>>,
    /// The lanes that are not empty, in the order of their turns.
    turns: VecDeque<Lane>,
    waiting: usize,
    closed: bool,
}

impl<T> FairQueue<T> {
    /// A queue that holds at most `lane_limit` items a lane and `limit` in all.
    pub(crate) fn new(lane_limit: usize, limit: usize) -> Self {
        let state = State { lanes: HashMap::new(), turns: VecDeque::new(), waiting: 0, closed: false };
        FairQueue { state: Mutex::new(state), ready: Condvar::new(), lane_limit, limit }
    }

    /// Puts an item at the end of its lane.
    pub(crate) fn push(&self, lane: Lane, item: T) -> Result<(), Rejected> {
        let mut state = self.lock();
        if state.closed {
            return Err(Rejected::Closed);
        }
        if state.waiting >= self.limit {
            return Err(Rejected::Full);
        }
        let state = &mut *state;
        match state.lanes.entry(lane) {
            Entry::Occupied(mut line) if line.get().len() < self.lane_limit => line.get_mut().push_back(item),
            Entry::Occupied(_) => return Err(Rejected::Full),
            Entry::Vacant(line) => {
                line.insert(VecDeque::from([item]));
                state.turns.push_back(lane);
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

    /// Takes nothing more. What is queued is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// The state is whole between any two of its lines that can panic, so that a poisoned lock says nothing.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn next(&mut self) -> Option<T> {
        let lane = self.turns.pop_front()?;
        let Entry::Occupied(mut line) = self.lanes.entry(lane) else { return None };
        let item = line.get_mut().pop_front();
        if line.get().is_empty() {
            line.remove();
        } else {
            self.turns.push_back(lane);
        }
        self.waiting -= 1;
        item
    }
}

/// The lane of a key. Hashes of keys are as good as random.
pub(super) fn lane(key_hash: &Sha256Hex) -> Lane {
    let [a, b, c, d, e, f, g, h, ..] = key_hash.0;
    Lane::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The lane of a client, for what no key is known of.
pub(super) fn lane_of_client(client: IpAddr) -> Lane {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(client)
}

/// The lane of what the gate decides.
pub(super) const LANE_OF_GATE: Lane = 0;
/// The lane of what is done as time goes by.
pub(super) const LANE_OF_UPKEEP: Lane = 1;
/// The lane of what the vendor types.
pub(super) const LANE_OF_VENDOR: Lane = 2;
/// Requests of one key that wait, at the most.
pub(super) const LANE_LIMIT: usize = 4096;
/// Requests that wait, at the most.
pub(super) const QUEUE_LIMIT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: limit-queues
    #[test]
    fn lanes_take_turns_however_long_one_of_them_is() {
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

    /// Promise: limit-queues
    #[test]
    fn a_full_lane_refuses_and_others_do_not() {
        let queue = FairQueue::new(2, 4);
        assert_eq!([queue.push(1, 0), queue.push(1, 0), queue.push(1, 0)], [Ok(()), Ok(()), Err(Rejected::Full)]);
        assert_eq!([queue.push(2, 0), queue.push(3, 0), queue.push(4, 0)], [Ok(()), Ok(()), Err(Rejected::Full)]);
        assert_eq!(queue.try_pop(), Some(0));
        assert_eq!(queue.push(4, 0), Ok(()));
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
