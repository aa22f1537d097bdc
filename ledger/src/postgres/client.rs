//! One way to run statements, whether on a connection or in a transaction.
//!
//! Owns that each statement is prepared once a connection. Knows no statement.

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::Failed;

/// Values that are bound to a statement's parameters.
pub(super) type Values<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

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

/// Both keep what they have prepared; a transaction shares its connection's.
macro_rules! statements_of {
    ($client:ty) => {
        impl Statements for $client {
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
    };
}
statements_of!(ClientWrapper);
statements_of!(Transaction<'_>);

fn borrowed<'a>(values: &'a Values<'_>) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
}
