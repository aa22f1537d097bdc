//! Connections: made with TLS where the target wants it, to the primary alone, and none that could lose what was answered.
//!
//! Owns the settings of a session, the checks of a server, which of several servers is tried first, and how long it may take
//! to answer. It must not know what is read or written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use deadpool::managed::{Manager, Metrics, RecycleResult};
use deadpool_postgres::ClientWrapper;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failed;
use super::history::{History, Mark};
use super::target::{Encryption, Target};

/// Fails with 25006 in recovery and where transactions are read-only. It locks no row and writes nothing.
macro_rules! primary {
    () => {
        "SELECT 1 FROM upkeep WHERE false FOR UPDATE"
    };
}
pub(super) use primary;

/// What makes connections to one target.
#[derive(Clone)]
pub(super) struct Connector {
    target: Target,
    /// One for each host, in the order of the URL.
    hosts: Arc<[Config]>,
    /// The host that answered last; it is tried first.
    first: Arc<AtomicUsize>,
    tls: Option<MakeRustlsConnect>,
    history: History,
}

/// Connections for short transactions.
pub(super) type Pool = deadpool::managed::Pool<Connector>;

/// A message of the server that nobody asked for.
pub(super) type Notices = tokio::sync::mpsc::UnboundedReceiver<()>;

impl Connector {
    /// Reads the certificates that the target needs.
    pub(super) fn new(target: Target) -> anyhow::Result<Self> {
        let tls = match &target.encryption {
            Encryption::None => None,
            Encryption::Verified(file) => Some(MakeRustlsConnect::new(tls_config(file.as_deref())?)),
        };
        let hosts = target.hosts().into();
        Ok(Connector { target, hosts, first: Arc::default(), tls, history: History::new() })
    }

    /// Host and database, for messages.
    pub(super) fn shown(&self) -> String {
        self.target.shown()
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// A pool of at most `most` connections.
    pub(super) fn pool(&self, most: usize) -> anyhow::Result<Pool> {
        // A connection is made and checked within a time of its own, see below.
        Pool::builder(self.clone())
            .max_size(most)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .build()
            .context("cannot make a pool of connections")
    }

    /// A connection of one's own. Dropping it closes it, also when the server does not answer.
    pub(super) async fn session(&self) -> Result<ClientWrapper, Failed> {
        self.session_with_notices().await.map(|(session, _)| session)
    }

    /// The same, and a word for each notification that comes on it.
    pub(super) async fn session_with_notices(&self) -> Result<(ClientWrapper, Notices), Failed> {
        let first = self.first.load(Ordering::Relaxed);
        let mut failed = Failed::Connect("no host".into());
        for host in (0..self.hosts.len()).map(|number| (first + number) % self.hosts.len()) {
            match self.session_of(host).await {
                Ok(session) => {
                    self.first.store(host, Ordering::Relaxed);
                    return Ok(session);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Looks for a server that was promoted, until the future is dropped: an address may lead to another server than before
    /// while old connections stay where they are, and a primary that was replaced does not always know it.
    pub(super) async fn look_around(self) {
        loop {
            sleep(LOOK_EVERY).await;
            for host in 0..self.hosts.len() {
                if self.session_of(host).await.is_err() {
                    continue;
                }
                self.first.store(host, Ordering::Relaxed);
            }
        }
    }

    /// A connection to this host, if it is the primary.
    async fn session_of(&self, host: usize) -> Result<(ClientWrapper, Notices), Failed> {
        let Some(config) = self.hosts.get(host) else { return Err(Failed::Connect("no such host".into())) };
        let most = config.get_connect_timeout().copied().unwrap_or(WAIT);
        let (session, notices, mark) = match timeout(most, self.try_session(config)).await {
            Ok(made) => made?,
            Err(_) => return Err(Failed::Connect(format!("no connection within {} seconds", most.as_secs()))),
        };
        self.history.accept(mark).map_err(|why| Failed::Connect(why.into()))?;
        Ok((session, notices))
    }

    async fn try_session(&self, config: &Config) -> Result<(ClientWrapper, Notices, Mark), Failed> {
        let (tell, notices) = tokio::sync::mpsc::unbounded_channel();
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
        let row = session.query_one(MARK, &[]).await?;
        let mark = Mark { system: row.try_get(0)?, timeline: row.try_get(1)? };
        Ok((session, notices, mark))
    }
}

impl Manager for Connector {
    type Type = ClientWrapper;
    type Error = Failed;

    async fn create(&self) -> Result<ClientWrapper, Failed> {
        self.session().await
    }

    /// No request must meet a connection that is dead, or one to a server that is no longer the primary.
    async fn recycle(&self, session: &mut ClientWrapper, metrics: &Metrics) -> RecycleResult<Failed> {
        self.verify(session, metrics.created).await.map_err(Into::into)
    }
}

impl Connector {
    /// Checks that this session, made at this moment, is one to the primary.
    pub(super) async fn verify(&self, session: &Client, made: Instant) -> Result<(), Failed> {
        if session.is_closed() || !self.history.is_current(made) {
            return Err(Failed::Connect("the connection has ended".into()));
        }
        match timeout(VERIFY, session.batch_execute(PRIMARY)).await {
            Ok(verified) => Ok(verified?),
            Err(_) => {
                self.history.suspect();
                Err(Failed::Connect("the server does not answer".into()))
            }
        }
    }
}

/// Moves the bytes of a connection until it ends.
async fn carry<S, T>(mut connection: tokio_postgres::Connection<S, T>, tell: tokio::sync::mpsc::UnboundedSender<()>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // An error ends the connection; its user learns it from the answer that does not come.
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
const PRIMARY: &str = primary!();
/// The first eight digits of a WAL file's name are the timeline; there is no such name in recovery.
const MARK: &str = "SELECT (SELECT system_identifier FROM pg_control_system()),
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int8";
/// The longest wait for a connection of the pool.
const WAIT: Duration = Duration::from_secs(5);
/// The longest wait for the check of a connection.
const VERIFY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(2);
