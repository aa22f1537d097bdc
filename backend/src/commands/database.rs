//! `check`, `migrate`, `backup`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{Desk, Done};
use crate::database::DatabaseUrl;
use crate::output;
use crate::store::backup;

/// Recounts; a list of disagreements is the result, and exit 1.
pub(super) async fn check(desk: Desk, json: bool) -> Done {
    let disagreements = desk.store.check().await?;
    if json {
        output::json(&json!({ "disagreements": disagreements }))?;
    } else if disagreements.is_empty() {
        output::line("Seats, registrations and trail agree.")?;
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

/// Copies the database.
pub(super) fn back_up(url: &DatabaseUrl, file: &Path) -> Done {
    let DatabaseUrl::Sqlite(path) = url;
    backup(path, file)?;
    output::line(format_args!("The database was copied to {}.", els_protocol::clean(&file.to_string_lossy(), 4096)))?;
    Ok(ExitCode::SUCCESS)
}
