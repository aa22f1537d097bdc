//! `cargo xtask`: what is generated from the code, and committed: man pages and completions, in `dist/`.
//!
//! Owns which files there are. `man` and `completions` know how each is made; neither writes.

mod completions;
mod man;

// The agent is a program and no library, so that nothing in it is public: its two files of words are read here as they are.
#[allow(dead_code, reason = "parsing is the agent's")]
#[path = "../../src/cli.rs"]
mod cli;
#[allow(dead_code, reason = "the short form is for --help")]
#[path = "../../src/exit.rs"]
mod exit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory, Parser};

/// Tasks of this workspace that need its code
#[derive(Parser)]
enum Task {
    /// Write the man pages and the completions into dist/
    Generate,
    /// Fail if one of them is not what `generate` would write, or README's exit statuses and the specs' version are not the code's
    Check,
}

/// A generated file: its path below the workspace, and its text.
type Generated = (PathBuf, String);

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Generate => generate(),
        Task::Check => check(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "it has no other place to say so")]
            let () = eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<()> {
    for (path, text) in all()? {
        let place = workspace().join(&path);
        fs::create_dir_all(place.parent().context("a file in a folder")?)?;
        fs::write(&place, text).with_context(|| place.display().to_string())?;
    }
    Ok(())
}

fn check() -> Result<()> {
    let all = all()?;
    let mut wrong: Vec<String> = Vec::new();
    for (path, text) in &all {
        match fs::read_to_string(workspace().join(path)) {
            Ok(found) if found == *text => {}
            Ok(_) => wrong.push(format!("{}: not what the code says", path.display())),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    for folder in ["dist/man", "dist/completions"] {
        for entry in fs::read_dir(workspace().join(folder)).into_iter().flatten() {
            let path = Path::new(folder).join(entry?.file_name());
            if !all.iter().any(|(known, _)| *known == path) {
                wrong.push(format!("{}: nothing generates it", path.display()));
            }
        }
    }
    let readme = read("README.md")?;
    for meaning in &exit::MEANINGS {
        let row = format!("| {} | {} |", meaning.status, meaning.long);
        if !readme.contains(&row) {
            wrong.push(format!("README.md: the table of exit codes lacks the row {row:?}"));
        }
    }
    for spec in ["dist/rpm/els-register.spec", "dist/rpm/els-backend.spec"] {
        let version = concat!("Version:        ", env!("CARGO_PKG_VERSION"), "\n");
        if !read(spec)?.contains(version) {
            wrong.push(format!("{spec}: the version is another than {}", env!("CARGO_PKG_VERSION")));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!("{}\n`make generate` writes the generated files", wrong.join("\n")),
    }
}

fn all() -> Result<Vec<Generated>> {
    let programs = [cli::Options::command(), els_backend::cli::command()];
    let [agent, backend] = &programs.clone().map(built);
    let mut files = vec![
        man::page("els-register.8", |part| match part {
            "OPTIONS" => Some(man::options(agent)),
            "EXIT STATUSES" => Some(man::exit_statuses(&exit::MEANINGS)),
            _ => None,
        })?,
        man::page("els-backend.8", |part| match part {
            "OPTIONS" => Some(man::options(backend)),
            "COMMANDS" => Some(man::commands(backend)),
            _ => None,
        })?,
    ];
    let settings = man::settings(&read("dist/els-register.toml")?)?;
    files.push(man::page("els-register.toml.5", |part| (part == "SETTINGS").then(|| settings.clone()))?);
    for program in programs {
        files.extend(completions::of(program)?);
    }
    Ok(files)
}

/// With all that clap adds by itself: help, version, the options that hold for every command.
fn built(mut command: Command) -> Command {
    command.build();
    command
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(workspace().join(path)).with_context(|| path.to_owned())
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}
