//! TLS: which certificates are trusted, and how a connection is wrapped in it.
//!
//! ureq could do this by itself, but not tell that a certificate was accepted only because of the extra ones (`ca_file`),
//! which dnf does not know.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError,
    RootCertStore, SignatureScheme, StreamOwned,
};
use rustls_native_certs::{CertificateResult, Error, ErrorKind};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::failure::TlsFault;

/// A fault that this module found itself, on its way through the libraries for TLS and HTTP.
#[derive(Debug)]
pub(crate) struct Untrusting(pub(crate) TlsFault);

impl fmt::Display for Untrusting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate cannot be accepted")
    }
}

impl std::error::Error for Untrusting {}

/// CA certificates in DER form.
pub(crate) type Certificates = Vec<CertificateDer<'static>>;

/// Which certificates are trusted. The system's are read at the first use.
pub(crate) struct Trust {
    extra: Certificates,
    /// What dnf trusts in place of the system's.
    dnf: Option<Certificates>,
    extra_needed: Arc<AtomicBool>,
    config: OnceLock<Result<Arc<ClientConfig>, TlsFault>>,
}

impl Trust {
    /// `extra`: certificates to trust beside the system's; `dnf`: those that dnf trusts in place of the system's.
    /// `extra_needed` is set once a host was trusted that dnf does not trust.
    pub(crate) fn new(extra: Certificates, dnf: Option<Certificates>, extra_needed: Arc<AtomicBool>) -> Self {
        Trust { extra, dnf, extra_needed, config: OnceLock::new() }
    }

    /// The settings of a connection.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsFault> {
        self.config.get_or_init(|| client_config(self)).clone()
    }
}

/// Wraps connections to `https` URLs in TLS.
pub(crate) struct TlsConnector {
    trust: Arc<Trust>,
}

impl TlsConnector {
    pub(crate) fn new(trust: Arc<Trust>) -> Self {
        TlsConnector { trust }
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self.trust.config().map_err(|fault| ureq::Error::Other(Untrusting(fault).into()))?;
        let host = details.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ureq::Error::Tls("the host is no DNS name"))?;
        let mut connection = ClientConnection::new(config, name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        if let Err(error) = connection.complete_io(&mut socket) {
            return Err(match connection.negotiated_cipher_suite() {
                // TLS 1.2 has one alert for both: what was agreed on cannot be what is missing.
                Some(_) if is_refusal(&error) => ureq::Error::Other(Untrusting(TlsFault::ClientCertificate).into()),
                _ => error.into(),
            });
        }
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
/// length: an attacker who can cut the connection could then choose where an answer ends.
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

/// Trusts what dnf trusts; if that refuses a host, all certificates together, and remembers that.
#[derive(Debug)]
struct Verifier {
    dnf: Option<Arc<WebPkiServerVerifier>>,
    all: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    extra_needed: Arc<AtomicBool>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let weak = |error| name_small_key(error, intermediates.iter().chain([end_entity]));
        let check = |verifier: &Option<Arc<WebPkiServerVerifier>>| match verifier {
            Some(verifier) => verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        };
        let refused = match check(&self.dnf) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if self.all.is_none() {
            return Err(weak(refused));
        }
        let verified = check(&self.all).map_err(weak)?;
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
            .map_err(|error| name_small_key(error, [certificate].into_iter()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
            .map_err(|error| name_small_key(error, [certificate].into_iter()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsFault> {
    let Trust { extra, dnf, extra_needed, .. } = trust;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier_of = |roots: RootCertStore| {
        (!roots.is_empty())
            .then(|| WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build())
            .transpose()
            .map_err(|_| TlsFault::Unusable)
    };
    let found = system_certificates();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() && extra.is_empty() && dnf.is_none() {
        return Err(TlsFault::NoAuthorities {
            why: found.errors.iter().find(|error| !is_absence(error)).map(Error::to_string),
        });
    }
    let of_dnf = match dnf {
        None => roots.clone(),
        Some(certificates) => {
            let mut of_dnf = RootCertStore::empty();
            of_dnf.add_parsable_certificates(certificates.iter().cloned());
            of_dnf
        }
    };
    let of_dnf = verifier_of(of_dnf)?;
    let all = if extra.is_empty() && dnf.is_none() {
        None
    } else {
        roots.add_parsable_certificates(extra.iter().chain(dnf.iter().flatten()).cloned());
        verifier_of(roots)?
    };
    let verifier = Verifier { dnf: of_dnf, all, provider: provider.clone(), extra_needed: extra_needed.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsFault::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The system's CA certificates. One bundle file is read where a system has one; its folder of single files, where there
/// are hundreds, only where there is no bundle. `SSL_CERT_FILE` and `SSL_CERT_DIR` count for nothing, since dnf reads neither.
fn system_certificates() -> CertificateResult {
    const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];
    const FOLDERS: [&str; 2] = ["/etc/pki/tls/certs", "/etc/ssl/certs"];
    let mut errors = Vec::new();
    let files = BUNDLES.iter().map(|path| (Some(Path::new(path)), None));
    let folders = FOLDERS.iter().map(|path| (None, Some(Path::new(path))));
    for (file, folder) in files.chain(folders) {
        let mut found = rustls_native_certs::load_certs_from_paths(file, folder);
        if !found.certs.is_empty() {
            return found;
        }
        errors.append(&mut found.errors);
    }
    let mut none = CertificateResult::default();
    none.errors = errors;
    none
}

fn is_absence(error: &Error) -> bool {
    matches!(&error.kind, ErrorKind::Io { inner, .. } if inner.kind() == io::ErrorKind::NotFound)
}

fn is_refusal(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)))
}

/// A TLS error as data. Each kind that another side can cause has a name of its own; nothing is printed as rustls would.
#[allow(deprecated, reason = "rustls keeps the names without context for other verifiers")]
pub(crate) fn tls_fault(error: &rustls::Error) -> TlsFault {
    use rustls::Error as Tls;
    use rustls::PeerIncompatible as Peer;
    match error {
        Tls::InvalidCertificate(certificate) => certificate_fault(certificate),
        Tls::InvalidMessage(_) => TlsFault::NotTls,
        Tls::PeerIncompatible(
            Peer::ServerDoesNotSupportTls12Or13 | Peer::ServerTlsVersionIsDisabledByOurConfig | Peer::Tls12NotOffered,
        ) => TlsFault::OldVersion,
        Tls::PeerIncompatible(_) => TlsFault::NothingInCommon,
        Tls::AlertReceived(alert) => alert_fault(*alert),
        Tls::NoCertificatesPresented => TlsFault::NoCertificate,
        Tls::UnsupportedNameType => TlsFault::OtherHost { presented: Vec::new() },
        Tls::FailedToGetCurrentTime | Tls::FailedToGetRandomBytes => TlsFault::NoClockOrRandomness,
        // Every other kind is a peer that breaks the protocol, or bytes that were changed on the way.
        _ => TlsFault::Violation,
    }
}

#[allow(deprecated, reason = "rustls keeps the names without context for other verifiers")]
fn certificate_fault(error: &CertificateError) -> TlsFault {
    use rustls::CertificateError as Is;
    match error {
        Is::UnknownIssuer => TlsFault::UnknownIssuer,
        Is::Expired | Is::ExpiredContext { .. } => TlsFault::Expired,
        Is::NotValidYet | Is::NotValidYetContext { .. } => TlsFault::NotYetValid,
        Is::NotValidForName => TlsFault::OtherHost { presented: Vec::new() },
        Is::NotValidForNameContext { presented, .. } if presented.is_empty() => TlsFault::NoSubjectAltName,
        Is::NotValidForNameContext { presented, .. } => {
            TlsFault::OtherHost { presented: presented.iter().take(3).map(|name| plain_name(name)).collect() }
        }
        Is::BadEncoding => TlsFault::Malformed,
        Is::Revoked
        | Is::UnknownRevocationStatus
        | Is::ExpiredRevocationList
        | Is::ExpiredRevocationListContext { .. }
        | Is::InvalidOcspResponse => TlsFault::Revoked,
        Is::UnhandledCriticalExtension => TlsFault::CriticalExtension,
        Is::BadSignature => TlsFault::BadSignature,
        Is::UnsupportedSignatureAlgorithm => TlsFault::Algorithm { oid: None },
        Is::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            algorithm_fault(signature_algorithm_id, &[])
        }
        Is::UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id, public_key_algorithm_id } => {
            algorithm_fault(signature_algorithm_id, public_key_algorithm_id)
        }
        Is::InvalidPurpose | Is::InvalidPurposeContext { .. } => TlsFault::Purpose,
        Is::ApplicationVerificationFailure => TlsFault::Unacceptable,
        Is::Other(other) => match (other.0.downcast_ref::<Untrusting>(), other.0.downcast_ref::<webpki::Error>()) {
            (Some(Untrusting(fault)), _) => fault.clone(),
            (None, Some(error)) => chain_fault(error),
            (None, None) => TlsFault::Unacceptable,
        },
        _ => TlsFault::Unacceptable,
    }
}

/// What the verifier of chains says and rustls has no name for.
fn chain_fault(error: &webpki::Error) -> TlsFault {
    use webpki::Error as Is;
    match error {
        Is::CaUsedAsEndEntity => TlsFault::CaCertificate,
        Is::EndEntityUsedAsCa => TlsFault::IssuerNotCa,
        Is::NameConstraintViolation
        | Is::MaximumNameConstraintComparisonsExceeded
        | Is::InvalidNetworkMaskConstraint
        | Is::MalformedNameConstraint => TlsFault::NameConstraint,
        Is::PathLenConstraintViolated
        | Is::MaximumPathDepthExceeded
        | Is::MaximumPathBuildCallsExceeded
        | Is::MaximumSignatureChecksExceeded => TlsFault::ChainTooLong,
        Is::UnsupportedCriticalExtension => TlsFault::CriticalExtension,
        Is::UnsupportedCertVersion => TlsFault::OldCertificate,
        Is::EmptyEkuExtension => TlsFault::Purpose,
        Is::SignatureAlgorithmMismatch
        | Is::InvalidCertValidity
        | Is::InvalidSerialNumber
        | Is::ExtensionValueInvalid
        | Is::MalformedExtensions
        | Is::MalformedDnsIdentifier
        | Is::TrailingData(_) => TlsFault::Malformed,
        _ => TlsFault::Unacceptable,
    }
}

/// The certificate's signature algorithm, or the kind of key that it should have been made with.
fn algorithm_fault(signature: &[u8], key: &[u8]) -> TlsFault {
    /// The contents of object identifiers in DER.
    const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    const SHA1: [&[u8]; 3] = [
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
        &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03],
    ];
    const MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
    const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
    let has = |text: &[u8], oid: &[u8]| text.windows(oid.len()).any(|part| part == oid);
    if SHA1.iter().any(|oid| has(signature, oid)) || has(signature, MD5) {
        return TlsFault::OldHash;
    }
    if has(key, P521) || has(signature, ECDSA_SHA512) {
        return TlsFault::P521;
    }
    TlsFault::Algorithm { oid: dotted(signature) }
}

/// An object identifier as people write it, from the DER of an algorithm identifier or from its contents alone.
fn dotted(der: &[u8]) -> Option<String> {
    let contents = match der {
        [0x06, length, rest @ ..] => rest.get(..usize::from(*length))?,
        contents => contents,
    };
    let (first, rest) = contents.split_first()?;
    let mut text = format!("{}.{}", (first / 40).min(2), first - (first / 40).min(2) * 40);
    let mut value = 0_u64;
    for byte in rest {
        value = value.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            text.push_str(&format!(".{value}"));
            value = 0;
        }
    }
    Some(text)
}

/// `DnsName("a.example")` and `IpAddress(192.0.2.1)` of the library as people write them.
fn plain_name(text: &str) -> String {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or(text, |(inner, _)| inner);
    els_protocol::clean(inner.trim_matches('"'), 100)
}

fn alert_fault(alert: AlertDescription) -> TlsFault {
    use AlertDescription as Is;
    match alert {
        Is::HandshakeFailure | Is::InsufficientSecurity => TlsFault::NothingInCommon,
        Is::ProtocolVersion => TlsFault::OldVersion,
        Is::CertificateRequired | Is::NoCertificate | Is::BadCertificate | Is::AccessDenied => {
            TlsFault::ClientCertificate
        }
        Is::UnrecognisedName => TlsFault::NameNotServed,
        alert => TlsFault::Alert { number: u8::from(alert) },
    }
}

/// The verifiers only say that the signature of a short key is bad.
fn name_small_key<'a, 'b: 'a>(
    error: rustls::Error,
    mut certificates: impl Iterator<Item = &'a CertificateDer<'b>>,
) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature)
            if certificates.any(|certificate| has_small_rsa_key(certificate)) =>
        {
            CertificateError::Other(OtherError(Arc::new(Untrusting(TlsFault::SmallKey)))).into()
        }
        error => error,
    }
}

/// Whether a certificate has an RSA key of fewer than 2048 bits, which no verifier here accepts (RFC 5280, 4.1.2.7: the key is
/// a bit string after its algorithm).
fn has_small_rsa_key(certificate: &[u8]) -> bool {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03];
    let Some(at) = certificate.windows(RSA.len()).position(|part| part == RSA) else { return false };
    match certificate.get(at + RSA.len()..) {
        Some([0x82, high, low, ..]) => u16::from_be_bytes([*high, *low]) < 260,
        Some(_) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_written_with_dots() {
        assert_eq!(
            dotted(&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5]).as_deref(),
            Some("1.2.840.113549.1.1.5")
        );
        assert_eq!(dotted(&[0x2b, 0x81, 0x04, 0x00, 0x23]).as_deref(), Some("1.3.132.0.35"));
        assert_eq!(dotted(&[]), None);
    }

    #[test]
    fn names_of_the_library_are_written_as_people_write_them() {
        assert_eq!(plain_name("DnsName(\"a.example\")"), "a.example");
        assert_eq!(plain_name("IpAddress(192.0.2.1)"), "192.0.2.1");
    }
}
