//! Requests over HTTPS: one function builds and sends a request (here), one judges every answer (`answer`).
//!
//! It must not know files, license keys' meaning or single calls of the protocol. The result of a call is a valid answer of
//! the protocol or a [`CallError`], which says what went wrong and whether the request can have been carried out.

mod answer;
mod authorities;
mod dial;
mod fault;
mod handshake;
pub(crate) mod proxy;
mod tls;
pub(crate) mod transport;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
pub use ureq::http::{Method, Request, header};

use els_protocol::{BaseUrl, LicenseKey, RegistrationId, Token};

pub use answer::{Answer, SHOWN};
pub use proxy::{Choice, DNF_CONF, Environment, Proxy, Route, Source};

use crate::clock::Clock;
use crate::failure::{Failure, NetworkFault, SettingFault, Stage, Unreachable};
pub(crate) use answer::http_date;
use fault::Fault;
use transport::Network;

/// Pauses before a connection that failed, or a 429 or 503, is tried again; each ± 50 %.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// A machine's own credential: user name and password at the gate, and towards the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user name.
    pub id: RegistrationId,
    /// The password.
    pub token: Token,
}

/// Talks to backends and repositories.
pub struct Client {
    network: Network,
    route: Route,
    clock: Clock,
    /// Seconds by which the last answer's `Date` was ahead of this machine's clock.
    ahead: Cell<Option<i64>>,
    /// The proxies that were used, for the warning about dnf.
    used: RefCell<Vec<(Proxy, Source)>>,
}

/// Why a call failed, and what became of the request.
#[derive(Debug)]
pub struct CallError {
    /// What went wrong.
    pub failure: Failure,
    /// Whether it may have been carried out.
    pub fate: Fate,
}

/// What became of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never left: no connection stood.
    NotSent,
    /// The backend refused it, in the contract's form.
    Refused,
    /// It may have been carried out: no answer came, or none of the contract.
    Unknown,
}

/// What a call brings.
pub type Call<T> = Result<T, CallError>;

/// What authorises a request.
pub enum Authorization<'a> {
    /// The request's body holds the key.
    Body,
    /// A machine's own credential.
    Basic(&'a Credential),
    /// A license key.
    Bearer(&'a LicenseKey),
}

impl Client {
    /// `extra`: a file of CA certificates to trust in addition to the system's.
    pub fn new(user_agent: &str, route: Route, extra: Option<&[u8]>, clock: Clock) -> Result<Self, SettingFault> {
        let certificates = extra.map(authorities::read).transpose().map_err(SettingFault::Certificates)?;
        Ok(Client {
            network: Network::new(user_agent, certificates.unwrap_or_default()),
            route,
            clock,
            ahead: Cell::new(None),
            used: RefCell::default(),
        })
    }

    /// Seconds by which the backend's clock is ahead of this machine's, if any answer said.
    pub fn ahead(&self) -> Option<i64> {
        self.ahead.get()
    }

    /// The proxies that requests went through.
    pub fn used_proxies(&self) -> Vec<(Proxy, Source)> {
        self.used.borrow().clone()
    }

    /// Whether a host was trusted only because of the extra certificates.
    pub fn needed_extra_certificates(&self) -> bool {
        self.network.needed_extra()
    }

    /// Sends a request to a backend and takes back its answer, if it is one of the contract.
    pub fn call(
        &self,
        server: &BaseUrl,
        method: Method,
        path: &str,
        body: Vec<u8>,
        authorization: Authorization<'_>,
        most: usize,
    ) -> Call<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{server}{path}"));
        request = match &authorization {
            Authorization::Body => request.header(CONTENT_TYPE, "application/json"),
            Authorization::Basic(credential) => request.header(AUTHORIZATION, basic(credential)),
            Authorization::Bearer(key) => request.header(AUTHORIZATION, format!("Bearer {}", key.expose())),
        };
        let request = request.body(body).map_err(|error| CallError {
            failure: Failure::Request { server: server.to_string(), why: error.to_string() },
            fate: Fate::NotSent,
        })?;
        let answer = self.send(server, &request, most)?;
        answer.judge(server)
    }

    /// Sends a request, again while no connection can be made or the answer is 429 or 503, within the time-out.
    pub fn send(&self, server: &BaseUrl, request: &Request<Vec<u8>>, most: usize) -> Call<Answer> {
        let mut pauses = PAUSES.iter();
        // An earlier attempt that was answered 503 may have been carried out, whatever became of the later ones.
        let mut doubtful = false;
        loop {
            let attempt = self.attempt(server, request, most);
            let wait = match &attempt {
                Ok(answer) if matches!(answer.status, 429 | 503) => {
                    answer.retry_after(self.clock).or_else(|| pauses.next().map(jittered))
                }
                Err(error) if error.fate == Fate::NotSent && error.is_connection() => pauses.next().map(jittered),
                _ => None,
            };
            match wait {
                Some(wait) if wait < self.clock.remaining() => std::thread::sleep(wait),
                _ => {
                    return match attempt {
                        Ok(answer) => Ok(Answer { doubtful, ..answer }),
                        Err(Attempt(error, _)) if doubtful => Err(CallError { fate: Fate::Unknown, ..error }),
                        Err(Attempt(error, _)) => Err(error),
                    };
                }
            }
            doubtful |= attempt.is_ok_and(|answer| answer.status == 503);
        }
    }

    fn attempt(&self, server: &BaseUrl, request: &Request<Vec<u8>>, most: usize) -> Result<Answer, Attempt> {
        let route = self.route.to(server);
        if let Some(used) = route
            && !self.used.borrow().contains(used)
        {
            self.used.borrow_mut().push(used.clone());
        }
        let proxy = route.map(|(proxy, _)| proxy);
        let failed = |fault: Fault| Attempt(self.unreachable(server, proxy, fault.clone()), fault.stage);
        let left = self.clock.remaining();
        if left.is_zero() {
            return Err(failed(Fault { stage: Stage::Connect, fault: NetworkFault::NoTimeLeft }));
        }
        let mut response = self.network.send(request.clone(), proxy, left).map_err(failed)?;
        if let Some(date) = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(http_date) {
            self.ahead.set(Some(date.seconds_since(self.clock.now())));
        }
        let body = self
            .network
            .read(&mut response, most)
            .map_err(|fault| Attempt(cut_off(server, fault), Stage::Established))?;
        Ok(Answer {
            method: request.method().clone(),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
            doubtful: false,
        })
    }

    /// The error for a request that got no answer.
    fn unreachable(&self, server: &BaseUrl, proxy: Option<&Proxy>, Fault { stage, fault }: Fault) -> CallError {
        let (host, proxy) = (host_and_port(server), proxy.map(Proxy::to_string));
        let ignored = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| std::env::var_os(name).is_some());
        let failure = Failure::Unreachable(Unreachable { host, proxy, stage, fault, now: self.clock.now(), ignored });
        CallError { failure, fate: if stage == Stage::Established { Fate::Unknown } else { Fate::NotSent } }
    }
}

/// The error for an answer that ended before its end.
fn cut_off(server: &BaseUrl, Fault { fault, .. }: Fault) -> CallError {
    CallError { failure: Failure::CutOff { host: host_and_port(server), fault }, fate: Fate::Unknown }
}

fn host_and_port(server: &BaseUrl) -> String {
    format!("{}:{}", server.host(), server.port())
}

/// A failed attempt, and the stage at which it failed.
struct Attempt(CallError, Stage);

impl std::ops::Deref for Attempt {
    type Target = CallError;

    fn deref(&self) -> &CallError {
        &self.0
    }
}

impl Attempt {
    /// Whether no connection could be made, which is worth another try; what TLS or a proxy refuses is not.
    fn is_connection(&self) -> bool {
        self.1 <= Stage::Connect
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.failure
    }
}

/// The value of `Authorization` for a credential.
pub fn basic(credential: &Credential) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credential.id, credential.token.expose())))
}

/// Between half and one and a half times `pause`, so that a fleet that failed together does not come back together.
fn jittered(pause: &Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness the pause is just not spread.
    let _ = getrandom::fill(&mut random);
    pause.mul_f64(0.5 + f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX))
}
