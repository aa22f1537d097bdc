//! The files of `dist/examples`, as they are shipped: judged by the program that they are for, and carried out by it, or by
//! as much of it as there is here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use els_testkit::{Backend, Key, MOUNT_USR, Machine, Repository, folder, program, run};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/examples");
/// The key that stands in the examples.
const PLACEHOLDER: &str = "ELS-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX";
const KEY_FILE: &str = "/etc/els-register.key";

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What scripts/provisioning-tools brought.
#[track_caller]
fn tool(path: &str) -> PathBuf {
    let target = els_testkit::agent_program().ancestors().nth(2).expect("the target folder");
    let tool = target.join(path);
    assert!(tool.exists(), "this test needs {}: run scripts/provisioning-tools", tool.display());
    tool
}

/// An example with a key that opens something.
fn with_key(text: &str, key: &Key) -> String {
    assert_eq!(text.matches(PLACEHOLDER).count(), 1);
    text.replace(PLACEHOLDER, &key.key)
}

/// Switches a machine on that got its key by an example: it registers by itself.
#[track_caller]
fn registers_at_its_first_boot(machine: &Machine, backend: &Backend, key: &Key) {
    assert_eq!(machine.mode(KEY_FILE), 0o600);
    let booted = machine.boots();
    assert_eq!(booted.failed(), "", "{}", booted.journal());
    assert_eq!(backend.seats(key).len(), 1);
    assert!(!machine.has(KEY_FILE));
}

/// Promise: install-examples
#[test]
fn a_kickstart_leaves_the_key_for_the_first_boot() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let validator = tool("tools/bin/ksvalidator");
    for release in ["RHEL8", "RHEL9"] {
        let file = Path::new(EXAMPLES).join("kickstart.ks");
        run(Command::new(&validator).args(["--version", release, "--firsterror"]).arg(file)).succeeds();
    }

    // The installer runs %post in the installed system, where systemd does not run; no unit is enabled yet.
    let machine = Machine::configured_for(&backend, &repository);
    machine.install_units();
    fs::remove_dir_all(machine.path("/etc/systemd/system/multi-user.target.wants")).expect("no unit is enabled");
    let kickstart = with_key(&example("kickstart.ks"), &key);
    let (_, post) = kickstart.split_once("\n%post --erroronfail\n").expect("a %post");
    machine.write("/tmp/post", post.split("\n%end").next().expect("an end"));
    run(&mut machine.inside(&["sh", "-e", "/tmp/post"])).succeeds();
    assert_eq!(backend.requests(), [""; 0], "the installer itself registers nothing");
    fs::remove_file(machine.path("/tmp/post")).expect("the script");
    registers_at_its_first_boot(&machine, &backend, &key);
}

/// Promise: install-examples
#[test]
fn cloud_init_leaves_the_key_for_the_first_boot() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let cloud_init = tool("provisioning/cloud-init");
    let python = || {
        let mut python = Command::new("/usr/bin/python3");
        python.env("PYTHONPATH", &cloud_init).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    };
    let schema = |file: &Path| run(python().args(["-m", "cloudinit.config.schema", "--config-file"]).arg(file));
    schema(&Path::new(EXAMPLES).join("cloud-config.yaml")).succeeds().says("Valid cloud-config");
    let place = folder();
    let wrong = place.path().join("wrong.yaml");
    fs::write(&wrong, example("cloud-config.yaml").replace("path:", "paht:")).expect("a file");
    schema(&wrong).fails();

    // The module of cloud-init that carries it out, on the machine's own paths.
    let machine = Machine::configured_for(&backend, &repository);
    machine.install_units();
    run(Command::new(program("cp")).arg("-R").arg(&cloud_init).arg(machine.path("/opt/cloud-init"))).succeeds();
    machine.write("/tmp/user-data", &with_key(&example("cloud-config.yaml"), &key));
    let code = "import yaml; from cloudinit.config import cc_write_files as module\n\
        module.write_files('write_files', yaml.safe_load(open('/tmp/user-data'))['write_files'], 'root')";
    let line = ["env", "PYTHONPATH=/opt/cloud-init", "/usr/bin/python3", "-c", code];
    run(&mut machine.inside(&line)).succeeds();
    fs::remove_file(machine.path("/tmp/user-data")).expect("the user data");
    registers_at_its_first_boot(&machine, &backend, &key);
}

/// Promise: container-build
#[test]
fn an_image_is_built_with_updates_in_it_and_with_no_trace_of_key_token_or_seat() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&key.key);
    machine.dnf(&["install", "example-1.0-1"]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
    // The builder knows a changed file by size and time, and the test's packages were all made in this second.
    run(Command::new(program("touch")).args(["--date", "2020-01-01"]).arg(machine.path("/opt/example/release")))
        .succeeds();
    // A base image has no machine id.
    machine.write("/etc/machine-id", "");
    machine.install_units();

    let place = folder();
    let images = place.path();
    fs::write(images.join("els.key"), &key.key).expect("the key");
    let build = |arguments: &[&str]| {
        // The programs of an image are those of this computer, as on every machine here.
        let script = "\"$1\" \"$2\" \"$3\"; usr=$3; shift 3; \
            exec buildah --root \"$PWD/images\" --runroot \"$PWD/run\" --storage-driver vfs bud --isolation chroot \
            --volume \"$usr:/usr:ro\" \"$@\"";
        let mut command = Command::new(program("unshare"));
        command.args(["--mount", "--", "sh", "-euc", script, "build", MOUNT_USR]);
        command.arg(machine.root()).arg(images.join("usr"));
        run(command.args(arguments).current_dir(images))
    };
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new(program("buildah"));
        command.arg("--root").arg(images.join("images")).arg("--runroot").arg(images.join("run"));
        run(command.args(["--storage-driver", "vfs"]).args(arguments)).succeeds().stdout.trim().to_owned()
    };
    fs::create_dir(images.join("usr")).expect("a folder");
    fs::write(images.join("Base"), "FROM scratch\nCOPY . /\nRUN rm -rf /opt/usr\n").expect("a file");
    let root = machine.root().to_str().expect("a path in UTF-8");
    build(&["--quiet", "--tag", "base", "--file", "Base", root]).succeeds();

    let file = format!("{EXAMPLES}/Containerfile");
    let secret = "--secret=id=els.key,src=els.key";
    let arguments = ["--build-arg", "BASE=localhost/base", secret, "--file", &file];
    let run = build(&[&arguments[..], &["--tag", "updated", "."]].concat()).succeeds().does_not_say(&key.key);
    assert!(backend.requests().iter().any(|request| request.starts_with("PUT")), "{run}");
    assert_eq!(backend.seats(&key).len(), 0, "the image holds a seat\n{run}");

    let container = buildah(&["from", "localhost/updated"]);
    let image = PathBuf::from(buildah(&["mount", &container]));
    let release = fs::read_to_string(image.join("opt/example/release")).expect("the package");
    assert_eq!(release, "1.0-2\n", "{run}");
    for path in ["etc/yum.repos.d/els.repo", "etc/dnf/vars/els_token", "etc/dnf/vars/els_id", "var/lib/els-register"] {
        assert!(image.join(path).symlink_metadata().is_err(), "{path} is in the image");
    }
    buildah(&["umount", &container]);
    // All layers and all that the builder knows of them, except the key file itself.
    for secret in [key.key.as_str(), "elst_password="] {
        let mut grep = Command::new(program("grep"));
        grep.args(["--recursive", "--files-with-matches", "--fixed-strings", secret]).arg(images.join("images"));
        assert_eq!(run_of(&mut grep), "", "{secret} is in a layer");
    }

    // A failed update fails the build, and the seat is released too.
    let key_is_needed = build(&["--build-arg", "BASE=localhost/base", "--file", &file, "."]);
    key_is_needed.fails();
    fs::write(images.join("Broken"), example("Containerfile").replace("--refresh update", "--refresh no-such-command"))
        .expect("a file");
    let run = build(&["--build-arg", "BASE=localhost/base", secret, "--file", "Broken", "."]).fails();
    assert_eq!(backend.seats(&key).len(), 0, "{run}");
    let puts = backend.requests().iter().filter(|request| request.starts_with("PUT")).count();
    assert_eq!(puts, 3, "the first registration, and one for each build that had the key");
}

fn run_of(command: &mut Command) -> String {
    run(command).stdout
}
