//! Generated files that are committed: they are up to date, man pages are sound, and completions complete.

use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Runs a program, which must succeed, and returns what it prints on both outputs.
#[track_caller]
fn prints(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).current_dir(workspace()).env("LC_ALL", "C.UTF-8").output();
    let run = run.unwrap_or_else(|error| panic!("{program}: {error}: run scripts/install-dependencies"));
    let text = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(run.status.success(), "{program} {arguments:?}: {}\n{text}", run.status);
    text
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join(folder)).expect(folder);
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Promise: pages-match-code
/// Promise: wire-description
#[test]
fn what_is_generated_is_what_the_code_says() {
    prints(env!("CARGO_BIN_EXE_xtask"), &["check"]);
}

/// Promise: man-completions-sound
#[test]
fn man_pages_are_sound() {
    let english = ["NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"];
    let japanese = ["名前", "書式", "説明", "ファイル", "例", "関連項目"];
    let pages = |folder: &str| files(folder).into_iter().filter(|path| path.is_file());
    let all: Vec<_> = pages("dist/man").map(|page| (page, english)).collect();
    assert_eq!(all.len(), 3);
    let translated = ["dist/man/ja/man5", "dist/man/ja/man8"].into_iter().flat_map(pages);
    let all: Vec<_> = all.into_iter().chain(translated.map(|page| (page, japanese))).collect();
    assert_eq!(all.len(), 5);
    for (page, sections) in all {
        let page = page.to_str().expect("a path in UTF-8");
        // mandoc counts the bytes of a line.
        let lint =
            prints("sh", &["-c", r#"mandoc -T lint "$1" | grep -v 'text line longer than 80 bytes' || :"#, "sh", page]);
        assert_eq!(lint, "", "{page}");
        let shown = prints("mandoc", &["-T", "utf8", page]);
        for section in sections {
            let bold: String = section.chars().map(|letter| format!("{letter}\u{8}{letter}")).collect();
            let heading = bold.replace(" \u{8} ", " ");
            assert!(shown.lines().any(|line| line == heading), "{page}: no section {section}");
        }
        // man-db formats with groff, in plain text here.
        let formatted = prints("groff", &["-K", "utf8", "-T", "utf8", "-P", "-cbou", "-man", page]);
        for line in formatted.lines().filter(|_| sections == japanese) {
            assert!(els_host::language::width(line) <= 80, "{page}: {line}");
        }
    }
}

/// What bash offers after these words while the last one is being typed.
fn bash(program: &str, function: &str, words: &[&str]) -> Vec<String> {
    let script = r#"
        source "dist/completions/$1.bash"
        program=$1 function=$2
        shift 2
        COMP_WORDS=("$program" "$@")
        COMP_CWORD=$#
        compopt() { :; }
        "$function" "$program" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let offered = prints("bash", &[&["-euc", script, "bash", program, function], words].concat());
    offered.lines().map(str::to_owned).collect()
}

/// Promise: man-completions-sound
#[test]
fn bash_completes_options_commands_and_files() {
    let agent = |words: &[&str]| bash("els-register", "_els__register", words);
    assert_eq!(agent(&["--unr"]), ["--unregister"]);
    assert_eq!(agent(&["--key-file", "Cargo.t"]), ["Cargo.toml"]);
    assert_eq!(agent(&["--key", "Cargo.t"]), ["Cargo.t"], "a key is not a file");
    let backend = |words: &[&str]| bash("els-backend", "_els__backend", words);
    assert!(backend(&["ser"]).contains(&"serve".to_owned()));
    assert_eq!(backend(&["key", "rot"]), ["rotate"]);
    assert_eq!(backend(&["key", "create", "--sea"]), ["--seats"]);
}

/// Promise: man-completions-sound
#[test]
fn zsh_and_fish_read_theirs_and_fish_completes() {
    for program in ["els-register", "els-backend"] {
        assert_eq!(prints("zsh", &["-n", &format!("dist/completions/_{program}")]), "");
    }
    let offered = |line: &str| {
        let source = "for file in dist/completions/*.fish; source $file; end";
        prints("fish", &["--no-config", "-c", &format!("{source}; complete -C '{line}'")])
    };
    assert!(offered("els-register --unr").starts_with("--unregister\tRelease the seat"));
    assert!(offered("els-backend key rot").starts_with("rotate\tReplace a key"));
}

/// Promise: language
#[test]
fn descriptions_in_completions_are_in_the_language_of_the_locale() {
    let fish = "source dist/completions/els-register.fish; complete -C 'els-register --unr'";
    let zsh = "autoload -U compinit; compinit -D; _arguments() { print -r -- \"$@\" }; \
               source dist/completions/_els-register; _els-register";
    for (locale, japanese) in [("ja_JP.UTF-8", true), ("ja", true), ("ja_JP.eucJP", false), ("C", false)] {
        let variables = format!("LC_ALL={locale}");
        for (shell, script) in [(&["fish", "--no-config", "-c"][..], fish), (&["zsh", "-f", "-c"], zsh)] {
            let shown = prints("env", &[&[variables.as_str()], shell, &[script]].concat());
            let expected = if japanese { "シートを解放" } else { "Release the seat" };
            assert!(shown.contains(expected), "{locale}: {shown}");
        }
    }
}
