//! The agent and the files of the machine: what it writes and with which mode, what it keeps, what it will not touch.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use els_testkit::scripted::Scripted;
use els_testkit::{Machine, agent_program, program, run};

const KEY: &str = "TEST-KEY-0001";
const REPO: &str = "/etc/yum.repos.d/els.repo";
const TOKEN: &str = "/etc/dnf/vars/els_token";
const STATE: &str = "/var/lib/els-register/registration.json";
const SHIPPED: &str = include_str!("../../dist/repo-files/els-almalinux-9.repo");
const SHIPPED_KEY: &str = include_str!("../../dist/gpg/RPM-GPG-KEY-ELS");

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// Runs the agent with a shell's help: limits, umask, mounts.
fn in_shell(machine: &Machine, script: &str, arguments: &[&str]) -> els_testkit::Run {
    let mut command = Command::new(program("unshare"));
    command.args(["--mount", "sh", "-c", &format!("{script}; exec \"$@\""), "sh"]);
    command.arg(agent_program()).arg("--root").arg(machine.root()).args(arguments);
    run(command.env("MACHINE", machine.root()))
}

/// Promise: unregister-cleans
/// Promise: ids-token-form
/// Promise: files-and-modes
#[test]
fn the_files_are_those_of_the_contract_with_their_modes_whatever_the_umask() {
    for umask in ["000", "022", "077", "277"] {
        let server = Scripted::backend(|_| None);
        let machine = machine_of(&server);
        let before = machine.files();
        in_shell(&machine, &format!("umask {umask}"), &["--key", KEY]).succeeds();
        for (path, mode) in [
            (REPO, 0o644),
            ("/etc/dnf/vars/els_url", 0o644),
            ("/etc/dnf/vars/els_id", 0o644),
            (TOKEN, 0o600),
            ("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS", 0o644),
            (STATE, 0o644),
        ] {
            assert_eq!(machine.mode(path), mode, "{path} under umask {umask}");
        }
        assert_eq!(machine.mode("/var/lib/els-register"), 0o755);
        assert_eq!(machine.files().len(), before.len() + 6, "{:?}", machine.files());
        assert_eq!(machine.read(REPO), SHIPPED, "the repo file is the shipped one, unchanged");
        assert_eq!(machine.read("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS"), SHIPPED_KEY);
        assert_eq!(machine.read("/etc/dnf/vars/els_url"), format!("{}/repo\n", server.url()));
        assert!(machine.read(TOKEN).starts_with("elst_password="));
        let secret = machine.read(TOKEN);
        assert!(!machine.read(STATE).contains(secret.trim()), "no secret in the state");
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(machine.files(), before);
        assert!(!machine.has("/var/lib/els-register"), "the folder goes too");
    }
}

/// Promise: register-repairs
/// Promise: refresh
/// Promise: status-damage
#[test]
fn what_is_missing_or_altered_is_damage_and_is_repaired_by_refresh_and_by_register() {
    for action in [&["--refresh", "--json"][..], &["--key", KEY, "--json"]] {
        for path in [REPO, "/etc/dnf/vars/els_url", "/etc/dnf/vars/els_id", "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS"] {
            let server = Scripted::backend(|_| None);
            let machine = machine_of(&server);
            machine.registers(KEY);
            std::fs::remove_file(machine.path(path)).unwrap();
            let status = machine.agent(&["--status", "--json"]).exits(10);
            assert_eq!(status.json()["state"], "damaged", "{path}: {status}");
            let file =
                status.json()["files"].as_array().unwrap().iter().find(|file| file["path"] == path).cloned().unwrap();
            assert_eq!(file["state"], "missing");
            let run = machine.agent(action).succeeds();
            assert_eq!(run.json()["changed"], true, "{path}: {run}");
            machine.agent(&["--status"]).succeeds();
            if path != REPO {
                machine.write(path, "altered\n");
                machine.agent(&["--status"]).exits(10).says("altered");
                machine.agent(action).succeeds();
                machine.agent(&["--status"]).succeeds();
            }
            assert_eq!(machine.agent(action).succeeds().json()["changed"], false);
        }
    }
}

/// Promise: status-damage
#[test]
fn a_token_that_others_can_read_is_damage() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    std::fs::set_permissions(machine.path(TOKEN), std::fs::Permissions::from_mode(0o644)).unwrap();
    machine.agent(&["--status", "--offline"]).exits(10).says(TOKEN);
    machine.agent(&["--refresh"]).succeeds();
    assert_eq!(machine.mode(TOKEN), 0o600);
}

/// Promise: status-damage
/// Promise: files-edited-repo
#[test]
fn a_repo_file_that_the_administrator_edited_is_kept() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let edited = SHIPPED.replace("enabled=0", "enabled=1");
    machine.write(REPO, &edited);
    machine.agent(&["--status"]).succeeds();
    for action in [&["--key", KEY][..], &["--refresh"], &["--refresh", "--offline"]] {
        machine.agent(action).succeeds().says("edited");
        assert_eq!(machine.read(REPO), edited);
        assert!(!machine.has("/etc/yum.repos.d/els.repo.els-new"), "the shipped one has not changed");
    }
    // The variables change: the edited file goes aside and comes back.
    machine.write("/etc/dnf/vars/els_url", "https://elsewhere\n");
    machine.agent(&["--refresh"]).succeeds();
    assert_eq!(machine.read(REPO), edited);
    machine.agent(&["--unregister"]).succeeds().says("els-save");
    assert_eq!(machine.read("/etc/yum.repos.d/els.repo.els-save"), edited);
    assert!(!machine.has(REPO));
}

/// Promise: files-edited-repo
#[test]
fn where_the_shipped_file_has_changed_it_is_put_beside_an_edited_one_once() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    // An earlier version had shipped another file: the state says so.
    let mut state: serde_json::Value = serde_json::from_str(&machine.read(STATE)).unwrap();
    state["files"][REPO] = "0".repeat(64).into();
    machine.write(STATE, &state.to_string());
    machine.write(REPO, "# mine\n[els-updates]\nenabled=0\n");
    let run = machine.agent(&["--refresh", "--offline", "--json"]).succeeds();
    assert!(run.text().contains("els.repo.els-new"), "{run}");
    assert_eq!(machine.read("/etc/yum.repos.d/els.repo.els-new"), SHIPPED);
    std::fs::remove_file(machine.path("/etc/yum.repos.d/els.repo.els-new")).unwrap();
    machine.agent(&["--refresh"]).succeeds();
    assert!(!machine.has("/etc/yum.repos.d/els.repo.els-new"), "offered once");
    // The same, and the administrator takes it up.
    state["files"][REPO] = "0".repeat(64).into();
    machine.write(STATE, &state.to_string());
    machine.agent(&["--refresh"]).succeeds();
    machine.write(REPO, SHIPPED);
    machine.agent(&["--refresh"]).succeeds().does_not_say("edited");
    assert!(!machine.has("/etc/yum.repos.d/els.repo.els-new"));
}

/// Promise: refresh-offline
#[test]
fn a_shipped_file_of_an_earlier_version_is_replaced_offline() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    let count = server.requests().len();
    let old = "# shipped once\n[els-updates]\n";
    let hash = run(Command::new(program("sha256sum")).arg({
        machine.write(REPO, old);
        machine.path(REPO)
    }))
    .succeeds()
    .stdout[..64]
        .to_owned();
    let mut state: serde_json::Value = serde_json::from_str(&machine.read(STATE)).unwrap();
    state["files"][REPO] = hash.into();
    machine.write(STATE, &state.to_string());
    machine.agent(&["--refresh", "--offline"]).succeeds();
    assert_eq!(machine.read(REPO), SHIPPED);
    assert_eq!(server.requests().len(), count, "offline asks nobody");
    machine.agent(&["--status", "--offline"]).succeeds();
}

/// Promise: files-edited-repo
#[test]
fn a_repo_file_and_a_key_that_are_not_ours_are_moved_aside_at_the_first_registration() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.write(REPO, "[mine]\nbaseurl=file:///x\nenabled=0\n");
    machine.write("/etc/yum.repos.d/els.repo.els-save", "saved earlier\n");
    machine.write("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS", "another key\n");
    machine.agent(&["--key", KEY]).succeeds().says("not ours");
    assert_eq!(machine.read(REPO), SHIPPED);
    assert_eq!(machine.read("/etc/yum.repos.d/els.repo.els-save"), "saved earlier\n");
    assert_eq!(machine.read("/etc/yum.repos.d/els.repo.els-save.1"), "[mine]\nbaseurl=file:///x\nenabled=0\n");
    assert_eq!(machine.read("/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS.els-save"), "another key\n");
    machine.agent(&["--unregister"]).succeeds();
    assert!(machine.has("/etc/yum.repos.d/els.repo.els-save.1"));
}

/// Promise: refresh-offline
/// Promise: files-order
#[test]
fn the_repositories_stay_off_while_the_credential_is_not_whole() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    std::fs::remove_file(machine.path(REPO)).unwrap();
    machine.write("/etc/dnf/vars/els_id", "altered\n");
    machine.agent(&["--refresh", "--offline"]).exits(10);
    assert!(!machine.has(REPO));
    machine.agent(&["--refresh"]).succeeds();
    assert!(machine.has(REPO));
}

/// Promise: register-folders-first
/// Promise: files-links
#[test]
fn nothing_is_written_through_a_symbolic_link() {
    for path in ["/etc/yum.repos.d", "/etc/dnf/vars", REPO, TOKEN, "/var/lib/els-register", STATE, "/etc/pki/rpm-gpg"] {
        let server = Scripted::backend(|_| None);
        let machine = machine_of(&server);
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        let place = machine.path(path);
        if path.ends_with(".repo") || path.ends_with("token") || path.ends_with(".json") {
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&target, "precious\n").unwrap();
        } else {
            if place.exists() {
                std::fs::rename(&place, &target).unwrap();
            } else {
                std::fs::create_dir_all(&target).unwrap();
            }
        }
        symlink(&target, &place).unwrap();
        let count = |folder: &std::path::Path| std::fs::read_dir(folder).map(|entries| entries.count()).unwrap_or(0);
        let before = count(&target);
        machine.agent(&["--key", KEY]).exits(1).says("symbolic link").says(path);
        assert!(server.requests().is_empty(), "{path}: found before anything was asked");
        assert_eq!(count(&target), before, "{path}");
        if target.is_file() {
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious\n");
        }
    }
}

/// Promise: root-option
/// Promise: files-links
#[test]
fn links_may_be_read_but_never_lead_out_of_the_root() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.write("/usr/lib/os-release", &machine.read("/etc/os-release"));
    std::fs::remove_file(machine.path("/etc/os-release")).unwrap();
    symlink("../../../../../usr/lib/os-release", machine.path("/etc/os-release")).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), "00112233445566778899aabbccddeeff\n").unwrap();
    std::fs::remove_file(machine.path("/etc/machine-id")).unwrap();
    symlink(outside.path(), machine.path("/etc/machine-id")).unwrap();
    machine.agent(&["--key", KEY]).succeeds();
    let state: serde_json::Value = serde_json::from_str(&machine.read(STATE)).unwrap();
    assert_eq!(state["machine_is_random"], true, "the file outside was not read");
}

/// Promise: register-folders-first
#[test]
fn a_folder_a_pipe_or_a_device_in_the_way_is_an_error_and_not_a_wait() {
    for path in [REPO, TOKEN, STATE, "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS"] {
        for make in ["mkdir", "mkfifo"] {
            let server = Scripted::backend(|_| None);
            let machine = machine_of(&server);
            std::fs::create_dir_all(machine.path(path).parent().unwrap()).unwrap();
            run(Command::new(program(make)).arg(machine.path(path))).succeeds();
            machine.agent(&["--key", KEY]).exits(1).says(path);
            assert!(server.requests().is_empty(), "{path}");
        }
    }
    let machine = Machine::new();
    run(Command::new(program("mkfifo")).arg(machine.path("/etc/els-register.toml"))).succeeds();
    machine.agent(&["--refresh"]).exits(2).says("/etc/els-register.toml");
    machine.agent(&["--status"]).exits(3).says("/etc/els-register.toml");
}

/// Promise: register-folders-first
#[test]
fn a_read_only_or_full_file_system_is_noticed_before_a_seat_is_taken() {
    for (folder, mount, words) in [
        ("/etc/yum.repos.d", "mount -t tmpfs -o ro x", "Read-only file system"),
        ("/etc/dnf", "mount -t tmpfs -o ro x", "Read-only file system"),
        ("/etc/dnf/vars", "mount -t tmpfs -o ro x", "Read-only file system"),
        ("/etc/pki/rpm-gpg", "mount -t tmpfs -o nr_inodes=1 x", "No space left on device"),
        ("/var", "mount -t tmpfs -o ro x", "Read-only file system"),
    ] {
        let server = Scripted::backend(|_| None);
        let machine = machine_of(&server);
        let script = format!("{mount} \"$MACHINE{folder}\"");
        let run = in_shell(&machine, &script, &["--key", KEY, "--json"]).exits(1).says(words).says(folder);
        assert_eq!(run.json()["error"]["code"], "io", "{run}");
        assert!(server.requests().is_empty(), "{folder}: {:?}", server.log());
    }
}

/// Promise: register-folders-first
#[test]
fn a_folder_of_variables_on_a_mount_of_its_own_works() {
    let server = Scripted::backend(|_| None);
    // A file system of its own, and a second mount of the same one: neither takes a rename from the folder above.
    for mount in ["mount -t tmpfs x", "mount --bind \"$MACHINE/srv\""] {
        let machine = machine_of(&server);
        std::fs::create_dir_all(machine.path("/srv")).unwrap();
        let script = format!("mkdir -p \"$MACHINE/etc/dnf/vars\"; {mount} \"$MACHINE/etc/dnf/vars\"");
        in_shell(&machine, &script, &["--key", KEY]).succeeds();
        if mount.contains("bind") {
            let mut names: Vec<_> =
                std::fs::read_dir(machine.path("/srv")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["els_id", "els_token", "els_url"]);
        }
    }
}

/// Promise: files-links
#[test]
fn the_folder_that_is_a_link_is_named() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    std::fs::rename(machine.path("/var/lib"), machine.path("/var/lib-real")).unwrap();
    symlink("lib-real", machine.path("/var/lib")).unwrap();
    machine.agent(&["--key", KEY]).exits(1).says("/var/lib is a symbolic link");
    assert!(server.requests().is_empty());
}

/// Promise: files-leftovers
#[test]
fn leftovers_of_a_run_that_was_killed_are_swept_and_nothing_else_is() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    for folder in ["/etc/yum.repos.d", "/etc/dnf", "/etc/pki/rpm-gpg", "/var/lib/els-register"] {
        machine.write(&format!("{folder}/.els-0123456789abcdef"), "elst_password=left over\n");
    }
    machine.write("/etc/yum.repos.d/.elsewhere", "not ours\n");
    machine.agent(&["--key", KEY]).succeeds();
    let left: Vec<String> = machine.files().into_iter().filter(|path| path.contains("/.els-")).collect();
    assert_eq!(left, [""; 0]);
    assert!(machine.has("/etc/yum.repos.d/.elsewhere"));
}

/// Promise: files-selinux
#[test]
fn written_files_take_the_selinux_label_of_their_folder() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let label = b"system_u:object_r:system_conf_t:s0\0";
    xattr::set(machine.path("/etc/yum.repos.d"), "security.selinux", label).unwrap();
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(xattr::get(machine.path(REPO), "security.selinux").unwrap().as_deref(), Some(&label[..]));
    assert_eq!(xattr::get(machine.path(TOKEN), "security.selinux").unwrap(), None);
}

/// Promise: lock
#[test]
fn a_lock_that_is_held_is_waited_for_and_then_named() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.write("/run/els-register.lock", "");
    let lock = machine.path("/run/els-register.lock");
    let mut holder = Command::new(program("flock"));
    let mut holder = holder.arg(&lock).args(["sleep", "4"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let run = machine.agent(&["--key", KEY, "--timeout", "1", "--json"]).exits(9);
    assert_eq!(run.json()["error"]["code"], "locked");
    machine.agent(&["--status"]).exits(3);
    machine.agent(&["--key", KEY, "--timeout", "30"]).succeeds();
    holder.wait().unwrap();
    assert!(!machine.has("/run/els-register.lock"));
}

/// Promise: lock
#[test]
fn two_at_once_take_turns_and_one_seat() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let children: Vec<_> = (0..4).map(|_| machine.agent_command(&["--key", KEY, "-q"]).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut ids: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.method == "PUT")
        .map(|request| request.id().to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

/// Promise: files-confined
#[test]
fn the_agent_gives_up_what_it_does_not_need_and_older_kernels_do_not_stop_it() {
    let strace = |machine: &Machine, file: &std::path::Path, inject: &[&str], arguments: &[&str]| {
        let mut command = Command::new(program("strace"));
        command.args(["-f", "-qq", "-e", "trace=prctl,setrlimit,prlimit64,/landlock", "-o"]).arg(file).args(inject);
        run(command.arg(agent_program()).arg("--root").arg(machine.root()).args(arguments))
    };
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    strace(&machine, &trace, &[], &["--key", KEY]).succeeds();
    let text = std::fs::read_to_string(&trace).unwrap();
    for call in
        ["PR_SET_NO_NEW_PRIVS, 1", "PR_SET_DUMPABLE, SUID_DUMP_DISABLE", "RLIMIT_CORE", "landlock_restrict_self("]
    {
        assert!(text.contains(call), "{call} in {text}");
    }
    machine.agent(&["--unregister"]).succeeds();
    // No Landlock at all; and its first version, which would refuse the renames of staged files.
    for inject in ["inject=landlock_create_ruleset:error=ENOSYS", "inject=landlock_create_ruleset:retval=1:when=1"] {
        let before = machine.files();
        let run = strace(&machine, &trace, &["-e", inject], &["--key", KEY, "-v"]).succeeds();
        assert!(run.stderr.contains("Landlock: not available"), "{run}");
        strace(&machine, &trace, &["-e", inject], &["--unregister"]).succeeds();
        assert_eq!(machine.files(), before);
    }
}

/// Promise: unregister-cleans
#[test]
fn folders_that_registering_made_go_again() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    for folder in ["/etc/yum.repos.d", "/etc/pki/rpm-gpg"] {
        std::fs::remove_dir(machine.path(folder)).unwrap();
    }
    machine.agent(&["--key", KEY]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
    for folder in ["/etc/yum.repos.d", "/etc/pki/rpm-gpg", "/var/lib/els-register"] {
        assert!(!machine.has(folder), "{folder}");
    }
    assert!(machine.has("/etc/pki") && machine.has("/var/lib"));
}
