//! Machines that are switched on: the real systemd as PID 1 of a machine root, with the shipped units installed in it.
//!
//! It owns how a machine is started, inspected and shut down. What its units should do is for the tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::machine::Machine;
use crate::process::{Run, Server, ends_with_its_thread, program, run, wait_until};
use crate::programs::agent_program;

/// A machine that is switched on. It is switched off, without a shutdown, when this value is dropped.
pub struct Booted<'a> {
    machine: &'a Machine,
    server: Server,
    pid: String,
}

impl Machine {
    /// Installs the agent with its units and helpers, as its package does, and enables what the package enables.
    pub fn install_units(&self) {
        let installed = |path: &str| {
            let place = self.path("/opt/usr").join(path);
            fs::create_dir_all(place.parent().expect("a folder above")).expect("the folders above");
            place
        };
        fs::copy(agent_program(), installed("sbin/els-register")).expect("a copy of the agent");
        let copy = |from: &str, to: &Path| {
            run(Command::new(program("cp")).args(["-R", "--"]).arg(format!("{DIST}/{from}")).arg(to)).succeeds();
        };
        copy("libexec", &installed("libexec/els-register"));
        for entry in fs::read_dir(format!("{DIST}/systemd")).expect("the units").flatten() {
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            if name.starts_with("els-register") && !name.ends_with(".preset") {
                copy(&format!("systemd/{name}"), &installed(&format!("lib/systemd/system/{name}")));
            }
        }
        copy("systemd/els-register.preset", &installed("lib/systemd/system-preset/90-els-register.preset"));
        for unit in MASKED {
            self.link(&format!("/etc/systemd/system/{unit}"), "/dev/null");
        }
        self.write("/etc/systemd/system/wait-online.service", WAIT_ONLINE);
        self.link("/etc/systemd/system/network-online.target.wants/wait-online.service", "../wait-online.service");
        // Kept on disk, so that it can be read when the machine is off.
        fs::create_dir_all(self.path("/var/log/journal")).expect("a folder for the journal");
        self.enable("els-register.service");
    }

    /// Enables a unit, as `systemctl enable` does.
    pub fn enable(&self, unit: &str) {
        let wants = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
        self.link(&wants, &format!("/usr/lib/systemd/system/{unit}"));
    }

    /// Switches the machine on and waits until it has booted.
    #[track_caller]
    pub fn boots(&self) -> Booted<'_> {
        self.boots_with(&[])
    }

    /// The same with more environment for PID 1, as a container manager sets it.
    #[track_caller]
    pub fn boots_with(&self, environment: &[&str]) -> Booted<'_> {
        let mut command = ends_with_its_thread(BOOT, false);
        command.arg(self.root()).args(environment);
        let mut server = Server::start("systemd", command);
        let parent = server.pid();
        let pid = server.wait_for("PID 1", |_| {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
            let child = children.split_whitespace().next()?.to_owned();
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "systemd").then_some(child)
        });
        let booted = Booted { machine: self, server, pid };
        wait_until("the boot", || {
            let state = run(&mut booted.inside(&["systemctl", "is-system-running"])).stdout;
            ["running", "degraded"].contains(&state.trim())
        });
        booted
    }

    /// Whether a boot since the last call waited for the network.
    pub fn waited_for_the_network(&self) -> bool {
        fs::remove_file(self.path("/var/log/network-was-waited-for")).is_ok()
    }

    /// The journal of a machine that is off.
    #[track_caller]
    pub fn journal(&self) -> String {
        let folder = self.path("/var/log/journal");
        run(Command::new(program("journalctl")).arg("--no-pager").arg("--directory").arg(folder)).succeeds().stdout
    }

    fn link(&self, path: &str, target: &str) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().expect("a folder above")).expect("the folders above");
        symlink(target, place).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

impl Booted<'_> {
    /// A command that runs inside, as root.
    pub fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("nsenter"));
        command.args(["--target", &self.pid, "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("LC_ALL", "C.UTF-8").args(words);
        command
    }

    /// Runs a program inside, as root.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Run {
        run(&mut self.inside(words))
    }

    /// `active`, `inactive`, `failed`, …
    #[track_caller]
    pub fn state(&self, unit: &str) -> String {
        self.property(unit, "ActiveState")
    }

    /// One property of a unit, as `systemctl show` has it.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", name, unit]).succeeds().stdout.trim().to_owned()
    }

    /// The units that have failed.
    #[track_caller]
    pub fn failed(&self) -> String {
        self.run(&["systemctl", "--failed", "--no-legend", "--plain"]).succeeds().stdout
    }

    /// What was logged since the boot.
    #[track_caller]
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--sync"]).succeeds();
        self.run(&["journalctl", "--boot", "--no-pager", "--output=cat"]).succeeds().stdout
    }

    /// Starts the target of a shutdown, as `systemctl poweroff`, `halt`, `reboot` and `kexec` do, and waits until the machine
    /// is off.
    #[track_caller]
    pub fn goes_down_by(mut self, target: &str) {
        self.run(&["systemctl", "--no-block", "--job-mode=replace-irreversibly", "start", target]).succeeds();
        self.server.wait_for_end("the shutdown");
        assert!(self.machine.journal().contains("Reached target shutdown.target"), "no orderly shutdown");
    }
}

/// Starts systemd in a machine's folder.
const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/boot-machine");
/// What is shipped for installation.
const DIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist");
/// Services of this computer's /usr that would start at every boot and that no test needs.
const MASKED: [&str; 7] = [
    "dbus.service",
    "dbus.socket",
    "systemd-logind.service",
    "systemd-remount-fs.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup.service",
    "systemd-update-utmp.service",
];
/// The network of these machines is ready at once; this unit records whether a unit waited for it.
const WAIT_ONLINE: &str = "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\n\
    ExecStart=/usr/bin/touch /var/log/network-was-waited-for\n";
