//! Keys as the vendor sees them: making, changing, finding.
//!
//! Owns reading the tables `keys` and `secrets`. What a change means, and what the audit log says of it, is decided in `crate::keys`.

use els_protocol::wire::Seats;
use els_protocol::{MachineId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::apply::{apply, carried_out};
use super::row::{key_id, key_state, optional_time, time};
use crate::by::By;
use crate::keys::{self, SecretOwner};
use crate::outcome::{Created, KeyUpdate, Rotation, StateChange};
use crate::rules::KeyState;
use crate::scope::{Scope, within_scope};
use crate::{KeyChange, KeyId, KeyNumber, KeyRecord, NewKey};

/// Makes a key, or finds the one that was made by the same command before.
pub(super) fn create(
    connection: &Connection,
    now: Timestamp,
    by: &By,
    new: &NewKey,
    secret: &Sha256Hex,
) -> rusqlite::Result<Created> {
    let same_contract = same_contract(connection, new.contract.as_deref())?;
    if let Some(found) = keys::made_before(new, same_contract, owner(connection, secret)?) {
        return Ok(found);
    }
    connection
        .prepare_cached(
            "INSERT INTO keys (id, product, seats, state, starts, expires, contract, reseller, note,
                               release_unseen_after, self_release, created_at)
             VALUES (?1, ?2, ?3, 'active', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            new.id.as_str(),
            new.product,
            new.seats,
            new.starts.map(Timestamp::unix),
            new.expires.unix(),
            new.contract,
            new.reseller,
            new.note,
            new.release_unseen_after,
            new.self_release,
            now.unix(),
        ])?;
    let number = KeyNumber(connection.last_insert_rowid());
    apply(connection, by, &keys::made(now, number, new, secret))?;
    let made = one(connection, "number = ?1", &[&number.0])?;
    made.map(Created::New).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// One key.
pub(super) fn by_id(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    id: &KeyId,
) -> rusqlite::Result<Option<KeyRecord>> {
    let condition = concat!("id = ?1 AND ", within_scope!("keys.number", "?2", "?3"));
    one(connection, condition, params![id.as_str(), hash(scope), now.unix()])
}

/// Whether the key with this number is within a scope.
pub(super) fn reaches(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    key: KeyNumber,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(concat!("SELECT 1 FROM keys WHERE number = ?1 AND ", within_scope!("keys.number", "?2", "?3")))?
        .exists(params![key.0, hash(scope), now.unix()])
}

/// Keys in the order in which they were made.
pub(super) fn list(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    after: Option<KeyNumber>,
    limit: u32,
) -> rusqlite::Result<Vec<KeyRecord>> {
    let after = after.map_or(0, |after| after.0);
    let condition = concat!("number > ?1 AND ", within_scope!("keys.number", "?3", "?4"), " ORDER BY number LIMIT ?2");
    many(connection, condition, params![after, limit, hash(scope), now.unix()])
}

/// Keys that a text leads to. `pattern` is for LIKE with `\` as its escape.
pub(super) fn find(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    text: &str,
    pattern: &str,
    limit: u32,
) -> rusqlite::Result<Vec<KeyRecord>> {
    let condition = concat!(
        "(id = ?1 OR contract LIKE ?2 ESCAPE '\\' OR reseller LIKE ?2 ESCAPE '\\') AND ",
        within_scope!("keys.number", "?4", "?5"),
        " ORDER BY number LIMIT ?3"
    );
    many(connection, condition, params![text, pattern, limit, hash(scope), now.unix()])
}

/// Changes what `change` names.
pub(super) fn update(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &KeyId,
    change: &KeyChange,
) -> rusqlite::Result<KeyUpdate> {
    let Some(before) = by_id(connection, now, scope, id)? else { return Ok(KeyUpdate::NoSuchKey) };
    let same_contract = same_contract(connection, change.contract.as_ref().and_then(Option::as_deref))?;
    carried_out(connection, by, keys::update(now, &before, change, same_contract))
}

/// Suspends, resumes or revokes.
pub(super) fn set_state(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &KeyId,
    state: KeyState,
) -> rusqlite::Result<StateChange> {
    let Some(before) = by_id(connection, now, scope, id)? else { return Ok(StateChange::NoSuchKey) };
    carried_out(connection, by, keys::set_state(now, before, state))
}

/// Gives a key a new secret.
pub(super) fn rotate(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &KeyId,
    secret: &Sha256Hex,
    old_until: Option<Timestamp>,
) -> rusqlite::Result<Rotation> {
    let Some(key) = by_id(connection, now, scope, id)? else { return Ok(Rotation::NoSuchKey) };
    carried_out(connection, by, keys::rotate(now, &key, secret, owner(connection, secret)?, old_until))
}

/// The key that has, or had, this secret.
pub(super) fn owner(connection: &Connection, secret: &Sha256Hex) -> rusqlite::Result<Option<SecretOwner>> {
    connection
        .prepare_cached("SELECT k.number, k.id FROM secrets s JOIN keys k ON k.number = s.key WHERE s.hash = ?1")?
        .query_row([secret.0], |row| Ok((KeyNumber(row.get(0)?), key_id(row, 1)?)))
        .optional()
}

/// The key with this contract, if one is named.
pub(super) fn same_contract(connection: &Connection, contract: Option<&str>) -> rusqlite::Result<Option<KeyRecord>> {
    contract.map_or(Ok(None), |contract| one(connection, "contract = ?1", &[&contract]))
}

fn hash(scope: &Scope) -> Option<[u8; 32]> {
    scope.hash().map(|hash| hash.0)
}

fn one(connection: &Connection, condition: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Option<KeyRecord>> {
    many(connection, condition, values).map(|found| found.into_iter().next())
}

pub(super) fn many(
    connection: &Connection,
    condition: &str,
    values: &[&dyn ToSql],
) -> rusqlite::Result<Vec<KeyRecord>> {
    let mut found: Vec<KeyRecord> = connection
        .prepare_cached(&format!(
            "SELECT number, id, state, product, seats, used, starts, expires, contract, reseller, note,
                    release_unseen_after, self_release, created_at FROM keys WHERE {condition}"
        ))?
        .query_map(values, record)?
        .collect::<rusqlite::Result<_>>()?;
    for key in &mut found {
        key.old_until = connection
            .prepare_cached("SELECT until FROM secrets WHERE key = ?1 AND until IS NOT NULL ORDER BY until")?
            .query_map([key.number.0], |row| time(row, 0))?
            .collect::<rusqlite::Result<_>>()?;
        key.distrusted = connection
            .prepare_cached("SELECT id FROM distrusted WHERE key = ?1 ORDER BY since, id")?
            .query_map([key.number.0], |row| row.get(0).map(MachineId::from_bytes))?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(found)
}

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    Ok(KeyRecord {
        number: KeyNumber(row.get(0)?),
        key_id: key_id(row, 1)?,
        state: key_state(row, 2)?,
        product: row.get(3)?,
        seats: Seats { total: row.get(4)?, used: row.get(5)? },
        starts: optional_time(row, 6)?,
        expires: time(row, 7)?,
        contract: row.get(8)?,
        reseller: row.get(9)?,
        note: row.get(10)?,
        release_unseen_after: row.get(11)?,
        self_release: row.get(12)?,
        created_at: time(row, 13)?,
        old_until: Vec::new(),
        distrusted: Vec::new(),
    })
}
