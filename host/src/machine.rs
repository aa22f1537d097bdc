//! What this machine is: its ids as they are sent, its operating system, its architecture.
//!
//! The raw `/etc/machine-id` and the DMI UUID never leave this module; what does is derived from them.

use els_protocol::wire::Os;
use els_protocol::{MachineId, Sha256Hex, application_specific_id};
use nix::errno::Errno;
use uuid::Uuid;

use crate::container;
use crate::failure::{Failure, OsReleaseFault, Result};
use crate::root::Root;

const MACHINE_ID: &str = "/etc/machine-id";
const PRODUCT_UUID: &str = "/sys/class/dmi/id/product_uuid";
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
const PACKAGE_MANAGERS: [&str; 3] = ["/usr/bin/dnf", "/usr/bin/dnf-3", "/usr/bin/microdnf"];

/// DMI UUIDs that many machines share: left by mainboard makers who filled in nothing.
const BOGUS_UUIDS: [u128; 6] = [
    0x03000200_0400_0500_0006_000700080009,
    0x00020003_0004_0005_0006_000700080009,
    0x12345678_1234_5678_90ab_cddeefaabbcc,
    0x12345678_1234_1234_1234_123456789abc,
    0x01234567_8910_1112_1314_151617181920,
    0x00000000_0000_0000_0000_ac1f6b000000,
];

/// The machine, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// From `/etc/machine-id`; `None` if that is missing, empty or `uninitialized`.
    pub machine: Option<MachineId>,
    /// From the DMI UUID; `None` in a container and where the UUID is worth nothing.
    pub hardware: Option<MachineId>,
    /// In a container, from the upper layer of the overlay that the program's state lies on. It tells the containers of one
    /// image apart. It is never sent.
    pub instance: Option<Sha256Hex>,
}

/// Reads the ids. `state` is the folder of the program's state.
pub fn identify(root: &Root, state: &str) -> Result<Machine> {
    let (machine, unreadable) = identify_as_far_as_possible(root, state);
    unreadable.into_iter().next().map_or(Ok(machine), Err)
}

/// Reads the ids that can be read; the others count as absent. Returns also why they cannot be read.
pub fn identify_as_far_as_possible(root: &Root, state: &str) -> (Machine, Vec<Failure>) {
    let mut unreadable = Vec::new();
    let machine = machine_id(root).unwrap_or_else(|failure| absent(failure, &mut unreadable));
    let (mut hardware, mut instance) = (None, None);
    match container::is_container(root) {
        // The hardware is the host's.
        Ok(true) => {
            let layer = container::upper_layer(root, state);
            instance = layer.unwrap_or_else(|failure| absent(failure, &mut unreadable));
        }
        Ok(false) => hardware = hardware_id(root).unwrap_or_else(|failure| absent(failure, &mut unreadable)),
        Err(failure) => unreadable.push(failure),
    }
    (Machine { machine, hardware, instance }, unreadable)
}

fn absent<T>(failure: Failure, unreadable: &mut Vec<Failure>) -> Option<T> {
    unreadable.push(failure);
    None
}

/// The operating system, from os-release(5).
pub fn operating_system(root: &Root) -> Result<Os> {
    for path in OS_RELEASE {
        if let Some(text) = root.read_text(path)? {
            return read_os_release(path, &text);
        }
    }
    Err(Failure::OsReleaseMissing { path: OS_RELEASE[0] })
}

/// What the text of an os-release file says; `path` is for the errors.
pub fn read_os_release(path: &str, text: &str) -> Result<Os> {
    let value = |name: &str| text.lines().rev().find_map(|line| assignment(line, name)).filter(|v| !v.is_empty());
    let wrong = |fault| Failure::OsRelease { path: path.to_owned(), fault };
    let plain =
        |value: &String| value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let id = value("ID").ok_or_else(|| wrong(OsReleaseFault::NoId))?;
    let version = value("VERSION_ID").ok_or_else(|| wrong(OsReleaseFault::NoVersion))?;
    if !plain(&id) || !plain(&version) {
        return Err(wrong(OsReleaseFault::OddCharacters));
    }
    Ok(Os { id, version })
}

/// The architecture, as `uname -m` has it.
pub fn architecture() -> Result<String> {
    let name = nix::sys::utsname::uname().map_err(|errno| Failure::Architecture { errno })?;
    Ok(name.machine().to_string_lossy().into_owned())
}

/// What `$basearch` is in a repo file, for an architecture as `uname -m` has it (dnf's table, as far as EL goes).
pub fn base_architecture(arch: &str) -> &str {
    match arch {
        "i386" | "i486" | "i586" | "i686" => "i386",
        "armv8l" | "armv7l" => "armhfp",
        arch => arch,
    }
}

/// The host name, for a label that asks for it.
pub fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty())
}

/// Fails unless there is a package manager that repositories could be set up for.
pub fn require_package_manager(root: &Root) -> Result<()> {
    for path in PACKAGE_MANAGERS {
        if root.exists(path)? {
            return Ok(());
        }
    }
    Err(Failure::NoPackageManager { tried: &PACKAGE_MANAGERS })
}

fn machine_id(root: &Root) -> Result<Option<MachineId>> {
    read_machine_id(&root.read_text(MACHINE_ID)?.unwrap_or_default())
}

/// The id that stands for the text of `/etc/machine-id`.
pub fn read_machine_id(text: &str) -> Result<Option<MachineId>> {
    let text = text.trim();
    if text.is_empty() || text == "uninitialized" {
        return Ok(None);
    }
    let id = Some(text).filter(|text| text.len() == 32).and_then(|text| Uuid::try_parse(text).ok());
    match id.filter(|id| !id.is_nil()) {
        Some(id) => Ok(Some(application_specific_id(id.as_bytes()))),
        None => Err(Failure::MachineId { path: MACHINE_ID }),
    }
}

fn hardware_id(root: &Root) -> Result<Option<MachineId>> {
    let text = readable(root.read(PRODUCT_UUID))?;
    Ok(text.and_then(|text| read_hardware_id(&String::from_utf8_lossy(&text))))
}

/// What this user may not read is unknown, and an unknown id does not count as different. Every other error is an error.
fn readable<T>(read: crate::root::Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if matches!(error.errno, Errno::EACCES | Errno::EPERM) => Ok(None),
        read => Ok(read?),
    }
}

/// The id that stands for the text of `product_uuid`; `None` where that is worth nothing.
pub fn read_hardware_id(text: &str) -> Option<MachineId> {
    let uuid = Uuid::try_parse(text.trim()).ok()?;
    let bytes = uuid.as_bytes();
    let bogus = bytes.iter().all(|byte| *byte == bytes[0]) || BOGUS_UUIDS.contains(&uuid.as_u128());
    (!bogus).then(|| application_specific_id(bytes))
}

/// The value that a line of os-release gives to `name`, quotes taken off.
fn assignment(line: &str, name: &str) -> Option<String> {
    let value = line.trim().strip_prefix(name)?.strip_prefix('=')?.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(unquoted.unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(&path[1..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    const ID: (&str, &str) = (MACHINE_ID, "00112233445566778899aabbccddeeff\n");
    const STATE: &str = "/var/lib/program";
    const UUID: &str = "4c4c4544-0042-3510-8051-b4c04f4e3231\n";

    /// Promise: ids-random
    #[test]
    fn a_machine_without_an_id_of_its_own_has_none() {
        for content in ["", "\n", "uninitialized\n"] {
            let (_keep, root) = machine(&[(MACHINE_ID, content)]);
            assert_eq!(identify(&root, STATE).unwrap().machine, None, "{content:?}");
        }
        let (_keep, root) = machine(&[]);
        assert_eq!(identify(&root, STATE).unwrap(), Machine { machine: None, hardware: None, instance: None });
    }

    /// Promise: ids-as-system
    #[test]
    fn a_malformed_machine_id_is_an_error_that_says_what_to_do() {
        for content in ["hello", "0011", "00000000000000000000000000000000", "00112233-4455-6677-8899-aabbccddeeff"] {
            let (_keep, root) = machine(&[(MACHINE_ID, content)]);
            let failure = identify(&root, STATE).unwrap_err();
            let hint = crate::messages::en::hint(&failure).unwrap_or_default();
            assert!(hint.contains("systemd-machine-id-setup"), "{content}");
        }
    }

    /// Promise: ids-not-hardware
    #[test]
    fn shared_and_malformed_hardware_ids_count_for_nothing() {
        let (_keep, root) = machine(&[ID, (PRODUCT_UUID, UUID)]);
        assert!(identify(&root, STATE).unwrap().hardware.is_some());
        for content in [
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "Not Settable",
            "",
        ] {
            let (_keep, root) = machine(&[ID, (PRODUCT_UUID, content)]);
            assert_eq!(identify(&root, STATE).unwrap().hardware, None, "{content}");
        }
    }

    /// Promise: ids-not-hardware
    #[test]
    fn a_container_has_no_hardware_id() {
        for mark in [
            ("/run/systemd/container", "podman"),
            ("/run/.containerenv", ""),
            ("/.dockerenv", ""),
            ("/proc/1/environ", "PATH=/bin\0container=lxc\0"),
        ] {
            let (_keep, root) = machine(&[ID, (PRODUCT_UUID, UUID), mark]);
            assert_eq!(identify(&root, STATE).unwrap().hardware, None, "{}", mark.0);
        }
        let (_keep, root) = machine(&[ID, (PRODUCT_UUID, UUID), ("/proc/1/environ", "PATH=/bin\0xcontainer=1\0")]);
        assert!(identify(&root, STATE).unwrap().hardware.is_some());
    }

    /// Promise: ids-as-system
    #[test]
    fn the_operating_system_is_read_as_a_shell_would() {
        let (_keep, root) =
            machine(&[(OS_RELEASE[0], "NAME=\"AlmaLinux\"\nID=\"almalinux\"\nID_LIKE=\"rhel\"\nVERSION_ID='9.6'\n")]);
        assert_eq!(operating_system(&root).unwrap(), Os { id: "almalinux".into(), version: "9.6".into() });
        let (_keep, root) = machine(&[(OS_RELEASE[1], "ID=almalinux\nVERSION_ID=8.10\n")]);
        assert_eq!(operating_system(&root).unwrap().version, "8.10");
        for content in ["", "ID=almalinux\n", "ID=\nVERSION_ID=9\n", "ID=a b\nVERSION_ID=9\n"] {
            let (_keep, root) = machine(&[(OS_RELEASE[0], content)]);
            assert_eq!(operating_system(&root).unwrap_err().code(), "unsupported-system", "{content}");
        }
    }
}
