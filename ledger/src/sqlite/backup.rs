//! A copy of a database that is in use.
//!
//! Owns that the copy is of one moment, whole, private, and there under its name only when it is all of that.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tempfile::NamedTempFile;

use super::open;
use crate::Opening;

/// Copies the database at `path` to the file `target`, which is replaced if it is there.
pub fn backup(path: &Path, target: &Path) -> anyhow::Result<()> {
    let source = open::open_writer(path, Opening::Existing)?;
    let shown = target.display();
    if target.canonicalize().is_ok_and(|target| path.canonicalize().is_ok_and(|path| path == target)) {
        bail!("{shown} is the database itself; name another file");
    }
    let temporary = Temporary::beside(target)?;
    let mut copy = Connection::open(temporary.file.path()).with_context(|| format!("cannot write {shown}"))?;
    let step = Backup::new(&source, &mut copy)
        // All pages in one step: a read transaction of its own, which stops no writer and sees one moment.
        .and_then(|backup| backup.step(-1))
        .with_context(|| format!("cannot copy the database to {shown}"))?;
    if step != StepResult::Done {
        bail!("the database was locked while it was copied to {shown}; try again");
    }
    // These belong to the clients of the database that is in use.
    copy.execute_batch("PRAGMA secure_delete = ON; DELETE FROM answers")
        .with_context(|| format!("cannot write {shown}"))?;
    copy.close().map_err(|(_, error)| error).with_context(|| format!("cannot write {shown}"))?;
    temporary.persist(target)
}

/// Has `fill` make a database, which is there under the name `target` when it is whole, and replaces what is there.
pub(crate) async fn whole_file(
    target: &Path,
    fill: impl AsyncFnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let temporary = Temporary::beside(target)?;
    fill(temporary.file.path()).await?;
    temporary.persist(target)
}

/// A private file beside the one that it is to become; removed when anything fails.
struct Temporary {
    file: NamedTempFile,
    folder: PathBuf,
}

impl Temporary {
    fn beside(target: &Path) -> anyhow::Result<Self> {
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if target.file_name().is_none() || target.is_dir() {
            bail!("{} is a folder; name a file in it", target.display());
        }
        let file = tempfile::Builder::new().prefix(".els-backup-").tempfile_in(folder).with_context(|| {
            let user = nix::unistd::geteuid();
            format!("cannot write in the folder {} as user {user}, whose the database is", folder.display())
        })?;
        Ok(Temporary { file, folder: folder.to_owned() })
    }

    fn persist(self, target: &Path) -> anyhow::Result<()> {
        let shown = target.display();
        verify(self.file.path()).with_context(|| format!("the copy for {shown} is damaged"))?;
        self.file.as_file().sync_all().with_context(|| format!("cannot write {shown}"))?;
        self.file.persist(target).with_context(|| format!("cannot put the copy at {shown}"))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).with_context(|| format!("cannot write {shown}"))
    }
}

/// Reads the copy as it lies there, without making the further files that a database in use has.
fn verify(copy: &Path) -> anyhow::Result<()> {
    let mut uri = String::from("file:");
    for byte in copy.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open::find_damage(&Connection::open_with_flags(uri, flags)?, copy)
}
