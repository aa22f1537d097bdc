//! Whether docs/developer/dependencies.md gives a reason for each direct dependency of the workspace, and for no other crate.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::read;

/// Each difference between the page and the manifests.
pub(crate) fn faults() -> Result<Vec<String>> {
    let root: Table = read("Cargo.toml")?.parse().context("Cargo.toml")?;
    let members = root["workspace"]["members"].as_array().context("Cargo.toml: workspace.members")?;
    let mut manifests = Vec::new();
    for member in members {
        let path = format!("{}/Cargo.toml", member.as_str().context("Cargo.toml: a member is a path")?);
        manifests.push(read(&path)?.parse::<Table>().context(path)?);
    }
    manifests.push(root);
    Ok(compare(&manifests, &read(PAGE)?))
}

fn compare(manifests: &[Table], page: &str) -> Vec<String> {
    let ours: BTreeSet<&str> = manifests.iter().filter_map(|manifest| manifest["package"]["name"].as_str()).collect();
    let used: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|manifest| TABLES.iter().filter_map(|table| manifest.get(*table)?.as_table()))
        .flat_map(|table| table.iter().map(|(name, entry)| package(entry).unwrap_or(name)))
        .filter(|name| !ours.contains(name))
        .collect();
    let listed = page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0));
    let mut seen = BTreeSet::new();
    let mut faults: Vec<String> = Vec::new();
    for name in listed {
        if !seen.insert(name) {
            faults.push(format!("{PAGE}: {name}: has two lines"));
        } else if !used.contains(name) {
            faults.push(format!("{PAGE}: {name}: is not a dependency"));
        }
    }
    faults.extend(used.difference(&seen).map(|name| format!("{PAGE}: {name}: is a dependency and has no line")));
    faults
}

/// The crate's own name, where the manifest gives it another one.
fn package(entry: &Value) -> Option<&str> {
    entry.get("package")?.as_str()
}

const PAGE: &str = "docs/developer/dependencies.md";
const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dependency_has_one_line_and_each_line_a_dependency() {
        let manifests = [
            "[package]\nname='a'\n[dependencies]\nb='1'\nserde='1'\n[dependencies.pki]\npackage='webpki'\n"
                .parse()
                .unwrap(),
            "[package]\nname='b'\n[dev-dependencies]\ntempfile='3'\n[build-dependencies]\ncc='1'\n".parse().unwrap(),
        ];
        let page = "| crate | why |\n|---|---|\n| `serde` | x |\n| `tempfile` | x |\n| `cc` | x |\n| `webpki` | x |\n";
        assert_eq!(compare(&manifests, page), [""; 0]);
        let page = "| `serde` | x |\n| `serde` | y |\n| `cc` | x |\n| `old` | x |\n| `b` | x |\n";
        let expected = [
            "serde: has two lines",
            "old: is not a dependency",
            "b: is not a dependency",
            "tempfile: is a dependency and has no line",
            "webpki: is a dependency and has no line",
        ];
        assert_eq!(compare(&manifests, page), expected.map(|fault| format!("{PAGE}: {fault}")));
    }
}
