//! A PostgreSQL database as the source or the target of a copy.

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use futures_util::SinkExt;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Column, Kind, Row, Table, Value};
use crate::Target;
use crate::postgres::session_for_copy;

/// A database as it was at one moment.
pub(super) struct Source(ClientWrapper);

impl Source {
    /// Opens it; refused while another `els-backend` is connected.
    pub(super) async fn alone(target: &Target) -> anyhow::Result<Self> {
        let session = session_for_copy(target).await?;
        let others: i64 = session
            .query_one(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND (application_name = 'els-backend'
                     -- Another role's: only its own and pg_monitor see the name.
                     OR (application_name IS NULL AND usesysid IS NOT NULL))",
                &[],
            )
            .await?
            .get(0);
        if others != 0 {
            bail!("another els-backend uses the database to read ({others} connections): end every `serve` first");
        }
        Source::begin(session).await
    }

    /// Opens it, also while others use it.
    pub(super) async fn beside_others(target: &Target) -> anyhow::Result<Self> {
        Source::begin(session_for_copy(target).await?).await
    }

    async fn begin(session: ClientWrapper) -> anyhow::Result<Self> {
        session.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(Source(session))
    }

    pub(super) async fn rows(
        &mut self,
        table: &Table,
        after: Option<&[Value]>,
        limit: usize,
    ) -> anyhow::Result<Vec<Row>> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let keys = names[..table.key].join(", ");
        let condition = match after {
            Some(_) => {
                let places: Vec<String> = (1..=table.key).map(|place| format!("${place}")).collect();
                format!("WHERE ({keys}) > ({})", places.join(", "))
            }
            None => String::new(),
        };
        let sql = format!("SELECT {} FROM {} {condition} ORDER BY {keys} LIMIT {limit}", names.join(", "), table.name);
        let values = after.unwrap_or_default().iter().zip(table.columns).map(|(value, column)| bound(value, column));
        let values: Vec<Box<dyn ToSql + Sync + Send>> = values.collect::<anyhow::Result<_>>()?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        let rows = self.0.query(&sql, &values).await?;
        rows.iter().map(|row| read(row, table.columns)).collect()
    }
}

/// An empty database of this version.
pub(super) struct Sink(ClientWrapper);

impl Sink {
    pub(super) async fn new(target: &Target) -> anyhow::Result<Self> {
        let session = session_for_copy(target).await?;
        session.batch_execute("BEGIN").await?;
        for table in super::TABLES {
            // Nobody writes there until this is done.
            session.batch_execute(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table.name)).await?;
            let known = session.query(&format!("SELECT 1 FROM {} LIMIT 1", table.name), &[]).await?;
            if !known.is_empty() {
                bail!("the database to fill is not empty: there are rows in the table {}", table.name);
            }
        }
        Ok(Sink(session))
    }

    pub(super) async fn write(&mut self, table: &Table, rows: &[Row]) -> anyhow::Result<()> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let sql = format!("COPY {} ({}) FROM STDIN", table.name, names.join(", "));
        let mut text = String::new();
        for row in rows {
            for (place, (value, column)) in row.iter().zip(table.columns).enumerate() {
                text.push_str(if place == 0 { "" } else { "\t" });
                push(&mut text, value, column)?;
            }
            text.push('\n');
        }
        let sink = self.0.copy_in::<_, Bytes>(&sql).await?;
        futures_util::pin_mut!(sink);
        sink.send(Bytes::from(text)).await?;
        let written = sink.finish().await?;
        if written != rows.len() as u64 {
            bail!("{written} of {} rows were taken", rows.len());
        }
        Ok(())
    }

    pub(super) async fn commit(self) -> anyhow::Result<()> {
        for table in super::TABLES.iter().filter(|table| table.numbered) {
            let (name, column) = (table.name, table.columns[0].name);
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), max({column})) FROM {name} HAVING max({column}) IS NOT NULL"
            );
            self.0.query(&sql, &[]).await?;
        }
        self.0.batch_execute("COMMIT").await?;
        self.0.batch_execute("ANALYZE").await.context("cannot gather statistics")
    }
}

/// A value as a parameter.
fn bound(value: &Value, column: &Column) -> anyhow::Result<Box<dyn ToSql + Sync + Send>> {
    Ok(match (value, column.kind) {
        (Value::Number(number), Kind::Number) => Box::new(*number),
        (Value::Text(text), Kind::Text) => Box::new(text.clone()),
        (Value::Bytes(bytes), Kind::Id) => Box::new(Uuid::from_slice(bytes)?),
        (Value::Bytes(bytes), Kind::Hash) => Box::new(bytes.clone()),
        _ => return Err(unfit(column)),
    })
}

fn read(row: &tokio_postgres::Row, columns: &[Column]) -> anyhow::Result<Row> {
    let read = |place: usize, kind: Kind| -> Result<Option<Value>, tokio_postgres::Error> {
        Ok(match kind {
            Kind::Number => row.try_get::<_, Option<i64>>(place)?.map(Value::Number),
            Kind::Text => row.try_get::<_, Option<String>>(place)?.map(Value::Text),
            Kind::Id => row.try_get::<_, Option<Uuid>>(place)?.map(|id| Value::Bytes(id.as_bytes().to_vec())),
            Kind::Hash => row.try_get::<_, Option<Vec<u8>>>(place)?.map(Value::Bytes),
            Kind::Flag => row.try_get::<_, Option<bool>>(place)?.map(|flag| Value::Number(i64::from(flag))),
        })
    };
    let mut values = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        values.push(read(place, column.kind)?.unwrap_or(Value::Null));
    }
    Ok(values)
}

/// A value in the text format of COPY (PostgreSQL documentation, COPY, File Formats).
fn push(text: &mut String, value: &Value, column: &Column) -> anyhow::Result<()> {
    match (value, column.kind) {
        (Value::Null, _) => text.push_str("\\N"),
        (Value::Number(number), Kind::Number) => text.push_str(&number.to_string()),
        (Value::Number(flag), Kind::Flag) => text.push(if *flag == 0 { 'f' } else { 't' }),
        (Value::Text(value), Kind::Text) => {
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '\t' => text.push_str("\\t"),
                    '\n' => text.push_str("\\n"),
                    '\r' => text.push_str("\\r"),
                    other => text.push(other),
                }
            }
        }
        (Value::Bytes(bytes), Kind::Id) => text.push_str(&Uuid::from_slice(bytes)?.to_string()),
        (Value::Bytes(bytes), Kind::Hash) => {
            text.push_str("\\\\x");
            text.push_str(&els_protocol::hex(bytes));
        }
        _ => return Err(unfit(column)),
    }
    Ok(())
}

fn unfit(column: &Column) -> anyhow::Error {
    anyhow!("a value of the column {} is not of its kind", column.name)
}
