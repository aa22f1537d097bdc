//! What the vendor's own systems ask: filtered lists, the feed of events, and changes that are carried out once.
//!
//! Owns the shapes of these calls, and what a change means, once for every database. Pure: no SQL, no clock. It must not know
//! HTTP, or how an answer is sealed.

#![expect(missing_docs, reason = "the names of fields say it")]

use std::sync::Arc;

use async_trait::async_trait;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp, hex, sha256};

use crate::by::By;
use crate::change::{Change, Decided};
use crate::keys;
use crate::outcome::{Created, KeyUpdate, ReleaseOutcome, Rotation, StateChange};
use crate::rows::RegistrationRow;
use crate::rules::KeyState;
use crate::scope::Scope;
use crate::tokens::TokenId;
use crate::{Event, Holder, KeyChange, KeyId, KeyNumber, KeyRecord, NewKey, StoreError, seats};

/// What the vendor's own systems ask. Each call reaches only what is in its scope: what is not, is not found.
#[async_trait]
pub trait Systems: Send + Sync {
    /// The keys that fit, in the order in which they were made: at most `limit`, after the one with number `after`.
    async fn keys_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: KeyFilter,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError>;

    /// The active and superseded registrations that fit, in the order of key and id: at most `limit` after `after`.
    async fn seats_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: SeatFilter,
        after: Option<SeatPlace>,
        limit: u32,
    ) -> Result<Vec<(SeatPlace, Holder)>, StoreError>;

    /// One registration, also one that was released.
    async fn registration_record(
        &self,
        now: Timestamp,
        scope: Scope,
        id: RegistrationId,
    ) -> Result<Option<Holder>, StoreError>;

    /// The place of the event with this number, or of the last event; `None` if there is no event with this number.
    async fn feed_place(&self, seq: Option<u64>) -> Result<Option<FeedPlace>, StoreError>;

    /// The events after a place, oldest first: at most `limit`. `None` if the place is not one of this database: the database
    /// was restored, and its numbers are given a second time.
    async fn feed_page(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: FeedFilter,
        after: FeedPlace,
        limit: u32,
    ) -> Result<Option<FeedPage>, StoreError>;

    /// Carries a change out, together with the answer that `once` keeps. With `dry_run` the outcome is that of the change, and
    /// nothing is written.
    async fn carry_out(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        change: SystemChange,
        dry_run: bool,
        once: Option<Once>,
    ) -> Result<Carried, StoreError>;
}

/// Which keys; what is absent limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    pub contract: Option<String>,
    pub reseller: Option<String>,
    pub product: Option<String>,
    pub state: Option<KeyState>,
    pub expires_before: Option<Timestamp>,
    pub expires_after: Option<Timestamp>,
    /// At least this many percent of the seats are used.
    pub used_from: Option<u32>,
    /// A whole key id, or part of a contract or reseller.
    pub text: Option<String>,
}

/// Which registrations; what is absent limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeatFilter {
    pub key: Option<KeyId>,
    /// Part of the label.
    pub label: Option<String>,
    pub not_seen_since: Option<Timestamp>,
    pub os: Option<String>,
    pub arch: Option<String>,
}

/// A place in the list of registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatPlace {
    pub key: KeyNumber,
    pub registration: RegistrationId,
}

/// Which events; what is absent limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedFilter {
    pub key: Option<KeyId>,
    pub registration: Option<RegistrationId>,
    pub kinds: Option<Vec<String>>,
    pub since: Option<Timestamp>,
}

/// A place in the feed that is told from one with the same number in a restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPlace {
    /// The number of the last event before this place; 0 at the beginning.
    pub seq: u64,
    /// A part of a hash over what is never erased of that event.
    pub mark: [u8; 8],
}

impl FeedPlace {
    pub const BEGINNING: FeedPlace = FeedPlace { seq: 0, mark: [0; 8] };

    /// The place after an event.
    pub fn after(event: &Event) -> Self {
        let id = |id: &Option<RegistrationId>| id.map(|id| id.to_string()).unwrap_or_default();
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}",
            event.cursor.0,
            event.at.unix(),
            event.event,
            event.key_id,
            id(&event.registration),
            id(&event.other),
            event.detail.as_deref().unwrap_or_default()
        );
        let mut mark = [0; 8];
        mark.copy_from_slice(&sha256(text.as_bytes())[..8]);
        FeedPlace { seq: event.cursor.0, mark }
    }
}

/// A part of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    pub events: Vec<Event>,
    /// Where the next page begins.
    pub next: FeedPlace,
    /// Whether more events are there already.
    pub more: bool,
}

impl FeedPage {
    /// The page of `events`, out of at most `limit`; `end` is the end of the feed at that moment.
    pub(crate) fn of(events: Vec<Event>, end: FeedPlace, after: FeedPlace, limit: u32) -> Self {
        let more = events.len() as u64 == u64::from(limit);
        let next = match (more, events.last()) {
            (true, Some(last)) => FeedPlace::after(last),
            _ if end.seq < after.seq => after,
            _ => end,
        };
        FeedPage { events, next, more }
    }
}

/// A change that a system of the vendor asks for.
#[derive(Debug, Clone)]
pub enum SystemChange {
    Create {
        key: Box<NewKey>,
        key_hash: Sha256Hex,
    },
    Update {
        id: KeyId,
        change: Box<KeyChange>,
        seats_add: Option<i64>,
        if_match: Option<Vec<String>>,
    },
    SetState {
        id: KeyId,
        state: KeyState,
        reason: Option<String>,
        if_match: Option<Vec<String>>,
    },
    Rotate {
        id: KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    },
    /// Of one key, or of any key in the scope.
    Release {
        key: Option<KeyId>,
        registrations: Vec<RegistrationId>,
    },
    /// All that match, if they are as many as expected: at most [`MOST_RELEASES`].
    ReleaseMatching {
        filter: SeatFilter,
        expected: u64,
    },
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemOutcome {
    Created(Created),
    /// The key before the change, and the outcome.
    Updated(Box<KeyRecord>, KeyUpdate),
    StateSet(StateChange),
    Rotated(Rotation),
    Released(Vec<(RegistrationId, Release)>),
    /// Another number than expected matches; nothing was released.
    CountDiffers(u64),
    /// The key is not in a state that `if_match` names; nothing was changed.
    NotThatVersion,
    /// A number of seats that cannot be; nothing was changed.
    SeatsOutOfRange,
    NoSuchKey,
}

impl SystemOutcome {
    /// Whether something was changed, or had been changed by the same request before.
    pub fn is_done(&self) -> bool {
        matches!(
            self,
            SystemOutcome::Created(Created::New(_) | Created::Same(_))
                | SystemOutcome::Updated(_, KeyUpdate::Updated(_))
                | SystemOutcome::StateSet(StateChange::Done(_))
                | SystemOutcome::Rotated(Rotation::Rotated)
                | SystemOutcome::Released(_)
        )
    }
}

/// What became of one registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Released,
    Already,
    NotFound,
}

/// From an outcome to a sealed answer.
pub type Seal = Arc<dyn Fn(&SystemOutcome) -> Option<Vec<u8>> + Send + Sync>;

/// That a request is carried out once, and its answer can be had again.
#[derive(Clone)]
pub struct Once {
    pub token: TokenId,
    /// Of the idempotency key.
    pub key_hash: Sha256Hex,
    /// Of the request that it belongs to.
    pub request_hash: Sha256Hex,
    /// Makes the answer to keep, sealed; called only for an outcome that is done. `None`: the answer is a refusal, which is not
    /// kept, so that the same request is judged anew.
    pub seal: Seal,
}

/// How a change was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    Now(Box<SystemOutcome>),
    /// It was carried out before: the sealed answer.
    Before(Vec<u8>),
    /// The idempotency key belongs to another request.
    KeyReused,
}

impl KeyRecord {
    /// A text that changes with each change of the key's terms, and not with the number of used seats.
    pub fn version(&self) -> String {
        let optional = |time: Option<Timestamp>| time.map(|time| time.unix());
        let terms = serde_json::json!([
            self.key_id,
            self.state,
            self.product,
            self.seats.total,
            optional(self.starts),
            self.expires.unix(),
            self.contract,
            self.reseller,
            self.note,
            self.release_unseen_after,
            self.self_release,
            self.old_until.iter().map(|time| time.unix()).collect::<Vec<_>>(),
            self.distrusted,
        ]);
        hex(&sha256(terms.to_string().as_bytes())[..8])
    }

    fn is_version(&self, wanted: Option<&[String]>) -> bool {
        wanted.is_none_or(|wanted| wanted.contains(&self.version()))
    }
}

/// The key that `new` would make.
pub(crate) fn preview(now: Timestamp, new: &NewKey) -> KeyRecord {
    KeyRecord {
        number: KeyNumber(0),
        key_id: new.id.clone(),
        state: KeyState::Active,
        product: new.product.clone(),
        seats: els_protocol::wire::Seats { total: new.seats, used: 0 },
        starts: new.starts,
        expires: new.expires,
        contract: new.contract.clone(),
        reseller: new.reseller.clone(),
        note: new.note.clone(),
        release_unseen_after: new.release_unseen_after,
        self_release: new.self_release,
        created_at: now,
        old_until: Vec::new(),
        distrusted: Vec::new(),
    }
}

/// Changes terms of a key that has the state `before`.
pub(crate) fn update(
    now: Timestamp,
    before: KeyRecord,
    change: &KeyChange,
    seats_add: Option<i64>,
    if_match: Option<&[String]>,
    same_contract: Option<KeyRecord>,
) -> Decided<SystemOutcome> {
    if !before.is_version(if_match) {
        return Decided::unchanged(SystemOutcome::NotThatVersion);
    }
    let mut change = change.clone();
    if let Some(more) = seats_add {
        match before.seats.total.checked_add_signed(more).filter(|seats| *seats <= MOST_SEATS) {
            Some(seats) => change.seats = Some(seats),
            None => return Decided::unchanged(SystemOutcome::SeatsOutOfRange),
        }
    }
    keys::update(now, &before, &change, same_contract).map(|done| SystemOutcome::Updated(Box::new(before), done))
}

/// Suspends, resumes or revokes, and says why in the audit log.
pub(crate) fn set_state(
    now: Timestamp,
    before: KeyRecord,
    state: KeyState,
    reason: Option<&str>,
    if_match: Option<&[String]>,
) -> Decided<SystemOutcome> {
    if !before.is_version(if_match) {
        return Decided::unchanged(SystemOutcome::NotThatVersion);
    }
    let mut decided = keys::set_state(now, before, state).map(SystemOutcome::StateSet);
    for change in &mut decided.changes {
        if let (Change::Event(entry), Some(reason)) = (change, reason) {
            entry.detail = Some(reason.to_owned().into());
        }
    }
    decided
}

/// Releases registrations, each with what is known of it: nothing for one that is not within reach. No id may be there twice.
pub(crate) fn release(now: Timestamp, asked: &[RegistrationId], known: &[RegistrationRow]) -> Decided<SystemOutcome> {
    let mut items = Vec::with_capacity(asked.len());
    let mut changes = Vec::new();
    for id in asked {
        let row = known.iter().find(|row| row.id == *id);
        let decided = seats::release_by_vendor(now, row);
        items.push((
            *id,
            match decided.outcome {
                Ok(ReleaseOutcome::Released) => Release::Released,
                Ok(ReleaseOutcome::AlreadyReleased | ReleaseOutcome::RememberedEarly) => Release::Already,
                Err(_) => Release::NotFound,
            },
        ));
        changes.extend(decided.changes);
    }
    Decided { outcome: SystemOutcome::Released(items), changes }
}

/// Each id once, in their order.
pub(crate) fn once_each(ids: &[RegistrationId]) -> Vec<RegistrationId> {
    let mut seen = std::collections::HashSet::new();
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

/// The largest number of registrations that one change releases.
pub const MOST_RELEASES: u32 = 1000;
/// The largest number of seats of a key.
pub const MOST_SEATS: u64 = 1_000_000_000;
/// Seconds for which an answer is kept.
pub(crate) const ANSWER_SECONDS: i64 = 24 * 3600;
