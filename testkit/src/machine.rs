//! Machines: a folder each, with what an AlmaLinux 9 server has and what the agent and dnf read.
//!
//! The agent works on it with `--root`; dnf (see `dnf`) runs inside it, on the real paths. Of a backend, a machine knows only
//! the server and the certificate authority that its configuration names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::backend::Backend;
use crate::process::{Run, folder, run};
use crate::programs::agent_program;
use crate::repository::{DISTRIBUTION_KEY_FILE, Repository};

/// A machine root. Each has a machine id and a hardware id of its own.
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// A server with AlmaLinux 9.6 as it comes from the installer, without a configuration of the agent.
    pub fn new() -> Machine {
        let machine = Machine { folder: folder() };
        run(Command::new(NEW_MACHINE).arg(machine.root())).succeeds();
        machine
    }

    /// A server with AlmaLinux 9.6 into which packages can be installed: it has no file of ours, it trusts the authority of
    /// `backend`, and rpm's database has what els-register's package requires of the distribution.
    pub fn installable(backend: &Backend) -> Machine {
        let machine = Machine::new();
        for folder in ["upper", "work"] {
            fs::create_dir_all(machine.root().join(".usr").join(folder)).expect("a folder");
        }
        machine.trusts(backend.authority().pem());
        machine.installs_the_platform();
        machine
    }

    /// A server with AlmaLinux 9.6 and a configuration that names `backend` and the key of `repository`; it trusts the
    /// authority of the backend, and has the distribution's key.
    pub fn configured_for(backend: &Backend, repository: &Repository) -> Machine {
        let machine = Machine::new();
        machine.trusts(backend.authority().pem());
        machine.write(GPG_KEY_FILE, &repository.our_key());
        machine.write(DISTRIBUTION_KEY_FILE, &repository.distribution_key());
        machine.configure(backend.url(), "");
        machine
    }

    /// Writes the agent's configuration: the server, the files of [`Machine::configured_for`], and `more` lines.
    pub fn configure(&self, server: &str, more: &str) {
        let text = format!("server = \"{server}\"\nca_file = \"{CA_FILE}\"\ngpg_key = \"{GPG_KEY_FILE}\"\n{more}\n");
        self.write("/etc/els-register.toml", &text);
    }

    /// Puts an authority where the agent's configuration names it, and into the store that dnf uses.
    pub fn trusts(&self, authority: &str) {
        self.write(CA_FILE, authority);
        // The trust store of Debian's curl; inside the machine there is no other.
        self.write("/etc/ssl/certs/ca-certificates.crt", authority);
    }

    /// The folder that `--root` names.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Where an absolute path of the machine is on this computer.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.strip_prefix('/').expect("an absolute path"))
    }

    /// Writes a file of the machine, and the folders above it, with the modes that root's umask of 022 gives.
    pub fn write(&self, path: &str, text: &str) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().expect("a folder above")).expect("the folders above");
        fs::write(&place, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Reads a file of the machine.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Whether the machine has this file or folder.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// The permission bits of a file of the machine.
    #[track_caller]
    pub fn mode(&self, path: &str) -> u32 {
        let metadata = self.path(path).symlink_metadata().unwrap_or_else(|error| panic!("{path}: {error}"));
        metadata.permissions().mode() & 0o7777
    }

    /// All files of the machine below `/etc`, `/var/lib/els-register` and `/run`, without those that dnf and
    /// rpm keep: what registering may have left.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for top in ["/etc", "/var/lib/els-register", "/run"] {
            list(&self.path(top), top, &mut files);
        }
        files.sort();
        files
    }

    /// All files and folders that packages have put into `/usr` of an [installable](Machine::installable) machine.
    pub fn files_in_usr(&self) -> Vec<String> {
        let mut files = Vec::new();
        list(&self.path("/.usr/upper"), "/usr", &mut files);
        files.sort();
        files
    }

    /// The agent on this machine: its program with `--root`, in an environment without proxies and keys.
    pub fn agent_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(agent_program());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.arg("--root").arg(self.root()).args(arguments);
        command
    }

    /// The agent as an ordinary user runs it. A copy, since the folder that it was built in may be closed to others.
    pub fn agent_command_as_nobody(&self, arguments: &[&str]) -> Command {
        let copy = self.path("/opt/els-register");
        if !copy.is_file() {
            fs::copy(agent_program(), &copy).expect("a copy of the agent");
        }
        let as_root = self.agent_command(arguments);
        let mut command = Command::new(copy);
        command.env_clear().envs(as_root.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(as_root.get_args()).current_dir("/").uid(65534).gid(65534);
        command
    }

    /// Runs the agent on this machine.
    #[track_caller]
    pub fn agent(&self, arguments: &[&str]) -> Run {
        run(&mut self.agent_command(arguments))
    }

    /// Registers this machine, which must succeed, and returns the registration of the agent's JSON document.
    #[track_caller]
    pub fn registers(&self, key: &str) -> Value {
        let run = self.agent(&["--key", key, "--json"]).succeeds();
        let document = run.json();
        assert_eq!(document["state"], "registered", "{run}");
        document["registration"].clone()
    }
}

fn list(folder: &Path, name: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), &name, files);
        } else {
            files.push(name);
        }
    }
}

/// Makes a machine root.
const NEW_MACHINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/new-machine");
/// Where the configuration of the agent finds the authority of the test.
const CA_FILE: &str = "/etc/pki/els/ca.pem";
/// Where the configuration of the agent finds the key that signs the test's repository.
const GPG_KEY_FILE: &str = "/etc/pki/els/RPM-GPG-KEY-TEST";
