//! One at a time: an flock on a file that goes away with its last holder.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::walk::{Folder, NO_LINK};
use super::{Doing, Result, Root, require_regular, split};

/// The lock, held until it is dropped. The kernel frees it should the process die.
pub struct Lock {
    folder: Rc<Folder>,
    name: String,
    _held: Flock<std::fs::File>,
}

impl Root {
    /// Takes the lock `path`, a file that is made with mode 0600 if it is missing. `None` if another process holds it until
    /// `remaining` is zero.
    pub fn lock(&self, path: &str, remaining: impl Fn() -> Duration) -> Result<Option<Lock>> {
        let lock = || -> nix::Result<Option<Lock>> {
            let (folder, name) = split(path);
            let folder = self.make_folder(folder)?;
            loop {
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | NO_LINK;
                let file = openat(&*folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
                require_regular(&fstat(&file)?)?;
                match Flock::lock(std::fs::File::from(file), FlockArg::LockExclusiveNonblock) {
                    Ok(held) => {
                        // The holder before us removed the file: what we hold then is not what others will open.
                        match fstatat(&*folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                            Ok(named) if fstat(held.as_fd())?.st_ino == named.st_ino => {
                                return Ok(Some(Lock { folder, name: name.to_owned(), _held: held }));
                            }
                            Ok(_) | Err(Errno::ENOENT) => {}
                            Err(errno) => return Err(errno),
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
        lock().map_err(self.at(Doing::Lock, path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still held, so that a newcomer either sees this file locked or makes a new one.
        let _ = unlinkat(&*self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

/// How often a lock that is held is tried again. flock(2) could wait by itself, but only without a time limit.
const PAUSE: Duration = Duration::from_millis(50);
