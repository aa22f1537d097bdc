//! Golden roots: folders of `tests/golden/` that say what a command makes of a machine, file by file.
//!
//! Each case has `commands` (a line a run of the agent, with its exit code before it), `before/` (files put on a fresh
//! machine) and `after/` (all files that then differ from a fresh machine's, `MODES` with their modes). What is new in each
//! run stands as a placeholder: `@SERVER@`, `@ID@`, `@TOKEN@`, `@NOW@`, `@SHA256:PATH@`. With `UPDATE_GOLDEN=1` the
//! expectations are written anew: read the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use els_testkit::scripted::Scripted;
use els_testkit::{Machine, program, run};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
const HASHED: [&str; 3] = ["/etc/dnf/vars/els_url", "/etc/dnf/vars/els_id", "/etc/dnf/vars/els_token"];
const STATE: &str = "/var/lib/els-register/registration.json";

/// Promise: register-again
/// Promise: state-unreadable
/// Promise: files-and-modes
#[test]
fn every_golden_root_comes_out_as_it_is_written_down() {
    let mut cases: Vec<PathBuf> = fs::read_dir(GOLDEN).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 6, "{GOLDEN} has lost its cases");
    for case in cases {
        try_case(&case);
    }
}

fn try_case(case: &Path) {
    let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let server = Scripted::backend(|_| None);
    let machine = Machine::new();
    machine.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    machine.write("/sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8051-b4c04f4e3231\n");
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    let fresh = machine.files();
    put(&case.join("before"), &machine, &server);
    let commands = fs::read_to_string(case.join("commands")).expect("a case has commands");
    for line in commands.lines().filter(|line| !line.starts_with('#')) {
        let (exit, arguments) = line.split_once(' ').expect("an exit code and arguments");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        machine.agent(&arguments).exits(exit.parse().expect("an exit code"));
    }

    let found = tempfile::tempdir().expect("a temporary folder");
    take(&machine, &fresh, &server, found.path());
    let after = case.join("after");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&after);
        run(Command::new(program("cp")).arg("-R").arg(found.path()).arg(&after)).succeeds();
        return;
    }
    let difference = run(Command::new(program("diff")).arg("-r").arg(&after).arg(found.path()));
    assert_eq!(difference.code, Some(0), "{name}: < expected, > found\n{}", difference.text());
}

/// Puts a case's files on the machine, placeholders filled in.
fn put(before: &Path, machine: &Machine, server: &Scripted) {
    let mut files = Vec::new();
    collect(before, "", &mut files);
    // The state last: it holds the hashes of the others.
    files.sort_by_key(|(path, _)| path == STATE);
    for (path, text) in files {
        let mut text = text.replace("@SERVER@", &server.url()).replace("@NOW@", "2026-01-02T03:04:05Z");
        for hashed in HASHED.iter().filter(|hashed| machine.has(hashed)) {
            text = text.replace(&format!("@SHA256:{hashed}@"), &sha256(machine, hashed));
        }
        machine.write(&path, &text);
        if path.ends_with("els_token") || path.ends_with("pending.json") {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(machine.path(&path), fs::Permissions::from_mode(0o600)).expect("a mode");
        }
    }
}

/// Takes the files that a fresh machine does not have, placeholders set.
fn take(machine: &Machine, fresh: &[String], server: &Scripted, to: &Path) {
    let mut modes = String::new();
    for path in machine.files().into_iter().filter(|path| !fresh.contains(path)) {
        modes.push_str(&format!("{:04o} {path}\n", machine.mode(&path)));
        let mut text = machine.read(&path);
        for hashed in HASHED.iter().filter(|hashed| machine.has(hashed)) {
            text = text.replace(&sha256(machine, hashed), &format!("@SHA256:{hashed}@"));
        }
        text = text.replace(&server.url(), "@SERVER@");
        for (file, placeholder) in [("/etc/dnf/vars/els_id", "@ID@"), ("/etc/dnf/vars/els_token", "@TOKEN@")] {
            if machine.has(file) {
                text = text.replace(machine.read(file).trim(), placeholder);
            }
        }
        if path == STATE {
            let state: serde_json::Value = serde_json::from_str(&text).expect("a JSON document");
            for member in ["verified_at", "key_check"] {
                if let Some(value) = state[member].as_str() {
                    text = text.replace(&format!("\"{member}\": \"{value}\""), &format!("\"{member}\": \"@NOW@\""));
                }
            }
        }
        let place = to.join(&path[1..]);
        fs::create_dir_all(place.parent().expect("a folder above")).expect("the folders above");
        fs::write(place, text).expect("a file");
    }
    fs::write(to.join("MODES"), modes).expect("a file");
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &name, files);
        } else {
            files.push((name, fs::read_to_string(entry.path()).expect("a text")));
        }
    }
}

fn sha256(machine: &Machine, path: &str) -> String {
    let run = run(Command::new(program("sha256sum")).arg(machine.path(path))).succeeds();
    run.stdout.get(..64).expect("a hash").to_owned()
}
