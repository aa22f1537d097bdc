//! What the vendor's own systems ask.
//!
//! Owns the table `answers`, and the statements of filtered lists. What a change means is decided in `crate::systems`.

use async_trait::async_trait;
use els_protocol::{RegistrationId, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::apply::carried_out;
use super::{SqliteStore, audit_log, facts, holders, keys};
use crate::by::By;
use crate::change::Decided;
use crate::queue::queue_key_of_scope;
use crate::rows::{key_state_text, like_anywhere};
use crate::scope::{Scope, within_scope};
use crate::systems::{self, *};
use crate::turns::ReadClass;
use crate::{Created, Event, Holder, KeyId, KeyNumber, KeyRecord, StoreError};

#[async_trait]
impl Systems for SqliteStore {
    async fn keys_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: KeyFilter,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.readers.read(ReadClass::Vendor, move |db| keys_matching(db, now, &scope, &filter, after, limit)).await
    }

    async fn seats_matching(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: SeatFilter,
        after: Option<SeatPlace>,
        limit: u32,
    ) -> Result<Vec<(SeatPlace, Holder)>, StoreError> {
        self.readers.read(ReadClass::Vendor, move |db| seats_matching(db, now, &scope, &filter, after, limit)).await
    }

    async fn registration_record(
        &self,
        now: Timestamp,
        scope: Scope,
        id: RegistrationId,
    ) -> Result<Option<Holder>, StoreError> {
        self.readers.read(ReadClass::Vendor, move |db| holders::one(db, now, &scope, &id)).await
    }

    async fn feed_place(&self, seq: Option<u64>) -> Result<Option<FeedPlace>, StoreError> {
        self.readers
            .read(ReadClass::Vendor, move |db| match seq {
                Some(0) => Ok(Some(FeedPlace::BEGINNING)),
                Some(seq) => Ok(event(db, Some(seq))?.map(|event| FeedPlace::after(&event))),
                None => end(db).map(Some),
            })
            .await
    }

    async fn feed_page(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: FeedFilter,
        after: FeedPlace,
        limit: u32,
    ) -> Result<Option<FeedPage>, StoreError> {
        self.readers
            .read(ReadClass::Vendor, move |db| {
                let known = match after.seq {
                    0 => Some(FeedPlace::BEGINNING),
                    seq => event(db, Some(seq))?.map(|event| FeedPlace::after(&event)),
                };
                if known != Some(after) {
                    return Ok(None);
                }
                let events = audit_log::feed(db, now, &scope, &filter, after.seq, limit)?;
                Ok(Some(FeedPage::of(events, end(db)?, after, limit)))
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
        let work = move |db: &Connection| match once.filter(|_| !dry_run) {
            Some(once) => carry_out_once(db, now, &scope, &by, &change, &once),
            None => carry_out(db, now, &scope, &by, &change, dry_run).map(|done| Carried::Now(Box::new(done))),
        };
        self.writer.run(queue_key_of_scope(&scope), work).await
    }
}

fn carry_out_once(
    db: &Connection,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    change: &SystemChange,
    once: &Once,
) -> rusqlite::Result<Carried> {
    db.prepare_cached("DELETE FROM answers WHERE ends <= ?1")?.execute([now.unix()])?;
    let kept = db
        .prepare_cached("SELECT request_hash, sealed FROM answers WHERE token = ?1 AND key_hash = ?2")?
        .query_row(params![once.token.as_str(), once.key_hash.0], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?)))
        .optional()?;
    match kept {
        Some((request, sealed)) if request == once.request_hash.0 => return Ok(Carried::Before(sealed)),
        Some(_) => return Ok(Carried::KeyReused),
        None => {}
    }
    let done = carry_out(db, now, scope, by, change, false)?;
    if let Some(sealed) = done.is_done().then(|| (once.seal)(&done)).flatten() {
        let ends = now.plus_seconds(ANSWER_SECONDS).unix();
        db.prepare_cached(
            "INSERT INTO answers (token, key_hash, request_hash, sealed, ends) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![once.token.as_str(), once.key_hash.0, once.request_hash.0, sealed, ends])?;
    }
    Ok(Carried::Now(Box::new(done)))
}

fn carry_out(
    db: &Connection,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    change: &SystemChange,
    dry_run: bool,
) -> rusqlite::Result<SystemOutcome> {
    let done = |decided: Decided<SystemOutcome>| match dry_run {
        true => Ok(decided.outcome),
        false => carried_out(db, by, decided),
    };
    match change {
        SystemChange::Create { key, key_hash } => {
            let same_contract = keys::same_contract(db, key.contract.as_deref())?;
            let found = crate::keys::made_before(key, same_contract, keys::owner(db, key_hash)?);
            let created = match found {
                Some(found) => found,
                None if dry_run => Created::New(systems::preview(now, key)),
                None => keys::create(db, now, by, key, key_hash)?,
            };
            Ok(SystemOutcome::Created(created))
        }
        SystemChange::Update { id, change, seats_add, if_match } => {
            let Some(before) = keys::by_id(db, now, scope, id)? else { return Ok(SystemOutcome::NoSuchKey) };
            let same_contract = keys::same_contract(db, change.contract.as_ref().and_then(Option::as_deref))?;
            done(systems::update(now, before, change, *seats_add, if_match.as_deref(), same_contract))
        }
        SystemChange::SetState { id, state, reason, if_match } => {
            let Some(before) = keys::by_id(db, now, scope, id)? else { return Ok(SystemOutcome::NoSuchKey) };
            done(systems::set_state(now, before, *state, reason.as_deref(), if_match.as_deref()))
        }
        SystemChange::Rotate { id, key_hash, old_until } => {
            let Some(key) = keys::by_id(db, now, scope, id)? else { return Ok(SystemOutcome::NoSuchKey) };
            let rotated = crate::keys::rotate(now, &key, key_hash, keys::owner(db, key_hash)?, *old_until);
            done(rotated.map(SystemOutcome::Rotated))
        }
        SystemChange::Release { key, registrations } => {
            let asked = systems::once_each(registrations);
            let Some(known) = within_reach(db, now, scope, key.as_ref(), &asked)? else {
                return Ok(SystemOutcome::NoSuchKey);
            };
            done(systems::release(now, &asked, &known))
        }
        SystemChange::ReleaseMatching { filter, expected } => {
            let Some(key) = &filter.key else { return Ok(SystemOutcome::NoSuchKey) };
            if keys::by_id(db, now, scope, key)?.is_none() {
                return Ok(SystemOutcome::NoSuchKey);
            }
            let count = count_matching(db, now, scope, filter)?;
            if count != *expected {
                return Ok(SystemOutcome::CountDiffers(count));
            }
            let found = seats_matching(db, now, scope, filter, None, MOST_RELEASES)?;
            let asked: Vec<RegistrationId> = found.iter().map(|(place, _)| place.registration).collect();
            let known = within_reach(db, now, scope, Some(key), &asked)?.unwrap_or_default();
            done(systems::release(now, &asked, &known))
        }
    }
}

/// The registrations among `ids` whose key is within the scope, and is `key` where one is named; `None` without such a key.
fn within_reach(
    db: &Connection,
    now: Timestamp,
    scope: &Scope,
    key: Option<&KeyId>,
    ids: &[RegistrationId],
) -> rusqlite::Result<Option<Vec<crate::rows::RegistrationRow>>> {
    let number = match key {
        Some(id) => match keys::by_id(db, now, scope, id)? {
            Some(key) => Some(key.number),
            None => return Ok(None),
        },
        None => None,
    };
    let mut known = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(row) = facts::registration(db, id)? {
            let reached = match number {
                Some(number) => row.key == number,
                None => keys::reaches(db, now, scope, row.key)?,
            };
            known.extend(reached.then_some(row));
        }
    }
    Ok(Some(known))
}

/// A statement that grows by its conditions.
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Begins with what is within a scope: the first two values are of the scope.
    fn new(scope: &Scope, now: Timestamp, within: &str) -> Self {
        let hash = scope.hash().map(|hash| hash.0.to_vec());
        Conditions { sql: within.to_owned(), values: vec![hash.into(), now.unix().into()] }
    }

    /// `condition` with `{}` for the value, if there is one.
    fn and(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            self.sql.push_str(&format!(" AND ({})", condition.replace("{}", &format!("?{}", self.values.len()))));
        }
    }
}

fn keys_matching(
    db: &Connection,
    now: Timestamp,
    scope: &Scope,
    filter: &KeyFilter,
    after: Option<KeyNumber>,
    limit: u32,
) -> rusqlite::Result<Vec<KeyRecord>> {
    let mut which = Conditions::new(scope, now, within_scope!("keys.number", "?1", "?2"));
    which.and("number > {}", after.map(|after| after.0));
    which.and("contract = {}", filter.contract.clone());
    which.and("reseller = {}", filter.reseller.clone());
    which.and("product = {}", filter.product.clone());
    which.and("state = {}", filter.state.map(|state| key_state_text(state).to_owned()));
    which.and("expires < {}", filter.expires_before.map(Timestamp::unix));
    which.and("expires > {}", filter.expires_after.map(Timestamp::unix));
    which.and("used * 100 >= seats * {}", filter.used_from.map(i64::from));
    if let Some(text) = &filter.text {
        which.values.push(text.clone().into());
        let id = which.values.len();
        let any = format!("id = ?{id} OR contract LIKE {{}} ESCAPE '\\' OR reseller LIKE {{}} ESCAPE '\\'");
        which.and(&any, Some(like_anywhere(text)));
    }
    which.sql.push_str(&format!(" ORDER BY number LIMIT {limit}"));
    let values: Vec<&dyn rusqlite::ToSql> = which.values.iter().map(|value| value as &dyn rusqlite::ToSql).collect();
    keys::many(db, &which.sql, &values)
}

fn seat_conditions(scope: &Scope, now: Timestamp, filter: &SeatFilter) -> Conditions {
    let within = concat!("r.state <> 'released' AND ", within_scope!("r.key", "?1", "?2"));
    let mut which = Conditions::new(scope, now, within);
    let key = filter.key.as_ref().map(|key| key.as_str().to_owned());
    which.and("r.key = (SELECT number FROM keys WHERE id = {})", key);
    which.and("r.label LIKE {} ESCAPE '\\'", filter.label.as_deref().map(like_anywhere));
    which.and("coalesce(r.last_seen_at, r.registered_at) < {}", filter.not_seen_since.map(Timestamp::unix));
    which.and("r.os = {}", filter.os.clone());
    which.and("r.arch = {}", filter.arch.clone());
    which
}

fn seats_matching(
    db: &Connection,
    now: Timestamp,
    scope: &Scope,
    filter: &SeatFilter,
    after: Option<SeatPlace>,
    limit: u32,
) -> rusqlite::Result<Vec<(SeatPlace, Holder)>> {
    let mut which = seat_conditions(scope, now, filter);
    if let Some(after) = after {
        which.values.push(after.key.0.into());
        which.values.push(after.registration.as_bytes().to_vec().into());
        let last = which.values.len();
        which.sql.push_str(&format!(" AND (r.key, r.id) > (?{}, ?{last})", last - 1));
    }
    let sql =
        format!("{}, r.key {} WHERE {} ORDER BY r.key, r.id LIMIT {limit}", holders::COLUMNS, holders::FROM, which.sql);
    let place = |row: &rusqlite::Row<'_>| {
        let holder = holders::holder(row)?;
        Ok((SeatPlace { key: KeyNumber(row.get(12)?), registration: holder.registration }, holder))
    };
    db.prepare_cached(&sql)?.query_map(params_from_iter(which.values), place)?.collect()
}

fn count_matching(db: &Connection, now: Timestamp, scope: &Scope, filter: &SeatFilter) -> rusqlite::Result<u64> {
    let which = seat_conditions(scope, now, filter);
    let sql = format!("SELECT count(*) FROM registrations r WHERE {}", which.sql);
    db.prepare_cached(&sql)?.query_row(params_from_iter(which.values), |row| row.get(0))
}

/// The event with this number, or the last one.
fn event(db: &Connection, seq: Option<u64>) -> rusqlite::Result<Option<Event>> {
    let filter = FeedFilter::default();
    let before = match seq {
        Some(seq) => seq.saturating_sub(1),
        None => {
            let last = "SELECT coalesce(max(seq), 0) FROM events";
            db.prepare_cached(last)?.query_row([], |row| row.get::<_, u64>(0))?.saturating_sub(1)
        }
    };
    let found = audit_log::feed(db, Timestamp::from_unix(0), &Scope::Vendor, &filter, before, 1)?.pop();
    Ok(found.filter(|event| seq.is_none_or(|seq| event.cursor.0 == seq)))
}

fn end(db: &Connection) -> rusqlite::Result<FeedPlace> {
    Ok(event(db, None)?.map_or(FeedPlace::BEGINNING, |event| FeedPlace::after(&event)))
}
