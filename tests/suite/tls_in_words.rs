//! TLS that cannot work: real servers with certificates of openssl, and what the agent says about each. No message shows a Rust
//! structure, and each says what to do.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use els_testkit::{Machine, Run, ends_with_its_thread, folder, program, run, wait_until};
use tempfile::TempDir;

const KEY: &str = "TEST-KEY-0001";

/// A CA and a server's certificate that openssl made.
struct Certificates {
    folder: TempDir,
}

/// How they are made: arguments of `openssl req` for the CA's key, the server's key, both signatures, and the server's
/// certificate.
struct Recipe<'a> {
    ca_key: &'a [&'a str],
    key: &'a [&'a str],
    digest: &'a str,
    extensions: &'a [&'a str],
    dates: Option<(&'a str, &'a str)>,
}

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P521: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
const RSA_1024: &[&str] = &["-newkey", "rsa:1024"];
const RSA_2048: &[&str] = &["-newkey", "rsa:2048"];
const NAMES: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost";

const GOOD: Recipe<'static> = Recipe { ca_key: P256, key: P256, digest: "sha256", extensions: &[NAMES], dates: None };

impl Certificates {
    fn new(recipe: &Recipe<'_>) -> Certificates {
        let folder = folder();
        let openssl = |arguments: &[&str]| {
            run(Command::new(program("openssl")).current_dir(folder.path()).args(arguments)).succeeds();
        };
        let digest = format!("-{}", recipe.digest);
        let ca = ["req", "-x509", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=A CA", "-days", "30"];
        openssl(&[&ca[..], recipe.ca_key, &[&*digest]].concat());
        let request = ["req", "-new", "-nodes", "-keyout", "key.pem", "-out", "request", "-subj", "/CN=localhost"];
        openssl(&[&request[..], recipe.key].concat());
        std::fs::write(folder.path().join("extensions"), recipe.extensions.join("\n"))
            .expect("it works on this computer");
        match recipe.dates {
            None => openssl(&[
                "x509",
                "-req",
                "-in",
                "request",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-out",
                "cert.pem",
                "-days",
                "20",
                "-extfile",
                "extensions",
                &digest,
            ]),
            Some((from, until)) => {
                std::fs::write(folder.path().join("index"), "").expect("it works on this computer");
                let settings = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\npolicy=p\n[p]\n\
                                commonName=supplied\n";
                std::fs::write(folder.path().join("settings"), settings).expect("it works on this computer");
                openssl(&[
                    "ca",
                    "-batch",
                    "-config",
                    "settings",
                    "-in",
                    "request",
                    "-cert",
                    "ca.pem",
                    "-keyfile",
                    "ca.key",
                    "-out",
                    "cert.pem",
                    "-startdate",
                    from,
                    "-enddate",
                    until,
                    "-extfile",
                    "extensions",
                    "-md",
                    recipe.digest,
                    "-notext",
                ]);
            }
        }
        Certificates { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self, more: &[&str]) -> Server {
        Server::start(&self.path("cert.pem"), &self.path("key.pem"), more)
    }
}

/// A running `openssl s_server`.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    fn start(certificate: &Path, key: &Path, more: &[&str]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("it works on this computer")
            .port();
        let mut command = ends_with_its_thread(program("openssl"), false);
        command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
        command.arg(certificate).arg("-key").arg(key).args(more);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it works on this computer");
        wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Server { port, child }
    }

    #[track_caller]
    fn asked(&self, ca: &Path) -> Run {
        let url = format!("https://127.0.0.1:{}", self.port);
        let arguments = [
            "--seats",
            "--key",
            KEY,
            "--server",
            &url,
            "--ca-file",
            ca.to_str().expect("it works on this computer"),
            "--timeout",
            "5",
        ];
        Machine::new().agent(&arguments)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// What no message may hold: names of types and the marks of their `Debug` form.
#[track_caller]
fn in_words(run: &Run) {
    let text = run.text();
    for mark in [" { ", "Context", "Other(", "CertificateError", "PeerIncompatible", "Error(", "\\x", "[4", "::"] {
        assert!(!text.contains(mark), "{mark:?} in {text}");
    }
}

/// Promise: network-failure-named
#[test]
fn each_certificate_that_cannot_be_accepted_is_named_with_what_to_ask_for() {
    let cases: &[(&str, Recipe<'_>, &str, &str)] = &[
        ("P-521 CA", Recipe { ca_key: P521, digest: "sha512", ..GOOD }, "P-521", "P-256"),
        ("P-521 CA with SHA-256", Recipe { ca_key: P521, ..GOOD }, "P-521", "P-256"),
        ("P-521 leaf", Recipe { key: P521, ..GOOD }, "in common", "P-521"),
        ("version 1", Recipe { extensions: &[], ..GOOD }, "version 1", "s_client"),
        (
            "common name only",
            Recipe { extensions: &["basicConstraints=CA:FALSE"], ..GOOD },
            "names no host in subjectAltName",
            "ask for a certificate with subjectAltName",
        ),
        ("other host", Recipe { extensions: &["subjectAltName=DNS:b.example"], ..GOOD }, "b.example", "URL"),
        ("SHA-1", Recipe { ca_key: RSA_2048, digest: "sha1", ..GOOD }, "SHA-1", "SHA-256"),
        ("SHA-1 with ECDSA", Recipe { digest: "sha1", ..GOOD }, "SHA-1", "SHA-256"),
        ("RSA 1024", Recipe { key: RSA_1024, ..GOOD }, "2048 bits", "RSA of 2048"),
        ("RSA 1024 CA", Recipe { ca_key: RSA_1024, ..GOOD }, "too short", "RSA of 2048"),
        (
            "critical extension",
            Recipe { extensions: &[NAMES, "1.2.3.4=critical,ASN1:NULL"], ..GOOD },
            "critical extension",
            "s_client",
        ),
        ("client only", Recipe { extensions: &[NAMES, "extendedKeyUsage=clientAuth"], ..GOOD }, "servers", "s_client"),
        (
            "expired",
            Recipe { dates: Some(("20200101000000Z", "20210101000000Z")), ..GOOD },
            "has expired",
            "timedatectl",
        ),
        (
            "not yet valid",
            Recipe { dates: Some(("20990101000000Z", "20991231000000Z")), ..GOOD },
            "not valid yet",
            "timedatectl",
        ),
    ];
    for (name, recipe, says, hint) in cases {
        let made = Certificates::new(recipe);
        let run = made.serve(&["-cipher", "ALL@SECLEVEL=0"]).asked(&made.path("ca.pem")).exits(7).says("TLS");
        println!("{name}: {}", run.text());
        in_words(&run);
        assert!(run.text().contains(says) && run.text().contains(hint), "{name}: {run}");
    }
}

/// Promise: network-failure-named
#[test]
fn a_server_with_only_old_suites_or_versions_and_one_that_asks_for_a_certificate_are_named() {
    let made = Certificates::new(&Recipe { key: RSA_2048, ..GOOD });
    let cases: &[(&[&str], &str)] = &[
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"], "in common"),
        (&["-tls1_2", "-cipher", "AES128-SHA"], "in common"),
        (&["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], "TLS 1.1 or older"),
        (&["-tls1_2", "-Verify", "1", "-verify_return_error"], "client certificate"),
    ];
    for (options, says) in cases {
        let run = made.serve(options).asked(&made.path("ca.pem")).exits(7);
        println!("{options:?}: {}", run.text());
        in_words(&run);
        assert!(run.text().contains(says), "{options:?}: {run}");
    }
}

/// Promise: ca-file-forms
#[test]
fn a_ca_file_is_read_as_pem_with_a_byte_order_mark_as_der_and_as_a_trusted_certificate() {
    let made = Certificates::new(&GOOD);
    let server = made.serve(&[]);
    let pem = std::fs::read(made.path("ca.pem")).expect("it works on this computer");
    let file = |name: &str, content: &[u8]| {
        std::fs::write(made.path(name), content).expect("it works on this computer");
        made.path(name)
    };
    let converted = |name: &str, arguments: &[&str]| {
        run(Command::new(program("openssl")).current_dir(made.folder.path()).args(arguments).args(["-out", name]))
            .succeeds();
        made.path(name)
    };
    let unix = String::from_utf8(pem.clone()).expect("it works on this computer");
    for good in [
        file("bom.pem", &[b"\xef\xbb\xbf", &pem[..]].concat()),
        file("crlf.pem", unix.replace('\n', "\r\n").as_bytes()),
        file("text.pem", &[b"Bag Attributes\n    friendlyName: \xfcber\n", &pem[..]].concat()),
        converted("ca.der", &["x509", "-in", "ca.pem", "-outform", "DER"]),
        converted("trusted.pem", &["x509", "-in", "ca.pem", "-trustout", "-addtrust", "serverAuth"]),
    ] {
        // TLS succeeds; what answers is not a backend.
        server.asked(&good).exits(7).says("Els-Api");
    }
    let wide: Vec<u8> = [0xfeff].into_iter().chain(unix.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (bad, says) in [
        (file("wide.pem", &wide), "iconv -f UTF-16"),
        (converted("ca.p7b", &["crl2pkcs7", "-nocrl", "-certfile", "ca.pem"]), "openssl pkcs7 -in"),
        (converted("ca.p7", &["crl2pkcs7", "-nocrl", "-certfile", "ca.pem", "-outform", "DER"]), "-inform DER"),
        (made.path("ca.key"), "private key"),
        (file("empty.pem", b""), "no certificate"),
        (file("cut.pem", &pem[..pem.len() / 2]), "cannot be read"),
    ] {
        let run = server.asked(&bad).exits(2).says(says);
        in_words(&run);
    }
}

/// Promise: ca-file-forms
#[test]
fn variables_with_certificates_are_not_followed_and_are_named_when_tls_fails() {
    let made = Certificates::new(&GOOD);
    let server = made.serve(&[]);
    let url = format!("https://127.0.0.1:{}", server.port);
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let machine = Machine::new();
        let mut command = machine.agent_command(&["--key", KEY, "--server", &url]);
        run(command.env(name, made.path("ca.pem"))).exits(7).says("TLS").says(name);
    }
}
