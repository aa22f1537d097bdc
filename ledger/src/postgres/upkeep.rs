//! Upkeep: unseen machines, ids that have to be erased, early releases that may be forgotten, leases.
//!
//! Owns the tables `upkeep`, `gate_down` and `leases`. Each function does one bounded batch in the transaction of its caller.
//! Several nodes may do the same at once: leases save work, they are not needed for safety.

use els_protocol::{RegistrationId, Timestamp};
use uuid::Uuid;

use super::apply::apply;
use super::client::{Statements, Values};
use super::failure::Failed;
use super::holders::key_by_number;
use super::pauses::{downs, pauses};
use super::row::{Columns, bigint, registration, registration_columns, uuid};
use crate::by::By;
use crate::rows::{
    ERASE_SECONDS, GAP_SECONDS, REMEMBERED_SECONDS, SEARCH_SECONDS, UPKEEP_BATCH, lease_seconds,
    unseen_since as unseen_since_rows,
};
use crate::rules::{UNUSED_SECONDS, unused_until};
use crate::steps::Unused;
use crate::{Policy, seats};

/// Takes or renews a lease, by the server's clock; says whether `holder` has it.
pub(super) async fn take_lease(db: &impl Statements, job: &str, holder: &str, seconds: u32) -> Result<bool, Failed> {
    let values: Values<'_> = vec![Box::new(job), Box::new(holder), Box::new(lease_seconds(seconds))];
    Ok(db.run(TAKE_LEASE, values).await? == 1)
}

/// Notes that the gate is up. A gap since the last time is a time in which it was down.
pub(super) async fn gate_is_up(db: &impl Statements, now: Timestamp) -> Result<(), Failed> {
    if let Some(last) = done_at(db, "gate").await?
        && now.seconds_since(last) > GAP_SECONDS
    {
        let sql = "INSERT INTO gate_down (since, until) VALUES ($1, $2) ON CONFLICT (since) DO UPDATE SET until = excluded.until";
        db.run(sql, vec![Box::new(last.unix()), Box::new(now.unix())]).await?;
    }
    set_done(db, "gate", now).await
}

/// Whether it is time to search for unseen machines.
pub(super) async fn search_is_due(db: &impl Statements, now: Timestamp) -> Result<bool, Failed> {
    let last = done_at(db, "unseen").await?;
    Ok(last.is_none_or(|last| !(0..SEARCH_SECONDS).contains(&now.seconds_since(last))))
}

/// Notes that the search is done.
pub(super) async fn search_is_done(db: &impl Statements, now: Timestamp) -> Result<(), Failed> {
    set_done(db, "unseen", now).await
}

/// Some of the registrations whose machine was not seen for as long as its key says.
pub(super) async fn unseen(db: &impl Statements, now: Timestamp) -> Result<Vec<RegistrationId>, Failed> {
    let downs = downs(db).await?;
    let keys = db.ask("SELECT number, release_unseen_after FROM keys WHERE release_unseen_after IS NOT NULL", vec![]);
    let mut found = Vec::new();
    for row in keys.await? {
        let row = Columns(&row);
        let since = unseen_since(now, row.get(1)?, &downs);
        let most = bigint((UPKEEP_BATCH - found.len()) as u64);
        let values: Values<'_> = vec![Box::new(row.get::<i64>(0)?), Box::new(since.unix()), Box::new(most)];
        for row in db.ask(UNSEEN, values).await? {
            found.push(Columns(&row).id(0)?);
        }
        if found.len() >= UPKEEP_BATCH {
            break;
        }
    }
    Ok(found)
}

/// Releases those of `ids` that were not seen meanwhile either; says how many.
pub(super) async fn release_unseen(
    db: &impl Statements,
    now: Timestamp,
    by: &By,
    ids: &[RegistrationId],
) -> Result<u64, Failed> {
    let ids: Vec<Uuid> = ids.iter().map(uuid).collect();
    lock_keys(db, &ids).await?;
    let downs = downs(db).await?;
    let mut changes = Vec::new();
    let mut released = 0;
    for row in db.ask(STILL_UNSEEN, vec![Box::new(ids)]).await? {
        let columns = Columns(&row);
        let (days, last): (i64, i64) = (columns.get(14)?, columns.get(15)?);
        if last <= unseen_since(now, days, &downs).unix() {
            changes.extend(seats::release_unseen(now, &registration(&row)?, days));
            released += 1;
        }
    }
    apply(db, &[(by, changes)]).await?;
    Ok(released)
}

/// Some of the registrations that were superseded long enough ago to end.
pub(super) async fn unused(db: &impl Statements, now: Timestamp, after: Unused) -> Result<Vec<Unused>, Failed> {
    let values: Values<'_> = vec![
        Box::new(now.plus_seconds(-UNUSED_SECONDS).unix()),
        Box::new(after.0.unix()),
        Box::new(uuid(&after.1)),
        Box::new(bigint(UPKEEP_BATCH as u64)),
    ];
    let rows = db.ask(UNUSED, values).await?;
    rows.iter().map(Columns).map(|row| Ok((row.time(0)?, row.id(1)?))).collect()
}

/// Releases those of `ids` whose time is over; says how many.
pub(super) async fn release_unused(
    db: &impl Statements,
    policy: &Policy,
    now: Timestamp,
    by: &By,
    ids: &[RegistrationId],
) -> Result<u64, Failed> {
    let ids: Vec<Uuid> = ids.iter().map(uuid).collect();
    lock_keys(db, &ids).await?;
    let mut changes = Vec::new();
    let mut released = 0;
    for row in db.ask(SUPERSEDED, vec![Box::new(ids)]).await? {
        let row = registration(&row)?;
        let Some(since) = row.superseded_at() else { continue };
        let terms = key_by_number(db, row.key).await?.terms(policy);
        let pauses = pauses(db, now, row.key, &terms).await?;
        if terms.denies_credential(now).is_none() && unused_until(now, since, &pauses) <= now {
            changes.extend(seats::release_unused(now, &row));
            released += 1;
        }
    }
    apply(db, &[(by, changes)]).await?;
    Ok(released)
}

/// Erases the machine and hardware ids of some registrations that were released long enough ago, also in the audit log; says
/// of how many.
pub(super) async fn erase(db: &impl Statements, now: Timestamp) -> Result<u64, Failed> {
    let before = now.plus_seconds(-ERASE_SECONDS).unix();
    let due = db.ask(ERASABLE, vec![Box::new(before), Box::new(bigint(UPKEEP_BATCH as u64))]).await?;
    let ids = due.iter().map(|row| Columns(row).get::<Uuid>(0)).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    db.run(ERASE, vec![Box::new(ids.clone())]).await?;
    db.run(ERASE_FROM_AUDIT_LOG, vec![Box::new(ids.clone())]).await?;
    Ok(ids.len() as u64)
}

/// Forgets early releases that are older than a day; says how many.
pub(super) async fn forget(db: &impl Statements, now: Timestamp) -> Result<u64, Failed> {
    let before = now.plus_seconds(-REMEMBERED_SECONDS).unix();
    db.run("DELETE FROM early_releases WHERE at <= $1", vec![Box::new(before)]).await
}

/// Locks the keys of these registrations, in their order.
async fn lock_keys(db: &impl Statements, ids: &[Uuid]) -> Result<(), Failed> {
    db.ask(LOCK_KEYS_OF, vec![Box::new(ids.to_vec())]).await.map(drop)
}

fn unseen_since(now: Timestamp, days: i64, downs: &[(Timestamp, Timestamp)]) -> Timestamp {
    unseen_since_rows(now, u32::try_from(days).unwrap_or(u32::MAX), downs.iter().copied())
}

async fn done_at(db: &impl Statements, name: &'static str) -> Result<Option<Timestamp>, Failed> {
    let rows = db.ask("SELECT at FROM upkeep WHERE name = $1", vec![Box::new(name)]).await?;
    rows.first().map(|row| Columns(row).time(0)).transpose()
}

async fn set_done(db: &impl Statements, name: &'static str, now: Timestamp) -> Result<(), Failed> {
    let sql = "INSERT INTO upkeep (name, at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = excluded.at";
    db.run(sql, vec![Box::new(name), Box::new(now.unix())]).await.map(drop)
}

const TAKE_LEASE: &str = "INSERT INTO leases AS l (name, holder, until)
    VALUES ($1, $2, floor(extract(epoch FROM clock_timestamp()))::int8 + $3)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE l.holder = excluded.holder OR l.until < floor(extract(epoch FROM clock_timestamp()))::int8";
const UNSEEN: &str =
    "SELECT id FROM registrations WHERE key = $1 AND (state = 'released') IS FALSE AND state = 'active'
    AND greatest(registered_at, last_seen_at) <= $2 LIMIT $3";
const STILL_UNSEEN: &str = concat!(
    "SELECT ",
    registration_columns!(),
    ", k.release_unseen_after, greatest(r.registered_at, r.last_seen_at)
     FROM registrations r JOIN keys k ON k.number = r.key
     WHERE r.id = ANY ($1::uuid[]) AND r.state = 'active' AND k.release_unseen_after IS NOT NULL"
);
const LOCK_KEYS_OF: &str =
    "SELECT 1 FROM keys WHERE number IN (SELECT key FROM registrations WHERE id = ANY ($1::uuid[]))
    ORDER BY number FOR NO KEY UPDATE";
const ERASABLE: &str = "SELECT id FROM registrations
    WHERE state = 'released' AND (machine IS NOT NULL OR hardware IS NOT NULL) AND ended_at <= $1
    LIMIT $2 FOR UPDATE SKIP LOCKED";
const ERASE: &str = "UPDATE registrations SET machine = NULL, hardware = NULL WHERE id = ANY ($1::uuid[])";
const ERASE_FROM_AUDIT_LOG: &str = "UPDATE events SET machine = NULL, hardware = NULL
    WHERE registration = ANY ($1::uuid[]) AND (machine IS NOT NULL OR hardware IS NOT NULL)";
const UNUSED: &str = "SELECT ended_at, id FROM registrations
    WHERE state = 'superseded' AND ended_at IS NOT NULL AND ended_at <= $1 AND (ended_at, id) > ($2, $3)
    ORDER BY ended_at, id LIMIT $4";
const SUPERSEDED: &str = concat!(
    "SELECT ",
    registration_columns!(),
    " FROM registrations r WHERE r.id = ANY ($1::uuid[]) AND r.state = 'superseded'"
);
