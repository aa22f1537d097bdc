//! docs/developer/promises.md: each promise, with the tests that fail when it is broken.
//!
//! A promise is one line of `xtask/promises.md`: "- `id`: sentence". A test that keeps it has the doc line `/// Promise: id`; a
//! script that keeps it has a line `# Promise: id`. A promise without a test, a doc line with an id that is not in the list, and a
//! doc line that is not above a test are faults.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{Generated, read, workspace};

/// The page, and every fault.
pub(crate) fn page() -> Result<(Generated, Vec<String>)> {
    let (text, faults) = compose(&read(LIST)?, &sources()?);
    Ok(((PAGE.into(), text), faults))
}

/// The tests that a page below docs/ names in its tables and that do not exist.
pub(crate) fn missing_tests() -> Result<Vec<String>> {
    let sources = sources()?;
    let functions: BTreeSet<&str> = sources.values().flat_map(|text| functions(text)).collect();
    let mut pages = BTreeMap::new();
    collect(&workspace().join("docs"), &["md"], &mut pages)?;
    let mut faults = Vec::new();
    for (page, text) in pages.iter().filter(|(page, _)| *page != PAGE) {
        let missing = named_tests(text).filter(|name| !functions.contains(name));
        faults.extend(missing.map(|name| format!("{page}: names the test {name}, which does not exist")));
    }
    Ok(faults)
}

/// The Rust files and scripts of the workspace: their texts by their paths.
fn sources() -> Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(workspace())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            let kinds: &[&str] = if name == "scripts" { &["", "sh"] } else { &["rs"] };
            collect(&path, kinds, &mut sources)?;
        }
    }
    Ok(sources)
}

fn collect(folder: &Path, kinds: &[&str], texts: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let kind = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, kinds, texts)?;
            }
        } else if kinds.contains(&kind.as_str()) {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            texts.insert(path.strip_prefix(workspace())?.display().to_string(), text);
        }
    }
    Ok(())
}

fn compose(list: &str, sources: &BTreeMap<String, String>) -> (String, Vec<String>) {
    // A test that runs once for each database has its attribute in a macro, which lists it: `module::name,`.
    let in_macros: BTreeSet<&str> = sources
        .values()
        .filter(|text| text.contains("macro_rules! store_tests"))
        .flat_map(|text| text.lines().filter_map(|line| line.trim().strip_suffix(',')?.rsplit_once("::")))
        .map(|(_, name)| name)
        .collect();
    let mut faults = Vec::new();
    let mut kept: HashMap<&str, Vec<String>> = HashMap::new();
    for (path, text) in sources {
        for mark in marks(path, text) {
            match mark.test {
                Some((test, attribute))
                    if attribute || in_macros.contains(test.rsplit("::").next().unwrap_or(&test)) =>
                {
                    kept.entry(mark.id).or_default().push(test);
                }
                _ => faults.push(format!("{path}: line {}: a promise is not above a test", mark.line)),
            }
        }
    }
    // By name, so that a test that moves to another folder does not change the page.
    kept.values_mut().for_each(|tests| tests.sort());
    let mut text = format!("<!-- Generated from {LIST} and the tests' doc lines: `make generate`. -->\n");
    let mut known = BTreeSet::new();
    let mut in_table = false;
    for line in list.lines() {
        let Some((id, sentence)) = line.strip_prefix("- `").and_then(|line| line.split_once("`: ")) else {
            in_table &= line.is_empty();
            text += &format!("{line}\n");
            continue;
        };
        if !known.insert(id) {
            faults.push(format!("{LIST}: {id}: appears twice"));
        }
        if !in_table {
            text += "| id | promise | tests |\n|---|---|---|\n";
            in_table = true;
        }
        let tests = kept.get(id).map_or(&[][..], |tests| tests.as_slice());
        if tests.is_empty() {
            faults.push(format!("{LIST}: {id}: no test keeps this promise"));
        }
        text += &format!("| `{id}` | {sentence} | {} |\n", tests.join(" · "));
    }
    for id in kept.keys().filter(|id| !known.contains(*id)) {
        faults.push(format!("{}: keeps {id}, which is not in {LIST}", kept[id].join(" · ")));
    }
    faults.sort();
    (text, faults)
}

/// A line that says that what follows keeps a promise.
struct Mark<'a> {
    id: &'a str,
    line: usize,
    /// What follows, named `file::function`, and whether it has the attribute of a test. A script is a test as it is.
    test: Option<(String, bool)>,
}

fn marks<'a>(path: &str, text: &'a str) -> Vec<Mark<'a>> {
    let (path, rust) = path.strip_suffix(".rs").map_or((path, false), |path| (path, true));
    let sign = if rust { "/// Promise: " } else { "# Promise: " };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let marked = lines.iter().enumerate().filter_map(|(index, line)| Some((index, line.strip_prefix(sign)?)));
    marked
        .map(|(index, id)| {
            let test = if rust { test_below(path, &lines[index + 1..]) } else { Some((format!("`{path}`"), true)) };
            Mark { id, line: index + 1, test }
        })
        .collect()
}

/// The function below a doc line, if only doc lines and attributes are between.
fn test_below(path: &str, lines: &[&str]) -> Option<(String, bool)> {
    let between = lines.iter().take_while(|line| line.starts_with("///") || line.starts_with("#[")).count();
    let attribute =
        lines[..between].iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    let name = functions(lines.get(between)?).next()?;
    let mut folders = path.rsplit('/').filter(|part| !["mod", "lib", "main", "src", "suite", "tests"].contains(part));
    Some((format!("{}::{name}", folders.next().unwrap_or(path)), attribute))
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split("fn ").skip(1).filter_map(move |rest| rest.split(|c| !is_name(c)).next())
}

/// The tests that a page names in its tables, as `module::name`.
fn named_tests(page: &str) -> impl Iterator<Item = &str> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_:/".contains(c);
    page.lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(move |line| line.split(move |c| !is_path(c)))
        .filter_map(|word| word.rsplit_once("::").map(|(_, name)| name))
        .filter(|name| name.contains('_'))
}

const LIST: &str = "xtask/promises.md";
const PAGE: &str = "docs/developer/promises.md";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "/// Why.\n/// Promise: one\n/// Promise: two\n#[test]\nfn it_works() {\n";

    fn composed(list: &str, files: &[(&str, &str)]) -> (String, Vec<String>) {
        compose(list, &files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn promises_are_shown_with_their_tests() {
        let list = "# Title\n\n- `one`: First.\n- `two`: Second.\n";
        let script = ("scripts/look", "# Promise: two\nset -eu\n");
        let (page, faults) = composed(list, &[("tests/suite/agent.rs", GOOD), script]);
        assert_eq!(faults, [""; 0]);
        let table = "# Title\n\n| id | promise | tests |\n|---|---|---|\n| `one` | First. | agent::it_works |\n\
             | `two` | Second. | `scripts/look` · agent::it_works |\n";
        assert!(page.ends_with(table), "{page}");
    }

    #[test]
    fn a_promise_without_a_test_and_an_unknown_promise_are_faults() {
        let (_, faults) = composed("- `one`: First.\n- `three`: Third.\n- `one`: Again.\n", &[("src/a.rs", GOOD)]);
        let expected = [
            "a::it_works: keeps two, which is not in xtask/promises.md",
            "xtask/promises.md: one: appears twice",
            "xtask/promises.md: three: no test keeps this promise",
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn only_a_test_keeps_a_promise() {
        let helper = "/// Promise: one\nfn helper() {}\n";
        let (_, faults) = composed("- `one`: First.\n", &[("src/a.rs", helper)]);
        let no_test = "xtask/promises.md: one: no test keeps this promise";
        assert_eq!(faults, ["src/a.rs: line 1: a promise is not above a test", no_test]);
        let (_, faults) =
            composed("- `one`: First.\n", &[("src/a.rs", "/// Promise: one\n\n#[test]\nfn it_works() {}\n")]);
        assert_eq!(faults, ["src/a.rs: line 1: a promise is not above a test", no_test]);
        let list = "macro_rules! store_tests {\n    seats::helper,\n}\n";
        let (_, faults) = composed("- `one`: First.\n", &[("src/a.rs", helper), ("src/mod.rs", list)]);
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn tests_that_a_page_names_are_found_in_its_tables() {
        let page =
            "| threat | `protocol::text` answers | agent::it_works · store::postgres::it_holds |\nnot::a_table\n";
        assert_eq!(named_tests(page).collect::<Vec<_>>(), ["it_works", "it_holds"]);
    }
}
