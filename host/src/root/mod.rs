//! Everything that touches files: below one folder, the root, and nowhere else.
//!
//! Two rules hold for all of it. Reading may follow symbolic links, but a link cannot lead out of the root: an absolute
//! target counts from the root, as it would for a process in a chroot. Changing follows no link at all: a link in the way
//! is an error, so that nobody who can write to one folder can make root write to another.
//!
//! A file counts as absent only if the kernel says so (`ENOENT`, `ENOTDIR`). Every other error is an error.
//!
//! Paths are absolute texts as they are on the machine (`/etc/dnf/vars`), without the root. This module must not know the
//! domain: registrations, repositories, keys.

mod change;
mod lock;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};

pub use change::Change;
pub use lock::Lock;

use walk::Folder;

/// The largest file that is read, in bytes. All that our programs read is far smaller.
pub const READ_LIMIT: usize = 1024 * 1024;

/// A name that no file has.
const NO_FILE: &str = ".els-none";

/// A folder below which every path is taken.
pub struct Root {
    folder: Rc<Folder>,
    /// The folders that were opened, by their paths.
    folders: RefCell<BTreeMap<String, Rc<Folder>>>,
}

/// What could not be done with which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// What was tried.
    pub doing: Doing,
    /// With what.
    pub path: String,
    /// The kernel's reason, or one of ours: `ELOOP` a link in the way, `EILSEQ` not UTF-8, `EFBIG` too large, `ENOTSUP`
    /// not a regular file.
    pub errno: Errno,
    /// With `ELOOP`, the part of the path that is a link, if it is not the whole.
    pub link: Option<String>,
}

/// What can be done with a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Doing {
    Open,
    Read,
    List,
    Write,
    WriteTo,
    MakeFolderOf,
    Rename,
    Remove,
    Lock,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its content; `None` if this user may not read it.
    pub content: Option<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
}

/// What work on files brings.
pub type Result<T> = std::result::Result<T, PathError>;

impl Root {
    /// Opens the folder `path` of the running system as the root.
    pub fn open(path: &Path) -> Result<Self> {
        let handle = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| at(Doing::Open, &path.display().to_string())(errno))?;
        Ok(Root { folder: Rc::new(Folder::new(handle)), folders: RefCell::default() })
    }

    /// The content of the file `path`, links followed inside the root; `None` if there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read_with_mode(path)?.map(|(content, _)| content))
    }

    /// Like [`Root::read`], with the permission bits of the file that was read.
    pub fn read_with_mode(&self, path: &str) -> Result<Option<(Vec<u8>, u32)>> {
        let read = || match self.open_following(path, OFlag::O_RDONLY) {
            Ok(file) => read_regular(&file).map(Some),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        };
        read().map_err(self.at(Doing::Read, path))
    }

    /// Like [`Root::read`], as text. A file that is not UTF-8 is an error.
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        self.read(path)?
            .map(|content| String::from_utf8(content).map_err(|_| self.at(Doing::Read, path)(Errno::EILSEQ)))
            .transpose()
    }

    /// Whether there is anything at `path`, links followed inside the root.
    pub fn exists(&self, path: &str) -> Result<bool> {
        let exists = || -> nix::Result<()> {
            let (folder, name) = split(path);
            match self.folder(folder) {
                Ok(folder) => match kind(&fstatat(&*folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?) {
                    SFlag::S_IFLNK => self.follow(path, OFlag::O_PATH).map(drop),
                    _ => Ok(()),
                },
                Err(Errno::ELOOP) => self.follow(path, OFlag::O_PATH).map(drop),
                Err(errno) => Err(errno),
            }
        };
        match exists() {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(self.at(Doing::Read, path)(errno)),
        }
    }

    /// The file `path` itself: a link, a folder or a device in its place is an error. An ordinary user sees that files
    /// exist which it may not read.
    pub fn look(&self, path: &str) -> Result<Option<Found>> {
        let look = || -> nix::Result<Option<Found>> {
            let (folder, name) = split(path);
            let folder = match self.folder(folder) {
                Err(Errno::ENOENT) => return Ok(None),
                folder => folder?,
            };
            let stat = match fstatat(&*folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => return Ok(None),
                stat => stat?,
            };
            require_regular(&stat)?;
            match openat(&*folder, name, OFlag::O_RDONLY | walk::NO_LINK, Mode::empty()) {
                Ok(file) => read_regular(&file).map(|(content, mode)| Some(Found { content: Some(content), mode })),
                // For root it is a fault, and nothing may be concluded from it.
                Err(Errno::EACCES | Errno::EPERM) if !nix::unistd::geteuid().is_root() => {
                    Ok(Some(Found { content: None, mode: mode_of(&stat) }))
                }
                Err(Errno::ENOENT) => Ok(None),
                Err(errno) => Err(errno),
            }
        };
        look().map_err(self.at(Doing::Read, path))
    }

    /// The names in the folder `path`, sorted; none if there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let list = || match self.open_following(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(folder) => names(folder),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        };
        list().map_err(self.at(Doing::List, path))
    }

    /// Whether both paths lead to the same folder, links followed inside the root.
    pub fn is_same_folder(&self, one: &str, other: &str) -> bool {
        let identity = |path: &str| {
            let stat = self.follow(path, OFlag::O_PATH).and_then(fstat).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        identity(one).is_some_and(|one| Some(one) == identity(other))
    }

    /// Whether a file can be renamed from one of these folders into the other. A folder that is missing will be made on the
    /// mount of the one above it.
    pub fn is_one_mount(&self, from: &str, to: &str) -> bool {
        let (Ok(from), Ok(to)) = (self.folder(from), self.folder(to)) else { return true };
        // The kernel compares the mounts before it looks for the file.
        renameat(&*from, NO_FILE, &*to, NO_FILE) != Err(Errno::EXDEV)
    }

    /// Opens `path`, links followed inside the root.
    fn open_following(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        // Most paths have no link in them: one call then opens the file in a folder that is open already.
        let (folder, name) = split(path);
        if walk::components(path).all(|name| name != "..") && !name.is_empty() {
            let opened =
                self.folder(folder).and_then(|folder| openat(&*folder, name, flags | walk::NO_LINK, Mode::empty()));
            match opened {
                // Also what O_NOFOLLOW together with O_DIRECTORY says of a link.
                Err(Errno::ELOOP | Errno::ENOTDIR) => {}
                opened => return opened,
            }
        }
        self.follow(path, flags)
    }

    /// Adds the action and the path to an error number.
    fn at(&self, doing: Doing, path: &str) -> impl FnOnce(Errno) -> PathError {
        let path = path.to_owned();
        move |errno| {
            let link = (errno == Errno::ELOOP).then(|| self.link_in(&path)).flatten();
            PathError { doing, path, errno, link }
        }
    }

    /// The first folder on the way to `path` that is a link.
    fn link_in(&self, path: &str) -> Option<String> {
        let (folder, _) = split(path);
        let ends = folder.match_indices('/').map(|(at, _)| at).skip(1).chain([folder.len()]);
        let is_link = |end: &usize| readlinkat(&*self.folder, folder[..*end].trim_start_matches('/')).is_ok();
        ends.into_iter().find(is_link).map(|end| folder[..end].to_owned())
    }

    fn follow(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        walk::open_following(self.folder.as_fd(), path, flags)
    }

    /// The folder `path`, reached without following a link: one on the way is `ELOOP`.
    fn folder(&self, path: &str) -> nix::Result<Rc<Folder>> {
        self.walk(path, |_, _| Err(Errno::ENOENT))
    }

    /// Like [`Root::folder`]; folders that are missing are made, with mode 0755.
    fn make_folder(&self, path: &str) -> nix::Result<Rc<Folder>> {
        self.walk(path, |folder, name| {
            match mkdirat(folder, name, Mode::from_bits_truncate(0o700)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let made = folder.step(name)?;
            nix::sys::stat::fchmod(made.readable()?, Mode::from_bits_truncate(0o755))?;
            folder.sync()?;
            Ok(made)
        })
    }

    fn walk(&self, path: &str, missing: impl Fn(&Folder, &str) -> nix::Result<Folder>) -> nix::Result<Rc<Folder>> {
        let mut folder = self.folder.clone();
        let mut reached = String::new();
        for name in walk::components(path) {
            reached = reached + "/" + name;
            let known = self.folders.borrow().get(&reached).cloned();
            folder = match known {
                Some(known) => known,
                None => {
                    let opened = match folder.step(name) {
                        Err(Errno::ENOENT) => missing(&folder, name),
                        opened => opened,
                    };
                    let opened = Rc::new(opened?);
                    self.folders.borrow_mut().insert(reached.clone(), opened.clone());
                    opened
                }
            };
        }
        Ok(folder)
    }

    /// The folder `path` is gone: neither it nor what was below it is used again.
    fn forget(&self, path: &str) {
        let below = format!("{path}/");
        self.folders.borrow_mut().retain(|known, _| known != path && !known.starts_with(&below));
    }
}

/// The content and the permission bits of a file that the administrator named; standard input for `-`, which only this
/// process can read. Not below the root: an option's path is a path of the running system.
pub fn read_named(path: &str) -> Result<(Vec<u8>, u32)> {
    let read = || {
        if path == "-" {
            return Ok((read_at_most(0, io::stdin().lock()).map_err(|error| errno_of(&error))?, 0o600));
        }
        let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let stat = fstat(&file)?;
        if kind(&stat) == SFlag::S_IFDIR {
            return Err(Errno::EISDIR);
        }
        read_open(&file, &stat)
    };
    read().map_err(at(Doing::Read, path))
}

/// Adds the action and the path to an error number.
fn at(doing: Doing, path: &str) -> impl FnOnce(Errno) -> PathError {
    let path = path.to_owned();
    move |errno| PathError { doing, path, errno, link: None }
}

/// `/a/b/c` as `/a/b` and `c`.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The names in an open folder, sorted.
fn names(folder: OwnedFd) -> nix::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(folder)?.iter() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn mode_of(stat: &FileStat) -> u32 {
    stat.st_mode & 0o7777
}

fn require_regular(stat: &FileStat) -> nix::Result<()> {
    match kind(stat) {
        SFlag::S_IFREG => Ok(()),
        SFlag::S_IFLNK => Err(Errno::ELOOP),
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::ENOTSUP),
    }
}

fn read_regular(file: &OwnedFd) -> nix::Result<(Vec<u8>, u32)> {
    let stat = fstat(file)?;
    require_regular(&stat)?;
    read_open(file, &stat)
}

fn read_open(file: &OwnedFd, stat: &FileStat) -> nix::Result<(Vec<u8>, u32)> {
    let size = usize::try_from(stat.st_size).unwrap_or(0).min(READ_LIMIT);
    let content = read_at_most(size, Descriptor(file)).map_err(|error| errno_of(&error))?;
    Ok((content, mode_of(stat)))
}

/// Reads to the end. `expected` bytes are read in one call.
fn read_at_most(expected: usize, source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(expected.max(1024) + 1);
    io::Read::read_to_end(&mut io::Read::take(source, READ_LIMIT as u64 + 1), &mut content)?;
    if content.len() > READ_LIMIT { Err(Errno::EFBIG.into()) } else { Ok(content) }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Reads a descriptor without owning it.
struct Descriptor<'a>(&'a OwnedFd);

impl io::Read for Descriptor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        nix::unistd::read(self.0, buffer).map_err(io::Error::from)
    }
}
