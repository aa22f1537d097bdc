//! A log that nobody reads: requests are answered all the same, and the lines that are lost are counted.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use els_testkit::http::Client;
use els_testkit::site::{SERVE, Site};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Promise: log-never-blocks
#[test]
fn a_log_that_nobody_reads_blocks_no_request_and_not_the_end() {
    let site = Site::new();
    let mut child = Killed(site.command(SERVE).stderr(Stdio::piped()).spawn().unwrap());
    // From here on nobody reads; the pipe stays open.
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    let (listen, admin) = ready(&mut log);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let mut client = Client::new(listen);
                for _ in 0..3500 {
                    let answer = client.ask("GET", "/v1/repo-auth?x", &[("X-Original-URI", "/repo/gpg/x")], None);
                    assert_eq!(answer.unwrap().status, 204);
                    assert_eq!(client.ask("GET", "/openapi.json", &[], None).unwrap().status, 200);
                }
            });
        }
    });
    let metrics = Client::new(admin).ask("GET", "/metrics", &[], None).unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    let lost = text.lines().find_map(|line| line.strip_prefix("els_log_lines_lost_total ")).unwrap();
    assert!(lost.parse::<u64>().unwrap() > 1000, "{lost}");
    let began = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.0.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// Reads the log up to the line that has the addresses.
fn ready(log: &mut impl BufRead) -> (SocketAddr, SocketAddr) {
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "ready" {
            let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
            return (address("listen"), address("admin_listen"));
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
