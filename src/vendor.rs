//! The vendor's own files, built in by `build.rs`.

mod built_in {
    include!(concat!(env!("OUT_DIR"), "/vendor.rs"));
}

/// The GPG public key that signs the repositories' metadata.
pub(crate) const GPG_KEY: &str = built_in::GPG_KEY;
/// The end-user license agreement.
pub(crate) const EULA: &str = built_in::EULA;

/// The shipped repo file of this name (without `.repo`).
pub(crate) fn repo_file(name: &str) -> Option<&'static str> {
    built_in::REPO_FILES.iter().find(|(shipped, ..)| *shipped == name).map(|(_, text, _)| *text)
}

/// The minor release at which the product of a repo file keeps a machine: `releasever` in `NAME.vars`.
pub(crate) fn releasever(name: &str) -> Option<&'static str> {
    let (_, _, variables) = built_in::REPO_FILES.iter().find(|(shipped, ..)| *shipped == name)?;
    variables.lines().find_map(|line| line.strip_prefix("releasever=")).map(str::trim)
}

/// The texts of all shipped repo files.
pub(crate) fn repo_files() -> Vec<&'static str> {
    built_in::REPO_FILES.iter().map(|(_, text, _)| *text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::{PROBED_SECTION, sections};

    /// Promise: files-shipped-repos
    #[test]
    fn every_shipped_repo_file_keeps_the_promises_on_repositories() {
        for (name, text, variables) in built_in::REPO_FILES {
            assert!(els_protocol::RepoFile::parse(name).is_some(), "{name}");
            let lines = variables.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            assert!(lines.clone().all(|line| line.starts_with("releasever=")), "{name}: {variables}");
            assert_eq!(lines.count(), usize::from(releasever(name).is_some()), "{name}: {variables}");
            let sections = sections(text);
            assert!(sections.iter().any(|section| section.id == PROBED_SECTION && section.enabled()), "{name}");
            for section in &sections {
                let at = format!("{name} [{}]", section.id);
                assert!(section.id.starts_with("els-"), "{at}");
                for (key, value) in [
                    ("username", "$els_id"),
                    ("password", "$els_token"),
                    ("gpgcheck", "1"),
                    ("repo_gpgcheck", "1"),
                    ("skip_if_unavailable", "1"),
                ] {
                    assert_eq!(section.get(key), Some(value), "{at} {key}");
                }
                assert!(section.get("baseurl").is_some_and(|url| url.starts_with("$els_url/")), "{at}");
                assert!(
                    section.get("gpgkey").is_some_and(|keys| keys.contains("file:///etc/pki/rpm-gpg/RPM-GPG-KEY-ELS")),
                    "{at}"
                );
                let off = section.id.ends_with("-source") || section.id == "els-crb" || section.id == "els-debuginfo";
                assert_eq!(section.enabled(), !off, "{at}");
            }
        }
    }

    /// Promise: files-shipped-repos
    #[test]
    fn the_shipped_key_is_public() {
        assert!(GPG_KEY.contains("BEGIN PGP PUBLIC KEY BLOCK") && !GPG_KEY.contains("PRIVATE"));
    }
}
