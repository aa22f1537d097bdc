//! What dnf.conf(5) says, as libdnf reads it: the proxy, where repo files and variables are, what dnf trusts and assumes.
//!
//! `sslverify` is not read: this program always verifies.

use els_protocol::Secret;

use crate::failure::{DnfConfFault, Failure, ProxyFault, Result};
use crate::ini::{Section, boolean, sections};
use crate::network::{Choice, Proxy, Source};
use crate::root::Root;

pub use crate::network::DNF_CONF as PATH;

/// The section `[main]`; empty if there is no file.
#[derive(Debug, Clone, Default)]
pub struct DnfConf {
    main: Option<Section>,
}

impl DnfConf {
    /// Reads the file. One that libdnf refuses is an error: dnf does not start with it.
    pub fn read(root: &Root) -> Result<Self> {
        let content = root.read(PATH).map_err(Failure::Named)?.unwrap_or_default();
        DnfConf::parse(&content).map_err(Failure::DnfConf)
    }

    /// The same, from the content of the file.
    pub fn parse(content: &[u8]) -> std::result::Result<Self, DnfConfFault> {
        let found = sections(content).map_err(DnfConfFault::Refused)?;
        Ok(DnfConf { main: found.into_iter().find(|section| section.id == "main") })
    }

    /// The proxy, with its login.
    pub fn proxy(&self) -> Result<Option<Choice>> {
        self.read_proxy().map_err(|fault| Source::DnfConf.fault(fault))
    }

    /// The same; the error does not say where it was named.
    pub fn read_proxy(&self) -> std::result::Result<Option<Choice>, ProxyFault> {
        let value = |key: &str| self.value(key).filter(|value| !value.is_empty());
        let Some(text) = value("proxy") else { return Ok(None) };
        if self.proxy_is_none() {
            return Ok(Some(Choice::Direct));
        }
        let mut proxy = Proxy::parse(text)?;
        if let Some(user) = value("proxy_username") {
            proxy.user = Some(user.to_owned());
            proxy.password = value("proxy_password").map(Secret::new);
        }
        Ok(Some(Choice::Through(proxy)))
    }

    /// Whether the proxy is `_none_`. libdnf before 0.71 takes that for a host's name here, and for no proxy in a repository's
    /// section alone.
    pub fn proxy_is_none(&self) -> bool {
        self.value("proxy").is_some_and(|text| text.eq_ignore_ascii_case("_none_"))
    }

    /// Where dnf looks for repo files, in its order.
    pub fn repo_folders(&self) -> Vec<String> {
        self.list("reposdir").unwrap_or_else(|| REPO_FOLDERS.map(str::to_owned).to_vec())
    }

    /// Where dnf looks for variables. A variable in a later folder replaces the one of an earlier.
    pub fn variable_folders(&self) -> Vec<String> {
        self.list("varsdir").unwrap_or_else(|| VARIABLE_FOLDERS.map(str::to_owned).to_vec())
    }

    /// The folder for a repo file: the first.
    pub fn repo_folder(&self) -> Result<String> {
        usable("reposdir", self.repo_folders().first())
    }

    /// The folder for variables: the last.
    pub fn variable_folder(&self) -> Result<String> {
        usable("varsdir", self.variable_folders().last())
    }

    /// The file of CA certificates that dnf trusts in place of the system's.
    pub fn ca_file(&self) -> Option<&str> {
        self.value("sslcacert").filter(|value| !value.is_empty())
    }

    /// Whether dnf takes every question as answered with yes.
    pub fn assumes_yes(&self) -> bool {
        ["assumeyes", "defaultyes"].iter().any(|key| self.value(key).and_then(boolean) == Some(true))
    }

    /// The folder of root's cache.
    pub fn cache_folder(&self) -> &str {
        self.value("cachedir").filter(|value| value.starts_with('/')).unwrap_or("/var/cache/dnf")
    }

    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let value = self.main.as_ref()?.get(key)?;
        // dnf takes the word as an empty value.
        Some(if value == "None" { "" } else { value })
    }

    /// A list of words; `None` if it is not set.
    fn list(&self, key: &str) -> Option<Vec<String>> {
        let words = self.value(key)?.split([' ', ',', '\n']);
        Some(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }
}

/// A folder that files can be written to.
fn usable(key: &'static str, folder: Option<&String>) -> Result<String> {
    let Some(folder) = folder else { return Err(Failure::DnfConf(DnfConfFault::NoFolder { key })) };
    let plain = |name: &str| name != ".." && name != "." && !name.contains(['*', '?', '[', '$']);
    let path = folder.trim_end_matches('/');
    if !path.starts_with('/') || path.chars().any(char::is_control) || !path.split('/').all(plain) {
        let folder = els_protocol::clean(folder, 200);
        return Err(Failure::DnfConf(DnfConfFault::UnusableFolder { key, folder }));
    }
    Ok(path.to_owned())
}

const REPO_FOLDERS: [&str; 3] = ["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"];
const VARIABLE_FOLDERS: [&str; 2] = ["/etc/yum/vars", "/etc/dnf/vars"];

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> DnfConf {
        DnfConf::parse(text.as_bytes()).unwrap()
    }

    /// Promise: dnf-conf-read
    #[test]
    fn the_first_folder_of_repo_files_and_the_last_of_variables_are_used() {
        assert_eq!(conf("").repo_folder().unwrap(), "/etc/yum.repos.d");
        assert_eq!(conf("").variable_folder().unwrap(), "/etc/dnf/vars");
        let elsewhere = conf("[main]\nreposdir='/a/' , /b\nvarsdir=/v\n  /w/x/\n");
        assert_eq!(elsewhere.repo_folders(), ["'/a/'", "/b"]);
        let elsewhere = conf("[main]\nreposdir=/a/, /b\nvarsdir=/v\n  /w/x/\n");
        assert_eq!(elsewhere.repo_folder().unwrap(), "/a");
        assert_eq!(elsewhere.variable_folder().unwrap(), "/w/x");
        for wrong in
            ["reposdir=", "reposdir=None", "reposdir=a", "reposdir=/a/*", "reposdir=/a/../b", "reposdir=file:///a"]
        {
            assert!(conf(&format!("[main]\n{wrong}\n")).repo_folder().is_err(), "{wrong}");
        }
    }

    /// Promise: dnf-conf-read
    #[test]
    fn names_count_only_in_lower_case_and_quotes_are_removed() {
        let conf = conf("[main]\nPROXY=http://p:1\nsslcacert=\"/etc/pki/ca.pem\"\nassumeyes=0\ndefaultyes=On\n");
        assert_eq!(conf.read_proxy(), Ok(None));
        assert_eq!(conf.ca_file(), Some("/etc/pki/ca.pem"));
        assert!(conf.assumes_yes());
    }
}
