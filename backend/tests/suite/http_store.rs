//! A store for tests around a real one: it counts the gate's look-ups, and can be unreachable, slow or failing.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use els_ledger::rules::{Judged, KeyState, RegisterCommand};
use els_ledger::*;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};

pub(crate) struct Watched {
    inner: SqliteStore,
    cut_off: AtomicBool,
    lookups: AtomicU64,
    delay: Mutex<Duration>,
    trouble: Mutex<Option<Trouble>>,
}

/// How a registration fails that a test disturbs.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// Too many requests of one key wait.
    Busy,
    /// A fault, in words that are nobody's business.
    Fault,
    /// A fault in the code itself.
    Panic,
}

impl Watched {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Watched {
            inner,
            cut_off: AtomicBool::new(false),
            lookups: AtomicU64::new(0),
            delay: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// From now on (not), nothing reaches the database.
    pub(crate) fn cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::SeqCst);
    }

    /// Every registration takes so long before it begins.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    /// Every registration fails in this way from now on; a panic also meets the gate.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = Some(trouble);
    }

    /// How often the gate asked for a credential.
    pub(crate) fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::SeqCst)
    }

    fn reached(&self) -> Result<&SqliteStore, StoreError> {
        match self.cut_off.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("cut off by the test".into())),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl Store for Watched {
    async fn register(&self, now: Timestamp, command: RegisterCommand) -> Result<Judged<Registered>, StoreError> {
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let trouble = *self.trouble.lock().unwrap();
        match trouble {
            None => {}
            Some(Trouble::Busy) => return Err(StoreError::Busy),
            Some(Trouble::Fault) => return Err(StoreError::Internal("table secrets: row 7".into())),
            Some(Trouble::Panic) => panic!("on purpose, at row 7"),
        }
        self.reached()?.register(now, command).await
    }

    async fn registration(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError> {
        self.reached()?.registration(now, id, token_hash).await
    }

    async fn delete(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<Deleted>, StoreError> {
        self.reached()?.delete(now, id, token_hash, client).await
    }

    async fn seats(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError> {
        self.reached()?.seats(now, key_hash, after, limit).await
    }

    async fn release(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        id: RegistrationId,
    ) -> Result<Judged<Deleted>, StoreError> {
        self.reached()?.release(now, key_hash, id).await
    }

    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if let Some(Trouble::Panic) = *self.trouble.lock().unwrap() {
            panic!("on purpose, at row 7");
        }
        self.reached()?.credential(id).await
    }

    async fn key_standing(&self, key: KeyNumber) -> Result<Option<KeyStanding>, StoreError> {
        self.reached()?.key_standing(key).await
    }

    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError> {
        self.reached()?.feed(after, limit).await
    }

    async fn feed_end(&self) -> Result<Cursor, StoreError> {
        self.reached()?.feed_end().await
    }

    fn feed_hint(&self) -> tokio::sync::watch::Receiver<u64> {
        // Polling alone, as on a node that did not make the change itself.
        tokio::sync::watch::channel(0).1
    }

    async fn superseded_used(&self, now: Timestamp, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.reached()?.superseded_used(now, id).await
    }

    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        self.reached()?.seen(batch).await
    }

    async fn housekeeping(&self, now: Timestamp) -> Result<Housekeeping, StoreError> {
        self.reached()?.housekeeping(now).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.reached()?.health().await
    }

    async fn create_key(&self, now: Timestamp, key: NewKey, key_hash: Sha256Hex) -> Result<Created, StoreError> {
        self.inner.create_key(now, key, key_hash).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.inner.key(id).await
    }

    async fn keys(&self, after: Option<KeyNumber>, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.keys(after, limit).await
    }

    async fn update_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<Option<Result<KeyRecord, ContractTaken>>, StoreError> {
        self.inner.update_key(now, id, change).await
    }

    async fn set_key_state(
        &self,
        now: Timestamp,
        id: &KeyId,
        state: KeyState,
    ) -> Result<Option<Judged<KeyRecord>>, StoreError> {
        self.inner.set_key_state(now, id, state).await
    }

    async fn rotate_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Option<Rotation>, StoreError> {
        self.inner.rotate_key(now, id, key_hash, old_until).await
    }

    async fn holders(
        &self,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        self.inner.holders(key, after, limit).await
    }

    async fn release_seat(&self, now: Timestamp, id: RegistrationId) -> Result<Option<Deleted>, StoreError> {
        self.inner.release_seat(now, id).await
    }

    async fn find(&self, text: &str, limit: u32) -> Result<Found, StoreError> {
        self.inner.find(text, limit).await
    }

    async fn events(&self, filter: EventFilter, after: Cursor, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.inner.events(filter, after, limit).await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.inner.check().await
    }
}
