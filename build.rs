//! Builds the vendor's files into the agent: repo files, GPG key, agreement.
//!
//! They come from `dist/` and `EULA.txt`. If `ELS_VENDOR_DIR` is set, they all come from that folder.

#![allow(clippy::disallowed_methods, reason = "these rules are the agent's")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=ELS_VENDOR_DIR");
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder of the package"));
    let (vendor, eula) = match env::var_os("ELS_VENDOR_DIR") {
        Some(vendor) => (PathBuf::from(&vendor), Path::new(&vendor).join("EULA.txt")),
        None => (home.join("dist"), home.join("EULA.txt")),
    };
    let repo_files = vendor.join("repo-files");
    println!("cargo::rerun-if-changed={}", repo_files.display());
    let mut names: Vec<String> = fs::read_dir(&repo_files)
        .unwrap_or_else(|error| panic!("{}: {error}", repo_files.display()))
        .filter_map(|entry| entry.expect("the folder can be read").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".repo").map(str::to_owned))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{}: no repo file", repo_files.display());

    let mut code = String::new();
    let include = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("cargo::rerun-if-changed={}", path.display());
        format!("include_str!({:?})", path.to_str().expect("paths are UTF-8"))
    };
    code.push_str("pub(super) const REPO_FILES: &[(&str, &str, &str)] = &[\n");
    for name in names {
        let path = repo_files.join(format!("{name}.repo"));
        let variables = repo_files.join(format!("{name}.vars"));
        let variables = if variables.exists() { include(&variables) } else { "\"\"".to_owned() };
        writeln!(code, "    ({name:?}, {}, {variables}),", include(&path)).expect("a String takes text");
    }
    code.push_str("];\n");
    for (name, path) in [("GPG_KEY", vendor.join("gpg/RPM-GPG-KEY-ELS")), ("EULA", eula)] {
        writeln!(code, "pub(super) const {name}: &str = {};", include(&path)).expect("a String takes text");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder for what is built")).join("vendor.rs");
    fs::write(&out, code).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}
