//! Completions for bash, zsh and fish, under the names that each shell looks for.

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use crate::Generated;

/// The files for a program. Its command must not be built yet: clap_complete builds it, and names what it finds itself.
pub(crate) fn of(program: Command) -> Result<Vec<Generated>> {
    let name = program.get_name().to_owned();
    let files = [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ];
    let mut command = hinted(program);
    files
        .into_iter()
        .map(|(shell, file)| {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            let mut text = String::from_utf8(text).context("completions are text")?;
            if shell == Shell::Bash {
                // clap_complete 4.6.11 writes the hyphen of a program's name in two ways, and then finds no subcommand.
                text = text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
            }
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            Ok((Path::new("dist/completions").join(file), lines.join("\n").trim_end().to_owned() + "\n"))
        })
        .collect()
}

/// Files are completed only where the name of the value says that a file is expected.
fn hinted(command: Command) -> Command {
    command.mut_args(|arg| hint(&arg).map(|hint| arg.clone().value_hint(hint)).unwrap_or(arg)).mut_subcommands(hinted)
}

fn hint(arg: &Arg) -> Option<ValueHint> {
    if !arg.get_action().takes_values() {
        return None;
    }
    let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    Some(match name.to_ascii_uppercase().as_str() {
        "FILE" => ValueHint::FilePath,
        "DIR" => ValueHint::DirPath,
        "URL" => ValueHint::Url,
        _ => ValueHint::Other,
    })
}
