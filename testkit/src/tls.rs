//! Certificates for tests: an authority, and server certificates for the loopback addresses signed by it.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};

/// A certificate authority that exists for one test. A second one is the wrong one.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and private key, both in PEM.
pub struct ServerCertificate {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new authority that no machine trusts yet.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key pair");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// The authority's own certificate, for trust stores.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `localhost`, 127.0.0.1 and ::1.
    pub fn server_certificate(&self) -> ServerCertificate {
        self.certificate_for(&["localhost", "127.0.0.1", "::1"])
    }

    /// A certificate for these host names and addresses.
    pub fn certificate_for(&self, names: &[&str]) -> ServerCertificate {
        self.sign(names, |_| {})
    }

    /// A certificate for 127.0.0.1 that was valid in 2020.
    pub fn expired_certificate(&self) -> ServerCertificate {
        self.sign(&["127.0.0.1"], |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// A self-signed certificate for 127.0.0.1.
    pub fn self_signed_certificate() -> ServerCertificate {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key pair");
        ServerCertificate {
            certificate: params.self_signed(&key).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerCertificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names that a certificate can have");
        params.distinguished_name.push(DnType::CommonName, "a server of this test");
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key pair");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
