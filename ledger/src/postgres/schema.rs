//! The schema of a PostgreSQL database: whose it is, which version it has, bringing it up to date.
//!
//! Owns the table `els_schema`.

use anyhow::{Context, bail};
use deadpool_postgres::ClientWrapper;

use crate::Opening;
use crate::schema::{SchemaVersion, needs_migration, refuse_newer};

/// Checks the schema, and sets it up or brings it up to date where `opening` allows that.
pub(super) async fn prepare(client: &mut ClientWrapper, shown: &str, opening: Opening) -> anyhow::Result<()> {
    let latest = MIGRATIONS.len();
    let found = match schema(client).await.with_context(|| format!("cannot read the database {shown}"))? {
        Schema::Foreign => {
            bail!("the database {shown} is another program's; make one of its own: CREATE DATABASE els")
        }
        Schema::Empty => None,
        Schema::Ours(version) => Some(version),
    };
    // A schema on a server is made by a migration alone.
    let opening = if opening == Opening::Creating { Opening::Existing } else { opening };
    match needs_migration(shown, found, latest, opening)? {
        true => migrate(client).await.with_context(|| format!("cannot bring the database {shown} to schema {latest}")),
        false => Ok(()),
    }
}

/// Refuses a database that has more than this program knows, for who copies it.
pub(super) async fn refuse_newer_schema(client: &ClientWrapper, shown: &str) -> anyhow::Result<()> {
    match schema(client).await.with_context(|| format!("cannot read the database {shown}"))? {
        Schema::Ours(found) => refuse_newer(shown, found.version, MIGRATIONS.len()),
        Schema::Empty | Schema::Foreign => Ok(()),
    }
}

enum Schema {
    Empty,
    Foreign,
    Ours(SchemaVersion),
}

async fn schema(client: &ClientWrapper) -> anyhow::Result<Schema> {
    let ours: bool = client.query_one("SELECT to_regclass('els_schema') IS NOT NULL", &[]).await?.get(0);
    if !ours {
        let tables: i64 = client
            .query_one("SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()", &[])
            .await?
            .get(0);
        return Ok(if tables == 0 { Schema::Empty } else { Schema::Foreign });
    }
    // Schema 1 has no such column.
    let sql = "SELECT version, coalesce((to_jsonb(s) ->> 'oldest')::int, 1) FROM els_schema s";
    let row = client.query_one(sql, &[]).await?;
    let number = |column| usize::try_from(row.get::<_, i32>(column)).context("a schema's version is below zero");
    Ok(Schema::Ours(SchemaVersion { version: number(0)?, oldest: number(1)? }))
}

/// Applies what is missing, in one transaction and under a lock: another node may do the same.
async fn migrate(client: &mut ClientWrapper) -> anyhow::Result<()> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&super::LOCK_OF_SCHEMA]).await?;
    transaction.batch_execute("CREATE TABLE IF NOT EXISTS els_schema (version INT NOT NULL)").await?;
    let insert = "INSERT INTO els_schema (version) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM els_schema)";
    transaction.batch_execute(insert).await?;
    let version: i32 = transaction.query_one("SELECT version FROM els_schema", &[]).await?.get(0);
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.batch_execute(step).await?;
    }
    let latest = i32::try_from(MIGRATIONS.len()).context("too many migrations")?;
    // Never back: another node may have brought it further meanwhile.
    transaction.execute("UPDATE els_schema SET version = greatest(version, $1)", &[&latest]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Each step brings the schema to the next version. Steps that were released never change.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres-1.sql"),
    include_str!("../../migrations/postgres-2.sql"),
    include_str!("../../migrations/postgres-3.sql"),
    include_str!("../../migrations/postgres-4.sql"),
];
