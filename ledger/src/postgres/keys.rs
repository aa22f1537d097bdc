//! Keys as the vendor sees them: making, changing, finding.
//!
//! Owns reading the tables `keys` and `secrets`. What a change means, and what the audit log says of it, is decided in
//! `crate::keys`; every change is made under the key's lock.

use els_protocol::wire::Seats;
use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};
use tokio_postgres::Row;

use super::apply::{apply, carried_out};
use super::client::{Statements, Values};
use super::failure::Failed;
use super::holders;
use super::row::{Columns, bigint, scope_hash, uuid};
use crate::by::By;
use crate::keys::{self, SecretOwner};
use crate::outcome::{Created, KeyUpdate, ReleaseOutcome, Rotation, StateChange};
use crate::rules::{Judged, KeyState};
use crate::scope::{Scope, within_scope};
use crate::{KeyChange, KeyId, KeyNumber, KeyRecord, NewKey, seats};

/// Reads keys by a condition.
macro_rules! records {
    ($($condition:expr),*) => {
        concat!(
            "SELECT number, id, state, product, seats, used, starts, expires, contract, reseller, note,
                release_unseen_after, self_release, created_at FROM keys WHERE ",
            $($condition),*
        )
    };
}
pub(super) use records;

/// Makes a key, or finds the one that was made by the same command before. Of two at once, the later one meets the unique
/// contract or secret, and is tried again.
pub(super) async fn create(
    db: &impl Statements,
    now: Timestamp,
    by: &By,
    new: &NewKey,
    secret: &Sha256Hex,
) -> Result<Created, Failed> {
    let same_contract = same_contract(db, new.contract.as_deref()).await?;
    if let Some(found) = keys::made_before(new, same_contract, owner(db, secret).await?) {
        return Ok(found);
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
    apply(db, &[(by, keys::made(now, number, new, secret))]).await?;
    let made = one(db, BY_NUMBER, vec![Box::new(number.0)]).await?;
    made.map(Created::New).ok_or_else(|| Failed::invalid("a number that no key has"))
}

/// One key.
pub(super) async fn by_id(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    id: &KeyId,
) -> Result<Option<KeyRecord>, Failed> {
    one(db, BY_ID, vec![Box::new(id.as_str()), scope_hash(scope), Box::new(now.unix())]).await
}

/// Keys in the order in which they were made.
pub(super) async fn list(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    after: Option<KeyNumber>,
    limit: u32,
) -> Result<Vec<KeyRecord>, Failed> {
    let after = after.map_or(0, |after| after.0);
    let values: Values<'_> = vec![Box::new(after), Box::new(i64::from(limit)), scope_hash(scope), Box::new(now.unix())];
    many(db, LIST, values).await
}

/// Keys that a text leads to. `pattern` is for LIKE with `\` as its escape.
pub(super) async fn find(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    text: &str,
    pattern: &str,
    limit: u32,
) -> Result<Vec<KeyRecord>, Failed> {
    let values: Values<'_> =
        vec![Box::new(text), Box::new(pattern), Box::new(i64::from(limit)), scope_hash(scope), Box::new(now.unix())];
    many(db, FIND, values).await
}

/// Changes what `change` names.
pub(super) async fn update(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &KeyId,
    change: &KeyChange,
) -> Result<KeyUpdate, Failed> {
    let Some(before) = locked(db, now, scope, id).await? else { return Ok(KeyUpdate::NoSuchKey) };
    let same_contract = same_contract(db, change.contract.as_ref().and_then(Option::as_deref)).await?;
    carried_out(db, by, keys::update(now, &before, change, same_contract)).await
}

/// Suspends, resumes or revokes.
pub(super) async fn set_state(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &KeyId,
    state: KeyState,
) -> Result<StateChange, Failed> {
    let Some(before) = locked(db, now, scope, id).await? else { return Ok(StateChange::NoSuchKey) };
    carried_out(db, by, keys::set_state(now, before, state)).await
}

/// Gives a key a new secret.
pub(super) async fn rotate(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &KeyId,
    secret: &Sha256Hex,
    old_until: Option<Timestamp>,
) -> Result<Rotation, Failed> {
    let Some(key) = locked(db, now, scope, id).await? else { return Ok(Rotation::NoSuchKey) };
    carried_out(db, by, keys::rotate(now, &key, secret, owner(db, secret).await?, old_until)).await
}

/// Releases the seat of a registration whose key is within a scope.
pub(super) async fn release(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: RegistrationId,
) -> Result<Judged<ReleaseOutcome>, Failed> {
    db.ask(LOCK_KEY_OF, vec![Box::new(uuid(&id))]).await?;
    let known = match holders::own(db, id).await? {
        Some((known, key)) => by_id(db, now, scope, &key.id).await?.map(|_| known),
        None => None,
    };
    carried_out(db, by, seats::release_by_vendor(now, known.as_ref())).await
}

/// The key that has, or had, this secret.
pub(super) async fn owner(db: &impl Statements, secret: &Sha256Hex) -> Result<Option<SecretOwner>, Failed> {
    let rows = db.ask(OWNER, vec![Box::new(secret.0.to_vec())]).await?;
    let owner = |row| Ok((KeyNumber(Columns(row).get(0)?), Columns(row).key_id(1)?));
    rows.first().map(owner).transpose()
}

/// One key, which nobody else changes until this transaction ends.
pub(super) async fn locked(
    db: &impl Statements,
    now: Timestamp,
    scope: &Scope,
    id: &KeyId,
) -> Result<Option<KeyRecord>, Failed> {
    db.ask("SELECT 1 FROM keys WHERE id = $1 FOR NO KEY UPDATE", vec![Box::new(id.as_str())]).await?;
    by_id(db, now, scope, id).await
}

/// The key with this contract, if one is named.
pub(super) async fn same_contract(db: &impl Statements, contract: Option<&str>) -> Result<Option<KeyRecord>, Failed> {
    match contract {
        Some(contract) => one(db, BY_CONTRACT, vec![Box::new(contract)]).await,
        None => Ok(None),
    }
}

async fn one(db: &impl Statements, question: &'static str, values: Values<'_>) -> Result<Option<KeyRecord>, Failed> {
    Ok(many(db, question, values).await?.into_iter().next())
}

pub(super) async fn many(
    db: &impl Statements,
    question: &'static str,
    values: Values<'_>,
) -> Result<Vec<KeyRecord>, Failed> {
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

const BY_ID: &str = records!("id = $1 AND ", within_scope!("keys.number", "$2::bytea", "$3"));
const BY_NUMBER: &str = records!("number = $1");
const BY_CONTRACT: &str = records!("contract = $1");
const LIST: &str =
    records!("number > $1 AND ", within_scope!("keys.number", "$3::bytea", "$4"), " ORDER BY number LIMIT $2");
const FIND: &str = records!(
    "(id = $1 OR contract ILIKE $2 OR reseller ILIKE $2) AND ",
    within_scope!("keys.number", "$4::bytea", "$5"),
    " ORDER BY number LIMIT $3"
);
const CREATE: &str = "INSERT INTO keys (id, product, seats, state, starts, expires, contract, reseller, note,
        release_unseen_after, self_release, created_at)
    VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10, $11) RETURNING number";
const LOCK_KEY_OF: &str =
    "SELECT 1 FROM keys WHERE number = (SELECT key FROM registrations WHERE id = $1) FOR NO KEY UPDATE";
const OWNER: &str = "SELECT k.number, k.id FROM (SELECT key FROM secrets WHERE hash = $1 OFFSET 0) s
    CROSS JOIN LATERAL (SELECT number, id FROM keys WHERE number = s.key OFFSET 0) k";
const OLD_UNTIL: &str = "SELECT key, until FROM secrets
    WHERE key = ANY ($1::int8[]) AND (key > 0) IS TRUE AND until IS NOT NULL ORDER BY until";
const DISTRUSTED: &str = "SELECT key, id FROM distrusted WHERE key = ANY ($1::int8[]) ORDER BY since, id";
