//! What the agent costs and touches: its size, its memory, the programs it starts (none), the requests it makes (two).

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use els_testkit::{Backend, Machine, Repository, folder, program, release_agent, run};

const MEGABYTE: u64 = 1_000_000;
/// The limits that README promises.
const LARGEST_PROGRAM: u64 = 2_500_000;
const MOST_MEMORY: u64 = 8 * MEGABYTE;
const MOST_SYSTEM_CALLS: u64 = 600;

/// What strace saw of one run of the agent.
struct Trace {
    /// The most memory that was resident at any time, in bytes.
    memory: u64,
    /// The programs that were started, the agent itself first.
    programs: Vec<String>,
    /// How often each address was connected to.
    connections: BTreeMap<String, u32>,
}

/// Runs the shipped agent on a machine under strace. It is held for a moment before it exits, so that the kernel can be
/// asked how much memory it had at its peak (VmHWM of proc(5); what wait4(2) returns includes the peak of the process that forked).
#[track_caller]
fn trace(machine: &Machine, arguments: &[&str]) -> Trace {
    let place = folder();
    let file = place.path().join("trace");
    let mut command = Command::new(program("strace"));
    command.args(["-f", "-qq", "-s", "4096", "-e", "trace=execve,connect,exit_group", "-e", "signal=none"]);
    command.args(["-e", "inject=exit_group:delay_enter=300ms", "-o"]).arg(&file);
    command.arg(release_agent()).arg("--root").arg(machine.root()).args(arguments);
    let watched = file.clone();
    let watcher = thread::spawn(move || {
        let process = loop {
            let text = fs::read_to_string(&watched).unwrap_or_default();
            if let Some((process, _)) = text.split_once(' ') {
                break process.to_owned();
            }
            thread::sleep(Duration::from_millis(1));
        };
        let mut peak = 0;
        while let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) {
            let line =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
            peak = peak.max(line.map_or(0, |kilobytes: u64| kilobytes * 1024));
            thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    run(&mut command).succeeds();
    let memory = watcher.join().expect("the watcher ends");
    let text = fs::read_to_string(&file).expect("the trace");
    let mut programs = Vec::new();
    let mut connections = BTreeMap::new();
    for line in text.lines() {
        if let Some((_, call)) = line.split_once("execve(\"") {
            programs.push(call.split('"').next().unwrap_or_default().to_owned());
        }
        if let Some((_, call)) = line.split_once("connect(") {
            let address =
                call.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(call, |(inner, _)| inner);
            *connections.entry(address.to_owned()).or_insert(0) += 1;
        }
    }
    Trace { memory, programs, connections }
}

/// Promise: size-and-memory
#[test]
fn the_shipped_program_is_small_and_needs_no_library_of_its_own() {
    let size = fs::metadata(release_agent()).expect("the release build").len();
    assert!(size <= LARGEST_PROGRAM, "{size} bytes");
    let sections = run(Command::new(program("readelf")).args(["--wide", "--sections"]).arg(release_agent())).succeeds();
    sections.does_not_say(".symtab").does_not_say(".debug_info");
    let needed = run(Command::new(program("readelf")).args(["--wide", "--dynamic"]).arg(release_agent())).succeeds();
    for line in needed.stdout.lines().filter(|line| line.contains("(NEEDED)")) {
        let known =
            ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "libdl.so.2", "libpthread.so.0"];
        assert!(known.iter().any(|library| line.contains(library)), "{line}");
    }
}

/// Promise: register-two-requests
/// Promise: size-and-memory
#[test]
fn registering_makes_one_put_and_one_probe_runs_no_program_and_needs_little_memory() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    let trace = trace(&machine, &["--key", &key.key]);

    assert_eq!(trace.programs, [release_agent().to_str().expect("a path in UTF-8")], "no program but itself");
    let (address, port) = backend.address().split_once(':').expect("an address and a port");
    for (connected, times) in &trace.connections {
        assert!(connected.contains(&format!("htons({port})")) && connected.contains(address), "{connected}");
        assert!(*times <= 2, "{connected}: {times} connections");
    }
    assert_eq!(trace.connections.len(), 1, "{:?}", trace.connections);
    assert!(trace.memory <= MOST_MEMORY && trace.memory > 0, "{} bytes of memory", trace.memory);

    let requests = backend.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[0], format!("PUT {}", els_protocol::wire::REGISTRATION_PATH));
    assert!(requests[1].starts_with("GET /repo/") && requests[1].ends_with("/repodata/repomd.xml"), "{requests:?}");
}

/// Promise: register-two-requests
#[test]
fn registering_makes_few_system_calls() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    let trace = machine.path("/root/trace");
    let mut command = Command::new(program("strace"));
    // Variables of a test's environment make the loader search folders and the agent read other certificates.
    command.env_clear().args(["-f", "-c", "-o"]).arg(&trace);
    run(command.arg(release_agent()).arg("--root").arg(machine.root()).args(["--key", &key.key])).succeeds();
    let text = fs::read_to_string(&trace).expect("the summary");
    let total = text.lines().find(|line| line.ends_with(" total")).expect("the last line");
    let calls: u64 = total.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).expect("a number");
    assert!(calls <= MOST_SYSTEM_CALLS, "{text}");
}

#[test]
fn the_other_actions_run_no_program_and_need_little_memory_either() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&key.key);
    for action in ["--version", "--status", "--refresh", "--report", "--unregister"] {
        let trace = trace(&machine, &[action]);
        assert_eq!(trace.programs.len(), 1, "{action}: {:?}", trace.programs);
        assert!(trace.memory <= MOST_MEMORY && trace.memory > 0, "{action}: {} bytes of memory", trace.memory);
    }
}
