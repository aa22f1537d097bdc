//! A site: a database and the program `els-backend` that works on it.
//!
//! It starts, asks and ends the program. What the program should do is for the tests.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use els_protocol::LicenseKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::Client;
use crate::process::{Run, Server, run};
use crate::programs::backend_program;

/// A folder with a database, and the commands that work on it. The folder is removed when this value is dropped.
pub struct Site {
    folder: TempDir,
    /// Where the database is, unless it is a file in the folder.
    url: Option<String>,
}

impl Site {
    pub fn new() -> Self {
        Site { folder: tempfile::tempdir().unwrap(), url: None }
    }

    /// On the PostgreSQL database with this URL; its schema is made.
    pub fn on_postgres(url: String) -> Self {
        let site = Site::at(url);
        let migrated = site.command(["migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        site
    }

    /// On the database with this URL, as it is.
    pub fn at(url: String) -> Self {
        Site { folder: tempfile::tempdir().unwrap(), url: Some(url) }
    }

    pub fn url(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("sqlite://{}", self.database().display()))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the SQLite database; the program makes it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("els.db")
    }

    /// The binary with these arguments, on this database.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(backend_program());
        command.args(arguments);
        on(&mut command, &self.url());
        command.current_dir(self.folder());
        command
    }

    /// Runs the binary with a line of arguments that have no spaces in them.
    #[track_caller]
    pub fn line(&self, line: &str) -> Run {
        run(&mut self.command(line.split(' ')))
    }

    /// `serve` on free ports, ready.
    pub fn serve(&self) -> Served {
        Served::spawn(self.command(SERVE)).ready()
    }

    /// Makes a key; returns its id and the key.
    pub fn key(&self, seats: u64) -> (String, LicenseKey) {
        made_key(&mut self.command([
            "key",
            "create",
            "--json",
            "--expires",
            "2099-12-31",
            "--seats",
            &seats.to_string(),
        ]))
    }

    /// `els-backend check` must find nothing.
    pub fn check(&self) {
        check(&mut self.command(["check"]));
    }
}

/// A running `els-backend serve`. It is killed when this value is dropped.
pub struct Served {
    server: Server,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

impl Served {
    /// Starts `serve`, and does not wait.
    #[track_caller]
    pub fn spawn(command: Command) -> Self {
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        Served { server: Server::start("els-backend", command), listen: unknown, admin: unknown }
    }

    /// Waits until it listens, and reads its addresses.
    #[track_caller]
    pub fn ready(self) -> Self {
        self.ready_or_log().unwrap_or_else(|log| panic!("els-backend serve is not ready: {log}"))
    }

    /// Like [`Served::ready`]; returns the log if the program ends instead.
    pub fn ready_or_log(mut self) -> Result<Self, String> {
        (self.listen, self.admin) = self.server.try_wait_for(|log| log.iter().find_map(|line| addresses(line)))?;
        Ok(self)
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The lines that it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.server.log()
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(mut self) {
        self.crash();
    }

    pub(crate) fn crash(&mut self) {
        self.server.kill();
    }

    /// Ends it in order (SIGTERM).
    pub fn stop(mut self) -> ExitStatus {
        self.server.terminate()
    }

    /// Ends it in order, which must succeed, and returns all that it has logged.
    pub fn stop_and_log(mut self) -> String {
        assert!(self.server.terminate().success());
        self.server.log().join("\n")
    }

    /// The value of the counter with this name in `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let answer = Client::new(self.admin).ask("GET", "/metrics", &[], None).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

/// Gives a command a database, and no other environment.
pub fn on(command: &mut Command, url: &str) {
    command.env_clear().env("ELS_BACKEND_DATABASE", url).stdin(Stdio::null());
}

/// Runs `key create --json`; returns the key's id and the key.
pub fn made_key(create: &mut Command) -> (String, LicenseKey) {
    let output = create.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["key_id"].as_str().unwrap().to_owned(), LicenseKey::parse(made["key"].as_str().unwrap()).unwrap())
}

/// Runs `check`, which must find nothing.
pub fn check(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "els-backend check: {}", String::from_utf8_lossy(&output.stdout));
}

/// The public and the admin address in the log line that says that `serve` is ready.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| event[name].as_str()?.parse().ok();
    (event["message"] == "ready").then_some((address("listen")?, address("admin_listen")?))
}

/// The arguments of `serve` on free ports. Tests send X-Forwarded-For, so that the limit on failures of one address does not
/// stop them.
pub const SERVE: [&str; 7] =
    ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.0/8"];
