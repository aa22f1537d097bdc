//! Any command can be killed at any instant and simply run again; and whatever system call fails, nothing is lost.
//!
//! Each sweep takes one command and one system call that can change the world, and lets strace kill the agent (or fail the
//! call) at its first, second, … time, until the command gets through unharmed. CI takes a sample with fixed steps; with
//! `ELS_SOAK=1` every single point is tried (`make soak`). At the end each sweep prints how many points it tried.

use std::process::Command;

use els_testkit::{Machine, Run, SeatModel, agent_program, program, run};

const KEY: &str = "TEST-KEY-0001";
const OTHER_KEY: &str = "TEST-KEY-0002";
const REPO: &str = "/etc/yum.repos.d/els.repo";

/// System calls that change files or reach the other side.
const CALLS: [&str; 11] = [
    "openat",
    "write",
    "fsync",
    "fchmod",
    "mkdirat",
    "linkat",
    "unlinkat",
    "renameat,rename,renameat2",
    "connect",
    "sendto",
    "recvfrom",
];
/// Those that can fail for want of space or rights.
const FAILING: [&str; 8] =
    ["openat", "write", "fsync", "fchmod", "mkdirat", "linkat", "unlinkat", "renameat,rename,renameat2"];
const ERRORS: [&str; 4] = ["ENOSPC", "EIO", "EROFS", "EACCES"];

/// One command that is swept, from a machine that is prepared for it to what must hold afterwards.
struct Sweep {
    name: &'static str,
    prepare: fn(&Machine),
    command: &'static [&'static str],
    /// Whether the machine holds a seat in the end.
    registered: bool,
    seats: usize,
    /// The second key is the first one, rotated.
    rotated: bool,
}

const REGISTER: Sweep =
    Sweep { name: "register", prepare: |_| {}, command: &["--key", KEY], registered: true, seats: 1, rotated: false };
const CONFIRM: Sweep = Sweep { name: "register again", prepare: registered, ..REGISTER };
const REPAIR: Sweep = Sweep {
    name: "repair",
    prepare: |machine| {
        registered(machine);
        machine.write("/etc/dnf/vars/els_url", "https://altered.example\n");
        std::fs::remove_file(machine.path("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS")).expect("the key was written");
    },
    ..REGISTER
};
const REFRESH: Sweep = Sweep { name: "refresh", prepare: REPAIR.prepare, command: &["--refresh"], ..REGISTER };
/// Two seats, since the new one is taken before the old one is released.
const SWITCH: Sweep =
    Sweep { name: "switch", prepare: registered, command: &["--key", OTHER_KEY], seats: 2, ..REGISTER };
const ROTATED: Sweep = Sweep { name: "rotated key", seats: 1, rotated: true, ..SWITCH };
const UNREGISTER: Sweep =
    Sweep { name: "unregister", prepare: registered, command: &["--unregister"], registered: false, ..REGISTER };

fn registered(machine: &Machine) {
    machine.agent(&["--key", KEY]).succeeds();
}

impl Sweep {
    /// Tries one point; `None` when the agent no longer makes that call so often.
    fn try_point(&self, call: &str, injection: &str, nth: usize) -> Option<()> {
        let model = SeatModel::with_seats(self.seats);
        if self.rotated {
            model.rotate_keys();
        }
        let server = model.serve();
        let machine = Machine::new();
        machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
        let before = machine.files();
        (self.prepare)(&machine);
        let at = format!("{} {call} {injection} {nth}", self.name);
        let broken = self.strace(&machine, call, injection, nth);
        if broken.trace.is_empty() {
            return None;
        }
        let run = broken.run;
        assert_ne!(run.signal.or(run.code.filter(|code| *code == 101)), Some(101), "{at}: a panic\n{run}");
        self.check_whole(&machine, &model, &at, &run);
        assert!(model.active().len() <= self.seats, "{at}");

        machine.agent(self.command).succeeds();
        let ids = model.active();
        if self.registered {
            machine.agent(&["--status"]).succeeds();
            assert_eq!(ids, [machine.read("/etc/dnf/vars/els_id").trim()], "{at}: exactly one seat\n{run}");
            for (path, mode) in [(REPO, 0o644), ("/etc/dnf/vars/els_token", 0o600), ("/etc/dnf/vars/els_id", 0o644)] {
                assert_eq!(machine.mode(path), mode, "{at}: {path}");
            }
            assert!(!machine.has("/var/lib/els-register/pending.json"), "{at}");
        } else {
            machine.agent(&["--status"]).exits(3);
            assert_eq!(ids, [""; 0], "{at}: no seat\n{run}");
            assert_eq!(machine.files(), before, "{at}: nothing is left behind\n{run}");
        }
        let odd = |path: &String| path.contains("/.els-") || path.ends_with(".els-off") || path.contains(".els-save");
        let left: Vec<String> = machine.files().into_iter().filter(odd).collect();
        assert_eq!(left, [""; 0], "{at}: leftovers");
        Some(())
    }

    /// dnf must never see an enabled section with a credential that is not whole.
    fn check_whole(&self, machine: &Machine, model: &SeatModel, at: &str, run: &Run) {
        if !machine.has(REPO) {
            return;
        }
        let variable = |name: &str| {
            let path = format!("/etc/dnf/vars/{name}");
            assert!(machine.has(&path), "{at}: {name} is missing and the repositories are on\n{run}");
            machine.read(&path)
        };
        let (id, token) = (variable("els_id"), variable("els_token"));
        let hash = els_protocol::Sha256Hex::of(token.trim().as_bytes()).to_string();
        assert_eq!(model.token_sha256(id.trim()), Some(hash), "{at}: id and token do not belong together\n{run}");
        assert!(!variable("els_url").is_empty(), "{at}");
        assert_eq!(machine.mode("/etc/dnf/vars/els_token"), 0o600, "{at}");
    }

    fn strace(&self, machine: &Machine, call: &str, injection: &str, nth: usize) -> Traced {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("trace");
        let mut command = Command::new(program("strace"));
        command.args(["-f", "-qqq", "-o"]).arg(&file).args([
            "-e",
            &format!("trace={call}"),
            "-e",
            "status=failed,unfinished,detached,unavailable",
        ]);
        command.args(["-e", &format!("inject={call}:{injection}:when={nth}")]);
        command.arg(agent_program()).arg("--root").arg(machine.root()).args(["--timeout", "10"]).args(self.command);
        let run = run(command.env_clear().env("PATH", "/usr/sbin:/usr/bin"));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let hit = |line: &&str| line.contains("(INJECTED)") || line.contains("killed by") || line.contains("= ?");
        let trace: String = text.lines().filter(hit).collect();
        let killed = run.signal.is_some() || run.code == Some(137);
        Traced { trace: if killed { format!("killed {trace}") } else { trace }, run }
    }

    /// All points of one kind, or a sample of them. Returns how many were tried.
    fn sweep(&self, calls: &[&str], injections: &[&str], step: usize) -> usize {
        let step = if std::env::var_os("ELS_SOAK").is_some() { 1 } else { step };
        let mut tried = 0;
        for (number, call) in calls.iter().enumerate() {
            for (other, injection) in injections.iter().enumerate() {
                // The sample begins at another point for each kind, so that the kinds together touch more of them.
                let mut nth = 1 + (number * 3 + other * 2) % step;
                while self.try_point(call, injection, nth).is_some() {
                    tried += 1;
                    nth += step;
                    assert!(nth < 2000, "{} {call}: the agent makes no end of them", self.name);
                }
            }
        }
        // The figure of docs/developer/reliability.md.
        #[allow(clippy::print_stdout)]
        let () = println!("{}: {tried} points of {injections:?}, failures 0", self.name);
        tried
    }
}

struct Traced {
    run: Run,
    /// What strace says of the injection; empty if it never came to it.
    trace: String,
}

/// Both sweeps of one command, each of which must have tried something.
fn both(sweep: &Sweep) {
    assert!(sweep.sweep(&CALLS, &["signal=KILL"], 9) > 10);
    let errors: Vec<String> = ERRORS.iter().map(|error| format!("error={error}")).collect();
    let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
    assert!(sweep.sweep(&FAILING, &errors, 29) > 10);
}

/// Promise: kill-anywhere
#[test]
fn registering_may_be_killed_or_fail_anywhere() {
    both(&REGISTER);
}

/// Promise: kill-anywhere
#[test]
fn confirming_may_be_killed_or_fail_anywhere() {
    both(&CONFIRM);
}

/// Promise: kill-anywhere
/// Promise: files-order
#[test]
fn repairing_may_be_killed_or_fail_anywhere() {
    both(&REPAIR);
}

/// Promise: kill-anywhere
#[test]
fn refreshing_may_be_killed_or_fail_anywhere() {
    both(&REFRESH);
}

/// Promise: kill-anywhere
/// Promise: files-order
#[test]
fn switching_keys_may_be_killed_or_fail_anywhere() {
    both(&SWITCH);
}

/// Promise: kill-anywhere
/// Promise: register-rotated-key
#[test]
fn taking_up_a_rotated_key_may_be_killed_or_fail_anywhere() {
    both(&ROTATED);
}

/// Promise: kill-anywhere
#[test]
fn unregistering_may_be_killed_or_fail_anywhere() {
    both(&UNREGISTER);
}
