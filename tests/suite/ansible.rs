//! The Ansible role, run by the real ansible-core on a machine: twice the same, without a change in check mode, back again,
//! and the license key where nobody sees it.

use std::process::Command;

use serde_json::{Value, json};

use els_testkit::{Backend, Key, Machine, Repository, Run, program, run};

/// The role.
const ROLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ansible/roles");
/// The shipped playbook.
const PLAYBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/examples/playbook.yml");

/// A machine that ansible is run on, as `ansible-pull` does. `els_register_package` is a package of a repository that the
/// machine has: any will do, since the program itself lies in /usr/sbin already.
fn machine(backend: &Backend, repository: &Repository) -> Machine {
    let machine = Machine::configured_for(backend, repository);
    machine.install_units();
    let copy = |from: &str, to: &str| {
        let to = machine.path(to);
        std::fs::create_dir_all(&to).expect("a folder");
        run(Command::new(program("cp")).args(["-R", from]).arg(to)).succeeds();
    };
    copy(ROLES, "/root");
    let packages = repository.root().join("almalinux/9/updates/x86_64");
    copy(packages.to_str().expect("a path in UTF-8"), "/opt/vendor");
    machine.write(
        "/etc/yum.repos.d/vendor.repo",
        "[vendor]\nname=The vendor's public repository\nbaseurl=file:///opt/vendor/x86_64\ngpgcheck=1\n\
         gpgkey=file:///etc/pki/els/RPM-GPG-KEY-TEST\n",
    );
    let playbook = std::fs::read_to_string(PLAYBOOK).expect("the playbook");
    machine.write("/root/playbook.yml", &playbook);
    machine.write("/root/inventory", "[els]\nlocalhost ansible_connection=local\n");
    machine.write("/root/ansible.cfg", "[defaults]\nroles_path = /root/roles\n");
    machine
}

/// Variables that go over those of the playbook.
fn variables(machine: &Machine, backend: &Backend, key: &Key, more: &Value) {
    let mut variables = json!({
        "els_register_key": key.key,
        "els_register_package": "example",
        "els_register_settings": {
            "server": backend.url(), "ca_file": "/etc/pki/els/ca.pem", "gpg_key": "/etc/pki/els/RPM-GPG-KEY-TEST",
            "label": "a \"label\"", "timeout": 30,
        },
        "ansible_become": false,
    });
    for (name, value) in more.as_object().expect("an object") {
        variables[name] = value.clone();
    }
    machine.write("/root/variables.json", &variables.to_string());
}

/// What a run of the playbook did, by ansible's own count.
struct Played {
    run: Run,
    changed: u64,
    failed: u64,
}

fn play(machine: &Machine, arguments: &[&str]) -> Played {
    let line = [
        &["env", "ANSIBLE_CONFIG=/root/ansible.cfg"][..],
        &["ansible-playbook", "-vvv", "-i", "/root/inventory", "-e", "@/root/variables.json", "/root/playbook.yml"],
        arguments,
    ];
    let run = run(&mut machine.inside(&line.concat()));
    let recap = run.stdout.lines().rev().find(|line| line.contains("changed=")).unwrap_or_else(|| panic!("{run}"));
    let count = |name: &str| {
        let value = recap.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {recap}"))
    };
    let (changed, failed) = (count("changed"), count("failed"));
    Played { run, changed, failed }
}

/// Promise: ansible-idempotent
#[test]
fn the_role_registers_once_changes_nothing_the_second_time_and_unregisters() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = machine(&backend, &repository);
    let before = machine.files();

    // Check mode on a machine where all is still to be done: it says so, and does none of it.
    variables(&machine, &backend, &key, &json!({}));
    let old_configuration = machine.read("/etc/els-register.toml");
    let played = play(&machine, &["--check"]);
    assert!(played.changed > 0 && played.failed == 0, "{}", played.run);
    assert_eq!((machine.files(), machine.installed("example")), (before.clone(), None));
    assert_eq!(machine.read("/etc/els-register.toml"), old_configuration);
    assert_eq!(backend.requests(), [""; 0]);

    let played = play(&machine, &[]);
    assert!(played.changed > 0 && played.failed == 0, "{}", played.run);
    assert_eq!(backend.seats(&key).len(), 1);
    assert_eq!(backend.seats(&key)[0]["label"], "a \"label\"");
    assert_eq!(machine.installed("example").as_deref(), Some("1.0-2"));
    assert_eq!(machine.mode("/etc/els-register.toml"), 0o644);
    machine.agent(&["--status"]).succeeds();
    let all = played.run.text();
    assert!(!all.contains(&key.key), "the key is in what ansible prints");

    for arguments in [&[][..], &["--check"]] {
        let played = play(&machine, arguments);
        assert_eq!((played.changed, played.failed), (0, 0), "{arguments:?}\n{}", played.run);
    }
    // Damage is repaired, and check mode only reports it.
    std::fs::remove_file(machine.path("/etc/dnf/vars/els_url")).expect("the variable");
    assert_eq!(play(&machine, &["--check"]).changed, 1);
    assert!(!machine.has("/etc/dnf/vars/els_url"));
    assert_eq!(play(&machine, &[]).changed, 1);
    assert!(machine.has("/etc/dnf/vars/els_url"));

    variables(&machine, &backend, &key, &json!({"els_register_state": "absent"}));
    let played = play(&machine, &["--check"]);
    assert_eq!((played.changed, played.failed), (1, 0), "{}", played.run);
    assert_eq!(backend.seats(&key).len(), 1);
    let played = play(&machine, &[]);
    assert_eq!((played.changed, played.failed), (1, 0), "{}", played.run);
    assert_eq!(backend.seats(&key).len(), 0);
    assert_eq!(play(&machine, &[]).changed, 0);
    backend.agrees_with_itself();
}

/// Promise: ansible-key
#[test]
fn the_key_is_in_no_argument_and_no_environment_of_any_process_and_in_no_file() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = machine(&backend, &repository);
    let more = json!({"els_register_package": "", "ansible_log_path": "/root/ansible.log"});
    variables(&machine, &backend, &key, &more);
    let line = ["strace", "--seccomp-bpf", "-f", "-v", "-s", "65536", "-e", "trace=execve", "-o", "/root/trace", "env"];
    let settings = ["ANSIBLE_CONFIG=/root/ansible.cfg", "ANSIBLE_LOG_PATH=/root/ansible.log"];
    let playbook = ["-vvv", "-i", "/root/inventory", "-e", "@/root/variables.json", "/root/playbook.yml"];
    // dnf's gpgme leaves gpg-agents behind, and strace waits for every process that it watches.
    let ends_agents = "\"$@\"; status=$?; for home in /var/cache/dnf/*/pubring; do gpgconf --homedir \"$home\" --kill all; done; \
                       exit $status";
    let shell = ["sh", "-c", ends_agents, "sh", "ansible-playbook"];
    run(&mut machine.inside(&[&line[..], &settings, &shell, &playbook].concat())).succeeds();

    assert_eq!(backend.seats(&key).len(), 1);
    let trace = machine.read("/root/trace");
    assert!(trace.contains("\"--key-file\", \"-\""), "els-register was not among the processes that were watched");
    assert!(!trace.contains(&key.key), "the key is an argument or in the environment of a process");
    // Whose file it is, anyhow.
    std::fs::remove_file(machine.path("/root/variables.json")).expect("the variables");
    let found = run(Command::new(program("grep")).args(["-rlF", &key.key]).arg(machine.root()));
    assert_eq!(found.stdout, "", "the key is in files");
}

/// Promise: ansible-key
#[test]
fn the_message_of_els_register_is_shown_although_its_task_is_hidden() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    backend.command(&["key", "suspend", &key.id]).succeeds();
    let machine = machine(&backend, &repository);
    variables(&machine, &backend, &key, &json!({"els_register_package": ""}));
    let played = play(&machine, &[]);
    assert_eq!(played.failed, 1, "{}", played.run);
    played.run.says("key-suspended, exit 5").does_not_say(&key.key);

    variables(&machine, &backend, &Key { id: String::new(), key: String::new() }, &json!({}));
    play(&machine, &[]).run.fails().says("els_register_key is empty");
    // In Japanese: the role's own messages. What els-register answered is in English, as its JSON is.
    let no_key = Key { id: String::new(), key: String::new() };
    variables(&machine, &backend, &no_key, &json!({"els_register_language": "ja"}));
    play(&machine, &[]).run.fails().says("els_register_keyが空です");
    variables(&machine, &backend, &key, &json!({"els_register_package": "", "els_register_language": "ja"}));
    play(&machine, &[]).run.fails().says("els-registerが失敗しました").says("key-suspended, 終了ステータス 5");
    variables(&machine, &backend, &key, &json!({"els_register_state": "gone"}));
    play(&machine, &[]).run.fails().says("els_register_state").does_not_say(&key.key);
}
