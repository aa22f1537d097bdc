//! The main promise: a machine that registers gets packages from the real dnf, through the gate, with every signature
//! checked; one that unregisters gets none, and its seat is free.

use els_testkit::{Backend, Machine, Repository};

/// What registering writes. The state's folder stays behind empty or not at all.
const WRITTEN: [&str; 7] = [
    "/etc/yum.repos.d/els.repo",
    "/etc/dnf/vars/els_url",
    "/etc/dnf/vars/els_id",
    "/etc/dnf/vars/els_token",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS",
    "/var/lib/els-register/registration.json",
    "/var/lib/els-register/pending.json",
];

/// Promise: register-dnf-works
#[test]
fn a_customer_registers_installs_updates_and_unregisters() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    let before = machine.files();

    machine.agent(&["--key", &key.key]).succeeds();
    assert_eq!(backend.seats(&key).len(), 1);
    assert_eq!(machine.mode("/etc/dnf/vars/els_token"), 0o600);
    assert_eq!(machine.mode("/etc/yum.repos.d/els.repo"), 0o644);

    machine.dnf(&["install", "example-1.0-1"]).succeeds();
    assert_eq!(machine.installed("example").as_deref(), Some("1.0-1"));
    assert_eq!(machine.read("/opt/example/release"), "1.0-1\n");
    machine.dnf(&["update"]).succeeds();
    assert_eq!(machine.installed("example").as_deref(), Some("1.0-2"));
    machine.dnf(&["repolist"]).succeeds().says("els-updates").says("els-baseos").does_not_say("els-crb");

    machine.agent(&["--unregister"]).succeeds();
    machine.dnf(&["repolist", "--all"]).succeeds().does_not_say("els-");
    machine.dnf(&["reinstall", "example"]).fails();
    assert_eq!(machine.installed("example").as_deref(), Some("1.0-2"), "installed packages stay");
    for path in WRITTEN {
        assert!(!machine.has(path), "{path} is still there");
    }
    assert_eq!(machine.files(), before, "nothing else has appeared or gone");
    assert_eq!(backend.seats(&key).len(), 0);
    backend.agrees_with_itself();
}

/// Promise: network-trust
#[test]
fn where_it_is_installed_the_agent_uses_the_real_paths_and_the_trust_of_the_system_and_has_nothing_to_warn_of() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    let configuration = machine.read("/etc/els-register.toml");
    let without_ca: Vec<&str> = configuration.lines().filter(|line| !line.starts_with("ca_file")).collect();
    machine.write("/etc/els-register.toml", &(without_ca.join("\n") + "\n"));

    machine.agent_inside_as_nobody(&["--key", &key.key]).exits(4).says("root").does_not_say(&key.key);
    machine.agent_inside(&["--key", &key.key]).succeeds().does_not_say("warning").does_not_say(&key.key);
    machine.agent_inside(&["--status"]).succeeds().does_not_say("warning");
    // Without root, status asks nobody, and says so.
    machine.agent_inside_as_nobody(&["--status"]).succeeds().says("not run by root");
    machine.dnf(&["install", "example"]).succeeds();
    machine.agent_inside(&["--unregister"]).succeeds();
    assert_eq!(backend.seats(&key).len(), 0);
}

/// Promise: files-shipped-repos
#[test]
fn mirrored_packages_need_the_key_of_the_distribution_and_both_keys_are_imported() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&backend.key(1).key);

    machine.dnf(&["install", "mirrored"]).succeeds();
    assert_eq!(machine.installed("mirrored").as_deref(), Some("1.0-1"));
    let keys = machine.rpm(&["-q", "gpg-pubkey", "--queryformat", "%{PACKAGER}\n"]).succeeds();
    keys.says("els@example.com").says("distribution@example.com");
}

/// Promise: files-signatures
#[test]
fn packages_with_another_signature_or_none_are_refused() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&backend.key(1).key);

    for package in ["forged", "unsigned"] {
        // It is there to be had, and its metadata are good: only its own signature is in the way.
        machine.dnf(&["repoquery", package]).succeeds().says(&format!("{package}-0:1.0-1.noarch"));
        machine.dnf(&["install", package]).fails().says("GPG check FAILED");
        assert_eq!(machine.installed(package), None);
    }
}

/// Promise: files-signatures
#[test]
fn metadata_signed_by_a_stranger_are_refused_and_the_other_sections_go_on() {
    let repository = Repository::shared();
    let forged = repository.with_forged_metadata("els-updates");
    let backend = Backend::with_repository(forged.path());
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&backend.key(1).key);

    machine.dnf(&["install", "example"]).fails().says("Ignoring repositories: els-updates");
    assert_eq!(machine.installed("example"), None);
    machine.dnf(&["install", "mirrored"]).succeeds();
}
