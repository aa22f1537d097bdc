//! The agent and a network that does not work: each way to fail has its name, and what may be tried again is.

use std::io::copy;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use els_testkit::scripted::Scripted;
use els_testkit::{Authority, Machine, agent_program, ends_with_its_thread, program, run, wait_until};

const KEY: &str = "TEST-KEY-0001";

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Promise: network-failure-named
#[test]
fn a_machine_without_a_network_is_told_that_the_name_is_not_found() {
    let machine = Machine::new();
    let mut command = Command::new(program("unshare"));
    command.env_clear().args(["--net", "--"]).arg(agent_program()).arg("--root").arg(machine.root());
    command.args(["--key", KEY, "--server", "https://els.example.com", "--timeout", "1", "--json"]);
    let run = run(&mut command).exits(7).says("DNS").says("els.example.com:443");
    assert_eq!(run.json()["error"]["code"], "unreachable", "{run}");
}

/// Promise: error-content
/// Promise: network-failure-named
#[test]
fn a_closed_port_and_a_port_without_tls_are_distinguished() {
    let machine = Machine::new();
    let closed = format!("https://127.0.0.1:{}", closed_port());
    machine
        .agent(&["--key", KEY, "--server", &closed, "--timeout", "1"])
        .exits(7)
        .says("TCP")
        .says("connection refused");
    let plain = Scripted::start(|_| els_testkit::scripted::Answer::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let url = plain.url().replace("http:", "https:");
    let run = machine.agent(&["--key", KEY, "--server", &url, "--timeout", "2"]).exits(7).says("TLS");
    assert!(!run.text().contains("TCP"), "{run}");
    let before = machine.files();
    assert!(!before.iter().any(|path| path.contains("els")), "nothing was sent, so nothing is left: {before:?}");
}

/// Promise: clock-warning
#[test]
fn a_certificate_that_does_not_fit_the_clock_points_at_the_clock() {
    let authority = Authority::new("An authority");
    let certificate = authority.expired_certificate();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name)
    };
    let ca = place("ca.pem", authority.pem());
    let port = closed_port();
    let mut server = ends_with_its_thread(program("openssl"), false);
    server.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"]);
    server.arg(place("cert.pem", &certificate.certificate)).arg("-key").arg(place("key.pem", &certificate.key));
    let mut server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let url = format!("https://127.0.0.1:{port}");
    let run = Machine::new().agent(&["--key", KEY, "--server", &url, "--ca-file", ca.to_str().unwrap()]);
    server.kill().and_then(|()| server.wait()).unwrap();
    run.exits(7).says("TLS").says("has expired").says("this machine's clock says").says("timedatectl");
}

/// Promise: network-retry
#[test]
fn a_connection_that_cannot_be_made_is_tried_again_within_the_timeout() {
    let server = Scripted::backend(|_| None);
    let target = server.url().trim_start_matches("http://").to_owned();
    let port = closed_port();
    // The port opens a moment after the first attempt.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
        for client in listener.incoming().flatten() {
            let backend = TcpStream::connect(&target).expect("the backend is there");
            let (mut from, mut to) = (client.try_clone().unwrap(), backend.try_clone().unwrap());
            std::thread::spawn(move || copy(&mut from, &mut to));
            let (mut from, mut to) = (backend, client);
            std::thread::spawn(move || {
                let _ = copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    let machine = Machine::new();
    machine.agent(&["--key", KEY, "--server", &format!("http://127.0.0.1:{port}")]).succeeds();
    assert_eq!(server.log().iter().filter(|line| line.starts_with("PUT")).count(), 1, "{:?}", server.log());
}
