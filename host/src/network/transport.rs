//! One request over the network: TCP, proxy, TLS, HTTP, and at which of these stages it failed.
//!
//! `dial` opens the connection, `tls` encrypts it and ureq speaks HTTP. Each notes which stage was reached, since a request
//! that failed before the last stage has certainly not been sent.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Agent, Body};

use super::dial::Dial;
use super::fault::{Carried, Fault, Progress, io_fault};
use super::proxy::Proxy;
use super::tls::{Certificates, TlsConnector, Trust, Untrusting, tls_fault};
use crate::failure::{NetworkFault, Stage};

/// Makes requests.
pub(crate) struct Network {
    agent: Agent,
    progress: Progress,
    proxy: Arc<Mutex<Option<Proxy>>>,
    extra_needed: Arc<AtomicBool>,
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
        let trust = Arc::new(Trust::new(extra, extra_needed.clone()));
        let proxy = Arc::new(Mutex::new(None));
        let connector =
            ().chain(Dial { proxy: proxy.clone(), progress: progress.clone(), trust: trust.clone() })
                .chain(Reached(Stage::Tls, progress.clone()))
                .chain(TlsConnector::new(trust))
                .chain(Reached(Stage::Established, progress.clone()));
        Network { agent: Agent::with_parts(config, connector, NoNames), progress, proxy, extra_needed }
    }

    /// Sends a request and reads its answer's head. `wait` bounds all of it, the body that is read later included.
    pub(crate) fn send(
        &self,
        request: Request<Vec<u8>>,
        proxy: Option<&Proxy>,
        wait: Duration,
    ) -> Result<Response<Body>, Fault> {
        // Until a new connection is being made the request may go over one that stands, so nothing less may be claimed.
        self.progress.reach(Stage::Established);
        *self.proxy.lock().expect("no thread panics with this lock") = proxy.cloned();
        let request =
            self.agent.configure_request(request).timeout_global(Some(wait)).allow_non_standard_methods(true).build();
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
        let fault = match error {
            ureq::Error::Timeout(_) => NetworkFault::TimedOut,
            ureq::Error::Io(error) => io_fault(error),
            ureq::Error::Rustls(error) => NetworkFault::Tls(tls_fault(error)),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => NetworkFault::NotHttp,
            ureq::Error::LargeResponseHeader(..) => NetworkFault::HeadTooLarge,
            ureq::Error::Other(other) => {
                if let Some(Carried(fault)) = other.downcast_ref() {
                    return fault.clone();
                }
                match other.downcast_ref::<Untrusting>() {
                    Some(Untrusting(fault)) => NetworkFault::Tls(fault.clone()),
                    None => NetworkFault::Other(other.to_string()),
                }
            }
            error => NetworkFault::Other(error.to_string()),
        };
        Fault { stage: self.progress.reached(), fault }
    }
}

/// Looks up nothing: `dial` does that for the host or for its proxy.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut nowhere = self.empty();
        nowhere.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(nowhere)
    }
}

/// A link of the chain that only notes that it was reached.
#[derive(Debug)]
struct Reached(Stage, Progress);

impl<In: Transport> Connector<In> for Reached {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        self.1.reach(self.0);
        Ok(chained)
    }
}
