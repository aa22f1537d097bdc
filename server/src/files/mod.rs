//! Serves files below one folder: opens them safely, and answers conditional and range requests (RFC 9110).
//!
//! Owns the walk from the folder to a regular file, and what HTTP adds to a file. It must not know who may fetch what: the
//! caller has allowed the path already, by its names. For that reason no symbolic link is followed, not even one that stays
//! inside the folder: it would serve one path's file under the name of another.

mod range;
mod response;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use range::{Selection, Validators, select};

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// A folder whose files are served.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, which must exist.
    pub fn new(path: &Path) -> io::Result<Self> {
        let folder = Folder { path: path.to_owned() };
        folder.open_root()?;
        Ok(folder)
    }

    /// Opens the regular file at the path of `names` below the folder. `None` if there is no regular file: nothing, a
    /// folder, a link, a device.
    pub fn open(&self, names: &[Vec<u8>]) -> io::Result<Option<File>> {
        // The folder is opened again each time, so that a publisher may replace it by renaming.
        let mut folder = self.open_root()?;
        let Some((last, parents)) = names.split_last() else { return Ok(None) };
        for name in parents {
            match openat(&folder, name.as_slice(), FOLDER, Mode::empty()) {
                Ok(next) => folder = next,
                Err(error) => return absent(error),
            }
        }
        match openat(&folder, last.as_slice(), FILE, Mode::empty()) {
            Ok(file) => {
                let file = File::from(file);
                Ok(file.metadata()?.is_file().then_some(file))
            }
            Err(error) => absent(error),
        }
    }

    fn open_root(&self) -> io::Result<OwnedFd> {
        // The folder itself may be named by a link: the administrator chose that name.
        Ok(open(&self.path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
    }
}

/// `Ok(None)` for every error that the path itself causes: a client learns only that there is no such file.
fn absent(error: Errno) -> io::Result<Option<File>> {
    match error {
        // ELOOP: O_NOFOLLOW met a link. ENXIO: a socket.
        Errno::ENOENT
        | Errno::ENOTDIR
        | Errno::ELOOP
        | Errno::EACCES
        | Errno::ENXIO
        | Errno::ENAMETOOLONG
        | Errno::EINVAL => Ok(None),
        other => Err(other.into()),
    }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
// O_NONBLOCK: opening a FIFO must not wait for its other end.
const FILE: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(path: &str) -> Vec<Vec<u8>> {
        path.split('/').map(|name| name.as_bytes().to_vec()).collect()
    }

    /// Promise: gate-repo-root
    #[test]
    fn only_regular_files_below_the_folder_are_opened() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "here").unwrap();
        symlink(outside.path().join("secret"), at("a/link-out")).unwrap();
        symlink(outside.path(), at("a/folder-out")).unwrap();
        symlink("b/file", at("a/link-inside")).unwrap();
        symlink("b", at("a/folder-inside")).unwrap();
        nix::unistd::mkfifo(&at("a/fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("a/socket")).unwrap();
        let folder = Folder::new(root.path()).unwrap();

        let file = folder.open(&names("a/b/file")).unwrap().expect("a regular file");
        assert_eq!(io::read_to_string(file).unwrap(), "here");
        for absent in [
            "a",
            "a/b",
            "a/none",
            "none/file",
            "a/b/file/x",
            "a/link-out",
            "a/folder-out/secret",
            "a/link-inside",
            "a/folder-inside/file",
            "a/fifo",
            "a/socket",
        ] {
            assert!(folder.open(&names(absent)).unwrap().is_none(), "{absent}");
        }
        assert!(folder.open(&[]).unwrap().is_none());
        assert!(folder.open(&[b"a\0b".to_vec()]).unwrap().is_none());
        assert!(folder.open(&[vec![b'x'; 300]]).unwrap().is_none());
    }

    #[test]
    fn a_folder_that_was_replaced_is_opened_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("repo");
        fs::create_dir(&path).unwrap();
        let folder = Folder::new(&path).unwrap();
        fs::rename(&path, root.path().join("old")).unwrap();
        assert!(folder.open(&names("file")).is_err(), "a missing folder is an error, not a missing file");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "new").unwrap();
        assert!(folder.open(&names("file")).unwrap().is_some());
        assert!(Folder::new(&root.path().join("none")).is_err());
    }
}
