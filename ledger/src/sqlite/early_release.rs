//! Early releases.
//!
//! Owns the table `early_releases`: the release of an id that was never seen is remembered for a day, so that a
//! registration that comes later is denied. Anybody can send one, so their number is bounded for each client address.

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, params};

use crate::rows::{REMEMBERED_PER_CLIENT, REMEMBERED_SECONDS};

/// Remembers id and token. Where the client has too many, its oldest are forgotten.
pub(super) fn remember(
    connection: &Connection,
    now: Timestamp,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
    client: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO early_releases (id, token_hash, client, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET at = excluded.at",
        )?
        .execute(params![id.as_bytes(), token_hash.0, client, now.unix()])?;
    connection
        .prepare_cached(
            "DELETE FROM early_releases WHERE (id, token_hash) IN
             (SELECT id, token_hash FROM early_releases WHERE client = ?1 ORDER BY at DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![client, REMEMBERED_PER_CLIENT])
        .map(drop)
}

/// Whether there was an early release of this id and token within the last day.
pub(super) fn is_remembered(
    connection: &Connection,
    now: Timestamp,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM early_releases WHERE id = ?1 AND token_hash = ?2 AND at > ?3")?
        .exists(params![id.as_bytes(), token_hash.0, now.plus_seconds(-REMEMBERED_SECONDS).unix()])
}

/// Forgets what is older than a day; says how many.
pub(super) fn forget(connection: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("DELETE FROM early_releases WHERE at <= ?1")?
        .execute([now.plus_seconds(-REMEMBERED_SECONDS).unix()])
        .map(|count| count as u64)
}
