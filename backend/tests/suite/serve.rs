//! `els-backend serve` as a process, and commands that are run at the same time.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use els_protocol::LicenseKey;
use els_testkit::http::{Answer, ask, connect, read_answer};
use els_testkit::site::{SERVE, Served, Site};
use serde_json::Value;

use super::http_world::Machine;

/// The status and, of a problem, the code.
fn status(answer: &Answer) -> (u16, String) {
    (answer.status, if answer.status >= 400 { answer.code() } else { String::new() })
}

fn ask_as(serving: &Served, method: &str, machine: &Machine, body: &str) -> (u16, String) {
    let authorization = machine.basic();
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    status(&ask(serving.listen, method, &machine.path(), &headers, body))
}

fn put(serving: &Served, machine: &Machine, key: &LicenseKey) -> (u16, String) {
    ask_as(serving, "PUT", machine, &machine.body(key).to_string())
}

fn gate(serving: &Served, machine: &Machine) -> (u16, String) {
    let authorization = machine.basic();
    let headers = [("Authorization", authorization.as_str()), ("X-Original-URI", "/repo/almalinux/9/x")];
    status(&ask(serving.listen, "GET", "/v1/repo-auth", &headers, ""))
}

/// Promise: seat-release-any-key
/// Promise: gate-five-seconds
/// Promise: key-rotate
/// Promise: commands-beside-serve
#[test]
fn a_command_beside_a_running_serve_takes_effect_within_five_seconds() {
    let site = Site::new();
    let serving = site.serve();
    let (id, key) = site.key(2);
    let (one, other) = (Machine::new(1), Machine::new(2));
    assert_eq!(put(&serving, &one, &key).0, 201, "a key counts from the moment at which it is made");
    assert_eq!(put(&serving, &other, &key).0, 201);
    let sees = |machine: &Machine, status: u16, code: &str| {
        let began = Instant::now();
        while gate(&serving, machine) != (status, code.to_owned()) {
            assert!(began.elapsed() < Duration::from_secs(5), "{code}: still {:?}", gate(&serving, machine));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    sees(&one, 204, "");
    sees(&other, 204, "");
    site.line(&format!("key suspend {id}")).succeeds();
    sees(&one, 403, "key-suspended");
    site.line(&format!("key resume {id}")).succeeds();
    sees(&one, 204, "");
    site.line(&format!("seat release {}", other.id)).succeeds();
    sees(&other, 401, "credential-invalid");
    site.line(&format!("key update {id} --expires 2020-01-01")).succeeds();
    sees(&one, 403, "key-expired");
    site.line(&format!("key update {id} --expires 2099-01-01")).succeeds();
    sees(&one, 204, "");
    site.line(&format!("key rotate {id}")).succeeds();
    assert_eq!(put(&serving, &other, &key), (403, "unknown-key".into()));
    assert_eq!(gate(&serving, &one).0, 204, "registrations are untouched");
    site.line(&format!("key revoke {id}")).succeeds();
    sees(&one, 403, "key-revoked");
    assert_eq!(ask_as(&serving, "DELETE", &one, "").0, 204, "a seat can be released at any time");
    site.line("check").succeeds();
}

/// Promise: no-secret-logged
/// Promise: serve-sigterm
#[test]
fn sigterm_stops_serve_in_order_and_the_log_has_no_secret() {
    let site = Site::new();
    let (_, key) = site.key(2);
    let serving = site.serve();
    let machine = Machine::new(1);
    // A request whose body is still to come when the signal does.
    let body = machine.body(&key).to_string();
    let head = format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", machine.path(), body.len());
    let mut stream = connect(serving.listen);
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let ending = std::thread::spawn(move || serving.stop_and_log());
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 201);
    let log = ending.join().unwrap();
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    for secret in [&key.expose()[4..], machine.token.expose(), &machine.id.to_string()] {
        assert!(!log.contains(secret), "{log}");
    }
    assert!(log.contains("\"stopped\""), "{log}");
    // Nothing that SQLite needs beside the file is left: all of it is in there.
    let left: Vec<_> = std::fs::read_dir(site.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["els.db"]);
}

/// Promise: backup-sqlite
#[test]
fn serve_starts_from_a_backup_with_what_the_backup_has() {
    let site = Site::new();
    let (_, key) = site.key(2);
    let serving = site.serve();
    let (before, after) = (Machine::new(1), Machine::new(2));
    assert_eq!(put(&serving, &before, &key).0, 201);
    site.line("backup copy.db").succeeds();
    assert_eq!(put(&serving, &after, &key).0, 201);
    assert!(serving.stop().success());
    std::fs::rename(site.folder().join("copy.db"), site.data().join("els.db")).unwrap();
    let serving = site.serve();
    assert_eq!(gate(&serving, &before).0, 204);
    assert_eq!(gate(&serving, &after), (401, "credential-invalid".into()));
    assert_eq!(put(&serving, &after, &key).0, 201, "sent again as it was");
    site.line("check").succeeds();
}

/// Promise: serve-database
/// Promise: serve-start-errors
#[test]
fn a_database_that_cannot_be_used_is_named_and_nothing_is_served() {
    let site = Site::new();
    std::fs::create_dir(site.data()).unwrap();
    std::fs::write(site.data().join("els.db"), "a shopping list, and no database at all\n".repeat(99)).unwrap();
    for line in ["serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0", "check", "key list"] {
        let words = site.line(line).exits(1).stderr;
        assert!(words.contains("is not an SQLite database") && words.contains("els-backend backup"), "{words}");
    }
    let words =
        site.line("serve --listen 192.0.2.1:80 --plain-http --public-url https://els.example.com").exits(1).stderr;
    assert!(words.contains("els.db"), "the database comes before the sockets: {words}");
}

/// Promise: serve-start-errors
#[test]
fn an_address_that_cannot_be_used_is_named_with_the_remedy() {
    let site = Site::new();
    let serving = site.serve();
    let words = site.line(&format!("serve --admin-listen 127.0.0.1:0 --listen {}", serving.listen)).exits(1).stderr;
    assert!(words.contains(&format!("--listen {}", serving.listen)) && words.contains("another port"), "{words}");
    let words = site.line("serve --listen 127.0.0.1:0 --admin-listen 192.0.2.1:1 --plain-http").exits(1).stderr;
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
    std::fs::set_permissions(site.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    site.key(2);
    let own = |path: &Path, owner: u32| chown(path, Some(owner), Some(owner)).unwrap();
    // The folder is somebody's who may not write there, as on a read-only file system.
    own(&site.data(), NOBODY);
    std::fs::set_permissions(site.data(), PermissionsExt::from_mode(0o555)).unwrap();
    for line in ["serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0", "key list"] {
        let words = site.line(line).exits(1).stderr;
        assert!(words.starts_with("error: cannot open the database"), "{words}");
        assert!(words.contains("els.db") && words.contains("folder's owner"), "{words}");
    }
    std::fs::set_permissions(site.data(), PermissionsExt::from_mode(0o755)).unwrap();
    own(&site.data().join("els.db"), NOBODY);
    site.line("key list").succeeds();
}

/// Promise: serve-start-errors
#[test]
fn root_is_told_that_a_new_folder_will_belong_to_root() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root here: only root makes folders of root");
        return;
    }
    let site = Site::new();
    let folder = format!("\"folder\":\"{}\"", site.data().display());
    let told = "the database's folder is made now and belongs to root";
    let warned = |served: &Served| served.log().iter().any(|line| line.contains(told) && line.contains(&folder));
    assert!(warned(&site.serve()), "the first start");
    assert!(!warned(&site.serve()), "the folder is there");
}

/// Promise: serve-no-dumps
#[test]
fn serve_leaves_no_core_dump_and_cannot_be_traced_by_its_own_user() {
    let site = Site::new();
    let mut command = site.command(SERVE);
    if nix::unistd::geteuid().is_root() {
        // Run by somebody from the start: a program that gives up root cannot be traced anyway.
        const NOBODY: u32 = 65534;
        std::fs::set_permissions(site.folder(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(site.data()).unwrap();
        chown(site.data(), Some(NOBODY), Some(NOBODY)).unwrap();
        let program = site.folder().join("els-backend");
        std::fs::copy(command.get_program(), &program).unwrap();
        let mut own = std::process::Command::new(program);
        own.args(command.get_args()).uid(NOBODY).gid(NOBODY).current_dir(site.folder());
        for (name, value) in command.get_envs() {
            own.env(name, value.unwrap_or_default());
        }
        command = own;
    }
    let served = Served::spawn(command).ready();
    let process = PathBuf::from(format!("/proc/{}", served.pid()));
    let limits = std::fs::read_to_string(process.join("limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    // The files of a process that its user can trace belong to that user.
    assert_eq!(std::fs::metadata(process.join("fd")).unwrap().uid(), 0);
}
