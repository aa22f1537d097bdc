//! Releasing seats, and the use of a superseded credential.
//!
//! Owns reading the facts, in the transaction of its caller. What they mean is decided in `seats`.

use std::net::IpAddr;

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use rusqlite::Connection;

use super::apply::{apply, carried_out};
use super::facts::{key_by_number, key_by_secret, registration, sharing};
use super::keys;
use crate::by::By;
use crate::outcome::ReleaseOutcome;
use crate::rules::{Denied, Judged};
use crate::scope::Scope;
use crate::{Policy, seats};

/// The machine itself releases its seat.
pub(super) fn unregister(
    connection: &Connection,
    now: Timestamp,
    by: &By,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
    client: IpAddr,
) -> rusqlite::Result<Judged<ReleaseOutcome>> {
    let known = registration(connection, id)?;
    carried_out(connection, by, seats::unregister(now, *id, *token_hash, client, known.as_ref()))
}

/// Releases a seat within a scope.
pub(super) fn release(
    connection: &Connection,
    now: Timestamp,
    scope: &Scope,
    by: &By,
    id: &RegistrationId,
) -> rusqlite::Result<Judged<ReleaseOutcome>> {
    let known = registration(connection, id)?;
    let decided = match scope {
        Scope::Vendor => seats::release_by_vendor(now, known.as_ref()),
        Scope::Token(_) => {
            let reached = match &known {
                Some(known) => keys::reaches(connection, now, scope, known.key)?,
                None => false,
            };
            seats::release_by_vendor(now, known.as_ref().filter(|_| reached))
        }
        Scope::Key(secret) => match key_by_secret(connection, now, secret)? {
            Some(key) => seats::release_with_key(now, &key, known.as_ref()),
            None => return Ok(Err(Denied::UnknownKey)),
        },
    };
    carried_out(connection, by, decided)
}

/// The use of a superseded credential.
pub(super) fn superseded_used(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    by: &By,
    id: &RegistrationId,
) -> rusqlite::Result<()> {
    let Some(old) = registration(connection, id)? else { return Ok(()) };
    let key = key_by_number(connection, old.key)?;
    let holder = match &old.successor {
        Some(successor) => registration(connection, successor)?,
        None => None,
    };
    let sharing = sharing(connection, &old)?;
    apply(connection, by, &seats::superseded_used(policy, now, &key, &old, holder.as_ref(), &sharing))
}
