//! An SQLite file as the source or the target of a copy.

use std::path::Path;

use anyhow::{Context, bail};
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::{Row, Table, Value};
use crate::sqlite::{self, open_alone};

/// A file that nobody else uses until this is dropped.
pub(super) struct Source(Connection);

impl Source {
    /// Opens it; refused while another process has it open.
    pub(super) fn alone(path: &Path) -> anyhow::Result<Self> {
        open_alone(path).map(Source)
    }

    pub(super) fn rows(&mut self, table: &Table, after: Option<&[Value]>, limit: usize) -> anyhow::Result<Vec<Row>> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let keys = names[..table.key].join(", ");
        let condition = match after {
            Some(_) => format!("WHERE ({keys}) > ({})", vec!["?"; table.key].join(", ")),
            None => String::new(),
        };
        let sql = format!("SELECT {} FROM {} {condition} ORDER BY {keys} LIMIT {limit}", names.join(", "), table.name);
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut found = statement.query(params_from_iter(after.unwrap_or_default()))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push((0..names.len()).map(|column| read(row.get_ref(column)?)).collect::<anyhow::Result<_>>()?);
        }
        Ok(rows)
    }
}

/// A new file, or one that holds nothing.
pub(super) struct Sink(Connection);

impl Sink {
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        let connection = sqlite::open_to_fill(path)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for table in super::TABLES {
            let rows: i64 =
                connection.query_row(&format!("SELECT count(*) FROM {}", table.name), [], |row| row.get(0))?;
            if rows != 0 {
                bail!("the database {} is not empty; name a new file", path.display());
            }
        }
        Ok(Sink(connection))
    }

    pub(super) fn write(&mut self, table: &Table, rows: &[Row]) -> anyhow::Result<()> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let places = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, names.join(", "));
        let mut statement = self.0.prepare_cached(&sql)?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }

    pub(super) fn commit(self) -> anyhow::Result<()> {
        self.0.execute_batch("COMMIT")?;
        self.0.close().map_err(|(_, error)| error).context("cannot close the file")
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Owned(Sql::Null),
            Value::Number(number) => ToSqlOutput::Owned(Sql::Integer(*number)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn read(value: ValueRef<'_>) -> anyhow::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Number(number),
        ValueRef::Text(text) => Value::Text(str::from_utf8(text).context("a text that is not UTF-8")?.to_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => bail!("a real number, which no column may hold"),
    })
}
