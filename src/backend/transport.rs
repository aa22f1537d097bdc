//! One request over the network: TCP, proxy, TLS, HTTP, and at which of these stages it failed.
//!
//! ureq's own parts connect, ask the proxy and speak HTTP. TLS is wrapped here, for two things that ureq cannot tell: that
//! the handshake was the stage that failed (nothing has been sent then), and whether a certificate was accepted only because
//! of `ca_file` (dnf would refuse it).

use std::fmt;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};
use ureq::{Agent, Body};

use super::proxy::Proxy;

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Looking up a name.
    Resolve,
    /// Opening a connection, to the host or to its proxy.
    Connect,
    /// Waiting for the proxy's word.
    Proxy,
    /// Shaking hands.
    Tls,
    /// The connection stands: from here on the request may have arrived.
    Established,
}

/// What went wrong, and when.
pub(super) struct Fault {
    pub(super) stage: Stage,
    pub(super) why: String,
    /// The certificate's dates do not fit the clock.
    pub(super) dates: bool,
}

/// CA certificates in DER form.
pub(super) type Certificates = Vec<CertificateDer<'static>>;

/// Makes requests.
pub(super) struct Network {
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
    pub(super) fn new(extra: Certificates) -> Self {
        let progress = Progress::default();
        let extra_needed = Arc::new(AtomicBool::new(false));
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(32 * 1024)
            .proxy(None)
            .user_agent(concat!("els-register/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build();
        let tls = TlsConnector {
            extra,
            progress: progress.clone(),
            extra_needed: extra_needed.clone(),
            config: OnceLock::new(),
        };
        let connector =
            ().chain(Reached(Stage::Connect, progress.clone()))
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Reached(Stage::Proxy, progress.clone()))
                .chain(tls)
                .chain(Reached(Stage::Established, progress.clone()));
        let resolver = Names { inner: DefaultResolver::default(), progress: progress.clone() };
        Network { agent: Agent::with_parts(config, connector, resolver), progress, extra_needed }
    }

    /// Sends a request and reads its answer's head. `wait` bounds all of it, the body that is read later included.
    pub(super) fn send(
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
    pub(super) fn read(&self, response: &mut Response<Body>, most: usize) -> Result<Vec<u8>, Fault> {
        self.progress.reach(Stage::Established);
        let reader = response.body_mut().with_config().limit(most as u64 + 1);
        let mut content = Vec::new();
        let read = reader.reader().take(most as u64 + 1).read_to_end(&mut content);
        match read {
            Ok(_) if content.len() > most => Err(Fault {
                stage: Stage::Established,
                why: format!("its answer is larger than {most} bytes"),
                dates: false,
            }),
            Ok(_) => Ok(content),
            Err(error) => Err(self.fault(&ureq::Error::from(error))),
        }
    }

    /// Whether a certificate was accepted only because of the extra certificates.
    pub(super) fn needed_extra(&self) -> bool {
        self.extra_needed.load(Ordering::Relaxed)
    }

    fn fault(&self, error: &ureq::Error) -> Fault {
        let mut stage = self.progress.reached();
        let mut dates = false;
        let why = match error {
            ureq::Error::ConnectProxyFailed(why) => {
                stage = Stage::Proxy;
                match why.split("responded ").nth(1).and_then(|status| status.split('/').next()) {
                    Some("407") => "it wants a user name and password, or refused those given (407)".to_owned(),
                    Some("403") => "it does not allow this host and port (403)".to_owned(),
                    Some(status) => format!("it answered {status}"),
                    None => "it gave no answer that a proxy gives".to_owned(),
                }
            }
            ureq::Error::Timeout(_) => "no answer within --timeout".to_owned(),
            ureq::Error::HostNotFound => {
                stage = Stage::Resolve;
                "the name is not known".to_owned()
            }
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => {
                    dates = is_about_dates(error);
                    tls_error(error)
                }
                None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    "the connection was closed early".to_owned()
                }
                None => plain_io(error),
            },
            ureq::Error::Rustls(error) => {
                dates = is_about_dates(error);
                tls_error(error)
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => "its answer is no HTTP".to_owned(),
            ureq::Error::LargeResponseHeader(..) => "its answer's headers are too large".to_owned(),
            ureq::Error::Other(error) => error.to_string(),
            error => error.to_string(),
        };
        Fault { stage, why, dates }
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
        if let (Some(address), Some(port)) = (uri.host().and_then(super::url::address), port_of(uri)) {
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

/// A link of the chain that only notes that it was reached. A connection to a proxy is never established: what follows it
/// is the proxy's answer.
#[derive(Debug)]
struct Reached(Stage, Progress);

impl<In: Transport> Connector<In> for Reached {
    type Out = In;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        if self.0 != Stage::Established || self.1.is_for(details.uri) {
            self.1.reach(self.0);
        }
        Ok(chained)
    }
}

/// Wraps connections to `https` URLs in TLS.
struct TlsConnector {
    extra: Certificates,
    progress: Progress,
    extra_needed: Arc<AtomicBool>,
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        self.progress.reach(Stage::Tls);
        let config = self
            .config
            .get_or_init(|| client_config(&self.extra, &self.extra_needed).map_err(|error| format!("{error:#}")))
            .clone()
            .map_err(|why| ureq::Error::Other(why.into()))?;
        let host = details.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ureq::Error::Tls("the host is no DNS name"))?;
        let mut connection = ClientConnection::new(config, name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned::new(connection, socket) })))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

/// A TLS connection as ureq uses one.
struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

/// Trusts the system's certificates; if those refuse a host, they and the extra ones together, and remembers that.
#[derive(Debug)]
struct Trust {
    system: Option<Arc<WebPkiServerVerifier>>,
    both: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    extra_needed: Arc<AtomicBool>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let check = |verifier: &Option<Arc<WebPkiServerVerifier>>| match verifier {
            Some(verifier) => verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        };
        let refused = match check(&self.system) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if self.both.is_none() {
            return Err(refused);
        }
        let verified = check(&self.both)?;
        self.extra_needed.store(true, Ordering::Relaxed);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn client_config(extra: &Certificates, extra_needed: &Arc<AtomicBool>) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = |roots: RootCertStore| {
        (!roots.is_empty())
            .then(|| WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build())
            .transpose()
            .context("the CA certificates cannot be used")
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_certificates());
    if roots.is_empty() && extra.is_empty() {
        bail!("no CA certificates were found on this system (package ca-certificates)");
    }
    let system = verifier(roots.clone())?;
    let both = if extra.is_empty() {
        None
    } else {
        roots.add_parsable_certificates(extra.iter().cloned());
        verifier(roots)?
    };
    let trust = Trust { system, both, provider: provider.clone(), extra_needed: extra_needed.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The system's CA certificates. One bundle file is read where a system has one; its folder of single files, where there
/// are hundreds, only where there is no bundle. `SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded.
fn system_certificates() -> Certificates {
    const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if !named {
        for bundle in BUNDLES {
            let found = rustls_native_certs::load_certs_from_paths(Some(std::path::Path::new(bundle)), None);
            if !found.certs.is_empty() {
                return found.certs;
            }
        }
    }
    rustls_native_certs::load_native_certs().certs
}

fn proxy_for_ureq(proxy: &Proxy) -> Result<ureq::Proxy, ureq::Error> {
    let mut builder = ureq::Proxy::builder(ureq::ProxyProtocol::Http).host(&proxy.host).port(proxy.port);
    if let Some(user) = &proxy.user {
        builder = builder.username(user);
    }
    if let Some(password) = &proxy.password {
        builder = builder.password(password.expose());
    }
    builder.build()
}

fn is_about_dates(error: &rustls::Error) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}

/// A TLS error in words that say what to look at.
fn tls_error(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "its certificate is signed by no CA that this system trusts".into()
        }
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired".into()
        }
        rustls::Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "its certificate is not valid yet".into()
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "its certificate is for another host".into(),
        rustls::Error::InvalidCertificate(Certificate::Other(other))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            "its certificate is a CA's own, as self-signed ones are: a server needs one that a CA issued".into()
        }
        rustls::Error::InvalidCertificate(other) => format!("its certificate is not accepted ({other:?})"),
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS".into(),
        error => error.to_string(),
    }
}

fn plain_io(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    }
}
