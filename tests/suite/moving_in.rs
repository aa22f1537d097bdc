//! docs/customer/moving-in.md, carried out as it stands: its command blocks are read from the page and run on machines, with the
//! real dnf, and with the backend's own commands.

use std::fs;
use std::process::Command;

use els_testkit::{Backend, Machine, Repository, Run, backend_program, folder, run};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/customer/moving-in.md");
const KEY_FILE: &str = "/root/els.key";

/// The blocks of commands below a heading of the page.
fn blocks(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(PAGE).expect("the page");
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = rest.split("\n## ").next().expect("a first part");
    let block = |text: &str| text.split("\n```").next().expect("a first part").to_owned();
    section.split("\n```sh\n").skip(1).map(block).collect()
}

/// Runs a block inside a machine, as root, until the first command that fails.
fn types(machine: &Machine, block: &str) -> Run {
    run(&mut machine.inside(&["sh", "-euxc", block]))
}

fn machine(backend: &Backend, repository: &Repository, key: &str) -> Machine {
    let machine = Machine::configured_for(backend, repository);
    machine.install_units();
    machine.write(KEY_FILE, key);
    machine
}

/// Installs the distribution's repo files from its own package.
fn install_distribution(machine: &Machine, repository: &Repository) {
    let package = "almalinux-repos-1.0-1.noarch.rpm";
    let place = repository.root().join("almalinux/9/BaseOS/x86_64/os").join(package);
    fs::copy(place, machine.path("/tmp").join(package)).expect("the package");
    machine.rpm(&["--import", "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9"]).succeeds();
    machine.rpm(&["--install", &format!("/tmp/{package}")]).succeeds();
}

/// Promise: moving-in
#[test]
fn a_host_of_another_vendor_moves_over_without_a_trace_of_the_old_one() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = machine(&backend, &repository, &key.key);
    install_distribution(&machine, &repository);
    let baseos = "/etc/yum.repos.d/almalinux-baseos.repo";
    let original = machine.read(baseos);
    // As its client leaves a host: a token, sections of its own, the distribution's rewritten.
    let theirs = "http://127.0.0.1:1/$tuxcare_token/";
    machine.write("/etc/dnf/vars/tuxcare_token", "their-token\n");
    machine.write("/etc/yum.repos.d/tuxcare.repo", &format!("[tuxcare-els]\nname=x\nenabled=1\nbaseurl={theirs}\n"));
    machine.write(baseos, &original.replace("http://127.0.0.1:1/", theirs));
    assert_ne!(machine.read(baseos), original);

    let [first, second] = blocks("From TuxCare").try_into().expect("two blocks");
    types(&machine, &first).succeeds().says("tuxcare-els").says("Metadata cache created").does_not_say(&key.key);
    assert!(machine.has("/etc/dnf/vars/tuxcare_token"), "both stand side by side");
    assert_eq!(backend.seats(&key).len(), 1);

    types(&machine, &second).succeeds();
    assert_eq!(machine.read(baseos), original, "the distribution's file is as its package has it");
    machine.rpm(&["--verify", "almalinux-repos"]).succeeds();
    let left: Vec<String> = machine.files().into_iter().filter(|file| file.contains("tuxcare")).collect();
    assert_eq!(left, [""; 0]);
    machine.agent_inside(&["--key-file", KEY_FILE]).succeeds().does_not_say("neither ELS nor the distribution's");
    // Again: nothing is left to do, and nothing breaks.
    types(&machine, &second).succeeds();
    assert_eq!(machine.read(baseos), original);
}

/// Promise: moving-in
#[test]
fn keys_from_elsewhere_are_imported_from_a_list_and_again_after_a_break() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let [block] = blocks("Keys from elsewhere").try_into().expect("one block");
    let place = folder();
    let line = |contract: &str, key: &str, seats: u32| format!("{contract},{key},{seats},2099-12-31\n");
    let keys = ["5f1c9a7e-old-vendor-key-0001", "TXC-0123456789-ABCDEFGHIJ"];
    let import = |list: &str| {
        fs::write(place.path().join("keys.csv"), list).expect("the list");
        // The program by its name, and with the database of this backend.
        let script = format!("els-backend() {{ \"$BACKEND\" \"$@\" --database \"$DATABASE\"; }}\n{block}");
        let mut command = Command::new("bash");
        command.args(["-euc", &script]).current_dir(place.path());
        command.env("BACKEND", backend_program()).env("DATABASE", backend.database());
        run(&mut command)
    };
    import(&line("C-1", keys[0], 1)).succeeds();
    import(&(line("C-1", keys[0], 1) + &line("C-2", keys[1], 2))).succeeds();
    let listed = backend.ask(&["key", "list"]);
    assert_eq!(listed.as_array().or(listed["keys"].as_array()).expect("a list").len(), 2, "{listed}");

    for key in keys {
        let machine = machine(&backend, &repository, key);
        machine.agent(&["--key", key]).succeeds();
        machine.dnf(&["install", "example"]).succeeds();
    }
    // Another number of seats for a contract that is there is told, and stops the list.
    import(&line("C-1", keys[0], 5)).fails();
}

/// Promise: moving-in
#[test]
fn after_a_major_upgrade_the_key_for_the_new_release_takes_over_and_the_old_seat_is_free() {
    let repository = Repository::shared();
    let both = repository.copy();
    let release = |number: &str| both.path().join("almalinux").join(number);
    run(Command::new("cp").arg("-a").args([release("9"), release("8")])).succeeds();
    let backend = Backend::with_repository(both.path());
    let [old, new] = ["almalinux-8-els", "almalinux-9-els"]
        .map(|product| backend.key_with(&["--product", product, "--seats", "1", "--expires", "2099-12-31"]));
    let machine = machine(&backend, &repository, &new.key);
    let nine = machine.read("/etc/os-release");
    machine.write("/etc/os-release", &nine.replace("9.6", "8.10"));
    machine.write("/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux", &repository.distribution_key());
    machine.registers(&old.key);
    assert!(machine.read("/etc/yum.repos.d/els.repo").contains("almalinux/8/"));

    // The system that leapp builds: dnf.conf and the repo files, and none of the variables.
    let upgrading = Machine::configured_for(&backend, &repository);
    upgrading.write("/etc/yum.repos.d/els.repo", &machine.read("/etc/yum.repos.d/els.repo"));
    upgrading.write("/etc/yum.repos.d/target.repo", "[target]\nname=x\nbaseurl=file:///opt/target\ngpgcheck=0\n");
    let packages = both.path().join("almalinux/9/BaseOS/x86_64/os");
    run(Command::new("cp").arg("-a").args([packages, upgrading.path("/opt/target")])).succeeds();
    upgrading.dnf(&["install", "mirrored"]).succeeds().says("Ignoring repositories: els-");

    machine.write("/etc/os-release", &nine);
    machine.agent_inside(&["--status"]).succeeds().says("AlmaLinux 8");
    let [block] = blocks("A major upgrade with leapp").try_into().expect("one block");
    types(&machine, &block).succeeds().says("AlmaLinux 9");
    assert!(machine.read("/etc/yum.repos.d/els.repo").contains("almalinux/9/"));
    assert_eq!((backend.seats(&old).len(), backend.seats(&new).len()), (0, 1));
    machine.dnf(&["install", "example"]).succeeds();
}

/// Promise: moving-in
#[test]
fn where_the_distributions_repositories_are_gone_dnf_goes_on_with_the_mirrors() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = machine(&backend, &repository, &key.key);
    install_distribution(&machine, &repository);
    machine.registers(&key.key);
    machine.dnf(&["install", "mirrored"]).fails().says("baseos");

    let [block] = blocks("The day the distribution's own repositories are switched off").try_into().expect("one block");
    types(&machine, &block).succeeds();
    machine.dnf(&["install", "mirrored"]).succeeds();
    machine.agent_inside(&["--status"]).succeeds();
}
