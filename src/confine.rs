//! Least power: once the input is read, the process gives up what it no longer needs.
//!
//! No core dumps (they would hold the key and the token), no new privileges, and, where the kernel has Landlock, no writing
//! but below the folders that the action changes. All of it is best effort: an older kernel takes nothing away from the
//! promises, which rest on `root`; this is the second wall.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Gives up what can be given up. `folders` below `root` may still be written, those that are missing with the nearest one
/// above them, since they will be made; the folders above them may lose empty folders, since those that were made go again.
/// Says how far Landlock went.
pub(crate) fn give_up(root: &Path, folders: &[&str]) -> &'static str {
    // None of these fails on a kernel that this program runs on; if one did, nothing would depend on it.
    let _ = prctl::set_no_new_privs();
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let writable: Vec<PathBuf> = folders.iter().map(|folder| nearest(root, folder)).collect();
    match restrict_writing(&writable) {
        Ok(RulesetStatus::FullyEnforced) => "enforced",
        Ok(RulesetStatus::PartiallyEnforced) => "partly enforced",
        Ok(RulesetStatus::NotEnforced) | Err(_) => "not available",
    }
}

fn restrict_writing(folders: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    // Version 1 of Landlock refuses every rename from one folder into another, which staged files need: so 2 at least.
    // What later versions can refuse besides (truncation) is taken where it is to be had.
    let wanted = AccessFs::from_write(ABI::V3);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V2))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(wanted)?
        .create()?
        .add_rules(path_beneath_rules(folders, wanted))?
        .add_rules(path_beneath_rules(folders.iter().filter_map(|folder| folder.parent()), AccessFs::RemoveDir))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

fn nearest(root: &Path, folder: &str) -> PathBuf {
    let mut place = root.join(folder.trim_start_matches('/'));
    while !place.is_dir() && place != root && place.pop() {}
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Promise: files-confined
    #[test]
    fn after_giving_up_only_the_named_folders_can_be_written() {
        // Landlock holds for the thread that asks for it, and what that starts.
        let confined = std::thread::spawn(|| {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("etc/dnf/vars")).unwrap();
            fs::create_dir_all(root.path().join("var/lib")).unwrap();
            let state = give_up(root.path(), &["/etc/dnf", "/var/lib/els-register"]);
            let write = |path: &str| fs::write(root.path().join(path), "x");
            let inside = (write("etc/dnf/.els-1"), write("var/lib/new"));
            let renamed = fs::rename(root.path().join("etc/dnf/.els-1"), root.path().join("etc/dnf/vars/els_url"));
            let outside = (write("etc/passwd"), write("x"));
            (state, inside.0.and(inside.1).and(renamed).is_ok(), outside.0.is_err() && outside.1.is_err())
        });
        let (state, inside, outside) = confined.join().unwrap();
        assert!(inside, "{state}");
        assert!(outside || state == "not available", "{state}");
    }
}
