//! Everything of one database, moved to another one of either kind.
//!
//! Owns which tables are copied, in which order, and what kind each column has. Copies rows as they are, their numbers and
//! their places in the audit log included: for a reader of the feed it is the same database. Judges nothing.

mod postgres;
mod sqlite;

use std::path::Path;

use anyhow::{Context, bail};

use super::Target;
use crate::database::DatabaseUrl;

/// One table.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// In this order: those of the primary key, then the others.
    pub(super) columns: &'static [Column],
    /// How many columns the primary key has.
    pub(super) key: usize,
    /// Whether its first column is drawn from a sequence.
    pub(super) numbered: bool,
}

/// One column.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Id,
    Hash,
    Flag,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Number(i64),
    Text(String),
    /// Of an id or a hash.
    Bytes(Vec<u8>),
}

/// A row, in the order of its table's columns.
pub(super) type Row = Vec<Value>;

/// Where rows come from, all of them as they were at one moment.
enum Source {
    Sqlite(sqlite::Source),
    Postgres(postgres::Source),
}

/// Where rows go; they are there when it is committed, all or none.
enum Sink {
    Sqlite(sqlite::Sink),
    Postgres(postgres::Sink),
}

impl Source {
    /// At most `limit` rows after the one whose key is given, in the order of keys.
    async fn rows(&mut self, table: &Table, after: Option<&[Value]>, limit: usize) -> anyhow::Result<Vec<Row>> {
        match self {
            Source::Sqlite(source) => source.rows(table, after, limit),
            Source::Postgres(source) => source.rows(table, after, limit).await,
        }
    }
}

impl Sink {
    async fn write(&mut self, table: &Table, rows: &[Row]) -> anyhow::Result<()> {
        match self {
            Sink::Sqlite(sink) => sink.write(table, rows),
            Sink::Postgres(sink) => sink.write(table, rows).await,
        }
    }

    async fn commit(self) -> anyhow::Result<()> {
        match self {
            Sink::Sqlite(sink) => sink.commit(),
            Sink::Postgres(sink) => sink.commit().await,
        }
    }
}

/// Moves everything; says how many rows of which table. Refused while another program uses the source, since what is written
/// there meanwhile would be missing, and where the target holds anything.
pub async fn copy(from: &DatabaseUrl, to: &DatabaseUrl) -> anyhow::Result<Vec<(&'static str, u64)>> {
    if from == to {
        bail!("--from and --to are the same database");
    }
    let source = match from {
        DatabaseUrl::Sqlite(path) => Source::Sqlite(sqlite::Source::alone(path)?),
        DatabaseUrl::Postgres(target) => Source::Postgres(postgres::Source::alone(target).await?),
    };
    let sink = match to {
        DatabaseUrl::Sqlite(path) => Sink::Sqlite(sqlite::Sink::new(path)?),
        DatabaseUrl::Postgres(target) => Sink::Postgres(postgres::Sink::new(target).await?),
    };
    transfer(source, sink).await
}

/// Copies a PostgreSQL database that may be in use to the file `target`, which is replaced if it is there.
pub async fn backup(from: &Target, target: &Path) -> anyhow::Result<()> {
    let source = Source::Postgres(postgres::Source::beside_others(from).await?);
    super::sqlite::whole_file(target, async |file: &Path| {
        transfer(source, Sink::Sqlite(sqlite::Sink::new(file)?)).await.map(drop)
    })
    .await
}

async fn transfer(mut source: Source, mut sink: Sink) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let mut counts = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let mut count = 0;
        let mut after: Option<Vec<Value>> = None;
        loop {
            let rows = source
                .rows(table, after.as_deref(), PIECE)
                .await
                .with_context(|| format!("cannot read the table {}", table.name))?;
            let Some(last) = rows.last() else { break };
            after = Some(last.iter().take(table.key).cloned().collect());
            count += rows.len() as u64;
            sink.write(table, &rows).await.with_context(|| format!("cannot write the table {}", table.name))?;
            if rows.len() < PIECE {
                break;
            }
        }
        counts.push((table.name, count));
    }
    sink.commit().await.context("cannot write the copy")?;
    Ok(counts)
}

const PIECE: usize = 5000;

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// Every table of both schemas, but those that say something of one database alone: `els_schema` (its version), `leases`
/// (which of its nodes run jobs) and `answers` (which its clients can have again for a day).
const TABLES: &[Table] = &[
    Table {
        name: "keys",
        key: 1,
        numbered: true,
        columns: &[
            column("number", Kind::Number),
            column("id", Kind::Text),
            column("product", Kind::Text),
            column("seats", Kind::Number),
            column("used", Kind::Number),
            column("state", Kind::Text),
            column("starts", Kind::Number),
            column("expires", Kind::Number),
            column("contract", Kind::Text),
            column("reseller", Kind::Text),
            column("note", Kind::Text),
            column("release_unseen_after", Kind::Number),
            column("self_release", Kind::Flag),
            column("created_at", Kind::Number),
        ],
    },
    Table {
        name: "secrets",
        key: 1,
        numbered: false,
        columns: &[column("hash", Kind::Hash), column("key", Kind::Number), column("until", Kind::Number)],
    },
    Table {
        name: "registrations",
        key: 1,
        numbered: false,
        columns: &[
            column("id", Kind::Id),
            column("key", Kind::Number),
            column("token_hash", Kind::Hash),
            column("state", Kind::Text),
            column("machine", Kind::Id),
            column("hardware", Kind::Id),
            column("os", Kind::Text),
            column("os_version", Kind::Text),
            column("arch", Kind::Text),
            column("label", Kind::Text),
            column("registered_at", Kind::Number),
            column("last_seen_at", Kind::Number),
            column("ended_at", Kind::Number),
            column("successor", Kind::Id),
            column("likeness", Kind::Text),
        ],
    },
    Table {
        name: "distrusted",
        key: 3,
        numbered: false,
        columns: &[
            column("key", Kind::Number),
            column("kind", Kind::Text),
            column("id", Kind::Id),
            column("since", Kind::Number),
        ],
    },
    Table {
        name: "refusals",
        key: 3,
        numbered: false,
        columns: &[
            column("key", Kind::Number),
            column("reason", Kind::Text),
            column("since", Kind::Number),
            column("until", Kind::Number),
        ],
    },
    Table {
        name: "early_releases",
        key: 2,
        numbered: false,
        columns: &[
            column("id", Kind::Id),
            column("token_hash", Kind::Hash),
            column("client", Kind::Text),
            column("at", Kind::Number),
        ],
    },
    Table {
        name: "events",
        key: 1,
        numbered: true,
        columns: &[
            column("seq", Kind::Number),
            column("at", Kind::Number),
            column("kind", Kind::Text),
            column("key", Kind::Number),
            column("registration", Kind::Id),
            column("other", Kind::Id),
            column("machine", Kind::Id),
            column("hardware", Kind::Id),
            column("detail", Kind::Text),
            column("actor", Kind::Text),
            column("origin", Kind::Text),
            column("request", Kind::Text),
        ],
    },
    Table {
        name: "tokens",
        key: 1,
        numbered: false,
        columns: &[
            column("id", Kind::Text),
            column("hash", Kind::Hash),
            column("name", Kind::Text),
            column("scopes", Kind::Text),
            column("products", Kind::Text),
            column("networks", Kind::Text),
            column("reseller", Kind::Text),
            column("made_at", Kind::Number),
            column("expires", Kind::Number),
            column("used_at", Kind::Number),
            column("revoked_at", Kind::Number),
        ],
    },
    Table {
        name: "upkeep",
        key: 1,
        numbered: false,
        columns: &[column("name", Kind::Text), column("at", Kind::Number)],
    },
    Table {
        name: "gate_down",
        key: 1,
        numbered: false,
        columns: &[column("since", Kind::Number), column("until", Kind::Number)],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use els_testkit::cluster::Cluster;

    use super::*;
    use crate::Opening;

    type Schema = BTreeMap<String, BTreeSet<String>>;

    fn schema(columns: impl IntoIterator<Item = (String, String)>) -> Schema {
        let mut schema = Schema::new();
        for (table, column) in columns {
            schema.entry(table).or_default().insert(column);
        }
        schema
    }

    /// Promise: copy-moves-all
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_table_and_column_of_both_live_schemas_is_copied() {
        let copied = TABLES
            .iter()
            .flat_map(|table| table.columns.iter().map(|column| (table.name.to_owned(), column.name.to_owned())));
        let copied = schema(copied);

        let folder = tempfile::tempdir().unwrap();
        let sqlite = crate::sqlite::open_to_fill(&folder.path().join("els.db")).unwrap();
        let sql = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
            WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
        let mut asked = sqlite.prepare(sql).unwrap();
        let found = asked.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let mut found = schema(found.map(Result::unwrap));
        // The number of a row is SQLite's own.
        assert!(found.get_mut("registrations").unwrap().remove("row"));
        assert_copied(found, &copied);

        let url = tokio::task::spawn_blocking(|| Cluster::shared().database()).await.unwrap();
        let target = Target::parse(&url).unwrap();
        let policy = crate::Policy { covers: std::sync::Arc::new(|_, _, _| true), grace_seconds: 0 };
        crate::PostgresStore::open(&target, Opening::Migrating, policy).await.unwrap();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let sql = "SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_schema = current_schema()";
        let rows = client.query(sql, &[]).await.unwrap();
        assert_copied(schema(rows.iter().map(|row| (row.get(0), row.get(1)))), &copied);
    }

    fn assert_copied(mut found: Schema, copied: &Schema) {
        for of_one_database in ["els_schema", "leases", "answers"] {
            assert!(found.remove(of_one_database).is_some());
        }
        assert_eq!(&found, copied);
    }
}
