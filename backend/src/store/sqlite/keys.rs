//! Keys as the administrator sees them: making, changing, finding.
//!
//! Owns the tables `keys` and `secrets`. Every change is an event of the trail, in the transaction of its caller.

use els_protocol::wire::Seats;
use els_protocol::{MachineId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{key_id, key_state, key_state_text, optional_time, time};
use super::trail::Entry;
use crate::license::{Judged, KeyState};
use crate::store::{ContractTaken, Created, EventKind, KeyChange, KeyId, KeyNumber, KeyRecord, NewKey, Rotation};

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
        let mut differing = differences(&present, new);
        // A secret that was generated is another one each time; an imported one is a value like the others.
        if new.imported && owner != Some(present.number) {
            differing.push("the key itself");
        }
        return Ok(match differing.is_empty() {
            true => Created::Same(present),
            false => Created::Differs(present, differing),
        });
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
    let detail = format!("{} seats of {} until {}", new.seats, new.product, new.expires);
    Entry::of_key(now, EventKind::KeyCreated, number).because(&detail).write(connection)?;
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
    let after = changed(&before, change);
    if before.contract != after.contract
        && let Some(contract) = &after.contract
        && let Some(other) = by_contract(connection, contract)?
    {
        return Ok(Some(Err(ContractTaken(other.key_id))));
    }
    if change.trust_again && !before.distrusted.is_empty() {
        connection.prepare_cached("DELETE FROM distrusted WHERE key = ?1")?.execute([before.number.0])?;
        let detail = format!("{} ids", before.distrusted.len());
        Entry::of_key(now, EventKind::TrustedAgain, before.number).because(&detail).write(connection)?;
    }
    let told = story(&before, &after);
    if !told.is_empty() {
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
        Entry::of_key(now, EventKind::KeyUpdated, before.number).because(&told.join(", ")).write(connection)?;
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
    let kind = match state {
        KeyState::Active => EventKind::KeyResumed,
        KeyState::Suspended => EventKind::KeySuspended,
        KeyState::Revoked => EventKind::KeyRevoked,
    };
    Entry::of_key(now, kind, before.number).write(connection)?;
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
    let detail = match old_until {
        Some(until) => format!("the old key counts until {until}"),
        None => "the old key no longer counts".to_owned(),
    };
    Entry::of_key(now, EventKind::KeyRotated, key.number).because(&detail).write(connection)?;
    Ok(Some(Rotation::Rotated))
}

fn changed(before: &KeyRecord, change: &KeyChange) -> KeyRecord {
    KeyRecord {
        seats: Seats { total: change.seats.unwrap_or(before.seats.total), ..before.seats },
        product: change.product.clone().unwrap_or_else(|| before.product.clone()),
        starts: change.starts.unwrap_or(before.starts),
        expires: change.expires.unwrap_or(before.expires),
        contract: change.contract.clone().unwrap_or_else(|| before.contract.clone()),
        reseller: change.reseller.clone().unwrap_or_else(|| before.reseller.clone()),
        note: change.note.clone().unwrap_or_else(|| before.note.clone()),
        release_unseen_after: change.release_unseen_after.unwrap_or(before.release_unseen_after),
        self_release: change.self_release.unwrap_or(before.self_release),
        ..before.clone()
    }
}

/// What has changed, for the trail. Remarks may be long and are not repeated there.
fn story(before: &KeyRecord, after: &KeyRecord) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |what: &str, from: String, to: String| {
        if from != to {
            told.push(format!("{what} {from} to {to}"));
        }
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    let start = |value: Option<Timestamp>| value.map_or_else(|| "none".into(), |time| time.to_string());
    let days = |value: Option<u32>| value.map_or_else(|| "never".into(), |days| format!("{days} days"));
    compare("seats", before.seats.total.to_string(), after.seats.total.to_string());
    compare("product", before.product.clone(), after.product.clone());
    compare("starts", start(before.starts), start(after.starts));
    compare("expires", before.expires.to_string(), after.expires.to_string());
    compare("contract", text(&before.contract), text(&after.contract));
    compare("reseller", text(&before.reseller), text(&after.reseller));
    compare("release-unseen-after", days(before.release_unseen_after), days(after.release_unseen_after));
    compare("self-release", before.self_release.to_string(), after.self_release.to_string());
    if before.note != after.note {
        told.push("note".into());
    }
    told
}

fn differences(present: &KeyRecord, new: &NewKey) -> Vec<&'static str> {
    [
        ("--seats", present.seats.total == new.seats),
        ("--expires", present.expires == new.expires),
        ("--starts", present.starts == new.starts),
        ("--product", present.product == new.product),
        ("--reseller", present.reseller == new.reseller),
        ("--note", present.note == new.note),
        ("--release-unseen-after", present.release_unseen_after == new.release_unseen_after),
        ("--no-self-release", present.self_release == new.self_release),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect()
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
