//! `check`, `migrate`, `backup`, `copy`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::context::{Context, Outcome, no_policy};
use super::error::CommandError;
use crate::output;
use els_ledger::database::DatabaseUrl;
use els_ledger::{self, Opening, backup, copy};

/// Recounts. Disagreements are the result, with exit 1.
pub(super) async fn check(context: Context, json: bool) -> Outcome {
    let disagreements = context.store.check().await?;
    if json {
        output::json(&json!({ "disagreements": disagreements }))?;
    } else if disagreements.is_empty() {
        output::line("Seats, registrations and audit log agree.")?;
    } else {
        for sentence in &disagreements {
            output::line(els_protocol::clean(sentence, 1024))?;
        }
    }
    Ok(if disagreements.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Opening the database has migrated it.
pub(super) async fn migrated(context: Context) -> Outcome {
    context.store.health().await?;
    output::line(format_args!("The database has the schema of els-backend {}.", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies the database to a file. The copy of any database is an SQLite database.
pub(super) async fn back_up(url: &DatabaseUrl, file: &Path) -> Outcome {
    match url {
        DatabaseUrl::Sqlite(path) => backup(path, file)?,
        DatabaseUrl::Postgres(target) => copy::backup(target, file).await?,
    }
    output::line(format_args!("The database was copied to {}.", els_protocol::clean(&file.to_string_lossy(), 4096)))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies everything to another, empty database.
pub(super) async fn copied(from: &DatabaseUrl, to: &DatabaseUrl) -> Outcome {
    let rows = copy::copy(from, to).await?;
    let store = els_ledger::open(to, Opening::Existing, no_policy()).await?;
    let disagreements = store.check().await?;
    for sentence in &disagreements {
        output::note(els_protocol::clean(sentence, 1024));
    }
    if !disagreements.is_empty() {
        return Err(CommandError::failed("the copy is not consistent; run `els-backend check` on the original"));
    }
    for (table, rows) in rows {
        output::line(format_args!("{rows:>12} {table}"))?;
    }
    output::line(
        "Seats, registrations and audit log agree. Start `els-backend serve` on the new database only, not on the old one.",
    )?;
    Ok(ExitCode::SUCCESS)
}
