//! One at a time: an flock on a file that goes away with its last holder.

use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Result, Root, at, require_regular, split};

/// How often a lock that is held is tried again. flock(2) could wait by itself, but only without a time limit.
const PAUSE: Duration = Duration::from_millis(50);

/// The lock, held until it is dropped. The kernel frees it should the process die.
pub struct Lock {
    folder: OwnedFd,
    name: String,
    _held: Flock<std::fs::File>,
}

impl Root {
    /// Takes the lock `path`, made with mode 0600 if need be; `None` if another process held it until `remaining` said
    /// that no time is left.
    pub fn lock(&self, path: &str, remaining: impl Fn() -> Duration) -> Result<Option<Lock>> {
        let lock = || -> nix::Result<Option<Lock>> {
            let (folder, name) = split(path);
            let folder = self.make_folder(folder)?;
            loop {
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                let file = openat(&folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
                require_regular(&fstat(&file)?)?;
                match Flock::lock(std::fs::File::from(file), FlockArg::LockExclusiveNonblock) {
                    Ok(held) => {
                        // The holder before us removed the file: what we hold then is not what others will open.
                        let named = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
                        if named.is_ok_and(|named| fstat(held.as_fd()).is_ok_and(|ours| ours.st_ino == named.st_ino)) {
                            return Ok(Some(Lock { folder, name: name.to_owned(), _held: held }));
                        }
                    }
                    Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => {
                        let left = remaining();
                        if left.is_zero() {
                            return Ok(None);
                        }
                        sleep(PAUSE.min(left));
                    }
                    Err((_, errno)) => return Err(errno),
                }
            }
        };
        lock().map_err(at("lock", path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still held, so that a newcomer either sees this file locked or makes a new one.
        let _ = unlinkat(&self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}
