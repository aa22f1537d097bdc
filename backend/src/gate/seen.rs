//! When credentials were last used: collected in memory, written in batches.
//!
//! Owns the uses that wait to be written. No request waits for them, and a lost one only makes the time of last use
//! inexact. So the memory is bounded: it does not grow while the database is away.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use els_protocol::{RegistrationId, Timestamp};

use els_ledger::{Store, StoreError};

/// Uses that wait to be written.
#[derive(Default)]
pub(super) struct Seen {
    waiting: Mutex<HashMap<RegistrationId, Timestamp>>,
}

impl Seen {
    /// Notes a use.
    pub(super) fn note(&self, id: RegistrationId, now: Timestamp) {
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MOST || waiting.contains_key(&id) {
            waiting.insert(id, now);
        }
    }

    /// Writes the waiting uses. Those that could not be written keep waiting.
    pub(super) async fn write(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut batch: Vec<_> = std::mem::take(&mut *self.waiting()).into_iter().collect();
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(BATCH));
            if let Err(error) = store.seen(batch.clone()).await {
                self.put_back(batch.into_iter().chain(rest));
                return Err(error);
            }
            batch = rest;
        }
        Ok(())
    }

    fn put_back(&self, uses: impl Iterator<Item = (RegistrationId, Timestamp)>) {
        let mut waiting = self.waiting();
        for (id, time) in uses {
            let room = waiting.len() < WAITING_MOST;
            match waiting.entry(id) {
                Entry::Occupied(mut newer) => *newer.get_mut() = time.max(*newer.get()),
                Entry::Vacant(free) if room => drop(free.insert(time)),
                Entry::Vacant(_) => {}
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<RegistrationId, Timestamp>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Uses in one transaction: others wait for the same writer.
const BATCH: usize = 1000;
const WAITING_MOST: usize = 1_000_000;
