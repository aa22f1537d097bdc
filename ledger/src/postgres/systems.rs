//! What the vendor's own systems ask.
//!
//! Owns the table `answers`, and the statements of filtered lists. What a change means is decided in `crate::systems`; every
//! change is made under the lock of its keys.

use async_trait::async_trait;
use els_protocol::{RegistrationId, Timestamp};
use futures_util::future::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::apply::carried_out;
use super::client::{Statements, Values};
use super::failure::Failed;
use super::row::{Columns, bigint, registration, registration_columns, scope_hash, uuid};
use super::{PostgresStore, audit_log, holders, keys};
use crate::by::By;
use crate::change::Decided;
use crate::rows::{RegistrationRow, key_state_text, like_anywhere};
use crate::scope::{Scope, within_scope};
use crate::systems::{self, *};
use crate::turns::ReadClass;
use crate::{Created, Event, Holder, KeyId, KeyNumber, KeyRecord, StoreError};

#[async_trait]
impl Systems for PostgresStore {
    async fn keys_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: KeyFilter,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(ReadClass::Vendor, move |db| {
            async move { keys_matching(db, now, &scope, &filter, after, limit).await }.boxed()
        })
        .await
    }

    async fn seats_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: SeatFilter,
        after: Option<SeatPlace>,
        limit: u32,
    ) -> Result<Vec<(SeatPlace, Holder)>, StoreError> {
        self.read_once(ReadClass::Vendor, move |db| {
            async move { seats_matching(db, now, &scope, &filter, after, limit).await }.boxed()
        })
        .await
    }

    async fn registration_record(
        &self,
        now: Timestamp,
        scope: Scope,
        id: RegistrationId,
    ) -> Result<Option<Holder>, StoreError> {
        self.read_once(ReadClass::Vendor, move |db| async move { holders::one(db, now, &scope, id).await }.boxed())
            .await
    }

    async fn feed_place(&self, seq: Option<u64>) -> Result<Option<FeedPlace>, StoreError> {
        self.read(ReadClass::Vendor, move |db| async move { place(db, seq).await }.boxed()).await
    }

    async fn feed_page(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: FeedFilter,
        after: FeedPlace,
        limit: u32,
    ) -> Result<Option<FeedPage>, StoreError> {
        self.read(ReadClass::Vendor, move |db| {
            async move {
                if place(db, Some(after.seq)).await? != Some(after) {
                    return Ok(None);
                }
                let events = audit_log::feed(db, now, &scope, &filter, after.seq, limit).await?;
                let end = place(db, None).await?.unwrap_or(FeedPlace::BEGINNING);
                Ok(Some(FeedPage::of(events, end, after, limit)))
            }
            .boxed()
        })
        .await
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
        self.change(ReadClass::Vendor, move |db| {
            let (by, change, once) = (by.clone(), change.clone(), once.clone());
            async move {
                match once.filter(|_| !dry_run) {
                    Some(once) => carry_out_once(db, now, &scope, &by, &change, &once).await,
                    None => {
                        let done = carry_out(db, now, &scope, &by, &change, dry_run).await?;
                        Ok(Carried::Now(Box::new(done)))
                    }
                }
            }
            .boxed()
        })
        .await
    }
}

async fn carry_out_once(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    change: &SystemChange,
    once: &Once,
) -> Result<Carried, Failed> {
    let key = || -> Values<'_> { vec![Box::new(once.token.as_str()), Box::new(once.key_hash.0.to_vec())] };
    db.run(FORGET, vec![Box::new(now.unix())]).await?;
    // Of two requests at once, the later one waits here until the first is decided.
    let ends = now.plus_seconds(ANSWER_SECONDS).unix();
    let values: Values<'_> =
        [key(), vec![Box::new(once.request_hash.0.to_vec()), Box::new(ends)]].into_iter().flatten().collect();
    if db.run(RESERVE, values).await? == 0 {
        let rows = db.ask(KEPT, key()).await?;
        let row = Columns(rows.first().ok_or_else(|| Failed::invalid("an answer that is and is not there"))?);
        return Ok(match row.hash(0)? == once.request_hash {
            true => Carried::Before(row.get(1)?),
            false => Carried::KeyReused,
        });
    }
    let done = carry_out(db, now, scope, by, change, false).await?;
    match done.is_done().then(|| (once.seal)(&done)).flatten() {
        Some(sealed) => db.run(KEEP, key().into_iter().chain([Box::new(sealed) as _]).collect()).await?,
        None => db.run(RELEASE_KEY, key()).await?,
    };
    Ok(Carried::Now(Box::new(done)))
}

async fn carry_out(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    change: &SystemChange,
    dry_run: bool,
) -> Result<SystemOutcome, Failed> {
    let decided: Decided<SystemOutcome> = match change {
        SystemChange::Create { key, key_hash } => {
            let same_contract = keys::same_contract(db, key.contract.as_deref()).await?;
            let found = crate::keys::made_before(key, same_contract, keys::owner(db, key_hash).await?);
            let created = match found {
                Some(found) => found,
                None if dry_run => Created::New(systems::preview(now, key)),
                None => keys::create(db, now, by, key, key_hash).await?,
            };
            Decided::unchanged(SystemOutcome::Created(created))
        }
        SystemChange::Update { id, change, seats_add, if_match } => {
            let Some(before) = keys::locked(db, now, scope, id).await? else { return Ok(SystemOutcome::NoSuchKey) };
            let contract = change.contract.as_ref().and_then(Option::as_deref);
            let same_contract = keys::same_contract(db, contract).await?;
            systems::update(now, before, change, *seats_add, if_match.as_deref(), same_contract)
        }
        SystemChange::SetState { id, state, reason, if_match } => {
            let Some(before) = keys::locked(db, now, scope, id).await? else { return Ok(SystemOutcome::NoSuchKey) };
            systems::set_state(now, before, *state, reason.as_deref(), if_match.as_deref())
        }
        SystemChange::Rotate { id, key_hash, old_until } => {
            let Some(key) = keys::locked(db, now, scope, id).await? else { return Ok(SystemOutcome::NoSuchKey) };
            let owner = keys::owner(db, key_hash).await?;
            crate::keys::rotate(now, &key, key_hash, owner, *old_until).map(SystemOutcome::Rotated)
        }
        SystemChange::Release { key, registrations } => {
            let asked = systems::once_each(registrations);
            let Some(known) = within_reach(db, now, scope, key.as_ref(), &asked).await? else {
                return Ok(SystemOutcome::NoSuchKey);
            };
            systems::release(now, &asked, &known)
        }
        SystemChange::ReleaseMatching { filter, expected } => {
            let Some(key) = &filter.key else { return Ok(SystemOutcome::NoSuchKey) };
            if keys::locked(db, now, scope, key).await?.is_none() {
                return Ok(SystemOutcome::NoSuchKey);
            }
            let rows = db.ask(COUNT, seat_values(scope, now, filter)).await?;
            let count = Columns(rows.first().ok_or_else(|| Failed::invalid("no count"))?).count(0)?;
            if count != *expected {
                return Ok(SystemOutcome::CountDiffers(count));
            }
            let found = seats_matching(db, now, scope, filter, None, MOST_RELEASES).await?;
            let asked: Vec<RegistrationId> = found.iter().map(|(place, _)| place.registration).collect();
            let known = within_reach(db, now, scope, Some(key), &asked).await?.unwrap_or_default();
            systems::release(now, &asked, &known)
        }
    };
    match dry_run {
        true => Ok(decided.outcome),
        false => carried_out(db, by, decided).await,
    }
}

/// The registrations among `ids` whose key is within the scope, and is `key` where one is named; `None` without such a key.
/// Their keys are locked.
async fn within_reach(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    key: Option<&KeyId>,
    ids: &[RegistrationId],
) -> Result<Option<Vec<RegistrationRow>>, Failed> {
    let number = match key {
        Some(id) => match keys::locked(db, now, scope, id).await? {
            Some(key) => Some(key.number.0),
            None => return Ok(None),
        },
        None => None,
    };
    let ids: Vec<Uuid> = ids.iter().map(uuid).collect();
    if number.is_none() {
        db.ask(LOCK_KEYS, vec![Box::new(ids.clone()), scope_hash(scope), Box::new(now.unix())]).await?;
    }
    let values: Values<'_> = vec![Box::new(ids), scope_hash(scope), Box::new(now.unix()), Box::new(number)];
    db.ask(WITHIN_REACH, values).await?.iter().map(registration).collect::<Result<_, _>>().map(Some)
}

async fn keys_matching(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    filter: &KeyFilter,
    after: Option<KeyNumber>,
    limit: u32,
) -> Result<Vec<KeyRecord>, Failed> {
    let values: Values<'_> = vec![
        Box::new(after.map_or(0, |after| after.0)),
        Box::new(i64::from(limit)),
        scope_hash(scope),
        Box::new(now.unix()),
        Box::new(filter.contract.as_deref()),
        Box::new(filter.reseller.as_deref()),
        Box::new(filter.product.as_deref()),
        Box::new(filter.state.map(key_state_text)),
        Box::new(filter.expires_before.map(Timestamp::unix)),
        Box::new(filter.expires_after.map(Timestamp::unix)),
        Box::new(filter.used_from.map(i64::from)),
        Box::new(filter.text.as_deref()),
        Box::new(filter.text.as_deref().map(like_anywhere)),
    ];
    keys::many(db, KEYS, values).await
}

fn seat_values<'a>(scope: &Scope, now: Timestamp, filter: &'a SeatFilter) -> Values<'a> {
    vec![
        scope_hash(scope),
        Box::new(now.unix()),
        Box::new(filter.key.as_ref().map(KeyId::as_str)),
        Box::new(filter.label.as_deref().map(like_anywhere)),
        Box::new(filter.not_seen_since.map(Timestamp::unix)),
        Box::new(filter.os.as_deref()),
        Box::new(filter.arch.as_deref()),
    ]
}

async fn seats_matching(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    filter: &SeatFilter,
    after: Option<SeatPlace>,
    limit: u32,
) -> Result<Vec<(SeatPlace, Holder)>, Failed> {
    let mut values = seat_values(scope, now, filter);
    values.push(Box::new(after.map_or(0, |after| after.key.0)));
    values.push(Box::new(after.map_or(Uuid::nil(), |after| uuid(&after.registration))));
    values.push(Box::new(bigint(u64::from(limit))));
    let place = |row: &Row| {
        let holder = holders::holder(row)?;
        Ok((SeatPlace { key: KeyNumber(Columns(row).get(12)?), registration: holder.registration }, holder))
    };
    db.ask(SEATS, values).await?.iter().map(place).collect()
}

/// The place of the event with this number, or of the last event.
async fn place(db: &impl Statements, seq: Option<u64>) -> Result<Option<FeedPlace>, Failed> {
    let event: Option<Event> = match seq {
        Some(0) => return Ok(Some(FeedPlace::BEGINNING)),
        Some(seq) => audit_log::one(db, bigint(seq)).await?,
        None => audit_log::last(db).await?,
    };
    Ok(match (event, seq) {
        (None, None) => Some(FeedPlace::BEGINNING),
        (event, _) => event.map(|event| FeedPlace::after(&event)),
    })
}

const FORGET: &str = "DELETE FROM answers WHERE ends <= $1";
const RESERVE: &str = "INSERT INTO answers (token, key_hash, request_hash, sealed, ends) VALUES ($1, $2, $3, '', $4)
    ON CONFLICT DO NOTHING";
const KEPT: &str = "SELECT request_hash, sealed FROM answers WHERE token = $1 AND key_hash = $2";
const KEEP: &str = "UPDATE answers SET sealed = $3 WHERE token = $1 AND key_hash = $2";
const RELEASE_KEY: &str = "DELETE FROM answers WHERE token = $1 AND key_hash = $2";
const LOCK_KEYS: &str = concat!(
    "SELECT 1 FROM keys WHERE number IN (SELECT key FROM registrations WHERE id = ANY ($1::uuid[])) AND ",
    within_scope!("keys.number", "$2::bytea", "$3"),
    " ORDER BY number FOR NO KEY UPDATE"
);
const WITHIN_REACH: &str = concat!(
    "SELECT ",
    registration_columns!(),
    " FROM registrations r WHERE r.id = ANY ($1::uuid[]) AND ($4::int8 IS NULL OR r.key = $4) AND ",
    within_scope!("r.key", "$2::bytea", "$3")
);
const KEYS: &str = keys::records!(
    "number > $1 AND ",
    within_scope!("keys.number", "$3::bytea", "$4"),
    " AND ($5::text IS NULL OR contract = $5) AND ($6::text IS NULL OR reseller = $6)
      AND ($7::text IS NULL OR product = $7) AND ($8::text IS NULL OR state = $8)
      AND ($9::int8 IS NULL OR expires < $9) AND ($10::int8 IS NULL OR expires > $10)
      AND ($11::int8 IS NULL OR used * 100 >= seats * $11)
      AND ($12::text IS NULL OR id = $12 OR contract ILIKE $13 OR reseller ILIKE $13)
      ORDER BY number LIMIT $2"
);
macro_rules! matching {
    () => {
        concat!(
            "(r.state = 'released') IS FALSE AND ",
            within_scope!("r.key", "$1::bytea", "$2"),
            " AND ($3::text IS NULL OR r.key = (SELECT number FROM keys WHERE id = $3))
              AND ($4::text IS NULL OR r.label ILIKE $4)
              AND ($5::int8 IS NULL OR coalesce(r.last_seen_at, r.registered_at) < $5)
              AND ($6::text IS NULL OR r.os = $6) AND ($7::text IS NULL OR r.arch = $7)"
        )
    };
}
const COUNT: &str = concat!("SELECT count(*) FROM registrations r WHERE ", matching!());
const SEATS: &str = concat!(
    holders::columns!(),
    ", r.key FROM registrations r JOIN keys k ON k.number = r.key WHERE ",
    matching!(),
    " AND (r.key, r.id) > ($8, $9) ORDER BY r.key, r.id LIMIT $10"
);
