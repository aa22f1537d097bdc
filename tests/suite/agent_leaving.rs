//! A machine can always leave, and can always be asked: whatever is in the place of a file that this does not need.
//!
//! The table is every such file × everything that can be in its place × every action that must work.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use els_testkit::scripted::Scripted;
use els_testkit::{Machine, program, run};

const KEY: &str = "TEST-KEY-0001";
const DNF_CONF: &str = "/etc/dnf/dnf.conf";
const CONFIG: &str = "/etc/els-register.toml";
/// Files that leaving does not need. `els.repo` and the variables, the key, state, journal and lock are what it removes.
const FILES: [&str; 15] = [
    DNF_CONF,
    CONFIG,
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/machine-id",
    "/sys/class/dmi/id/product_uuid",
    "/proc/1/cgroup",
    "/proc/1/mountinfo",
    "/proc/self/environ",
    "/etc/dnf/vars/releasever",
    "/etc/yum.repos.d/els.repo.els-save",
    "/etc/yum.repos.d/els.repo.els-new",
    "/etc/yum.repos.d/other.repo",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS.els-save",
    "/etc/pki/els/RPM-GPG-KEY-TEST",
];

/// What is in a file's place.
#[derive(Clone, Copy, Debug)]
enum Spoilt {
    Missing,
    Empty,
    NotUtf8,
    SecondLine,
    Large,
    Folder,
    DanglingLink,
    LinkToItself,
    Pipe,
    Socket,
}

const SPOILT: [Spoilt; 10] = [
    Spoilt::Missing,
    Spoilt::Empty,
    Spoilt::NotUtf8,
    Spoilt::SecondLine,
    Spoilt::Large,
    Spoilt::Folder,
    Spoilt::DanglingLink,
    Spoilt::LinkToItself,
    Spoilt::Pipe,
    Spoilt::Socket,
];

fn spoil(place: &Path, spoilt: Spoilt) {
    std::fs::create_dir_all(place.parent().expect("a folder above")).expect("the folders above");
    let content = std::fs::read(place).unwrap_or_default();
    let _ = std::fs::remove_file(place);
    let write = |content: &[u8]| std::fs::write(place, content).expect("a file");
    match spoilt {
        Spoilt::Missing => {}
        Spoilt::Empty => write(b""),
        Spoilt::NotUtf8 => write(&[b"# caf\xe9\n\xff\xfe\n=\n", &content[..]].concat()),
        Spoilt::SecondLine => write(&[&content[..], b"\nsecond = 'line\n"].concat()),
        Spoilt::Large => write(&vec![b'#'; 2 << 20]),
        Spoilt::Folder => std::fs::create_dir(place).expect("a folder"),
        Spoilt::DanglingLink => symlink("/not/there", place).expect("a link"),
        Spoilt::LinkToItself => symlink(place.file_name().expect("a name"), place).expect("a link"),
        Spoilt::Pipe => drop(run(Command::new(program("mkfifo")).arg(place)).succeeds()),
        Spoilt::Socket => drop(UnixListener::bind(place).expect("a socket")),
    }
}

fn registered(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write(CONFIG, &format!("server = \"{}\"\n", server.url()));
    machine.registers(KEY);
    machine
}

/// All actions that must be possible, the last of them leaves.
fn everything_works(server: &Scripted, machine: &Machine, at: &str, environment: &[(&str, &OsStr)]) {
    let deletes = |server: &Scripted| server.requests().iter().filter(|request| request.method == "DELETE").count();
    let before = deletes(server);
    let agent = |arguments: &[&str]| {
        run(machine.agent_command(arguments).args(["--timeout", "5"]).envs(environment.iter().copied()))
    };
    for arguments in [&["--status"][..], &["--status", "--offline"], &["--report"], &["--unregister", "--dry-run"]] {
        agent(arguments).succeeds();
    }
    agent(&["--report"]).says("registration");
    agent(&["--unregister"]).succeeds();
    assert_eq!(deletes(server), before + 1, "{at}: the seat is free");
    for file in ["/etc/yum.repos.d/els.repo", "/etc/dnf/vars/els_token", "/var/lib/els-register/registration.json"] {
        assert!(!machine.has(file), "{at}: {file}");
    }
    agent(&["--unregister"]).succeeds().says("nothing to do");
}

/// Promise: unregister-any-file
#[test]
fn no_file_that_leaving_does_not_need_keeps_a_machine() {
    let server = Scripted::backend(|_| None);
    for file in FILES {
        for spoilt in SPOILT {
            let machine = registered(&server);
            spoil(&machine.path(file), spoilt);
            everything_works(&server, &machine, &format!("{file} {spoilt:?}"), &[]);
        }
    }
}

/// Promise: unregister-any-file
#[test]
fn no_setting_that_leaving_does_not_need_keeps_a_machine() {
    let server = Scripted::backend(|_| None);
    let spoilt = |file: &str, content: &[u8], words: &str| {
        let machine = registered(&server);
        std::fs::write(machine.path(file), content).expect("a file");
        let at = format!("{file}: {}", content.escape_ascii());
        machine.agent(&["--status"]).succeeds().says(words);
        everything_works(&server, &machine, &at, &[]);
        // Registering needs it, and says what is wrong.
        machine.agent(&["--key", KEY, "--server", &server.url()]).exits(2).says(words);
    };
    for (config, words) in [
        (&b"added_later = true\n"[..], "added_later"),
        (b"[section]\nserver = 'https://els.example.com'\n", "line 1"),
        (b"timeout = 0\n", "timeout: must be 1 to 86400 seconds"),
        (b"timeout = 'soon'\n", "timeout"),
        (b"server = 'ftp://els.example.com'\n", "server"),
        (b"proxy = 'socks6://proxy:1'\n", "proxy"),
        (b"ca_file = '/not/there.pem'\n", "/not/there.pem does not exist"),
        (b"ca_file = '/etc/os-release'\n", "holds no certificate"),
        (b"# caf\xe9\n", "not UTF-8"),
        (b"server = \n", "line 1"),
    ] {
        spoilt(CONFIG, config, words);
    }
    for (dnf_conf, words) in [
        (&b"[main]\nproxy=socks6://proxy:1\n"[..], "socks5h"),
        (b"[main]\nproxy=ftp://proxy:1\n", "proxy"),
        (b"[main]\nproxy=http://proxy:99999\n", "port"),
    ] {
        spoilt(DNF_CONF, dnf_conf, words);
    }
    for (name, value) in [("https_proxy", &b"\xff"[..]), ("all_proxy", b"socks6://proxy"), ("no_proxy", b"\xff")] {
        everything_works(&server, &registered(&server), name, &[(name, OsStr::from_bytes(value))]);
    }
}

/// Promise: unregister-any-file
#[test]
fn what_is_right_in_a_file_with_mistakes_is_used() {
    let server = Scripted::backend(|_| None);
    let machine = registered(&server);
    let config = format!("# caf\u{e9}\nserver = \"{}\"\nadded_later = true\nsupport = \"call 123\"\n", server.url());
    let latin: Vec<u8> = config.chars().map(|character| character as u8).collect();
    std::fs::write(machine.path(CONFIG), latin).expect("a file");
    std::fs::remove_file(machine.path("/var/lib/els-register/registration.json")).expect("the state");
    // Without the state only this file names the server.
    machine.agent(&["--unregister"]).succeeds();
    machine.agent(&["--refresh"]).exits(2).says("not UTF-8");
}

/// Promise: unregister-any-file
#[test]
fn a_mistake_in_an_option_is_an_error_also_when_leaving() {
    let server = Scripted::backend(|_| None);
    let machine = registered(&server);
    for options in [
        &["--timeout", "0"][..],
        &["--server", "ftp://x"],
        &["--proxy", "socks6://x"],
        &["--ca-file", "/not/there"],
        &["--config", "/not/there"],
    ] {
        machine.agent(&[&["--unregister"], options].concat()).exits(2);
    }
}
