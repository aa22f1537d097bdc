//! One request over the network: TCP, proxy, TLS, HTTP, and at which of these stages it failed.
//!
//! ureq's own parts connect, ask the proxy and speak HTTP; between them stand links that note which stage was reached, since
//! a request that failed before the last one has certainly not been sent.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};
use ureq::{Agent, Body};

use super::proxy::Proxy;
use super::tls::{Certificates, TlsConnector, Untrusting, tls_fault};
use crate::failure::{NetworkFault, Stage};

/// What went wrong, and when.
#[derive(Clone)]
pub(crate) struct Fault {
    pub(crate) stage: Stage,
    pub(crate) fault: NetworkFault,
}

/// Makes requests.
pub(crate) struct Network {
    agent: Agent,
    progress: Progress,
    extra_needed: Arc<AtomicBool>,
}

/// Shared between the parts of one agent: the stage that was reached last, and the host and port that the request is for
/// (a proxy's connection runs through the same parts). One request runs at a time.
#[derive(Debug, Clone, Default)]
struct Progress {
    stage: Arc<AtomicU8>,
    target: Arc<Mutex<String>>,
}

impl Network {
    /// `extra`: certificates to trust beside the system's.
    pub(crate) fn new(user_agent: &str, extra: Certificates) -> Self {
        let progress = Progress::default();
        let extra_needed = Arc::new(AtomicBool::new(false));
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(32 * 1024)
            .proxy(None)
            .user_agent(user_agent)
            .accept_encoding("identity")
            .build();
        let connector =
            ().chain(Reached(Stage::Connect, progress.clone()))
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Reached(Stage::Tls, progress.clone()))
                .chain(TlsConnector::new(extra, extra_needed.clone()))
                .chain(Reached(Stage::Established, progress.clone()));
        let resolver = Names { inner: DefaultResolver::default(), progress: progress.clone() };
        Network { agent: Agent::with_parts(config, connector, resolver), progress, extra_needed }
    }

    /// Sends a request and reads its answer's head. `wait` bounds all of it, the body that is read later included.
    pub(crate) fn send(
        &self,
        request: Request<Vec<u8>>,
        proxy: Option<&Proxy>,
        wait: Duration,
    ) -> Result<Response<Body>, Fault> {
        self.progress.begin(request.uri());
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(wait))
            .allow_non_standard_methods(true)
            .proxy(proxy.map(proxy_for_ureq).transpose().map_err(|error| self.fault(&error))?)
            .build();
        self.agent.run(request).map_err(|error| self.fault(&error))
    }

    /// At most `most` bytes of an answer's body.
    pub(crate) fn read(&self, response: &mut Response<Body>, most: usize) -> Result<Vec<u8>, Fault> {
        self.progress.reach(Stage::Established);
        let reader = response.body_mut().with_config().limit(most as u64 + 1);
        let mut content = Vec::new();
        let read = reader.reader().take(most as u64 + 1).read_to_end(&mut content);
        match read {
            Ok(_) if content.len() > most => {
                Err(Fault { stage: Stage::Established, fault: NetworkFault::BodyTooLarge { most } })
            }
            Ok(_) => Ok(content),
            Err(error) => Err(self.fault(&ureq::Error::from(error))),
        }
    }

    /// Whether a certificate was accepted only because of the extra certificates.
    pub(crate) fn needed_extra(&self) -> bool {
        self.extra_needed.load(Ordering::Relaxed)
    }

    fn fault(&self, error: &ureq::Error) -> Fault {
        let stage = match error {
            ureq::Error::ConnectProxyFailed(_) => Stage::Proxy,
            ureq::Error::HostNotFound => Stage::Resolve,
            _ => self.progress.reached(),
        };
        let fault = match error {
            // The library gives the proxy's refusal only as a text.
            ureq::Error::ConnectProxyFailed(why) => {
                match why.split("responded ").nth(1).and_then(|status| status.split('/').next()) {
                    Some("407") => NetworkFault::ProxyLogin,
                    Some("403") => NetworkFault::ProxyForbids,
                    Some(status) => NetworkFault::ProxyStatus(status.to_owned()),
                    None => NetworkFault::ProxySilent,
                }
            }
            ureq::Error::Timeout(_) => NetworkFault::TimedOut,
            ureq::Error::HostNotFound => NetworkFault::NameUnknown,
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => NetworkFault::Tls(tls_fault(error)),
                None if error.kind() == std::io::ErrorKind::UnexpectedEof => NetworkFault::ClosedEarly,
                None => plain_io(error),
            },
            ureq::Error::Rustls(error) => NetworkFault::Tls(tls_fault(error)),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => NetworkFault::NotHttp,
            ureq::Error::LargeResponseHeader(..) => NetworkFault::HeadTooLarge,
            ureq::Error::Other(other) => match other.downcast_ref::<Untrusting>() {
                Some(Untrusting(fault)) => NetworkFault::Tls(fault.clone()),
                None => NetworkFault::Other(other.to_string()),
            },
            error => NetworkFault::Other(error.to_string()),
        };
        Fault { stage, fault }
    }
}

impl Progress {
    /// A request begins. Until a new connection is being made it may go over one that stands, so nothing less than that may
    /// be claimed.
    fn begin(&self, uri: &Uri) {
        *self.target.lock().expect("no thread panics with this lock") = authority(uri);
        self.reach(Stage::Established);
    }

    fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    fn is_for(&self, uri: &Uri) -> bool {
        *self.target.lock().expect("no thread panics with this lock") == authority(uri)
    }

    fn reached(&self) -> Stage {
        const STAGES: [Stage; 5] = [Stage::Resolve, Stage::Connect, Stage::Proxy, Stage::Tls, Stage::Established];
        STAGES[usize::from(self.stage.load(Ordering::Relaxed)).min(STAGES.len() - 1)]
    }
}

fn authority(uri: &Uri) -> String {
    uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).unwrap_or_default()
}

/// Looks up names, and notes that it does.
#[derive(Debug)]
struct Names {
    inner: DefaultResolver,
    progress: Progress,
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if let (Some(address), Some(port)) = (uri.host().and_then(super::proxy::address), port_of(uri)) {
            let mut found = self.empty();
            found.push(SocketAddr::new(address, port));
            return Ok(found);
        }
        let before = self.progress.reached();
        self.progress.reach(Stage::Resolve);
        let found = self.inner.resolve(uri, config, timeout)?;
        self.progress.reach(before);
        Ok(found)
    }
}

fn port_of(uri: &Uri) -> Option<u16> {
    uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

/// A link of the chain that only notes that it was reached. What follows a connection to a proxy is the proxy's answer, not
/// TLS and not an established connection.
#[derive(Debug)]
struct Reached(Stage, Progress);

impl<In: Transport> Connector<In> for Reached {
    type Out = In;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        let of_proxy = self.0 > Stage::Connect && !self.1.is_for(details.uri);
        self.1.reach(if of_proxy { Stage::Proxy } else { self.0 });
        Ok(chained)
    }
}

pub(crate) fn proxy_for_ureq(proxy: &Proxy) -> Result<ureq::Proxy, ureq::Error> {
    let mut builder = ureq::Proxy::builder(ureq::ProxyProtocol::Http).host(&proxy.host).port(proxy.port);
    if let Some(user) = &proxy.user {
        builder = builder.username(user);
    }
    if let Some(password) = &proxy.password {
        builder = builder.password(password.expose());
    }
    builder.build()
}

fn plain_io(error: &std::io::Error) -> NetworkFault {
    match error.raw_os_error() {
        Some(code) => NetworkFault::Os(nix::errno::Errno::from_raw(code)),
        None => NetworkFault::Other(error.to_string()),
    }
}
