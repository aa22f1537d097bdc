//! Our own packages: built by `scripts/rpm` as a vendor builds them, signed, and published on a public path of the gate.
//!
//! The agent in them is the one that is shipped: built for the oldest glibc, once for all tests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::backend::Backend;
use crate::machine::Machine;
use crate::process::{folder, program, run};
use crate::programs::{PROJECT, agent_program, backend_program};
use crate::repository::Repository;

/// Where the agent's packages are below the document root: a path that `dist/products.toml` makes public.
pub const AGENTS: &str = "els-register/el9/x86_64";

/// The agent as it is shipped. `make test` names it; otherwise it is built here, which takes a while.
pub fn release_agent() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match env::var_os("ELS_RELEASE_AGENT") {
        Some(path) => PathBuf::from(path),
        None => {
            let target = agent_program().ancestors().nth(2).expect("the target folder");
            let mut build = Command::new(Path::new(PROJECT).join("scripts/portable-build"));
            build.arg("els-register").env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
            // Not with `run`: a build may take longer than its time-out.
            let built = build.output().expect("scripts/portable-build starts");
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            PathBuf::from(String::from_utf8(built.stdout).expect("a path").trim())
        }
    })
}

/// What a package is built with.
pub struct Rpm<'a> {
    pub name: &'a str,
    pub release: u32,
    /// Whose key signs it.
    pub signed_by: &'a Repository,
    /// What the vendor's configuration of the agent says.
    pub configuration: &'a str,
}

/// Builds a package into a folder of its own.
#[track_caller]
pub fn rpm_file(rpm: &Rpm<'_>) -> (TempDir, PathBuf) {
    let out = folder();
    let vendor = out.path().join("vendor");
    run(Command::new(program("cp")).arg("-r").arg(format!("{PROJECT}/dist")).arg(&vendor)).succeeds();
    fs::copy(format!("{PROJECT}/EULA.txt"), vendor.join("EULA.txt")).expect("a copy");
    fs::write(vendor.join("els-register.toml"), rpm.configuration).expect("a file");
    let (key, keyring) = rpm.signed_by.signing_key();
    let mut build = Command::new(format!("{PROJECT}/scripts/rpm"));
    build.arg(rpm.name).env("OUT", out.path()).env("ELS_VENDOR_DIR", &vendor).env("EL", "9");
    build.env("AGENT", release_agent()).env("BACKEND", backend_program()).env("PAYLOAD", "w1.gzdio");
    build.env("RELEASE", rpm.release.to_string()).env("SIGN", key).env("GNUPGHOME", keyring);
    let built = run(&mut build).succeeds();
    let file = PathBuf::from(built.stdout.trim());
    (out, file)
}

impl Repository {
    /// A copy of the document root with our public key, which needs no credential.
    pub fn with_public_key(&self) -> TempDir {
        let root = self.copy();
        fs::create_dir_all(root.path().join("gpg")).expect("a folder");
        fs::write(root.path().join("gpg/RPM-GPG-KEY-ELS"), self.our_key()).expect("a file");
        root
    }
}

impl Machine {
    /// Adds a package to rpm's database that provides what the distribution has: glibc 2.28, as EL 8.
    #[track_caller]
    pub fn installs_the_platform(&self) {
        self.installs_a_platform_with_glibc(28);
    }

    #[track_caller]
    pub fn installs_a_platform_with_glibc(&self, minor: u32) {
        let place = folder();
        let mut build = Command::new(program("rpmbuild"));
        build.args(["-bb", "--quiet", "--define", &format!("_topdir {}", place.path().display())]);
        build.args(["--define", &format!("glibc {minor}")]).arg(format!("{PROJECT}/testkit/fixtures/platform.spec"));
        run(&mut build).succeeds();
        let name = format!("platform-2.{minor}-1.noarch.rpm");
        fs::copy(place.path().join("RPMS/noarch").join(&name), self.path("/tmp").join(&name)).expect("a copy");
        self.rpm(&["--upgrade", "--nosignature", &format!("/tmp/{name}")]).succeeds();
        fs::remove_file(self.path("/tmp").join(&name)).expect("it is there");
    }

    /// Adds the repo file of the agent's packages, as a vendor's instructions say.
    pub fn knows_where_the_agent_is(&self, backend: &Backend) {
        let (url, arch) = AGENTS.rsplit_once('/').expect("the architecture comes last");
        assert_eq!(arch, "x86_64");
        self.write(
            "/etc/yum.repos.d/els-register.repo",
            &format!(
                "[els-register]\nname=els-register\nbaseurl={0}/repo/{url}/$basearch/\ngpgcheck=1\nrepo_gpgcheck=1\n\
                 gpgkey={0}/repo/gpg/RPM-GPG-KEY-ELS\nskip_if_unavailable=1\n",
                backend.url()
            ),
        );
    }
}
