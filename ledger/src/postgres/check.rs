//! Recounting: what the counters, the registrations and the audit log say of each other.
//!
//! Owns the questions of `els-backend check`. It changes nothing. Whether pages and indexes are whole, PostgreSQL checks by
//! itself (data checksums, `pg_amcheck`).

use super::client::Statements;
use super::failure::Failed;
use super::row::Columns;
use crate::rows::fill;

/// One sentence for each disagreement, at most a thousand of a kind.
pub(super) async fn check(db: &impl Statements) -> Result<Vec<String>, Failed> {
    // Only here whole tables are read.
    for setting in WHOLE_TABLES {
        db.run(setting, Vec::new()).await?;
    }
    let mut found = Vec::new();
    for (question, sentence) in QUESTIONS {
        for row in db.ask(question, Vec::new()).await? {
            let values: Vec<String> = (0..row.len())
                .map(|column| Ok(Columns(&row).get::<Option<String>>(column)?.unwrap_or_else(|| "none".into())))
                .collect::<Result<_, Failed>>()?;
            found.push(fill(sentence, &values));
        }
    }
    Ok(found)
}

/// What sessions have switched off, see `connect`.
const WHOLE_TABLES: [&str; 5] = [
    "SET LOCAL enable_seqscan = on",
    "SET LOCAL enable_bitmapscan = on",
    "SET LOCAL enable_sort = on",
    "SET LOCAL enable_hashjoin = on",
    "SET LOCAL enable_mergejoin = on",
];
/// What is asked, and how each row of an answer reads. Every column is a text.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "SELECT r.id::text, r.key::text FROM registrations r
         WHERE NOT EXISTS (SELECT 1 FROM keys k WHERE k.number = r.key) LIMIT 1000",
        "registration {} is of key number {}, which is not there",
    ),
    (
        "SELECT k.id, k.used::text, coalesce(c.active, 0)::text FROM keys k
         LEFT JOIN (SELECT key, count(*) AS active FROM registrations WHERE state = 'active' GROUP BY key) c
            ON c.key = k.number
         WHERE k.used <> coalesce(c.active, 0) ORDER BY k.number LIMIT 1000",
        "key {} counts {} used seats, but has {} active registrations",
    ),
    (
        "SELECT k.id::text FROM keys k WHERE NOT EXISTS (SELECT 1 FROM secrets s WHERE s.key = k.number) LIMIT 1000",
        "key {} has no secret",
    ),
    (
        "SELECT r.id::text, r.state, e.said FROM registrations r LEFT JOIN (
            SELECT DISTINCT ON (registration) registration,
                CASE kind WHEN 'released' THEN 'released' WHEN 'superseded' THEN 'superseded' ELSE 'active' END AS said
            FROM events WHERE registration IS NOT NULL AND kind IN
                ('seat-taken', 'seat-moved', 'seat-returned', 'seat-split', 'superseded', 'released')
            ORDER BY registration, seq DESC) e ON e.registration = r.id
         WHERE e.said IS DISTINCT FROM r.state LIMIT 1000",
        "registration {} is {}, but the audit log says {}",
    ),
    (
        "SELECT DISTINCT e.registration::text, e.kind FROM events e WHERE e.registration IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM registrations r WHERE r.id = e.registration) LIMIT 1000",
        "the audit log names registration {} ({}), which is not there",
    ),
    (
        "SELECT r.id::text, r.successor::text FROM registrations r WHERE r.state = 'superseded'
         AND NOT EXISTS (SELECT 1 FROM registrations n WHERE n.id = r.successor AND n.key = r.key) LIMIT 1000",
        "registration {} is superseded by {}, which its key does not have",
    ),
];
