//! The agent and what it is given: arguments, keys, configuration, files of the system. Bad input gets a clear error and
//! changes nothing.

use std::os::unix::fs::PermissionsExt;

use els_testkit::scripted::Scripted;
use els_testkit::{Machine, Run, run, run_with_input};

const KEY: &str = "TEST-KEY-0001";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// Runs the agent as an ordinary user.
fn as_nobody(machine: &Machine, arguments: &[&str]) -> Run {
    run(&mut machine.agent_command_as_nobody(arguments))
}

/// Promise: usage-errors
/// Promise: help-complete
/// Promise: json-one-document
#[test]
fn wrong_usage_is_exit_2_and_json_where_json_was_asked_for() {
    let machine = Machine::new();
    for arguments in
        [&[][..], &["--status", "--unregister"], &["--stat"], &["--timeout", "x", "--status"], &["--status", "--force"]]
    {
        machine.agent(arguments).exits(2);
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let run = machine.agent(&with_json).exits(2);
        assert_eq!(run.json()["error"]["code"], "usage", "{run}");
        assert_eq!(run.json()["schema"], 1, "{run}");
        assert!(run.stderr.is_empty(), "{run}");
    }
    machine.agent(&["--help"]).succeeds().says("visible to others");
    machine.agent(&["--version"]).succeeds().says(&format!("els-register {}\n", env!("CARGO_PKG_VERSION")));
}

/// Promise: key-mistyped
#[test]
fn a_malformed_key_is_named_before_anything_is_sent_and_never_repeated() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    for (key, words) in [
        ("abc", "at least 8"),
        ("ELS-00000-00000-00000-00000-00001", "mistyped"),
        ("ELS\u{2013}00000-00000", "Unicode dash"),
        ("ELS-\u{ff10}0000-00000", "full-width"),
        ("ELS-00000\u{200b}-00000", "zero-width"),
        (" ", "empty"),
    ] {
        let run = machine.agent(&["--key", key]).exits(2).says(words);
        assert!(key.len() < 4 || !run.text().contains(key), "{run}");
    }
    assert!(server.requests().is_empty());
}

/// Promise: key-sources
#[test]
fn a_key_comes_from_the_first_source_that_is_named_even_if_it_is_empty() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("els.key"), "CREDENTIAL-KEY\n").unwrap();
    std::fs::write(folder.path().join("file"), "\u{a0} FILE-KEY-01 \n").unwrap();
    let file = folder.path().join("file");
    let file = file.to_str().unwrap();
    let sent = || server.requests().iter().rev().find(|request| request.method == "PUT").unwrap().json()["key"].clone();
    let command = |arguments: &[&str]| {
        let mut command = machine.agent_command(arguments);
        command.env("CREDENTIALS_DIRECTORY", folder.path());
        command
    };
    run(&mut command(&["--register"])).succeeds();
    assert_eq!(sent(), "CREDENTIAL-KEY");
    run(command(&["--register"]).env("ELS_LICENSE_KEY", "ENVIRONMENT-KEY")).succeeds();
    assert_eq!(sent(), "ENVIRONMENT-KEY");
    run(command(&["--key-file", file]).env("ELS_LICENSE_KEY", "ENVIRONMENT-KEY")).succeeds();
    assert_eq!(sent(), "FILE-KEY-01");
    run_with_input(&mut command(&["--key-file", "-"]), Some("STDIN-KEY-1\n")).succeeds();
    assert_eq!(sent(), "STDIN-KEY-1");

    let count = server.requests().len();
    run(command(&["--register"]).env("ELS_LICENSE_KEY", "")).exits(2).says("ELS_LICENSE_KEY");
    run(&mut command(&["--key-file", "/nonexistent/key"])).exits(2).says("/nonexistent/key");
    run_with_input(&mut command(&["--key-file", "-"]), Some("\n")).exits(2).says("empty");
    std::fs::write(folder.path().join("els.key"), "").unwrap();
    run(&mut command(&["--register"])).exits(2).says("empty");
    machine.agent(&["--register"]).exits(2).says("ELS_LICENSE_KEY");
    assert_eq!(server.requests().len(), count);
}

/// Promise: root-needed
/// Promise: report-content
/// Promise: status-without-root
#[test]
fn ordinary_users_may_look_but_not_change() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    for arguments in [&["--key", KEY][..], &["--refresh"], &["--unregister"], &["--register", "--dry-run"]] {
        let run = as_nobody(&machine, arguments).exits(4).says("root");
        assert!(!run.text().contains(KEY));
    }
    machine.registers(KEY);
    as_nobody(&machine, &["--status"]).succeeds().says("not run by root");
    let run = as_nobody(&machine, &["--status", "--json"]).succeeds();
    assert_eq!(run.json()["state"], "registered", "{run}");
    as_nobody(&machine, &["--report"]).succeeds().says("registration");
    as_nobody(&machine, &["--eula"]).succeeds();
    // With a proxy's password in it, the configuration is root's alone.
    let configuration = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(machine.path("/etc/els-register.toml"), configuration).unwrap();
    as_nobody(&machine, &["--status"]).succeeds();
    as_nobody(&machine, &["--release", "1b4e28ba-2fa1-41d2-883f-0016d3cca427", "--key", KEY]).succeeds();
}

/// Promise: root-option
/// Promise: config-errors
/// Promise: https-only
#[test]
fn a_wrong_configuration_is_named_by_file_line_and_key() {
    let machine = Machine::new();
    for (text, words) in [
        ("server = \"els.example.com\"\n", "server"),
        ("server = \"http://els.example.com\"\n", "https"),
        ("servre = \"https://els.example.com\"\n", "servre"),
        ("timeout = 0\n", "timeout"),
        ("timeout = \"60\"\n", "timeout"),
        ("ca_file = \"/nonexistent.pem\"\nserver = \"https://x\"\n", "/nonexistent.pem"),
        ("proxy = \"socks6://user:hunter2@x:1\"\nserver = \"https://x\"\n", "SCHEME is http, https, socks4"),
        ("server = \"https://x\nproxy = \"http://user:hunter2@x\"\n", "line 1"),
        ("server = \"https://x\"\ngpg_key = \"/etc/os-release\"\n", "gpg_key"),
        ("server = \"https://x\"\nlabel = \"\"\n", "label"),
    ] {
        machine.write("/etc/els-register.toml", text);
        let run = machine.agent(&["--key", KEY, "--timeout", "1"]);
        assert!(run.code == Some(2) || words == "timeout", "{text}{run}");
        let run = machine.agent(&["--key", KEY]).exits(2).says("/etc/els-register.toml").says(words);
        assert!(!run.text().contains("hunter2"), "{run}");
    }
    machine.write("/etc/els-register.toml", "proxy = \"http://user:hunter2@x\"\nserver = 1\n");
    machine.agent(&["--report"]).succeeds().says("line 2").says("system        almalinux").does_not_say("hunter2");
    std::fs::remove_file(machine.path("/etc/els-register.toml")).unwrap();
    machine.agent(&["--key", KEY]).exits(2).says("server = \"https://").says("--server");
    machine.agent(&["--key", KEY, "--config", "/nonexistent.toml"]).exits(2).says("/nonexistent.toml");
    machine.agent(&["--key", KEY, "--server", "http://192.0.2.1"]).exits(2).says("https");
    machine
        .agent(&["--key", KEY, "--server", "https://192.0.2.1", "--proxy", "socks6://a:hunter2@b"])
        .exits(2)
        .does_not_say("hunter2");
}

/// Promise: register-unsupported
/// Promise: ids-as-system
#[test]
fn a_system_that_is_not_supported_is_said_to_be() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    std::fs::remove_file(machine.path("/usr/bin/dnf")).unwrap();
    let run = machine.agent(&["--key", KEY, "--json"]).exits(8);
    assert_eq!(run.json()["error"]["code"], "unsupported-system");
    for name in ["/usr/bin/microdnf", "/usr/bin/dnf-3"] {
        machine.write(name, "");
        machine.agent(&["--key", KEY]).succeeds();
        std::fs::remove_file(machine.path(name)).unwrap();
    }

    let machine = machine_of(&server);
    machine.write("/etc/os-release", "NAME=x\n");
    machine.agent(&["--key", KEY]).exits(8).says("/etc/os-release");
    let machine = machine_of(&server);
    machine.write("/etc/machine-id", "not an id\n");
    machine.agent(&["--key", KEY]).exits(2).says("/etc/machine-id").says("systemd-machine-id-setup");
    let machine = machine_of(&server);
    std::fs::write(machine.path("/etc/os-release"), [0xff, 0xfe, 0x00]).unwrap();
    machine.agent(&["--key", KEY]).exits(1).says("/etc/os-release");
}

/// Promise: label
#[test]
fn the_label_is_sent_only_when_it_is_given_and_the_host_name_only_when_it_is_asked_for() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let label =
        || server.requests().iter().rev().find(|request| request.method == "PUT").unwrap().json()["label"].clone();
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(label(), serde_json::Value::Null);
    machine.agent(&["--key", KEY, "--label", "web 1"]).succeeds();
    assert_eq!(label(), "web 1");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    machine.agent(&["--key", KEY, "--label", "%H/a"]).succeeds();
    assert_eq!(label(), format!("{}/a", host.trim()));
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\nlabel = \"of the file\"\n", server.url()));
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!(label(), "of the file");
    machine.agent(&["--key", KEY, "--label", "a\nb"]).exits(2).says("control");
}

/// Promise: dry-run
#[test]
fn dry_run_sends_and_writes_nothing_and_hides_what_is_secret() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let before = machine.files();
    let run = machine.agent(&["--key", KEY, "--dry-run", "--json"]).succeeds();
    let document = run.json();
    assert_eq!(document["request"]["method"], "PUT", "{run}");
    assert_eq!(document["request"]["body"]["key"], "<redacted>", "{run}");
    assert!(document["request"]["url"].as_str().unwrap().contains("<example: "), "{run}");
    assert_eq!(document["changed"], true);
    assert!(run.text().contains("<from the backend>") && !run.text().contains(KEY), "{run}");
    machine
        .agent(&["--key", KEY, "--dry-run"])
        .succeeds()
        .says("would write /etc/dnf/vars/els_token")
        .does_not_say(KEY);
    machine.agent(&["--unregister", "--dry-run"]).succeeds();
    machine.agent(&["--refresh", "--dry-run"]).exits(3);
    assert_eq!(machine.files(), before);
    assert!(server.requests().is_empty());

    machine.registers(KEY);
    let (files, count) = (machine.files(), server.requests().len());
    let token = machine.read("/etc/dnf/vars/els_token");
    for arguments in [
        &["--key", KEY, "--dry-run", "--json"][..],
        &["--refresh", "--dry-run", "--json"],
        &["--unregister", "--dry-run", "--json"],
    ] {
        let run = machine.agent(arguments).succeeds().does_not_say(token.trim()).does_not_say(KEY);
        assert_eq!(run.json()["changed"], arguments[0] == "--unregister", "{run}");
    }
    assert_eq!((machine.files(), server.requests().len()), (files, count));
}

/// Promise: no-secret-shown
/// Promise: report-content
#[test]
fn no_secret_is_printed_whatever_is_done() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let key = "SECRET-KEY-0001";
    let mut text = String::new();
    let mut agent = |arguments: &[&str]| text.push_str(&machine.agent(arguments).text());
    agent(&["--key", key, "-v"]);
    let token = machine.read("/etc/dnf/vars/els_token").trim().replace("elst_password=", "");
    for arguments in [
        &["--key", key, "-v"][..],
        &["--status", "-v"],
        &["--report"],
        &["--report", "--json"],
        &["--refresh", "-v", "--json"],
        &["--seats", "--key", key],
        &["--key", key, "--proxy", "http://user:hunter2@127.0.0.1:1", "--timeout", "1"],
        &["--unregister", "-v"],
    ] {
        agent(arguments);
    }
    for secret in [key, token.as_str(), "hunter2"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    for file in machine.files() {
        let content = std::fs::read(machine.path(&file)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&content).contains(key), "{file} holds the key");
    }
}

/// Promise: dnf-conf-read
#[test]
fn a_dnf_conf_that_dnf_refuses_is_named_with_its_line() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.write("/etc/dnf/dnf.conf", "gpgcheck=1\n[main]\n");
    machine.dnf(&["repolist"]).fails();
    machine.agent(&["--key", KEY]).exits(2).says("/etc/dnf/dnf.conf: line 1").says("no dnf command works");
    machine.agent(&["--report"]).succeeds().says("/etc/dnf/dnf.conf: line 1");
    assert!(server.requests().is_empty());
}
