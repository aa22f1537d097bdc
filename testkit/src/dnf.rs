//! The real dnf, and the agent beside it, inside a machine: on the real paths, with the machine's own configuration, variables, keys and trust.
//!
//! The machine's folder is the root (chroot) in a mount namespace of its own, with the programs of this computer mounted
//! at /usr for reading. So nothing of this computer is touched, `file:///etc/pki/…` means the machine's file, and the
//! mounts are gone with the process.

use std::fs;
use std::process::Command;

use crate::machine::Machine;
use crate::process::{Run, ends_with_its_thread, run, run_with_input};
use crate::programs::agent_program;
use crate::repository::sections;

/// Mounts the programs of this computer for a machine: `mount-usr ROOT [USR]`.
pub const MOUNT_USR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/mount-usr");

impl Machine {
    /// Runs dnf in this machine as root, and answers its questions with yes.
    #[track_caller]
    pub fn dnf(&self, arguments: &[&str]) -> Run {
        run(&mut self.inside(&[&["dnf", "--assumeyes"], arguments].concat()))
    }

    /// Runs dnf in this machine as a user who is not root, as people do when they look for a package.
    #[track_caller]
    pub fn dnf_as_nobody(&self, arguments: &[&str]) -> Run {
        run(&mut self.inside(&[&AS_NOBODY[..], &["dnf", "--assumeyes"], arguments].concat()))
    }

    /// Asks for the metadata of `els-updates` as dnf does, with the variables that dnf reads, and returns the HTTP status.
    #[track_caller]
    pub fn asks_the_gate(&self) -> String {
        let variable = |name: &str| self.read(&format!("/etc/dnf/vars/{name}")).trim().to_owned();
        let [url, id, token] = ["els_url", "els_id", "els_token"].map(variable);
        let section = sections().into_iter().find(|section| section.id == "els-updates").expect("the section");
        let words = ["curl", "--silent", "--config", "-", "--output", "/dev/null", "--write-out", "%{http_code}"];
        let settings = format!("user = \"{id}:{token}\"\nurl = \"{url}/{}repodata/repomd.xml\"\n", section.path);
        run_with_input(&mut self.inside(&words), Some(&settings)).succeeds().stdout
    }

    /// Runs rpm in this machine.
    #[track_caller]
    pub fn rpm(&self, arguments: &[&str]) -> Run {
        run(&mut self.inside(&[&["rpm"], arguments].concat()))
    }

    /// The version and release of the installed package `name`, such as `1.0-2`; `None` if it is not installed.
    pub fn installed(&self, name: &str) -> Option<String> {
        let run = self.rpm(&["-q", "--queryformat", "%{VERSION}-%{RELEASE}", name]);
        (run.code == Some(0)).then_some(run.stdout)
    }

    /// Runs the agent inside this machine, on the real paths and with the machine's own trust, as it runs where it was
    /// installed.
    #[track_caller]
    pub fn agent_inside(&self, arguments: &[&str]) -> Run {
        self.install_agent();
        run(&mut self.inside(&[&["els-register"], arguments].concat()))
    }

    /// The same as a user who is not root.
    #[track_caller]
    pub fn agent_inside_as_nobody(&self, arguments: &[&str]) -> Run {
        self.install_agent();
        run(&mut self.inside(&[&AS_NOBODY[..], &["els-register"], arguments].concat()))
    }

    fn install_agent(&self) {
        let place = self.path("/opt/bin");
        fs::create_dir_all(&place).expect("a folder");
        fs::copy(agent_program(), place.join("els-register")).expect("a copy of the agent");
    }

    /// A command that runs inside the machine, as root.
    pub fn inside(&self, words: &[&str]) -> Command {
        let mut command = ends_with_its_thread(ENTER, false);
        command.arg(self.root()).args(words);
        command
    }
}

/// Runs a program inside a machine's folder.
const ENTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/enter-machine");
/// The words that make an ordinary user run the program that follows them.
const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "env"];
