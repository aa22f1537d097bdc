//! What a command prints: lines, tables, or one JSON document. The only place that prints.
//!
//! Results go to standard output, everything else to standard error. Text from others (labels, notes) is printed without
//! control characters.

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
    let text = serde_json::to_string_pretty(document).context("cannot write the result as JSON")?;
    write(&format!("{text}\n"))
}

/// Prints to standard error: a hint, a warning, an error.
pub(crate) fn note(text: impl Display) {
    eprintln!("{text}");
}

/// One JSON document with one list, `{"name": [ … ]}`, printed item by item: it may be longer than memory.
pub(crate) struct JsonList {
    empty: bool,
}

impl JsonList {
    pub(crate) fn begin(name: &str) -> anyhow::Result<Self> {
        write(&format!("{{\"{name}\": ["))?;
        Ok(JsonList { empty: true })
    }

    pub(crate) fn item(&mut self, item: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(item).context("cannot write the result as JSON")?;
        let before = if std::mem::take(&mut self.empty) { "" } else { "," };
        write(&format!("{before}\n  {text}"))
    }

    pub(crate) fn end(self) -> anyhow::Result<()> {
        write(if self.empty { "]}\n" } else { "\n]}\n" })
    }
}

/// A table for people. Each column is as wide as its longest cell, with two spaces between columns.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Table { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| clean(cell, 256)).collect());
    }

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let longest = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| longest(column).unwrap_or_default()).collect();
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

/// A reader that closes the pipe (`| head`) is not an error: nothing is left to do.
fn write(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("cannot write to standard output"),
    }
}
