//! Recounting: what the counters, the registrations and the audit log say of each other.
//!
//! Owns the questions of `els-backend check`. It changes nothing.

use rusqlite::Connection;

use crate::rows::fill;

/// One sentence for each disagreement, at most a thousand of a kind.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for (sql, sentence) in QUESTIONS {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<String> = (0..row.as_ref().column_count())
                .map(|column| row.get::<_, Option<String>>(column).map(|value| value.unwrap_or_else(|| "none".into())))
                .collect::<rusqlite::Result<_>>()?;
            found.push(fill(sentence, &values));
        }
    }
    Ok(found)
}

/// What is asked, and how each row of an answer reads. Every column is a text.
const QUESTIONS: &[(&str, &str)] = &[
    ("SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT 1000", "the database is damaged: {}"),
    (
        "SELECT \"table\", CAST(rowid AS TEXT), parent FROM pragma_foreign_key_check LIMIT 1000",
        "row {} of {} names something in {} that is not there",
    ),
    (
        "SELECT k.id, CAST(k.used AS TEXT), CAST(coalesce(c.active, 0) AS TEXT) FROM keys k
         LEFT JOIN (SELECT key, count(*) AS active FROM registrations WHERE state <> 'released' AND state = 'active'
                    GROUP BY key) c ON c.key = k.number
         WHERE k.used <> coalesce(c.active, 0) LIMIT 1000",
        "key {} counts {} used seats, but has {} active registrations",
    ),
    (
        "SELECT k.id FROM keys k WHERE NOT EXISTS (SELECT 1 FROM secrets s WHERE s.key = k.number) LIMIT 1000",
        "key {} has no secret",
    ),
    (
        "SELECT uuid, state, said FROM (
            SELECT lower(hex(r.id)) AS uuid, r.state AS state,
                (SELECT CASE e.kind WHEN 'released' THEN 'released' WHEN 'superseded' THEN 'superseded' ELSE 'active' END
                 FROM events e WHERE e.registration = r.id AND e.kind IN
                    ('seat-taken', 'seat-moved', 'seat-returned', 'seat-split', 'superseded', 'released')
                 ORDER BY e.seq DESC LIMIT 1) AS said
            FROM registrations r)
         WHERE said IS NOT state LIMIT 1000",
        "registration {} is {}, but the audit log says {}",
    ),
    (
        "SELECT DISTINCT lower(hex(e.registration)), e.kind FROM events e WHERE e.registration IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM registrations r WHERE r.id = e.registration) LIMIT 1000",
        "the audit log names registration {} ({}), which is not there",
    ),
    (
        "SELECT lower(hex(r.id)), lower(hex(r.successor)) FROM registrations r WHERE r.state = 'superseded'
         AND NOT EXISTS (SELECT 1 FROM registrations n WHERE n.id = r.successor AND n.key = r.key) LIMIT 1000",
        "registration {} is superseded by {}, which its key does not have",
    ),
];
