//! One way to run statements, whether on a connection of one's own or on one of the pool's.
//!
//! Owns that each statement is prepared once a connection. Knows no statement.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::apply::Values;
use super::connect::Session;
use super::failure::Failed;

/// What statements run on.
pub(super) trait Statements: Sync {
    /// Runs a statement; says how many rows it changed.
    fn run<'a>(
        &'a self,
        statement: &'static str,
        values: Values<'a>,
    ) -> impl Future<Output = Result<u64, Failed>> + Send + 'a;

    /// Prepares statements before they are needed: those that are sent together must not wait for each other.
    fn prepare<'a>(&'a self, texts: &'a [&'static str]) -> impl Future<Output = Result<(), Failed>> + Send + 'a;

    /// Asks a question.
    fn ask<'a>(
        &'a self,
        question: &'static str,
        values: Values<'a>,
    ) -> impl Future<Output = Result<Vec<Row>, Failed>> + Send + 'a;
}

/// A connection of one's own.
pub(super) struct Prepared {
    session: Session,
    known: Mutex<HashMap<&'static str, Statement>>,
}

impl Prepared {
    pub(super) fn new(session: Session) -> Self {
        Prepared { session, known: Mutex::default() }
    }

    /// The connection itself, for BEGIN, COMMIT and ROLLBACK.
    pub(super) async fn command(&self, command: &str) -> Result<(), Failed> {
        Ok(self.session.client.batch_execute(command).await?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    async fn statement(&self, text: &'static str) -> Result<Statement, Failed> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.session.client.prepare(text).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(text, statement.clone());
        Ok(statement)
    }
}

impl Statements for Prepared {
    async fn prepare<'a>(&'a self, texts: &'a [&'static str]) -> Result<(), Failed> {
        for text in texts {
            self.statement(text).await?;
        }
        Ok(())
    }

    async fn run<'a>(&'a self, statement: &'static str, values: Values<'a>) -> Result<u64, Failed> {
        let statement = self.statement(statement).await?;
        Ok(self.session.client.execute(&statement, &borrowed(&values)).await?)
    }

    async fn ask<'a>(&'a self, question: &'static str, values: Values<'a>) -> Result<Vec<Row>, Failed> {
        let statement = self.statement(question).await?;
        Ok(self.session.client.query(&statement, &borrowed(&values)).await?)
    }
}

impl Statements for deadpool_postgres::Transaction<'_> {
    async fn prepare<'a>(&'a self, texts: &'a [&'static str]) -> Result<(), Failed> {
        for text in texts {
            self.prepare_cached(text).await?;
        }
        Ok(())
    }

    async fn run<'a>(&'a self, statement: &'static str, values: Values<'a>) -> Result<u64, Failed> {
        let statement = self.prepare_cached(statement).await?;
        Ok(self.execute(&statement, &borrowed(&values)).await?)
    }

    async fn ask<'a>(&'a self, question: &'static str, values: Values<'a>) -> Result<Vec<Row>, Failed> {
        let statement = self.prepare_cached(question).await?;
        Ok(self.query(&statement, &borrowed(&values)).await?)
    }
}

fn borrowed<'a>(values: &'a Values<'_>) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
}
