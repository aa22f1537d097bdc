//! A machine that means harm, or was handled roughly: links, pipes, immutable files and folders that others can write, at each
//! path that the agent knows, before each action.
//!
//! Whatever stands there, what lies elsewhere stays as it is, nothing waits, what is wrong is named, and once it is out of the
//! way the same command runs through.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use els_testkit::scripted::Scripted;
use els_testkit::{Machine, Run, program, run};

const KEY: &str = "TEST-KEY-0001";
const FILES: [&str; 8] = [
    "/etc/yum.repos.d/els.repo",
    "/etc/dnf/vars/els_url",
    "/etc/dnf/vars/els_id",
    "/etc/dnf/vars/els_token",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS",
    "/var/lib/els-register/registration.json",
    "/var/lib/els-register/pending.json",
    "/run/els-register.lock",
];
const FOLDERS: [&str; 6] =
    ["/etc/yum.repos.d", "/etc/dnf/vars", "/etc/dnf", "/etc/pki/rpm-gpg", "/var/lib/els-register", "/var/lib"];
const PRECIOUS: &str = "precious\n";
/// Far more than any of it takes.
const MOST: Duration = Duration::from_secs(20);

/// What was done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    Link,
    DanglingLink,
    HardLink,
    Pipe,
    Folder,
    Socket,
}

/// What is asked of the agent then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Register,
    Refresh,
    Unregister,
}

impl Asked {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Asked::Register => &["--key", KEY, "--timeout", "2"],
            Asked::Refresh => &["--refresh", "--timeout", "2"],
            Asked::Unregister => &["--unregister", "--timeout", "2"],
        }
    }
}

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// A folder elsewhere that nothing may change: a file in it, and all that can be said of both.
struct Elsewhere {
    folder: tempfile::TempDir,
    before: BTreeMap<PathBuf, (Vec<u8>, u32, u64)>,
}

impl Elsewhere {
    fn new() -> Elsewhere {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("precious"), PRECIOUS).expect("a file");
        let before = look(folder.path());
        Elsewhere { folder, before }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("precious")
    }

    fn is_untouched(&self, at: &str) {
        assert_eq!(look(self.folder.path()), self.before, "{at}");
    }
}

/// Content, mode and owner of a folder and its files.
fn look(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, u64)> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let paths = entries.chain([folder.to_owned()]);
    paths
        .map(|path| {
            let metadata = path.symlink_metadata().expect("it is there");
            let content = std::fs::read(&path).unwrap_or_default();
            (path, (content, metadata.mode(), u64::from(metadata.uid())))
        })
        .collect()
}

fn put(obstacle: Obstacle, place: &Path, elsewhere: &Elsewhere) {
    if let Ok(metadata) = place.symlink_metadata() {
        assert!(metadata.is_file(), "{}", place.display());
        std::fs::remove_file(place).expect("it goes");
    }
    std::fs::create_dir_all(place.parent().expect("a folder above")).expect("the folders above");
    match obstacle {
        Obstacle::Link => symlink(elsewhere.file(), place).expect("a link"),
        Obstacle::DanglingLink => symlink(elsewhere.folder.path().join("not-there"), place).expect("a link"),
        Obstacle::HardLink => std::fs::hard_link(elsewhere.file(), place).expect("a hard link"),
        Obstacle::Pipe => drop(run(Command::new(program("mkfifo")).arg(place)).succeeds()),
        Obstacle::Folder => std::fs::create_dir(place).expect("a folder"),
        Obstacle::Socket => drop(std::os::unix::net::UnixListener::bind(place).expect("a socket")),
    }
}

fn remove(obstacle: Obstacle, place: &Path) {
    if obstacle == Obstacle::Folder {
        let _ = std::fs::remove_dir(place);
    } else {
        let _ = std::fs::remove_file(place);
    }
}

fn ask(machine: &Machine, asked: Asked, at: &str) -> Run {
    let begin = Instant::now();
    let run = machine.agent(asked.arguments());
    assert!(begin.elapsed() < MOST, "{at}: {:?}", begin.elapsed());
    // Without a token it cannot refresh or release: it says that, and what to type.
    let wanting = match asked {
        Asked::Register => None,
        Asked::Refresh => Some(10),
        Asked::Unregister => Some(5),
    };
    let lost = wanting.is_some() && run.code == wanting && run.stderr.contains("--key KEY");
    assert!(matches!(run.code, Some(0 | 1)) || lost, "{at}\n{run}");
    run
}

/// Promise: files-in-the-way
#[test]
fn nothing_else_changes_if_a_path_is_blocked_and_the_command_succeeds_once_it_is_free() {
    let mut tried = 0;
    for asked in [Asked::Register, Asked::Refresh, Asked::Unregister] {
        for path in FILES {
            for obstacle in [
                Obstacle::Link,
                Obstacle::DanglingLink,
                Obstacle::HardLink,
                Obstacle::Pipe,
                Obstacle::Folder,
                Obstacle::Socket,
            ] {
                let at = format!("{asked:?} with {obstacle:?} at {path}");
                let server = Scripted::backend(|_| None);
                let machine = machine_of(&server);
                if asked != Asked::Register {
                    machine.registers(KEY);
                }
                let elsewhere = Elsewhere::new();
                put(obstacle, &machine.path(path), &elsewhere);
                let run = ask(&machine, asked, &at);
                elsewhere.is_untouched(&at);
                if run.code == Some(1) {
                    assert!(run.stderr.contains(path), "what is in the way is named: {at}\n{run}");
                }
                if asked == Asked::Register && obstacle != Obstacle::HardLink {
                    assert_ne!(run.code, Some(0), "{at}\n{run}");
                    assert!(server.requests().is_empty(), "found before anything was asked: {at}\n{run}");
                }
                remove(obstacle, &machine.path(path));
                // What stood in the token's or the state's place was lost; with the key all of it is made again.
                let again = machine.agent(&["--key", KEY]);
                assert_eq!(again.code, Some(0), "{at}\n{again}");
                machine.agent(&["--status"]).succeeds();
                machine.agent(&["--unregister"]).succeeds();
                elsewhere.is_untouched(&at);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 3 * 8 * 6);
}

/// Promise: files-links
#[test]
fn a_link_in_place_of_a_folder_is_never_gone_through() {
    for asked in [Asked::Register, Asked::Refresh, Asked::Unregister] {
        for path in FOLDERS {
            let at = format!("{asked:?} with a link at {path}");
            let server = Scripted::backend(|_| None);
            let machine = machine_of(&server);
            if asked != Asked::Register {
                machine.registers(KEY);
            }
            // The folder itself is elsewhere now, as somebody short of space would do it.
            let moved = tempfile::tempdir().expect("a folder");
            let target = moved.path().join("target");
            let place = machine.path(path);
            std::fs::create_dir_all(&place).expect("a folder");
            run(Command::new(program("mv")).arg(&place).arg(&target)).succeeds();
            let before = look(&target);
            symlink(&target, &place).expect("a link");
            let run = ask(&machine, asked, &at);
            assert_eq!(look(&target), before, "{at}\n{run}");
            if asked == Asked::Register {
                assert!(run.code == Some(1) && run.stderr.contains("symbolic link"), "{at}\n{run}");
                assert!(server.requests().is_empty(), "{at}");
            }
        }
    }
}

/// chattr(1), where the file system can.
fn attribute(change: &str, path: &Path) -> bool {
    run(Command::new(program("chattr")).arg(change).arg(path)).code == Some(0)
}

/// Promise: files-in-the-way
#[test]
fn immutable_files_and_folders_are_named_and_lose_nothing() {
    for asked in [Asked::Register, Asked::Refresh, Asked::Unregister] {
        for path in FILES[..6].iter().chain(&FOLDERS[..4]) {
            let at = format!("{asked:?} with {path} immutable");
            let server = Scripted::backend(|_| None);
            let machine = machine_of(&server);
            machine.registers(KEY);
            let id = machine.read("/etc/dnf/vars/els_id");
            if asked != Asked::Unregister && *path != "/etc/dnf/vars/els_url" {
                machine.write("/etc/dnf/vars/els_url", "altered\n");
            }
            let place = machine.path(path);
            if !attribute("+i", &place) {
                eprintln!("this file system knows no immutable files: not tried here");
                return;
            }
            let run = machine.agent(asked.arguments());
            let deleted = server.log().iter().any(|line| line.starts_with("DELETE"));
            assert!(attribute("-i", &place));
            assert!(matches!(run.code, Some(0 | 1)), "{at}\n{run}");
            if run.code == Some(1) {
                assert!(run.stderr.contains("lsattr") || run.stderr.contains(path), "{at}\n{run}");
            }
            if asked == Asked::Unregister {
                machine.agent(&["--unregister"]).succeeds();
                machine.agent(&["--status"]).exits(3);
                assert!(server.log().iter().any(|line| line.starts_with("DELETE")), "{at}");
            } else {
                assert!(!deleted, "the seat is kept: {at}\n{run}");
                machine.agent(asked.arguments()).succeeds();
                machine.agent(&["--status"]).succeeds();
                assert_eq!(machine.read("/etc/dnf/vars/els_id"), id, "{at}");
            }
        }
    }
}

/// Promise: files-links
#[test]
fn a_folder_that_is_swapped_for_a_link_in_the_middle_leads_nowhere() {
    for path in ["/etc/dnf/vars", "/etc/yum.repos.d", "/var/lib/els-register", "/etc/pki/rpm-gpg"] {
        let server = Scripted::backend(|_| None);
        let machine = machine_of(&server);
        let elsewhere = Elsewhere::new();
        let place = machine.path(path);
        std::fs::create_dir_all(&place).expect("a folder");
        // Everybody can write to the folder above, and replace what is in it.
        let above = place.parent().expect("a folder above");
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o777)).expect("its mode");
        let link = place.with_extension("link");
        symlink(elsewhere.folder.path(), &link).expect("a link");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = renameat2(AT_FDCWD, &place, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE);
                }
            });
            for _ in 0..12 {
                for asked in [Asked::Register, Asked::Refresh, Asked::Unregister] {
                    let run = machine.agent(asked.arguments());
                    assert!(run.signal.is_none() && run.code != Some(101), "{path}\n{run}");
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        elsewhere.is_untouched(path);
    }
}

/// Promise: files-in-the-way
#[test]
fn with_a_read_only_etc_a_registered_machine_says_so_and_keeps_what_it_has() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let before = look(&machine.path("/etc/dnf/vars"));
    let read_only = |arguments: &[&str]| {
        let script = "mount --bind \"$MACHINE/etc\" \"$MACHINE/etc\" && mount -o remount,bind,ro \"$MACHINE/etc\" && exec \"$@\"";
        let mut command = Command::new(program("unshare"));
        command.args(["--mount", "sh", "-c", script, "sh"]).env("MACHINE", machine.root());
        let agent = machine.agent_command(arguments);
        run(command.arg(agent.get_program()).args(agent.get_args()))
    };
    read_only(&["--status"]).succeeds();
    // Nothing is to be written but the state, which is elsewhere.
    read_only(&["--refresh"]).succeeds();
    machine.write("/etc/dnf/vars/els_url", "altered\n");
    for arguments in [&["--refresh"][..], &["--key", KEY], &["--key", "TEST-KEY-0002"], &["--unregister"]] {
        read_only(arguments).exits(1).says("Read-only file system").says("/etc/");
        assert!(!server.log().iter().any(|line| line.starts_with("DELETE")), "{arguments:?}: {:?}", server.log());
    }
    machine.agent(&["--refresh"]).succeeds();
    assert_eq!(look(&machine.path("/etc/dnf/vars")).len(), before.len());
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
}
