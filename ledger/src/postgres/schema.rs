//! The schema of a PostgreSQL database: whose it is, which version it has, bringing it up to date.
//!
//! Owns the table `els_schema`. A step only adds to what a running node of the version before knows (expand); what is no
//! longer used goes a release later (contract). So nodes of two neighbouring versions work side by side.

use anyhow::{Context, bail};
use deadpool_postgres::ClientWrapper;

use crate::Opening;

/// Checks the schema, and sets it up or brings it up to date where `opening` allows that.
pub(super) async fn prepare(client: &mut ClientWrapper, shown: &str, opening: Opening) -> anyhow::Result<()> {
    let latest = MIGRATIONS.len();
    let version = match version(client).await.with_context(|| format!("cannot read the database {shown}"))? {
        Found::Foreign => bail!("the database {shown} is another program's; make one of its own: CREATE DATABASE els"),
        Found::Empty => 0,
        Found::Version(version) => version,
    };
    if version > latest {
        bail!(
            "the database {shown} has schema {version}, this els-backend {} knows {latest}: use the newer els-backend",
            env!("CARGO_PKG_VERSION")
        );
    }
    if version == latest {
        return Ok(());
    }
    if opening != Opening::Migrating {
        match version {
            0 => bail!("the database {shown} is empty: run `els-backend migrate`"),
            older => {
                bail!("the database {shown} has schema {older}, this version needs {latest}: run `els-backend migrate`")
            }
        }
    }
    migrate(client).await.with_context(|| format!("cannot bring the database {shown} to schema {latest}"))
}

enum Found {
    Empty,
    Foreign,
    Version(usize),
}

async fn version(client: &ClientWrapper) -> anyhow::Result<Found> {
    let ours: bool = client.query_one("SELECT to_regclass('els_schema') IS NOT NULL", &[]).await?.get(0);
    if !ours {
        let tables: i64 = client
            .query_one("SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()", &[])
            .await?
            .get(0);
        return Ok(if tables == 0 { Found::Empty } else { Found::Foreign });
    }
    let version: i32 = client.query_one("SELECT version FROM els_schema", &[]).await?.get(0);
    Ok(Found::Version(usize::try_from(version).context("the schema's version is below zero")?))
}

/// Applies what is missing, in one transaction and under a lock: another node may be at the same.
async fn migrate(client: &mut ClientWrapper) -> anyhow::Result<()> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&super::LOCK_OF_SCHEMA]).await?;
    transaction.batch_execute("CREATE TABLE IF NOT EXISTS els_schema (version INT NOT NULL)").await?;
    let known = transaction.query_opt("SELECT version FROM els_schema", &[]).await?;
    let version: i32 = known.as_ref().map_or(0, |row| row.get(0));
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.batch_execute(step).await?;
    }
    let latest = i32::try_from(MIGRATIONS.len()).context("too many migrations")?;
    let statement = match known {
        Some(_) => "UPDATE els_schema SET version = $1",
        None => "INSERT INTO els_schema (version) VALUES ($1)",
    };
    transaction.execute(statement, &[&latest]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Each step brings the schema to the next version. Steps that were released never change.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/postgres-1.sql")];
