//! TLS: which certificates are trusted, and how a connection is wrapped in it.
//!
//! ureq could do this by itself, but not tell that a certificate was accepted only because of the extra ones (`ca_file`),
//! which dnf does not know.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls_native_certs::{CertificateResult, Error, ErrorKind};

use crate::failure::TlsFault;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Why no certificate can be verified, on its way through the HTTP library.
#[derive(Debug)]
pub(crate) struct Untrusting(pub(crate) TlsFault);

impl fmt::Display for Untrusting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Untrusting {}

/// CA certificates in DER form.
pub(crate) type Certificates = Vec<CertificateDer<'static>>;

/// Wraps connections to `https` URLs in TLS.
pub(crate) struct TlsConnector {
    extra: Certificates,
    extra_needed: Arc<AtomicBool>,
    config: OnceLock<Result<Arc<ClientConfig>, TlsFault>>,
}

impl TlsConnector {
    /// `extra`: certificates to trust beside the system's; `extra_needed` is set once a host was trusted because of them.
    pub(crate) fn new(extra: Certificates, extra_needed: Arc<AtomicBool>) -> Self {
        TlsConnector { extra, extra_needed, config: OnceLock::new() }
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self
            .config
            .get_or_init(|| client_config(&self.extra, &self.extra_needed))
            .clone()
            .map_err(|fault| ureq::Error::Other(Untrusting(fault).into()))?;
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
pub(crate) struct TlsTransport {
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
        let amount = self.stream.read(self.buffers.input_append_buf()).map_err(cut_short)?;
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

/// An end that TLS did not announce (RFC 8446, 6.1), as an error. ureq takes these kinds for the end of an answer that has no
/// length: whoever can cut the line could then choose where an answer ends.
fn cut_short(error: io::Error) -> io::Error {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionAborted | ConnectionReset => io::Error::other("the connection was closed early"),
        _ => error,
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

fn client_config(extra: &Certificates, extra_needed: &Arc<AtomicBool>) -> Result<Arc<ClientConfig>, TlsFault> {
    let other = |error: String| TlsFault::Other(error);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = |roots: RootCertStore| {
        (!roots.is_empty())
            .then(|| WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build())
            .transpose()
            .map_err(|error| other(error.to_string()))
    };
    let found = system_certificates();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() && extra.is_empty() {
        return Err(TlsFault::NoAuthorities {
            why: found.errors.iter().find(|error| !is_absence(error)).map(Error::to_string),
        });
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
        .with_safe_default_protocol_versions()
        .map_err(|error| other(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The system's CA certificates. One bundle file is read where a system has one; its folder of single files, where there
/// are hundreds, only where there is no bundle. `SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded.
fn system_certificates() -> CertificateResult {
    const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    let mut errors = Vec::new();
    if !named {
        for bundle in BUNDLES {
            let found = rustls_native_certs::load_certs_from_paths(Some(std::path::Path::new(bundle)), None);
            if !found.certs.is_empty() {
                return found;
            }
            errors.extend(found.errors);
        }
    }
    let mut found = rustls_native_certs::load_native_certs();
    found.errors.splice(0..0, errors);
    found
}

fn is_absence(error: &Error) -> bool {
    matches!(&error.kind, ErrorKind::Io { inner, .. } if inner.kind() == io::ErrorKind::NotFound)
}

/// A TLS error as data.
pub(crate) fn tls_fault(error: &rustls::Error) -> TlsFault {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => TlsFault::UnknownIssuer,
            Certificate::Expired | Certificate::ExpiredContext { .. } => TlsFault::Expired,
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => TlsFault::NotYetValid,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => TlsFault::OtherHost,
            Certificate::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => TlsFault::CaCertificate,
            other => TlsFault::Certificate(format!("{other:?}")),
        },
        rustls::Error::InvalidMessage(_) => TlsFault::NotTls,
        error => TlsFault::Other(error.to_string()),
    }
}
