//! Man pages: the text of `xtask/man/`, where a line `.\" @PART@` is replaced by what the code says.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, Command};
use roff::{Inline, Roff, bold, italic, roman};

use els_host::language::width;
use els_register::chores::Meaning;

use crate::{Generated, read};

/// A page: its text, with `part` for each part that is generated. A part that is not known is an error.
pub(crate) fn page(name: &str, part: impl Fn(&str) -> Option<String>) -> Result<Generated> {
    let source = format!("xtask/man/{name}");
    let mut text = format!(".\\\" Generated from {source} and the code: `make generate`.\n");
    for line in read(&source)?.lines() {
        match line.strip_prefix(".\\\" @").and_then(|rest| rest.strip_suffix('@')) {
            Some(asked) => text += &part(asked).with_context(|| format!("{source}: no part {asked:?}"))?,
            None => text += &(line.replace("@VERSION@", env!("CARGO_PKG_VERSION")) + "\n"),
        }
    }
    ensure!(!text.lines().any(|line| line.ends_with(' ')), "{source}: a line ends with a space");
    Ok((Path::new("dist/man").join(page_path(name)), text))
}

/// Where the page is below a folder of man pages: `ja/NAME.8` is in `ja/man8/`, as man(1) looks for it.
fn page_path(name: &str) -> String {
    match name.split_once('/') {
        Some((language, name)) => format!("{language}/man{}/{name}", name.rsplit('.').next().unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// The page, where a line can be broken between Japanese letters: they have no spaces between them.
pub(crate) fn breakable((path, text): Generated) -> Generated {
    let mut result = String::new();
    for line in text.lines() {
        // The line under NAME is read by whatis(1) too.
        let is_text = !line.starts_with(['.', ' ']) && !line.contains(r" \- ");
        let mut before = None;
        for c in line.chars() {
            if is_text && before.is_some_and(|before| may_break(before, c)) {
                result.push_str("\\:");
            }
            result.push(c);
            before = Some(c);
        }
        result.push('\n');
    }
    (path, result)
}

/// Whether a line can be broken between two characters: one of them is Japanese, and neither belongs to the other.
fn may_break(before: char, after: char) -> bool {
    let wide = |c: char| width(c.encode_utf8(&mut [0; 4])) == 2;
    (wide(before) || wide(after))
        && !"「（".contains(before)
        && !"、。」）ー・ぁぃぅぇぉっゃゅょァィゥェォッャュョ".contains(after)
        && before != ' '
        && after != ' '
}

/// The options of a command under their headings, in the order in which `--help` has them.
pub(crate) fn options(command: &Command) -> String {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in shown(command) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    let mut roff = Roff::new();
    for heading in headings {
        roff.control("SS", [heading.unwrap_or("Options")]);
        for arg in shown(command).filter(|arg| arg.get_help_heading() == heading) {
            option(&mut roff, arg);
        }
    }
    text(&roff)
}

/// The commands of a program, each with its own options. Options that every command has are listed once, under OPTIONS.
pub(crate) fn commands(program: &Command) -> String {
    let mut roff = Roff::new();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        match command.get_subcommands().any(|below| below.get_name() != "help") {
            true => command.get_subcommands().filter(|below| below.get_name() != "help").for_each(|below| {
                one_command(&mut roff, &format!("{} {}", command.get_name(), below.get_name()), below);
            }),
            false => one_command(&mut roff, command.get_name(), command),
        }
    }
    text(&roff)
}

fn one_command(roff: &mut Roff, name: &str, command: &Command) {
    let own = || shown(command).filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
    let mut usage = vec![name.to_owned()];
    let (required, free): (Vec<&Arg>, Vec<&Arg>) = own().partition(|arg| arg.is_required_set());
    let (places, flags): (Vec<&Arg>, Vec<&Arg>) = required.into_iter().partition(|arg| arg.is_positional());
    usage.extend(flags.iter().map(|arg| format!("--{} {}", arg.get_long().unwrap_or_default(), value_name(arg))));
    usage.extend(places.iter().map(|arg| value_name(arg)));
    if !free.is_empty() {
        usage.push("[OPTION]...".into());
    }
    roff.control("SS", [usage.join(" ").as_str()]);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    filled(roff, &format!("{about}."));
    own().for_each(|arg| option(roff, arg));
}

fn option(roff: &mut Roff, arg: &Arg) {
    let mut words: Vec<Inline> = Vec::new();
    if let Some(short) = arg.get_short() {
        words.push(bold(format!("-{short}")));
    }
    if let Some(long) = arg.get_long() {
        if !words.is_empty() {
            words.push(roman(", "));
        }
        words.push(bold(format!("--{long}")));
    }
    if arg.is_positional() {
        words.push(italic(value_name(arg)));
    } else if arg.get_action().takes_values() {
        words.extend([roman(" "), italic(value_name(arg))]);
    }
    roff.control("TP", []);
    roff.text(words);
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> = arg.get_default_values().iter().map(|value| value.display().to_string()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        help += &format!(" [default: {}]", defaults.join(", "));
    }
    filled(roff, &help);
}

pub(crate) fn exit_statuses(meanings: &[Meaning]) -> String {
    let mut roff = Roff::new();
    for meaning in meanings {
        roff.control("TP", []);
        roff.text([bold(meaning.status.to_string())]);
        filled(&mut roff, meaning.long);
    }
    text(&roff)
}

/// The settings of a configuration file: each is a comment and a line with its default or an example.
pub(crate) fn settings(path: &str) -> Result<String> {
    let file = read(path)?;
    let mut roff = Roff::new();
    // The first block is about the file.
    for block in file.split("\n\n").skip(1) {
        let (comment, set): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with("# "));
        let [set] = set[..] else { bail!("{path}: expected one setting in {block:?}") };
        let (name, value) = set
            .strip_prefix('#')
            .and_then(|set| set.split_once(" = "))
            .with_context(|| format!("{path}: expected a setting that is commented out: {set:?}"))?;
        roff.control("TP", []);
        roff.text([bold(name), roman(" = "), italic(value)]);
        let comment: Vec<&str> = comment.iter().map(|line| line.trim_start_matches("# ")).collect();
        filled(&mut roff, &comment.join(" "));
    }
    Ok(text(&roff))
}

/// Text in lines of at most 80 bytes, which is what mandoc(1) accepts without a warning.
fn filled(roff: &mut Roff, text: &str) {
    let mut line = String::new();
    for word in text.replace('`', "").split_whitespace() {
        // A hyphen is written with a backslash before it.
        let width = |text: &str| text.len() + text.matches('-').count();
        if !line.is_empty() && width(&line) + 1 + width(word) > 78 {
            roff.text([roman(std::mem::take(&mut line))]);
        }
        line += if line.is_empty() { "" } else { " " };
        line += word;
    }
    roff.text([roman(line)]);
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) => names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>().join(" "),
        None => arg.get_id().as_str().to_uppercase(),
    }
}

fn text(roff: &Roff) -> String {
    roff.to_roff()
}
