//! Completions for bash, zsh and fish, under the names that each shell looks for.

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use crate::Generated;

/// The files for a program. Its command must not be built yet: clap_complete builds it, and names what it finds itself. With
/// its command in Japanese, the descriptions in zsh and fish are in the language of the locale.
pub(crate) fn of(program: Command, japanese: Option<Command>) -> Result<Vec<Generated>> {
    let mut files = in_one_language(program.clone())?;
    if let Some(japanese) = japanese {
        let translated = in_one_language(japanese)?;
        for ((path, text), (_, japanese)) in files.iter_mut().zip(translated) {
            match path.extension().and_then(|ending| ending.to_str()) {
                // bash shows no descriptions.
                Some("bash") => {}
                Some("fish") => *text = fish_in_both(text, &japanese),
                _ => *text = zsh_in_both(program.get_name(), text, &japanese)?,
            }
        }
    }
    Ok(files)
}

/// fish: the variables of the locale decide when the file is read.
fn fish_in_both(english: &str, japanese: &str) -> String {
    format!(
        "set -l locale (string match -v '' -- $LC_ALL $LC_MESSAGES $LANG C)\n\
         if string match -qr '{FISH_JAPANESE}' -- $locale[1]\n{japanese}else\n{english}end\n"
    )
}

/// zsh: the function of the program calls that of the language.
fn zsh_in_both(name: &str, english: &str, japanese: &str) -> Result<String> {
    let function = format!("_{name}()");
    let body = |text: &str, name: &str| -> Result<String> {
        let (_, rest) = text.split_once(&format!("{function} {{\n")).context("zsh: no function of the program")?;
        let (body, _) = rest.split_once("\n}\n").context("zsh: the function has no end")?;
        Ok(format!("_{name}() {{\n{body}\n}}\n"))
    };
    let (head, _) = english.split_once(&format!("{function} {{\n")).context("zsh: no function of the program")?;
    let (_, rest) = english.split_once(&function).context("zsh: no function of the program")?;
    let (_, tail) = rest.split_once("\n}\n").context("zsh: the function has no end")?;
    let choose = format!(
        "_{name}() {{\n    local locale=${{${{LC_ALL:-${{LC_MESSAGES:-$LANG}}}}%@*}}\n    case ${{locale:l}} in\n    \
         ({ZSH_JAPANESE}) _{name}-ja \"$@\" ;;\n    (*) _{name}-en \"$@\" ;;\n    esac\n}}\n"
    );
    let (english, japanese) = (body(english, &format!("{name}-en"))?, body(japanese, &format!("{name}-ja"))?);
    Ok(format!("{head}{english}\n{japanese}\n{choose}{tail}"))
}

fn in_one_language(program: Command) -> Result<Vec<Generated>> {
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

/// Locales in Japanese: `ja` with no charset but UTF-8, as in `els_host::language`.
const FISH_JAPANESE: &str = r"^ja(_[^.@]*)?(\.[Uu][Tt][Ff]-?8)?(@.*)?$";
const ZSH_JAPANESE: &str = "ja|ja_??|ja.utf-8|ja.utf8|ja_??.utf-8|ja_??.utf8";

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
