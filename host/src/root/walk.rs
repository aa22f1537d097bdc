//! From a root and a path to an open file or folder: the two ways of walking there.
//!
//! `openat2(2)` could do either in one call, but it does not exist on EL 8; so both walks go component by component,
//! each open relative to the folder before it, and no path is ever resolved twice.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::fsync;

/// An open folder. It stays open, so that the later steps of a run use the very folder that the first one found.
pub(super) struct Folder {
    /// `O_PATH`: a user who may not list a folder can still open what is in it.
    handle: OwnedFd,
    readable: OnceCell<OwnedFd>,
}

impl Folder {
    pub(super) fn new(handle: OwnedFd) -> Self {
        Folder { handle, readable: OnceCell::new() }
    }

    /// Makes what was done to the names in this folder durable.
    pub(super) fn sync(&self) -> nix::Result<()> {
        fsync(self.readable()?)
    }

    /// The folder, opened for what an `O_PATH` handle cannot do: fsync, extended attributes.
    pub(super) fn readable(&self) -> nix::Result<BorrowedFd<'_>> {
        match self.readable.get() {
            Some(folder) => Ok(folder.as_fd()),
            None => {
                let folder = self.open_again()?;
                Ok(self.readable.get_or_init(|| folder).as_fd())
            }
        }
    }

    /// A descriptor of its own, for listing.
    pub(super) fn open_again(&self) -> nix::Result<OwnedFd> {
        openat(&self.handle, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// One step down into a folder that is not a link.
    pub(super) fn step(&self, name: &str) -> nix::Result<Folder> {
        let opened = openat(&self.handle, name, FOLDER, Mode::empty());
        opened.map(Folder::new).map_err(|errno| match errno {
            // With O_NOFOLLOW and O_DIRECTORY a link is reported as "not a directory".
            Errno::ENOTDIR if readlinkat(&self.handle, name).is_ok() => Errno::ELOOP,
            errno => errno,
        })
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Opens `path` below `root` with `flags`. Links are followed; `..` and absolute targets stop at the root.
pub(super) fn open_following(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let mut ahead: VecDeque<String> = components(path).map(str::to_owned).collect();
    // The folders that were passed, so that `..` needs no question to the file system.
    let mut behind: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            behind.pop();
            continue;
        }
        let here = behind.last().map_or(root, |folder| folder.as_fd());
        let last = ahead.is_empty();
        match readlinkat(here, name.as_str()) {
            Ok(target) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                let target = target.into_string().map_err(|_| Errno::EILSEQ)?;
                if target.starts_with('/') {
                    behind.clear();
                }
                for name in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(name.to_owned());
                }
            }
            Err(Errno::EINVAL) if last => return openat(here, name.as_str(), flags | NO_LINK, Mode::empty()),
            Err(Errno::EINVAL) => {
                let folder = openat(here, name.as_str(), FOLDER, Mode::empty())?;
                behind.push(folder);
            }
            Err(errno) => return Err(errno),
        }
    }
    // The path ended in a folder that was already passed: the root itself, or `..`.
    openat(behind.last().map_or(root, |folder| folder.as_fd()), ".", flags | NO_LINK, Mode::empty())
}

/// The names of a path, empty ones and `.` left out.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// How a file is opened that must not be a link.
pub(super) const NO_LINK: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);

/// Links that may be followed on one way, as in the kernel.
const MOST_LINKS: usize = 40;

const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
