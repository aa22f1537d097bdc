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
    pinned(variables).ok()
}

/// Reads `NAME.vars`: one line `releasever=MAJOR.MINOR`, beside blank lines and comments. The error is what is wrong.
pub(crate) fn pinned(variables: &str) -> Result<&str, &'static str> {
    let lines = variables.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let values: Option<Vec<&str>> = lines.map(|line| line.strip_prefix("releasever=")).collect();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match values.as_deref() {
        Some([value]) if value.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor)) => {
            Ok(value)
        }
        Some([_]) => Err("the value of releasever must be MAJOR.MINOR, such as 9.6"),
        _ => Err("must have one line, releasever=MAJOR.MINOR; no other variable can be set"),
    }
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
            assert!(variables.is_empty() || pinned(variables).is_ok(), "{name}: {variables}");
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
