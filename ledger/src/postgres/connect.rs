//! Connections: made with TLS where the target wants it, and none that could lose what was answered.
//!
//! Owns the settings of a session and the checks of a server. Knows no table.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use deadpool_postgres::{ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::target::{Encryption, Target};

/// What makes connections to one target.
#[derive(Clone)]
pub(super) struct Connector {
    target: Target,
    tls: Option<MakeRustlsConnect>,
}

/// A message of the server that nobody asked for.
pub(super) type Notices = tokio::sync::mpsc::UnboundedReceiver<()>;

impl Connector {
    /// Reads the certificates that the target needs.
    pub(super) fn new(target: Target) -> anyhow::Result<Self> {
        let tls = match &target.encryption {
            Encryption::None => None,
            Encryption::Verified(file) => Some(MakeRustlsConnect::new(tls_config(file.as_deref())?)),
        };
        Ok(Connector { target, tls })
    }

    /// Host and database, for messages.
    pub(super) fn shown(&self) -> String {
        self.target.shown()
    }

    /// A pool of at most `most` connections for short transactions.
    pub(super) fn pool(&self, most: usize) -> anyhow::Result<Pool> {
        // Verified: after a failover no request is to meet a dead connection.
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let config = self.target.config.clone();
        let manager = match &self.tls {
            None => Manager::from_config(config, NoTls, settings),
            Some(tls) => Manager::from_config(config, tls.clone(), settings),
        };
        let prepare = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(BY_INDEX).await.map_err(HookError::Backend) })
        });
        Pool::builder(manager)
            .max_size(most)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .post_create(prepare)
            .build()
            .context("cannot make a pool of connections")
    }

    /// A connection of one's own. Dropping it closes it, also when the server does not answer.
    pub(super) async fn session(&self) -> Result<ClientWrapper, tokio_postgres::Error> {
        self.session_with_notices().await.map(|(session, _)| session)
    }

    /// The same, and a word for each notification that comes on it.
    pub(super) async fn session_with_notices(&self) -> Result<(ClientWrapper, Notices), tokio_postgres::Error> {
        let (tell, notices) = tokio::sync::mpsc::unbounded_channel();
        let config = &self.target.config;
        let (client, pump) = match &self.tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(carry(connection, tell)))
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, tokio::spawn(carry(connection, tell)))
            }
        };
        let session = ClientWrapper::new(client, pump);
        session.batch_execute(BY_INDEX).await?;
        Ok((session, notices))
    }
}

/// Moves the bytes of a connection until it ends.
async fn carry<S, T>(mut connection: tokio_postgres::Connection<S, T>, tell: tokio::sync::mpsc::UnboundedSender<()>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // An error ends the connection; whoever uses it is told by the answer that does not come.
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, tokio_postgres::AsyncMessage::Notification(_)) {
            let _ = tell.send(());
        }
    }
}

/// What must be true of a server before anything is promised on its word.
pub(super) async fn check_server(client: &Client) -> anyhow::Result<()> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('synchronous_commit'),
                    current_setting('synchronous_standby_names'), current_setting('fsync'),
                    current_setting('server_encoding')",
            &[],
        )
        .await
        .context("cannot read the server's settings")?;
    let (version, commit): (i32, String) = (row.get(0), row.get(1));
    let (standbys, fsync, encoding): (String, String, String) = (row.get(2), row.get(3), row.get(4));
    if version < SERVER_AT_LEAST {
        bail!("the server is PostgreSQL {}; 13 is the least", version / 10_000);
    }
    if commit == "off" || fsync == "off" {
        let what = if fsync == "off" { "fsync" } else { "synchronous_commit" };
        bail!("{what} is off there: what the server calls done could be lost, and seats with it; set {what} = on");
    }
    if commit == "local" && !standbys.is_empty() {
        bail!(
            "synchronous_commit is local there, although there are standbys: after a failover, seats that were given would be \
             gone; set synchronous_commit = on"
        );
    }
    if encoding != "UTF8" {
        bail!("the database's encoding is {encoding}; make one with ENCODING 'UTF8'");
    }
    Ok(())
}

fn tls_config(file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let shown = path.display();
            let pem = std::fs::read(path).with_context(|| format!("cannot read sslrootcert {shown}"))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.with_context(|| format!("sslrootcert {shown} is no PEM file"))?;
                roots.add(certificate).with_context(|| format!("sslrootcert {shown}"))?;
            }
            if roots.is_empty() {
                bail!("sslrootcert {shown} holds no certificate");
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                bail!(
                    "the system's store holds no certificate to verify the server by; name one with sslrootcert=FILE"
                );
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Every question here finds its rows by an index, a few at a time, and in the index's order where one is asked for. A plan made while
/// the tables were small, or for a list or a limit that is not known, must not read a table of millions from end to end; and since the
/// plan is always the same, it need not be made each time.
const BY_INDEX: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan";
const SERVER_AT_LEAST: i32 = 130_000;
/// The longest wait for a connection of the pool.
const WAIT: std::time::Duration = std::time::Duration::from_secs(5);
