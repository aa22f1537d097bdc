//! Where the programs under test are. It must not know how they are run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::run;

/// The folder of this project.
pub const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The agent that this test run was built with.
pub fn agent_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_under_test("els-register"))
}

/// The backend that this test run was built with.
pub fn backend_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_under_test("els-backend"))
}

/// The program of a package of this workspace. Cargo builds it for the package's own tests; for those of another package it is
/// built here, by the same cargo, in the same folder and profile.
fn program_under_test(package: &str) -> PathBuf {
    // A test runs from TARGET/PROFILE/deps.
    let test = env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(2).expect("the folder of a profile");
    if env::var("CARGO_PKG_NAME").as_deref() != Ok(package) {
        let profile = match folder.file_name().and_then(|name| name.to_str()).expect("the name of a profile") {
            "debug" => "dev",
            other => other,
        };
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "-p", package, "--profile", profile, "--target-dir"]);
        build.arg(folder.parent().expect("the target folder")).current_dir(PROJECT);
        run(&mut build).succeeds();
    }
    folder.join(package)
}
