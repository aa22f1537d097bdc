//! The agent and the readers of what it prints: people at a terminal, pipes, scripts that want JSON, and signals.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use els_testkit::scripted::{Answer, Scripted, problem};
use els_testkit::{Machine, Run, agent_program, program, run, wait_until};

const KEY: &str = "TEST-KEY-0001";
const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// Runs a shell's line in which `$AGENT` is the agent on this machine.
fn in_shell(machine: &Machine, line: &str) -> Run {
    let mut command = Command::new(program("bash"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-c", line]);
    run(command.env("AGENT", format!("{} --root {}", agent_program().display(), machine.root().display())))
}

/// One document that keeps to the shape of the contract, and nothing else on standard output.
#[track_caller]
fn document(run: &Run) -> Value {
    assert_eq!(run.stdout.lines().count(), 1, "{run}");
    let document = run.json();
    assert_eq!(document["schema"], 1, "{run}");
    assert_eq!(document["result"], if run.code == Some(0) { "ok" } else { "error" }, "{run}");
    assert_eq!(document["error"].is_null(), run.code == Some(0), "{run}");
    assert!(document["warnings"].is_array(), "{run}");
    let known = [
        "schema",
        "action",
        "result",
        "state",
        "changed",
        "registration",
        "seats",
        "registrations",
        "repository",
        "request",
        "files",
        "text",
        "warnings",
        "error",
    ];
    for (name, value) in document.as_object().expect("an object") {
        assert!(known.contains(&name.as_str()) && !value.is_null(), "{name}: {run}");
    }
    document
}

/// Promise: json-one-document
#[test]
fn json_is_one_document_on_every_way_out() {
    let server = Scripted::backend(|request| {
        (request.method == "GET" && request.path.starts_with("/v1/seats")).then(|| {
            els_testkit::scripted::answer(
                200,
                &json!({
                    "key_id": "k", "product": {"id": "p", "name": "P"}, "expires": "2099-12-31T23:59:59Z",
                    "seats": {"total": 1, "used": 0}, "registrations": [],
                }),
            )
        })
    });
    let refusing = Scripted::backend(|request| request.path.starts_with("/v1").then(|| problem(403, "key-revoked")));
    let refuse = refusing.url();
    let machine = machine_of(&server);
    for (arguments, exit, state) in [
        (&["--help"][..], 0, None),
        (&["--version"], 0, None),
        (&["--eula"], 0, None),
        (&["--report"], 0, None),
        (&[], 2, None),
        (&["--kye"], 2, None),
        (&["--key", KEY, "--timeout", "soon"], 2, None),
        (&["--key", KEY, "--config", "/nonexistent"], 2, None),
        (&["--key", "short"], 2, None),
        (&["--status"], 3, Some("not-registered")),
        (&["--status", "--offline"], 3, Some("not-registered")),
        (&["--refresh"], 3, Some("not-registered")),
        (&["--unregister"], 0, Some("not-registered")),
        (&["--key", KEY, "--server", &refuse], 5, Some("not-registered")),
        (&["--key", KEY, "--dry-run"], 0, Some("not-registered")),
        (&["--key", KEY, "-v"], 0, Some("registered")),
        (&["--key", KEY, "-q"], 0, Some("registered")),
        (&["--status"], 0, Some("registered")),
        (&["--status", "--offline"], 0, Some("registered")),
        (&["--status", "--server", &refuse], 11, Some("refused")),
        (&["--refresh", "--server", &refuse], 11, Some("refused")),
        (&["--refresh"], 0, Some("registered")),
        (&["--refresh", "--offline"], 0, Some("registered")),
        (&["--refresh", "--dry-run"], 0, Some("registered")),
        (&["--unregister", "--server", &refuse], 5, Some("registered")),
        (&["--unregister", "--dry-run"], 0, Some("registered")),
        (&["--report"], 0, None),
        (&["--seats", "--key", KEY], 0, None),
        (&["--seats"], 2, None),
        (&["--seats", "--key", KEY, "--server", &refuse], 5, None),
        (&["--release", ID, "--key", KEY], 0, None),
        (&["--release", "1", "--key", KEY], 2, None),
        (&["--release", ID, "--key", KEY, "--server", &refuse], 5, None),
        (&["--unregister"], 0, Some("not-registered")),
    ] {
        // Progress, with `-v`, is for people: it stays on standard error.
        let run = machine.agent(&[arguments, &["--json"]].concat()).exits(exit);
        if !arguments.contains(&"-v") {
            assert!(run.stderr.is_empty(), "{run}");
        }
        assert_eq!(document(&run)["state"].as_str(), state, "{arguments:?}: {run}");
    }
}

/// Promise: root-needed
/// Promise: json-one-document
#[test]
fn json_is_one_document_for_an_ordinary_user_too() {
    let machine = Machine::new();
    for (arguments, exit) in
        [(&["--key", KEY][..], 4), (&["--refresh"], 4), (&["--unregister"], 4), (&["--status"], 3), (&["--report"], 0)]
    {
        let run = run(&mut machine.agent_command_as_nobody(&[arguments, &["--json"]].concat())).exits(exit);
        let document = document(&run);
        assert_eq!(document["error"]["code"] == "not-root", exit == 4, "{run}");
    }
}

/// Promise: output-streams
/// Promise: error-content
#[test]
fn results_go_to_standard_output_and_all_else_to_standard_error() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let run = machine.agent(&["--key", KEY, "-v"]).succeeds();
    assert!(
        run.stdout.starts_with("Registered.\n")
            && run.stdout.contains("dnf -y --repo='els-*' makecache, then dnf update"),
        "{run}"
    );
    assert!(run.stderr.contains("probing") && !run.stdout.contains("probing"), "{run}");
    let run = machine.agent(&["--key", KEY, "-q"]).succeeds();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = machine.agent(&["--status", "-q", "--server", "https://127.0.0.1:1", "--timeout", "1"]).exits(7);
    assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{run}");
    // What fails says what to type next, and whom to ask.
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\nsupport = \"els@example.com\"\n", server.url()));
    machine.agent(&["--key", "short"]).exits(2).says("copy the key again").says("support: els@example.com");
}

/// Promise: output-plain
#[test]
fn colours_are_only_for_terminals_and_no_color_switches_them_off() {
    let machine = Machine::new();
    let at_a_terminal =
        |before: &str| in_shell(&machine, &format!("{before} script -qec \"$AGENT --status\" /dev/null"));
    assert!(at_a_terminal("").exits(3).text().contains("\u{1b}[1;31merror:\u{1b}[0m"));
    assert!(!at_a_terminal("NO_COLOR=1").exits(3).text().contains('\u{1b}'));
    assert!(!in_shell(&machine, "$AGENT --status").exits(3).text().contains('\u{1b}'));
}

/// Promise: output-full-disk
#[test]
fn a_full_disk_behind_the_output_is_a_failure_and_a_closed_pipe_is_not() {
    let machine = Machine::new();
    for action in ["--eula", "--report", "--help", "--unregister --json"] {
        in_shell(&machine, &format!("$AGENT {action} >/dev/full")).exits(1).says("standard output");
        in_shell(&machine, &format!("set -o pipefail; $AGENT {action} | true")).succeeds();
        in_shell(&machine, &format!("$AGENT {action} >&- 2>&-")).succeeds();
    }
    // The exit code of what went wrong first goes before that of the output.
    in_shell(&machine, "$AGENT --status --json >/dev/full").exits(3);
}

/// Promise: signals
#[test]
fn interrupt_and_terminate_end_it_by_that_signal_and_the_next_run_goes_on() {
    let server = Scripted::backend(|_| None);
    let silent = Scripted::backend(|request| (request.method == "PUT").then_some(Answer::Silence));
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let machine = machine_of(&server);
        let agent = machine.agent_command(&["--key", KEY, "--server", &silent.url()]);
        // Whoever starts the tests in the background has them ignore SIGINT, and whatever they start.
        let mut command = Command::new(program("env"));
        command.env_clear().envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--default-signal=INT,TERM"]).arg(agent.get_program()).args(agent.get_args());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the journal is there", || machine.has("/var/lib/els-register/pending.json"));
        std::thread::sleep(Duration::from_millis(100));
        // The shell's own: a machine may have no program of that name.
        run(Command::new(program("sh")).args(["-c", &format!("kill -{signal} {}", child.id())])).succeeds();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number));
        machine.agent(&["--key", KEY]).succeeds();
        assert!(!machine.has("/var/lib/els-register/pending.json"));
    }
}

/// Promise: root-option
/// Promise: json-paths
#[test]
fn the_root_may_be_named_relative_to_where_one_stands_and_must_be_a_folder() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let name = machine.root().file_name().unwrap().to_owned();
    let mut command = Command::new(agent_program());
    command.current_dir(machine.root().parent().unwrap()).arg("--root").arg(name).args(["--key", KEY, "--json"]);
    let document = run(&mut command).succeeds().json();
    assert!(machine.has("/etc/yum.repos.d/els.repo"));
    for file in document["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        assert!(path.starts_with("/etc/") || path.starts_with("/var/lib/els-register/"), "{path}: without the root");
    }
    let file = machine.path("/etc/os-release");
    for wrong in ["/nonexistent/root", "", file.to_str().unwrap()] {
        run(Command::new(agent_program()).args(["--root", wrong, "--status"])).exits(2).says("--root");
    }
}

/// Promise: help-complete
#[test]
fn help_names_every_option_and_exit_code() {
    let machine = Machine::new();
    let help = machine.agent(&["--help"]).succeeds().stdout;
    for option in [
        "--key",
        "--label",
        "--register",
        "--refresh",
        "--offline",
        "--unregister",
        "--force",
        "--status",
        "--seats",
        "--release",
        "--report",
        "--eula",
        "--key-file",
        "--moved",
        "--dry-run",
        "--json",
        "--server",
        "--config",
        "--ca-file",
        "--proxy",
        "--timeout",
        "--root",
        "-q",
        "-v",
        "--version",
        "--help",
    ] {
        assert!(help.contains(option), "{option}");
    }
    for code in 0..=11 {
        assert!(help.lines().any(|line| format!("{line} ").contains(&format!(" {code}  "))), "{code}\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "fits a terminal");
    let eula = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/EULA.txt")).unwrap();
    assert_eq!(machine.agent(&["--eula"]).succeeds().stdout.trim(), eula.trim());
}
