//! TLS: certificate and key from files, read again when the files change.
//!
//! Owns the configuration of new connections. Files that cannot be used are an error at the start. Later the previous pair
//! stays in use and the log says why: a renewal writes one file after the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use els_protocol::sha256;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;

/// The certificate chain and key in use.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    /// Kept over a renewal, so that sessions can be resumed after it.
    tickets: Arc<dyn ProducesTickets>,
    current: RwLock<Arc<ServerConfig>>,
}

/// A hash over both files, to see that they have changed.
#[derive(PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl Tls {
    /// Reads both files.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        let tickets = ring::Ticketer::new().map_err(|error| format!("TLS tickets: {error}"))?;
        let (config, _) = read(cert, key, &tickets)?;
        Ok(Tls { cert: cert.to_owned(), key: key.to_owned(), tickets, current: RwLock::new(config) })
    }

    /// The configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again when they have changed, until the future is dropped.
    pub async fn follow(&self, every: Duration) {
        let mut last = self.fingerprint();
        loop {
            tokio::time::sleep(every).await;
            let now = self.fingerprint();
            if now == last {
                continue;
            }
            match read(&self.cert, &self.key, &self.tickets) {
                Ok((config, fingerprint)) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!(cert = %self.cert.display(), "the certificate was read again and is in use");
                    last = Some(fingerprint);
                }
                Err(error) => {
                    tracing::error!(error, "the new certificate cannot be used; the previous one stays in use");
                    last = now;
                }
            }
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let cert = std::fs::read(&self.cert).ok()?;
        let key = std::fs::read(&self.key).ok()?;
        Some(fingerprint(&cert, &key))
    }
}

fn fingerprint(cert: &[u8], key: &[u8]) -> Fingerprint {
    Fingerprint(sha256(&[sha256(cert), sha256(key)].concat()))
}

fn read(
    cert: &Path,
    key: &Path,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<(Arc<ServerConfig>, Fingerprint), String> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (cert_pem, key_pem) = (bytes(cert)?, bytes(key)?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: not a PEM certificate: {error}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: contains no certificate (-----BEGIN CERTIFICATE-----)", cert.display()));
    }
    // The error of the parser is not shown: it could contain a part of the key.
    let secret = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|_| format!("{}: contains no private key in PEM form", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS versions: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?;
    config.ticketer = tickets.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), fingerprint(&cert_pem, &key_pem)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    /// Promise: serve-certificates
    #[test]
    fn an_error_names_the_file_and_does_not_show_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let error = || Tls::load(&cert, &key).err().expect("an error");
        assert!(error().contains("cert.pem: No such file"), "{}", error());
        let (good_cert, good_key) = pair();
        fs::write(&cert, &good_cert).unwrap();
        fs::write(&key, "secret").unwrap();
        assert!(error().contains("key.pem: contains no private key") && !error().contains("secret"), "{}", error());
        fs::write(&key, pair().1).unwrap();
        assert!(error().contains("cert.pem and"), "{}", error());
        fs::write(&key, good_key).unwrap();
        assert!(Tls::load(&cert, &key).is_ok());
        fs::write(&cert, "").unwrap();
        assert!(error().contains("contains no certificate"), "{}", error());
    }

    /// Promise: serve-certificates
    #[tokio::test]
    async fn a_renewed_certificate_is_used_and_one_that_cannot_be_used_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let write = |(one, other): &(String, String)| {
            fs::write(&cert, one).unwrap();
            fs::write(&key, other).unwrap();
        };
        write(&pair());
        let tls = Arc::new(Tls::load(&cert, &key).unwrap());
        let follow = tokio::spawn({
            let tls = tls.clone();
            async move { tls.follow(Duration::from_millis(10)).await }
        });
        let first = tls.config();
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::write(&cert, "broken").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(Arc::ptr_eq(&first, &tls.config()), "the previous one stays");
        write(&pair());
        let renewed = async {
            while Arc::ptr_eq(&first, &tls.config()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), renewed).await.expect("the renewed one is in use");
        follow.abort();
    }
}
