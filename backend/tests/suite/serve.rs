//! `els-backend serve` as a process, with commands typed beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use els_protocol::LicenseKey;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::http_world::{Machine, ask, connect, read_answer};

/// A folder with a database and what a running `serve` needs; gone when the test is.
struct Site {
    folder: TempDir,
}

/// A `serve` that is ready; killed with the test.
struct Serving {
    child: Child,
    listen: SocketAddr,
    /// All that it logs, once it has ended.
    rest: Option<std::thread::JoinHandle<String>>,
}

impl Site {
    fn new() -> Self {
        Site { folder: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_els-backend"));
        command.env_clear().env("ELS_BACKEND_DATABASE", format!("sqlite://{}", self.data().join("els.db").display()));
        command.args(line.split(' ')).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// A command that has to succeed; what it prints.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that has to fail with exit 1; its words.
    fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Makes a key; its id and itself.
    fn key(&self, options: &str) -> (String, LicenseKey) {
        let made = self.ok(&format!("key create --seats 2 --expires 2099-12-31 --json{options}"));
        let made: Value = serde_json::from_str(&made).unwrap();
        (made["key_id"].as_str().unwrap().into(), LicenseKey::parse(made["key"].as_str().unwrap()).unwrap())
    }

    fn serve(&self, options: &str) -> Serving {
        let mut command = self.command(&format!("serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0{options}"));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        log.read_line(&mut first).unwrap();
        let ready: Value = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error}: {first}"));
        assert_eq!(ready["message"], "ready", "{first}");
        let listen = ready["listen"].as_str().unwrap().parse().unwrap();
        let rest = std::thread::spawn(move || {
            let mut rest = first;
            let _ = log.read_to_string(&mut rest);
            rest
        });
        Serving { child, listen, rest: Some(rest) }
    }
}

impl Serving {
    /// The status and, of a problem, the code.
    fn ask(&self, method: &str, machine: &Machine, body: &str) -> (u16, String) {
        let authorization = machine.basic();
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let answer = ask(self.listen, method, &machine.path(), &headers, body);
        (answer.status, if answer.status >= 400 { answer.code() } else { String::new() })
    }

    fn put(&self, machine: &Machine, key: &LicenseKey) -> (u16, String) {
        self.ask("PUT", machine, &machine.body(key).to_string())
    }

    fn gate(&self, machine: &Machine) -> (u16, String) {
        let authorization = machine.basic();
        let headers = [("Authorization", authorization.as_str()), ("X-Original-URI", "/repo/almalinux/9/x")];
        let answer = ask(self.listen, "GET", "/v1/repo-auth", &headers, "");
        (answer.status, if answer.status >= 400 { answer.code() } else { String::new() })
    }

    /// Ends it as systemd does; its exit status and all that it logged.
    fn terminate(mut self) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), self.rest.take().unwrap().join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Promise: seat-release-any-key
/// Promise: gate-five-seconds
/// Promise: key-rotate
/// Promise: commands-beside-serve
#[test]
fn what_is_typed_beside_a_running_serve_reaches_it_within_five_seconds() {
    let site = Site::new();
    let serving = site.serve("");
    let (id, key) = site.key("");
    let (one, other) = (Machine::new(1), Machine::new(2));
    assert_eq!(serving.put(&one, &key).0, 201, "a key counts from the moment at which it is made");
    assert_eq!(serving.put(&other, &key).0, 201);
    let sees = |machine: &Machine, status: u16, code: &str| {
        let began = Instant::now();
        while serving.gate(machine) != (status, code.to_owned()) {
            assert!(began.elapsed() < Duration::from_secs(5), "{code}: still {:?}", serving.gate(machine));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    sees(&one, 204, "");
    sees(&other, 204, "");
    site.ok(&format!("key suspend {id}"));
    sees(&one, 403, "key-suspended");
    site.ok(&format!("key resume {id}"));
    sees(&one, 204, "");
    site.ok(&format!("seat release {}", other.id));
    sees(&other, 401, "credential-invalid");
    site.ok(&format!("key update {id} --expires 2020-01-01"));
    sees(&one, 403, "key-expired");
    site.ok(&format!("key update {id} --expires 2099-01-01"));
    sees(&one, 204, "");
    site.ok(&format!("key rotate {id}"));
    assert_eq!(serving.put(&other, &key), (403, "unknown-key".into()));
    assert_eq!(serving.gate(&one).0, 204, "registrations are untouched");
    site.ok(&format!("key revoke {id}"));
    sees(&one, 403, "key-revoked");
    assert_eq!(serving.ask("DELETE", &one, "").0, 204, "a seat can be given back at any time");
    site.ok("check");
}

/// Promise: no-secret-logged
/// Promise: serve-sigterm
#[test]
fn sigterm_ends_it_in_order_and_the_log_tells_no_secret() {
    let site = Site::new();
    let (_, key) = site.key("");
    let serving = site.serve("");
    let machine = Machine::new(1);
    // A request whose body is still to come when the signal does.
    let body = machine.body(&key).to_string();
    let head = format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", machine.path(), body.len());
    let mut stream = connect(serving.listen);
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let ending = std::thread::spawn(move || serving.terminate());
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 201);
    let (status, log) = ending.join().unwrap();
    assert_eq!(status, Some(0), "{log}");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    for secret in [&key.expose()[4..], machine.token.expose(), &machine.id.to_string()] {
        assert!(!log.contains(secret), "{log}");
    }
    assert!(log.contains("\"ended\""), "{log}");
    // Nothing that SQLite needs beside the file is left: all of it is in there.
    let left: Vec<_> = std::fs::read_dir(site.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["els.db"]);
}

/// Promise: backup-sqlite
#[test]
fn it_starts_from_a_backup_with_what_the_backup_knew() {
    let site = Site::new();
    let (_, key) = site.key("");
    let serving = site.serve("");
    let (before, after) = (Machine::new(1), Machine::new(2));
    assert_eq!(serving.put(&before, &key).0, 201);
    site.ok("backup copy.db");
    assert_eq!(serving.put(&after, &key).0, 201);
    assert_eq!(serving.terminate().0, Some(0));
    std::fs::rename(site.folder.path().join("copy.db"), site.data().join("els.db")).unwrap();
    let serving = site.serve("");
    assert_eq!(serving.gate(&before).0, 204);
    assert_eq!(serving.gate(&after), (401, "credential-invalid".into()));
    assert_eq!(serving.put(&after, &key).0, 201, "sent again as it was");
    site.ok("check");
}

/// Promise: serve-database
/// Promise: serve-start-errors
#[test]
fn a_database_that_cannot_be_used_is_named_and_nothing_is_served() {
    let site = Site::new();
    std::fs::create_dir(site.data()).unwrap();
    std::fs::write(site.data().join("els.db"), "a shopping list, and no database at all\n".repeat(99)).unwrap();
    for line in ["serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0", "check", "key list"] {
        let words = site.fails(line);
        assert!(words.contains("is not an SQLite database") && words.contains("els-backend backup"), "{words}");
    }
    let words = site.fails("serve --listen 192.0.2.1:80 --plain-http --public-url https://els.example.com");
    assert!(words.contains("els.db"), "the database comes before the sockets: {words}");
}

/// Promise: serve-start-errors
#[test]
fn an_address_that_cannot_be_had_is_named_with_the_remedy() {
    let site = Site::new();
    let serving = site.serve("");
    let words = site.fails(&format!("serve --admin-listen 127.0.0.1:0 --listen {}", serving.listen));
    assert!(words.contains(&format!("--listen {}", serving.listen)) && words.contains("another port"), "{words}");
    let words = site.fails("serve --listen 127.0.0.1:0 --admin-listen 192.0.2.1:1 --plain-http");
    assert!(words.contains("--admin-listen 192.0.2.1:1") && words.contains("does not have"), "{words}");
}

/// Promise: commands-as-owner
/// Promise: serve-start-errors
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root here: only root can become somebody else");
        return;
    }
    const NOBODY: u32 = 65534;
    let site = Site::new();
    std::fs::set_permissions(site.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    site.key("");
    let own = |path: &Path, owner: u32| chown(path, Some(owner), Some(owner)).unwrap();
    // The folder is somebody's who may not write there, as on a read-only file system.
    own(&site.data(), NOBODY);
    std::fs::set_permissions(site.data(), PermissionsExt::from_mode(0o555)).unwrap();
    for line in ["serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0", "key list"] {
        let words = site.fails(line);
        assert!(words.starts_with("error: cannot open the database"), "{words}");
        assert!(words.contains("els.db") && words.contains("folder's owner"), "{words}");
    }
    std::fs::set_permissions(site.data(), PermissionsExt::from_mode(0o755)).unwrap();
    own(&site.data().join("els.db"), NOBODY);
    site.ok("key list");
}
