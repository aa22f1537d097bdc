//! TLS of the backend, and what it refuses to do without TLS.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use els_backend::serve::{Options, ServeError, start};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::http_world::*;
use els_testkit::http::*;

/// A CA of this test's own, and a certificate for 127.0.0.1 from it.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn ask(&self, world: &World) -> Result<Answer, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream =
            StreamOwned::new(ClientConnection::new(config, name).unwrap(), TcpStream::connect(world.listen).unwrap());
        let request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).map_err(|error| error.to_string())?;
        Ok(read_answer(&mut stream))
    }
}

fn tls_world(folder: &std::path::Path, (cert, key): &(String, String)) -> World {
    let paths = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&paths.0, cert).unwrap();
    std::fs::write(&paths.1, key).unwrap();
    World::with(|options| options.tls = Some(paths))
}

/// Promise: serve-certificates
#[test]
fn tls_works_and_a_renewed_certificate_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    let world = tls_world(folder.path(), &first.issue());
    assert_eq!(first.ask(&world).unwrap().header("els-api"), Some("1"));
    assert!(second.ask(&world).unwrap_err().contains("invalid peer certificate"));
    let (cert, key) = second.issue();
    std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    world.within_five_seconds("the new certificate is used", || second.ask(&world).is_ok());
}

/// Promise: serve-whole-service
#[test]
fn machines_get_an_https_url_if_the_backend_has_tls() {
    let folder = tempfile::tempdir().unwrap();
    let world = tls_world(folder.path(), &Authority::new().issue());
    assert!(world.log().contains(&format!("\"repo_url\":\"https://{}/repo\"", world.listen)), "{}", world.log());
    assert!(world.log().contains(&format!("\"listen\":\"{}\"", world.listen)));
    assert!(world.log().contains(&format!("\"admin_listen\":\"{}\"", world.admin)));
}

/// What the options that `change` has changed are refused with.
fn refused(change: impl FnOnce(&mut Options)) -> String {
    let mut refused = None;
    let mut taken = None;
    let world = World::with(|options| {
        let mut changed = options.clone();
        change(&mut changed);
        taken = Some(changed);
    });
    world.block_on(async {
        match start(taken.unwrap(), world.store.clone()).await {
            Ok(running) => running.stop().await,
            Err(ServeError::Usage(why)) => refused = Some(why),
            Err(ServeError::Failed(why)) => panic!("{why}"),
        }
    });
    refused.unwrap_or_default()
}

/// Promise: serve-plain-http
#[test]
fn plain_http_beyond_loopback_needs_an_option() {
    let any = "0.0.0.0:0".parse().unwrap();
    assert!(refused(|options| options.listen = any).contains("--plain-http"));
    assert!(refused(|options| options.admin_listen = any).contains("--plain-http"));
    let why = refused(|options| {
        options.listen = any;
        options.plain_http = true;
    });
    assert!(why.contains("--public-url"), "{why}");
    let fits = refused(|options| {
        options.listen = any;
        options.plain_http = true;
        options.public_url = Some("https://els.example.com/".into());
    });
    assert_eq!(fits, "");
}

/// Promise: serve-plain-http
#[test]
fn a_repo_url_that_no_machine_accepts_is_refused_at_the_start() {
    let why = refused(|options| options.repo_url = Some("http://repo.example.com".into()));
    assert!(why.starts_with("--repo-url: http://repo.example.com: ") && why.contains("https"), "{why}");
    let why = refused(|options| options.repo_root = Some("/nonexistent".into()));
    assert!(why.starts_with("--repo-root /nonexistent: "), "{why}");
    let why = refused(|options| options.tls = Some(("/nonexistent/c".into(), "/nonexistent/k".into())));
    assert!(why.starts_with("/nonexistent/c: "), "{why}");
}
