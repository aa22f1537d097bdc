//! The package, from end to end: the real dnf installs it from a path of our own gate that is open to everybody, the
//! first-boot unit's command line registers the machine, an upgrade keeps the registration, and erasing it frees the seat.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use els_testkit::{AGENTS, Backend, Key, Machine, Repository, Rpm, agent_program, folder, program, rpm_file, run};

/// A vendor with a package of the agent at the gate, and a fresh machine that knows where it is.
struct World {
    repository: std::sync::Arc<Repository>,
    www: TempDir,
    backend: Backend,
    key: Key,
    machine: Machine,
}

/// Where the configuration that the package brings finds the key of the test's repository.
const GPG_KEY_FILE: &str = "/etc/pki/els/RPM-GPG-KEY-TEST";
const DISTRIBUTION_KEY_FILE: &str = "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9";

impl World {
    fn new() -> World {
        let repository = Repository::shared();
        let www = repository.with_public_key();
        let backend = Backend::with_repository(www.path());
        let key = backend.key(1);
        let machine = Machine::installable(&backend);
        machine.write(GPG_KEY_FILE, &repository.our_key());
        machine.write(DISTRIBUTION_KEY_FILE, &repository.distribution_key());
        machine.knows_where_the_agent_is(&backend);
        let world = World { repository, www, backend, key, machine };
        world.publishes(1);
        world
    }

    /// Puts a release of the agent's package into its repository.
    fn publishes(&self, release: u32) {
        let configuration = format!("server = \"{}\"\ngpg_key = \"{GPG_KEY_FILE}\"\n", self.backend.url());
        let rpm = Rpm { name: "els-register", release, signed_by: &self.repository, configuration: &configuration };
        let (_out, file) = rpm_file(&rpm);
        self.repository.publish_in(&self.www.path().join(AGENTS), &[file]);
    }

    /// Runs what the first-boot unit runs, with the key where the unit looks for it.
    fn first_boot(&self) {
        self.machine.write("/etc/els-register.key", &format!("{}\n", self.key.key));
        set_mode(&self.machine.path("/etc/els-register.key"), 0o600);
        let unit = self.machine.read("/.usr/upper/lib/systemd/system/els-register.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("the unit starts something");
        let words: Vec<&str> = line.split(' ').collect();
        run(&mut self.machine.inside(&words)).succeeds().does_not_say(&self.key.key);
        assert!(!self.machine.has("/etc/els-register.key"), "the key has done its work");
    }

    fn seats(&self) -> usize {
        self.backend.seats(&self.key).len()
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Promise: package-life
#[test]
fn a_machine_is_installed_registered_updated_upgraded_and_erased_and_nothing_of_ours_is_left() {
    let world = World::new();
    let machine = &world.machine;
    let before = (machine.files(), machine.files_in_usr());

    machine.dnf(&["install", "els-register"]).succeeds();
    assert_eq!(machine.installed("els-register").as_deref(), Some(concat!(env!("CARGO_PKG_VERSION"), "-1.el9")));
    machine.rpm(&["-V", "els-register"]).succeeds();
    run(&mut machine.inside(&["els-register", "--status"])).exits(3);

    world.first_boot();
    assert_eq!(world.seats(), 1);
    let id = machine.read("/etc/dnf/vars/els_id");
    machine.rpm(&["-V", "els-register"]).succeeds();
    // The key that dnf imported to install us is the one of the updates: nothing else has to be trusted.
    machine.dnf(&["install", "example-1.0-1"]).succeeds();
    machine.dnf(&["update", "example"]).succeeds();
    assert_eq!(machine.installed("example").as_deref(), Some("1.0-2"));

    // What an upgrade puts right without asking anybody.
    fs::remove_file(machine.path("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS")).expect("the key was written");
    world.publishes(2);
    machine.dnf(&["--refresh", "upgrade", "els-register"]).succeeds().does_not_say("warning:");
    assert_eq!(machine.installed("els-register").as_deref(), Some(concat!(env!("CARGO_PKG_VERSION"), "-2.el9")));
    assert!(machine.has("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS"), "the upgrade has refreshed the shipped files");
    assert_eq!(machine.read("/etc/dnf/vars/els_id"), id, "the registration is kept");
    assert_eq!(world.seats(), 1);
    machine.rpm(&["-V", "els-register"]).succeeds();
    run(&mut machine.inside(&["els-register", "--status"])).succeeds().does_not_say("warning");

    machine.dnf(&["remove", "els-register"]).succeeds().says("the seat is free");
    assert_eq!(world.seats(), 0);
    assert_eq!((machine.files(), machine.files_in_usr()), before, "nothing of ours is left");
    machine.dnf(&["repolist"]).succeeds().does_not_say("els-updates");
    world.backend.agrees_with_itself();
}

/// Promise: package-erase
#[test]
fn erasing_it_while_the_backend_is_away_succeeds_and_says_how_to_free_the_seat() {
    let mut world = World::new();
    let before = (world.machine.files(), world.machine.files_in_usr());
    world.machine.dnf(&["install", "els-register"]).succeeds();
    world.first_boot();
    let id = world.machine.read("/etc/dnf/vars/els_id").trim().to_owned();

    world.backend.stop();
    let removed = world.machine.dnf(&["remove", "els-register"]).succeeds();
    removed.says(&format!("els-register --release {id} --key KEY")).says("on any other machine");
    assert_eq!((world.machine.files(), world.machine.files_in_usr()), before, "nothing of ours is left");

    // That command works.
    world.backend.start_again();
    assert_eq!(world.seats(), 1);
    let other = Machine::configured_for(&world.backend, &world.repository);
    other.agent(&["--release", &id, "--key", &world.key.key]).succeeds();
    assert_eq!(world.seats(), 0);
}

/// Promise: package-erase
#[test]
fn erasing_it_where_it_was_never_registered_prints_nothing_and_sends_nothing() {
    let world = World::new();
    world.machine.dnf(&["install", "els-register"]).succeeds();
    let asked = world.backend.requests().len();
    world.machine.dnf(&["remove", "els-register"]).succeeds().does_not_say("els-register:").does_not_say("registered");
    let wire = |request: &String| request.contains("/v1/");
    assert_eq!(world.backend.requests().into_iter().skip(asked).filter(wire).count(), 0);
}

/// Promise: package-life
#[test]
fn an_edited_configuration_outlives_upgrade_and_erasure() {
    let world = World::new();
    world.machine.dnf(&["install", "els-register"]).succeeds();
    let edited = world.machine.read("/etc/els-register.toml") + "label = \"edited\"\n";
    world.machine.write("/etc/els-register.toml", &edited);
    world.publishes(2);
    world.machine.dnf(&["--refresh", "upgrade", "els-register"]).succeeds();
    assert_eq!(world.machine.read("/etc/els-register.toml"), edited);
    world.machine.dnf(&["remove", "els-register"]).succeeds();
    assert_eq!(world.machine.read("/etc/els-register.toml.rpmsave"), edited);
}

/// Promise: backend-package
#[test]
fn the_backend_is_installed_with_its_user_and_taken_away() {
    let world = World::new();
    let machine = &world.machine;
    // Its program is the test's own, built for this computer.
    machine.installs_a_platform_with_glibc(99);
    let rpm = Rpm { name: "els-backend", release: 1, signed_by: &world.repository, configuration: "" };
    let (_out, file) = rpm_file(&rpm);
    world.repository.publish_in(&world.www.path().join(AGENTS), &[file]);
    let before = machine.files_in_usr();

    machine.dnf(&["--refresh", "install", "els-backend"]).succeeds();
    machine.rpm(&["-V", "els-backend"]).succeeds();
    let passwd = machine.read("/etc/passwd");
    assert!(passwd.lines().any(|line| line.starts_with("els-backend:") && line.ends_with("/nologin")), "{passwd}");
    assert_eq!(machine.mode("/var/lib/els-backend"), 0o700);
    assert_eq!(machine.mode("/etc/els-backend/serve.env"), 0o600);
    // A first command typed as root leaves a database that belongs to the service.
    let create = ["els-backend", "key", "create", "--seats", "1", "--expires", "2099-01-01"];
    run(&mut machine.inside(&create)).succeeds().says("ELS-");
    let owner = run(&mut machine.inside(&["stat", "-c", "%U %a", "/var/lib/els-backend/els.db"])).succeeds();
    owner.says("els-backend 600");
    machine.dnf(&["remove", "els-backend"]).succeeds();
    assert_eq!(machine.files_in_usr(), before);
    assert!(machine.has("/var/lib/els-backend/els.db"), "the database is the vendor's");
}

/// Promise: package-sound
#[test]
fn packages_are_signed_and_checked_only_with_sha_256() {
    let repository = Repository::shared();
    for name in ["els-register", "els-backend"] {
        let (_out, file) = rpm_file(&Rpm { name, release: 1, signed_by: &repository, configuration: "timeout = 60\n" });
        let query =
            "%{SIGMD5} %{SHA1HEADER} %{FILEDIGESTALGO} %{PAYLOADDIGESTALGO} %{RSAHEADER:pgpsig} %{SIGPGP:pgpsig}";
        let digests =
            run(std::process::Command::new(program("rpm")).args(["-qp", "--nosignature", "--qf", query]).arg(&file));
        let digests = digests.succeeds().stdout;
        assert!(digests.starts_with("(none) (none) 8 8 RSA/SHA256, "), "{digests}");
        let mut lint = std::process::Command::new(program("rpmlint"));
        lint.arg("--config").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/rpm/rpmlint.toml")).arg(&file);
        lint.arg(format!("{}/dist/rpm/{name}.spec", env!("CARGO_MANIFEST_DIR")));
        run(&mut lint).succeeds().says(" 0 errors");
    }
}

/// Promise: package-sound
#[test]
fn the_shipped_program_asks_for_no_later_glibc_than_that_of_el_8() {
    let symbols =
        run(std::process::Command::new(program("objdump")).arg("-T").arg(els_testkit::release_agent())).succeeds();
    let minors: Vec<u32> = symbols
        .stdout
        .split("GLIBC_2.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    assert!(minors.len() > 50, "{symbols}");
    assert!(minors.iter().all(|minor| *minor <= 28), "{minors:?}");
}

/// Promise: source-package
#[test]
fn a_source_package_builds_without_a_network() {
    let out = folder();
    let mut make = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/srpm"));
    let made = run(make.arg("els-register").env("OUT", out.path()).env("LEVEL", "0")).succeeds();
    // A home without a cache of crates, no network, and less optimising than it ships with: the sources are what is tried.
    let script = r#"
        ip link set lo up 2>/dev/null || :
        export CARGO_HOME=$1/cargo CARGO_NET_OFFLINE=true
        export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
        exec rpmbuild --rebuild --nodeps --quiet --define "_topdir $1/top" --define 'els_payload w1.gzdio' "$2"
    "#;
    let mut build = std::process::Command::new(program("unshare"));
    build.args(["--net", "--", "bash", "-euc", script, "bash"]).arg(out.path()).arg(made.stdout.trim());
    // Not by `run`: it may take longer than any program that tests run.
    let built = build.env_remove("RUSTC_WRAPPER").output().expect("unshare starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let package = format!("top/RPMS/x86_64/els-register-{}-1.x86_64.rpm", env!("CARGO_PKG_VERSION"));
    assert!(out.path().join(package).is_file());
}

/// Promise: make-install
#[test]
fn what_is_installed_by_hand_is_taken_away_again() {
    let place = folder();
    let root = place.path().to_str().expect("a path in UTF-8");
    let make = |task: &str| {
        let mut make = std::process::Command::new(program("make"));
        make.args(["--no-print-directory", "-C", env!("CARGO_MANIFEST_DIR"), task, &format!("DESTDIR={root}")]);
        make.args(["PREFIX=/opt/tools", "PACKAGES=els-register els-backend"]);
        make.arg(format!("agent={}", agent_program().display())).arg(format!("backend={}", agent_program().display()));
        run(&mut make)
    };
    make("install").succeeds();
    let at = |path: &str| place.path().join(path.trim_start_matches('/'));
    for path in ["/opt/tools/sbin/els-register", "/opt/tools/share/man/man8/els-backend.8", "/etc/els-register.toml"] {
        assert!(at(path).is_file(), "{path}");
    }
    run(std::process::Command::new(at("/opt/tools/sbin/els-register")).arg("--version")).succeeds();
    let unit = fs::read_to_string(at("/opt/tools/lib/systemd/system/els-register.service")).expect("the unit");
    assert!(unit.contains("ExecStart=/opt/tools/libexec/els-register/at-boot"), "{unit}");

    // An edited configuration is neither overwritten nor removed.
    fs::write(at("/etc/els-register.toml"), "timeout = 9\n").expect("a file");
    make("install").succeeds().says("kept: ");
    fs::create_dir_all(at("/etc/dnf/vars")).expect("a folder");
    fs::write(at("/etc/dnf/vars/els_token"), "").expect("a file");
    make("uninstall").fails().says("els-register --unregister");
    assert!(at("/opt/tools/sbin/els-register").is_file());
    fs::remove_file(at("/etc/dnf/vars/els_token")).expect("it is there");
    make("uninstall").succeeds().says("kept: ");
    let left = run(std::process::Command::new("find").arg(root).args([
        "-mindepth",
        "1",
        "(",
        "-type",
        "f",
        "-o",
        "-name",
        "els*",
        ")",
    ]))
    .succeeds();
    assert_eq!(left.stdout, format!("{root}/etc/els-register.toml\n"));
}
