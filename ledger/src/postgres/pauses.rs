//! Times that do not count: in which a key refused its machines, or the gate was down.
//!
//! Owns reading them. What follows from them is decided in `rules`.

use els_protocol::Timestamp;

use super::client::Statements;
use super::failure::Failed;
use super::row::Columns;
use crate::KeyNumber;
use crate::rows::{self, Refusal, RefusalReason};
use crate::rules::{KeyTerms, Pause};

/// Times that do not count for the superseded registrations of a key.
pub(super) async fn pauses(
    db: &impl Statements,
    now: Timestamp,
    key: KeyNumber,
    terms: &KeyTerms,
) -> Result<Vec<Pause>, Failed> {
    let downs = downs(db).await?;
    let mut refusals = Vec::new();
    for row in db.ask("SELECT reason, since, until FROM refusals WHERE key = $1", vec![Box::new(key.0)]).await? {
        let row = Columns(&row);
        let reason = RefusalReason::parse(row.get(0)?).ok_or_else(|| Failed::invalid("a reason that is not known"))?;
        refusals.push(Refusal { reason, since: row.time(1)?, until: row.optional_time(2)? });
    }
    Ok(rows::pauses(now, terms, &downs, &refusals))
}

/// Times in which the gate was down, the latest first.
pub(super) async fn downs(db: &impl Statements) -> Result<Vec<(Timestamp, Timestamp)>, Failed> {
    let rows = db.ask("SELECT since, until FROM gate_down ORDER BY until DESC", Vec::new()).await?;
    rows.iter().map(Columns).map(|row| Ok((row.time(0)?, row.time(1)?))).collect()
}
