//! The real backend over TLS, as machines reach it, with a database and an authority of its own.
//!
//! Of what the backend answers and logs it reads only the fields that
//! docs/protocol.md and `els-backend --help` name.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Run, ends_with_its_thread, folder, free_port, run};
use crate::programs::backend_program;
use crate::site::Served;
use crate::tls::Authority;

/// A running backend.
pub struct Backend {
    folder: TempDir,
    authority: Authority,
    settings: Settings,
    served: Served,
    url: String,
    admin_url: String,
}

/// How a backend is started.
#[derive(Default)]
pub struct Settings {
    plain: bool,
    listen: Option<String>,
    arguments: Vec<String>,
    clock: bool,
}

/// A license key that was made for the test.
pub struct Key {
    /// Its id, which is not secret.
    pub id: String,
    /// The key itself.
    pub key: String,
}

impl Settings {
    /// Serves this folder at `/repo/`, under the gate.
    pub fn repository(self, root: &Path) -> Settings {
        self.argument("--repo-root").argument(root.to_str().expect("a path in UTF-8"))
    }

    /// Speaks plain HTTP, as behind a web server on the same computer.
    pub fn plain(mut self) -> Settings {
        self.plain = true;
        self
    }

    /// Gives it a clock that [`Backend::later`] sets (libfaketime; the program is unchanged).
    pub fn clock(mut self) -> Settings {
        self.clock = true;
        self
    }

    /// Listens on a port that stays free while the backend is stopped: one outside the range from which the kernel chooses
    /// (`ip_local_port_range`).
    pub fn lasting_port(mut self) -> Settings {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("the range of ports");
        let first: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a port");
        // Tests that run at the same time start at different ports.
        let mut port = 10_000 + (std::process::id() as u16 % 97) * 200 + free_port() % 200;
        while port >= first || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            port = if port >= first { 10_000 } else { port + 1 };
        }
        self.listen = Some(format!("127.0.0.1:{port}"));
        self
    }

    /// One more argument of `serve`.
    pub fn argument(mut self, argument: impl Into<String>) -> Settings {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the backend.
    #[track_caller]
    pub fn start(self) -> Backend {
        let folder = folder();
        let authority = Authority::new("The authority of this test");
        let certificate = authority.server_certificate();
        fs::write(folder.path().join("server.pem"), certificate.certificate).expect("a certificate file");
        fs::write(folder.path().join("server.key"), certificate.key).expect("a key file");
        fs::write(folder.path().join("ca.pem"), authority.pem()).expect("a certificate file");
        let (served, url, admin_url) = serve(folder.path(), &self);
        Backend { folder, authority, settings: self, served, url, admin_url }
    }
}

impl Backend {
    /// A backend that serves `root` at `/repo/`, as a small vendor runs it.
    #[track_caller]
    pub fn with_repository(root: &Path) -> Backend {
        Settings::default().repository(root).start()
    }

    /// Where machines reach it, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `HOST:PORT` of [`Backend::url`].
    pub fn address(&self) -> &str {
        self.url.split_once("://").expect("a URL").1
    }

    /// The admin listener, without a slash at the end.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// The authority that signed its certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The certificate of that authority as a file, for `--ca-file`.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Sets its clock this many seconds ahead of the real time. Its timers do not change.
    pub fn later(&self, seconds: u32) {
        assert!(self.settings.clock, "the backend needs Settings::clock");
        let fresh = self.folder.path().join("clock.new");
        fs::write(&fresh, format!("+{seconds}\n")).expect("a file");
        fs::rename(fresh, self.folder.path().join("clock")).expect("the clock is set at once");
    }

    /// Ends it at once, as a power failure would, and starts it again on the same address.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Ends it at once; machines cannot connect.
    pub fn stop(&mut self) {
        self.served.crash();
    }

    /// Starts it again after [`Backend::stop`], on the same address.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.settings.listen = Some(self.address().to_owned());
        let (served, url, admin_url) = serve(self.folder.path(), &self.settings);
        assert_eq!(url, self.url, "the address stays");
        self.served = served;
        self.admin_url = admin_url;
    }

    /// The URL of its database.
    pub fn database(&self) -> String {
        database(self.folder.path())
    }

    /// Runs one of its commands, such as `key create`.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(backend_program());
        run(command.args(arguments).arg("--database").arg(database(self.folder.path())))
    }

    /// Runs one of its commands, which must succeed, and returns its JSON document.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> Value {
        self.command(&[arguments, &["--json"]].concat()).succeeds().json()
    }

    /// A key with this many seats and an expiry far away.
    #[track_caller]
    pub fn key(&self, seats: u32) -> Key {
        self.key_with(&["--seats", &seats.to_string(), "--expires", "2099-12-31"])
    }

    /// A key made with these arguments of `key create`.
    #[track_caller]
    pub fn key_with(&self, arguments: &[&str]) -> Key {
        let made = self.ask(&[&["key", "create"], arguments].concat());
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name} in {made}")).to_owned();
        Key { id: text("key_id"), key: text("key") }
    }

    /// The registrations that hold a seat of a key.
    #[track_caller]
    pub fn seats(&self, key: &Key) -> Vec<Value> {
        let list = self.ask(&["seat", "list", &key.id]);
        list.as_array().or(list["registrations"].as_array()).unwrap_or_else(|| panic!("no list in {list}")).clone()
    }

    /// `els-backend check` compares seats, registrations and audit log; it must find nothing.
    #[track_caller]
    pub fn agrees_with_itself(&self) {
        self.command(&["check"]).succeeds();
    }

    /// Its log so far: one JSON document a line.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("a line of the log is not JSON: {error}: {line}"))
        };
        self.served.log().iter().map(parse).collect()
    }

    /// Its log so far, as text, to look for what must not be in it.
    pub fn log_text(&self) -> String {
        self.served.log().join("\n")
    }

    /// The requests that it has logged, in their order: method and path of a file, or method and route.
    pub fn requests(&self) -> Vec<String> {
        let text = |line: &Value, name: &str| line[name].as_str().map(str::to_owned);
        let request = |line: &Value| {
            let path = text(line, "path").or_else(|| text(line, "route"))?;
            Some(format!("{} {path}", text(line, "method")?))
        };
        self.log().iter().filter_map(request).collect()
    }

    /// The addresses that requests came from.
    pub fn clients(&self) -> BTreeSet<String> {
        self.log().iter().filter_map(|line| line["peer"].as_str().map(str::to_owned)).collect()
    }
}

fn database(folder: &Path) -> String {
    format!("sqlite://{}/els.db", folder.display())
}

/// The library of the package `faketime`; its folder depends on the architecture.
fn fake_time() -> PathBuf {
    let kinds = fs::read_dir("/usr/lib").expect("a folder of libraries").flatten();
    let mut places = kinds.map(|kind| kind.path().join("faketime/libfaketime.so.1"));
    places.find(|place| place.is_file()).expect("this test needs libfaketime: run scripts/install-dependencies")
}

#[track_caller]
fn serve(folder: &Path, settings: &Settings) -> (Served, String, String) {
    let mut command = ends_with_its_thread(backend_program(), false);
    command.arg("serve").arg("--database").arg(database(folder));
    command.args(["--listen", settings.listen.as_deref().unwrap_or("127.0.0.1:0"), "--admin-listen", "127.0.0.1:0"]);
    if !settings.plain {
        command.arg("--tls-cert").arg(folder.join("server.pem")).arg("--tls-key").arg(folder.join("server.key"));
    }
    command.args(&settings.arguments);
    if settings.clock {
        let clock = folder.join("clock");
        fs::write(&clock, "+0\n").expect("a file");
        command.env("LD_PRELOAD", fake_time()).env("FAKETIME_TIMESTAMP_FILE", clock);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    let served = Served::spawn(command).ready();
    let scheme = if settings.plain { "http" } else { "https" };
    let (url, admin_url) = (format!("{scheme}://{}", served.listen), format!("http://{}", served.admin));
    (served, url, admin_url)
}
