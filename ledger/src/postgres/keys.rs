//! Keys as the administrator sees them: making, changing, finding.
//!
//! Owns the tables `keys` and `secrets`. Every change is an event of the trail, in the transaction of its caller, and is made
//! under the key's lock.

use els_protocol::wire::Seats;
use els_protocol::{Code, MachineId, Sha256Hex, Timestamp};
use tokio_postgres::Row;

use super::apply::{Values, apply};
use super::client::Statements;
use super::failure::Failed;
use super::row::{Columns, bigint};
use crate::change::{Change, Entry};
use crate::rows::key_state_text;
use crate::rules::{Judged, KeyState};
use crate::{ContractTaken, Created, KeyChange, KeyId, KeyNumber, KeyRecord, NewKey, Rotation, terms};

/// Makes a key, or finds the one that was made by the same command before. Two at once: the later one meets the unique contract
/// or secret, and is tried again.
pub(super) async fn create(
    db: &impl Statements,
    now: Timestamp,
    new: &NewKey,
    secret: &Sha256Hex,
) -> Result<Created, Failed> {
    let owner = owner(db, secret).await?;
    if let Some(contract) = &new.contract
        && let Some(present) = by_contract(db, contract).await?
    {
        return Ok(terms::made_before(present, new, owner));
    }
    if let Some(owner) = owner {
        return Ok(Created::SecretTaken(required(db, owner).await?.key_id));
    }
    let values: Values<'_> = vec![
        Box::new(new.id.as_str()),
        Box::new(new.product.as_str()),
        Box::new(bigint(new.seats)),
        Box::new(new.starts.map(Timestamp::unix)),
        Box::new(new.expires.unix()),
        Box::new(new.contract.as_deref()),
        Box::new(new.reseller.as_deref()),
        Box::new(new.note.as_deref()),
        Box::new(new.release_unseen_after.map(i64::from)),
        Box::new(new.self_release),
        Box::new(now.unix()),
    ];
    let made = db.ask(CREATE, values).await?;
    let number = KeyNumber(Columns(made.first().ok_or_else(|| Failed::invalid("no number for a key"))?).get(0)?);
    add_secret(db, number, secret).await?;
    write(db, terms::created(now, number, new)).await?;
    required(db, number).await.map(Created::New)
}

/// One key.
pub(super) async fn by_id(db: &impl Statements, id: &KeyId) -> Result<Option<KeyRecord>, Failed> {
    Ok(many(db, BY_ID, vec![Box::new(id.as_str())]).await?.into_iter().next())
}

/// Keys in the order of their making.
pub(super) async fn list(db: &impl Statements, after: Option<KeyNumber>, limit: u32) -> Result<Vec<KeyRecord>, Failed> {
    let after = after.map_or(0, |after| after.0);
    many(db, LIST, vec![Box::new(after), Box::new(i64::from(limit))]).await
}

/// Keys that a text leads to. `pattern` is for LIKE with `\` as its escape.
pub(super) async fn find(
    db: &impl Statements,
    text: &str,
    pattern: &str,
    limit: u32,
) -> Result<Vec<KeyRecord>, Failed> {
    many(db, FIND, vec![Box::new(text), Box::new(pattern), Box::new(i64::from(limit))]).await
}

/// Changes what is named.
pub(super) async fn update(
    db: &impl Statements,
    now: Timestamp,
    id: &KeyId,
    change: &KeyChange,
) -> Result<Option<Result<KeyRecord, ContractTaken>>, Failed> {
    let Some(before) = locked(db, id).await? else { return Ok(None) };
    let after = terms::changed(&before, change);
    if before.contract != after.contract
        && let Some(contract) = &after.contract
        && let Some(other) = by_contract(db, contract).await?
    {
        return Ok(Some(Err(ContractTaken(other.key_id))));
    }
    if change.trust_again && !before.distrusted.is_empty() {
        db.run("DELETE FROM distrusted WHERE key = $1", vec![Box::new(before.number.0)]).await?;
        write(db, terms::trusted_again(now, &before)).await?;
    }
    if let Some(entry) = terms::updated(now, &before, &after) {
        let values: Values<'_> = vec![
            Box::new(before.number.0),
            Box::new(after.product.as_str()),
            Box::new(bigint(after.seats.total)),
            Box::new(after.starts.map(Timestamp::unix)),
            Box::new(after.expires.unix()),
            Box::new(after.contract.as_deref()),
            Box::new(after.reseller.as_deref()),
            Box::new(after.note.as_deref()),
            Box::new(after.release_unseen_after.map(i64::from)),
            Box::new(after.self_release),
        ];
        db.run(UPDATE, values).await?;
        write(db, entry).await?;
    }
    required(db, before.number).await.map(|record| Some(Ok(record)))
}

/// Suspends, resumes, revokes. Saying again what is so already changes nothing.
pub(super) async fn set_state(
    db: &impl Statements,
    now: Timestamp,
    id: &KeyId,
    state: KeyState,
) -> Result<Option<Judged<KeyRecord>>, Failed> {
    let Some(before) = locked(db, id).await? else { return Ok(None) };
    if before.state == state {
        return Ok(Some(Ok(before)));
    }
    if before.state == KeyState::Revoked {
        return Ok(Some(Err(Code::KeyRevoked.into())));
    }
    let values: Values<'_> = vec![Box::new(before.number.0), Box::new(key_state_text(state))];
    db.run("UPDATE keys SET state = $2 WHERE number = $1", values).await?;
    write(db, terms::state_changed(now, before.number, state)).await?;
    Ok(Some(Ok(KeyRecord { state, ..before })))
}

/// Gives a key a new secret. Without `old_until` every older one ends now.
pub(super) async fn rotate(
    db: &impl Statements,
    now: Timestamp,
    id: &KeyId,
    secret: &Sha256Hex,
    old_until: Option<Timestamp>,
) -> Result<Option<Rotation>, Failed> {
    let Some(key) = locked(db, id).await? else { return Ok(None) };
    if key.state == KeyState::Revoked {
        return Ok(Some(Rotation::Revoked));
    }
    if let Some(owner) = owner(db, secret).await? {
        return Ok(Some(Rotation::SecretTaken(required(db, owner).await?.key_id)));
    }
    // A secret that was to end earlier still does.
    let until = old_until.unwrap_or(now).unix();
    let sql = "UPDATE secrets SET until = least(until, $2) WHERE key = $1 AND (key > 0) IS TRUE";
    db.run(sql, vec![Box::new(key.number.0), Box::new(until)]).await?;
    add_secret(db, key.number, secret).await?;
    write(db, terms::rotated(now, key.number, old_until)).await?;
    Ok(Some(Rotation::Rotated))
}

async fn write(db: &impl Statements, entry: Entry) -> Result<(), Failed> {
    apply(db, &[Change::Event(entry)]).await
}

async fn add_secret(db: &impl Statements, key: KeyNumber, secret: &Sha256Hex) -> Result<(), Failed> {
    let values: Values<'_> = vec![Box::new(secret.0.to_vec()), Box::new(key.0)];
    db.run("INSERT INTO secrets (hash, key) VALUES ($1, $2)", values).await.map(drop)
}

/// Whose secret this is, or was.
async fn owner(db: &impl Statements, secret: &Sha256Hex) -> Result<Option<KeyNumber>, Failed> {
    let rows = db.ask("SELECT key FROM secrets WHERE hash = $1", vec![Box::new(secret.0.to_vec())]).await?;
    rows.first().map(|row| Columns(row).get(0).map(KeyNumber)).transpose()
}

/// One key, which nobody else changes until this transaction ends.
async fn locked(db: &impl Statements, id: &KeyId) -> Result<Option<KeyRecord>, Failed> {
    db.ask("SELECT 1 FROM keys WHERE id = $1 FOR NO KEY UPDATE", vec![Box::new(id.as_str())]).await?;
    by_id(db, id).await
}

async fn by_contract(db: &impl Statements, contract: &str) -> Result<Option<KeyRecord>, Failed> {
    Ok(many(db, BY_CONTRACT, vec![Box::new(contract)]).await?.into_iter().next())
}

async fn required(db: &impl Statements, number: KeyNumber) -> Result<KeyRecord, Failed> {
    let found = many(db, BY_NUMBER, vec![Box::new(number.0)]).await?.into_iter().next();
    found.ok_or_else(|| Failed::invalid("a number that no key has"))
}

async fn many(db: &impl Statements, question: &'static str, values: Values<'_>) -> Result<Vec<KeyRecord>, Failed> {
    let mut found = db.ask(question, values).await?.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<i64> = found.iter().map(|key| key.number.0).collect();
    let ends = db.ask(OLD_UNTIL, vec![Box::new(numbers.clone())]).await?;
    let distrusted = db.ask(DISTRUSTED, vec![Box::new(numbers)]).await?;
    for key in &mut found {
        for row in ends.iter().map(Columns).filter(|row| row.get::<i64>(0).is_ok_and(|of| of == key.number.0)) {
            key.old_until.push(row.time(1)?);
        }
        for row in distrusted.iter().map(Columns).filter(|row| row.get::<i64>(0).is_ok_and(|of| of == key.number.0)) {
            let id: Option<MachineId> = row.machine_id(1)?;
            key.distrusted.extend(id);
        }
    }
    Ok(found)
}

fn record(row: &Row) -> Result<KeyRecord, Failed> {
    let row = Columns(row);
    let days: Option<i64> = row.get(11)?;
    Ok(KeyRecord {
        number: KeyNumber(row.get(0)?),
        key_id: row.key_id(1)?,
        state: row.key_state(2)?,
        product: row.get(3)?,
        seats: Seats { total: row.count(4)?, used: row.count(5)? },
        starts: row.optional_time(6)?,
        expires: row.time(7)?,
        contract: row.get(8)?,
        reseller: row.get(9)?,
        note: row.get(10)?,
        release_unseen_after: days
            .map(|days| u32::try_from(days).map_err(|_| Failed::invalid("a number of days that cannot be")))
            .transpose()?,
        self_release: row.get(12)?,
        created_at: row.time(13)?,
        old_until: Vec::new(),
        distrusted: Vec::new(),
    })
}

macro_rules! records {
    ($condition:literal) => {
        concat!(
            "SELECT number, id, state, product, seats, used, starts, expires, contract, reseller, note,
                release_unseen_after, self_release, created_at FROM keys WHERE ",
            $condition
        )
    };
}

const BY_ID: &str = records!("id = $1");
const BY_NUMBER: &str = records!("number = $1");
const BY_CONTRACT: &str = records!("contract = $1");
const LIST: &str = records!("number > $1 ORDER BY number LIMIT $2");
const FIND: &str = records!("id = $1 OR contract ILIKE $2 OR reseller ILIKE $2 ORDER BY number LIMIT $3");
const CREATE: &str = "INSERT INTO keys (id, product, seats, state, starts, expires, contract, reseller, note,
        release_unseen_after, self_release, created_at)
    VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10, $11) RETURNING number";
const UPDATE: &str =
    "UPDATE keys SET product = $2, seats = $3, starts = $4, expires = $5, contract = $6, reseller = $7,
        note = $8, release_unseen_after = $9, self_release = $10 WHERE number = $1";
const OLD_UNTIL: &str = "SELECT key, until FROM secrets
    WHERE key = ANY ($1::int8[]) AND (key > 0) IS TRUE AND until IS NOT NULL ORDER BY until";
const DISTRUSTED: &str = "SELECT key, id FROM distrusted WHERE key = ANY ($1::int8[]) ORDER BY since, id";
