//! The units, under the real systemd as PID 1: a machine that is switched on with a key registers by itself, one without
//! a key is left alone, and one that is powered off for the last time releases its seat.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use els_testkit::{Backend, Booted, Key, Machine, Repository, Settings, program, run, wait_until};

const KEY_FILE: &str = "/etc/els-register.key";
const SERVICE: &str = "els-register.service";
const RETRY: &str = "els-register-retry.timer";
const RELEASE: &str = "els-register-release.service";

/// A server whose image brought the package along.
fn server(backend: &Backend, repository: &Repository) -> Machine {
    let machine = Machine::configured_for(backend, repository);
    machine.install_units();
    machine
}

fn put_key(machine: &Machine, key: &Key, mode: u32) {
    machine.write(KEY_FILE, &format!("{}\n", key.key));
    fs::set_permissions(machine.path(KEY_FILE), fs::Permissions::from_mode(mode)).expect("the mode of the key file");
}

/// A clone of the disk. systemd makes a machine id for it at its first boot, as in an image that was prepared well.
fn clone_of(machine: &Machine) -> Machine {
    let clone = Machine::new();
    run(Command::new(program("cp")).arg("-a").arg(machine.root().join(".")).arg(clone.root())).succeeds();
    clone.write("/etc/machine-id", "");
    clone
}

fn is_registered(machine: &Machine) -> bool {
    machine.has("/var/lib/els-register/registration.json") && machine.has("/etc/yum.repos.d/els.repo")
}

#[track_caller]
fn nothing_failed(booted: &Booted<'_>) {
    assert_eq!(booted.failed(), "", "{}", booted.journal());
    assert_eq!(booted.state(RETRY), "inactive");
}

/// Promise: first-boot
#[test]
fn a_key_file_registers_at_the_first_boot_and_is_gone_afterwards() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = server(&backend, &repository);
    put_key(&machine, &key, 0o600);

    let booted = machine.boots();
    nothing_failed(&booted);
    assert!(is_registered(&machine), "{}", booted.journal());
    assert!(!machine.has(KEY_FILE), "the key is still there");
    assert!(machine.waited_for_the_network());
    let journal = booted.journal();
    assert!(!journal.contains(&key.key), "the key is in the journal");
    assert!(!journal.contains("others could read"), "{journal}");
    // The sandbox takes nothing away that registering needs, and the agent's own second wall stands in it.
    assert!(!journal.contains("warning"), "{journal}");
    assert_eq!(backend.seats(&key).len(), 1);
    assert_eq!(machine.asks_the_gate(), "200");
    machine.dnf(&["install", "example"]).succeeds();
    booted.goes_down_by("reboot.target");

    // From then on a boot costs nothing: nobody is asked, the network is not waited for.
    let requests = backend.requests().len();
    let booted = machine.boots();
    nothing_failed(&booted);
    assert!(!machine.waited_for_the_network());
    assert_eq!(backend.requests().len(), requests);
}

/// Promise: first-boot-no-key
#[test]
fn without_a_key_no_unit_fails_and_nothing_is_sent() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let machine = server(&backend, &repository);
    let before = machine.files();

    let booted = machine.boots();
    nothing_failed(&booted);
    assert_eq!(booted.state(SERVICE), "inactive");
    assert!(booted.journal().contains("not registered, and no key here"), "{}", booted.journal());
    assert!(!machine.waited_for_the_network());
    assert_eq!(backend.requests(), [""; 0]);
    let new: Vec<String> = machine.files().into_iter().filter(|file| !before.contains(file)).collect();
    assert!(!new.iter().any(|file| file.contains("els")), "{new:?}");

    // What the package's preset says.
    booted.run(&["systemctl", "disable", SERVICE]).succeeds();
    booted.run(&["systemctl", "preset", SERVICE, RELEASE]).succeeds();
    booted.run(&["systemctl", "is-enabled", SERVICE]).succeeds().says("enabled");
    booted.run(&["systemctl", "is-enabled", RELEASE]).fails().says("disabled");

    // As systemd understands the timer: each pause is longer than the one before, up to an hour, and it never ends.
    let mut moments: Vec<u64> = Vec::new();
    for line in booted.property(RETRY, "TimersMonotonic").lines() {
        let (_, spec) = line.split_once("{ ").expect("a timer in braces");
        let (name, rest) = spec.split_once('=').expect("a name and a value");
        let seconds = seconds(rest.split(" ;").next().expect("a span of time"));
        match name {
            "OnActiveUSec" => moments.push(seconds),
            "OnUnitInactiveUSec" => assert_eq!(seconds, 3600),
            other => panic!("{other} was not expected"),
        }
    }
    moments.sort_unstable();
    let pauses: Vec<u64> = std::iter::once(&0).chain(&moments).zip(&moments).map(|(from, to)| to - from).collect();
    assert!(pauses.len() >= 5 && pauses[0] <= 60, "{pauses:?}");
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]) && pauses.iter().all(|pause| *pause < 3600), "{pauses:?}");
}

/// systemd's way to write a span: `1h 1min 30s`.
fn seconds(span: &str) -> u64 {
    let part = |word: &str| {
        let digits = word.trim_end_matches(char::is_alphabetic);
        let unit = match &word[digits.len()..] {
            "h" => 3600,
            "min" => 60,
            "s" => 1,
            other => panic!("{other}: no unit of time"),
        };
        digits.parse::<u64>().expect("a number") * unit
    };
    span.split_whitespace().map(part).sum()
}

/// Promise: first-boot-credential
#[test]
fn a_key_comes_as_a_credential_of_the_machine_or_from_the_store_of_credentials() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(2);

    // As a container manager hands it to PID 1; SMBIOS takes the same way from there on.
    let machine = server(&backend, &repository);
    machine.write("/opt/credentials/els.key", &key.key);
    let credentials = ["CREDENTIALS_DIRECTORY=/opt/credentials"];
    let booted = machine.boots_with(&credentials);
    nothing_failed(&booted);
    assert!(is_registered(&machine), "{}", booted.journal());
    assert!(!booted.journal().contains(&key.key), "the key is in the journal");
    assert!(machine.waited_for_the_network());
    booted.goes_down_by("reboot.target");

    // The credential stays, and is used again only where there is something to do.
    let requests = backend.requests().len();
    let booted = machine.boots_with(&credentials);
    nothing_failed(&booted);
    assert_eq!(backend.requests().len(), requests);
    assert!(!machine.waited_for_the_network());
    booted.run(&["rm", "/etc/dnf/vars/els_url"]).succeeds();
    booted.run(&["systemctl", "start", SERVICE]).succeeds();
    assert!(machine.has("/etc/dnf/vars/els_url"), "the damage is healed");
    drop(booted);

    let machine = server(&backend, &repository);
    machine.write("/etc/credstore/els.key", &key.key);
    let booted = machine.boots();
    nothing_failed(&booted);
    assert!(is_registered(&machine), "{}", booted.journal());
    assert_eq!(backend.seats(&key).len(), 2);
}

/// Promise: first-boot-retry
#[test]
fn a_backend_that_is_down_at_first_is_tried_again_until_it_answers() {
    let repository = Repository::shared();
    let mut backend = Settings::default().repository(&repository.root()).lasting_port().start();
    let key = backend.key(1);
    let machine = server(&backend, &repository);
    machine.configure(backend.url(), "timeout = 1");
    put_key(&machine, &key, 0o600);
    // The shipped pauses, but short; how they grow is tried where they are read.
    let pauses = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnActiveSec=3s\nOnUnitInactiveSec=4s\nRandomizedDelaySec=0\n";
    machine.write(&format!("/etc/systemd/system/{RETRY}.d/short.conf"), pauses);
    backend.stop();

    let booted = machine.boots();
    // The boot has ended, with a unit that says what is the matter.
    assert!(booted.failed().contains(SERVICE), "{}", booted.failed());
    assert_eq!(booted.state(RETRY), "active");
    assert!(booted.journal().contains("run the same command again"), "{}", booted.journal());
    assert!(machine.has(KEY_FILE), "the key is needed again");
    let attempts = || booted.journal().matches("Starting els-register.service").count();
    wait_until("two more attempts", || attempts() >= 3);
    assert!(!is_registered(&machine));

    backend.start_again();
    wait_until("the registration", || is_registered(&machine) && !machine.has(KEY_FILE));
    wait_until("the end of the attempts", || booted.state(RETRY) == "inactive");
    nothing_failed(&booted);
    assert_eq!(backend.seats(&key).len(), 1);
}

/// Promise: first-boot-retry
#[test]
fn a_key_that_is_refused_fails_the_unit_and_is_kept() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    backend.command(&["key", "suspend", &key.id]).succeeds();
    let machine = server(&backend, &repository);
    put_key(&machine, &key, 0o644);

    let booted = machine.boots();
    assert!(booted.failed().contains(SERVICE), "{}", booted.failed());
    assert_eq!(booted.property(SERVICE, "ExecMainStatus"), "5");
    let journal = booted.journal();
    assert!(journal.contains("suspended"), "{journal}");
    assert!(journal.contains("has mode 644: others could read the key"), "{journal}");
    assert!(machine.has(KEY_FILE));

    backend.command(&["key", "resume", &key.id]).succeeds();
    booted.run(&["systemctl", "start", SERVICE]).succeeds();
    nothing_failed(&booted);
    assert!(is_registered(&machine) && !machine.has(KEY_FILE));
}

/// Promise: first-boot-clones
#[test]
fn an_image_with_a_key_makes_machines_of_their_own_also_if_somebody_registered_in_it() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(5);

    // As it should be: a key in the image, no registration, no machine id.
    let image = server(&backend, &repository);
    put_key(&image, &key, 0o600);
    for seats in [1, 2] {
        let machine = clone_of(&image);
        let booted = machine.boots();
        nothing_failed(&booted);
        assert!(is_registered(&machine) && !machine.has(KEY_FILE));
        assert_eq!(backend.seats(&key).len(), seats);
    }

    // As it should not be: registered in the image, whose seat is then held by nobody that will ever run.
    let image_registration = image.registers(&key.key)["id"].as_str().expect("an id").to_owned();
    let with_key = clone_of(&image);
    let booted = with_key.boots();
    nothing_failed(&booted);
    assert!(booted.journal().contains(&format!("--release {image_registration}")), "{}", booted.journal());
    assert!(!with_key.has(KEY_FILE));
    with_key.agent_inside(&["--status"]).succeeds();
    assert_eq!(backend.seats(&key).len(), 4, "the clone has a seat of its own, and the image keeps its own");

    // Without a key the copy is told apart, and nothing happens to the original's seat.
    fs::remove_file(image.path(KEY_FILE)).expect("the key file");
    let without_key = clone_of(&image);
    let booted = without_key.boots();
    nothing_failed(&booted);
    assert!(booted.journal().contains("damaged or a copy, and no key here"), "{}", booted.journal());
    drop(booted);
    without_key.agent(&["--status", "--offline"]).exits(10).says("copy");
    assert_eq!(backend.seats(&key).len(), 4);

    // What the image took is freed from anywhere.
    image.agent(&["--release", &image_registration, "--key", &key.key]).succeeds();
    assert_eq!(backend.seats(&key).len(), 3);
}

/// Promise: poweroff-release
#[test]
fn only_poweroff_and_halt_release_the_seat() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = server(&backend, &repository);
    machine.enable(RELEASE);
    machine.registers(&key.key);

    for target in ["reboot.target", "kexec.target"] {
        machine.boots().goes_down_by(target);
        assert_eq!(backend.seats(&key).len(), 1, "{target}");
        assert!(is_registered(&machine), "{target}");
    }
    let booted = machine.boots();
    booted.run(&["systemctl", "restart", RELEASE]).succeeds();
    assert_eq!(backend.seats(&key).len(), 1, "a restart of the service is not a shutdown");
    drop(booted);
    for target in ["poweroff.target", "halt.target"] {
        machine.boots().goes_down_by(target);
        assert_eq!(backend.seats(&key).len(), 0, "{target}\n{}", machine.journal());
        assert!(!is_registered(&machine), "{target}");
        assert!(machine.journal().contains(&format!("{target}: releasing the seat")));
        machine.registers(&key.key);
    }
}

/// Promise: poweroff-release
#[test]
fn a_machine_that_must_not_release_its_seat_keeps_it_when_it_is_powered_off() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = server(&backend, &repository);
    machine.registers(&key.key);
    machine.boots().goes_down_by("poweroff.target");
    assert_eq!(backend.seats(&key).len(), 1);
    assert!(is_registered(&machine));
}

/// Promise: poweroff-release
#[test]
fn a_backend_that_is_down_at_poweroff_does_not_hold_the_machine_up_and_the_next_boot_goes_on() {
    let repository = Repository::shared();
    let mut backend = Settings::default().repository(&repository.root()).lasting_port().start();
    let key = backend.key(1);
    let machine = server(&backend, &repository);
    machine.configure(backend.url(), "timeout = 1");
    machine.enable(RELEASE);
    machine.registers(&key.key);
    let booted = machine.boots();
    backend.stop();
    booted.goes_down_by("poweroff.target");
    assert!(is_registered(&machine), "nothing has changed");
    backend.start_again();
    assert_eq!(backend.seats(&key).len(), 1);
    nothing_failed(&machine.boots());
    machine.agent(&["--status"]).succeeds();
}
