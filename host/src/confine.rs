//! Least privilege: once the input is read, the process gives up what it no longer needs.
//!
//! No core dumps (they would hold the key and the token), no new privileges, and, where the kernel has Landlock, writing
//! only below the folders that the action changes. All of it is best effort: it is a second barrier, and no promise depends
//! on it. The first one is `root`.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// How far Landlock restricts this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Landlock {
    Enforced,
    Partly,
    NotAvailable,
}

/// Gives up what can be given up. `folders` below `root` can still be written. For one that is missing, the nearest folder
/// above it can be written, since it will be made. From the folders above them empty folders can be removed.
pub fn give_up(root: &Path, folders: &[&str]) -> Landlock {
    // None of these fails on a kernel that this program runs on, and nothing depends on them.
    let _ = prctl::set_no_new_privs();
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let writable: BTreeSet<PathBuf> = folders.iter().map(|folder| nearest(root, folder)).collect();
    match restrict_writing(&writable) {
        Ok(RulesetStatus::FullyEnforced) => Landlock::Enforced,
        Ok(RulesetStatus::PartiallyEnforced) => Landlock::Partly,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Landlock::NotAvailable,
    }
}

fn restrict_writing(folders: &BTreeSet<PathBuf>) -> Result<RulesetStatus, RulesetError> {
    // Version 1 of Landlock refuses every rename from one folder into another, which staged files need: so at least 2.
    // Version 3 can also refuse truncation; it is used where the kernel has it.
    let wanted = AccessFs::from_write(ABI::V3);
    let above = folders.iter().filter_map(|folder| folder.parent());
    let above: BTreeSet<&Path> = above.filter(|folder| !folders.contains(*folder)).collect();
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V2))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(wanted)?
        .create()?
        .add_rules(path_beneath_rules(folders, wanted))?
        .add_rules(path_beneath_rules(above, AccessFs::RemoveDir))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

fn nearest(root: &Path, folder: &str) -> PathBuf {
    let mut place = root.join(folder.trim_start_matches('/'));
    // A folder that cannot be looked at exists: its parent gets no right for it.
    let missing = |place: &Path| std::fs::metadata(place).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    while missing(&place) && place != root && place.pop() {}
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
        assert!(inside, "{state:?}");
        assert!(outside || state == Landlock::NotAvailable, "{state:?}");
    }
}
