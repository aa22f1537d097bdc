//! Tokens of the vendor's systems.
//!
//! Owns the table `tokens`.

use async_trait::async_trait;
use els_protocol::{Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::row::{hash, invalid, optional_time, time};
use crate::StoreError;
use crate::queue::{QUEUE_KEY_OF_UPKEEP, QUEUE_KEY_OF_VENDOR};
use crate::tokens::{NewToken, TokenId, TokenRecord, Tokens, permissions, stored, words};
use crate::turns::ReadClass;

/// The columns that [`record`] reads.
macro_rules! tokens {
    () => {
        "SELECT id, hash, name, scopes, products, networks, reseller, made_at, expires, used_at, revoked_at FROM tokens"
    };
}

#[async_trait]
impl Tokens for SqliteStore {
    async fn create_token(&self, token: NewToken) -> Result<(), StoreError> {
        self.writer.run(QUEUE_KEY_OF_VENDOR, move |db| create(db, &token)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let all = concat!(tokens!(), " ORDER BY id");
        self.readers.read(ReadClass::Vendor, move |db| db.prepare_cached(all)?.query_map([], record)?.collect()).await
    }

    async fn revoke_token(&self, now: Timestamp, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.writer.run(QUEUE_KEY_OF_VENDOR, move |db| revoke(db, now, &id)).await
    }

    async fn token(&self, hash: Sha256Hex) -> Result<Option<TokenRecord>, StoreError> {
        let one = concat!(tokens!(), " WHERE hash = ?1");
        self.readers
            .read(ReadClass::Lookup, move |db| db.prepare_cached(one)?.query_row([hash.0], record).optional())
            .await
    }

    async fn tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        self.writer.run(QUEUE_KEY_OF_UPKEEP, move |db| used(db, &uses)).await
    }
}

fn create(connection: &Connection, token: &NewToken) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO tokens (id, hash, name, scopes, products, networks, reseller, made_at, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            token.id.as_str(),
            token.hash.0,
            token.name,
            stored(token.scopes.iter().map(|scope| scope.as_str())).unwrap_or_default(),
            stored(token.products.iter().map(String::as_str)),
            stored(token.networks.iter().map(String::as_str)),
            token.reseller,
            token.made_at.unix(),
            token.expires.unix(),
        ])
        .map(drop)
}

fn revoke(connection: &Connection, now: Timestamp, id: &TokenId) -> rusqlite::Result<Option<TokenRecord>> {
    connection
        .prepare_cached("UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
        .execute(params![id.as_str(), now.unix()])?;
    connection.prepare_cached(concat!(tokens!(), " WHERE id = ?1"))?.query_row([id.as_str()], record).optional()
}

fn used(connection: &Connection, uses: &[(TokenId, Timestamp)]) -> rusqlite::Result<()> {
    let sql = "UPDATE tokens SET used_at = ?2 WHERE id = ?1 AND (used_at IS NULL OR used_at < ?2)";
    let mut update = connection.prepare_cached(sql)?;
    for (id, at) in uses {
        update.execute(params![id.as_str(), at.unix()])?;
    }
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let text = |column: usize| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
    Ok(TokenRecord {
        token_id: TokenId::parse(text(0)?.unwrap_or_default()).ok_or_else(|| invalid(0, "a malformed token id"))?,
        hash: hash(row, 1)?,
        name: row.get(2)?,
        scopes: permissions(text(3)?.unwrap_or_default()),
        products: words(text(4)?),
        networks: words(text(5)?),
        reseller: row.get(6)?,
        made_at: time(row, 7)?,
        expires: time(row, 8)?,
        used_at: optional_time(row, 9)?,
        revoked_at: optional_time(row, 10)?,
    })
}
