//! What a command prints: lines, tables, or one JSON document. The only place that prints.
//!
//! Results go to standard output, everything else to standard error. What others have written (labels, remarks) reaches
//! a terminal without its control characters.

#![expect(clippy::print_stderr, clippy::disallowed_methods, reason = "this is that place")]

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;
use els_protocol::clean;
use serde::Serialize;

/// Prints a line of the result.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    write(&format!("{text}\n"))
}

/// Prints one JSON document.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document).context("cannot write the answer as JSON")?;
    write(&format!("{text}\n"))
}

/// Prints something that is no result: advice, a warning, an error.
pub(crate) fn aside(text: impl Display) {
    eprintln!("{text}");
}

/// One JSON document with one list that is too long to be held at once: `{"name": [ … ]}`.
pub(crate) struct JsonList {
    empty: bool,
}

impl JsonList {
    /// Begins it.
    pub(crate) fn begin(name: &str) -> anyhow::Result<Self> {
        write(&format!("{{\"{name}\": ["))?;
        Ok(JsonList { empty: true })
    }

    /// One element.
    pub(crate) fn item(&mut self, item: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(item).context("cannot write the answer as JSON")?;
        let before = if std::mem::take(&mut self.empty) { "" } else { "," };
        write(&format!("{before}\n  {text}"))
    }

    /// Ends it.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        write(if self.empty { "]}\n" } else { "\n]}\n" })
    }
}

/// A table for people: columns as wide as they need to be, two spaces between them.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Table { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// One row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| clean(cell, 256)).collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let wide = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or_default()).collect();
        for row in &self.rows {
            let mut text = String::new();
            for (cell, wide) in row.iter().zip(&widths) {
                text.push_str(cell);
                text.push_str(&" ".repeat(wide - width(cell) + 2));
            }
            line(text.trim_end())?;
        }
        Ok(())
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// A reader that has had enough (`| head`) is no failure: there is nothing left to do.
fn write(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("cannot write to standard output"),
    }
}
