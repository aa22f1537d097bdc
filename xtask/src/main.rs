//! `cargo xtask`: the chores of this workspace that need the parsers of its programs.
//!
//! It generates committed files from the code (man pages, completions, the protocol's description, the page of promises), checks
//! that pages and code agree, and checks a vendor's folder. This file owns which files there are; the other modules know how
//! each is made, and write nothing.

mod completions;
mod dependencies;
mod japanese;
mod man;
mod promises;
mod vendor_check;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Command, Parser};
use els_host::language::Language;
use els_register::chores;

/// Chores of this workspace that need its code
#[derive(Parser)]
enum Task {
    /// Write the files that are generated from the code: dist/man, dist/completions, docs/openapi.json,
    /// docs/openapi-admin.json, docs/developer/promises.md
    Generate,
    /// Fail if a generated file is out of date, or a page or a spec file disagrees with the code
    Check,
    /// Check a vendor's folder before it is built in; list what is wrong with it
    VendorCheck {
        /// The folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// A generated file: its path below the workspace, and its text.
type Generated = (PathBuf, String);

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it reports to the person who runs it")]
fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Generate => generate(),
        Task::Check => check(),
        Task::VendorCheck { folder } => vendor_check(&folder).map(|()| {
            println!("{0}: can be built in (make build VENDOR={0})", folder.display());
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<()> {
    let (files, faults) = all()?;
    for (path, text) in files {
        let place = workspace().join(&path);
        fs::create_dir_all(place.parent().context("a file in a folder")?)?;
        fs::write(&place, text).with_context(|| place.display().to_string())?;
    }
    none(&faults)
}

fn check() -> Result<()> {
    let (all, mut wrong) = all()?;
    for (path, text) in &all {
        match fs::read_to_string(workspace().join(path)) {
            Ok(found) if found == *text => {}
            Ok(_) => wrong.push(format!("{}: is out of date: `make generate` writes it", path.display())),
            Err(error) => wrong.push(format!("{}: {error}: `make generate` writes it", path.display())),
        }
    }
    for folder in ["dist/man", "dist/man/ja/man5", "dist/man/ja/man8", "dist/completions"] {
        for entry in fs::read_dir(workspace().join(folder)).into_iter().flatten() {
            let entry = entry?;
            let path = Path::new(folder).join(entry.file_name());
            if entry.file_type()?.is_file() && !all.iter().any(|(known, _)| *known == path) {
                wrong.push(format!("{}: no chore generates this file", path.display()));
            }
        }
    }
    let readme = read("README.md")?;
    for meaning in chores::meanings(Language::English) {
        let row = format!("| {} | {} |", meaning.status, meaning.long);
        if !readme.contains(&row) {
            wrong.push(format!("README.md: the table of exit statuses lacks the row {row:?}"));
        }
    }
    for spec in ["dist/rpm/els-register.spec", "dist/rpm/els-backend.spec"] {
        let version = concat!("Version:        ", env!("CARGO_PKG_VERSION"), "\n");
        if !read(spec)?.contains(version) {
            wrong.push(format!("{spec}: the version is not {}", env!("CARGO_PKG_VERSION")));
        }
    }
    wrong.extend(dependencies::faults()?);
    wrong.extend(promises::missing_tests()?);
    wrong.extend(japanese::faults()?);
    let [english, japanese] = ["dist/els-register.toml", "xtask/man/ja/els-register.toml"].map(|path| {
        let lines = read(path)?;
        Ok::<_, anyhow::Error>(lines.lines().filter(|line| line.contains(" = ")).map(str::to_owned).collect::<Vec<_>>())
    });
    if english? != japanese? {
        wrong.push("xtask/man/ja/els-register.toml: its settings are not those of dist/els-register.toml".to_owned());
    }
    none(&wrong)
}

fn vendor_check(folder: &Path) -> Result<()> {
    let faults = vendor_check::faults(folder)?;
    none(&faults.iter().map(|fault| format!("vendor-check: {}/{fault}", folder.display())).collect::<Vec<_>>())
}

fn none(faults: &[String]) -> Result<()> {
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Every generated file, and what is wrong with the sources they are made from.
fn all() -> Result<(Vec<Generated>, Vec<String>)> {
    let programs = [chores::command(Language::English), els_backend::cli::command()];
    let [agent, backend] = &programs.clone().map(built);
    let japanese = &built(chores::command(Language::Japanese));
    let mut files = vec![
        man::page("els-register.8", |part| match part {
            "OPTIONS" => Some(man::options(agent)),
            "EXIT STATUSES" => Some(man::exit_statuses(chores::meanings(Language::English))),
            _ => None,
        })?,
        man::page("els-backend.8", |part| match part {
            "OPTIONS" => Some(man::options(backend)),
            "COMMANDS" => Some(man::commands(backend)),
            _ => None,
        })?,
    ];
    let settings = man::settings("dist/els-register.toml")?;
    files.push(man::page("els-register.toml.5", |part| (part == "SETTINGS").then(|| settings.clone()))?);
    let page = man::page("ja/els-register.8", |part| match part {
        "OPTIONS" => Some(man::options(japanese)),
        "EXIT STATUSES" => Some(man::exit_statuses(chores::meanings(Language::Japanese))),
        _ => None,
    })?;
    files.push(man::breakable(page));
    let settings = man::settings("xtask/man/ja/els-register.toml")?;
    let page = man::page("ja/els-register.toml.5", |part| (part == "SETTINGS").then(|| settings.clone()))?;
    files.push(man::breakable(page));
    for program in programs {
        let japanese = (program.get_name() == "els-register").then(|| chores::command(Language::Japanese));
        files.extend(completions::of(program, japanese)?);
    }
    files.push(("docs/openapi.json".into(), els_backend::api::openapi_document()));
    files.push(("docs/openapi-admin.json".into(), els_backend::admin_api::openapi_document()));
    let (page, faults) = promises::page()?;
    files.push(page);
    Ok((files, faults))
}

/// With everything that clap adds: help, version, and the options that every command has.
fn built(mut command: Command) -> Command {
    command.build();
    command
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(workspace().join(path)).with_context(|| path.to_owned())
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the workspace")
}
