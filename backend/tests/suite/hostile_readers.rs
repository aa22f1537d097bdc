//! Hostile readers: they take their responses slowly or not at all, and say nothing in a TLS handshake.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use els_testkit::backend_program;
use els_testkit::http::connect_from;
use els_testkit::site::{SERVE, Served, Site, on};
use els_testkit::sweep::{Ending, open_files, within_a_minute};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Promise: serve-connection-cost
#[test]
fn a_connection_needs_at_most_64_kib() {
    const COUNT: u64 = 400;
    open_files(COUNT as usize * 2 + 1000);
    for encrypted in [false, true] {
        let site = with_files();
        let mut command = serve(&site);
        let trusted = encrypted.then(|| with_tls(&mut command, site.folder()));
        let served = Served::spawn(command).ready();
        let fetch = |count: u64| -> Vec<Box<dyn Read>> {
            (0..count).map(|_| reader(served.listen, trusted.clone(), Ipv4Addr::LOCALHOST.into())).collect()
        };
        // What the first ones need once for the process does not count.
        let first = fetch(50);
        let before = settled(&served);
        let more = fetch(COUNT);
        let each = (settled(&served) - before) * 1024 / COUNT;
        println!("encrypted: {encrypted}, bytes for each connection: {each}");
        assert!(each <= els_server::listener::CONNECTION_BYTES, "{each} bytes, encrypted: {encrypted}");
        drop((first, more));
    }
}

/// Promise: serve-fair-share
/// Promise: serve-slow-clients
#[test]
fn readers_and_handshakes_of_one_address_do_not_keep_another_out() {
    let site = with_files();
    let mut command = Command::new("sh");
    // Files for 94 places.
    command.args(["-ec", r#"ulimit -n 353; exec "$0" "$@""#]).arg(backend_program());
    // All of `SERVE` but its proxies: each loopback address is a client.
    command.args(&SERVE[..5]);
    on(&mut command, &site.url());
    command.args(["--repo-root", site.folder().join("repo").to_str().unwrap()]);
    let trusted = with_tls(&mut command, site.folder());
    let served = Served::spawn(command).ready();
    let (hostile, good): (IpAddr, IpAddr) = (Ipv4Addr::new(127, 0, 0, 2).into(), Ipv4Addr::new(127, 0, 0, 3).into());
    let over = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        let _ending = Ending(&over);
        scope.spawn(|| {
            // Slow enough to hold a place for hours, too fast to be closed for slowness alone.
            let mut held: Vec<Box<dyn Read>> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                while held.len() < 150 {
                    held.push(reader(served.listen, Some(trusted.clone()), hostile));
                }
                held.retain_mut(|stream| stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        scope.spawn(|| {
            let mut silent = Vec::new();
            while !over.load(Ordering::Relaxed) {
                silent.extend(connect_from(hostile, served.listen));
                if silent.len() > 500 {
                    silent.clear();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        within_a_minute(|| (served.metric("els_connections") >= 90).then_some(()));
        let mut slowest = Duration::ZERO;
        for _ in 0..40 {
            let began = Instant::now();
            let mut stream = reader(served.listen, Some(trusted.clone()), good);
            stream.read_exact(&mut [0; 8192]).unwrap_or_else(|error| panic!("{error} after {:?}", began.elapsed()));
            slowest = slowest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
        slowest
    });
    println!("slowest good response: {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

/// A site with a public file of 64 MiB.
fn with_files() -> Site {
    let site = Site::new();
    let folder = site.folder().join("repo/gpg");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::File::create(folder.join("large")).unwrap().set_len(64 << 20).unwrap();
    site
}

fn serve(site: &Site) -> Command {
    let mut command = site.command(SERVE);
    command.args(["--repo-root", site.folder().join("repo").to_str().unwrap()]);
    command
}

/// Lets `serve` speak TLS; returns what clients trust.
fn with_tls(command: &mut Command, folder: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// A client at `from` that asks for the file and has read the first byte of the response.
fn reader(to: SocketAddr, trusted: Option<Arc<ClientConfig>>, from: IpAddr) -> Box<dyn Read> {
    let stream = connect_from(from, to).unwrap();
    match trusted {
        None => asked(stream),
        Some(config) => {
            let name = ServerName::try_from("127.0.0.1").unwrap();
            asked(StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream))
        }
    }
}

/// Errors show when the response is read.
fn asked<S: Read + Write + 'static>(mut stream: S) -> Box<dyn Read> {
    let _ = stream.write_all(b"GET /repo/gpg/large HTTP/1.1\r\nHost: x\r\n\r\n").and_then(|()| stream.flush());
    let _ = stream.read(&mut [0; 1]);
    Box::new(stream)
}

/// What the process has in memory, in kB, when it no longer grows.
fn settled(served: &Served) -> u64 {
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let mut last = resident();
    within_a_minute(|| {
        std::thread::sleep(Duration::from_millis(300));
        let now = resident();
        (std::mem::replace(&mut last, now) + 100 >= now).then_some(now)
    })
}
