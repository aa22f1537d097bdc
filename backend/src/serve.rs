//! `els-backend serve`: brings listeners, gate, store and upkeep together, and ends them in order.
//!
//! Owns the configuration as a whole: what fits together and what does not is said here, before anything listens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::api::{Api, App, Clock, answer_admin};
use crate::gate::{Gate, GateOptions};
use crate::metrics::Metrics;
use crate::products::Products;
use crate::repo_url::RepoUrl;
use els_ledger::{Store, StoreError};
use els_server::files::Folder;
use els_server::limits::FailureLimits;
use els_server::listener::{Listener, connections_allowed};
use els_server::logs;
use els_server::peer::TrustedProxies;
use els_server::tls::Tls;

/// The configuration of `serve`: its flags, read.
#[derive(Clone)]
pub struct Options {
    /// Where machines and web servers ask (`--listen`). Port 0 takes a free one; the log says which.
    pub listen: SocketAddr,
    /// Where the operator asks (`--admin-listen`).
    pub admin_listen: SocketAddr,
    /// How machines reach this backend (`--public-url`).
    pub public_url: Option<String>,
    /// What machines are told of the repositories (`--repo-url`).
    pub repo_url: Option<String>,
    /// The folder to serve at `/repo/` (`--repo-root`).
    pub repo_root: Option<PathBuf>,
    /// Certificate chain and key (`--tls-cert`, `--tls-key`).
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Speak plain HTTP on an address that is not loopback (`--plain-http`).
    pub plain_http: bool,
    /// Whose `X-Forwarded-For` counts (`--trusted-proxy`).
    pub trusted_proxies: Vec<IpNet>,
    /// Seconds after expiry in which known machines go on (`--grace`).
    pub grace_seconds: i64,
    /// How long to open for what was known, when the database cannot be reached (`--gate-stale`).
    pub gate_stale: Duration,
    /// What keys are sold for (`--products`).
    pub products: Arc<Products>,
    /// The time.
    pub clock: Clock,
}

/// Why `serve` did not start, or did not go on.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration does not fit together: exit 2.
    Usage(String),
    /// The world did not play along: exit 1.
    Failed(String),
}

/// A backend that is listening.
pub struct Running {
    /// The address of the public listener, its port known.
    pub listen: SocketAddr,
    /// The address of the admin listener, its port known.
    pub admin_listen: SocketAddr,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
    upkeep: Vec<JoinHandle<()>>,
    gate: Arc<Gate>,
}

/// Serves until SIGTERM or SIGINT, then ends in order.
pub async fn run(options: Options, store: Arc<dyn Store>) -> Result<(), ServeError> {
    logs::start();
    let failed = |error: std::io::Error| ServeError::Failed(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let running = start(options, store.clone()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending: no new connections, requests under way are answered");
    running.stop().await;
    store.finish().await;
    tracing::info!("ended");
    Ok(())
}

/// Starts to serve. Whoever needs the ports finds them in the answer; everybody else in the log.
pub async fn start(options: Options, store: Arc<dyn Store>) -> Result<Running, ServeError> {
    options.check()?;
    let tls = match &options.tls {
        Some((cert, key)) => Some(Arc::new(Tls::load(cert, key).map_err(ServeError::Usage)?)),
        None => None,
    };
    let repo_root = match &options.repo_root {
        Some(path) => Some(
            Folder::new(path).map_err(|error| ServeError::Usage(format!("--repo-root {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let files_each = 1 + usize::from(repo_root.is_some());
    let listener = bind("--listen", options.listen).await?;
    let admin_listener = bind("--admin-listen", options.admin_listen).await?;
    let address = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| ServeError::Failed(format!("the address of a listener: {error}")))
    };
    let (listen, admin_listen) = (address(&listener)?, address(&admin_listener)?);
    let repo_url = options.repo_url(listen)?;

    let metrics = Arc::new(Metrics::new());
    let limits = Arc::new(FailureLimits::default());
    let gate_options =
        GateOptions { grace_seconds: options.grace_seconds, stale: options.gate_stale, remembered: REMEMBERED };
    let gate = Gate::new(store.clone(), options.products.clone(), limits.clone(), metrics.clone(), gate_options);
    let gate = Arc::new(gate.await?);
    let app = Arc::new(App {
        store,
        gate: gate.clone(),
        products: options.products,
        limits,
        proxies: TrustedProxies::new(options.trusted_proxies),
        repo_base: repo_url.base().clone(),
        repo_url: repo_url.to_string(),
        repo_root,
        metrics: metrics.clone(),
        clock: options.clock.clone(),
    });
    let api = Api::new(app);

    let connections = connections_allowed(files_each)
        .map_err(|error| ServeError::Failed(format!("the limit on open files: {error}")))?;
    let upkeep = upkeep(&gate, tls.as_ref(), options.clock);
    let (stop, stopped) = watch::channel(false);
    let mut listeners = JoinSet::new();
    let public = Listener { socket: listener, tls, connections, open: metrics.connections.clone() };
    listeners.spawn(public.serve(stopped.clone(), {
        let api = api.clone();
        move |peer, request| {
            let api = api.clone();
            async move { api.answer(peer, request).await }
        }
    }));
    let open = metrics.connections.clone();
    let admin = Listener { socket: admin_listener, tls: None, connections: ADMIN_CONNECTIONS, open };
    listeners.spawn(admin.serve(stopped, move |_, request| {
        let api = api.clone();
        async move { answer_admin(&api, request).await }
    }));
    tracing::info!(%listen, %admin_listen, repo_url = %repo_url, "ready");
    Ok(Running { listen, admin_listen, stop, listeners, upkeep, gate })
}

impl Running {
    /// Takes no more connections, answers what is under way, and writes what waits.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.listeners.join_next().await.is_some() {}
        for task in &self.upkeep {
            task.abort();
        }
        self.gate.write_seen_once().await;
    }
}

impl Options {
    fn check(&self) -> Result<(), ServeError> {
        for (flag, address, encrypted) in
            [("--listen", self.listen, self.tls.is_some()), ("--admin-listen", self.admin_listen, false)]
        {
            if !encrypted && !self.plain_http && !address.ip().to_canonical().is_loopback() {
                return Err(ServeError::Usage(format!(
                    "{flag} {address}: plain HTTP on an address that is not loopback would show keys and tokens to the \
                     network; {}or say --plain-http if something else encrypts",
                    if flag == "--listen" { "give --tls-cert and --tls-key, " } else { "listen on 127.0.0.1, " }
                )));
            }
        }
        Ok(())
    }

    /// What machines are told: `--repo-url`, else `--public-url` and `/repo`, else the listening address if that is
    /// loopback.
    fn repo_url(&self, listen: SocketAddr) -> Result<RepoUrl, ServeError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (flag, url) = match (&self.repo_url, &self.public_url) {
            (Some(url), _) => ("--repo-url", url.clone()),
            (None, Some(url)) => ("--public-url", format!("{}/repo", url.trim_end_matches('/'))),
            (None, None) if listen.ip().to_canonical().is_loopback() => {
                ("--listen", format!("{scheme}://{listen}/repo"))
            }
            (None, None) => {
                return Err(ServeError::Usage(
                    "how do machines reach this backend? Say --public-url https://HOST, or --repo-url for other \
                     repositories"
                        .into(),
                ));
            }
        };
        RepoUrl::parse(&url).map_err(|why| ServeError::Usage(format!("{flag}: {url}: {why}")))
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ServeError::Usage(what) | ServeError::Failed(what)) = self;
        f.write_str(what)
    }
}

impl std::error::Error for ServeError {}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        ServeError::Failed(error.to_string())
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "; something listens there already: end it, or name another port",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            // Run as root, this process is the owner of the database's folder by now.
            io::ErrorKind::PermissionDenied => {
                "; for a port below 1024 the owner of the database's folder needs CAP_NET_BIND_SERVICE (systemd: \
                 AmbientCapabilities=)"
            }
            _ => "",
        };
        ServeError::Failed(format!("{flag} {address}: {error}{advice}"))
    })
}

fn upkeep(gate: &Arc<Gate>, tls: Option<&Arc<Tls>>, clock: Clock) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![
        tokio::spawn({
            let gate = gate.clone();
            async move { gate.follow().await }
        }),
        tokio::spawn({
            let gate = gate.clone();
            async move { gate.write_seen().await }
        }),
        tokio::spawn({
            let gate = gate.clone();
            async move { gate.keep_house(|| clock()).await }
        }),
    ];
    if let Some(tls) = tls.cloned() {
        tasks.push(tokio::spawn(async move { tls.follow(CERTIFICATE_EVERY).await }));
    }
    tasks
}

/// Credentials remembered by the gate, of about 100 bytes each.
const REMEMBERED: usize = 900_000;
const ADMIN_CONNECTIONS: usize = 64;
const CERTIFICATE_EVERY: Duration = Duration::from_secs(2);
