//! The memory that this process may use, as its control group says (systemd: `MemoryMax=`).

use std::path::Path;

/// The least limit of the control group of this process and those above it, in bytes; `None` if there is none.
pub(crate) fn limit() -> Option<u64> {
    least_limit(Path::new("/sys/fs/cgroup"), &std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// `groups` has the format of /proc/self/cgroup: version 2 has one line, `0::PATH`; version 1 one for each controller.
fn least_limit(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (root, file) = match parts.next()? {
            "" => (root.to_owned(), "memory.max"),
            controllers if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = root.join(parts.next()?.trim_start_matches('/'));
        let above = group.ancestors().take_while(|folder| folder.starts_with(&root));
        // A file that says `max` sets no limit.
        above.filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
    });
    limits.min().filter(|limit| *limit < NO_LIMIT)
}

/// Version 1 says a number near 2^63 if there is no limit.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let limit = |groups| least_limit(root.path(), groups);
        write("system.slice/a.service/memory.max", "max\n");
        write("system.slice/memory.max", "max\n");
        assert_eq!(limit("0::/system.slice/a.service\n"), None);
        write("system.slice/memory.max", "3000000000\n");
        assert_eq!(limit("0::/system.slice/a.service\n"), Some(3_000_000_000));
        write("system.slice/a.service/memory.max", "2147483648\n");
        assert_eq!(limit("0::/system.slice/a.service\n"), Some(2_147_483_648));
        write("memory/a/memory.limit_in_bytes", "1073741824\n");
        assert_eq!(limit("4:cpu,memory:/a\n1:name=systemd:/x\n0::/none\n"), Some(1_073_741_824));
        write("memory/a/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit("4:memory:/a\n"), None);
    }
}
