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
impl SeatStore for Watched {
    async fn register(
        &self,
        now: Timestamp,
        by: By,
        command: RegisterCommand,
    ) -> Result<Judged<Registered>, StoreError> {
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let trouble = *self.trouble.lock().unwrap();
        match trouble {
            None => {}
            Some(Trouble::Busy) => return Err(StoreError::Busy),
            Some(Trouble::Fault) => return Err(StoreError::Internal("table secrets: row 7".into())),
            Some(Trouble::Panic) => panic!("on purpose, at row 7"),
        }
        self.reached()?.register(now, by, command).await
    }

    async fn registration(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError> {
        self.reached()?.registration(now, by, id, token_hash).await
    }

    async fn unregister(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<ReleaseOutcome>, StoreError> {
        self.reached()?.unregister(now, by, id, token_hash, client).await
    }

    async fn seat_page(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError> {
        self.reached()?.seat_page(now, key_hash, after, limit).await
    }

    async fn release_seat(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: RegistrationId,
    ) -> Result<Judged<ReleaseOutcome>, StoreError> {
        self.reached()?.release_seat(now, scope, by, id).await
    }
}

#[async_trait]
impl GateFeed for Watched {
    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if let Some(Trouble::Panic) = *self.trouble.lock().unwrap() {
            panic!("on purpose, at row 7");
        }
        self.reached()?.credential(id).await
    }

    async fn gate_key(&self, key: KeyNumber) -> Result<Option<GateKey>, StoreError> {
        self.reached()?.gate_key(key).await
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

    async fn superseded_used(&self, now: Timestamp, by: By, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.reached()?.superseded_used(now, by, id).await
    }

    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        self.reached()?.seen(batch).await
    }
}

#[async_trait]
impl Administration for Watched {
    async fn create_key(
        &self,
        now: Timestamp,
        by: By,
        key: NewKey,
        key_hash: Sha256Hex,
    ) -> Result<Created, StoreError> {
        self.inner.create_key(now, by, key, key_hash).await
    }

    async fn key(&self, now: Timestamp, scope: Scope, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.inner.key(now, scope, id).await
    }

    async fn keys(
        &self,
        now: Timestamp,
        scope: Scope,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.inner.keys(now, scope, after, limit).await
    }

    async fn update_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<KeyUpdate, StoreError> {
        self.inner.update_key(now, scope, by, id, change).await
    }

    async fn set_key_state(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        state: KeyState,
    ) -> Result<StateChange, StoreError> {
        self.inner.set_key_state(now, scope, by, id, state).await
    }

    async fn rotate_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Rotation, StoreError> {
        self.inner.rotate_key(now, scope, by, id, key_hash, old_until).await
    }

    async fn holders(
        &self,
        now: Timestamp,
        scope: Scope,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        self.inner.holders(now, scope, key, after, limit).await
    }

    async fn find(&self, now: Timestamp, scope: Scope, text: &str, limit: u32) -> Result<Found, StoreError> {
        self.inner.find(now, scope, text, limit).await
    }

    async fn events(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: EventFilter,
        after: Cursor,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.inner.events(now, scope, filter, after, limit).await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.inner.check().await
    }
}

#[async_trait]
impl Tokens for Watched {
    async fn create_token(&self, token: NewToken) -> Result<(), StoreError> {
        self.inner.create_token(token).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.inner.tokens().await
    }

    async fn revoke_token(&self, now: Timestamp, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.revoke_token(now, id).await
    }

    async fn token(&self, hash: Sha256Hex) -> Result<Option<TokenRecord>, StoreError> {
        self.reached()?.token(hash).await
    }

    async fn tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        self.reached()?.tokens_used(uses).await
    }
}

#[async_trait]
impl Systems for Watched {
    async fn keys_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: KeyFilter,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.reached()?.keys_matching(now, scope, filter, after, limit).await
    }

    async fn seats_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: SeatFilter,
        after: Option<SeatPlace>,
        limit: u32,
    ) -> Result<Vec<(SeatPlace, Holder)>, StoreError> {
        self.reached()?.seats_matching(now, scope, filter, after, limit).await
    }

    async fn registration_record(
        &self,
        now: Timestamp,
        scope: Scope,
        id: RegistrationId,
    ) -> Result<Option<Holder>, StoreError> {
        self.reached()?.registration_record(now, scope, id).await
    }

    async fn feed_place(&self, seq: Option<u64>) -> Result<Option<FeedPlace>, StoreError> {
        self.reached()?.feed_place(seq).await
    }

    async fn feed_page(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: FeedFilter,
        after: FeedPlace,
        limit: u32,
    ) -> Result<Option<FeedPage>, StoreError> {
        self.reached()?.feed_page(now, scope, filter, after, limit).await
    }

    async fn carry_out(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        change: SystemChange,
        dry_run: bool,
        once: Option<Once>,
    ) -> Result<Carried, StoreError> {
        self.reached()?.carry_out(now, scope, by, change, dry_run, once).await
    }
}

#[async_trait]
impl Upkeep for Watched {
    async fn take_lease(&self, job: &str, holder: &str, seconds: u32) -> Result<bool, StoreError> {
        self.reached()?.take_lease(job, holder, seconds).await
    }

    async fn gate_is_up(&self, now: Timestamp) -> Result<(), StoreError> {
        self.reached()?.gate_is_up(now).await
    }

    async fn release_unseen(&self, now: Timestamp, by: By) -> Result<u64, StoreError> {
        self.reached()?.release_unseen(now, by).await
    }

    async fn release_superseded(&self, now: Timestamp, by: By) -> Result<u64, StoreError> {
        self.reached()?.release_superseded(now, by).await
    }

    async fn erase_ids(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.reached()?.erase_ids(now).await
    }

    async fn forget_early_releases(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.reached()?.forget_early_releases(now).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.reached()?.health().await
    }
}
