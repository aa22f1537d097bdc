//! `serve`: its flags read into the options of the serving part, the database opened, and both brought together.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::{Done, products};
use crate::cli::{ServeOptions, Site};
use crate::clock;
use crate::failure::Failure;
use crate::serve::{self, Options, ServeError};
use els_ledger::database::{DatabaseUrl, become_owner};
use els_ledger::{self, Opening, Policy, SqliteStore};

pub(super) fn run(site: &Site, url: &DatabaseUrl, flags: ServeOptions) -> Done {
    let products = Arc::new(products::read(site.products.as_deref())?);
    let grace_seconds = i64::from(flags.grace) * SECONDS_OF_A_DAY;
    let covers = products.clone();
    let policy = Policy { covers: Arc::new(move |product, os, arch| covers.covers(product, os, arch)), grace_seconds };
    let options = Options {
        listen: flags.listen,
        admin_listen: flags.admin_listen,
        public_url: flags.public_url,
        repo_url: flags.repo_url,
        repo_root: flags.repo_root,
        tls: flags.tls_cert.zip(flags.tls_key),
        plain_http: flags.plain_http,
        trusted_proxies: flags.trusted_proxy,
        grace_seconds,
        gate_stale: Duration::from_secs(flags.gate_stale),
        products,
        clock: Arc::new(clock::now),
    };
    become_owner(url)?;
    // An embedded database is this program's own; one that several nodes share is brought up to date by its administrator.
    let opening = match url {
        DatabaseUrl::Sqlite(_) => Opening::Migrating,
        DatabaseUrl::Postgres(_) => Opening::Existing,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let served = runtime.block_on(async {
        let store =
            els_ledger::open(url, opening, policy).await.map_err(|error| ServeError::Failed(format!("{error:#}")))?;
        if let DatabaseUrl::Sqlite(path) = url {
            SqliteStore::find_damage(path).map_err(|error| ServeError::Failed(format!("{error:#}")))?;
        }
        // Dropping the store, after everything else has ended, waits until what it accepted is durable.
        serve::run(options, store).await
    });
    match served {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServeError::Usage(words)) => Err(Failure::Usage(words)),
        Err(ServeError::Failed(words)) => Err(Failure::failed(words)),
    }
}

const SECONDS_OF_A_DAY: i64 = 24 * 3600;
