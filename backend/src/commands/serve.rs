//! `serve`: turns the command line into options, opens the database, and serves.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::context::Outcome;
use super::error::CommandError;
use super::products;
use crate::cli::{ServeOptions, Site};
use crate::serve::{self, Options, ServeError};
use crate::{clock, dates};
use els_ledger::database::{DatabaseUrl, become_owner, folder_for_root};
use els_ledger::{self, Opening, Policy, SqliteStore};
use els_server::logs;

pub(super) fn run(site: &Site, url: &DatabaseUrl, arguments: ServeOptions) -> Outcome {
    let products = Arc::new(products::read(site.products.as_deref())?);
    let grace_seconds = i64::from(arguments.grace) * SECONDS_OF_A_DAY;
    let covers = products.clone();
    let policy = Policy { covers: Arc::new(move |product, os, arch| covers.covers(product, os, arch)), grace_seconds };
    let options = Options {
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        staff_listen: arguments.staff_listen,
        staff_url: arguments.staff_url,
        zone: dates::zone(&site.time_zone).map_err(CommandError::Usage)?,
        public_url: arguments.public_url,
        repo_url: arguments.repo_url,
        repo_root: arguments.repo_root,
        tls: arguments.tls_cert.zip(arguments.tls_key),
        plain_http: arguments.plain_http,
        trusted_proxies: arguments.trusted_proxy,
        grace_seconds,
        gate_stale: Duration::from_secs(arguments.gate_stale),
        products,
        clock: Arc::new(clock::now),
    };
    logs::start();
    if let Some(folder) = folder_for_root(url) {
        tracing::warn!(
            folder = %folder.display(),
            "the database's folder is made now and belongs to root; for another user, make it first: install -d -m 0700 -o USER FOLDER"
        );
    }
    become_owner(url)?;
    // An embedded database belongs to this program. The administrator migrates one that several nodes share.
    let opening = match url {
        DatabaseUrl::Sqlite(_) => Opening::Migrating,
        DatabaseUrl::Postgres(_) => Opening::Existing,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        let store =
            els_ledger::open(url, opening, policy).await.map_err(|error| ServeError::Failed(format!("{error:#}")))?;
        if let DatabaseUrl::Sqlite(path) = url {
            SqliteStore::find_damage(path).map_err(|error| ServeError::Failed(format!("{error:#}")))?;
        }
        // Dropping the store, after everything else has ended, waits until all accepted changes are durable.
        serve::run(options, store).await
    });
    // What follows is not in the log.
    logs::finish();
    match served {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServeError::Usage(message)) => Err(CommandError::Usage(message)),
        Err(ServeError::Failed(message)) => Err(CommandError::failed(message)),
    }
}

const SECONDS_OF_A_DAY: i64 = 24 * 3600;
