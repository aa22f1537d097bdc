//! Whether this machine is a container, and on which layer of its file system a folder lies.
//!
//! A container shows the hardware of its host, so its hardware id says nothing of it; and every container of one image starts
//! with the same files. This module knows what container runtimes leave in the file system and in `/proc`. It does not know what
//! is decided by it.

use els_protocol::Sha256Hex;
use nix::errno::Errno;

use crate::failure::Result;
use crate::root::Root;

/// Whether this is a container.
pub fn is_container(root: &Root) -> Result<bool> {
    for path in MARKS {
        if root.exists(path)? {
            return Ok(true);
        }
    }
    if VARIABLES.iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(true);
    }
    // Process 1 may be the host's (`--pid=host`) or hidden; this process may have been started with another environment.
    for process in ["/proc/1", "/proc/self"] {
        let read = |file: &str| read_proc(root, &format!("{process}/{file}"));
        if names_a_container(&read("environ")?)
            || is_cgroup_of_a_container(&read("cgroup")?)
            || root_mount(&read("mountinfo")?).is_some_and(|mount| mount.is_overlay_of_a_container())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A digest of the upper layer of the overlay that `folder` lies on; `None` if it lies on something else, such as a volume. It
/// is the same as long as the container exists, and another one in every other container of the same image.
pub fn upper_layer(root: &Root, folder: &str) -> Result<Option<Sha256Hex>> {
    let mut text = read_proc(root, "/proc/self/mountinfo")?;
    if text.is_empty() {
        text = read_proc(root, "/proc/1/mountinfo")?;
    }
    // The last of equals hides the others.
    let mount = mounts(&text).filter(|mount| mount.holds(folder)).max_by_key(|mount| mount.point.len());
    let upper = mount.filter(|mount| mount.kind == "overlay").and_then(|mount| mount.option("upperdir"));
    Ok(upper.map(|upper| Sha256Hex::of(upper.as_bytes())))
}

/// A file of proc(5); empty if there is none, or if this user may not read it. One that is too large to be read is the list of
/// mounts of a host: a container has few.
fn read_proc(root: &Root, path: &str) -> Result<String> {
    match root.read(path) {
        Ok(content) => Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()),
        Err(error) if matches!(error.errno, Errno::EACCES | Errno::EPERM | Errno::EFBIG) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

fn names_a_container(environment: &str) -> bool {
    let names = environment.split('\0').filter_map(|variable| variable.split_once('='));
    names.into_iter().any(|(name, _)| VARIABLES.contains(&name))
}

/// Whether a line of `/proc/PID/cgroup` has the path of a container runtime.
fn is_cgroup_of_a_container(text: &str) -> bool {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.flat_map(|path| path.split('/')).any(is_cgroup_folder_of_a_container)
}

fn is_cgroup_folder_of_a_container(name: &str) -> bool {
    let unit = name.strip_suffix(".scope").unwrap_or(name);
    // `docker-ID.scope`, `crio-ID`, `…:cri-containerd:ID` or ID alone. conmon watches a container from outside.
    let id = unit.len().checked_sub(CONTAINER_ID).and_then(|at| unit.split_at_checked(at));
    let has_id = id.is_some_and(|(before, id)| {
        id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !before.ends_with("conmon-")
            && !before.ends_with(|last: char| last.is_ascii_alphanumeric())
    });
    has_id
        || CGROUP_FOLDERS.contains(&name)
        || CGROUP_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || unit.starts_with("machine-") && unit != name
}

/// One line of `/proc/PID/mountinfo`.
struct Mount<'a> {
    point: &'a str,
    kind: &'a str,
    source: &'a str,
    /// The options of the file system.
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut words = file_system.split(' ');
        let (kind, source) = (words.next()?, words.next()?);
        Some(Mount { point: mount.split(' ').nth(4)?, kind, source, options: words.next().unwrap_or_default() })
    }

    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether this overlay, as a root, is a container's. The roots of live systems and of systems made of an image (ostree,
    /// bootc) are overlays too: without an upper layer, or with one that the initial RAM disk made.
    fn is_overlay_of_a_container(&self) -> bool {
        match self.kind {
            "overlay" => {}
            // Only runtimes without root use it.
            kind => return kind.ends_with("fuse-overlayfs"),
        }
        let Some(upper) = self.option("upperdir") else { return false };
        let storage = upper.ends_with("/diff") || upper.ends_with("/fs");
        let image = self.source.starts_with("composefs") || LIVE_ROOTS.iter().any(|folder| upper.starts_with(folder));
        storage || !image
    }
}

fn mounts(text: &str) -> impl Iterator<Item = Mount<'_>> {
    text.lines().filter_map(Mount::parse)
}

/// The mount that is the root. The initial RAM disk's may come before it.
fn root_mount(text: &str) -> Option<Mount<'_>> {
    mounts(text).filter(|mount| mount.point == "/").last()
}

const MARKS: [&str; 3] = ["/run/systemd/container", "/run/.containerenv", "/.dockerenv"];
const VARIABLES: [&str; 2] = ["container", "KUBERNETES_SERVICE_HOST"];
/// Digits of the id that runtimes give a container.
const CONTAINER_ID: usize = 64;
/// Folders in which runtimes put the cgroups of containers.
const CGROUP_FOLDERS: [&str; 4] = ["docker", "lxc", "buildkit", "libpod_parent"];
const CGROUP_PREFIXES: [&str; 4] = ["kubepods", "kubelet-kubepods", "lxc.payload", "systemd-nspawn@"];
/// Where the upper layers of live systems are: dracut, live-boot, KIWI, LTSP, ostree and `systemd.volatile=` use `/run`, casper
/// `/cow`, older versions of live-boot `/lib/live`, overlayroot `/media/root-rw`, and Raspberry Pi OS `/upper`.
const LIVE_ROOTS: [&str; 5] = ["/run/", "/cow/", "/lib/live/", "/media/root-rw/", "/upper/"];
