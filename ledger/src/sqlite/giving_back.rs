//! Giving seats back, and the superseded credential that is used.
//!
//! Owns gathering the facts, in the transaction of its caller. What they mean is `store::seats`'s.

use std::borrow::Cow;
use std::net::IpAddr;

use els_protocol::{Code, RegistrationId, Sha256Hex, Timestamp};
use rusqlite::Connection;

use super::apply::apply;
use super::held::{held, key_by_number, key_by_secret};
use crate::rules::Judged;
use crate::seats::{self, Outcome};
use crate::{Deleted, Policy};

/// DELETE by the machine itself.
pub(super) fn delete(
    connection: &Connection,
    now: Timestamp,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
    client: IpAddr,
) -> rusqlite::Result<Judged<Deleted>> {
    let held = held(connection, id)?;
    carried_out(connection, seats::delete(now, *id, *token_hash, client, held.as_ref()))
}

/// DELETE of a seat by whoever holds the key.
pub(super) fn release(
    connection: &Connection,
    now: Timestamp,
    secret: &Sha256Hex,
    id: &RegistrationId,
) -> rusqlite::Result<Judged<Deleted>> {
    let Some(key) = key_by_secret(connection, now, secret)? else {
        return Ok(Err(Code::UnknownKey.into()));
    };
    let held = held(connection, id)?;
    carried_out(connection, seats::release(now, &key, held.as_ref()))
}

/// Frees a seat in the vendor's name, or because nobody has seen its machine; `None` when nobody has seen the id.
pub(super) fn release_any(
    connection: &Connection,
    now: Timestamp,
    id: &RegistrationId,
    why: Cow<'static, str>,
) -> rusqlite::Result<Option<Deleted>> {
    let Some(held) = held(connection, id)? else { return Ok(None) };
    carried_out(connection, seats::release_any(now, &held, why)).map(Result::ok)
}

/// The use of a superseded credential.
pub(super) fn superseded_used(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    id: &RegistrationId,
) -> rusqlite::Result<()> {
    let Some(old) = held(connection, id)? else { return Ok(()) };
    let key = key_by_number(connection, old.key)?;
    let newer = match &old.successor {
        Some(successor) => held(connection, successor)?,
        None => None,
    };
    apply(connection, &seats::superseded_used(policy, now, &key, &old, newer.as_ref()))
}

fn carried_out<T>(connection: &Connection, outcome: Outcome<T>) -> rusqlite::Result<T> {
    apply(connection, &outcome.changes)?;
    Ok(outcome.answer)
}
