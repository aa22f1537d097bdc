//! Calls that take several transactions: the order of their steps, once for every database.
//!
//! Owns what each call does between its transactions. Knows no SQL.

use async_trait::async_trait;
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};

use crate::by::By;
use crate::outcome::{Registered, RegistrationView};
use crate::rows::{SEEN_BATCH, UPKEEP_BATCH};
use crate::rules::{Judged, RegisterCommand};
use crate::seats::Attempt;
use crate::store::{GateFeed, StoreError, Upkeep};

/// A superseded registration: since when, and which. The place in a walk over all of them.
pub(crate) type Unused = (Timestamp, RegistrationId);

/// The transactions of these calls, one each.
#[async_trait]
pub(crate) trait Steps: GateFeed + Upkeep {
    /// One try to register.
    async fn try_register(&self, now: Timestamp, by: By, command: RegisterCommand) -> Result<Attempt, StoreError>;

    /// Registrations that were superseded long enough ago to end, unless time that does not count is among it: at most
    /// [`UPKEEP_BATCH`], after `after`.
    async fn unused(&self, now: Timestamp, after: Unused) -> Result<Vec<Unused>, StoreError>;

    /// Releases those of `ids` whose time is over; says how many.
    async fn release_unused(&self, now: Timestamp, by: By, ids: Vec<RegistrationId>) -> Result<u64, StoreError>;

    /// What a credential stands for, and whether that has to be decided first.
    async fn own_view(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<(Judged<RegistrationView>, bool), StoreError>;

    /// Notes last uses, at most [`SEEN_BATCH`].
    async fn note_seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError>;

    /// Whether it is time to search for unseen machines.
    async fn search_is_due(&self, now: Timestamp) -> Result<bool, StoreError>;

    /// Notes that the search is done.
    async fn search_is_done(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Registrations of unseen machines, at most [`UPKEEP_BATCH`].
    async fn unseen(&self, now: Timestamp) -> Result<Vec<RegistrationId>, StoreError>;

    /// Releases those of `ids` that were not seen meanwhile either; says how many.
    async fn release_those(&self, now: Timestamp, by: By, ids: Vec<RegistrationId>) -> Result<u64, StoreError>;

    /// Erases the ids of at most [`UPKEEP_BATCH`] registrations; says of how many.
    async fn erase_batch(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Registers a machine. Where its id is superseded and the hour is over, that is a use of it, which is decided first.
pub(crate) async fn register(
    db: &impl Steps,
    now: Timestamp,
    by: By,
    command: RegisterCommand,
) -> Result<Judged<Registered>, StoreError> {
    for _ in 0..2 {
        match db.try_register(now, by.clone(), command.clone()).await? {
            Attempt::Judged(judged) => return Ok(judged),
            Attempt::DecideUseFirst => drop(db.superseded_used(now, by.clone(), command.id).await?),
        }
    }
    Err(StoreError::Internal("the use of a superseded credential was not decided".into()))
}

/// Releases superseded registrations that were not used for so long that they end by themselves; says how many.
pub(crate) async fn release_superseded(db: &impl Steps, now: Timestamp, by: By) -> Result<u64, StoreError> {
    let mut released = 0;
    let mut after = (Timestamp::from_unix(0), RegistrationId::from_bytes([0; 16]));
    loop {
        let found = db.unused(now, after).await?;
        let Some(last) = found.last() else { return Ok(released) };
        after = *last;
        let (more, ids) = (found.len() == UPKEEP_BATCH, found.into_iter().map(|(_, id)| id).collect());
        released += db.release_unused(now, by.clone(), ids).await?;
        if !more {
            return Ok(released);
        }
    }
}

/// What a machine's own credential stands for. A superseded one after its hour is decided first.
pub(crate) async fn registration(
    db: &impl Steps,
    now: Timestamp,
    by: By,
    id: RegistrationId,
    token_hash: Sha256Hex,
) -> Result<Judged<RegistrationView>, StoreError> {
    let (view, overdue) = db.own_view(now, id, token_hash).await?;
    if !overdue {
        return Ok(view);
    }
    db.superseded_used(now, by, id).await?;
    db.own_view(now, id, token_hash).await.map(|(view, _)| view)
}

/// Notes last uses.
pub(crate) async fn seen(db: &impl Steps, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
    for some in batch.chunks(SEEN_BATCH) {
        db.note_seen(some.to_vec()).await?;
    }
    Ok(())
}

/// Releases registrations of unseen machines; says how many.
pub(crate) async fn release_unseen(db: &impl Steps, now: Timestamp, by: By) -> Result<u64, StoreError> {
    // Otherwise a gate that has just come up would count the time in which it was down.
    db.gate_is_up(now).await?;
    let mut released = 0;
    if db.search_is_due(now).await? {
        loop {
            let unseen = db.unseen(now).await?;
            let found = unseen.len();
            let these = db.release_those(now, by.clone(), unseen).await?;
            released += these;
            // Where all that were found have been seen meanwhile, the next search is soon enough.
            if found < UPKEEP_BATCH || these == 0 {
                break;
            }
        }
        db.search_is_done(now).await?;
    }
    Ok(released)
}

/// Erases ids of registrations that were released long enough ago; says of how many.
pub(crate) async fn erase_ids(db: &impl Steps, now: Timestamp) -> Result<u64, StoreError> {
    let mut erased = 0;
    loop {
        let these = db.erase_batch(now).await?;
        erased += these;
        if these < UPKEEP_BATCH as u64 {
            return Ok(erased);
        }
    }
}
