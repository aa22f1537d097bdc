//! Everything that touches files: below one folder, the root, and nowhere else.
//!
//! Two rules hold for all of it. Reading may follow symbolic links, but a link cannot lead out of the root: an absolute
//! target counts from the root, as it would for a process in a chroot. Changing follows no link at all: a link in the way
//! is an error, so that nobody who can write to one folder can make root write to another.
//!
//! Paths are absolute texts as they stand on the machine (`/etc/dnf/vars`), without the root. This module knows no word of
//! the domain: no registration, no repository, no key.

mod change;
mod lock;
mod walk;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

pub use change::Change;
pub use lock::Lock;

/// The largest file that is read, in bytes. All that this program reads is far smaller.
const READ_LIMIT: usize = 1024 * 1024;

/// A folder below which every path is taken.
pub struct Root {
    folder: OwnedFd,
}

/// What went wrong with which file.
#[derive(Debug)]
pub struct PathError {
    pub doing: &'static str,
    pub path: String,
    pub errno: Errno,
}

/// A file as it stands, looked at without following a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its content; `None` if this user may not read it.
    pub content: Option<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
}

pub type Result<T> = std::result::Result<T, PathError>;

impl Root {
    /// Opens the folder `path` of the running system as the root.
    pub fn open(path: &Path) -> Result<Self> {
        open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map(|folder| Root { folder })
            .map_err(|errno| PathError { doing: "open", path: path.display().to_string(), errno })
    }

    /// The content of the file `path`, links followed inside the root; `None` if there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let read = || -> nix::Result<Option<Vec<u8>>> {
            match walk::open_following(self.folder.as_fd(), path, OFlag::O_RDONLY) {
                Ok(file) => read_regular(&file).map(Some),
                Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
                Err(errno) => Err(errno),
            }
        };
        read().map_err(at("read", path))
    }

    /// Like [`Root::read`], as text. A file that is not UTF-8 is an error.
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        self.read(path)?
            .map(|content| String::from_utf8(content).map_err(|_| at("read as UTF-8", path)(Errno::EILSEQ)))
            .transpose()
    }

    /// Whether there is anything at `path`, links followed inside the root.
    pub fn exists(&self, path: &str) -> bool {
        walk::open_following(self.folder.as_fd(), path, OFlag::O_PATH).is_ok()
    }

    /// The file `path` itself: a link, a folder or a device in its place is an error. An ordinary user learns of files that
    /// it may not read that they are there.
    pub fn look(&self, path: &str) -> Result<Option<Found>> {
        let look = || -> nix::Result<Option<Found>> {
            let Some((folder, name)) = self.parent(path)? else { return Ok(None) };
            let stat = match fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            require_regular(&stat)?;
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let content = match nix::fcntl::openat(&folder, name, flags, Mode::empty()) {
                Ok(file) => Some(read_regular(&file)?),
                // For root it is a fault, and nothing may be concluded from it.
                Err(Errno::EACCES | Errno::EPERM) if !nix::unistd::geteuid().is_root() => None,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            Ok(Some(Found { content, mode: stat.st_mode & 0o7777 }))
        };
        look().map_err(at("read", path))
    }

    /// The names in the folder `path`, sorted; none if there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let list = || -> nix::Result<Vec<String>> {
            let folder = match walk::open_following(self.folder.as_fd(), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(folder) => folder,
                Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
                Err(errno) => return Err(errno),
            };
            let mut names = Vec::new();
            for entry in Dir::from_fd(folder)?.iter() {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name != "." && name != ".." {
                    names.push(name);
                }
            }
            names.sort();
            Ok(names)
        };
        list().map_err(at("list", path))
    }

    /// The folder that holds `path`, reached without following a link, and the last name; `None` if it does not exist.
    fn parent<'a>(&self, path: &'a str) -> nix::Result<Option<(OwnedFd, &'a str)>> {
        let (folder, name) = split(path);
        match walk::open_folder(self.folder.as_fd(), folder) {
            Ok(folder) => Ok(Some((folder, name))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// The content of a file that the administrator named, or of standard input for `-`. Not below the root: a flag's path is
/// a path of the running system.
pub fn read_named(path: &str) -> Result<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        if path == "-" {
            return read_at_most(io::stdin().lock());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = open(path, flags, Mode::empty())?;
        if fstat(&file)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
            return Err(Errno::EISDIR.into());
        }
        read_at_most(std::fs::File::from(file))
    };
    read().map_err(|error| at("read", path)(errno_of(&error)))
}

/// Whether others than the owner may read the named file of the running system.
pub fn named_is_public(path: &str) -> bool {
    nix::sys::stat::stat(path).is_ok_and(|stat| stat.st_mode & 0o044 != 0)
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PathError { doing, path, errno } = self;
        match errno {
            &Errno::ELOOP => write!(f, "cannot {doing} {path}: a symbolic link is in the way"),
            &Errno::EILSEQ => write!(f, "cannot {doing}: {path} holds bytes that are no text"),
            &Errno::EFBIG => write!(f, "cannot {doing} {path}: it is larger than {READ_LIMIT} bytes"),
            &Errno::ENOTSUP => write!(f, "cannot {doing} {path}: it is no regular file"),
            errno => write!(f, "cannot {doing} {path}: {}", errno.desc()),
        }
    }
}

impl std::error::Error for PathError {}

/// Puts the action and the path to an error number.
fn at<'a>(doing: &'static str, path: &'a str) -> impl FnOnce(Errno) -> PathError + 'a {
    move |errno| PathError { doing, path: path.to_owned(), errno }
}

/// `/a/b/c` as `/a/b` and `c`.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn require_regular(stat: &FileStat) -> nix::Result<()> {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => Ok(()),
        SFlag::S_IFLNK => Err(Errno::ELOOP),
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::ENOTSUP),
    }
}

fn read_regular(file: &OwnedFd) -> nix::Result<Vec<u8>> {
    require_regular(&fstat(file)?)?;
    read_at_most(Descriptor(file.as_fd())).map_err(|error| errno_of(&error))
}

fn read_at_most(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(source, READ_LIMIT as u64 + 1), &mut content)?;
    if content.len() > READ_LIMIT { Err(Errno::EFBIG.into()) } else { Ok(content) }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Reads a descriptor without owning it.
struct Descriptor<'a>(BorrowedFd<'a>);

impl io::Read for Descriptor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        nix::unistd::read(self.0, buffer).map_err(io::Error::from)
    }
}
