//! dnf.conf as the real dnf reads it: where dnf looks is where the files are, and what it trusts is what counts.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use els_testkit::scripted::{Scripted, raw};
use els_testkit::{Authority, Backend, Key, Machine, Repository};

const KEY: &str = "TEST-KEY-0001";
const DNF_CONF: &str = "/etc/dnf/dnf.conf";

/// dnf.conf of EL with these lines after it.
fn set(machine: &Machine, lines: &[u8]) {
    let usual = "[main]\ngpgcheck=1\nskip_if_unavailable=False\n";
    std::fs::write(machine.path(DNF_CONF), [usual.as_bytes(), lines].concat()).expect("a file");
}

/// A backend whose repositories ask for a credential: dnf sends none before.
fn backend() -> Scripted {
    Scripted::backend(|request| {
        let asks = request.path.starts_with("/repo") && request.header("authorization").is_none();
        asks.then(|| raw(401, &[("WWW-Authenticate", "Basic realm=\"els\"")], ""))
    })
}

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// Whether dnf asks for our metadata with this machine's credential.
fn dnf_asks(server: &Scripted, machine: &Machine) -> bool {
    let before = server.requests().len();
    let _ = machine.dnf(&["--repo=els-updates", "makecache"]);
    let requests = server.requests();
    let asked =
        requests[before..].iter().filter(|request| request.path.ends_with("/updates/x86_64/repodata/repomd.xml"));
    asked.into_iter().any(|request| request.header("authorization").is_some())
}

/// Promise: dnf-conf-folders
#[test]
fn repo_file_and_variables_are_where_dnf_looks() {
    let server = backend();
    for (lines, repo, token) in [
        (&b"reposdir=/srv/repos.d\n"[..], "/srv/repos.d/els.repo", "/etc/dnf/vars/els_token"),
        (b"varsdir = /etc/yum/vars, '/srv/x' /srv/vars/\n", "/etc/yum.repos.d/els.repo", "/srv/vars/els_token"),
        (b"reposdir=\"/srv/a b\"\nreposdir='/srv/repos'\nvarsdir=/v\n", "/srv/repos/els.repo", "/v/els_token"),
        (
            b"# caf\xe9\nreposdir=/srv/one\n  /etc/yum.repos.d\nREPOSDIR=/no\n",
            "/srv/one/els.repo",
            "/etc/dnf/vars/els_token",
        ),
        (
            b"varsdir=/no\n[other]\nvarsdir=/no\n[main]\nvarsdir=/srv/v\n",
            "/etc/yum.repos.d/els.repo",
            "/srv/v/els_token",
        ),
    ] {
        let machine = machine_of(&server);
        set(&machine, lines);
        let before = machine.files();
        machine.registers(KEY);
        let at = lines.escape_ascii().to_string();
        assert!(machine.has(repo) && machine.has(token), "{at}: {:?}", machine.files());
        assert!(dnf_asks(&server, &machine), "{at}");
        machine.agent(&["--status"]).succeeds();
        machine.agent(&["--refresh"]).succeeds().says("in order");
        machine.agent(&["--refresh", "--offline"]).succeeds();
        machine.agent(&["--report"]).succeeds().says(repo).says(token);
        machine.agent(&["--unregister"]).succeeds();
        assert!(!machine.has(repo) && !machine.has(token), "{at}");
        assert_eq!(machine.files(), before, "{at}");
    }
}

/// Promise: dnf-conf-folders
#[test]
fn folders_that_change_after_registering_are_damage_and_a_refresh_moves_the_files() {
    let server = backend();
    let machine = machine_of(&server);
    machine.registers(KEY);
    set(&machine, b"reposdir=/srv/repos\nvarsdir=/etc/dnf/vars /srv/vars\n");
    machine.agent(&["--status"]).exits(10).says("/srv/repos/els.repo is missing");
    machine.agent(&["--refresh", "--offline"]).exits(10);
    assert!(machine.has("/etc/yum.repos.d/els.repo"));
    machine.agent(&["--refresh"]).succeeds();
    for file in
        ["/etc/yum.repos.d/els.repo", "/etc/dnf/vars/els_token", "/etc/dnf/vars/els_id", "/etc/dnf/vars/els_url"]
    {
        assert!(!machine.has(file), "{file}");
    }
    assert_eq!(machine.mode("/srv/vars/els_token"), 0o600);
    assert!(dnf_asks(&server, &machine));
    machine.agent(&["--status"]).succeeds();

    // Back again by registering; and what dnf.conf says then does not matter for leaving.
    set(&machine, b"");
    machine.agent(&["--key", KEY]).succeeds().says("repaired");
    assert!(machine.has("/etc/dnf/vars/els_token") && !machine.has("/srv/vars/els_token"));
    set(&machine, b"reposdir=/srv/repos\nvarsdir=relative\n");
    machine.agent(&["--key", KEY]).exits(2).says("varsdir");
    machine.agent(&["--unregister"]).succeeds();
    assert!(!machine.has("/etc/yum.repos.d/els.repo") && !machine.has("/etc/dnf/vars/els_token"));
}

/// Promise: dnf-conf-folders
#[test]
fn a_variable_in_another_folder_and_a_folder_that_cannot_be_used_are_errors() {
    let server = backend();
    let machine = machine_of(&server);
    // As EL has it: two names of one folder.
    std::fs::create_dir_all(machine.path("/etc/yum")).expect("a folder");
    symlink("../dnf/vars", machine.path("/etc/yum/vars")).expect("a link");
    machine.registers(KEY);
    machine.agent(&["--key", KEY]).succeeds();
    machine.agent(&["--unregister"]).succeeds();

    std::fs::remove_file(machine.path("/etc/yum/vars")).expect("the link");
    machine.write("/etc/yum/vars/els_url", "https://other.example\n");
    let before = server.requests().len();
    machine.agent(&["--key", KEY]).exits(2).says("/etc/yum/vars/els_url");
    for lines in ["reposdir=\n", "varsdir=None\n", "reposdir=/srv/*.d\n", "reposdir=repos\n", "varsdir=/srv/../v\n"] {
        set(&machine, lines.as_bytes());
        machine.agent(&["--key", KEY]).exits(2).says(lines.split('=').next().expect("a name"));
    }
    assert_eq!(server.requests().len(), before);
}

fn site() -> (Arc<Repository>, Backend, Key) {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    (repository, backend, key)
}

/// Promise: dnf-conf-trust
#[test]
fn what_sslcacert_trusts_is_trusted_and_its_absence_there_is_named() {
    let (repository, backend, key) = site();
    let machine = Machine::configured_for(&backend, &repository);
    let authority = machine.read("/etc/pki/els/ca.pem");
    // Neither the system nor the configuration trusts the host.
    machine.write("/etc/ssl/certs/ca-certificates.crt", "");
    let config = machine.read("/etc/els-register.toml").replace("ca_file", "#ca_file");
    machine.write("/etc/els-register.toml", &config);
    machine.write("/etc/pki/company.pem", &authority);
    set(&machine, b"sslcacert=/etc/pki/company.pem\n");
    let run = machine.agent(&["--key", &key.key, "--json"]).succeeds();
    assert!(!run.stdout.contains("ca-unknown-to-dnf"), "{run}");
    machine.dnf(&["install", "example"]).succeeds();
    machine.agent(&["--unregister"]).succeeds();

    // A file that dnf trusts, with another authority in it, while the agent's configuration knows the host's.
    machine.write("/etc/els-register.toml", &config.replace("#ca_file", "ca_file"));
    machine.write("/etc/pki/company.pem", Authority::new("other").pem());
    machine.agent(&["--key", &key.key]).succeeds().says("/etc/pki/company.pem (sslcacert");
    machine.dnf(&["--setopt=els-updates.skip_if_unavailable=0", "--repo=els-updates", "makecache"]).fails();
    set(&machine, b"sslcacert=/not/there.pem\n");
    machine.agent(&["--key", &key.key]).exits(2).says("sslcacert: /not/there.pem does not exist");
    machine.agent(&["--unregister"]).succeeds();
    // It is never followed.
    set(&machine, b"sslverify=0\n");
    machine.write("/etc/els-register.toml", &config);
    machine.agent(&["--key", &key.key]).exits(7).says("not signed by a CA");
}

/// Promise: dnf-conf-read
#[test]
fn a_proxy_is_read_as_dnf_reads_it() {
    let server = Scripted::backend(|_| None);
    for (lines, words) in [
        // A proxy that nobody listens at shows whether it is used.
        (&b"proxy=\"http://127.0.0.1:1\"\n"[..], Some("127.0.0.1:1")),
        (b"proxy='http://127.0.0.1:1'\n", Some("127.0.0.1:1")),
        (b"proxy=http://127.0.0.1:2\n[main]\nproxy = http://127.0.0.1:1\n", Some("127.0.0.1:1")),
        (b"# caf\xe9\nproxy=\n", None),
        (b"PROXY=http://127.0.0.1:1\n", None),
        (b"#proxy=http://127.0.0.1:1\n", None),
        (b"[other]\nproxy=http://127.0.0.1:1\n", None),
    ] {
        let machine = machine_of(&server);
        set(&machine, lines);
        let at = lines.escape_ascii().to_string();
        let run = machine.agent(&["--key", KEY, "--timeout", "1"]);
        assert_eq!(run.code, Some(if words.is_some() { 7 } else { 0 }), "{at}: {run}");
        assert!(words.is_none_or(|words| run.stderr.contains(words)), "{at}: {run}");
        // The real dnf decides.
        let count = server.requests().len();
        let section = format!("[t]\nname=t\nbaseurl={}/repo/\ngpgcheck=0\n", server.url());
        machine.write("/etc/yum.repos.d/t.repo", &section);
        let _ = machine.dnf(&["--repo=t", "makecache"]);
        assert_eq!(server.requests().len() > count, words.is_none(), "{at}");
    }
    // libdnf before 0.71 takes this for a name.
    let machine = machine_of(&server);
    set(&machine, b"proxy=_none_\n");
    machine.agent(&["--key", KEY]).succeeds().says("proxy=_none_");
    machine
        .dnf(&["--setopt=els-updates.skip_if_unavailable=0", "--repo=els-updates", "makecache"])
        .fails()
        .says("_none_");
    // What follows a value belongs to it: libcurl and this program both refuse such a port.
    let machine = machine_of(&server);
    set(&machine, b"proxy=http://127.0.0.1:1 # the office\n");
    machine.agent(&["--key", KEY]).exits(2).says("port");
}
