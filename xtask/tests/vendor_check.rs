//! `cargo xtask vendor-check`: the shipped files can be built in with a key and an agreement of the vendor, and each rule finds a
//! folder that breaks it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

const REPO: &str = "repo-files/els-almalinux-9.repo";
const KEY: &str = "gpg/RPM-GPG-KEY-ELS";

/// A vendor's folder that can be built in.
struct Vendor(TempDir);

impl Vendor {
    fn good() -> Self {
        let vendor = Vendor(tempfile::tempdir().unwrap());
        for folder in ["repo-files", "gpg"] {
            fs::create_dir(vendor.path(folder)).unwrap();
        }
        for entry in fs::read_dir(workspace().join("dist/repo-files")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, vendor.path("repo-files").join(path.file_name().unwrap())).unwrap();
        }
        for name in ["products.toml", "els-register.toml"] {
            fs::copy(workspace().join("dist").join(name), vendor.path(name)).unwrap();
        }
        vendor.write("EULA.txt", "The agreement of Example Ltd.\n");
        vendor.write(KEY, &KEYS.public);
        vendor
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    #[track_caller]
    fn replace(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{name}: {old:?}");
        self.write(name, &text.replacen(old, new, 1));
    }

    /// Every fault that is found, without the name of the folder.
    #[track_caller]
    fn faults(&self) -> Vec<String> {
        let run = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("vendor-check").arg(self.0.path()).output().unwrap();
        let text = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(i32::from(!text.is_empty())), "{text}");
        let prefix = format!("vendor-check: {}/", self.0.path().display());
        text.lines().map(|line| line.strip_prefix(&prefix).expect("the folder is named").to_owned()).collect()
    }

    /// The folder has this one fault, and no other.
    #[track_caller]
    fn has_fault(&self, fault: &str) {
        assert_eq!(self.faults(), [fault]);
    }
}

struct Keys {
    public: String,
    secret: String,
    elliptic: String,
}

/// Keys of this test, made once.
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        let run = Command::new("gpg")
            .arg("--homedir")
            .arg(home.path())
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .output()
            .expect("gpg: run scripts/install-dependencies");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    gpg(&["--quick-generate-key", "Example Ltd <els@example.com>", "rsa2048", "sign", "never"]);
    gpg(&["--quick-generate-key", "Other <other@example.com>", "ed25519", "sign", "never"]);
    let keys = Keys {
        public: gpg(&["--armor", "--export", "els@example.com"]),
        secret: gpg(&["--armor", "--export-secret-keys", "els@example.com"]),
        elliptic: gpg(&["--armor", "--export", "other@example.com"]),
    };
    Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).status().unwrap();
    keys
});

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Promise: vendor-files
#[test]
fn the_shipped_files_with_the_vendors_key_and_agreement_can_be_built_in() {
    assert_eq!(Vendor::good().faults(), [""; 0]);
}

#[test]
fn a_call_without_a_folder_is_a_usage_error() {
    let run = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("vendor-check").output().unwrap();
    assert_eq!(run.status.code(), Some(2));
}

/// Promise: vendor-files
#[test]
fn each_file_must_be_there_and_not_be_empty() {
    for name in [KEY, "els-register.toml", "EULA.txt", "products.toml"] {
        let vendor = Vendor::good();
        fs::remove_file(vendor.path(name)).unwrap();
        let missing = "is missing; a vendor folder replaces all files, so start from the shipped ones";
        vendor.has_fault(&format!("{name}: {missing}"));
        vendor.write(name, "\n");
        vendor.has_fault(&format!("{name}: is empty"));
    }
}

/// Promise: vendor-files
#[test]
fn the_products_are_read_by_the_parser_of_the_backend() {
    for (old, new, fault) in [
        (
            "\"/gpg\"",
            "\"/almalinux/9/\"",
            "line 9: public: \"/almalinux/9/\": has an empty segment or a slash at its end",
        ),
        ("\"/gpg\"", "\"almalinux\"", "line 9: public: \"almalinux\": does not begin with a slash"),
        ("\"/gpg\"", "\"/\"", "line 9: public: \"/\": has to name at least one folder"),
        ("\"/gpg\"", "\"/a//b\"", "line 9: public: \"/a//b\": has an empty segment or a slash at its end"),
        ("\"/gpg\"", "\"/a/../b\"", "line 9: public: \"/a/../b\": has the segment .."),
        (
            "[\"/almalinux/9\"]",
            "[\"/almalinux/9\", \"/extra:beta\"]",
            "line 26: prefixes: \"/extra:beta\": has the character ':'; letters, digits and ._~+- are allowed",
        ),
        (
            "versions = [\"9\"]",
            "versions = \"9\"",
            "line 23: versions: invalid type: string \"9\", expected a sequence",
        ),
        ("versions = [\"9\"]", "versions = [\"9 \"]", "line 23: versions: \"9 \": has to be letters, digits and ._-"),
        ("id = \"almalinux-8-els\"", "id = \"almalinux-9-els\"", "product.id: almalinux-9-els: stands there twice"),
        (
            "id = \"almalinux-8-els\"",
            "id = \"ELS 8\"",
            "line 29: id: \"ELS 8\": has to be 1 to 64 lower-case letters, digits and ._-",
        ),
    ] {
        let vendor = Vendor::good();
        vendor.replace("products.toml", old, new);
        vendor.has_fault(&format!("products.toml: {fault}"));
    }
    for (old, new, word) in [
        ("os = \"almalinux\"\n", "", "missing field `os`"),
        ("os = \"almalinux\"\n", "os = \"almalinux\"\nseats = 3\n", "seats: unknown field `seats`"),
        ("[[product]]", "[[product", "products.toml: line 19: "),
    ] {
        let vendor = Vendor::good();
        vendor.replace("products.toml", old, new);
        let faults = vendor.faults();
        assert!(
            faults.len() == 1 && faults[0].starts_with("products.toml: ") && faults[0].contains(word),
            "{faults:?}"
        );
    }
}

/// Promise: vendor-files
#[test]
fn a_file_that_no_build_would_take_is_named() {
    let vendor = Vendor::good();
    vendor.write("repo-files/README", "x");
    vendor.has_fault("repo-files/README: is neither a .repo nor a .vars file; the build ignores it");
}

/// Promise: vendor-files
#[test]
fn a_pinned_release_is_one_line_and_belongs_to_a_repo_file() {
    const PINNED: &str = "repo-files/els-almalinux-9.6-esu.vars";
    let vendor = Vendor::good();
    vendor.write(PINNED, "# the last release of this plan\n\nreleasever=9.6\n");
    assert_eq!(vendor.faults(), [""; 0]);
    for text in ["releasever=9", "releasever=9.", "releasever=9.6b", "releasever=$basearch"] {
        vendor.write(PINNED, text);
        vendor.has_fault(&format!("{PINNED}: the value of releasever must be MAJOR.MINOR, such as 9.6"));
    }
    for text in ["# nothing", "releasever=9.6\nreleasever=9.7", "releasever=9.6\nels_url=https://example.com"] {
        vendor.write(PINNED, text);
        vendor
            .has_fault(&format!("{PINNED}: must have one line, releasever=MAJOR.MINOR; no other variable can be set"));
    }
    let vendor = Vendor::good();
    vendor.write("repo-files/els-other.vars", "releasever=9.6\n");
    vendor.has_fault("repo-files/els-other.vars: there is no els-other.repo; the build ignores it");
}

/// Promise: vendor-files
#[test]
fn a_repo_file_with_a_name_that_the_protocol_forbids_is_named() {
    let vendor = Vendor::good();
    fs::copy(vendor.path(REPO), vendor.path("repo-files/ELS_9.repo")).unwrap();
    vendor.has_fault("repo-files/ELS_9.repo: the name must match [a-z0-9][a-z0-9.-]{0,63}.repo");
}

/// Promise: vendor-files
#[test]
fn no_section_may_switch_off_a_check_or_leave_out_the_credential() {
    for (old, new, fault) in [
        ("gpgcheck=1\nrepo_", "gpgcheck=0\nrepo_", "must have gpgcheck=1"),
        ("repo_gpgcheck=1", "repo_gpgcheck=0", "must have repo_gpgcheck=1"),
        ("username=$els_id", "#", "must have username=$els_id"),
        ("password=$els_token", "password=secret", "must have password=$els_token"),
        ("skip_if_unavailable=1", "skip_if_unavailable=0", "must have skip_if_unavailable=1"),
        ("sslverify=1", "sslverify=0", "must not switch off sslverify"),
        ("enabled=0", "", "must have enabled=1 or enabled=0"),
        (
            "baseurl=$els_url/almalinux/9/updates/Source/",
            "baseurl=https://elsewhere.example/almalinux/9/",
            "baseurl must be one address that begins with $els_url/",
        ),
        (
            "gpgkey=",
            "gpgkey=https://elsewhere.example/key ",
            "gpgkey must name file:///etc/pki/rpm-gpg/RPM-GPG-KEY-ELS",
        ),
        (
            "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-ELS\n",
            "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-X\n",
            "gpgkey must name file:///etc/pki/rpm-gpg/RPM-GPG-KEY-ELS",
        ),
        (
            "metadata_expire=6h",
            "metalink=https://elsewhere.example/",
            "metalink is not allowed: it leads past the gate",
        ),
        ("/9/updates/Source", "/9/$releasever/Source", "baseurl must name the release"),
    ] {
        let vendor = Vendor::good();
        vendor.replace(REPO, old, new);
        let faults = vendor.faults();
        let named = |line: &String| line.starts_with(&format!("{REPO}: [els-")) && line.contains(fault);
        assert!(faults.iter().any(named), "{new}: {faults:?}");
    }
}

/// Promise: vendor-files
#[test]
fn what_dnf_would_pass_over_is_named() {
    for (old, new, fault) in [
        ("username=$els_id", "username=$els_id\nnonsense", "line 20: is neither a section nor an option of one"),
        ("username=$els_id", "username=$els_id\nusername=$els_id", "line 20: username is set twice"),
        ("[els-baseos]", "[els-updates]", "[els-updates] appears twice"),
    ] {
        let vendor = Vendor::good();
        vendor.replace(REPO, old, new);
        let faults = vendor.faults();
        assert!(faults.iter().any(|line| line.starts_with(REPO) && line.ends_with(fault)), "{new}: {faults:?}");
    }
}

/// Promise: vendor-files
#[test]
fn sections_must_be_named_unlike_those_of_the_distribution() {
    let vendor = Vendor::good();
    vendor.replace(REPO, "[els-extras]", "[extras]");
    vendor.has_fault(&format!("{REPO}: [extras]: the name of a section must begin with els-"));
}

/// Promise: vendor-files
#[test]
fn the_probed_section_must_be_enabled() {
    let vendor = Vendor::good();
    vendor.replace(REPO, "enabled=1", "enabled=0");
    vendor.has_fault(&format!("{REPO}: needs [els-updates] with enabled=1; a registration is probed there"));
}

/// Promise: vendor-files
#[test]
fn a_product_must_name_a_repo_file_of_the_folder() {
    let vendor = Vendor::good();
    vendor.replace("products.toml", "repo_file = \"els-almalinux-8\"", "repo_file = \"els-almalinux-7\"");
    let fault = "repo_file: there is no repo-files/els-almalinux-7.repo";
    vendor.has_fault(&format!("products.toml: product almalinux-8-els: {fault}"));
}

/// Promise: vendor-files
#[test]
fn a_product_must_open_the_addresses_of_its_repo_file() {
    let vendor = Vendor::good();
    vendor.replace("products.toml", "[\"/almalinux/9\"]", "[\"/almalinux/9/updates\"]");
    let faults = vendor.faults().join("\n");
    assert!(faults.contains("products.toml: product almalinux-9-els: no prefix opens [els-baseos]"), "{faults}");
    assert!(!faults.contains("[els-updates]"), "{faults}");
}

/// Promise: vendor-files
#[test]
fn the_shipped_configuration_explains_every_option_and_sets_none() {
    let vendor = Vendor::good();
    let shipped = fs::read_to_string(vendor.path("els-register.toml")).unwrap();
    assert!(shipped.lines().all(|line| line.is_empty() || line.starts_with('#')));
    let set = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
    vendor.write("els-register.toml", &shipped.lines().map(set).collect::<Vec<_>>().join("\n"));
    assert_eq!(vendor.faults(), [""; 0]);
}

/// Promise: vendor-files
#[test]
fn the_configuration_is_read_by_the_parser_of_the_agent() {
    for (text, start) in [
        ("servre = 'x'", "line 1: servre: unknown field `servre`"),
        ("timeout = 'x'", "line 1: timeout: invalid type"),
        ("timeout = 0", "timeout: must be 1 to 86400 seconds"),
        ("server = 'ftp://els.example.com'", "server: "),
        ("server = 'http://127.0.0.1:8080'", "server: must begin with https://"),
        ("proxy = 'gopher://proxy.example.com'", "proxy: it must be none or SCHEME://"),
        ("label = ''", "label: "),
        ("x", "line 1: "),
    ] {
        let vendor = Vendor::good();
        vendor.write("els-register.toml", text);
        let faults = vendor.faults();
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("els-register.toml: {start}")), "{faults:?}");
    }
}

/// Promise: vendor-files
#[test]
fn keys_that_must_not_be_shipped_are_refused() {
    let example = fs::read_to_string(workspace().join("dist").join(KEY)).unwrap();
    for (key, fault) in [
        (KEYS.secret.as_str(), "holds a PRIVATE key"),
        ("hello\n", "is not an armored public key"),
        (&example, "is the example key"),
    ] {
        let vendor = Vendor::good();
        vendor.write(KEY, key);
        let faults = vendor.faults();
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{KEY}: {fault}")), "{faults:?}");
    }
    let vendor = Vendor::good();
    vendor.write(KEY, &KEYS.elliptic);
    let faults = vendor.faults();
    assert!(faults.len() == 1 && faults[0].contains("must be RSA of 2048 bits or more"), "{faults:?}");
}

/// Promise: vendor-files
#[test]
fn the_template_of_the_agreement_is_refused() {
    let vendor = Vendor::good();
    fs::copy(workspace().join("EULA.txt"), vendor.path("EULA.txt")).unwrap();
    vendor.has_fault("EULA.txt: is still the template; replace it with the agreement for your customers");
}
