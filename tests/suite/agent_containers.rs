//! The agent in containers: how it tells one, and how it tells the containers of one image apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use els_testkit::scripted::{Answer, Scripted};
use els_testkit::{Machine, agent_program, program, run};

const KEY: &str = "TEST-KEY-0001";
const STATE: &str = "/var/lib/els-register/registration.json";
const MACHINE_ID: &str = "/etc/machine-id";
/// Folders with what containers, and machines that look like them, have in `/proc` and `/run`.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers");

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

fn id(machine: &Machine) -> String {
    machine.read("/etc/dnf/vars/els_id").trim().to_owned()
}

fn state(machine: &Machine) -> Value {
    serde_json::from_str(&machine.read(STATE)).expect("a JSON document")
}

fn sent(server: &Scripted) -> Value {
    server.requests().iter().rev().find(|request| request.method == "PUT").expect("a PUT").json()
}

fn deleted(server: &Scripted) -> Vec<String> {
    let deletes = server.requests().into_iter().filter(|request| request.method == "DELETE");
    deletes.map(|request| request.id().to_owned()).collect()
}

/// Makes the machine a container whose files lie on this upper layer.
fn is_container(machine: &Machine, layer: &str) {
    let storage = "/var/lib/containers/storage/overlay";
    let text = format!(
        "1 0 0:39 / / rw,relatime - overlay overlay rw,lowerdir={storage}/l/A,upperdir={storage}/{layer}/diff,workdir=/w\n"
    );
    machine.write("/proc/self/mountinfo", &text);
}

/// Promise: ids-not-hardware
#[test]
fn containers_are_recognised_by_what_their_runtimes_leave() {
    let server = Scripted::backend(|_| None);
    let mut cases: Vec<PathBuf> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    let (mut containers, mut machines) = (0, 0);
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let machine = machine_of(&server);
        run(Command::new(program("cp")).arg("-R").arg(case.join(".")).arg(machine.root())).succeeds();
        let run = machine.agent(&["--key", KEY, "--dry-run", "--json"]).succeeds();
        let body = &run.json()["request"]["body"];
        assert!(body["machine"].is_string(), "{name}: {run}");
        let container = body["hardware"].is_null();
        assert_eq!(container, name.starts_with("container-"), "{name}: {run}");
        assert_eq!(!container, name.starts_with("machine-"), "{name}: {run}");
        if container { containers += 1 } else { machines += 1 }
    }
    assert!(containers >= 24 && machines >= 12, "{CASES} has lost its cases: {containers}, {machines}");
}

/// Promise: ids-not-hardware
#[test]
fn the_environment_of_the_agent_itself_shows_a_container() {
    let server = Scripted::backend(|_| None);
    for variable in ["container", "KUBERNETES_SERVICE_HOST"] {
        let machine = machine_of(&server);
        run(machine.agent_command(&["--key", KEY]).env(variable, "x")).succeeds();
        assert_eq!(sent(&server)["hardware"], Value::Null, "{variable}");
    }
    machine_of(&server).registers(KEY);
    assert!(sent(&server)["hardware"].is_string());
}

/// Promise: copy-container
#[test]
fn each_container_of_an_image_that_was_registered_is_a_copy() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let before = machine.files();
    is_container(&machine, "1111");
    machine.registers(KEY);
    let (original, image) = (id(&machine), state(&machine));
    assert_eq!(image["instance"].as_str().map(str::len), Some(64));
    assert!(!image.to_string().contains("1111"), "the path stays out of the state: {image}");
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--refresh"]).succeeds();

    is_container(&machine, "2222");
    let requests = server.requests().len();
    let run = machine.agent(&["--status", "--json"]).exits(10);
    assert_eq!((&run.json()["state"], &run.json()["error"]["code"]), (&"copied".into(), &"copied".into()), "{run}");
    machine.agent(&["--status", "--offline"]).exits(10).says("--moved");
    machine.agent(&["--refresh"]).exits(10).says("--moved").says(&original);
    machine.agent(&["--report", "--server", "https://127.0.0.1:1", "--timeout", "1"]).succeeds().says("--moved");
    assert_eq!(server.requests().len(), requests, "the credential of the image is not used");

    machine.agent(&["--key", KEY]).succeeds().says(&original).says("--moved");
    let own = (id(&machine), sent(&server)["machine"].clone());
    assert_ne!(own.0, original);
    assert_ne!(own.1, image["machine"], "a machine id of its own");
    assert!(!sent(&server).to_string().contains("instance"), "it is never sent: {}", sent(&server));
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--key", KEY]).succeeds();
    assert_eq!((id(&machine), sent(&server)["machine"].clone()), own, "which it keeps");
    machine.agent(&["--refresh"]).succeeds();
    assert_eq!(deleted(&server), [""; 0]);

    // The next container of an image that was made of this one.
    is_container(&machine, "3333");
    machine.agent(&["--status"]).exits(10);
    machine.agent(&["--unregister"]).succeeds().says(&own.0);
    assert_eq!(deleted(&server), [""; 0], "the seat of the other one is left alone");
    assert_eq!(machine.files(), before);
}

/// Promise: copy-container
#[test]
fn a_container_that_is_the_registered_one_after_all_says_moved() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    is_container(&machine, "1111");
    machine.registers(KEY);
    let (held, sent_first) = (id(&machine), sent(&server)["machine"].clone());
    is_container(&machine, "2222");
    machine.agent(&["--key", KEY, "--moved"]).succeeds();
    assert_eq!((id(&machine), sent(&server)["machine"].clone()), (held, sent_first));
    machine.agent(&["--status"]).succeeds();
}

/// Promise: copy-container
#[test]
fn a_state_on_a_volume_belongs_to_no_container() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let volume = "2 1 8:1 /volumes/els /var/lib/els-register rw,relatime - xfs /dev/sda1 rw\n";
    is_container(&machine, "1111");
    machine.write("/proc/self/mountinfo", &(machine.read("/proc/self/mountinfo") + volume));
    machine.registers(KEY);
    assert_eq!(state(&machine).get("instance"), None);
    is_container(&machine, "2222");
    machine.write("/proc/self/mountinfo", &(machine.read("/proc/self/mountinfo") + volume));
    machine.agent(&["--status"]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(deleted(&server).len(), 1);
}

/// Promise: copy-container
#[test]
fn a_state_of_an_earlier_version_is_read_and_learns_its_container() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.registers(KEY);
    assert_eq!(state(&machine).get("instance"), None, "a machine has none");
    is_container(&machine, "1111");
    machine.agent(&["--status"]).succeeds();
    let run = machine.agent(&["--refresh", "--json"]).succeeds();
    assert_eq!(run.json()["changed"], true, "{run}");
    assert!(state(&machine)["instance"].is_string());
    is_container(&machine, "2222");
    machine.agent(&["--status"]).exits(10);
}

/// Promise: copy-container
/// Promise: journal-of-copy
#[test]
fn what_an_image_began_to_register_is_not_resumed_by_its_containers() {
    let lost = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let on = lost.clone();
    let server = Scripted::backend(move |request| {
        (request.method == "PUT" && on.load(std::sync::atomic::Ordering::SeqCst)).then_some(Answer::Hangup)
    });
    let machine = machine_of(&server);
    is_container(&machine, "1111");
    machine.agent(&["--key", KEY]).exits(7);
    let making = server.requests()[0].id().to_owned();
    is_container(&machine, "2222");
    lost.store(false, std::sync::atomic::Ordering::SeqCst);
    machine.agent(&["--key", KEY]).succeeds();
    assert_ne!(id(&machine), making);
    assert_eq!(deleted(&server), [""; 0]);
}

/// Containers of buildah, in storage of their own.
struct Buildah {
    folder: tempfile::TempDir,
}

impl Buildah {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("buildah"));
        command.env("BUILDAH_ISOLATION", "chroot").arg("--root").arg(self.folder.path().join("storage"));
        command.arg("--runroot").arg(self.folder.path().join("run")).args(["--storage-driver", "overlay"]).args(words);
        command
    }

    #[track_caller]
    fn says(&self, words: &[&str]) -> String {
        run(&mut self.command(words)).succeeds().stdout.trim().to_owned()
    }

    #[track_caller]
    fn agent(&self, container: &str, arguments: &[&str]) -> els_testkit::Run {
        run(&mut self.command(&[&["run", container, "/els-register"], arguments].concat()))
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "--all"]).output();
        let _ = self.command(&["rmi", "--all", "--force"]).output();
    }
}

/// The libraries of a program, as ldd lists them.
fn libraries(of: &Path) -> Vec<String> {
    let text = run(Command::new(program("ldd")).arg(of)).succeeds().stdout;
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

/// Promise: copy-container
/// Promise: ids-not-hardware
#[test]
fn containers_of_an_image_that_buildah_made_of_a_registered_one_are_copies() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    machine.write(MACHINE_ID, "0123456789abcdef0123456789abcdef\n");
    fs::copy(agent_program(), machine.path("/els-register")).unwrap();
    for library in libraries(agent_program()) {
        // `/lib` and `/lib64` are links into `/usr`.
        let place = machine.path(&if library.starts_with("/lib") { format!("/usr{library}") } else { library.clone() });
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&library, place).unwrap();
    }
    // The kernel's are mounted there.
    for folder in ["/proc", "/sys", "/dev"] {
        let _ = fs::remove_dir_all(machine.path(folder));
    }
    let buildah = Buildah { folder: tempfile::tempdir().unwrap() };
    let first = buildah.says(&["from", "scratch"]);
    buildah.says(&["copy", &first, &machine.root().to_string_lossy(), "/"]);
    buildah.agent(&first, &["--key", KEY]).succeeds();
    let registered = server.requests().iter().find(|request| request.method == "PUT").unwrap().id().to_owned();
    assert_eq!(sent(&server)["hardware"], Value::Null);
    let machine_id = sent(&server)["machine"].clone();
    buildah.agent(&first, &["--status"]).succeeds();
    buildah.says(&["commit", &first, "registered"]);

    let mut machines = vec![machine_id];
    for _ in 0..2 {
        let container = buildah.says(&["from", "localhost/registered"]);
        let run = buildah.agent(&container, &["--status", "--json"]).exits(10);
        assert_eq!(run.json()["state"], "copied", "{run}");
        buildah.agent(&container, &["--key", KEY]).succeeds().says(&registered);
        let own = sent(&server)["machine"].clone();
        assert!(!machines.contains(&own), "{own} twice");
        machines.push(own.clone());
        buildah.agent(&container, &["--status"]).succeeds();
        buildah.agent(&container, &["--key", KEY]).succeeds();
        assert_eq!(sent(&server)["machine"], own);
    }
    let container = buildah.says(&["from", "localhost/registered"]);
    buildah.agent(&container, &["--unregister"]).succeeds().says(&registered);
    assert_eq!(deleted(&server), [""; 0]);
    buildah.agent(&first, &["--status"]).succeeds();
}
