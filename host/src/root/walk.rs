//! From a root and a path to an open file: the two ways of walking there.
//!
//! `openat2(2)` could do either in one call, but it does not exist on EL 8; so both walks go component by component,
//! each open relative to the folder before it, and no path is ever resolved twice.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

/// Links that may be followed on one way, as in the kernel.
const MOST_LINKS: usize = 40;

const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens `path` below `root` with `flags`. Links are followed; `..` and absolute targets stop at the root.
pub(super) fn open_following(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut ahead: VecDeque<String> = components(path).map(str::to_owned).collect();
    // The folders that were passed, so that `..` is the way back and never a question to the file system.
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
                let target = target.into_string().map_err(|_| Errno::ENOENT)?;
                if target.starts_with('/') {
                    behind.clear();
                }
                for name in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(name.to_owned());
                }
            }
            Err(Errno::EINVAL) if last => return openat(here, name.as_str(), flags, Mode::empty()),
            Err(Errno::EINVAL) => {
                let folder = openat(here, name.as_str(), FOLDER, Mode::empty())?;
                behind.push(folder);
            }
            Err(errno) => return Err(errno),
        }
    }
    // The path ended in a folder that was already passed: the root itself, or `..`.
    openat(behind.last().map_or(root, |folder| folder.as_fd()), ".", flags, Mode::empty())
}

/// Opens the folder `path` below `root`; a link on the way is `ELOOP`.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: &str) -> nix::Result<OwnedFd> {
    let mut folder = openat(root, ".", FOLDER, Mode::empty())?;
    for name in components(path) {
        folder = step(folder.as_fd(), name)?;
    }
    Ok(folder)
}

/// One step down into a folder that is no link.
pub(super) fn step(folder: BorrowedFd<'_>, name: &str) -> nix::Result<OwnedFd> {
    openat(folder, name, FOLDER, Mode::empty()).map_err(|errno| match errno {
        // With O_NOFOLLOW and O_DIRECTORY a link is reported as "not a directory".
        Errno::ENOTDIR if readlinkat(folder, name).is_ok() => Errno::ELOOP,
        errno => errno,
    })
}

/// The names of a path, empty ones and `.` left out.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}
