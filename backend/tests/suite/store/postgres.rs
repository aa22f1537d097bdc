//! The suite on PostgreSQL, and what is true of PostgreSQL alone.

use els_backend::store::{Opening, PostgresStore, Target};

use super::*;
use crate::cluster::{Cluster, name};

/// A database of the shared server.
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    url: String,
}

impl Database {
    /// A further store on the same database, as another node has it.
    async fn another(&self) -> Arc<dyn Store> {
        open(&self.url, Opening::Existing).await
    }

    fn sql(&self, sql: &str) -> String {
        Cluster::shared().sql(name(&self.url), sql)
    }
}

async fn open(url: &str, opening: Opening) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(&Target::parse(url).unwrap(), opening, policy()).await.unwrap())
}

pub(crate) async fn fresh() -> Database {
    let url = tokio::task::spawn_blocking(|| Cluster::shared().database()).await.unwrap();
    let store = open(&url, Opening::Migrating).await;
    Database { store, url }
}

store_tests!(fresh);
