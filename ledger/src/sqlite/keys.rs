//! Keys as the administrator sees them: making, changing, finding.
//!
//! Owns the tables `keys` and `secrets`. Every change is an event of the trail, in the transaction of its caller.

use els_protocol::wire::Seats;
use els_protocol::{MachineId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{key_id, key_state, optional_time, time};
use super::trail;
use crate::rows::key_state_text;
use crate::rules::{Judged, KeyState};
use crate::{ContractTaken, Created, KeyChange, KeyId, KeyNumber, KeyRecord, NewKey, Rotation, terms};

/// Makes a key, or finds the one that was made by the same command before.
pub(super) fn create(
    connection: &Connection,
    now: Timestamp,
    new: &NewKey,
    secret: &Sha256Hex,
) -> rusqlite::Result<Created> {
    let owner = owner(connection, secret)?;
    if let Some(contract) = &new.contract
        && let Some(present) = by_contract(connection, contract)?
    {
        return Ok(terms::made_before(present, new, owner));
    }
    if let Some(owner) = owner {
        return Ok(Created::SecretTaken(required(connection, owner)?.key_id));
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
    add_secret(connection, number, secret)?;
    trail::write(connection, &terms::created(now, number, new))?;
    required(connection, number).map(Created::New)
}

/// One key.
pub(super) fn by_id(connection: &Connection, id: &KeyId) -> rusqlite::Result<Option<KeyRecord>> {
    one(connection, "id = ?1", id.as_str())
}

/// Keys in the order of their making.
pub(super) fn list(connection: &Connection, after: Option<KeyNumber>, limit: u32) -> rusqlite::Result<Vec<KeyRecord>> {
    let after = after.map_or(0, |after| after.0);
    many(connection, "number > ?1 ORDER BY number LIMIT ?2", params![after, limit])
}

/// Keys that a text leads to. `pattern` is for LIKE with `\` as its escape.
pub(super) fn find(connection: &Connection, text: &str, pattern: &str, limit: u32) -> rusqlite::Result<Vec<KeyRecord>> {
    let condition = "id = ?1 OR contract LIKE ?2 ESCAPE '\\' OR reseller LIKE ?2 ESCAPE '\\' ORDER BY number LIMIT ?3";
    many(connection, condition, params![text, pattern, limit])
}

/// Changes what is named.
pub(super) fn update(
    connection: &Connection,
    now: Timestamp,
    id: &KeyId,
    change: &KeyChange,
) -> rusqlite::Result<Option<Result<KeyRecord, ContractTaken>>> {
    let Some(before) = by_id(connection, id)? else { return Ok(None) };
    let after = terms::changed(&before, change);
    if before.contract != after.contract
        && let Some(contract) = &after.contract
        && let Some(other) = by_contract(connection, contract)?
    {
        return Ok(Some(Err(ContractTaken(other.key_id))));
    }
    if change.trust_again && !before.distrusted.is_empty() {
        connection.prepare_cached("DELETE FROM distrusted WHERE key = ?1")?.execute([before.number.0])?;
        trail::write(connection, &terms::trusted_again(now, &before))?;
    }
    if let Some(entry) = terms::updated(now, &before, &after) {
        connection
            .prepare_cached(
                "UPDATE keys SET product = ?2, seats = ?3, starts = ?4, expires = ?5, contract = ?6, reseller = ?7,
                 note = ?8, release_unseen_after = ?9, self_release = ?10 WHERE number = ?1",
            )?
            .execute(params![
                before.number.0,
                after.product,
                after.seats.total,
                after.starts.map(Timestamp::unix),
                after.expires.unix(),
                after.contract,
                after.reseller,
                after.note,
                after.release_unseen_after,
                after.self_release,
            ])?;
        trail::write(connection, &entry)?;
    }
    required(connection, before.number).map(|record| Some(Ok(record)))
}

/// Suspends, resumes, revokes. Saying again what is so already changes nothing.
pub(super) fn set_state(
    connection: &Connection,
    now: Timestamp,
    id: &KeyId,
    state: KeyState,
) -> rusqlite::Result<Option<Judged<KeyRecord>>> {
    let Some(before) = by_id(connection, id)? else { return Ok(None) };
    if before.state == state {
        return Ok(Some(Ok(before)));
    }
    if before.state == KeyState::Revoked {
        return Ok(Some(Err(els_protocol::Code::KeyRevoked.into())));
    }
    connection
        .prepare_cached("UPDATE keys SET state = ?2 WHERE number = ?1")?
        .execute(params![before.number.0, key_state_text(state)])?;
    trail::write(connection, &terms::state_changed(now, before.number, state))?;
    Ok(Some(Ok(KeyRecord { state, ..before })))
}

/// Gives a key a new secret. Without `old_until` every older one ends now.
pub(super) fn rotate(
    connection: &Connection,
    now: Timestamp,
    id: &KeyId,
    secret: &Sha256Hex,
    old_until: Option<Timestamp>,
) -> rusqlite::Result<Option<Rotation>> {
    let Some(key) = by_id(connection, id)? else { return Ok(None) };
    if key.state == KeyState::Revoked {
        return Ok(Some(Rotation::Revoked));
    }
    if let Some(owner) = owner(connection, secret)? {
        return Ok(Some(Rotation::SecretTaken(required(connection, owner)?.key_id)));
    }
    // A secret that was to end earlier still does.
    connection
        .prepare_cached("UPDATE secrets SET until = min(coalesce(until, ?2), ?2) WHERE key = ?1")?
        .execute(params![key.number.0, old_until.unwrap_or(now).unix()])?;
    add_secret(connection, key.number, secret)?;
    trail::write(connection, &terms::rotated(now, key.number, old_until))?;
    Ok(Some(Rotation::Rotated))
}

fn add_secret(connection: &Connection, key: KeyNumber, secret: &Sha256Hex) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO secrets (hash, key) VALUES (?1, ?2)")?
        .execute(params![secret.0, key.0])
        .map(drop)
}

/// Whose secret this is, or was.
fn owner(connection: &Connection, secret: &Sha256Hex) -> rusqlite::Result<Option<KeyNumber>> {
    connection
        .prepare_cached("SELECT key FROM secrets WHERE hash = ?1")?
        .query_row([secret.0], |row| row.get(0).map(KeyNumber))
        .optional()
}

fn by_contract(connection: &Connection, contract: &str) -> rusqlite::Result<Option<KeyRecord>> {
    one(connection, "contract = ?1", contract)
}

fn required(connection: &Connection, number: KeyNumber) -> rusqlite::Result<KeyRecord> {
    one(connection, "number = ?1", number.0)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn one(connection: &Connection, condition: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<Option<KeyRecord>> {
    many(connection, condition, params![value]).map(|found| found.into_iter().next())
}

fn many(connection: &Connection, condition: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<KeyRecord>> {
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
