//! `check`, `migrate`, `backup`, `copy`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{Desk, Done, no_policy};
use crate::failure::Failure;
use crate::output;
use els_ledger::database::DatabaseUrl;
use els_ledger::{self, Opening, backup, copy};

/// Recounts; a list of disagreements is the result, and exit 1.
pub(super) async fn check(desk: Desk, json: bool) -> Done {
    let disagreements = desk.store.check().await?;
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

/// Says that the database has the schema of this version, which opening it has brought about.
pub(super) async fn migrated(desk: Desk) -> Done {
    desk.store.health().await?;
    output::line(format_args!("The database has the schema of els-backend {}.", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies the database to a file, which is an SQLite database whatever it is a copy of.
pub(super) async fn back_up(url: &DatabaseUrl, file: &Path) -> Done {
    match url {
        DatabaseUrl::Sqlite(path) => backup(path, file)?,
        DatabaseUrl::Postgres(target) => copy::backup(target, file).await?,
    }
    output::line(format_args!("The database was copied to {}.", els_protocol::clean(&file.to_string_lossy(), 4096)))?;
    Ok(ExitCode::SUCCESS)
}

/// Moves everything from one database to another, empty one.
pub(super) async fn copied(from: &DatabaseUrl, to: &DatabaseUrl) -> Done {
    let rows = copy::copy(from, to).await?;
    let store = els_ledger::open(to, Opening::Existing, no_policy()).await?;
    let disagreements = store.check().await?;
    for sentence in &disagreements {
        output::aside(els_protocol::clean(sentence, 1024));
    }
    if !disagreements.is_empty() {
        return Err(Failure::failed(
            "the copy does not agree with itself; `els-backend check` on the original tells more",
        ));
    }
    for (table, rows) in rows {
        output::line(format_args!("{rows:>12} {table}"))?;
    }
    output::line(
        "Seats, registrations and audit log agree. Start `els-backend serve` on the new database, never again on the old one.",
    )?;
    Ok(ExitCode::SUCCESS)
}
