//! A small ELS repository, built and signed as a vendor does it: rpmbuild, rpmsign, createrepo_c, gpg.
//!
//! Where the sections lie, and which keys they name, is read from the shipped repo file: this module knows only what it
//! puts into them. Two keys sign, as the contract has it: ours the updates and all metadata, the distribution's the
//! packages of its mirrors.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::process::{Run, folder, program, run};

/// The distribution's key file, as the repo file names it.
pub(crate) const DISTRIBUTION_KEY_FILE: &str = "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9";

/// A document root with the enabled sections of the shipped repo file.
///
/// | section | package | signed by |
/// |---|---|---|
/// | `els-updates` | `example` 1.0-1 and 1.0-2 | us |
/// | `els-baseos` | `mirrored` 1.0-1, `almalinux-repos` 1.0-1 | the distribution |
/// | `els-appstream` | `forged` 1.0-1 | a stranger |
/// | `els-extras` | `unsigned` 1.0-1 | nobody |
///
/// All metadata carry our signature.
pub struct Repository {
    folder: TempDir,
}

/// A section of the repo file: its id and its folder below the base URL.
pub(crate) struct Section {
    pub id: String,
    pub path: String,
}

/// Who signs.
#[derive(Clone, Copy)]
enum Signer {
    Us,
    Distribution,
    Stranger,
}

impl Repository {
    /// The repository of this test run: built by the first test that asks, removed with the last value that holds it.
    pub fn shared() -> Arc<Repository> {
        static SHARED: Mutex<Weak<Repository>> = Mutex::new(Weak::new());
        // A test that panicked while it built leaves the lock poisoned and an empty `Weak`: the next one tries again.
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let built = Arc::new(Repository::build());
            *shared = Arc::downgrade(&built);
            built
        })
    }

    fn build() -> Repository {
        let repository = Repository { folder: folder() };
        for signer in [Signer::Us, Signer::Distribution, Signer::Stranger] {
            repository.make_key(signer);
        }
        let example = ["1", "2"].map(|release| repository.package("example", release, Some(Signer::Us)));
        let mirrored =
            ["mirrored", "almalinux-repos"].map(|name| repository.package(name, "1", Some(Signer::Distribution)));
        let forged = repository.package("forged", "1", Some(Signer::Stranger));
        let unsigned = repository.package("unsigned", "1", None);
        for section in sections() {
            let packages = match section.id.as_str() {
                "els-updates" => example.to_vec(),
                "els-baseos" => mirrored.to_vec(),
                "els-appstream" => vec![forged.clone()],
                "els-extras" => vec![unsigned.clone()],
                other => panic!("{REPO_FILE}: no packages are known for the enabled section {other}"),
            };
            repository.publish(&section, &packages);
        }
        repository
    }

    /// The folder that a web server serves at the base URL.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("www")
    }

    /// Our public key, in ASCII armour.
    pub fn our_key(&self) -> String {
        self.public_key(Signer::Us)
    }

    /// The distribution's public key, in ASCII armour.
    pub fn distribution_key(&self) -> String {
        self.public_key(Signer::Distribution)
    }

    /// A copy of the document root, to change it.
    pub fn copy(&self) -> TempDir {
        let copy = folder();
        run(Command::new(program("cp")).arg("-a").arg(self.root().join(".")).arg(copy.path())).succeeds();
        copy
    }

    /// A copy of the document root in which the metadata of one section carry a stranger's signature; the packages are
    /// unchanged.
    pub fn with_forged_metadata(&self, section: &str) -> TempDir {
        let copy = self.copy();
        let section = sections().into_iter().find(|known| known.id == section).expect("a section of the repo file");
        self.sign_metadata(Signer::Stranger, &copy.path().join(&section.path));
        copy
    }

    /// The name of our key and its keyring, for other files that a vendor signs.
    pub fn signing_key(&self) -> (&'static str, PathBuf) {
        (Signer::Us.address(), self.keyring(Signer::Us))
    }

    fn publish(&self, section: &Section, packages: &[PathBuf]) {
        self.publish_in(&self.root().join(&section.path), packages);
    }

    /// Adds packages to a folder, and signs its metadata.
    pub fn publish_in(&self, place: &Path, packages: &[PathBuf]) {
        fs::create_dir_all(place).expect("a folder for packages");
        for package in packages {
            fs::copy(package, place.join(package.file_name().expect("a file name"))).expect("a copy of the package");
        }
        run(self.tool("createrepo_c").arg("--quiet").arg(place)).succeeds();
        self.sign_metadata(Signer::Us, place);
    }

    fn sign_metadata(&self, signer: Signer, place: &Path) {
        let metadata = place.join("repodata/repomd.xml");
        self.gpg(signer, &["--yes", "--detach-sign", "--armor", metadata.to_str().expect("a path in UTF-8")]);
    }

    /// Builds one tiny package and signs it.
    fn package(&self, name: &str, release: &str, signer: Option<Signer>) -> PathBuf {
        let top = self.folder.path().join("rpmbuild");
        let mut build = self.tool("rpmbuild");
        build.args(["-bb", "--quiet", "--define", &format!("_topdir {}", top.display())]);
        build.args(["--define", &format!("tiny_name {name}"), "--define", &format!("tiny_release {release}")]);
        run(build.arg(if name == "almalinux-repos" { DISTRIBUTION_SPEC } else { SPEC })).succeeds();
        let package = top.join(format!("RPMS/noarch/{name}-1.0-{release}.noarch.rpm"));
        if let Some(signer) = signer {
            let mut sign = self.tool("rpmsign");
            sign.args(["--addsign", "--define", &format!("_gpg_name {}", signer.address())]);
            sign.args(["--define", &format!("_gpg_path {}", self.keyring(signer).display())]);
            // rpm as Debian builds it looks for gpg2, which Debian does not have.
            sign.args(["--define", &format!("__gpg {}", program("gpg").display())]);
            run(sign.arg(&package)).succeeds();
        }
        package
    }

    fn make_key(&self, signer: Signer) {
        let keyring = self.keyring(signer);
        fs::create_dir(&keyring).expect("a folder for the keys");
        fs::set_permissions(&keyring, fs::Permissions::from_mode(0o700)).expect("a folder for us alone");
        // RSA: what every rpm from EL 8 on verifies.
        self.gpg(
            signer,
            &[
                "--passphrase",
                "",
                "--pinentry-mode",
                "loopback",
                "--quick-gen-key",
                signer.address(),
                "rsa2048",
                "sign",
            ],
        );
    }

    fn public_key(&self, signer: Signer) -> String {
        self.gpg(signer, &["--armor", "--export", signer.address()]).stdout
    }

    fn gpg(&self, signer: Signer, arguments: &[&str]) -> Run {
        run(self.tool("gpg").arg("--homedir").arg(self.keyring(signer)).args(["--batch", "--quiet"]).args(arguments))
            .succeeds()
    }

    fn keyring(&self, signer: Signer) -> PathBuf {
        self.folder.path().join(match signer {
            Signer::Us => "keys-ours",
            Signer::Distribution => "keys-distribution",
            Signer::Stranger => "keys-stranger",
        })
    }

    /// A program with a home of its own, so that it does not read the settings of the user who runs the tests.
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.folder.path());
        command.env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // gpg starts an agent for each home and leaves it running.
        for signer in [Signer::Us, Signer::Distribution, Signer::Stranger] {
            let _ = self.tool("gpgconf").arg("--homedir").arg(self.keyring(signer)).args(["--kill", "all"]).status();
        }
    }
}

impl Signer {
    fn address(self) -> &'static str {
        match self {
            Signer::Us => "els@example.com",
            Signer::Distribution => "distribution@example.com",
            Signer::Stranger => "stranger@example.com",
        }
    }
}

/// The enabled sections of the shipped repo file, with their folders on an x86_64 machine.
pub(crate) fn sections() -> Vec<Section> {
    let file = fs::read_to_string(REPO_FILE).unwrap_or_else(|error| panic!("{REPO_FILE}: {error}"));
    let mut sections = Vec::new();
    for block in file.split("\n[").skip(1) {
        let (id, rest) = block.split_once(']').expect("a section has a name");
        let value =
            |name: &str| rest.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
        if value("enabled") == "1" {
            let path = value("baseurl").strip_prefix("$els_url/").expect("a baseurl below $els_url");
            sections.push(Section { id: id.to_owned(), path: path.replace("$basearch", "x86_64") });
        }
    }
    sections
}

/// The shipped repo file that machines of these tests get.
const REPO_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/repo-files/els-almalinux-9.repo");
/// The spec of the tiny packages.
const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny.spec");
/// The spec of the distribution's own repo files.
const DISTRIBUTION_SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/almalinux-repos.spec");
