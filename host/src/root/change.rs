//! Changes to files, as a list that is applied whole or not at all.
//!
//! All new content is first staged in temporary files, so that a full disk is noticed before anything has changed. Then the
//! changes are made in their order, each one durable before the next begins. What a change replaces is kept under a
//! temporary name until [`Applied::keep`]; if a later change fails, or the caller gives up, the old files come back by a
//! rename, which needs no space.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, fsync, linkat, unlinkat};
use xattr::FileExt;

use super::{Found, Result, Root, at, require_regular, split, walk};

/// What the name of every temporary file begins with. Whatever bears it is ours to remove.
const TEMPORARY_PREFIX: &str = ".els-";

/// Where SELinux keeps the label of a file (selinux(8)).
const SELINUX_LABEL: &str = "security.selinux";

/// One change to one file.
#[derive(Clone, PartialEq, Eq)]
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

/// Changes that were made and can still be taken back.
#[must_use]
pub struct Applied {
    undo: Option<Vec<Undo>>,
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
struct Place {
    folder: OwnedFd,
    name: String,
}

impl Root {
    /// Makes the changes, in their order. On an error those that were made have been taken back.
    pub fn apply(&self, changes: &[Change]) -> Result<Applied> {
        let mut applied = Applied { undo: Some(Vec::new()) };
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
                made = self.make(change, place.as_ref(), &mut applied.undo);
            }
        }
        match made {
            Ok(()) => Ok(applied),
            Err(error) => {
                for place in staged.into_iter().flatten() {
                    let _ = place.remove();
                }
                applied.take_back();
                Err(error)
            }
        }
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

    /// Tries whether files can be put into each of these folders. Where temporary files are made (`staging`), one of 4 KiB is
    /// made and removed again; in other folders, whose every file may be read by others, nothing appears. Folders that are
    /// missing are made, and added to `made`.
    pub fn require_writable(&self, folders: &[&str], staging: &[&str], made: &mut Vec<String>) -> Result<()> {
        for path in folders {
            if walk::open_folder(self.folder.as_fd(), path).is_err_and(|errno| errno == Errno::ENOENT) {
                made.push((*path).to_owned());
            }
            if !staging.contains(path) {
                // Tells of a read-only file system and of an immutable folder too (access(2), EROFS and EPERM).
                let folder = self.make_folder(path).map_err(at("write to", path))?;
                faccessat(&folder, ".", AccessFlags::W_OK, AtFlags::empty()).map_err(at("write to", path))?;
                continue;
            }
            let place = self.temporary(path, &[0; 4096], 0o600).map_err(at("write to", path))?;
            place.remove().map_err(at("write to", path))?;
        }
        Ok(())
    }

    /// Removes what an earlier run that was killed left in these folders: regular files with our prefix.
    pub fn sweep(&self, folders: &[&str]) -> Result<()> {
        for path in folders {
            let Ok(folder) = walk::open_folder(self.folder.as_fd(), path) else { continue };
            for name in self.list(path)?.into_iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
                let regular = fstatat(&folder, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
                    .and_then(|stat| require_regular(&stat))
                    .is_ok();
                if regular {
                    unlinkat(&folder, name.as_str(), UnlinkatFlags::NoRemoveDir)
                        .map_err(at("remove", &format!("{path}/{name}")))?;
                }
            }
        }
        Ok(())
    }

    /// Opens the folder `path`, made with mode 0755 where it is missing. Follows no link.
    pub(super) fn make_folder(&self, path: &str) -> nix::Result<OwnedFd> {
        let mut folder = walk::open_folder(self.folder.as_fd(), "")?;
        for name in walk::components(path) {
            folder = match walk::step(folder.as_fd(), name) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&folder, name, Mode::from_bits_truncate(0o700)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    let made = openat(&folder, name, flags, Mode::empty())?;
                    fchmod(&made, Mode::from_bits_truncate(0o755))?;
                    sync_folder(&folder)?;
                    walk::step(folder.as_fd(), name)?
                }
                step => step?,
            };
        }
        Ok(folder)
    }

    /// What a change needs before it can be made without failing for want of space.
    fn stage(&self, change: &Change) -> Result<Option<Place>> {
        match change {
            Change::Write { path, staging, mode, content } => {
                let (folder, _) = split(path);
                self.make_folder(folder).map_err(at("make the folder of", path))?;
                self.temporary(staging, content, *mode).map(Some).map_err(at("write", path))
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
                            Some(kept) => Undo::Restore { kept, to: target.again()? },
                            None => Undo::Remove { at: target.again()? },
                        });
                    }
                    staged.expect("every write was staged").rename_to(&target)
                }
                Change::Rename { from, to } => {
                    let (source, target) = (self.place(from)?, self.place(to)?);
                    if let Some(undo) = undo
                        && let Some(kept) = self.keep_aside(&target, split(to).0)?
                    {
                        undo.push(Undo::Restore { kept, to: target.again()? });
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
                        undo.push(Undo::Restore { kept, to: target.again()? });
                    }
                    match target.remove() {
                        Err(Errno::ENOENT) => Ok(()),
                        removed => removed,
                    }
                }
                Change::RemoveFolder { path } => {
                    let Some((folder, name)) = self.parent(path)? else { return Ok(()) };
                    match unlinkat(&folder, name, UnlinkatFlags::RemoveDir) {
                        Ok(()) => sync_folder(&folder),
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
                    Change::Write { path, .. } => ("write", path),
                    Change::Rename { from, .. } => ("rename", from),
                    Change::Remove { path, .. } | Change::RemoveFolder { path } => ("remove", path),
                };
                made.map_err(at(doing, path))
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
        let kept = Place { folder: walk::open_folder(self.folder.as_fd(), staging)?, name: temporary_name() };
        linkat(&target.folder, target.name.as_str(), &kept.folder, kept.name.as_str(), AtFlags::empty())?;
        Ok(Some(kept))
    }

    /// A file of this content and mode under a temporary name in `folder`, durable, labelled as the folder is.
    fn temporary(&self, folder: &str, content: &[u8], mode: u32) -> nix::Result<Place> {
        let place = Place { folder: self.make_folder(folder)?, name: temporary_name() };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&place.folder, place.name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
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
        Ok(Place { folder: walk::open_folder(self.folder.as_fd(), folder)?, name: name.to_owned() })
    }
}

impl Applied {
    /// The changes stand: what they replaced is removed for good.
    pub fn keep(mut self) {
        for undo in self.undo.take().unwrap_or_default() {
            if let Undo::Restore { kept, .. } = undo {
                // A leftover is swept by the next run.
                let _ = kept.remove();
            }
        }
    }

    /// Takes the changes back, the last one first. Goes on after an error: as much as can be is as it was.
    pub fn take_back(mut self) {
        for undo in self.undo.take().unwrap_or_default().into_iter().rev() {
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
}

impl Place {
    /// Whether a regular file is here.
    fn stat(&self) -> nix::Result<()> {
        require_regular(&fstatat(&self.folder, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    fn rename_to(&self, to: &Place) -> nix::Result<()> {
        renameat(&self.folder, self.name.as_str(), &to.folder, to.name.as_str())?;
        sync_folder(&to.folder)
    }

    fn remove(&self) -> nix::Result<()> {
        unlinkat(&self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir)?;
        sync_folder(&self.folder)
    }

    fn again(&self) -> nix::Result<Place> {
        Ok(Place {
            folder: openat(&self.folder, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?,
            name: self.name.clone(),
        })
    }
}

/// Makes renames in a folder durable. The folder is opened anew, since an `O_PATH` descriptor cannot be synced.
fn sync_folder(folder: &OwnedFd) -> nix::Result<()> {
    fsync(openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Gives the file the SELinux label of its folder. Where the folder has none (no SELinux), or the file system keeps none,
/// there is nothing to do.
fn copy_label(folder: &OwnedFd, file: &File) -> std::io::Result<()> {
    let folder =
        File::from(openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?);
    match folder.get_xattr(SELINUX_LABEL) {
        Ok(Some(label)) => match file.set_xattr(SELINUX_LABEL, &label) {
            Err(error) if error.raw_os_error() != Some(Errno::EOPNOTSUPP as i32) => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

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
