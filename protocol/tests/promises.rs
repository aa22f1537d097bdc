//! docs/developer/promises.md and docs/developer/threats.md name tests: each of them is there.

#![expect(clippy::disallowed_methods, reason = "it reads the sources of this workspace")]

use std::collections::HashSet;
use std::path::Path;

#[test]
fn every_test_that_promises_and_threats_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut functions = HashSet::new();
    // The root package, and every folder that is a crate of its own.
    collect(&root.join("src"), &mut functions);
    collect(&root.join("tests"), &mut functions);
    for entry in std::fs::read_dir(root).expect("the workspace") {
        let folder = entry.expect("an entry").path();
        if folder.join("Cargo.toml").is_file() {
            collect(&folder, &mut functions);
        }
    }
    for document in ["docs/developer/promises.md", "docs/developer/threats.md"] {
        let tables = std::fs::read_to_string(root.join(document)).expect(document);
        let path = |c: char| c.is_ascii_alphanumeric() || "_:/".contains(c);
        let named: Vec<&str> = tables
            .lines()
            .filter(|line| line.starts_with('|'))
            .flat_map(|line| line.split(|c| !path(c)))
            .filter_map(|word| word.rsplit_once("::").map(|(_, name)| name))
            .filter(|name| name.contains('_'))
            .collect();
        assert!(named.len() > 100, "{document}: {}", named.len());
        let missing: Vec<_> = named.iter().filter(|name| !functions.contains(**name)).collect();
        assert!(missing.is_empty(), "{document} names tests that are not there: {missing:?}");
    }
}

/// The name of every function below a folder.
fn collect(folder: &Path, functions: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, functions);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            functions.extend(names.map(str::to_owned));
        }
    }
}
