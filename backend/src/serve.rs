//! `els-backend serve`: starts listeners, gate and upkeep on a store, and ends them in order.
//!
//! Owns the configuration as a whole: options that do not fit together are refused here, before anything listens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use els_ledger::{Store, StoreError};
use els_server::files::Folder;
use els_server::limits::{self, GuessLimits, Turns};
use els_server::listener::{Listener, connections_allowed};
use els_server::peer::TrustedProxies;
use els_server::tls::Tls;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin_api::{Admin, AdminApi};
use crate::api::{Api, App};
use crate::clock::Clock;
use crate::gate::{Gate, GateOptions};
use crate::metrics::Metrics;
use crate::products::Products;
use crate::repo_url::RepoUrl;
use crate::upkeep::Upkeep;

/// The options of `serve`, parsed.
#[derive(Clone)]
pub struct Options {
    /// `--listen`: for machines and web servers. Port 0: a free port, which the log names.
    pub listen: SocketAddr,
    /// `--admin-listen`: for the operator.
    pub admin_listen: SocketAddr,
    /// `--staff-listen`: for the vendor's own systems.
    pub staff_listen: Option<SocketAddr>,
    /// `--staff-url`: how they reach it.
    pub staff_url: Option<String>,
    /// `--time-zone`: of a day without a time.
    pub zone: TimeZone,
    /// `--public-url`: how machines reach this backend.
    pub public_url: Option<String>,
    /// `--repo-url`: the address of the repositories that machines get.
    pub repo_url: Option<String>,
    /// `--repo-root`: the folder served at `/repo/`.
    pub repo_root: Option<PathBuf>,
    /// `--tls-cert` and `--tls-key`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `--plain-http`: plain HTTP is allowed on an address that is not loopback.
    pub plain_http: bool,
    pub trusted_proxies: Vec<IpNet>,
    /// `--grace`, in seconds.
    pub grace_seconds: i64,
    pub gate_stale: Duration,
    pub products: Arc<Products>,
    pub clock: Clock,
}

/// Why `serve` did not start, or ended.
#[derive(Debug)]
pub enum ServeError {
    /// Options that do not fit together: exit 2.
    Usage(String),
    /// Anything else: exit 1.
    Failed(String),
}

/// A backend that is listening.
pub struct Running {
    /// The address of the public listener, with its port.
    pub listen: SocketAddr,
    /// The address of the admin listener, with its port.
    pub admin_listen: SocketAddr,
    /// The address of the listener for the vendor's systems, with its port.
    pub staff_listen: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
    background: JoinSet<()>,
    gate: Arc<Gate>,
    upkeep: Upkeep,
    admin_api: Option<AdminApi>,
}

/// Serves until SIGTERM or SIGINT, then ends in order.
pub async fn run(options: Options, store: Arc<dyn Store>) -> Result<(), ServeError> {
    let failed = |error: std::io::Error| ServeError::Failed(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let running = start(options, store.clone()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new connections; requests under way are answered");
    running.stop().await;
    store.finish().await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts to serve.
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
        listener
            .local_addr()
            .map_err(|error| ServeError::Failed(format!("cannot read the address of a listener: {error}")))
    };
    let (listen, admin_listen) = (address(&listener)?, address(&admin_listener)?);
    let staff_listener = match options.staff_listen {
        Some(at) => Some(bind("--staff-listen", at).await?),
        None => None,
    };
    let staff_listen = staff_listener.as_ref().map(address).transpose()?;
    let repo_url = options.repo_url(listen)?;

    let (stop, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::new());
    let gate_options =
        GateOptions { grace_seconds: options.grace_seconds, stale: options.gate_stale, remembered: REMEMBERED };
    let gate = Gate::new(store.clone(), options.products.clone(), metrics.clone(), gate_options);
    let gate = Arc::new(gate.await?);
    let proxies = TrustedProxies::new(options.trusted_proxies);
    let admin_api = match staff_listen {
        Some(listen) => {
            let (products, limits, proxies) =
                (options.products.clone(), GuessLimits::new(limits::KEYS), proxies.clone());
            let (metrics, clock, name) =
                (metrics.clone(), options.clock.clone(), (options.staff_url.as_deref(), listen));
            let (zone, stopped) = (options.zone.clone(), stopped.clone());
            let admin = Admin::new(store.clone(), products, limits, proxies, metrics, clock, zone, stopped, name);
            Some(AdminApi::new(admin.map_err(ServeError::Usage)?))
        }
        None => None,
    };
    let app = Arc::new(App {
        store: store.clone(),
        gate: gate.clone(),
        products: options.products,
        limits: GuessLimits::new(limits::KEYS),
        turns: Turns::new(TURNS_EACH),
        proxies: proxies.clone(),
        repo_base: repo_url.base().clone(),
        repo_url: repo_url.to_string(),
        repo_root,
        metrics: metrics.clone(),
        clock: options.clock.clone(),
    });
    let api = Api::new(app);

    let connections = connections_allowed(files_each, MEMORY)
        .map_err(|error| ServeError::Failed(format!("cannot read the limit on open files: {error}")))?;
    let upkeep =
        Upkeep { store, gate: gate.clone(), metrics: metrics.clone(), clock: options.clock, node: node_name() };
    let mut background = upkeep.start();
    background.spawn({
        let gate = gate.clone();
        async move { gate.follow().await }
    });
    if let Some(tls) = tls.clone() {
        background.spawn(async move { tls.follow(CERTIFICATE_EVERY).await });
    }
    let mut listeners = JoinSet::new();
    let open = metrics.requests.connections.clone();
    let public = Listener { socket: listener, tls, connections, proxies: proxies.clone(), open };
    listeners.spawn(public.serve(stopped.clone(), {
        let api = api.clone();
        move |peer, request| {
            let api = api.clone();
            async move { api.answer(peer, request).await }
        }
    }));
    if let (Some(socket), Some(api)) = (staff_listener, admin_api.clone()) {
        let open = metrics.requests.connections.clone();
        let staff = Listener { socket, tls: None, connections: STAFF_CONNECTIONS, proxies, open };
        background.spawn({
            let api = api.clone();
            async move { write_uses(&api).await }
        });
        listeners.spawn(staff.serve(stopped.clone(), move |peer, request| {
            let api = api.clone();
            async move { api.answer(peer, request).await }
        }));
    }
    let open = metrics.requests.connections.clone();
    let proxies = TrustedProxies::default();
    let admin = Listener { socket: admin_listener, tls: None, connections: ADMIN_CONNECTIONS, proxies, open };
    listeners.spawn(admin.serve(stopped, move |_, request| {
        let api = api.clone();
        async move { api.answer_admin(request).await }
    }));
    let staff = staff_listen.map(|address| address.to_string());
    tracing::info!(%listen, %admin_listen, staff_listen = staff, repo_url = %repo_url, "ready");
    Ok(Running { listen, admin_listen, staff_listen, stop, listeners, background, gate, upkeep, admin_api })
}

impl Running {
    /// Accepts no more connections, answers requests under way, and writes what waits.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.listeners.join_next().await.is_some() {}
        self.background.shutdown().await;
        if let Err(error) = self.gate.write_seen().await {
            tracing::warn!(%error, "the last times of use were not written");
        }
        if let Some(api) = &self.admin_api
            && let Err(error) = api.write_uses().await
        {
            tracing::warn!(%error, "the last uses of tokens were not written");
        }
        self.upkeep.stopped().await;
    }
}

impl Options {
    fn check(&self) -> Result<(), ServeError> {
        let staff = self.staff_listen.map(|address| ("--staff-listen", address, false));
        let others = [("--listen", self.listen, self.tls.is_some()), ("--admin-listen", self.admin_listen, false)];
        for (flag, address, encrypted) in others.into_iter().chain(staff) {
            if !encrypted && !self.plain_http && !address.ip().to_canonical().is_loopback() {
                return Err(ServeError::Usage(format!(
                    "{flag} {address}: plain HTTP on an address that is not loopback would send keys and tokens \
                     unencrypted; {}or add --plain-http if a proxy encrypts",
                    if flag == "--listen" { "give --tls-cert and --tls-key, " } else { "listen on 127.0.0.1, " }
                )));
            }
        }
        Ok(())
    }

    /// The address that machines get: `--repo-url`, else `--public-url` and `/repo`, else the listening address if that is
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
                    "the address for machines is missing; add --public-url https://HOST, or --repo-url if the \
                     repositories are elsewhere"
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
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            // Started as root, this process has become the owner of the database's folder by now.
            io::ErrorKind::PermissionDenied => {
                "; for a port below 1024, the owner of the database's folder needs CAP_NET_BIND_SERVICE (systemd: \
                 AmbientCapabilities=)"
            }
            _ => "",
        };
        ServeError::Failed(format!("{flag} {address}: {error}{hint}"))
    })
}

/// A name that no other process has: two nodes may have the same host name and process id, in containers.
fn node_name() -> String {
    let mut bytes = [0; 8];
    #[expect(clippy::disallowed_methods, reason = "the name of a node is not a secret")]
    let random = getrandom::fill(&mut bytes);
    let boot = random.map(|()| u64::from_be_bytes(bytes)).unwrap_or_default();
    format!("{boot:016x}-{}", std::process::id())
}

/// Writes last uses of tokens again and again; those of a failed write are lost, and the next use is written.
async fn write_uses(api: &AdminApi) {
    loop {
        tokio::time::sleep(USES_EVERY).await;
        if let Err(error) = api.write_uses().await {
            tracing::warn!(%error, "the last uses of tokens were not written");
        }
    }
}

/// Credentials in the gate's memory, about 100 bytes each.
const REMEMBERED: usize = 900_000;
/// The memory that is needed besides connections: the gate's, the database's, and queues.
const MEMORY: u64 = 512 * 1024 * 1024;
/// Requests with a credential at one time for each network.
const TURNS_EACH: usize = 16;
const ADMIN_CONNECTIONS: usize = 64;
const STAFF_CONNECTIONS: usize = 256;
const USES_EVERY: Duration = Duration::from_secs(30);
const CERTIFICATE_EVERY: Duration = Duration::from_secs(2);
