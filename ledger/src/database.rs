//! Which database: its URL, and whose files it is.
//!
//! Owns the forms of `--database` and the rule that a command run as root acts as the owner of the database's folder.
//! Opens nothing.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

use crate::Target;

/// A database, by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://PATH`
    Sqlite(PathBuf),
    /// `postgres://USER@HOST/NAME`
    Postgres(Box<Target>),
}

impl DatabaseUrl {
    /// Reads a URL. The error never repeats it: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) =
            url.split_once("://").ok_or("a database is named by a URL, such as sqlite:///path/els.db")?;
        match scheme {
            "sqlite" if rest.is_empty() || rest.ends_with('/') => {
                Err("sqlite:// is followed by the path of a file, such as sqlite:///var/lib/els-backend/els.db".into())
            }
            "sqlite" => Ok(DatabaseUrl::Sqlite(PathBuf::from(rest))),
            "postgres" | "postgresql" => Target::parse(url).map(|target| DatabaseUrl::Postgres(Box::new(target))),
            _ => Err(
                "the scheme of the database's URL is not known; use sqlite:///path/els.db or postgres://USER@HOST/NAME"
                    .into(),
            ),
        }
    }
}

/// When this process is root's: becomes the owner of the folder in which the database lies, for good. Files that the
/// database makes then belong to the user that `serve` runs as. A folder that is not there, or is root's, changes nothing; nor does
/// a server, which knows its own users.
pub fn become_owner(url: &DatabaseUrl) -> anyhow::Result<()> {
    let DatabaseUrl::Sqlite(path) = url else { return Ok(()) };
    if !geteuid().is_root() {
        return Ok(());
    }
    let folder = folder_of(path);
    let owner = match nix::sys::stat::stat(folder) {
        Ok(owner) => owner,
        Err(nix::errno::Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at the folder {}", folder.display())),
    };
    let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    if user.is_root() {
        return Ok(());
    }
    // In this order: without root's rights the groups could not be given up any more.
    setgroups(&[group])
        .and_then(|()| setgid(group))
        .and_then(|()| setuid(user))
        .with_context(|| format!("cannot become user {user}, the owner of {}", folder.display()))
}

/// The folder that will be root's, since root is the first to make this database.
pub fn folder_for_root(url: &DatabaseUrl) -> Option<&Path> {
    let DatabaseUrl::Sqlite(path) = url else { return None };
    let folder = folder_of(path);
    (geteuid().is_root() && matches!(folder.try_exists(), Ok(false))).then_some(folder)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: backend-no-secret
    #[test]
    fn sqlite_is_named_by_a_path_and_others_are_refused_without_repeating_them() {
        assert_eq!(DatabaseUrl::parse("sqlite:///a/b.db"), Ok(DatabaseUrl::Sqlite("/a/b.db".into())));
        assert_eq!(DatabaseUrl::parse("sqlite://b.db"), Ok(DatabaseUrl::Sqlite("b.db".into())));
        assert!(matches!(DatabaseUrl::parse("postgres://u:hunter2@h/db"), Ok(DatabaseUrl::Postgres(_))));
        for bad in ["mysql://u:hunter2@h/db", "hunter2", "sqlite://", "sqlite:///a/"] {
            let message = DatabaseUrl::parse(bad).unwrap_err();
            assert!(message.contains("sqlite:///"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
