//! What the agent does to the system while it runs: which command writes at all, and in which order what is written becomes
//! durable.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use els_protocol::LicenseKey;

use els_testkit::scripted::{Answer, Scripted};
use els_testkit::{Machine, Run, agent_program, program, run, wait_until};

const KEY: &str = "TEST-KEY-0001";
const LOCK: &str = "/run/els-register.lock";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// Content, mode and time of change of every file.
fn snapshot(machine: &Machine) -> BTreeMap<String, (Vec<u8>, u32, i64)> {
    let look = |path: String| {
        let place = machine.path(&path);
        let metadata = place.symlink_metadata().expect("a file that was listed");
        (path, (std::fs::read(&place).unwrap_or_default(), metadata.mode(), metadata.ctime_nsec()))
    };
    machine.files().into_iter().map(look).collect()
}

/// Promise: read-only-actions
#[test]
fn looking_never_writes() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let looks = |machine: &Machine, exit: i32| {
        // A leftover and a lock would be swept by what writes.
        machine.write("/etc/dnf/.els-0123456789abcdef", "left over\n");
        let before = snapshot(machine);
        machine.agent(&["--status"]).exits(exit);
        machine.agent(&["--status", "--offline"]).exits(exit);
        machine.agent(&["--report"]).succeeds();
        machine.agent(&["--release", "1b4e28ba-2fa1-41d2-883f-0016d3cca427", "--key", KEY]).succeeds();
        assert_eq!(snapshot(machine), before);
    };
    looks(&machine, 3);
    machine.registers(KEY);
    looks(&machine, 0);
    std::fs::remove_file(machine.path("/etc/dnf/vars/els_url")).unwrap();
    looks(&machine, 10);
    std::fs::remove_file(machine.path("/var/lib/els-register/registration.json")).unwrap();
    looks(&machine, 10);
}

/// Promise: lock
#[test]
fn only_root_uses_the_lock_and_it_is_removed() {
    let server = Scripted::backend(|request| (request.method == "PUT").then_some(Answer::Silence));
    let machine = machine_of(&server);
    let mut command = machine.agent_command(&["--key", KEY, "--timeout", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the backend is asked", || !server.requests().is_empty());
    assert_eq!(machine.mode(LOCK), 0o600);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(!machine.has(LOCK));
}

/// Promise: files-durable
#[test]
fn every_file_is_private_and_durable_before_it_has_its_name_and_so_is_the_name() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let trace = machine.path("/root/trace");
    let mut command = Command::new(program("strace"));
    command.args(["-f", "-y", "-qq", "-e", "trace=openat,fsync,renameat,renameat2,rename,fchmod", "-o"]).arg(&trace);
    run(command.arg(agent_program()).arg("--root").arg(machine.root()).args(["--key", KEY])).succeeds();
    let trace = std::fs::read_to_string(&trace).unwrap();
    let calls: Vec<&str> =
        trace.lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim())).collect();
    let mut renamed = Vec::new();
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| call.starts_with("rename")) {
        let quoted: Vec<&str> = call.split('"').collect();
        let (from, to) = (quoted[1], quoted[3]);
        // A question to the kernel, not a rename: such a file never exists.
        if !from.starts_with(".els-") || call.contains("ENOENT") {
            continue;
        }
        let position = |what: &str, has: &str| {
            calls[..at].iter().position(|call| call.starts_with(what) && call.contains(from) && call.contains(has))
        };
        let made = position("openat", "O_CREAT|O_EXCL").or(position("openat", "O_CREAT")).expect("made");
        assert!(calls[made].contains("0600"), "{}", calls[made]);
        let mode = position("fchmod", "").expect("its final mode is set");
        let synced = position("fsync", "").expect("its content is synced");
        assert!(made < mode && mode < synced, "{to}");
        let folder = call.rsplit_once("</").and_then(|(_, rest)| rest.split_once('>')).expect("the folder").0;
        let next = calls[at + 1..].iter().find(|call| call.starts_with("fsync")).expect("the folder is synced");
        assert!(next.contains(&format!("{folder}>")), "{to}: {next}");
        renamed.push(to.to_owned());
    }
    for name in ["pending.json", "RPM-GPG-KEY-ELS", "els_url", "els_id", "els_token", "registration.json", "els.repo"] {
        assert!(renamed.iter().any(|to| to == name), "{name} in {renamed:?}");
    }
    assert_eq!(renamed.last().map(String::as_str), Some("els.repo"), "last of all");
    let vars: Vec<&&str> = calls.iter().filter(|call| call.contains("O_CREAT") && call.contains("/dnf/vars")).collect();
    assert_eq!(vars.len(), 0, "dnf reads every file in vars: {vars:?}");
}

/// Promise: files-order
#[test]
fn the_repo_file_is_aside_whenever_a_variable_changes() {
    let server = Scripted::backend(|_| None);
    for (altered, arguments) in [
        (None, &["--key", "TEST-KEY-0002"][..]),
        (Some("/etc/dnf/vars/els_url"), &["--refresh"]),
        (Some("/etc/dnf/vars/els_id"), &["--key", KEY]),
    ] {
        let machine = machine_of(&server);
        machine.registers(KEY);
        if let Some(path) = altered {
            machine.write(path, "altered\n");
        }
        let trace = machine.path("/root/trace");
        let mut command = Command::new(program("strace"));
        command.args(["-f", "-qq", "-e", "trace=renameat,renameat2,rename", "-o"]).arg(&trace);
        run(command.arg(agent_program()).arg("--root").arg(machine.root()).args(arguments)).succeeds();
        let trace = std::fs::read_to_string(&trace).unwrap();
        let mut on = true;
        let mut variables = 0;
        for line in trace.lines().filter(|line| line.contains("rename")) {
            let quoted: Vec<&str> = line.split('"').collect();
            match (quoted[1], quoted[3]) {
                ("els.repo", "els.repo.els-off") => on = false,
                (_, "els.repo") => on = true,
                (_, "els_url" | "els_id" | "els_token") => {
                    assert!(!on, "{arguments:?}: {line}");
                    variables += 1;
                }
                _ => {}
            }
        }
        assert!(on && variables > 0, "{arguments:?}: {trace}");
        machine.agent(&["--status"]).succeeds();
    }
}

/// The agent under strace with `injection`; what strace saw of `calls` is in `trace`.
fn strace(machine: &Machine, trace: &Path, calls: &str, injection: &str) -> Run {
    let mut command = Command::new(program("strace"));
    command.args(["-f", "-qqq", "-e", &format!("trace={calls}"), "-e", injection, "-o"]).arg(trace);
    run(command.arg(agent_program()).arg("--root").arg(machine.root()).args(["--key", KEY, "--json"]))
}

/// Lets the first `call` with this argument fail with EIO in a run that registers; with `last` the last one.
fn with_io_error(machine: &Machine, call: &str, argument: &str, last: bool) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    // An identical machine shows which call it is.
    let server = Scripted::backend(|_| None);
    strace(&machine_of(&server), &trace, call, "signal=none").succeeds();
    let text = std::fs::read_to_string(&trace).expect("the trace");
    let quoted = format!("\"{argument}\"");
    let has = |line: &&str| line.contains(&quoted);
    let calls: Vec<&str> = text.lines().filter(|line| line.contains(call)).collect();
    let at = if last { calls.iter().rposition(has) } else { calls.iter().position(has) };
    let nth = 1 + at.unwrap_or_else(|| panic!("no {call} of {argument}: {text}"));
    strace(machine, &trace, call, &format!("inject={call}:error=EIO:when={nth}"))
}

#[test]
fn an_io_error_is_never_taken_for_absence() {
    for (call, argument, path, exit) in [
        ("openat", "els-register.toml", "/etc/els-register.toml", 2),
        ("newfstatat", "els-register.lock", LOCK, 1),
        ("openat", "yum.repos.d", "/etc/yum.repos.d", 1),
        ("newfstatat", "dnf", "/usr/bin/dnf", 1),
        ("openat", "machine-id", "/etc/machine-id", 1),
        ("newfstatat", ".containerenv", "/run/.containerenv", 1),
        ("openat", "1", "/proc/1/environ", 1),
        ("openat", "product_uuid", "/sys/class/dmi/id/product_uuid", 1),
        ("openat", "os-release", "/etc/os-release", 1),
        ("openat", "dnf.conf", "/etc/dnf/dnf.conf", 2),
        ("newfstatat", "els.repo", "/etc/yum.repos.d/els.repo", 1),
    ] {
        let server = Scripted::backend(|_| None);
        let machine = machine_of(&server);
        let before = machine.files();
        let run = with_io_error(&machine, call, argument, false).exits(exit).says(path).says("I/O error");
        assert!(server.requests().is_empty(), "{path}: {run}");
        let mut after = machine.files();
        if path == LOCK {
            // Whose lock this name is was not seen: another process may hold it, so it stays for the next run.
            after.retain(|file| !file.contains(LOCK));
        }
        assert_eq!(after, before, "{path}: {run}");
        machine.agent(&["--key", KEY]).succeeds();
        assert!(!machine.has(LOCK), "{path}");
    }
}

#[test]
fn repositories_that_cannot_be_listed_are_not_taken_for_none() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let run = with_io_error(&machine, "openat", "yum.repos.d", true).succeeds().says("were not checked");
    assert_eq!(run.json()["warnings"][0]["code"], "third-party-repository", "{run}");
}

#[test]
fn a_filter_that_refuses_the_question_for_access_does_not_refuse_the_folder() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let trace = machine.path("/root/trace");
    let calls = "faccessat,faccessat2";
    strace(&machine, &trace, calls, &format!("inject={calls}:error=EPERM")).succeeds();
    assert!(std::fs::read_to_string(&trace).expect("the trace").contains("(INJECTED)"));
}

/// Promise: key-spelling
#[test]
fn a_key_of_our_making_is_sent_as_it_was_made_however_it_was_typed() {
    let server = Scripted::backend(|_| None);
    let made = LicenseKey::from_random([0x5a; 15]);
    let plain = made.expose().replace('-', "");
    // The body alone: in `ELS` itself the L is a letter.
    let (head, body) = plain.split_at(3);
    let sloppy = body.replace('0', "o").replace('1', "l").to_lowercase();
    for typed in [made.expose().to_owned(), made.expose().to_lowercase(), plain.clone(), format!(" {head}{sloppy}\n")] {
        let machine = machine_of(&server);
        machine.agent(&["--key", &typed]).succeeds();
        assert_eq!(server.requests().iter().rev().find(|r| r.method == "PUT").unwrap().json()["key"], made.expose());
    }
    // Any other key counts byte for byte.
    machine_of(&server).agent(&["--key", "vendor_key-0O1lI"]).succeeds();
    let sent = server.requests();
    assert_eq!(sent.iter().rev().find(|r| r.method == "PUT").unwrap().json()["key"], "vendor_key-0O1lI");
}
