//! Tokens of the vendor's systems.
//!
//! Owns the table `tokens`.

use async_trait::async_trait;
use els_protocol::{Sha256Hex, Timestamp};
use futures_util::future::FutureExt;
use tokio_postgres::Row;

use super::PostgresStore;
use super::client::Statements;
use super::client::Values;
use super::failure::Failed;
use super::row::Columns;
use crate::StoreError;
use crate::tokens::{NewToken, TokenId, TokenRecord, Tokens, permissions, stored, words};
use crate::turns::ReadClass;

#[async_trait]
impl Tokens for PostgresStore {
    async fn create_token(&self, token: NewToken) -> Result<(), StoreError> {
        self.change(ReadClass::Vendor, move |db| {
            let token = token.clone();
            async move { create(db, &token).await }.boxed()
        })
        .await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read_once(ReadClass::Vendor, |db| {
            async move { db.ask(ALL, Vec::new()).await?.iter().map(record).collect() }.boxed()
        })
        .await
    }

    async fn revoke_token(&self, now: Timestamp, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.change(ReadClass::Vendor, move |db| async move { revoke(db, now, id).await }.boxed()).await
    }

    async fn token(&self, hash: Sha256Hex) -> Result<Option<TokenRecord>, StoreError> {
        self.read_once(ReadClass::Lookup, move |db| {
            async move { one(db.ask(BY_HASH, vec![Box::new(hash.0.to_vec())]).await?) }.boxed()
        })
        .await
    }

    async fn tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        let (ids, times): (Vec<String>, Vec<i64>) =
            uses.into_iter().map(|(id, at)| (id.as_str().to_owned(), at.unix())).unzip();
        self.change(ReadClass::Upkeep, move |db| {
            let (ids, times) = (ids.clone(), times.clone());
            async move { db.run(USED, vec![Box::new(ids), Box::new(times)]).await.map(drop) }.boxed()
        })
        .await
    }
}

async fn create(db: &impl Statements, token: &NewToken) -> Result<(), Failed> {
    let values: Values<'_> = vec![
        Box::new(token.id.as_str()),
        Box::new(token.hash.0.to_vec()),
        Box::new(token.name.as_str()),
        Box::new(stored(token.scopes.iter().map(|scope| scope.as_str())).unwrap_or_default()),
        Box::new(stored(token.products.iter().map(String::as_str))),
        Box::new(stored(token.networks.iter().map(String::as_str))),
        Box::new(token.reseller.as_deref()),
        Box::new(token.made_at.unix()),
        Box::new(token.expires.unix()),
    ];
    db.run(CREATE, values).await.map(drop)
}

async fn revoke(db: &impl Statements, now: Timestamp, id: TokenId) -> Result<Option<TokenRecord>, Failed> {
    db.run(REVOKE, vec![Box::new(id.as_str().to_owned()), Box::new(now.unix())]).await?;
    one(db.ask(BY_ID, vec![Box::new(id.as_str().to_owned())]).await?)
}

fn one(rows: Vec<Row>) -> Result<Option<TokenRecord>, Failed> {
    rows.first().map(record).transpose()
}

fn record(row: &Row) -> Result<TokenRecord, Failed> {
    let row = Columns(row);
    Ok(TokenRecord {
        token_id: TokenId::parse(row.get(0)?).ok_or_else(|| Failed::invalid("a malformed token id"))?,
        hash: row.hash(1)?,
        name: row.get(2)?,
        scopes: permissions(row.get(3)?),
        products: words(row.get(4)?),
        networks: words(row.get(5)?),
        reseller: row.get(6)?,
        made_at: row.time(7)?,
        expires: row.time(8)?,
        used_at: row.optional_time(9)?,
        revoked_at: row.optional_time(10)?,
    })
}

/// The columns that [`record`] reads.
macro_rules! tokens {
    ($rest:literal) => {
        concat!(
            "SELECT id, hash, name, scopes, products, networks, reseller, made_at, expires, used_at, revoked_at
             FROM tokens ",
            $rest
        )
    };
}

const ALL: &str = tokens!("ORDER BY id");
const BY_ID: &str = tokens!("WHERE id = $1");
const BY_HASH: &str = tokens!("WHERE hash = $1");
const CREATE: &str = "INSERT INTO tokens (id, hash, name, scopes, products, networks, reseller, made_at, expires)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const REVOKE: &str = "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const USED: &str = "UPDATE tokens t SET used_at = x.at FROM unnest($1::text[], $2::int8[]) AS x (id, at)
    WHERE t.id = x.id AND (t.used_at IS NULL OR t.used_at < x.at)";
