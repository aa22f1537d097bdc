//! Changes to files, as a list that is applied whole or not at all.
//!
//! All new content is first staged in temporary files, so that a full disk is noticed before anything has changed. Then the
//! changes are made in their order, each one durable before the next begins. What a change replaces is kept under a
//! temporary name until all changes are made; if one fails, the old files come back by a rename, which needs no space.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, linkat, unlinkat};
use xattr::FileExt;

use super::walk::{Folder, NO_LINK};
use super::{Doing, Found, Result, Root, names, require_regular, split};

/// One change to one file.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named after what they hold")]
pub enum Change {
    /// The file has this content and this mode afterwards. `staging` is the folder for its temporary file, on the same file
    /// system; folders that are missing are made with mode 0755.
    Write { path: String, staging: String, mode: u32, content: Vec<u8> },
    /// The file has another name afterwards; one that had that name is replaced.
    Rename { from: String, to: String },
    /// The file is gone afterwards. `staging` as above.
    Remove { path: String, staging: String },
    /// The folder is gone afterwards, unless it is missing or holds something.
    RemoveFolder { path: String },
}

/// How one change is taken back.
enum Undo {
    /// The old file lies here and belongs there.
    Restore { kept: Place, to: Place },
    /// There was none: what stands there is new.
    Remove { at: Place },
    /// The file was renamed, and nothing was replaced.
    Rename { from: Place, to: Place },
}

/// A name in an open folder.
#[derive(Clone)]
struct Place {
    folder: Rc<Folder>,
    name: String,
}

impl Root {
    /// Makes all changes, in their order, or none: after an error those that were made have been taken back.
    pub fn apply(&self, changes: &[Change]) -> Result<()> {
        let mut undo = Some(Vec::new());
        let mut staged = Vec::new();
        let mut made = Ok(());
        for change in changes {
            match self.stage(change) {
                Ok(place) => staged.push(place),
                Err(error) => {
                    made = Err(error);
                    break;
                }
            }
        }
        for (change, place) in changes.iter().zip(&staged) {
            if made.is_ok() {
                made = self.make(change, place.as_ref(), &mut undo);
            }
        }
        let undo = undo.unwrap_or_default();
        if made.is_ok() {
            keep(undo);
        } else {
            for place in staged.into_iter().flatten() {
                let _ = place.remove();
            }
            take_back(undo);
        }
        made
    }

    /// Makes the changes, in their order, without a way back: for what must go forward. Stops at the first error, so that a
    /// journal that comes last stays until all before it is done.
    pub fn carry_out(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let staged = self.stage(change)?;
            self.make(change, staged.as_ref(), &mut None).inspect_err(|_| {
                let _ = staged.as_ref().map(Place::remove);
            })?;
        }
        Ok(())
    }

    /// Those of these folders that do not exist.
    pub fn missing(&self, folders: &[&str]) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for path in folders {
            match self.folder(path) {
                Ok(_) => {}
                Err(Errno::ENOENT) => missing.push((*path).to_owned()),
                Err(errno) => return Err(self.at(Doing::WriteTo, path)(errno)),
            }
        }
        Ok(missing)
    }

    /// Fails unless files can be put into each of these folders; those that are missing are made. Where temporary files are
    /// made (`staging`), one of 4 KiB is made and removed again; in other folders, whose every file may be read by others, no
    /// file appears.
    pub fn require_writable(&self, folders: &[&str], staging: &[&str]) -> Result<()> {
        for path in folders {
            let check = || match staging.contains(path) {
                true => self.temporary(path, &[0; 4096], 0o600)?.remove(),
                false => require_access(&*self.make_folder(path)?),
            };
            check().map_err(self.at(Doing::WriteTo, path))?;
        }
        Ok(())
    }

    /// Removes what an earlier run that was killed left in these folders: regular files with our prefix.
    pub fn sweep(&self, folders: &[&str]) -> Result<()> {
        for path in folders {
            let folder = match self.folder(path) {
                Err(Errno::ENOENT) => continue,
                folder => folder.map_err(self.at(Doing::List, path))?,
            };
            let found = folder.open_again().and_then(names).map_err(self.at(Doing::List, path))?;
            for name in found.into_iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
                let place = Place { folder: folder.clone(), name };
                let removed = match place.stat() {
                    Ok(()) => unlinkat(&*place.folder, place.name.as_str(), UnlinkatFlags::NoRemoveDir),
                    // Not a regular file, so not ours; or removed already.
                    Err(Errno::ELOOP | Errno::EISDIR | Errno::ENOTSUP | Errno::ENOENT) => Ok(()),
                    Err(errno) => Err(errno),
                };
                removed.map_err(self.at(Doing::Remove, &format!("{path}/{}", place.name)))?;
            }
        }
        Ok(())
    }

    /// What a change needs before it can be made without failing for want of space.
    fn stage(&self, change: &Change) -> Result<Option<Place>> {
        match change {
            Change::Write { path, staging, mode, content } => {
                let (folder, _) = split(path);
                self.make_folder(folder).map_err(self.at(Doing::MakeFolderOf, path))?;
                self.temporary(staging, content, *mode).map(Some).map_err(self.at(Doing::Write, path))
            }
            _ => Ok(None),
        }
    }

    /// Makes one change. `undo` takes what is needed to take it back; `None` if it never will be.
    fn make(&self, change: &Change, staged: Option<&Place>, undo: &mut Option<Vec<Undo>>) -> Result<()> {
        let mut make = || -> nix::Result<()> {
            match change {
                Change::Write { path, staging, .. } => {
                    let target = self.place(path)?;
                    if let Some(undo) = undo {
                        undo.push(match self.keep_aside(&target, staging)? {
                            Some(kept) => Undo::Restore { kept, to: target.clone() },
                            None => Undo::Remove { at: target.clone() },
                        });
                    }
                    staged.expect("every write was staged").rename_to(&target)
                }
                Change::Rename { from, to } => {
                    let (source, target) = (self.place(from)?, self.place(to)?);
                    if let Some(undo) = undo
                        && let Some(kept) = self.keep_aside(&target, split(to).0)?
                    {
                        undo.push(Undo::Restore { kept, to: target.clone() });
                    }
                    source.rename_to(&target)?;
                    if let Some(undo) = undo {
                        undo.push(Undo::Rename { from: target, to: source });
                    }
                    Ok(())
                }
                Change::Remove { path, staging } => {
                    let target = self.place(path)?;
                    if let Some(undo) = undo
                        && let Some(kept) = self.keep_aside(&target, staging)?
                    {
                        undo.push(Undo::Restore { kept, to: target.clone() });
                    }
                    match target.remove() {
                        Err(Errno::ENOENT) => Ok(()),
                        removed => removed,
                    }
                }
                Change::RemoveFolder { path } => {
                    let Place { folder, name } = match self.place(path) {
                        Err(Errno::ENOENT) => return Ok(()),
                        place => place?,
                    };
                    match unlinkat(&*folder, name.as_str(), UnlinkatFlags::RemoveDir) {
                        Ok(()) => {
                            self.forget(path);
                            folder.sync()
                        }
                        Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY) => Ok(()),
                        Err(errno) => Err(errno),
                    }
                }
            }
        };
        match make() {
            // The folder is not there, so neither is what was to be removed from it.
            Err(Errno::ENOENT) if matches!(change, Change::Remove { .. }) => Ok(()),
            made => {
                let (doing, path) = match change {
                    Change::Write { path, .. } => (Doing::Write, path),
                    Change::Rename { from, .. } => (Doing::Rename, from),
                    Change::Remove { path, .. } | Change::RemoveFolder { path } => (Doing::Remove, path),
                };
                made.map_err(self.at(doing, path))
            }
        }
    }

    /// A second name, in the folder `staging`, for the file at `target`; `None` if there is no file.
    fn keep_aside(&self, target: &Place, staging: &str) -> nix::Result<Option<Place>> {
        match target.stat() {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let kept = Place { folder: self.folder(staging)?, name: temporary_name() };
        linkat(&*target.folder, target.name.as_str(), &*kept.folder, kept.name.as_str(), AtFlags::empty())?;
        Ok(Some(kept))
    }

    /// A file of this content and mode under a temporary name in `folder`, durable, labelled as the folder is.
    fn temporary(&self, folder: &str, content: &[u8], mode: u32) -> nix::Result<Place> {
        let place = Place { folder: self.make_folder(folder)?, name: temporary_name() };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | NO_LINK;
        let mut file = File::from(openat(&*place.folder, place.name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let fill = |file: &mut File| -> std::io::Result<()> {
            file.write_all(content)?;
            copy_label(&place.folder, file)?;
            fchmod(file.as_fd(), Mode::from_bits_truncate(mode))?;
            file.sync_all()
        };
        fill(&mut file).map_err(|error| {
            let _ = place.remove();
            super::errno_of(&error)
        })?;
        Ok(place)
    }

    fn place(&self, path: &str) -> nix::Result<Place> {
        let (folder, name) = split(path);
        Ok(Place { folder: self.folder(folder)?, name: name.to_owned() })
    }
}

impl Place {
    /// Whether a regular file is here.
    fn stat(&self) -> nix::Result<()> {
        require_regular(&fstatat(&*self.folder, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    fn rename_to(&self, to: &Place) -> nix::Result<()> {
        renameat(&*self.folder, self.name.as_str(), &*to.folder, to.name.as_str())?;
        to.folder.sync()
    }

    fn remove(&self) -> nix::Result<()> {
        unlinkat(&*self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir)?;
        self.folder.sync()
    }
}

/// The changes are final: what they replaced is removed.
fn keep(undo: Vec<Undo>) {
    let mut folders: Vec<Rc<Folder>> = Vec::new();
    for undo in undo {
        if let Undo::Restore { kept, .. } = undo {
            // A leftover is swept by the next run.
            let _ = unlinkat(&*kept.folder, kept.name.as_str(), UnlinkatFlags::NoRemoveDir);
            if !folders.iter().any(|known| Rc::ptr_eq(known, &kept.folder)) {
                folders.push(kept.folder);
            }
        }
    }
    for folder in folders {
        let _ = folder.sync();
    }
}

/// Takes the changes back, the last one first. Goes on after an error: as much as can be is as it was.
fn take_back(undo: Vec<Undo>) {
    for undo in undo.into_iter().rev() {
        let _ = match undo {
            Undo::Restore { kept, to } => {
                let restored = kept.rename_to(&to);
                // Two names of one file: rename(2) does nothing then, and says that it has succeeded.
                let _ = kept.remove();
                restored
            }
            Undo::Remove { at } => at.remove(),
            Undo::Rename { from, to } => from.rename_to(&to),
        };
    }
}

/// Whether the folder can be written: also a read-only file system and an immutable folder refuse (access(2)).
fn require_access(folder: &Folder) -> nix::Result<()> {
    match faccessat(folder, ".", AccessFlags::W_OK, AtFlags::empty()) {
        // Old seccomp filters answer EPERM to faccessat2(2), which they do not know. An immutable folder refuses this too.
        Err(Errno::EPERM) => {
            let mode = Mode::from_bits_truncate(fstat(folder.readable()?)?.st_mode & 0o7777);
            fchmod(folder.readable()?, mode)
        }
        access => access,
    }
}

/// Gives the file the SELinux label of its folder. Where the folder has none (no SELinux), or the file system keeps none,
/// there is nothing to do.
fn copy_label(folder: &Folder, file: &File) -> std::io::Result<()> {
    let none = |error: &std::io::Error| error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32);
    match Readable(folder.readable()?).get_xattr(SELINUX_LABEL) {
        Ok(Some(label)) => match file.set_xattr(SELINUX_LABEL, &label) {
            Err(error) if !none(&error) => Err(error),
            _ => Ok(()),
        },
        Err(error) if !none(&error) => Err(error),
        _ => Ok(()),
    }
}

/// A folder whose attributes are read, without a descriptor of its own.
struct Readable<'a>(BorrowedFd<'a>);

impl AsRawFd for Readable<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl FileExt for Readable<'_> {}

/// A name that no other file has: 64 random bits behind our prefix.
fn temporary_name() -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the kernel gives random bytes");
    format!("{TEMPORARY_PREFIX}{}", els_protocol::hex(&random))
}

/// Compares without showing: content may be a secret.
impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Write { path, mode, content, .. } => write!(f, "write {path} {mode:o} ({} bytes)", content.len()),
            Change::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Change::Remove { path, .. } => write!(f, "remove {path}"),
            Change::RemoveFolder { path } => write!(f, "remove the folder {path}"),
        }
    }
}

impl Found {
    /// Whether the file has this content and this mode. Content that may not be read counts as equal.
    pub fn is(&self, content: &[u8], mode: u32) -> bool {
        self.mode == mode && self.content.as_deref().is_none_or(|found| found == content)
    }
}

/// What the name of every temporary file begins with. Whatever bears it is ours to remove.
const TEMPORARY_PREFIX: &str = ".els-";

/// Where SELinux keeps the label of a file (selinux(8)).
const SELINUX_LABEL: &str = "security.selinux";
