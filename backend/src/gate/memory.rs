//! The gate's memory of credentials and keys: it saves a look-up for each request.
//!
//! Owns the memory, its bounds, and the rule what may be kept. It must not know HTTP or the database: the gate brings
//! look-ups, and `follow` brings changes.
//!
//! The rule against stale entries: a look-up has the cursor at which it was read. `follow` first raises `applied`, then
//! forgets what the feed names. `remember` compares with `applied` while it holds the lock under which it inserts. So a
//! look-up that is older than a change is either not kept, or forgotten immediately after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};

use crate::products::Product;
use els_ledger::rules::KeyTerms;
use els_ledger::{CredentialState, Cursor, KeyNumber, Lookup};

pub(super) struct Memory {
    shards: Vec<RwLock<Shard>>,
    shard_most: usize,
    keys: RwLock<HashMap<KeyNumber, Arc<KeyCell>>>,
    applied: AtomicU64,
}

/// One credential.
pub(super) struct Entry {
    pub(super) token_hash: Sha256Hex,
    pub(super) state: CredentialState,
    /// The cursor at which this was read.
    as_of: Cursor,
    key: Arc<KeyCell>,
    /// Unix time of the last use that was noted; 0 for none.
    seen: AtomicU32,
}

/// What the gate needs to know of a key.
#[derive(Clone)]
pub(super) struct KeyFacts {
    /// The cursor at which this was read.
    pub(super) as_of: Cursor,
    pub(super) terms: KeyTerms,
    /// `None` if the product is not in the product file any more.
    pub(super) product: Option<Arc<Product>>,
}

/// One key, shared by all its credentials: suspending a key with a million machines is one write.
struct KeyCell(RwLock<KeyFacts>);

/// Two generations. When the recent one is full, it becomes the older one, and the older one is dropped. A credential that is
/// used again moves to the recent one. So memory is bounded, and the credentials that were unused longest go first.
#[derive(Default)]
struct Shard {
    recent: HashMap<RegistrationId, Entry>,
    older: HashMap<RegistrationId, Entry>,
}

impl Memory {
    /// An empty memory at this cursor, for about `most` credentials and always fewer than twice as many.
    pub(super) fn new(applied: Cursor, most: usize) -> Self {
        Memory {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            shard_most: (most / SHARDS).max(1),
            keys: RwLock::default(),
            applied: AtomicU64::new(applied.0),
        }
    }

    /// Calls `look` with a credential, if it is remembered. `look` runs under a lock: it must be short and must not block.
    pub(super) fn recall<R>(&self, id: &RegistrationId, look: impl FnOnce(&Entry, &KeyFacts) -> R) -> Option<R> {
        let shard = read(self.shard(id));
        if let Some(entry) = shard.recent.get(id) {
            return Some(look(entry, &read(&entry.key.0)));
        }
        if !shard.older.contains_key(id) {
            return None;
        }
        drop(shard);
        let mut shard = write(self.shard(id));
        if let Some(entry) = shard.older.remove(id) {
            shard.insert(*id, entry, self.shard_most);
        }
        let entry = shard.recent.get(id)?;
        Some(look(entry, &read(&entry.key.0)))
    }

    /// Keeps a look-up, unless a later change has been applied; returns whether it was kept.
    pub(super) fn remember(&self, id: RegistrationId, lookup: &Lookup, facts: KeyFacts) -> bool {
        let Some((credential, found)) = &lookup.found else { return false };
        let key = self.key_cell(found.number, facts);
        let mut shard = write(self.shard(&id));
        if lookup.as_of < self.applied() {
            return false;
        }
        let seen = AtomicU32::new(shard.get(&id).map_or(0, |entry| entry.seen.load(Ordering::Relaxed)));
        let as_of = lookup.as_of;
        let entry = Entry { token_hash: credential.token_hash, state: credential.state, as_of, key, seen };
        shard.older.remove(&id);
        shard.insert(id, entry, self.shard_most);
        true
    }

    /// The cursor up to which the feed has been applied.
    pub(super) fn applied(&self) -> Cursor {
        Cursor(self.applied.load(Ordering::SeqCst))
    }

    /// From now on, no look-up that was read before this cursor is kept. To be called before [`Memory::forget`].
    pub(super) fn apply_up_to(&self, up_to: Cursor) {
        self.applied.fetch_max(up_to.0, Ordering::SeqCst);
    }

    /// Forgets a credential that changed at this cursor, unless it was read since. The first request of a new machine often
    /// comes before the feed names it: it is not looked up twice.
    pub(super) fn forget(&self, id: &RegistrationId, changed: Cursor) {
        if read(self.shard(id)).get(id).is_none_or(|entry| entry.as_of >= changed) {
            return;
        }
        let mut shard = write(self.shard(id));
        // It may have been read again between the two locks: forgetting it costs one look-up.
        shard.recent.remove(id);
        shard.older.remove(id);
    }

    /// Whether any credential of this key is remembered.
    pub(super) fn knows_key(&self, key: KeyNumber) -> bool {
        read(&self.keys).contains_key(&key)
    }

    /// From now on, all credentials of this key are evaluated with `facts`.
    pub(super) fn update_key(&self, key: KeyNumber, facts: KeyFacts) {
        if let Some(cell) = read(&self.keys).get(&key) {
            cell.update(facts);
        }
    }

    /// Forgets everything: the feed does not continue at the cursor of this memory.
    pub(super) fn clear(&self, applied: Cursor) {
        // Only here the cursor may go back: the database may be older than before (a backup was restored).
        self.applied.store(applied.0, Ordering::SeqCst);
        for shard in &self.shards {
            *write(shard) = Shard::default();
        }
        write(&self.keys).clear();
    }

    /// Forgets keys that have no credential in memory.
    pub(super) fn sweep_keys(&self) {
        write(&self.keys).retain(|_, cell| Arc::strong_count(cell) > 1);
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard)).map(|shard| shard.recent.len() + shard.older.len()).sum()
    }

    fn key_cell(&self, number: KeyNumber, facts: KeyFacts) -> Arc<KeyCell> {
        if let Some(cell) = read(&self.keys).get(&number) {
            cell.update(facts);
            return cell.clone();
        }
        let mut keys = write(&self.keys);
        let cell = keys.entry(number).or_insert_with(|| Arc::new(KeyCell(RwLock::new(facts.clone())))).clone();
        cell.update(facts);
        cell
    }

    fn shard(&self, id: &RegistrationId) -> &RwLock<Shard> {
        &self.shards[usize::from(id.as_bytes()[15]) % SHARDS]
    }
}

impl Entry {
    /// Notes a use, the first one and then one a minute; returns whether it was noted.
    pub(super) fn note_use(&self, now: Timestamp) -> bool {
        let now = u32::try_from(now.unix()).unwrap_or(u32::MAX);
        let seen = self.seen.load(Ordering::Relaxed);
        now.saturating_sub(seen) >= SEEN_EVERY
            && self.seen.compare_exchange(seen, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl KeyCell {
    fn update(&self, facts: KeyFacts) {
        if read(&self.0).as_of >= facts.as_of {
            return;
        }
        let mut kept = write(&self.0);
        if facts.as_of > kept.as_of {
            *kept = facts;
        }
    }
}

impl Shard {
    fn get(&self, id: &RegistrationId) -> Option<&Entry> {
        self.recent.get(id).or_else(|| self.older.get(id))
    }

    fn insert(&mut self, id: RegistrationId, entry: Entry, most: usize) {
        if self.recent.len() >= most && !self.recent.contains_key(&id) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, entry);
    }
}

// A panic under these locks leaves no incomplete entry: each change is one insertion or removal.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 64;
/// Seconds between two uses of one credential that are written to the database.
const SEEN_EVERY: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use els_ledger::rules::KeyState;
    use els_ledger::{Credential, GateKey};

    fn id(number: u32) -> RegistrationId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes[15] = number as u8;
        RegistrationId::from_random(bytes)
    }

    fn facts(as_of: u64, state: KeyState) -> KeyFacts {
        let terms = KeyTerms { state, starts: None, expires: Timestamp::MAX, grace_seconds: 0 };
        KeyFacts { as_of: Cursor(as_of), terms, product: None }
    }

    fn lookup(as_of: u64, state: CredentialState) -> Lookup {
        let credential = Credential { token_hash: Sha256Hex([1; 32]), key: KeyNumber(1), state };
        let key = GateKey {
            number: KeyNumber(1),
            id: els_ledger::KeyId::parse("k-0000000000").unwrap(),
            product: "p".into(),
            state: KeyState::Active,
            starts: None,
            expires: Timestamp::MAX,
        };
        Lookup { as_of: Cursor(as_of), found: Some((credential, key)) }
    }

    fn key_state(memory: &Memory, id: &RegistrationId) -> Option<KeyState> {
        memory.recall(id, |_, key| key.terms.state)
    }

    /// Promise: gate-overtaken
    #[test]
    fn a_lookup_that_is_older_than_a_change_is_not_kept() {
        let memory = Memory::new(Cursor(10), 1000);
        assert!(memory.remember(id(1), &lookup(10, CredentialState::Active), facts(10, KeyState::Active)));
        memory.apply_up_to(Cursor(12));
        memory.forget(&id(1), Cursor(12));
        assert!(!memory.remember(id(1), &lookup(11, CredentialState::Active), facts(11, KeyState::Active)));
        assert!(key_state(&memory, &id(1)).is_none());
        assert!(memory.remember(id(1), &lookup(12, CredentialState::Released), facts(12, KeyState::Active)));
    }

    #[test]
    fn a_credential_that_was_read_after_a_change_is_not_forgotten() {
        let memory = Memory::new(Cursor(10), 1000);
        memory.remember(id(1), &lookup(12, CredentialState::Active), facts(12, KeyState::Active));
        memory.apply_up_to(Cursor(12));
        memory.forget(&id(1), Cursor(11));
        memory.forget(&id(1), Cursor(12));
        assert!(key_state(&memory, &id(1)).is_some());
        memory.apply_up_to(Cursor(13));
        memory.forget(&id(1), Cursor(13));
        assert!(key_state(&memory, &id(1)).is_none());
    }

    /// Promise: gate-overtaken
    #[test]
    fn the_newest_facts_of_a_key_count_in_any_order() {
        let memory = Memory::new(Cursor(10), 1000);
        memory.remember(id(1), &lookup(10, CredentialState::Active), facts(10, KeyState::Active));
        memory.apply_up_to(Cursor(12));
        memory.update_key(KeyNumber(1), facts(12, KeyState::Suspended));
        memory.remember(id(2), &lookup(11, CredentialState::Active), facts(11, KeyState::Active));
        assert_eq!(key_state(&memory, &id(1)), Some(KeyState::Suspended));
        memory.update_key(KeyNumber(1), facts(13, KeyState::Active));
        assert_eq!(key_state(&memory, &id(1)), Some(KeyState::Active));
    }

    #[test]
    fn memory_is_bounded_and_a_used_credential_stays() {
        let memory = Memory::new(Cursor(0), 64 * 10);
        for number in 0..20_000 {
            memory.remember(id(number), &lookup(0, CredentialState::Active), facts(0, KeyState::Active));
            assert!(key_state(&memory, &id(0)).is_some(), "used all the time, forgotten at {number}");
        }
        assert!(memory.len() <= 2 * 64 * 10, "{}", memory.len());
        memory.clear(Cursor(0));
        assert_eq!(memory.len(), 0);
        assert!(!memory.knows_key(KeyNumber(1)));
    }

    #[test]
    fn keys_without_credentials_are_swept() {
        let memory = Memory::new(Cursor(0), 1000);
        memory.remember(id(1), &lookup(0, CredentialState::Active), facts(0, KeyState::Active));
        memory.sweep_keys();
        assert!(memory.knows_key(KeyNumber(1)));
        memory.forget(&id(1), Cursor(1));
        memory.sweep_keys();
        assert!(!memory.knows_key(KeyNumber(1)));
    }

    /// Promise: gate-last-seen
    #[test]
    fn one_use_a_minute_is_noted() {
        let memory = Memory::new(Cursor(0), 1000);
        memory.remember(id(1), &lookup(0, CredentialState::Active), facts(0, KeyState::Active));
        let now = Timestamp::from_unix(1_800_000_000);
        let noted = |now| memory.recall(&id(1), |entry, _| entry.note_use(now)).unwrap();
        assert!(noted(now));
        assert!(!noted(now));
        assert!(!noted(now.plus_seconds(59)));
        assert!(noted(now.plus_seconds(60)));
        // Looked up again after a change: it is still the same machine.
        memory.remember(id(1), &lookup(0, CredentialState::Active), facts(0, KeyState::Active));
        assert!(!noted(now.plus_seconds(61)));
    }
}
